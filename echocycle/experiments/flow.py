"""One experiment from its name to its page: the store, the plan, the jobs, the tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echocycle.console import output
from echocycle.errors import EchocycleError, Finding
from echocycle.experiments.asked import as_printed, find, with_one_clip
from echocycle.experiments.estimate import check_disk, disk_needed, seconds_taken
from echocycle.experiments.ground import alone_with, frames_of, open_store
from echocycle.experiments.perform import require_first_weights, with_what_is_done
from echocycle.experiments.plan import fraction_value, only, plan
from echocycle.experiments.schedule import jobs_word, work
from echocycle.experiments.written import write_page
from echocycle.methods import options_of
from echocycle.settings.stages import RegressSettings, SegmentSettings

if TYPE_CHECKING:
    from echocycle.experiments.executors import Executor
    from echocycle.settings.presets import Preset

MOST_SEEDS = 20
"""Seeds among which earlier calls' trainings are looked for, and most that a chain begins."""


def run_experiment(
    name: str,
    chosen: Preset,
    *,
    store: Path | None,
    seeds: int,
    fractions: Iterable[str],
    rows: Iterable[str],
    out: Path,
    dry_run: bool,
    details: bool = False,
    workers: int = 2,
    executor: Executor | None = None,
) -> Path | None:
    """Run an experiment, or resume it, and write its tables; with `dry_run` only say what would be run.

    Args:
        workers: processes that draw and decode videos.
        executor: who does the jobs; by default this process.

    Returns:
        The Markdown page, or None after a dry run.

    Raises:
        Finding: some jobs failed; everything else is done and the tables are written from it.
    """
    experiment = find(name)
    if seeds < 1:
        raise EchocycleError(f"seeds is {seeds}; at least 1 is needed.")
    chosen = with_one_clip(chosen)
    spelled = list(dict.fromkeys(as_printed(fraction, experiment) for fraction in fractions)) or experiment.fractions
    if "test" not in chosen.evaluate.splits:
        raise EchocycleError("evaluate.splits leaves out the test videos, which every table is about; add `test`.")
    if dry_run and store is None and (out / "store" / "store.json").exists():
        store = out / "store"
    asked = only(experiment.rows, rows)
    if not dry_run and store is None and not (out / "store").exists():  # nothing is begun; the phantom takes a while
        first = plan(asked, chosen, out / "store", "", out / "runs", fractions=spelled, seeds=range(seeds))
        require_first_weights(first)
    opened = None if dry_run and store is None else open_store(store, chosen, out, workers)
    where = opened.path if opened else out / "store", opened.meta["id"] if opened else "", out / "runs"
    planned = plan(asked, chosen, *where, fractions=spelled, seeds=range(seeds))
    for job in planned.jobs.values():
        if isinstance(job.settings, SegmentSettings | RegressSettings):
            options_of(job.settings)  # what is misspelt is said before anything is done
    frames = opened.meta["frames"] if opened else frames_of(chosen)
    needed = disk_needed(planned, frames, executor.slots if executor else 1)
    if dry_run:
        from echocycle.experiments.forecast import forecast_of

        forecast_of(planned, chosen, opened, out, name=experiment.name, disk=needed).show(details=details)
        return None
    assert opened is not None
    require_first_weights(planned)
    if not len(opened.videos("test")):
        raise EchocycleError(f"{opened.path} has no test videos, which every table is about; give some the split TEST.")
    out.mkdir(parents=True, exist_ok=True)
    check_disk(needed, out, opened.path)  # weights lie in the one, masks in the other
    with alone_with(opened.path):
        outcome = work(planned, out / "jobs", executor=executor)
    fractions = sorted({*spelled, *experiment.fractions}, key=fraction_value)
    whole = plan(experiment.rows, chosen, *where, fractions=fractions, seeds=range(max(seeds, MOST_SEEDS)))
    shown = with_what_is_done(planned, whole)
    outcome = replace(outcome, seconds=seconds_taken(shown.jobs, out / "jobs"))
    page = write_page(experiment, shown, outcome, opened, chosen, out)
    if page is not None:
        output.print(f"{page} written.")
    if outcome.failed:
        logs = "\n".join(f"  {job}: {log}" for job, log in outcome.failed.items())
        raise Finding(f"{jobs_word(len(outcome.failed))} failed; the same command tries them again. Logs:\n{logs}")
    return page
