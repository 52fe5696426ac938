"""Tracings in the form of EchoNet: a CSV file of chords (X1, Y1, X2, Y2, Frame) or of corners (X, Y, Frame)."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocycle.datasets.columns import CHORD_COLUMNS, number_of
from echocycle.datasets.contours.traced import Phase, Traced, Wanted, fill, phase_of
from echocycle.datasets.csv_table import read_csv
from echocycle.datasets.lookup import nfc, path_parts, without_suffix
from echocycle.datasets.tracing import trace_mask
from echocycle.errors import EchocycleError

CHORDS = ("x1", "y1", "x2", "y2")


def read_tracings(path: Path, wanted: Wanted) -> list[Traced]:
    """The video's traced frames. Without a column FileName all rows are its own.

    Of a traced frame with several contours the first one counts. A frame that is not a number (`End diastole`) is read
    as a phase.
    """
    stat = path.stat() if path.exists() else None
    table, by_name = _table(path, stat and stat.st_size, stat and stat.st_mtime_ns)
    corners = not set(CHORDS) <= set(table.columns)
    if by_name is not None:
        table = table.iloc[by_name.get(nfc(wanted.name).casefold(), [])]
    found: list[Traced] = []
    for written, rows in table.groupby("frame", sort=False):
        frame, phase = _frame(path, str(written), int(rows.index[0]))
        values = _numbers(path, rows, ("x", "y") if corners else CHORDS)
        if corners:
            mask = fill(path, (values + 0.5).tolist(), wanted)
        elif len(values) < 3:
            raise EchocycleError(f"{path}, line {rows.index[0]}: frame {written} has fewer than 3 rows.")
        else:
            mask = trace_mask(values, height=wanted.height, width=wanted.width)
        found.append(Traced(frame, phase, mask))
    return found


@lru_cache(maxsize=2)
def _table(path: Path, *_state: object) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """The file, and its rows by the name of the video, read once for all its videos; `_state` tells a changed file."""
    table = read_csv(path, ["frame"], names=CHORD_COLUMNS)
    if not {"x", "y"} <= set(table.columns) and not set(CHORDS) <= set(table.columns):
        raise EchocycleError(f"{path} has neither columns X1, Y1, X2, Y2 (chords) nor X, Y (corners) beside Frame.")
    if "filename" not in table:
        return table, None
    return table, {name: rows for name, rows in table.groupby(_plain_names(table)).indices.items() if name}


def _plain_names(table: pd.DataFrame) -> pd.Series:
    return table["filename"].map(lambda cell: without_suffix(nfc((path_parts(cell) or [""])[-1])).casefold())


def corner_names(path: Path) -> set[str] | None:
    """Names, without capitals, of the videos whose corners (X, Y) a file holds; None where it holds chords."""
    stat = path.stat()
    try:
        table, by_name = _table(path, stat.st_size, stat.st_mtime_ns)
    except EchocycleError:  # the reader of chords says what is wrong
        return None
    return set(by_name or ()) if not set(CHORDS) <= set(table.columns) else None


def _frame(path: Path, written: str, line: int) -> tuple[int | None, Phase]:
    number = number_of(written)
    if number >= 0 and number % 1 == 0:
        return int(number), ""
    phase = phase_of(written)
    if not phase:
        raise EchocycleError(f"{path}, line {line}: Frame is {written!r}, which is no frame number from 0.")
    return None, phase


def _numbers(path: Path, rows: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    values = np.array([[number_of(cell) for cell in rows[column]] for column in columns]).T
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise EchocycleError(f"{path}, line {rows.index[bad][0]}: a coordinate is not a number. Correct the row.")
    return values
