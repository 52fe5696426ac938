"""One job of an experiment: train, mark or evaluate; masks go when nobody needs them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echocycle import stages
from echocycle.experiments.plan import Job
from echocycle.files import read_json
from echocycle.settings.convert import to_dict
from echocycle.settings.stages import EvaluateSettings, MaskSettings, RegressSettings, SegmentSettings

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


def waiting_jobs(jobs: dict[str, Job], is_done: Callable[[Job], bool]) -> list[str]:
    """Names of the jobs to do, in order; masks only where somebody still needs them."""
    waiting = {name for name, job in jobs.items() if job.stage != "mask" and not is_done(job)}
    wanted = {need for name in waiting for need in jobs[name].needs if jobs[need].stage == "mask"}
    waiting |= {name for name in wanted if not is_done(jobs[name])}
    return [name for name in jobs if name in waiting]
