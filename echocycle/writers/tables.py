"""Tables of all recordings that grow by a recording at a time: predictions.csv, beats.csv.

A recording's rows are appended as soon as it is done, so a kill loses those under way at most, and they come back from
the recording's JSON when the call is made again.
"""

import csv
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from echocycle.errors import EchocycleError
from echocycle.files import cell, replacing, write_text

Row = dict[str, str]


class GrowingTable:
    """A table whose first column, `source`, says which recording a row is of. For one process at a time.

    What is there is kept; a row that a kill or a full disk left unfinished is dropped. Cells are made safe for
    spreadsheets (`files.cell`).

    Args:
        first: whether a row is the first of its recording's.
        earlier: headings of earlier versions, each the beginning of `columns`; such a table is written anew with all
            columns.

    Raises:
        EchocycleError: another kind of table lies there under that name, or a damaged one.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        first: Callable[[Row], bool] = lambda row: True,
        earlier: Sequence[Sequence[str]] = (),
    ):
        self.path, self.columns, self._first, self._earlier = Path(path), tuple(columns), first, earlier
        self._known: dict[str, int] = {}  # source -> a checksum of its rows: small, for folders of 100,000
        self._untidy = False
        old = self.path.exists() and self._heading() != self.columns
        torn = False
        for block in self._blocks():
            if block is None:
                torn = True
            else:
                self._note(block[0]["source"], self._lines(block))
        if torn or old:
            self._rewrite()

    def put(self, source: str, rows: Sequence[Row]) -> None:
        """Let a recording's rows be these, unless they are these already; none takes it out of the table."""
        source = cell(source)
        text = self._lines([{**row, "source": source} for row in rows])
        if not rows:
            self._untidy |= self._known.pop(source, None) is not None
            return
        if self._known.get(source) == zlib.crc32(text.encode()):
            return
        if not self.path.exists():
            write_text(self.path, _line(self.columns))
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
        self._note(source, text)

    def close(self) -> None:
        """Leave each recording's last rows, in the place of its first."""
        if self._untidy:
            self._rewrite()
            self._untidy = False

    def _note(self, source: str, text: str) -> None:
        self._untidy |= source in self._known
        self._known[source] = zlib.crc32(text.encode())

    def _lines(self, rows: Iterable[Row]) -> str:
        return "".join(_line(row[column] for column in self.columns) for row in rows)

    def _rewrite(self) -> None:
        """The table tidied, whole or not at all; only rows that are there twice are held."""
        seen: set[str] = set()
        last: dict[str, list[Row]] = {}
        for block in self._blocks():
            if block is not None:
                source = block[0]["source"]
                if source in seen:
                    last[source] = block
                seen.add(source)
        with replacing(self.path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(_line(self.columns))
            for block in self._blocks():
                if block is not None and block[0]["source"] in seen:
                    source = block[0]["source"]
                    seen.remove(source)
                    if source in self._known:
                        file.write(self._lines(last.get(source, block)))

    def _blocks(self) -> Iterator[list[Row] | None]:
        """The rows of one recording after those of another; last of all None if one is not whole."""
        block: list[Row] = []
        for row in read_table(self.path, self.columns, self._earlier):
            if block and (row is None or row["source"] != block[0]["source"] or self._first(row)):
                yield block
                block = []
            if row is None:
                yield None
            else:
                block.append(row)
        if block:
            yield block

    def _heading(self) -> tuple[str, ...]:
        with self.path.open("rb") as file:
            line = file.readline().decode(errors="replace")
        return tuple(next(csv.reader([line]), ()))


def read_table(path: Path, columns: Sequence[str], earlier: Sequence[Sequence[str]] = ()) -> Iterator[Row | None]:
    """The rows of a table, one after the other; last of all None for one that is not whole. Nothing without a file.

    Args:
        earlier: headings of earlier versions; columns that they lack are empty.

    Raises:
        EchocycleError: another kind of table, or a damaged one.
    """
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
            heading = tuple(next(table, ()))
            if heading != tuple(columns) and heading not in map(tuple, earlier):
                raise other
            empty = dict.fromkeys(columns, "")
            for row in table:
                if len(row) != len(heading):
                    raise other
                yield {**empty, **dict(zip(heading, row, strict=True))}
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
    csv.writer(text, lineterminator="\n").writerow([cell(each) for each in cells])
    return text.getvalue()
