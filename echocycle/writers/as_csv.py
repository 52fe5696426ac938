"""End of the flow: all recordings in one table, `predictions.csv`, for spreadsheets and statistics.

A row is appended as soon as its recording is done, so a kill loses the row under way at most, and that one comes back
from the recording's JSON when the call is made again.
"""

import csv
import io
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from echocycle.errors import EchocycleError
from echocycle.files import printable, replacing, write_text
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


class Table:
    """`predictions.csv` of a folder while rows are added. For one process at a time.

    What is there is kept; a row that a kill or a full disk left unfinished is dropped.

    Raises `EchocycleError` if another kind of table lies there under that name, or a damaged one.
    """

    def __init__(self, folder: Path):
        self.path = Path(folder) / NAME
        self._rows: dict[str, int] = {}  # source -> a checksum of its row: small, for folders of 100,000
        self._twice = False
        torn = False
        for row in _rows(self.path):
            if row is None:
                torn = True
            else:
                self._note(row["source"], _line([row[column] for column in COLUMNS]))
        if torn:
            self._rewrite()

    def put(self, prediction: Prediction) -> None:
        """Add the prediction's row, unless that very row is there."""
        row = as_row(prediction)
        line = _line([row[column] for column in COLUMNS])
        if self._rows.get(row["source"]) == zlib.crc32(line.encode()):
            return
        if not self.path.exists():
            write_text(self.path, _line(COLUMNS))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line)
        self._note(row["source"], line)

    def close(self) -> None:
        """Leave one row for each recording, the last, in the place of the first."""
        if self._twice:
            self._rewrite()
            self._twice = False

    def _note(self, source: str, line: str) -> None:
        self._twice |= source in self._rows
        self._rows[source] = zlib.crc32(line.encode())

    def _rewrite(self) -> None:
        """The table with one row for each source, whole or not at all; only rows that are there twice are held."""
        seen: set[str] = set()
        last: dict[str, dict[str, str]] = {}
        for row in _rows(self.path):
            if row is not None:
                if row["source"] in seen:
                    last[row["source"]] = row
                seen.add(row["source"])
        with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(_line(COLUMNS))
            for row in _rows(self.path):
                if row is not None and row["source"] in seen:
                    seen.remove(row["source"])
                    row = last.get(row["source"], row)
                    file.write(_line([row[column] for column in COLUMNS]))


def write_csv(predictions: Iterable[Prediction], folder: Path) -> Path:
    """Add a row for each prediction to `predictions.csv`, or replace the recording's. For one process at a time."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    table = Table(folder)
    for prediction in predictions:
        table.put(prediction)
    table.close()
    return table.path


def read_rows(folder: Path) -> list[dict[str, str]]:
    """The whole rows of this writer's table in a folder; none if there is no file."""
    return [row for row in _rows(Path(folder) / NAME) if row is not None]


def _rows(path: Path) -> Iterator[dict[str, str] | None]:
    """The rows of a table, one after the other; last of all None for one that is not whole."""
    if not path.exists():
        return
    other = EchocycleError(f"{path} is another kind of table, or damaged. Choose another output folder, or move it.")
    torn = False

    def lines(file: BinaryIO) -> Iterator[str]:
        nonlocal torn
        for line in file:
            if not line.endswith(b"\n"):
                torn = True
                return
            yield line.decode()

    with path.open("rb") as file:
        table = csv.reader(lines(file), strict=True)
        try:
            if tuple(next(table, ())) != COLUMNS:
                raise other
            for row in table:
                if len(row) != len(COLUMNS):
                    raise other
                yield dict(zip(COLUMNS, row, strict=True))
        except UnicodeDecodeError:
            raise other from None
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                raise other from None
            torn = True
    if torn:
        yield None


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def as_row(prediction: Prediction) -> dict[str, str]:
    """The prediction as text cells; unknown numbers are empty."""
    row_mm, column_mm = prediction.spacing_mm
    return {
        "source": printable(prediction.source),
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
        "notes": printable("; ".join(prediction.notes)),
    }


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"
