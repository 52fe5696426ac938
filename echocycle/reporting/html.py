"""A page as HTML: one self-contained file, the one way in which all pages of the project become HTML.

The page asks no other host for anything and runs no script. It follows the reader's light or dark setting, can be
read on a phone, and prints.
"""

import base64
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from echocycle.reporting import figures
from echocycle.reporting.blocks import Cell, Code, Emphasis, Link, Page, Part, Strong, Words, parts_of

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


def paper_svg(svg: str) -> Markup:
    """An SVG as a picture of its own, for paper: what makes PDF knows neither the page's colours nor its font in it."""
    data = base64.b64encode(svg[svg.index("<svg") :].encode()).decode()
    return Markup('<img alt="" src="data:image/svg+xml;base64,{}">').format(data)


def _part(part: Part) -> Markup:
    match part:
        case Code(text):
            return Markup("<code>{}</code>").format(text)
        case Emphasis(text):
            return Markup("<em>{}</em>").format(text)
        case Strong(text):
            return Markup("<strong>{}</strong>").format(text)
        case Link(text, url):
            return Markup('<a href="{}">{}</a>').format(url, text)
        case _:
            return escape(part)


def _words(words: Words) -> Markup:
    return Markup("").join(_part(part) for part in parts_of(words))


def _cell_text(cell: Cell) -> Markup:
    return _part(Link(cell.text, cell.link) if cell.link else cell.text)


def write_html(page: Page, *, paper: bool = False) -> str:
    """The page as HTML; with `paper` for a program that makes PDF of it, with everything unfolded."""
    environment = Environment(
        loader=PackageLoader("echocycle.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = iter(range(1, 1_000_000))
    environment.globals["inline"] = paper_svg if paper else lambda svg: inline_svg(svg, f"f{next(numbers)}")
    environment.globals["paper"] = paper
    environment.globals["words"] = _words
    environment.globals["cell_text"] = _cell_text
    text = environment.get_template("page.html.jinja").render(page=page)
    return re.sub(r"\n\s*\n+", "\n", text)
