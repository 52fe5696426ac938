"""Reads CSV files that people have edited, naming the line of every error; the readers of folders use it."""

import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.errors import EchocycleError


def read_csv(
    path: Path,
    required: Collection[str],
    *,
    single: Collection[str] = (),
    types: Mapping[str, type] | None = None,
) -> pd.DataFrame:
    """Read a CSV file, also with BOM, CRLF or semicolons and decimal commas; the index is the line number.

    Columns are named in lower case without spaces and underscores; those `required` must exist, and those in
    `single` may not occur twice. Empty lines are dropped. Without `types` every cell is text and an empty one
    is ""; with `types` for some columns, a cell that does not fit is a ValueError. Everything that makes the
    file unreadable is an `EchocycleError` with its line.
    """
    raw = read_text(path)
    header = re.split(rb"[\r\n]", raw, maxsplit=1)[0].decode("utf-8-sig")
    separator = max(",;\t", key=header.count)
    columns = [plain(name) for name in _header_names(path, header, separator)]
    _check_columns(path, columns, required, single)
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_filter": False}
    if types is not None:
        options = {
            "dtype": {column: types[column] for column in columns if column in types},
            "low_memory": False,
        }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(raw),
                sep=separator,
                decimal="," if separator == ";" else ".",
                header=None,
                names=_distinct(columns),
                skiprows=1,
                index_col=False,
                skip_blank_lines=False,
                encoding="utf-8-sig",
                **options,
            )
    except pd.errors.EmptyDataError:
        table = pd.DataFrame({column: [] for column in columns}, dtype=str)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise EchocycleError(f"{path} is not a readable CSV file: {_parser_complaint(error)}") from None
    table.index = pd.RangeIndex(2, len(table) + 2)
    empty = (table.isna() | (table == "")).all(axis=1)
    return table[~empty]


def read_text(path: Path) -> bytes:
    """The bytes of a file that is UTF-8 text and not empty."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EchocycleError(f"{path} cannot be read: {error.strerror}.") from None
    if not raw.strip():
        raise EchocycleError(f"{path} is empty. Restore it from the data set.")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise EchocycleError(f"{path}, line {line}: not UTF-8 text. Save the file as CSV in UTF-8.") from None
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise EchocycleError(f"{path}, line {line}: a zero byte; the file is damaged. Restore it.")
    return raw


def _header_names(path: Path, header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator), [])
    except csv.Error as error:
        raise EchocycleError(f"{path}, line 1: not a readable header ({error}).") from None


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _distinct(columns: Sequence[str]) -> list[str]:
    """Number the columns whose name is empty or repeated; only columns that are not read can be."""
    seen: Counter[str] = Counter()
    names = []
    for column in columns:
        seen[column] += 1
        names.append(column if column and seen[column] == 1 else f"{column} {seen[column]}")
    return names


def _check_columns(path: Path, columns: Sequence[str], required: Collection[str], single: Collection[str]) -> None:
    lacking = [column for column in required if column not in columns]
    if lacking:
        raise EchocycleError(
            f"{path} has no column {' and no column '.join(lacking)}; its first line must name the columns "
            f"(capitals do not matter), and it names {', '.join(columns) or 'none'}."
        )
    repeated = [column for column, count in Counter(columns).items() if count > 1 and column in {*required, *single}]
    if repeated:
        raise EchocycleError(f"{path}, line 1: column {repeated[0]} occurs more than once. Keep one of them.")


def _parser_complaint(error: Exception) -> str:
    """What pandas complains of, with a line number as an editor counts them."""
    text = str(error)
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text):
        expected, line, saw = (int(number) for number in match.groups())
        return f"line {line} has {saw} fields, the header {expected}."
    if match := re.search(r"EOF inside string starting at row (\d+)", text):
        return f"line {int(match[1]) + 1} opens a quotation mark that is never closed."
    if isinstance(error, pd.errors.ParserWarning):
        return "its rows have more fields than the first line has names. Are there decimal commas?"
    return text
