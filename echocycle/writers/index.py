"""End of the flow: `index.html`, the list of all recordings of a folder that have a page."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from echocycle.errors import EchocycleError
from echocycle.files import printable, replacing
from echocycle.prediction import DISCLAIMER
from echocycle.writers.as_failures import Failure
from echocycle.writers.as_json import read_prediction
from echocycle.writers.as_page import SUFFIX, style, template

NAME = "index.html"


def write_index(folder: Path, failures: Sequence[Failure]) -> Path:
    """Write the list, whole or not at all; rows are read and written one by one, so 100,000 need no memory."""
    path = Path(folder) / NAME
    parts = template("index.html.jinja").generate(
        style=style(), rows=_rows(Path(folder)), failures=failures, disclaimer=DISCLAIMER
    )
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(parts)
    return path


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for page in sorted(folder.rglob(f"*.{SUFFIX}")):
        if page.name.startswith("."):
            continue
        stem = page.name.removesuffix(f".{SUFFIX}")
        try:
            found = read_prediction(page.with_name(f"{stem}.json"))
        except EchocycleError:  # damaged since: the next call makes it anew
            found = None
        if found is None:
            continue
        yield {
            "link": quote(page.relative_to(folder).as_posix(), errors="surrogateescape"),
            "name": printable(page.relative_to(folder).as_posix().removesuffix(f".{SUFFIX}")),
            "flagged": found.flagged,
            "answer": found.answer_in_words(),
            "network": _number(found.ef if found.ef_clips else None),
            "discs": _number(found.ef_by_discs),
            "rate": _number(found.heart_rate, 0),
            "doubts": " ".join(flag.sentence for flag in found.flags if flag.severity != "note"),
        }


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
