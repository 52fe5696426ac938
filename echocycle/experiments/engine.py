"""Doing the jobs of a plan: never twice, the rest when one fails, and with a word on how long it will take.

What is done lies on disk, so a plan that was stopped goes on. A mask set is made when somebody needs it and deleted
when its last user is done. A job that fails leaves its log; what is built on it is not tried, everything else is.
"""

import json
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echocycle import stages
from echocycle.console import console
from echocycle.errors import EchocycleError
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


class OutOfTime(BaseException):
    """The time given is over; not caught by what catches errors of a job."""


# --------------------------------------------------------------------------------------- one job, by stages


def perform(job: Job) -> None:
    """Do a job in this process."""
    if isinstance(job.settings, SegmentSettings):
        stages.segment(job.store, job.run, job.settings)
    elif isinstance(job.settings, MaskSettings):
        stages.mask(job.store, job.run, job.settings)
    elif isinstance(job.settings, RegressSettings):
        stages.regress(job.store, job.run, job.settings, masks=job.masks, teacher=job.teacher)
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
    perform: Callable[[Job], None] = perform,
    is_done: Callable[[Job], bool] = is_done,
    remove: Callable[[Job], None] = remove,
) -> Outcome:
    """Do every job of a plan that is not done.

    Args:
        folder: for seconds.json, which remembers how long jobs took, and the logs of failed jobs.
        minutes: start nothing that will not be done in this time, and interrupt what takes longer than foreseen.
    """
    jobs = plan.jobs
    outcome = Outcome()
    clock = _Clock(folder / "seconds.json", None if minutes is None else 60 * minutes)
    waiting = _waiting(jobs, is_done)
    outcome.done = [name for name, job in jobs.items() if name not in waiting and job.stage != "mask"]
    users = _Users(jobs, waiting, remove)
    total = len(waiting)
    try:
        for number, name in enumerate(waiting, 1):
            job = jobs[name]
            cause = next((need for need in job.needs if need in outcome.failed or need in outcome.blocked), None)
            if cause is not None:
                outcome.blocked[name] = outcome.blocked.get(cause, cause)
            elif any(need in outcome.left for need in job.needs) or not clock.fits(job):
                outcome.left.append(name)
                continue
            else:
                console.rule(
                    f"{number}/{total}  {name}  ({clock.remaining(jobs, waiting[number - 1 :])})", align="left"
                )
                with clock.time(job):
                    _attempt(job, folder, outcome, perform)
            users.finished(name)
    except OutOfTime:
        at = waiting.index(name)
        outcome.left += [each for each in waiting[at:] if each not in outcome.left]
    if outcome.left:
        console.print(f"The time is over; {len(outcome.left)} jobs are left. The same command goes on.")
    outcome.seconds = clock.total(jobs)
    return outcome


def _waiting(jobs: dict[str, Job], is_done: Callable[[Job], bool]) -> list[str]:
    """Names of the jobs to do, in order; masks only where somebody still needs them."""
    waiting = {name for name, job in jobs.items() if job.stage != "mask" and not is_done(job)}
    wanted = {need for name in waiting for need in jobs[name].needs if jobs[need].stage == "mask"}
    waiting |= {name for name in wanted if not is_done(jobs[name])}
    return [name for name in jobs if name in waiting]


class _Users:
    """Who still needs which masks."""

    def __init__(self, jobs: dict[str, Job], waiting: list[str], remove: Callable[[Job], None]) -> None:
        self._jobs, self._remove = jobs, remove
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
                    self._remove(self._jobs[need])


def _attempt(job: Job, folder: Path, outcome: Outcome, perform: Callable[[Job], None]) -> None:
    log = folder / "logs" / f"{job.name.replace(' ', '-')}.log"
    try:
        perform(job)
    except Exception as error:
        write_text(log, traceback.format_exc())
        outcome.failed[job.name] = log
        said = str(error) if isinstance(error, EchocycleError) else f"{type(error).__name__}: {error}"
        console.print(f"{job.name} failed: {said}\nIts log: {log}. The other jobs go on.", soft_wrap=True)
    else:
        log.unlink(missing_ok=True)
        outcome.done.append(job.name)


class _Clock:
    """How long jobs of a kind take, kept on disk, and how much time is left."""

    def __init__(self, file: Path, allowed: float | None) -> None:
        self._file = file
        self._seconds: dict[str, dict[str, float]] = read_json(file) if file.exists() else {}
        self._end = None if allowed is None else time.monotonic() + allowed

    @contextmanager
    def time(self, job: Job) -> Iterator[None]:
        """Note how long the job takes; interrupt it when the time is over."""
        start = time.monotonic()
        with _alarm(None if self._end is None else self._end - start):
            yield
        self._seconds.setdefault(job.kind, {})[job.name] = round(time.monotonic() - start, 2)
        write_json(self._file, self._seconds)

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

    def remaining(self, jobs: dict[str, Job], waiting: list[str]) -> str:
        """Time for all that is left, as a phrase."""
        each = [self.expected(jobs[name]) for name in waiting]
        known = sum(seconds for seconds in each if seconds is not None)
        if None in each:
            return f"more than {minutes_of(known)} left" if known else "time left unknown yet"
        return f"about {minutes_of(known)} left"


def minutes_of(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise `OutOfTime` inside the block after so many seconds (in the main thread, where signals arrive)."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ------------------------------------------------------------------------------------------------------ disk

MASK_BYTES_PER_FRAME = 2000
"""Of a mask set at 112 x 112 pixels; measured on clips of that size."""


def disk_needed(plan: Plan, frames: int) -> int:
    """About how many bytes the jobs that are not done will need at once; `frames`: of the store."""
    todo = [plan.jobs[name] for name in _waiting(plan.jobs, is_done)]
    weights = [_weight_bytes(job) for job in todo if job.stage in ("segment", "regress")]
    masks = sum(_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask")
    at_once = max((_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask"), default=0)
    # resume points (weights and two moments) go when a run is done; two mask sets can overlap for a moment
    return sum(weights) + 4 * max(weights, default=0) + min(masks, 2 * at_once)


def _mask_bytes(plan: Plan, job: Job, frames: int) -> int:
    size = plan.jobs[f"segment {job.run.name}"].settings.size  # type: ignore[union-attr]
    return int(frames * MASK_BYTES_PER_FRAME * (size / 112) ** 2)


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


def check_disk(needed: int, folder: Path) -> None:
    """Refuse to begin what will not fit on the disk."""
    free = shutil.disk_usage(folder).free
    console.print(f"About {needed / 1e9:.2f} GB of disk are needed, {free / 1e9:.1f} GB are free.")
    if needed > free:
        raise EchocycleError(
            f"{folder} has {free / 1e9:.1f} GB free and about {needed / 1e9:.1f} GB are needed. Free some, choose "
            "another --out, or fewer --seeds, --fractions or rows (--only)."
        )
