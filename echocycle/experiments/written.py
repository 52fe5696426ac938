"""What is done of an experiment, written as its tables and page."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from echocycle.console import console
from echocycle.experiments.plan import Experiment, Plan
from echocycle.experiments.schedule import Outcome
from echocycle.runs import versions
from echocycle.settings.convert import to_dict
from echocycle.settings.presets import Preset

if TYPE_CHECKING:
    from echocycle.data.store import Store


def write_page(
    experiment: Experiment, planned: Plan, outcome: Outcome, store: Store, chosen: Preset, out: Path
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
