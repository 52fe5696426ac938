"""What pages are made of: words, tables, figures, details, in sections. Nothing here knows a run or a file.

The report on runs, the pages of experiments and the page of the benchmark are all a `Page`; `markdown.py` and
`html.py` are the two ways to write any of them down, `files.py` gives its tables and figures as files of their own.
To add an analysis to the report, write a function that gives a `Section` of these blocks (see `sections.py`).
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from echocycle.evaluation.intervals import Interval

DISCLAIMER = "Research software, not a medical device."

# --- words ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """What is typed or stands in a file as it is."""

    text: str


@dataclass(frozen=True)
class Emphasis:
    text: str


@dataclass(frozen=True)
class Strong:
    text: str


@dataclass(frozen=True)
class Link:
    """`url`: `#anchor`, a path relative to the page, or an address."""

    text: str
    url: str


Part = str | Code | Emphasis | Strong | Link
Words = str | tuple[Part, ...]
"""Plain text, which can never turn into markup, or parts of it that are set apart."""


def marked(text: str) -> tuple[Part, ...]:
    """Words whose writer marked `code` and *emphasis*; for text of the program's own, never for names from data."""
    parts: list[Part] = []
    for piece in re.split(r"(`[^`]+`|(?<![\w*])\*[^\s*][^*]*\*(?![\w*]))", text):
        if piece.startswith("`"):
            parts.append(Code(piece[1:-1]))
        elif piece.startswith("*") and len(piece) > 2:
            parts.append(Emphasis(piece[1:-1]))
        elif piece:
            parts.append(piece)
    return tuple(parts)


def parts_of(words: Words) -> tuple[Part, ...]:
    """Words as parts."""
    return (words,) if isinstance(words, str) else words


def plain(words: Words) -> str:
    """Words without what sets some apart."""
    return "".join(part if isinstance(part, str) else part.text for part in parts_of(words))


# --- blocks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A paragraph; a line end in it is kept where the form of the page can."""

    text: Words
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Lead:
    """The sentence to read first."""

    text: Words
    kind: ClassVar[str] = "lead"


@dataclass(frozen=True)
class Items:
    """A list with bullets."""

    items: Sequence[Words]
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Facts:
    """Pairs of a label and what is so called."""

    facts: Sequence[tuple[str, Words]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Beware:
    """What must be known before the numbers are believed."""

    title: str
    items: Sequence[Words]
    kind: ClassVar[str] = "beware"


@dataclass(frozen=True)
class Missing:
    """Says what is not there, and which file would bring it."""

    text: Words
    kind: ClassVar[str] = "missing"


@dataclass(frozen=True)
class Cell:
    """A table's cell: a number or word, and in small print its interval or an explanation.

    `value`, `low` and `high` are the numbers behind the text, for tables that are read by programs. `link`: the address
    that a word leads to.
    """

    text: str
    small: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    link: str = ""


@dataclass(frozen=True)
class Table:
    """Columns whose name starts with `<` hold words and are set to the left.

    `name` is that of its files; `tall` says that the page may show it in a box that scrolls.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: Words = ""
    name: str = ""
    tall: bool = False
    kind: ClassVar[str] = "table"


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: Words = "", name: str = "") -> Table:
    """A table of plain text."""
    return Table(columns, [[Cell(text) for text in row] for row in rows], caption, name)


class Picture(Protocol):
    """A figure that can be drawn in each format that is asked for (`figures.Picture`); sizes in inches."""

    @property
    def svg(self) -> str: ...

    @property
    def width(self) -> float: ...

    def png(self) -> bytes: ...


@dataclass(frozen=True)
class Figure:
    """A picture and what to see in it. `name` is that of its files; `file` where a file of it lies already."""

    picture: Picture
    caption: str
    name: str = ""
    file: str = ""
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Side:
    """Small figures beside one another where there is room."""

    figures: Sequence[Figure]
    kind: ClassVar[str] = "side"


@dataclass(frozen=True)
class Tile:
    """A number to see first."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Tiles:
    tiles: Sequence[Tile]
    kind: ClassVar[str] = "tiles"


@dataclass(frozen=True)
class Details:
    """Blocks that a reader may unfold."""

    summary: str
    blocks: "Sequence[Block]"
    kind: ClassVar[str] = "details"


Block = Text | Lead | Items | Facts | Beware | Missing | Table | Figure | Side | Tiles | Details


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return anchor(self.title)


@dataclass(frozen=True)
class Page:
    """A whole page before it is written down: a title, what stands above the sections, and the sections."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]
    kicker: str = DISCLAIMER
    """The line that goes with the title, above or below."""


def anchor(title: str) -> str:
    """A title as part of an address or a file's name."""
    return re.sub(r"-+", "-", "".join(letter if letter.isalnum() else "-" for letter in title.lower())).strip("-")


def all_blocks(blocks: Iterable[Block]) -> Iterable[Block]:
    """Blocks, and what is folded into them."""
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from all_blocks(block.blocks)
        elif isinstance(block, Side):
            yield from block.figures


# --- numbers as text ------------------------------------------------------------------------------


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number with a real minus sign; a dash where it is undefined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", "−")


def count(value: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def several(value: int, one: str, many: str = "") -> str:
    """A count with its noun: `1 video`, `12 videos`."""
    return f"{count(value)} {one if value == 1 else many or one + 's'}"


def p_value(p: float) -> str:
    """A p-value; nothing is ever shown as 0."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number_cell(value: float, digits: int = 2, sign: bool = False) -> Cell:
    """A number as a cell."""
    return Cell(number(value, digits, sign), value=value)


def count_cell(value: int) -> Cell:
    """A count as a cell."""
    return Cell(count(value), value=value)


def interval_cell(interval: Interval, digits: int = 2, scale: float = 1, sign: bool = False) -> Cell:
    """A value with its interval in small print."""
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    small = f"{number(low, digits)} to {number(high, digits)}" if math.isfinite(low) else ""
    return Cell(number(value, digits, sign), small, value, low, high)


def percent(level: float) -> str:
    return f"{100 * level:g} %"


def joined(names: Iterable[str]) -> str:
    return ", ".join(names)
