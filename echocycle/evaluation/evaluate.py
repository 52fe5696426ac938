"""Stage `evaluate`: a finished run on the videos of its store; tables first, then the numbers made from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.bundle import load_bundle
from echocycle.console import console
from echocycle.device import choose_device, choose_precision
from echocycle.errors import EchocycleError
from echocycle.evaluation.journal import RowJournal
from echocycle.evaluation.parts import evaluate_regressor, evaluate_segmenter
from echocycle.inference.masks import check_color
from echocycle.locks import alone_in
from echocycle.partial import PartialFolder
from echocycle.runs import Run
from echocycle.settings.convert import identity
from echocycle.settings.stages import EvaluateSettings

if TYPE_CHECKING:
    from echocycle.data.store import Store


def evaluate_run(run: Run, settings: EvaluateSettings, store: Store, folder: Path | None = None) -> Path:
    """Evaluate a run into `folder` (its `evaluation`); goes on after a kill, and is quick when it is already done.

    A run's best part decides: a regression run gives predictions.csv, a segmentation run dice.csv and volumes.csv.
    """
    folder = folder or run.path / "evaluation"
    info = run.info
    job = Job(identity(settings), store.meta["id"])
    made = PartialFolder(folder, {"job": asdict(job)}, seal="metrics.json", private=("journal.jsonl",), in_place=True)

    def check(folder: Path) -> None:
        if missing := [name for name in TABLES[info["stage"]] if not (folder / name).exists()]:
            raise EchocycleError(f"{folder / missing[0]} is missing.")

    if made.closed and all((folder / name).exists() for name in TABLES[info["stage"]]):
        console.print(f"{folder} is already done.")
        return folder
    with alone_in(folder):
        if not made.begin(check):  # all that a kill prevented is the removal of the journal
            made.close()
            console.print(f"{folder} is already done.")
            return folder
        _evaluate(run, info, settings, store, made, job)
    return folder


TABLES = {"segment": ("dice.csv", "volumes.csv"), "regress": ("predictions.csv",)}
"""What an evaluation leaves beside metrics.json, by the run's stage."""


@dataclass(frozen=True)
class Job:
    """What an evaluation is of; that of another job is not resumed."""

    settings: dict[str, Any]
    """Those that its result depends on."""
    store: str
    """The id of the store."""


@dataclass(frozen=True)
class ExactJob(Job):
    """What the rows of its journal depend on besides, which may change until it is done."""

    model: str
    precision: str


def _evaluate(
    run: Run, info: dict[str, Any], settings: EvaluateSettings, store: Store, made: PartialFolder, job: Job
) -> None:
    device = choose_device(settings.device)
    settings = replace(settings, precision=choose_precision(settings.precision, device))
    bundle = load_bundle(run.model, device)
    for part in bundle.parts().values():
        check_color(part, bundle.path, store)
    videos = [int(v) for split in settings.splits for v in store.videos(split)]
    if not videos:
        raise EchocycleError(f"{store.path} has no video in {', '.join(settings.splits)}.")
    exact = ExactJob(job.settings, job.store, bundle.id, settings.precision)
    journal = RowJournal(made.path / "journal.jsonl", asdict(exact))
    whose = {
        "run": run.id,
        "method": info["settings"]["method"],
        "seed": info["settings"]["loop"]["seed"],
    }
    if info["stage"] == "segment":
        metrics = evaluate_segmenter(run, bundle, store, videos, settings, journal, made, device)
    else:
        metrics = evaluate_regressor(run, bundle, store, videos, settings, journal, made, device, whose)
    of = {"job": asdict(job), "run": whose, "model": bundle.id, "precision": settings.precision, "time": settings.time}
    made.seal({**of, **metrics})
    made.close()
