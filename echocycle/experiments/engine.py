"""Doing the jobs of a plan: never twice, the rest when one fails, and with a word on how long it will take.

What is done lies on disk, so a plan that was stopped goes on. A mask set is made when somebody needs it and deleted
when its last user is done. A job that fails leaves its log; what is built on it is not tried, everything else is.
"""

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echocycle import stages
from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.experiments.crew import Crew, Here, OutOfTime, Perform, Task
from echocycle.experiments.plan import Job, Plan
from echocycle.files import read_json, write_json, write_text
from echocycle.settings import EvaluateSettings, MaskSettings, RegressSettings, SegmentSettings, to_dict


@dataclass
class Outcome:
    """How it went, by names of jobs."""

    done: list[str] = field(default_factory=list)
    """Finished now or before."""
    failed: dict[str, Path] = field(default_factory=dict)
    """With the log of each."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Not tried, since the job named failed."""
    left: list[str] = field(default_factory=list)
    """Not done for want of time."""
    seconds: float = 0.0
    """That all jobs of the plan took, now or before."""


# --------------------------------------------------------------------------------------- one job, by stages


def perform(job: Job) -> None:
    """Do a job in this process."""
    if isinstance(job.settings, SegmentSettings):
        stages.segment(job.store, job.run, job.settings)
    elif isinstance(job.settings, MaskSettings):
        stages.mask(job.store, job.run, job.settings)
    elif isinstance(job.settings, RegressSettings):
        stages.regress(job.store, job.run, job.settings, masks=job.masks, teacher=job.teachers, start=job.start)
    else:
        stages.evaluate(job.run, job.settings, store=job.store)


def is_done(job: Job) -> bool:
    """Whether what a job makes is there, whole."""
    if isinstance(job.settings, MaskSettings):
        folder = mask_folder(job)
        return folder is not None and (folder / "masks.json").exists()
    if isinstance(job.settings, EvaluateSettings):
        file = job.run / "evaluation" / "metrics.json"
        return file.exists() and read_json(file)["job"]["settings"] == _measured(job.settings)
    return (job.run / "done.json").exists()


def remove(job: Job) -> None:
    """Delete the masks that a job of stage `mask` made."""
    folder = mask_folder(job)
    if folder is not None and folder.exists():
        (folder / "masks.json").unlink(missing_ok=True)  # first, so that what a kill leaves does not count as done
        shutil.rmtree(folder)


def mask_folder(job: Job) -> Path | None:
    """Where a segmenter's masks lie; None before it is trained."""
    bundle = job.run / "model" / "settings.json"
    if not (job.run / "done.json").exists():
        return None
    segmenter: str = read_json(bundle)["parts"]["segmenter"]["sha256"]
    return job.store / "masks" / f"{job.run.name}-{segmenter[:8]}"


def _measured(settings: EvaluateSettings) -> Any:
    """The settings that the result of an evaluation depends on, as they come back from JSON."""
    values = {name: value for name, value in to_dict(settings).items() if name not in ("device", "batch")}
    return json.loads(json.dumps(values))


# ------------------------------------------------------------------------------------------------ all jobs


def work(
    plan: Plan,
    folder: Path,
    *,
    minutes: float | None = None,
    crew: Crew | None = None,
    perform: Perform = perform,
    is_done: Callable[[Job], bool] = is_done,
    remove: Callable[[Job], None] = remove,
) -> Outcome:
    """Do every job of a plan that is not done.

    Args:
        folder: for seconds.json, which remembers how long jobs took, and the logs of jobs.
        minutes: start nothing that will not be done in this time, and interrupt what takes longer than foreseen.
        crew: who does the jobs; by default this process, one after the other.
    """
    return _Work(plan.jobs, folder, minutes, crew or Here(), perform, is_done, remove).all()


