"""One experiment from its name to its page: the store, the plan, the jobs, the tables."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.table import Table

from echocycle import stages
from echocycle.console import console, output
from echocycle.errors import EchocycleError, Finding
from echocycle.experiments import EXPERIMENTS
from echocycle.experiments.estimate import check_disk, disk_needed, seconds_taken
from echocycle.experiments.executors import Executor, choose_executor
from echocycle.experiments.perform import is_done
from echocycle.experiments.plan import Cell, Experiment, Plan, fraction_value, only, plan
from echocycle.experiments.schedule import Outcome, jobs_word, work
from echocycle.locks import alone_in
from echocycle.methods import options_of
from echocycle.runs import versions
from echocycle.settings.convert import from_dict, to_dict
from echocycle.settings.flags import Flag, Out, Several, Unseen
from echocycle.settings.presets import Preset, preset
from echocycle.settings.stages import RegressSettings, SegmentSettings

if TYPE_CHECKING:
    from echocycle.data.store import Store

MOST_SEEDS = 20
"""Seeds among which earlier calls' trainings are looked for, and most that a chain begins."""
PHANTOM_BYTES_PER_FRAME = 22_000
"""Of a phantom's videos and its frame store at 112 x 112 pixels: 19,700 were measured, and a little room."""


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises `EchocycleError` for an unknown one, and for one that cannot be run yet.
    """
    experiment = EXPERIMENTS.get(name.lower())
    if experiment is None:
        raise EchocycleError(f"There is no experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    if experiment.lacks:
        raise EchocycleError(f"{experiment.name} cannot be run yet: it lacks {experiment.lacks}.")
    return experiment


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
    from echocycle.models.pretrained import require_weights

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
        require_weights(_first_trainings(first))
    opened = None if dry_run and store is None else open_store(store, chosen, out, workers)
    where = opened.path if opened else out / "store", opened.meta["id"] if opened else "", out / "runs"
    planned = plan(asked, chosen, *where, fractions=spelled, seeds=range(seeds))
    for job in planned.jobs.values():
        if isinstance(job.settings, SegmentSettings | RegressSettings):
            options_of(job.settings)  # what is misspelt is said before anything is done
    frames = opened.meta["frames"] if opened else _frames_of(chosen)
    needed = disk_needed(planned, frames, executor.slots if executor else 1)
    if dry_run:
        from echocycle.experiments.forecast import forecast_of

        forecast_of(planned, chosen, opened, out, name=experiment.name, disk=needed).show(details=details)
        return None
    assert opened is not None
    require_weights(_first_trainings(planned))
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


def _first_trainings(planned: Plan) -> list[SegmentSettings | RegressSettings]:
    """Settings of the jobs that will load first weights: trainings that are not begun."""
    return [
        job.settings
        for job in planned.jobs.values()
        if isinstance(job.settings, SegmentSettings | RegressSettings)
        and job.start is None
        and not any((job.run / name).exists() for name in ("done.json", "resume.ckpt"))
    ]


def with_what_is_done(planned: Plan, whole: Plan) -> Plan:
    """What was asked for, and what else of the same experiment an earlier call has done: one table shows it all."""
    asked = {cell.runs for cell in planned.cells}

    def shown(cell: Cell) -> bool:
        return cell.runs in asked or all(is_done(whole.jobs[f"evaluate {run.name}"]) for run in cell.runs)

    return whole.part([cell for cell in whole.cells if shown(cell)])


@contextmanager
def alone_with(store: Path) -> Iterator[None]:
    """No other experiment may work on this store meanwhile: each deletes mask sets that none of its own jobs needs."""
    said = "Another experiment is at work on {folder}: {writer}. Wait until it is done; what both share is then not "
    with alone_in(store, said + "done again."):
        yield


def write_page(
    experiment: Experiment, planned: Plan, outcome: Outcome, store: "Store", chosen: Preset, out: Path
) -> Path | None:
    """The tables of what is done; None where nothing is."""
    from echocycle.experiments.results import write_results

    facts = {
        "date": date.today().isoformat(),
        "made_with": versions(),
        "data": store.provenance(),
        "preset": chosen.name,
        "evaluate": to_dict(chosen.evaluate),
        "minutes": round(outcome.seconds / 60, 1),
        "failed": {
            job: log.read_text(encoding="utf-8").strip().splitlines()[-1] for job, log in outcome.failed.items()
        },
        "blocked": outcome.blocked,
        "left": outcome.left,
        "done": outcome.done,
    }
    if not any((run / "evaluation" / "metrics.json").exists() for cell in planned.cells for run in cell.runs):
        console.print(f"No row of {experiment.name} is evaluated, so there is no table.")
        return None
    return write_results(experiment, planned.cells, out / "results", facts)


def open_store(store: Path | None, chosen: Preset, out: Path, workers: int = 2) -> "Store":
    """The store named, or that of the preset's phantom, which is made in `out` first."""
    from echocycle.data.store import Store

    if store is not None:
        return Store(store)
    from echocycle.phantom.settings import PhantomSettings

    out.mkdir(parents=True, exist_ok=True)
    if not (out / "store").exists():
        check_disk(PHANTOM_BYTES_PER_FRAME * _frames_of(chosen), out)
    stages.phantom(out / "phantom", from_dict(PhantomSettings, chosen.phantom, "phantom."), workers=workers)
    return stages.prepare(out / "phantom", out / "store", replace(chosen.prepare, workers=workers))


