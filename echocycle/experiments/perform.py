"""One job of an experiment: train, mark or evaluate; masks go when nobody needs them."""

import shutil
from collections.abc import Callable
from pathlib import Path

from echocycle import stages
from echocycle.checked import checked_json
from echocycle.data.mask_set import mask_set_name
from echocycle.experiments.plan import Cell, Job, Plan
from echocycle.settings.convert import identity
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
        return bool(_mask_sets(job))
    if isinstance(job.settings, EvaluateSettings):
        file = job.run / "evaluation" / "metrics.json"
        if not file.exists():
            return False
        remedy = f"Delete {file}, and the run is evaluated again."
        found = checked_json(file, {"job": {"settings": dict, "store": str}}, remedy)
        return bool(found["job"]["settings"] == identity(job.settings))
    return (job.run / "done.json").exists()


def remove(job: Job) -> None:
    """Delete the masks that a job of stage `mask` made; not those that somebody made of a copy of its run."""
    for folder in _mask_sets(job):
        if folder.name == mask_set_name(job.run, _segmenter(job.run)):
            (folder / "masks.json").unlink(missing_ok=True)  # first, so that what a kill leaves does not count as done
            shutil.rmtree(folder)


def _mask_sets(job: Job) -> list[Path]:
    """Where the masks of a job's segmenter lie; none before it is trained."""
    from echocycle.data.store import mask_sets  # which imports pandas: the list of experiments need not wait for it

    return mask_sets(job.store, _segmenter(job.run)) if (job.run / "done.json").exists() else []


def _segmenter(run: Path) -> str:
    """The hash of a run's segmenter."""
    kinds = {"parts": {"segmenter": {"sha256": str}}}
    remedy = f"Copy {run} again, or delete it, and it is trained anew."
    found = checked_json(run / "model" / "settings.json", kinds, remedy)
    return str(found["parts"]["segmenter"]["sha256"])


def waiting_jobs(jobs: dict[str, Job], is_done: Callable[[Job], bool]) -> list[str]:
    """Names of the jobs to do, in order; masks only where somebody still needs them."""
    waiting = {name for name, job in jobs.items() if job.stage != "mask" and not is_done(job)}
    wanted = {need for name in waiting for need in jobs[name].needs if jobs[need].stage == "mask"}
    waiting |= {name for name in wanted if not is_done(jobs[name])}
    return [name for name in jobs if name in waiting]


def with_what_is_done(planned: Plan, whole: Plan) -> Plan:
    """What was asked for, and what else of the same experiment an earlier call has done: one table shows it all."""
    asked = {cell.runs for cell in planned.cells}

    def shown(cell: Cell) -> bool:
        return cell.runs in asked or all(is_done(whole.jobs[f"evaluate {run.name}"]) for run in cell.runs)

    return whole.part([cell for cell in whole.cells if shown(cell)])


def require_first_weights(planned: Plan) -> None:
    """Refuse to begin where the first weights of a training to come cannot be had."""
    from echocycle.models.pretrained import require_weights

    require_weights(_first_trainings(planned))


def _first_trainings(planned: Plan) -> list[SegmentSettings | RegressSettings]:
    """Settings of the jobs that will load first weights: trainings that are not begun."""
    return [
        job.settings
        for job in planned.jobs.values()
        if isinstance(job.settings, SegmentSettings | RegressSettings)
        and job.start is None
        and not any((job.run / name).exists() for name in ("done.json", "resume.ckpt"))
    ]
