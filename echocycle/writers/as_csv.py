"""End of the flow: all recordings in one table, `predictions.csv`, for spreadsheets and statistics."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.prediction import Prediction

NAME = "predictions.csv"
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
    "notes",
)


def write_csv(predictions: Iterable[Prediction], folder: Path) -> Path:
    """Add a row for each prediction to `predictions.csv`, or replace the recording's. For one process at a time."""
    rows = {row["source"]: row for row in read_rows(folder)}
    rows |= {prediction.source: as_row(prediction) for prediction in predictions}
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows.values())
    path = Path(folder) / NAME
    write_text(path, text.getvalue())
    return path


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The rows of this writer's table in a folder; none if there is no file."""
    path = Path(folder) / NAME
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
        "notes": "; ".join(prediction.notes),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
