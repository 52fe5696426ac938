"""The command `experiment`: a table of the paper by its name, or the list of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table

from echocycle.console import output
from echocycle.experiments import EXPERIMENTS
from echocycle.experiments.executors import choose_executor
from echocycle.experiments.flow import run_experiment
from echocycle.settings.flags import Flag, Out, Several, Unseen
from echocycle.settings.presets import Preset, preset

if TYPE_CHECKING:
    pass


def list_experiments() -> Table:
    """Every experiment, and what some lack."""
    table = Table(box=None, pad_edge=False)
    for name in ("name", "title", "paper", "lacks"):
        table.add_column(name, overflow="fold")
    for each in EXPERIMENTS.values():
        table.add_row(each.name, each.title, each.paper, each.lacks)
    return table


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
