"""A run's folder: settings, where it comes from, what it left, whether it is done.

RUN/
  run.json         stage, settings, versions, data, label budget; written before the first step
  labels.csv       which training video was labelled, unlabelled, excluded
  losses.csv       every named loss of every step; validation.csv beside it
  tensorboard/     the same for TensorBoard
  resume.ckpt      private to the run, gone when it is done
  model/           the bundle, the best so far
  evaluation/      predictions.csv, dice.csv, metrics.json, overlays.npz
  done.json        written last
"""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echocycle import __version__
from echocycle.checked import check_kinds, checked_json
from echocycle.errors import EchocycleError
from echocycle.files import LEFTOVERS, difference, read_json, sweep, write_json
from echocycle.locks import lock_file
from echocycle.partial import PartialFolder, as_json
from echocycle.settings.convert import identity_of, to_dict

KINDS = {
    "stage": str,
    "settings": {"method": str, "weights": str, "loop": {"seed": int}},
    "data": {"id": str, "source": str, "phantom_version": (int, type(None))},
    "budget": {
        "labelled": int,
        "unlabelled": int,
        "validation": int,
        "labels_used_in_all": int,
        "unlabelled_annotation_allowed": bool,
    },
    "reads_unlabelled_annotation": bool,
    "where": {"store": str},
    "made_with": {"versions": {"echocycle": str, "torch": str}, "machine": str, "command": str},
}
"""What run.json holds of every stage; there is more."""


class Run:
    """A run folder that is being made, resumed or read."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self._made = PartialFolder(self.path, {}, seal="done.json", private=("resume.ckpt",), in_place=True)

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json.

        Raises `EchocycleError` where there is none, and for a key that is missing or of another kind.
        """
        if not (self.path / "run.json").exists():
            raise EchocycleError(f"{self.path} is not a run (no run.json). Name a folder that a stage wrote.")
        return checked_json(self.path / "run.json", KINDS, self._remedy)

    @property
    def _remedy(self) -> str:
        return f"The run {self.path} was changed or damaged: copy it again, or delete it and make it anew."

    @property
    def done(self) -> bool:
        """Whether the run finished."""
        return (self.path / "done.json").exists()

    @property
    def closed(self) -> bool:
        """Whether it is done, and nothing private is left in it."""
        return self.done and self._made.closed

    @property
    def model(self) -> Path:
        """The bundle's folder."""
        return self.path / "model"

    def start(self, stage: str, settings: Any, facts: dict[str, Any], where: dict[str, str]) -> bool:
        """Begin the run, or resume it if `settings` and `facts` are the same; False when it is already done.

        Args:
            settings: those of the stage; what only says how to compute (`OPERATIONAL`) may change between the two.
            where: paths of other folders, which may change too.

        Raises:
            EchocycleError: the folder holds another run.
        """
        made = {"stage": stage, "settings": to_dict(settings), **facts}
        if (self.path / "run.json").exists():
            before = read_json(self.path / "run.json")
            check_kinds(before, {"settings": dict}, f"{self.path / 'run.json'}: ", self._remedy)
            for key, value in made.items():
                was, now = before.get(key), as_json(value)
                if key == "settings":
                    was, now = (identity_of(type(settings), each) for each in (was, now))
                if was != now:
                    raise EchocycleError(
                        f"{self.path} holds a run with other settings ({difference(was, now, key)}). Choose another "
                        "folder, or delete this one."
                    )
            check_kinds(before, KINDS, f"{self.path / 'run.json'}: ", self._remedy)
            if self.done:
                self._made.close()
                return False
            sweep(self.path)
            sweep(self.model)
            return True
        own = lock_file(self.path.resolve()).name
        if self.path.exists() and any(not each.match(LEFTOVERS) and each.name != own for each in self.path.iterdir()):
            raise EchocycleError(f"{self.path} is not empty and holds no run; choose another folder.")
        write_json(self.path / "run.json", {**made, "where": where, "made_with": versions()})
        return True

    def finish(self, result: dict[str, Any]) -> None:
        """Mark the run as done."""
        self._made.seal(result)
        self._made.close()


def finished(path: Path, stage: str | None = None) -> Run:
    """A run that is done, of a certain stage if one is named."""
    run = Run(path)
    info = run.info
    if stage and info["stage"] != stage:
        raise EchocycleError(f"{path} is a run of stage {info['stage']}, not {stage}.")
    if not run.done:
        raise EchocycleError(f"The run {path} is not finished; start its `echocycle {info['stage']}` again to go on.")
    return run


def versions() -> dict[str, Any]:
    """Versions of what a result depends on, the command and the machine's kind."""
    found = {"echocycle": __version__, "python": platform.python_version(), "system": platform.system()}
    for package in ("torch", "torchvision", "numpy", "lightning", "av", "pydicom"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    command = f"{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".strip()
    return {"versions": found, "machine": machine(), "command": command}


def machine() -> str:
    """The processor, or the GPU where PyTorch has one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
