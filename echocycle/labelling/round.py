"""One round of training, a process of its own: `echocycle train` on a snapshot, then the comparison. Resumable.

RUN/
  round.json        what was asked for, and the model in use at that time
  process.json      which process is at it
  state.json        how it stands: running, done, failed, stopped
  log.txt           what the training says
  training/         the output of `train`
  comparison.json   the new model beside the one in use
  model             leads to the new model, so that RUN itself can be named where a model is asked for
"""

import os
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from echocycle.bundle_description import PACKAGED
from echocycle.files import printable, read_json, write_json
from echocycle.locks import alone_in

LAST_WORDS = 2000
"""Characters of the log in which the reason of a failure is looked for."""


def main(run: Path) -> int:
    """Train and compare, or go on where it was stopped; leaves how it ended in state.json."""
    import psutil

    if hasattr(os, "nice"):
        os.nice(5)
    own = psutil.Process()
    write_json(run / "process.json", {"pid": own.pid, "created": own.create_time()})
    asked = read_json(run / "round.json")
    try:
        model = _train(run, asked)
        if model is None:
            _end(run, "failed", f"The training failed: {_reason(run / 'log.txt')}")
            return 1
        if not (run / "comparison.json").exists():
            _compare(run, asked, model)
    except Exception as error:
        with (run / "log.txt").open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        _end(run, "failed", f"The comparison failed: {printable(str(error))}")
        return 1
    _lead_to(run, model)
    _end(run, "done", read_json(run / "comparison.json")["sentence"], model)
    return 0


def _train(run: Path, asked: dict[str, Any]) -> str | None:
    """The new model, as a path below the run; None where the training failed."""
    snapshot = run / asked["snapshot"]
    command = [sys.executable, "-m", "echocycle", "train", str(snapshot), "--out", str(run / "training")]
    command += ["--preset", asked["preset"]] if asked["preset"] else []
    command += ["--set", f"segment.method={asked['method']}"] if asked["method"] else []
    with (run / "log.txt").open("a", encoding="utf-8") as log:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    runs = run / "training" / "runs"
    # 1: done, and something was found, such as a recording that cannot be read
    if ended.returncode not in (0, 1) or not (run / "training" / "report.html").exists():
        return None
    model = next(name for name in ("student", "teacher", "supervised") if (runs / name / "done.json").exists())
    return f"training/runs/{model}/model"


def _compare(run: Path, asked: dict[str, Any], model: str) -> None:
    from echocycle.labelling.compared import compare

    snapshot = run / asked["snapshot"]
    files = {path.stem: path for path in (snapshot / "videos").iterdir()}
    name = asked["used"]
    used = PACKAGED.get(name) or (run / name if (run / name).exists() else Path(name))
    truths = read_json(snapshot / "snapshot.json")["validation"]
    write_json(run / "comparison.json", compare(truths, files.__getitem__, run / model, used))


def _lead_to(run: Path, model: str) -> None:
    """RUN/model: a link, or a copy where the disk knows no links."""
    if (run / "model").exists():
        return
    try:
        (run / "model").symlink_to(model, target_is_directory=True)
    except (OSError, NotImplementedError):
        shutil.copytree(run / model, run / "model")


def _reason(log: Path) -> str:
    """The last thing that a training said for people."""
    lines = log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].splitlines()
    said = [line.strip() for line in lines if line.strip()]
    marked = [line.removeprefix("echocycle:").strip() for line in said if line.startswith("echocycle:")]
    return printable((marked or said or ["it said nothing; see log.txt"])[-1])


def _end(run: Path, state: str, sentence: str, model: str | None = None) -> None:
    write_json(run / "state.json", {"state": state, "sentence": sentence, "model": model})


if __name__ == "__main__":
    with alone_in(Path(sys.argv[1])):
        sys.exit(main(Path(sys.argv[1])))