class _Work:
    """A plan being done: what waits, what runs, and how it went."""

    def __init__(
        self,
        jobs: dict[str, Job],
        folder: Path,
        minutes: float | None,
        crew: Crew,
        perform: Perform,
        is_done: Callable[[Job], bool],
        remove: Callable[[Job], None],
    ) -> None:
        self.jobs, self.folder, self.crew, self.perform = jobs, folder, crew, perform
        self.clock = _Clock(folder / "seconds.json", None if minutes is None else 60 * minutes)
        self.waiting = _waiting(jobs, is_done)
        self.total = len(self.waiting)
        self.users = _Users(jobs, self.waiting, remove)
        self.running: dict[str, tuple[Task, float]] = {}
        self.outcome = Outcome(
            done=[name for name, job in jobs.items() if name not in self.waiting and job.stage != "mask"]
        )

    def all(self) -> Outcome:
        """Do it."""
        try:
            while self.waiting or self.running:
                for name in [name for name, (task, _) in self.running.items() if task.done()]:
                    self._finish(name)
                if self._begin() is None and self.running:
                    self.clock.check()
                    time.sleep(self.crew.pause)
        except OutOfTime:
            self.outcome.left += [name for name in self.waiting if name not in self.outcome.left]
        finally:  # nobody else waits for them
            for name, (task, _) in self.running.items():
                task.cancel()
                self.outcome.left.append(name)
        if self.outcome.left:
            console.print(f"The time is over; {len(self.outcome.left)} jobs are left. The same command goes on.")
        self.outcome.seconds = self.clock.total(self.jobs)
        return self.outcome

    def _begin(self) -> str | None:
        """Begin the first job that can be, having set aside those that cannot; its name."""
        if len(self.running) == self.crew.places:
            return None
        self._set_aside()
        for name in list(self.waiting):
            job = self.jobs[name]
            if any(need in self.outcome.left for need in job.needs) or not self.clock.fits(job):
                self.waiting.remove(name)
                self.outcome.left.append(name)
            elif not any(need in self.waiting or need in self.running for need in job.needs):
                self._say(name)
                start = time.monotonic()
                task = self.crew.begin(self.perform, job, self._log(name), self.clock.left())
                self.waiting.remove(name)
                self.running[name] = task, start
                return name
        return None

    def _set_aside(self) -> None:
        """Jobs that need one that failed, and masks that only they wanted."""
        for name in list(self.waiting):
            job = self.jobs[name]
            lost = next((need for need in job.needs if need in self.outcome.failed | self.outcome.blocked), None)
            if lost is not None:
                self.waiting.remove(name)
                self.outcome.blocked[name] = self.outcome.blocked.get(lost, lost)
                self.users.finished(name)
        self.waiting = [name for name in self.waiting if self.users.wanted(name)]

    def _say(self, name: str) -> None:
        number = self.total - len(self.waiting) + 1
        others = [each for each in (*self.waiting, *self.running) if each != name]
        remaining = self.clock.remaining(self.jobs, others, self.crew.places)
        console.rule(f"{number}/{self.total}  {name}  ({remaining})", align="left")

    def _finish(self, name: str) -> None:
        task, start = self.running.pop(name)
        log = self._log(name)
        try:
            task.result()
        except Exception as error:
            write_text(log, getattr(error, "log", None) or "".join(traceback.format_exception(error)))
            self.outcome.failed[name] = log
            said = str(error) if isinstance(error, EchocycleError) else f"{type(error).__name__}: {error}"
            first = said.partition("\n")[0]
            console.print(f"{name} failed: {first}\nIts log: {log}. The other jobs go on.", soft_wrap=True)
        else:
            log.unlink(missing_ok=True)
            self.outcome.done.append(name)
            self.clock.note(self.jobs[name], time.monotonic() - start)
            if not self.users.wanted(name):  # their users were lost while they were made
                self.users.remove(self.jobs[name])
        self.users.finished(name)

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name.replace(' ', '-')}.log"


def _waiting(jobs: dict[str, Job], is_done: Callable[[Job], bool]) -> list[str]:
    """Names of the jobs to do, in order; masks only where somebody still needs them."""
    waiting = {name for name, job in jobs.items() if job.stage != "mask" and not is_done(job)}
    wanted = {need for name in waiting for need in jobs[name].needs if jobs[need].stage == "mask"}
    waiting |= {name for name in wanted if not is_done(jobs[name])}
    return [name for name in jobs if name in waiting]


class _Users:
    """Who still needs which masks."""

    def __init__(self, jobs: dict[str, Job], waiting: list[str], remove: Callable[[Job], None]) -> None:
        self._jobs, self.remove = jobs, remove
        self._of = {
            name: {user for user in waiting if name in jobs[user].needs}
            for name, job in jobs.items()
            if job.stage == "mask"
        }
        for name, users in self._of.items():
            if not users:  # left by a process that was killed before it could delete them
                remove(jobs[name])

    def finished(self, name: str) -> None:
        """Delete the masks whose last user this job was."""
        for need in self._jobs[name].needs:
            if name in self._of.get(need, ()):
                self._of[need].remove(name)
                if not self._of[need]:
                    self.remove(self._jobs[need])

    def wanted(self, name: str) -> bool:
        """Whether a job is no mask set, or one with users."""
        return name not in self._of or bool(self._of[name])


def seconds_taken(jobs: dict[str, Job], folder: Path) -> float:
    """Seconds that these jobs took, as `work` noted them in its folder."""
    return _Clock(folder / "seconds.json", None).total(jobs)


