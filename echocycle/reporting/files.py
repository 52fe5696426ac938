"""A page's tables and figures as files of their own: CSV and LaTeX, SVG and PNG, for papers, slides and programs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.files import cell, replacing, write_text
from echocycle.reporting.blocks import Block, Cell, Details, Figure, Page, Side, Table, anchor

_LATEX = {
    "−": "$-$",
    "\u2009": r"\,",
    "\u00a0": "~",
    "±": r"$\pm$",
    "∓": r"$\mp$",
    "²": "$^2$",
    "³": "$^3$",
    "…": r"\dots",
}


def as_frame(table: Table) -> pd.DataFrame:
    """A table for programs: numbers as numbers, the ends of intervals in columns of their own, no dashes."""
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(table.columns):
        name = name.removeprefix("<")
        cells = [row[place] for row in table.rows]
        columns[name] = [_value(cell) for cell in cells]
        if any(cell.low is not None for cell in cells):
            columns[f"{name}, low"] = [cell.low for cell in cells]
            columns[f"{name}, high"] = [cell.high for cell in cells]
        elif any(cell.small for cell in cells):
            columns[f"{name}, note"] = [cell.small for cell in cells]
    return pd.DataFrame(columns)


def _value(cell: Cell) -> float | int | str | None:
    if cell.value is not None:
        return int(cell.value) if isinstance(cell.value, int) else cell.value
    return "" if cell.text == "–" else cell.text.replace("−", "-").replace("\u2009", "")


def as_csv(table: Table) -> str:
    """A table as CSV (`as_frame`); names of videos and patients are no formulas."""
    frame = as_frame(table)
    frame = frame.map(lambda value: cell(value) if isinstance(value, str) else value).rename(columns=cell)
    return frame.to_csv(index=False, lineterminator="\n")


def as_latex(table: Table) -> str:
    """A table as LaTeX for the package booktabs, as the page shows it."""
    names = [name.removeprefix("<") for name in table.columns]
    rows = [[f"{cell.text} ({cell.small})" if cell.small else cell.text for cell in row] for row in table.rows]
    form = "".join("l" if name.startswith("<") else "r" for name in table.columns)
    text: str = pd.DataFrame(rows, columns=names).to_latex(index=False, escape=True, column_format=form)
    for letter, command in _LATEX.items():
        text = text.replace(letter, command)
    return text


def write_files(page: Page, folder: Path, *, seen_from: Path) -> Page:
    """Write each table as CSV and LaTeX and each figure as SVG and PNG into a folder, which is the page's own.

    What an earlier page left there of these kinds is removed first: it would be taken for this one's.

    Args:
        seen_from: the folder of the page, from which its figures are then found.

    Returns:
        The page, its figures knowing their files.
    """
    names = _Names()
    for old in (file for end in ("csv", "tex", "svg", "png") for file in folder.glob(f"*.{end}")):
        old.unlink()

    def table(block: Table) -> Table:
        name = names.next(block.name)
        write_text(folder / f"{name}.csv", as_csv(block))
        write_text(folder / f"{name}.tex", as_latex(block))
        return block

    def figure(block: Figure) -> Figure:
        name = names.next(block.name)
        write_text(folder / f"{name}.svg", block.picture.svg)
        with replacing(folder / f"{name}.png") as temporary:
            temporary.write_bytes(block.picture.png())
        return replace(block, file=(folder / f"{name}.svg").relative_to(seen_from).as_posix())

    def blocks(items: Any) -> list[Block]:
        return [_with(item, table, figure, blocks) for item in items]

    lead = blocks(page.lead)
    sections = []
    for section in page.sections:
        names.section = section.anchor
        sections.append(replace(section, blocks=blocks(section.blocks)))
    return replace(page, lead=lead, sections=sections)


def _with(
    block: Block,
    table: Callable[[Table], Table],
    figure: Callable[[Figure], Figure],
    blocks: Callable[[Any], list[Block]],
) -> Block:
    match block:
        case Table():
            return table(block)
        case Figure():
            return figure(block)
        case Side(figures):
            return Side([figure(each) for each in figures])
        case Details(summary, inside):
            return Details(summary, blocks(inside))
        case _:
            return block


class _Names:
    """A name for each file: that of its block, or its section's with a number; no two the same."""

    def __init__(self) -> None:
        self.section = "summary"
        self._taken: set[str] = set()

    def _candidates(self, wanted: str) -> Iterator[str]:
        stem = anchor(wanted) or self.section
        if wanted:
            yield stem
        yield from (f"{stem}-{number}" for number in range(2 if wanted else 1, 1_000_000))

    def next(self, wanted: str) -> str:
        name = next(each for each in self._candidates(wanted) if each not in self._taken)
        self._taken.add(name)
        return name
