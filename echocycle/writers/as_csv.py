"""End of the flow: all recordings in one table, `predictions.csv`, for spreadsheets and statistics."""

import csv
import math
from pathlib import Path

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.prediction import Prediction

COLUMNS = (
    "source",
    "ef",
    "ef_by_discs",
    "clips",
    "protocol",
    "fps",
    "frames",
    "spacing_row_mm",
    "spacing_column_mm",
    "ed_frames",
    "es_frames",
    "model",
    "model_hash",
    "notes",
)


def write_csv(prediction: Prediction, folder: Path) -> Path:
    """Add one row to `predictions.csv`, or replace the recording's earlier row. For one process at a time."""
    path = Path(folder) / "predictions.csv"
    rows = [row for row in read_rows(path) if row["source"] != prediction.source]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows([*rows, as_row(prediction)])
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a `predictions.csv` of this writer; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise EchocycleError(f"{path} is another kind of table. Choose another output folder.")
        return list(table)


def as_row(prediction: Prediction) -> dict[str, str]:
    """The prediction as text cells; unknown numbers are empty."""
    row_mm, column_mm = prediction.spacing_mm
    return {
        "source": prediction.source,
        "ef": _number(prediction.ef),
        "ef_by_discs": _number(prediction.ef_by_discs),
        "clips": str(len(prediction.ef_clips)),
        "protocol": prediction.protocol,
        "fps": _number(prediction.fps),
        "frames": str(prediction.n_frames),
        "spacing_row_mm": _number(row_mm),
        "spacing_column_mm": _number(column_mm),
        "ed_frames": " ".join(map(str, prediction.ed_frames)),
        "es_frames": " ".join(map(str, prediction.es_frames)),
        "model": str(prediction.model.get("id", "")),
        "model_hash": str(prediction.model.get("hash", "")),
        "notes": "; ".join(prediction.notes),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
