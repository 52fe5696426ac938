"""What a run says of itself besides its settings: labels used, helpers, first weights."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.errors import EchocycleError
from echocycle.runs import Run
from echocycle.settings.stages import RegressSettings, SegmentSettings

if TYPE_CHECKING:
    from echocycle.training.opened import OpenedData


def true_budget(data: OpenedData, helpers: list[Path]) -> dict[str, Any]:
    """The label counts of this run, and of everything it is built on together."""
    names = data.store.index["name"]
    budget = data.budget
    used = set(names.iloc[list(budget.labelled + budget.validation + budget.calibration)])
    if budget.settings.allow_unlabelled_annotation:
        used |= set(names.iloc[list(budget.unlabelled)])
    for helper in helpers:
        rows = _labels_of(helper)
        read = {"labelled", "validation", "calibration"}
        if Run(helper).info["budget"]["unlabelled_annotation_allowed"]:
            read.add("unlabelled")
        used |= {row["name"] for row in rows if row["subset"] in read}
    return {**budget.summary(), "labels_used_in_all": len(used)}


def _labels_of(run: Path) -> list[dict[str, str]]:
    """The rows of a run's labels.csv."""
    path = run / "labels.csv"
    if not path.exists():
        raise EchocycleError(f"{path} is missing, so it is not known which labels {run} used. Copy the run again.")
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise EchocycleError(f"{path} is not readable ({error}). Copy the run again.") from None
    if not rows or any(row.get("name") is None or row.get("subset") is None for row in rows):
        raise EchocycleError(f"{path} does not say name and subset of every video. Copy the run again.")
    return rows


def label_table(data: OpenedData) -> str:
    """labels.csv: every training and validation video with its subset, and the EF of the labelled ones, percent."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "subset", "ef"])
    names, ef = data.store.index["name"], data.store.index["ef"]
    budget = data.budget
    for subset in ("labelled", "unlabelled", "excluded", "validation", "calibration"):
        known = subset == "labelled"
        for video in getattr(budget, subset):
            table.writerow([names[video], subset, repr(float(ef[video])) if known and math.isfinite(ef[video]) else ""])
    return text.getvalue()


def by_name(helpers: dict[Path, str]) -> dict[str, str]:
    """The id of each run's bundle by the run's name, with its folder's where two have the same."""
    paths = [path.resolve() for path in helpers]
    names = [path.name for path in paths]
    unique = [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return dict(zip(unique, helpers.values(), strict=True))


def weights_of(settings: SegmentSettings | RegressSettings) -> str:
    """What a run's first weights are: their name where that says it all, else the SHA-256 of their file."""
    from echocycle.files import sha256
    from echocycle.models.packaged import zero_regressor, zero_segmenter
    from echocycle.models.regressor import shapes_file
    from echocycle.models.weights import weights_file

    if settings.weights in ("none", "kinetics", "imagenet"):
        return settings.weights
    if isinstance(settings, RegressSettings) and settings.weights == "shapes":
        return sha256(shapes_file(settings.network, settings.widths))
    if settings.weights == "zero":
        if isinstance(settings, RegressSettings):
            return sha256(zero_regressor(settings.network, settings.widths))
        return sha256(zero_segmenter())
    return sha256(weights_file(settings.weights))
