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
from echocycle.errors import EchocycleError
from echocycle.files import LEFTOVERS, difference, read_json, sweep, write_json

OPERATIONAL = ("workers", "device", "checkpoint_seconds", "tensorboard")
"""Settings that may change when a run is gone on with."""


class Run:
    """A run folder that is being made, resumed or read."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def info(self) -> dict[str, Any]:
        """The content of run.json."""
        if not (self.path / "run.json").exists():
            raise EchocycleError(f"{self.path} is not a run (no run.json). Name a folder that a stage wrote.")
        content: dict[str, Any] = read_json(self.path / "run.json")
        return content

    @property
    def done(self) -> bool:
        """Whether the run finished."""
        return (self.path / "done.json").exists()

    @property
    def model(self) -> Path:
        """The bundle's folder."""
        return self.path / "model"

    def start(
        self, stage: str, settings: dict[str, Any], facts: dict[str, Any], where: dict[str, str] | None = None
    ) -> bool:
        """Begin the run, or go on with it if `settings` and `facts` are the same; False when it is already done.

        `where` holds paths of other folders, which may change between the two; so may what only says how to
        compute (`OPERATIONAL`).

        Raises `EchocycleError` if the folder holds another run.
        """
        identity = {"stage": stage, "settings": settings, **facts}
        if (self.path / "run.json").exists():
            before = self.info
            for key, value in identity.items():
                was, now = _essential(before.get(key)), _essential(value)
                if was != now:
                    changed = difference(was, now, key)
                    raise EchocycleError(
                        f"{self.path} holds a run with other settings ({changed}). Choose another folder, or delete "
                        "this one."
                    )
            if self.done:
                (self.path / "resume.ckpt").unlink(missing_ok=True)
                return False
            sweep(self.path)
            sweep(self.model)
            return True
        if self.path.exists() and any(not path.match(LEFTOVERS) for path in self.path.iterdir()):
            raise EchocycleError(f"{self.path} is not empty and holds no run; choose another folder.")
        write_json(self.path / "run.json", {**identity, "where": where or {}, "made_with": versions()})
        return True

    def finish(self, result: dict[str, Any]) -> None:
        """Mark the run as done."""
        write_json(self.path / "done.json", result)
        (self.path / "resume.ckpt").unlink(missing_ok=True)


def finished(path: Path, stage: str | None = None) -> Run:
    """A run that is done, of a certain stage if one is named."""
    run = Run(path)
    info = run.info
    if stage and info["stage"] != stage:
        raise EchocycleError(f"{path} is a run of stage {info['stage']}, not {stage}.")
    if not run.done:
        raise EchocycleError(f"The run {path} is not finished; start its `echocycle {info['stage']}` again to go on.")
    return run


def _essential(value: Any) -> Any:
    """As it comes back from JSON, without the operational settings."""
    if isinstance(value, dict):
        return {key: _essential(part) for key, part in value.items() if key not in OPERATIONAL}
    return [_essential(part) for part in value] if isinstance(value, list | tuple) else value


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
