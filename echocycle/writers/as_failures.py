"""End of the flow: what has no result, and why, as one table for programs: `failures.csv`."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from echocycle.errors import EchocycleError
from echocycle.files import cell, write_text

NAME = "failures.csv"


@dataclass(frozen=True)
class Failure:
    """A recording (or a folder that cannot be listed) without an EF."""

    source: str
    kind: Literal["unreadable", "refused", "unexpected", "not measured"]
    """`unreadable`: no recording, or a damaged one. `refused`: the system refused, such as a missing permission.
    `unexpected`: a fault of this program; its traceback stands in predict.log. `not measured`: read, but without EF."""
    message: str


COLUMNS = tuple(field.name for field in fields(Failure))


def check_failures(folder: Path) -> None:
    """Refuse a folder in which a table of that name is not this writer's."""
    path = Path(folder) / NAME
    if path.exists():
        with path.open("rb") as file:
            if file.readline(200).strip() != ",".join(COLUMNS).encode():
                raise EchocycleError(f"{path} is another kind of table. Choose another output folder, or move it.")


def write_failures(failures: Iterable[Failure], folder: Path) -> Path:
    """Write the failures of one call, whole or not at all; the heading alone where there are none."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows([cell(each) for each in astuple(failure)] for failure in failures)
    path = Path(folder) / NAME
    write_text(path, text.getvalue())
    return path
