"""Reads CSV files that people have edited, naming the line of every error; the readers of folders use it."""

import codecs
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.datasets.columns import plain_name
from echocycle.errors import EchocycleError

SEPARATORS = ",;\t|"

FIRST_LINES = 20
"""Lines among which the header is looked for: above it may stand a title, empty lines or Excel's `sep=;`."""


@dataclass(frozen=True)
class _Header:
    columns: list[str]
    """In lower case without spaces and signs; those that are understood have our name."""
    written: dict[str, str]
    """Our name -> the name in the file, where the two differ."""
    separator: str
    line: int
    """From 1, as an editor counts."""
    end: int
    """Bytes up to the first row."""


def read_csv(
    path: Path,
    required: Collection[str],
    *,
    single: Collection[str] = (),
    types: Mapping[str, type] | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Read a CSV file as people have it; the index is the line number.

    Understood are a byte-order mark (UTF-8, or UTF-16 as Excel's "Unicode text"), CRLF, commas, semicolons with decimal
    commas, tabs, and lines above the header: empty ones, a title, `sep=;`. Columns are named in lower case without
    spaces and signs. Empty lines are dropped. Without `types` every cell is text and an empty one is "".

    Args:
        required: columns that must exist.
        single: columns that may not occur twice.
        types: types of some columns; a cell that does not fit is a ValueError.
        names: our name of a column -> every name that is understood for it, see `COLUMNS`. `attrs["written"]` of the
            table holds the file's own names where they differ.

    Raises:
        EchocycleError: everything that makes the file unreadable, with its line.
    """
    raw = read_text(path)
    header = _find_header(path, raw, required, names or {})
    columns = header.columns
    _check_columns(path, header, required, single, names or {})
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
                io.BytesIO(raw[header.end :]),
                sep=header.separator,
                decimal="," if header.separator == ";" else ".",
                header=None,
                names=_distinct(columns),
                index_col=False,
                skip_blank_lines=False,
                encoding="utf-8",
                **options,
            )
    except pd.errors.EmptyDataError:
        table = pd.DataFrame({column: [] for column in columns}, dtype=str)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise EchocycleError(f"{path} is not a readable CSV file: {_parser_complaint(error, header.line)}") from None
    table.index = pd.RangeIndex(header.line + 1, header.line + 1 + len(table))
    empty = (table.isna() | (table == "")).all(axis=1)
    table = table[~empty]
    table.attrs["written"] = header.written
    return table


def read_text(path: Path) -> bytes:
    """The text of a file as UTF-8 without a byte-order mark; it is refused if empty or not text."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EchocycleError(f"{path} cannot be read: {error.strerror}.") from None
    if not raw.strip():
        raise EchocycleError(f"{path} is empty. Restore it from the data set.")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            raw = raw.decode("utf-16").encode("utf-8")
        except UnicodeError:
            raise EchocycleError(f"{path} is damaged UTF-16 text. Save the file as CSV in UTF-8.") from None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise EchocycleError(f"{path}, line {line}: not UTF-8 text. Save the file as CSV in UTF-8.") from None
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise EchocycleError(f"{path}, line {line}: a zero byte; the file is damaged. Restore it.")
    return raw


def _find_header(path: Path, raw: bytes, required: Collection[str], names: Mapping[str, Sequence[str]]) -> _Header:
    """The first of the first lines that names every required column; failing that, the first line."""
    headers = []
    start, told = 0, ""
    for number in range(1, FIRST_LINES + 1):
        match = re.compile(rb"\r\n|\r|\n").search(raw, start)
        text = raw[start : match.start() if match else len(raw)].decode("utf-8")
        start = match.end() if match else len(raw)
        if excel := re.fullmatch(r'"?sep=(.)"?', text.strip("\r\n"), re.IGNORECASE):
            told = excel[1]
        elif text.strip(f' \t{SEPARATORS}"'):
            separator = told or max(SEPARATORS, key=text.count)
            try:
                cells = next(csv.reader([text], delimiter=separator), [])
            except (csv.Error, TypeError) as error:
                raise EchocycleError(f"{path}, line {number}: not a readable header ({error}).") from None
            headers.append(_Header(*_our_names(cells, names), separator, number, start))
            if set(required) <= set(headers[-1].columns):
                return headers[-1]
        if match is None:
            break
    return headers[0] if headers else _Header([], {}, ",", 1, start)


def _our_names(cells: Sequence[str], names: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, str]]:
    """Columns by our names, and which were called otherwise. Of several for the same, the first in `names` is it."""
    plain = [plain_name(cell) for cell in cells]
    ours_of: dict[str, str] = {}
    for ours, understood in names.items():
        found = next((name for name in understood if name in plain), None)
        if found is not None and found != ours:
            ours_of[found] = ours
    return [ours_of.get(name, name) for name in plain], {ours: found for found, ours in ours_of.items()}


def _distinct(columns: Sequence[str]) -> list[str]:
    """Number the columns whose name is empty or repeated; only columns that are not read can be."""
    seen: Counter[str] = Counter()
    names: list[str] = []
    for column in columns:
        seen[column] += 1
        names.append(column if column and seen[column] == 1 else f"{column} {seen[column]}")
    return names


def _check_columns(
    path: Path,
    header: _Header,
    required: Collection[str],
    single: Collection[str],
    names: Mapping[str, Sequence[str]],
) -> None:
    columns = header.columns
    lacking = [column for column in required if column not in columns]
    if lacking:
        others = ", ".join(name for column in lacking for name in names.get(column, ())[1:5])
        raise EchocycleError(
            f"{path} has no column {' and no column '.join(lacking)}{f' (or {others}, ...)' if others else ''}; its "
            f"first line must name the columns (capitals do not matter), and it names {_shown(columns)}."
        )
    repeated = [column for column, count in Counter(columns).items() if count > 1 and column in {*required, *single}]
    if repeated:
        raise EchocycleError(
            f"{path}, line {header.line}: column {repeated[0]} occurs more than once. Keep one of them."
        )


def _shown(columns: Sequence[str]) -> str:
    text = ", ".join(columns) or "none"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _parser_complaint(error: Exception, header_line: int) -> str:
    """What pandas complains of, with a line number as an editor counts them."""
    text = str(error)
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", text):
        expected, line, saw = (int(number) for number in match.groups())
        return f"line {line + header_line} has {saw} fields, the header {expected}."
    if match := re.search(r"EOF inside string starting at row (\d+)", text):
        return f"line {int(match[1]) + 1 + header_line} opens a quotation mark that is never closed."
    if isinstance(error, pd.errors.ParserWarning):
        return "its rows have more fields than the first line has names. Are there decimal commas?"
    return text