def with_one_clip(chosen: Preset) -> Preset:
    """The preset, evaluated on one random clip a video too."""
    evaluate = chosen.evaluate
    if "one-clip" in evaluate.protocol:
        return chosen
    return replace(chosen, evaluate=replace(evaluate, protocol=(*evaluate.protocol, "one-clip")))


def as_printed(fraction: str, experiment: Experiment) -> str:
    """A fraction as the paper's table writes it: 1/8 is 4/32 in Table IV."""
    value = fraction_value(fraction)
    return next((each for each in experiment.fractions if fraction_value(each) == value), fraction)


def _frames_of(chosen: Preset) -> int:
    """About how many frames the preset's phantom has."""
    from echocycle.phantom.settings import PhantomSettings

    settings = from_dict(PhantomSettings, chosen.phantom, "phantom.")
    return settings.videos * settings.frames_median


def list_experiments() -> Table:
    """Every experiment, and what some lack."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "title", "paper", "lacks"):
        table.add_column(name, overflow="fold")
    for each in EXPERIMENTS.values():
        table.add_row(each.name, each.title, each.paper, each.lacks)
    return table


def merged_facts(outcomes: Iterable[Outcome]) -> Outcome:
    """Several outcomes as one."""
    whole = Outcome()
    for each in outcomes:
        whole.done += [job for job in each.done if job not in whole.done]
        whole.failed |= each.failed
        whole.blocked |= each.blocked
        whole.left += each.left
        whole.seconds += each.seconds
    return whole


def as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain JSON."""
    return {
        "done": outcome.done,
        "failed": {job: str(log) for job, log in outcome.failed.items()},
        "blocked": outcome.blocked,
        "left": outcome.left,
        "seconds": outcome.seconds,
    }


def experiment(
    name: str = "",
    *,
    store: Path | None = None,
    seeds: int = 1,
    fractions: Annotated[tuple[str, ...], Several] = (),
    only: Annotated[tuple[str, ...], Several] = (),
    out: Annotated[Path, Out] = Path("echocycle-runs/experiments"),
    dry_run: Annotated[bool, Flag] = False,
    details: Annotated[bool, Flag] = False,
    at_once: int = 1,
    slurm: Annotated[tuple[str, ...], Several] = (),
    chosen: Annotated[Preset | None, Unseen] = None,
) -> Path | None:
    """A table of the paper by name, with our numbers beside the printed ones; without a name, the list of them.

    Resumable: what is done is never done again, by whatever experiment with the same `--out`. `--preset` is `tiny`
    if it is not given.

    Args:
        name: Such as table-1, table-a1, figure-7 or own-row.
        store: A frame store; by default the preset's phantom is drawn.
        seeds: Trainings of each row.
        fractions: Labelled shares such as 1/8 or All; by default those of the table.
        only: Rows to run, by their name in the table or by their method.
        out: Folder for the phantom, the runs and the tables.
        dry_run: Say what it would take (time, memory, protocol, weights, disk), and stop.
        details: With --dry-run: list every job too.
        at_once: Jobs at once: several are done in processes of their own, which share the cores and the GPUs; of a
            cluster's queue, as many as may wait or run in it.
        slurm: Send the jobs to a SLURM cluster, with parameters as submitit names them: `--slurm timeout_min=240
            gpus_per_node=1`.
        chosen: The settings of all stages; by default those of the preset `tiny`.

    Returns:
        The Markdown page; None after a dry run, and without a name.

    Raises:
        Finding: some jobs failed; the others are done and the tables written.
    """
    if not name:
        output.print(list_experiments())
        return None
    return run_experiment(
        name,
        chosen or preset("tiny"),
        store=None if store is None else Path(store),
        seeds=seeds,
        fractions=fractions,
        rows=only,
        out=Path(out),
        dry_run=dry_run,
        details=details,
        executor=choose_executor(at_once, slurm, Path(out) / "jobs"),
    )
