"""What pages are made of: text, tables, drawings, sections. Nothing here knows a run or a file."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from echocycle.evaluation.intervals import Interval

DISCLAIMER = "Research software, not a medical device."


@dataclass(frozen=True)
class Cell:
    """A table's cell: a number or word, and in small print its interval or an explanation."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """Columns whose name starts with `<` hold words and are set to the left."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Text:
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Missing:
    """Says what is not there, and which file would bring it."""

    text: str
    kind: str = "missing"


@dataclass(frozen=True)
class Drawing:
    svg: str
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Details:
    """Blocks that a reader may unfold."""

    summary: str
    blocks: Sequence[Any]
    kind: str = "details"


Block = Text | Table | Missing | Drawing | Details


@dataclass(frozen=True)
class Tile:
    """A number to see first."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Contents:
    """A whole report before it is written down."""

    title: str
    date: str
    facts: Sequence[tuple[str, str]]
    tiles: Sequence[Tile]
    warnings: Sequence[str]
    sections: Sequence[Section]


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


def p_value(p: float) -> str:
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval_cell(interval: Interval, digits: int = 2, scale: float = 1, sign: bool = False) -> Cell:
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    small = f"{number(low, digits)} to {number(high, digits)}" if math.isfinite(low) else ""
    return Cell(number(value, digits, sign), small)


def percent(level: float) -> str:
    return f"{100 * level:g} %"


def joined(names: Iterable[str]) -> str:
    return ", ".join(names)
