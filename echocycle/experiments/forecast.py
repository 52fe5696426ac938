"""What an experiment would take: told by its dry run."""

from pathlib import Path

from rich.table import Table

from echocycle.data.store import Store
from echocycle.experiments.estimate import Clock
from echocycle.experiments.perform import is_done, waiting_jobs
from echocycle.experiments.plan import Job, Plan
from echocycle.forecast.cost import StepCost, Timer
from echocycle.forecast.parts import Forecast, Videos, evaluation_seconds, training_seconds, weight_lines
from echocycle.phantom.settings import PhantomSettings
from echocycle.settings.convert import from_dict
from echocycle.settings.presets import Preset
from echocycle.settings.stages import EvaluateSettings, RegressSettings, SegmentSettings


def forecast_of(planned: Plan, chosen: Preset, opened: Store | None, out: Path, *, name: str, disk: int) -> Forecast:
    """What the jobs of a plan that are not done would take.

    Times are those that jobs of a kind took in `out` before, and for the others one pass through their networks.

    Args:
        opened: the frame store; None where the preset's phantom has not been drawn yet.
        disk: bytes that the jobs need.
    """
    jobs = planned.jobs
    waiting = waiting_jobs(jobs, is_done)
    videos, data = _videos(chosen, opened)
    timer, clock = Timer(chosen.segment.loop.device), Clock(out / "jobs" / "seconds.json", None)
    trained = [jobs[each].settings for each in waiting]
    trainings = [each for each in trained if isinstance(each, SegmentSettings | RegressSettings)]
    forecast = Forecast(
        title=f"{name}, preset {chosen.name}: {len(planned.cells)} trainings in the table, {len(jobs)} jobs, "
        f"{len(jobs) - len(waiting)} of them done or not needed.",
        data=data,
        evaluate=chosen.evaluate,
        weights=weight_lines(trainings),
        disk=disk,
        folder=out,
        details=_table(jobs),
        device=timer.device,
    )
    costs: dict[Path, tuple[SegmentSettings | RegressSettings, StepCost]] = {}
    seconds: dict[str, list[float]] = {}
    needs: dict[str, StepCost] = {}
    for job in jobs.values():  # those that are done too: what follows on them needs the cost of their networks
        settings = job.settings
        if isinstance(settings, SegmentSettings | RegressSettings):
            kind = f"{job.stage} {settings.method}"
            taken, cost = training_seconds(settings, videos, timer)
            costs[job.run] = settings, cost
        else:
            kind, taken, cost = job.stage, 0.0, None
            if job.run in costs:
                taken = _use_seconds(job, costs[job.run], videos)
        if job.name in waiting:
            expected = clock.expected(job)
            seconds.setdefault(kind, []).append(taken if expected is None else expected)
            if cost is not None:
                needs[kind] = cost
    for kind, each in seconds.items():
        forecast.add(f"{len(each)} x {kind}", sum(each), needs.get(kind))
    return forecast


def _use_seconds(job: Job, trained: tuple[SegmentSettings | RegressSettings, StepCost], videos: Videos) -> float:
    """Seconds of masks, or of an evaluation."""
    settings, cost = trained
    if job.stage == "mask" or isinstance(settings, SegmentSettings):
        splits = job.settings.splits if not isinstance(job.settings, SegmentSettings | RegressSettings) else ()
        return videos.of(splits) * videos.mean_frames * cost.item
    assert isinstance(job.settings, EvaluateSettings)
    return evaluation_seconds(settings, job.settings, videos, cost)


def _videos(chosen: Preset, opened: Store | None) -> tuple[Videos, str]:
    """How many videos there are, and in words where."""
    if opened is not None:
        counts = [len(opened.videos(split)) for split in ("train", "val", "test")]
        videos, where = Videos(counts[0], counts[1], counts[2], opened.meta["frames"]), f"the store {opened.path}"
    else:
        drawn = from_dict(PhantomSettings, chosen.phantom, "phantom.")
        train = drawn.videos - drawn.val - drawn.test
        videos = Videos(train, drawn.val, drawn.test, frames=drawn.videos * drawn.frames_median)
        where = "a phantom, which is drawn first"
    return videos, f"{where}: {videos.train} training, {videos.val} validation, {videos.test} test videos"


def _table(jobs: dict[str, Job]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("job", "after"):
        table.add_column(name, overflow="fold")
    for name, job in jobs.items():
        table.add_row(name, ", ".join(job.needs))
    return table
