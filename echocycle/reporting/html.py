"""The report: sections of text, tables and figures to one self-contained HTML page, or to Markdown.

The page asks no other host for anything and runs no script. It follows the reader's light or dark setting,
and prints.
"""

import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from echocycle.files import write_text
from echocycle.reporting import figures
from echocycle.reporting.blocks import DISCLAIMER, Contents
from echocycle.reporting.contents import build_contents
from echocycle.reporting.markdown import write_markdown
from echocycle.reporting.run_data import LabelBudget, Overlays, Provenance, ReportData, RunReport

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
