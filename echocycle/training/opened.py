"""The data of a training: a store, its label budget, what a method may see of it, and the input's statistics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echocycle.errors import EchocycleError
from echocycle.runs import Run
from echocycle.settings.stages import LabelSettings

if TYPE_CHECKING:
    from echocycle.data.labels import LabelBudget, TrainingData
    from echocycle.data.mask_set import MaskSet
    from echocycle.data.store import Store
    from echocycle.models.specs import Part
    from echocycle.training.method import Inputs


@dataclass(frozen=True)
class OpenedData:
    """A store with its budget and what methods may see of it."""

    store: Store
    budget: LabelBudget
    view: TrainingData


def open_data(
    store: Path | Store, labels: LabelSettings, needs: Literal["ef", "tracing"], masks: MaskSet | None = None
) -> OpenedData:
    from echocycle.data.labels import TrainingData, draw_budget
    from echocycle.data.store import Store

    opened = store if isinstance(store, Store) else Store(store)
    budget = draw_budget(opened, labels, needs=needs)
    return OpenedData(opened, budget, TrainingData(opened, budget, masks))


def require_store(run: Path, opened: Store) -> None:
    """Refuse another store than the run's own: its training videos may be test videos there."""
    own = Run(run).info["data"]["id"]
    if opened.meta["id"] != own:
        raise EchocycleError(
            f"{opened.path} is not the store that {run} was trained on (ids {opened.meta['id']} and {own}); name "
            "that one."
        )


def inputs_of(data: OpenedData, teachers: tuple[Part, ...] = ()) -> Inputs:
    """Statistics of the training videos; a student takes its (first) teacher's."""
    from echocycle.data.statistics import input_statistics
    from echocycle.training.method import Inputs

    if teachers:
        return Inputs(teachers[0].spec.mean, teachers[0].spec.std, data.store.color, teachers)
    mean, std = input_statistics(data.view)
    return Inputs(mean, std, data.store.color)
