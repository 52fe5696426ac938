"""Blocks as Markdown: the twin of the HTML page."""

import re
from collections.abc import Sequence

from echocycle.reporting.blocks import DISCLAIMER, Block, Cell, Contents, Details, Drawing, Missing, Table, Text
from echocycle.reporting.contents import build_contents
from echocycle.reporting.run_data import ReportData

# --- Markdown -------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Text that cannot break a table or turn into markup."""
    text = re.sub(r"[ \t\r\n]+", " ", text).strip()
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


def _markdown_cell(cell: Cell) -> str:
    return _plain(f"{cell.text} ({cell.small})" if cell.small else cell.text)


def _markdown_table(table: Table) -> list[str]:
    lines = [_plain(table.caption), ""] if table.caption else []
    lines.append("| " + " | ".join(_plain(column.removeprefix("<")) for column in table.columns) + " |")
    marks = ["---" if column.startswith("<") else "--:" for column in table.columns]
    lines.append("| " + " | ".join(marks) + " |")
    return lines + ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in table.rows]


def _markdown_blocks(blocks: Sequence[Block], depth: int) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            lines += [*_markdown_table(block), ""]
        elif isinstance(block, Text):
            lines += [_plain(block.text), ""]
        elif isinstance(block, Missing):
            lines += [f"*Missing: {_plain(block.text)}*", ""]
        elif isinstance(block, Drawing):
            lines += [f"*Figure, in the HTML report: {_plain(block.caption)}*", ""]
        elif isinstance(block, Details):
            lines += ["#" * depth + f" {_plain(block.summary)}", ""]
            lines += _markdown_blocks(block.blocks, depth + 1)
    return lines


def write_markdown(data: ReportData | Contents) -> str:
    """The report as Markdown: the same text and tables; figures are named only."""
    contents = data if isinstance(data, Contents) else build_contents(data)
    lines = [f"# {_plain(contents.title)}", "", DISCLAIMER, ""]
    lines += [f"- {label}: {_plain(value)}" for label, value in (("Date", contents.date), *contents.facts)]
    lines.append("")
    if contents.warnings:
        lines += ["## Warnings", "", *(f"- {_plain(warning)}" for warning in contents.warnings), ""]
    for section in contents.sections:
        lines += [f"## {_plain(section.title)}", "", *_markdown_blocks(section.blocks, 3)]
    return "\n".join(lines).rstrip() + "\n"
