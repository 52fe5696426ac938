"""The trainings of a project, as the page sees them: begun, watched, stopped, resumed, and taken on a click."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echocycle.bundle_description import PACKAGED
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.labelling.desk import Desk
from echocycle.labelling.proposals import Proposals
from echocycle.labelling.snapshot import take_snapshot
from echocycle.settings.presets import PRESETS

RUN = re.compile(r"round-\d{3,}")
STAGES = ("prepare", "segment", "mask", "supervised", "teacher", "student", "evaluate", "report", "compare")
"""In order; a round has some of them."""
FOLDERS = {"segment": "css", "supervised": "supervised", "teacher": "teacher", "student": "student"}
"""Stage -> the folder of its run, below `training/runs`."""
MOST_POINTS = 200
"""Points of a curve that are given to the page."""
PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""


class BusyError(EchocycleError):
    """This cannot be done now."""

    status = 409


class NoRunError(EchocycleError):
    """There is no such training."""

    status = 404


class Trainings:
    """The rounds below runs/."""

    def __init__(self, desk: Desk, proposals: Proposals) -> None:
        """Take up what an earlier server left: a round that was under way goes on."""
        self._desk, self._proposals = desk, proposals
        self._folder = desk.project.folder / "runs"
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._told: dict[str, str] = {}
        for run in self._runs():
            if self._state(run)["state"] == "running" and self._process(run) is None:
                self._start(run)

    # ------------------------------------------------------------------------------------------------- begin

    def train(self, method: Any = None, preset: Any = None) -> dict[str, str]:
        """Begin a training on the labels as they are now.

        Raises `BusyError` while another runs, `TooFewLabelsError`, or `EchocycleError` for a method or preset that is
        none.
        """
        if method is not None:
            from echocycle.segmentation import METHODS

            if not isinstance(method, str) or method not in METHODS:
                raise EchocycleError(f"There is no method {method!r}; choose one of {', '.join(METHODS)}.")
        if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
            raise EchocycleError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
        with self._lock:
            self._require_none_running()
            numbers = [int(run.name.split("-")[1]) for run in self._runs()]
            run = self._folder / f"round-{max(numbers, default=0) + 1:03}"
            snapshot = self._desk.project.folder / "labels" / "snapshots" / run.name
            taken = take_snapshot(self._desk, snapshot)
            run.mkdir(parents=True)
            asked = {
                "format": 1,
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "method": method,
                "preset": preset,
                "snapshot": os.path.relpath(snapshot, run),
                "used": self._used_from(run),
                "labels": taken.sentence(),
            }
            write_json(run / "round.json", asked)
            self._start(run)
        self._desk.changed()
        return {"run": run.name}

    def _used_from(self, run: Path) -> str:
        """The model in use, as a path from a run; a name of the package stays one."""
        project = self._desk.project
        if project.model in PACKAGED:
            return project.model
        path = project.model_path()
        return os.path.relpath(path, run) if path.is_relative_to(project.folder) else str(path)

    def _start(self, run: Path) -> None:
        write_json(run / "state.json", {"state": "running", "sentence": "", "model": None})
        (run / "process.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "echocycle.labelling.round", str(run)]
        with (run / "log.txt").open("a", encoding="utf-8") as log:
            # a session of its own: it outlives a server that is killed, and is ended with all its children at once
            self._children[run.name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _require_none_running(self) -> None:
        for run in self._runs():
            if self._standing(run)["state"] == "running":
                raise BusyError(f"{run.name} is running. Wait until it is done, or stop it.")

    # --------------------------------------------------------------------------------------------- stop, use

    def stop(self, name: str) -> dict[str, Any]:
        """Stop a training; what it has done is kept."""
        with self._lock:
            run = self._run(name)
            if self._standing(run)["state"] == "running":
                self._end(run)
                stopped = {"state": "stopped", "sentence": "Stopped; it can be resumed.", "model": None}
                write_json(run / "state.json", stopped)
        self._desk.changed()
        return self.about(run)

    def resume(self, name: str) -> dict[str, Any]:
        """Let a training that was stopped, or has failed, go on where it was."""
        with self._lock:
            run = self._run(name)
            if self._standing(run)["state"] not in ("stopped", "failed"):
                raise BusyError(f"{name} is not stopped.")
            self._require_none_running()
            self._start(run)
        self._desk.changed()
        return self.about(run)

    def use(self, name: str) -> dict[str, Any]:
        """Take the model of a training that is done."""
        run = self._run(name)
        state = self._standing(run)
        if state["state"] != "done":
            raise BusyError(f"{name} is not done, so it has no model to take.")
        self._proposals.use((run / state["model"]).relative_to(self._desk.project.folder).as_posix())
        return self.about(run)

    def close(self) -> None:
        """End what runs; the next server lets it go on."""
        with self._lock:
            for run in self._runs():
                if self._state(run)["state"] == "running":
                    self._end(run)

    def _end(self, run: Path) -> None:
        """End a round's process and all that it started."""
        import psutil

        process = self._process(run)
        child = self._children.pop(run.name, None)
        pid = process.pid if process is not None else child.pid if child is not None and child.poll() is None else None
        if pid is None:
            return
        for how in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if hasattr(os, "killpg"):
                    os.killpg(pid, how)
                else:
                    psutil.Process(pid).terminate()
            with suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired, psutil.NoSuchProcess):
                if child is not None:
                    child.wait(PATIENCE)
                else:
                    psutil.Process(pid).wait(PATIENCE)
                if not _group_lives(pid):
                    return

    # ------------------------------------------------------------------------------------------------- watch

    def all(self) -> list[dict[str, Any]]:
        """All trainings for the page, the last first."""
        return [self.about(run) for run in reversed(self._runs())]

    def about(self, run: Path) -> dict[str, Any]:
        """One training for the page."""
        asked, state = read_json(run / "round.json"), self._standing(run)
        if self._told.get(run.name) != state["state"]:
            self._told[run.name] = state["state"]
            self._desk.changed()
        comparison = run / "comparison.json"
        model = state.get("model")
        in_use = model is not None and self._desk.project.model_path().resolve() == (run / model).resolve()
        return {
            "run": run.name,
            "state": state["state"],
            "started": asked["started"],
            "preset": asked["preset"],
            "method": asked["method"],
            "labels": asked["labels"],
            "progress": progress_of(run) if state["state"] == "running" else None,
            "sentence": state["sentence"],
            "comparison": read_json(comparison) if state["state"] == "done" and comparison.exists() else None,
            "in_use": in_use,
            "command": self._command(run, model) if model is not None and state["state"] == "done" else None,
        }

    def _command(self, run: Path, model: str) -> str:
        """How this model reads other recordings, to be copied into a terminal."""
        results = self._desk.project.folder / "results" / "NAME"
        named = run if (run / "model").exists() else run / model  # earlier versions left no link
        return f"echocycle predict RECORDINGS -o {shlex.quote(str(results))} --model {shlex.quote(str(named))}"

    def _standing(self, run: Path) -> dict[str, Any]:
        """How a round stands; one whose process is gone without a word has failed."""
        state = self._state(run)
        if state["state"] != "running" or self._process(run) is not None:
            return state
        child = self._children.get(run.name)
        if child is not None and child.poll() is None:
            return state  # it has just begun, and has not said so yet
        state = self._state(run)  # it may have ended well between the two looks
        if state["state"] != "running":
            return state
        told = "The process was ended from outside, perhaps because memory ran out. It can be resumed."
        return {"state": "failed", "sentence": told, "model": None}

    def _process(self, run: Path) -> Any:
        """The process that is at a round, or None."""
        import psutil

        child = self._children.get(run.name)
        if child is not None:
            child.poll()  # one that has ended must not look alive
        try:
            words = json.loads((run / "process.json").read_text(encoding="utf-8"))
            process = psutil.Process(int(words["pid"]))
            alive = abs(process.create_time() - float(words["created"])) < 1 and process.status() != "zombie"
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process if alive else None

    def _state(self, run: Path) -> dict[str, Any]:
        state: dict[str, Any] = read_json(run / "state.json")
        return state

    def _runs(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = [run for run in self._folder.iterdir() if RUN.fullmatch(run.name) and (run / "state.json").exists()]
        return sorted(found, key=lambda run: int(run.name.split("-")[1]))

    def _run(self, name: str) -> Path:
        if not RUN.fullmatch(name) or not (self._folder / name / "state.json").exists():
            raise NoRunError("There is no such training in this project.")
        return self._folder / name


def _group_lives(group: int) -> bool:
    """Whether a process of a group is left."""
    if not hasattr(os, "killpg"):
        return False
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


# ----------------------------------------------------------------------------------------------------- progress


def progress_of(run: Path) -> dict[str, Any]:
    """Where a round is: its stage, and of a training the steps, what is left of this stage, and the loss so far."""
    training = run / "training"
    try:
        done = set(json.loads((training / "seconds.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        done = set()
    runs = training / "runs"
    begun = [stage for stage, folder in FOLDERS.items() if (runs / folder / "run.json").exists()]
    if "report" in done:
        stage = "compare"
    elif "evaluate" in done:
        stage = "report"
    elif "prepare" not in done:
        stage = "prepare"
    else:
        under_way = [name for name in begun if not (runs / FOLDERS[name] / "done.json").exists()]
        if under_way:
            stage = under_way[-1]
        elif not begun:
            stage = "segment"
        else:
            stage = "mask" if "mask" not in done and begun == ["segment"] else "evaluate"
    told: dict[str, Any] = {"stage": stage, "step": 0, "steps": 0, "remaining_s": None, "curve": []}
    if stage in FOLDERS:
        told |= _steps(runs / FOLDERS[stage])
    return told


def _steps(run: Path) -> dict[str, Any]:
    """Steps, what is left, and losses of one training."""
    try:
        info = json.loads((run / "run.json").read_text(encoding="utf-8"))
        steps = int(info["settings"]["loop"]["steps"])
        with (run / "losses.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    curve: list[list[float]] = []
    for row in rows:
        with suppress(ValueError, TypeError, KeyError):  # the last row may be under way
            curve.append([int(row["step"]) + 1, float(row["total"])])
    step = int(curve[-1][0]) if curve else 0
    left = None
    if curve and len(curve) > 1:
        files = [(run / name).stat().st_mtime for name in ("run.json", "losses.csv")]
        left = max(0.0, (files[1] - files[0]) / max(step, 1) * (steps - step))
    every = max(1, len(curve) // MOST_POINTS)
    return {"step": step, "steps": steps, "remaining_s": left, "curve": curve[::every]}
