"""The report: sections of text, tables and figures to one self-contained HTML page, or to Markdown.

The page asks no other host for anything and runs no script. It follows the reader's light or dark setting,
and prints.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from echocycle.evaluation import figures
from echocycle.evaluation.contents import (
    Block,
    Cell,
    Contents,
    Details,
    Drawing,
    LabelBudget,
    Missing,
    Overlays,
    Provenance,
    ReportData,
    RunReport,
    Table,
    Text,
    build_contents,
)
from echocycle.files import write_text

__all__ = [
    "LabelBudget",
    "Overlays",
    "Provenance",
    "ReportData",
    "RunReport",
    "render_report",
    "write_markdown",
    "write_report",
]

DISCLAIMER = "Research software, not a medical device."

_PAGE_COLOURS = {figures.INK: "ink", figures.MUTED: "muted", figures.GRID: "line"} | {
    colour: f"series-{number}" for number, colour in enumerate(figures.SERIES[:4])
}


def inline_svg(svg: str, prefix: str) -> Markup:
    """An SVG as part of an HTML page: only the element, ids of its own, and the colours and font of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r"url\(#", f"url(#{prefix}-", svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    for colour, name in _PAGE_COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("echocycle", "evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = iter(range(1, 1_000_000))
    environment.globals["inline"] = lambda svg: inline_svg(svg, f"f{next(numbers)}")
    return environment


def render_report(data: ReportData | Contents) -> str:
    """The report as one HTML page. Nothing is skipped silently: what is missing is named where it belongs."""
    contents = data if isinstance(data, Contents) else build_contents(data)
    page = _environment().get_template("report.html.jinja").render(report=contents, disclaimer=DISCLAIMER)
    return re.sub(r"\n\s*\n+", "\n", page)


def write_report(path: Path, data: ReportData | Contents) -> None:
    """Write the HTML page to `path`, whole or not at all."""
    write_text(path, render_report(data))


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
