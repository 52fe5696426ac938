"""One writer at a time in every output folder, with real processes: one works, the other gets one sentence and code 2."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.chain import copied, segment_settings

from echocycle import locks, stages
from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.locks import alone_in, lock_file

STOPS_ITSELF = """
import importlib, os, signal, sys
module, owner, name, call, *line = sys.argv[1:]
module = importlib.import_module(module)
place = getattr(module, owner) if owner else module
original, calls = getattr(place, name), []
def function(*arguments, **named):
    calls.append(name)
    if len(calls) == int(call):
        os.kill(os.getpid(), signal.SIGSTOP)
    return original(*arguments, **named)
setattr(place, name, function)
from echocycle.cli import main
if __name__ == "__main__":
    sys.exit(main(line))
"""
"""A command that stops in the middle of its work, whatever the machine's speed; it can be let go on, or be killed."""

DRAWN = ["--videos=4", "--val=1", "--test=1", "--frames-median=40", "--frames-min=36", "--frames-max=44", "--workers=0"]
SEGMENT = [
    "--method=supervised",
    "--network=unet",
    "--width=2",
    "--weights=none",
    "--size=32",
    "--batch=2",
    "--labels.labelled=4",
    "--loop.steps=4",
    "--loop.validate-every=2",
    "--loop.device=cpu",
    "--loop.checkpoint-seconds=0",
]


class Case:
    """A command, where it stops, and what it leaves."""

    def __init__(self, line: list[str], stop: tuple[str, str, str, int], folder: Path, different: tuple[str, ...] = ()):
        self.line, self.stop, self.folder, self.different = line, stop, folder, different

    def left(self) -> dict[str, str]:
        """Every file with its hash; of those that say when and how they were made the name alone."""
        found = {}
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            same = path.name not in self.different and "tensorboard" not in path.parts
            name = str(path.relative_to(self.folder)) if "tensorboard" not in path.parts else "tensorboard"
            found[name] = sha256(path) if same else ""
        return found


NOTED = ("echocycle.partial", "Journal", "add", 3)
STAGES = ("phantom", "prepare", "segment", "mask", "evaluate")


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store and a run."""
    folder = tmp_path_factory.mktemp("ground")
    own = copied(store, folder).path
    stages.segment(own, folder / "css", segment_settings("css"))
    return own, folder / "css"


def case(stage: str, phantom: Path, ground: tuple[Path, Path], folder: Path) -> Case:
    """The command of a stage below a folder of its own."""
    folder.mkdir()
    if stage == "phantom":
        stop = ("echocycle.phantom.write", "", "_write_clip", 3)
        return Case(["phantom", str(folder / "ph"), *DRAWN], stop, folder / "ph")
    if stage == "prepare":
        return Case(["prepare", str(phantom), str(folder / "store"), "--workers=0"], NOTED, folder / "store")
    if stage == "segment":
        stop = ("echocycle.training.log", "RunLog", "step", 3)
        different = ("run.json", "settings.json")
        return Case(["segment", str(ground[0]), str(folder / "run"), *SEGMENT], stop, folder / "run", different)
    store, run = (Path(shutil.copytree(each, folder / each.name)) for each in ground)
    if stage == "mask":
        return Case(["mask", str(store), str(run)], NOTED, store / "masks" / name_of(run))
    line = ["evaluate", str(run), "--store", str(store)]
    return Case(line, NOTED, run / "evaluation")


def name_of(run: Path) -> str:
    return f"{run.name}-{read_json(run / 'model' / 'settings.json')['parts']['segmenter']['sha256'][:8]}"


@pytest.fixture
def stopped() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes to be ended whatever happens."""
    begun: list[subprocess.Popen[bytes]] = []
    yield begun
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.wait()


def begin(it: Case, log: Path, begun: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a command and wait until it has stopped in the middle of its work."""
    line = [sys.executable, "-c", STOPS_ITSELF, *map(str, it.stop), *it.line]
    with open(log, "wb") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output)
    begun.append(process)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), log.read_text()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_the_second_of_two_processes_is_told_so(
    stage: str,
    phantom_folder: Path,
    ground: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stopped: list[subprocess.Popen[bytes]],
) -> None:
    """And the first ends as if it had been alone; one that comes after a kill goes on and ends so too."""
    alone = case(stage, phantom_folder, ground, tmp_path / "alone")
    assert main(alone.line) == 0
    expected = alone.left()
    assert len(expected) > 2

    it = case(stage, phantom_folder, ground, tmp_path / "two")
    first = begin(it, tmp_path / "log", stopped)
    lock = lock_file(it.folder)
    assert lock.exists()
    capsys.readouterr()
    assert main(it.line) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(
        rf"{re.escape(it.folder.name)} is being written by process {first.pid} on \S+ since [-\d]+ [:\d]+; wait", said
    ), said
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0, (tmp_path / "log").read_text()
    assert it.left() == expected
    assert not lock.exists()

    if stage not in ("prepare", "mask"):  # what the others resume is shown where they are tested
        return
    it = case(stage, phantom_folder, ground, tmp_path / "killed")
    first = begin(it, tmp_path / "log", stopped)
    first.kill()
    first.wait()
    assert lock_file(it.folder).exists()  # nobody removed it, and it does not block
    assert main(it.line) == 0
    assert it.left() == expected
    assert not lock_file(it.folder).exists()


def test_threads_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits gets the lock when it is let go, though its file is removed each time; never two at once."""
    monkeypatch.setattr(locks, "PATIENCE", 60)
    inside, most, done = [0], [0], []

    def work(number: int) -> None:
        for _ in range(10):
            with alone_in(tmp_path / "folder"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3]
    assert most == [1]
    assert not list(tmp_path.iterdir())


def test_a_lock_goes_with_an_error_and_another_folder_is_free(tmp_path: Path) -> None:
    def interrupted() -> None:
        with alone_in(tmp_path / "a"), alone_in(tmp_path / "b"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        alone_in(tmp_path / "a"),
        pytest.raises(EchocycleError, match=f"process {os.getpid()} on"),
        alone_in(tmp_path / "." / "a"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_and_a_link_to_it_are_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        alone_in(tmp_path / "real"),
        pytest.raises(EchocycleError, match="is being written"),
        alone_in(tmp_path / "link"),
    ):
        pass


def test_a_lock_that_says_nothing_still_holds(tmp_path: Path) -> None:
    with alone_in(tmp_path / "a"):
        for text in ("", "{", "[]", json.dumps({"process": 3})):
            lock_file(tmp_path / "a").write_text(text)
            with pytest.raises(EchocycleError, match="by another process; wait"), alone_in(tmp_path / "a"):
                pass


def test_where_nothing_may_be_written_beside_a_folder_the_lock_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a folder that a container was given; a run can begin in it."""
    folder = tmp_path / "given"
    folder.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    with alone_in(folder):
        assert [path.name for path in folder.iterdir()] == [".lock"]
        with pytest.raises(EchocycleError, match="is being written"), alone_in(folder):
            pass
    assert not list(folder.iterdir())
    assert main(["phantom", str(folder), *DRAWN]) == 0
    assert main(["prepare", str(folder), str(tmp_path / "store"), "--workers=0"]) == 0
    (tmp_path / "run").mkdir()
    assert (
        main(
            [
                "segment",
                str(tmp_path / "store"),
                str(tmp_path / "run"),
                *[w.replace("labelled=4", "labelled=all") for w in SEGMENT],
            ]
        )
        == 0
    )
