"""Values of a DICOM header, whatever it holds: empty, doubled, of a wrong or unknown type. Never an exception.

pydicom parses an element when it is asked for and raises in many ways if its bytes do not suit its type. One odd
element is no reason to lose a recording, so here such a value is a missing one.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset


def value(dataset: "Dataset", keyword: str) -> Any:
    """The value as pydicom has it; None if it is missing, empty or cannot be parsed."""
    try:
        found = dataset.get(keyword)
    except Exception:  # NotImplementedError, BytesLengthException, struct.error, ... by the kind of damage
        return None
    return None if found is None or (isinstance(found, str) and not found.strip()) else found


def numbers(dataset: "Dataset", keyword: str) -> list[float]:
    """All values as finite floats; empty if one of them is anything else."""
    found = value(dataset, keyword)
    try:
        values = [found] if isinstance(found, str | int | float) else list(found or [])
        converted = [float(number) for number in values]
    except (TypeError, ValueError, OverflowError):
        return []
    return converted if all(map(math.isfinite, converted)) else []


def number(dataset: "Dataset", keyword: str) -> float:
    """The one value as a float; NaN if there is none, or more than one."""
    values = numbers(dataset, keyword)
    return values[0] if len(values) == 1 else math.nan


def whole(dataset: "Dataset", keyword: str) -> int | None:
    """The one value as a whole number; None if there is none, more than one, or it has a fraction."""
    found = number(dataset, keyword)
    return int(found) if math.isfinite(found) and found == int(found) else None


def text(dataset: "Dataset", keyword: str) -> str:
    """The value as text, several joined by a backslash as in the file; empty if there is none."""
    found = value(dataset, keyword)
    if found is None:
        return ""
    if isinstance(found, bytes):
        return found.decode("ascii", "replace").strip(" \0")
    try:
        if isinstance(found, Iterable) and not isinstance(found, str):
            return "\\".join(str(part) for part in found)
        return str(found).strip(" \0")
    except Exception:  # a person's name or a date with bytes of no known alphabet
        return ""


def items(dataset: "Dataset", keyword: str) -> list["Dataset"]:
    """The items of a sequence; empty if it is none."""
    from pydicom import Dataset

    found = value(dataset, keyword)
    try:
        return [item for item in found or [] if isinstance(item, Dataset)]
    except TypeError:
        return []
