"""A page as PDF, from its HTML: the same words, tables and figures, set for paper."""

from pathlib import Path

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.reporting.blocks import Page
from echocycle.reporting.html import write_html


def write_pdf(page: Page, path: Path) -> None:
    """Write the page as PDF.

    Raises:
        EchocycleError: the system lacks pango, with which weasyprint sets text.
    """
    try:
        from weasyprint import HTML
    except OSError as error:
        raise EchocycleError(
            f"{path} cannot be made: weasyprint finds no pango ({str(error).splitlines()[0]}). Install it (Debian: "
            "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0); the HTML page is there without it."
        ) from None
    with replacing(path) as temporary:
        HTML(string=write_html(page, paper=True), base_url=str(path.parent)).write_pdf(temporary)
