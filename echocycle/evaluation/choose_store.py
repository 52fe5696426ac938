"""Which store a run is evaluated on: its own, wherever it lies now, or another."""

from pathlib import Path

from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.calibrate import keep_calibration
from echocycle.evaluation.evaluate import evaluate_run
from echocycle.runs import Run, finished
from echocycle.settings.stages import EvaluateSettings
from echocycle.training.opened import require_store


def evaluate_on(run: Path, settings: EvaluateSettings, *, store: Path | None, external: Path | None) -> Path:
    """`evaluate_run` on the run's store, which may have moved, or on an external one; gives the folder."""
    if external is None:
        done = finished(run)
        opened = _store_of(run, store)
        folder = evaluate_run(done, settings, opened)
        if Run(run).info["stage"] == "regress":
            keep_calibration(Run(run), opened)
        return folder
    if store is not None:
        raise EchocycleError("Name either `--store` or `--external`.")
    other = Store(external)
    return evaluate_run(finished(run), settings, other, Path(run) / f"external-{other.meta['id']}")


def store_for(run: Path, *, store: Path | None, external: Path | None) -> tuple[Store, Path]:
    """The store that a run is looked at on, and the folder for what is found there: the run's own, or `external-ID`."""
    run = Path(run)
    if external is None:
        finished(run)
        return _store_of(run, store), run
    if store is not None:
        raise EchocycleError("Name either `--store` or `--external`.")
    other = Store(external)
    return other, run / f"external-{other.meta['id']}"


def _store_of(run: Path, store: Path | None) -> Store:
    """The store that a run was trained on, where it lies now."""
    opened = Store(store or Path(Run(run).info["where"]["store"]))
    require_store(run, opened)
    return opened
