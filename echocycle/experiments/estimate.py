"""How long an experiment takes and how much disk it needs."""

import shutil
import time
from pathlib import Path

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.experiments.executors import OutOfTime
from echocycle.experiments.perform import is_done, waiting_jobs
from echocycle.experiments.plan import Job, Plan
from echocycle.files import read_json, write_json
from echocycle.progress import minutes_of
from echocycle.settings.stages import RegressSettings, SegmentSettings


def seconds_taken(jobs: dict[str, Job], folder: Path) -> float:
    """Seconds that these jobs took, as `work` noted them in its folder."""
    return Clock(folder / "seconds.json", None).total(jobs)


class Clock:
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


# ------------------------------------------------------------------------------------------------------ disk


def disk_needed(plan: Plan, frames: int, slots: int = 1) -> int:
    """About how many bytes the jobs that are not done will need at once.

    Args:
        frames: of the store.
        slots: jobs that are done at a time.
    """
    todo = [plan.jobs[name] for name in waiting_jobs(plan.jobs, is_done)]
    weights = [_weight_bytes(job) for job in todo if job.stage in ("segment", "regress")]
    masks = sum(_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask")
    at_once = max((_mask_bytes(plan, job, frames) for job in todo if job.stage == "mask"), default=0)
    # resume points (weights and two moments) go when a run is done; a mask set can overlap the next for a moment
    return sum(weights) + 4 * slots * max(weights, default=0) + min(masks, (1 + slots) * at_once)


def _mask_bytes(plan: Plan, job: Job, frames: int) -> int:
    from echocycle.forecast.parts import MASK_BYTES_PER_FRAME

    size = plan.jobs[f"segment {job.run.name}"].settings.size  # type: ignore[union-attr]
    return int(frames * MASK_BYTES_PER_FRAME * size / 112)  # what takes room is the outline


def _weight_bytes(job: Job) -> int:
    """Bytes of a run's bundle, from the network's parameters."""
    import torch

    from echocycle.models.build import build_segmenter
    from echocycle.models.regressor import Regressor

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
