"""End of the flow: all recordings in one table, `predictions.csv`, and all their beats in another, `beats.csv`."""

import math
from collections.abc import Iterable
from pathlib import Path

from echocycle.prediction import EfInterval, Prediction
from echocycle.writers.tables import GrowingTable, Row, read_table

NAME, BEATS = "predictions.csv", "beats.csv"
FIRST_COLUMNS = (
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
"""The heading of earlier versions."""
COLUMNS = (
    *FIRST_COLUMNS,
    "headline",
    "flagged",
    "flags",
    "ef_low",
    "ef_high",
    "ef_by_discs_low",
    "ef_by_discs_high",
    "category",
    "category_probability",
    "ef_disagreement",
    "ef_area_length",
    "edv",
    "esv",
    "volume_unit",
    "heart_rate",
    "rate_variation",
    "ef_variation",
    "irregular",
    "axis_shortening",
    "longitudinal_shortening",
    "beats",
)
BEAT_COLUMNS = (
    "source",
    "beat",
    "ed_frame",
    "es_frame",
    "ed_s",
    "es_s",
    "ef_by_discs",
    "ef_area_length",
    "ef_by_regression",
    "edv",
    "esv",
    "volume_unit",
    "interval_s",
    "rate",
    "axis_shortening",
    "wall_shortening",
    "whole",
)


class Table:
    """`predictions.csv` and `beats.csv` of a folder while rows are added; see `GrowingTable`.

    Raises `EchocycleError` if another kind of table lies there under that name, or a damaged one.
    """

    def __init__(self, folder: Path):
        self.videos, self.beats = _videos(Path(folder)), _beats(Path(folder))
        self.path = self.videos.path

    def put(self, prediction: Prediction) -> None:
        """Add the prediction's row and those of its beats, unless these very rows are there."""
        self.beats.put(prediction.source, beat_rows(prediction))
        self.videos.put(prediction.source, [as_row(prediction)])

    def close(self) -> None:
        """Leave each recording's last rows, in the place of its first."""
        self.beats.close()
        self.videos.close()


def _videos(folder: Path) -> GrowingTable:
    return GrowingTable(folder / NAME, COLUMNS, earlier=[FIRST_COLUMNS])


def _beats(folder: Path) -> GrowingTable:
    return GrowingTable(folder / BEATS, BEAT_COLUMNS, first=lambda row: row["beat"] == "1")


def write_csv(predictions: Iterable[Prediction], folder: Path) -> Path:
    """Add rows for each prediction to the tables, or replace the recording's. For one process at a time."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    table = Table(folder)
    for prediction in predictions:
        table.put(prediction)
    table.close()
    return table.path


def read_rows(folder: Path) -> list[Row]:
    """The whole rows of `predictions.csv` in a folder; none if there is no file. The file is left as it is."""
    return [row for row in read_table(Path(folder) / NAME, COLUMNS, [FIRST_COLUMNS]) if row is not None]


def as_row(prediction: Prediction) -> Row:
    """The prediction as text cells; unknown numbers are empty."""
    row_mm, column_mm = prediction.spacing_mm
    regression, discs = _ends(prediction.interval), _ends(prediction.interval_by_discs)
    category, chance = max(prediction.category_probabilities.items(), key=lambda each: each[1], default=("", None))
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
        "headline": prediction.headline or "",
        "flagged": _yes(prediction.flagged),
        "flags": " ".join(flag.code for flag in prediction.flags),
        "ef_low": regression[0],
        "ef_high": regression[1],
        "ef_by_discs_low": discs[0],
        "ef_by_discs_high": discs[1],
        "category": category,
        "category_probability": _number(chance),
        "ef_disagreement": _number(prediction.ef_disagreement),
        "ef_area_length": _number(prediction.ef_area_length),
        "edv": _number(prediction.edv),
        "esv": _number(prediction.esv),
        "volume_unit": prediction.volume_unit or "",
        "heart_rate": _number(prediction.heart_rate),
        "rate_variation": _number(prediction.rate_variation),
        "ef_variation": _number(prediction.ef_variation),
        "irregular": _yes(prediction.irregular),
        "axis_shortening": _number(prediction.axis_shortening),
        "longitudinal_shortening": _number(prediction.longitudinal_shortening),
        "beats": str(len(prediction.beats)),
    }


def beat_rows(prediction: Prediction) -> list[Row]:
    """The beats as text cells, numbered from 1; unknown numbers are empty."""
    return [
        {
            "source": prediction.source,
            "beat": str(number),
            "ed_frame": str(beat.ed),
            "es_frame": str(beat.es),
            "ed_s": _number(beat.ed / prediction.fps),
            "es_s": _number(beat.es / prediction.fps),
            "ef_by_discs": _number(beat.ef),
            "ef_area_length": _number(beat.ef_area_length),
            "ef_by_regression": _number(beat.ef_by_regression),
            "edv": _number(beat.edv),
            "esv": _number(beat.esv),
            "volume_unit": prediction.volume_unit or "",
            "interval_s": _number(beat.interval_s),
            "rate": _number(beat.rate),
            "axis_shortening": _number(beat.axis_shortening),
            "wall_shortening": _number(beat.wall_shortening),
            "whole": _yes(beat.whole),
        }
        for number, beat in enumerate(prediction.beats, 1)
    ]


def _ends(interval: EfInterval | None) -> tuple[str, str]:
    return ("", "") if interval is None else (_number(interval.low), _number(interval.high))


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