class _Clock:
    """How long jobs of a kind take, kept on disk, and how much time is left."""

    def __init__(self, file: Path, allowed: float | None) -> None:
        self._file = file
        self._seconds: dict[str, dict[str, float]] = read_json(file) if file.exists() else {}
        self._end = None if allowed is None else time.monotonic() + allowed

    def note(self, job: Job, seconds: float) -> None:
        """Keep how long a job took."""
        self._seconds.setdefault(job.kind, {})[job.name] = round(seconds, 2)
        write_json(self._file, self._seconds)

    def left(self) -> float | None:
        """Seconds that are left; None without an end."""
        return None if self._end is None else self._end - time.monotonic()

    def check(self) -> None:
        """Raise `OutOfTime` when the time is over."""
        if self._end is not None and time.monotonic() > self._end:
            raise OutOfTime

    def total(self, jobs: dict[str, Job]) -> float:
        """Seconds that these jobs took."""
        return sum(self._seconds.get(job.kind, {}).get(name, 0.0) for name, job in jobs.items())

    def expected(self, job: Job) -> float | None:
        """Seconds that a job will take: the mean of its kind, else of its stage, else unknown."""
        found = list(self._seconds.get(job.kind, {}).values()) or [
            seconds for kind, jobs in self._seconds.items() if kind.split()[0] == job.stage for seconds in jobs.values()
        ]
        return sum(found) / len(found) if found else None

    def fits(self, job: Job) -> bool:
        """Whether a job can be expected to be done in time."""
        if self._end is None:
            return True
        return time.monotonic() + (self.expected(job) or 0.0) < self._end

    def remaining(self, jobs: dict[str, Job], waiting: list[str], at_once: int = 1) -> str:
        """Time for all that is left, as a phrase; `at_once` jobs are done at a time."""
        each = [self.expected(jobs[name]) for name in waiting]
        known = sum(seconds for seconds in each if seconds is not None) / at_once
        if None in each:
            return f"more than {minutes_of(known)} left" if known else "time left unknown yet"
        return f"about {minutes_of(known)} left"


def minutes_of(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# ------------------------------------------------------------------------------------------------------ disk

MASK_BYTES_PER_FRAME = 2800
"""Of a mask set at 112 x 112 pixels: 2,100 and 2,500 (twice that of 56 x 56) were measured, and a little room."""


def disk_needed(plan: Plan, frames: int, places: int = 1) -> int:
    """About how many bytes the jobs that are not done will need at once.

    Args:
        frames: of the store.
        places: jobs that are done at a time.
    """
    todo = [plan.jobs[name] for name in _waiting(plan.jobs, is_done)]
    weights = [_weight_bytes(job) for job in todo if job.stage in ("segment", "regress")]
    masks = sum(_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask")
    at_once = max((_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask"), default=0)
    # resume points (weights and two moments) go when a run is done; a mask set can overlap the next for a moment
    return sum(weights) + 4 * places * max(weights, default=0) + min(masks, (1 + places) * at_once)


def _mask_bytes(plan: Plan, job: Job, frames: int) -> int:
    size = plan.jobs[f"segment {job.run.name}"].settings.size  # type: ignore[union-attr]
    return int(frames * MASK_BYTES_PER_FRAME * size / 112)  # what takes room is the outline


def _weight_bytes(job: Job) -> int:
    """Bytes of a run's bundle, from the network's parameters."""
    import torch

    from echocycle.models.regressor import Regressor
    from echocycle.models.segmenter import build_segmenter

    settings = job.settings
    with torch.device("meta"):
        if isinstance(settings, SegmentSettings):
            network = build_segmenter(settings.network, settings.width, settings.option)
        else:
            assert isinstance(settings, RegressSettings)
            network = Regressor(settings.network, settings.widths, 4, settings.target_scale)
    return 2 * 4 * sum(p.numel() for p in network.parameters())  # some methods keep two networks


def check_disk(needed: int, *folders: Path) -> None:
    """Refuse to begin what will not fit on a disk; `folders` may lie on several."""
    for folder in {folder.stat().st_dev: folder for folder in folders}.values():
        free = shutil.disk_usage(folder).free
        console.print(f"About {needed / 1e9:.2f} GB of disk are needed, {free / 1e9:.1f} GB are free.")
        if needed > free:
            raise EchocycleError(
                f"{folder} has {free / 1e9:.1f} GB free and about {needed / 1e9:.1f} GB are needed. Free some, choose "
                "another folder, or fewer --seeds, --fractions or rows (--only)."
            )
