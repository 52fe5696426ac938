"""Files are checked before they are used, every key and every size: one sentence where something is wrong."""

from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import read_json

NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "named values",
    list: "a list",
    type(None): "null",
}
"""What a kind of JSON value is called."""


def checked_json(path: Path, kinds: Mapping[str, Any], remedy: str) -> dict[str, Any]:
    """A JSON file that has these keys, each of its kind; it may have others.

    Args:
        kinds: of each key a type, a tuple of types, or the kinds of the values named inside it.
        remedy: what to do where the file is not as it should be.

    Raises:
        EchocycleError: the file is missing or damaged, a key is missing, or a value is of another kind.
    """
    content = read_json(path)
    check_kinds(content, kinds, f"{path}: ", remedy)
    return content  # type: ignore[no-any-return]


def check_kinds(content: Any, kinds: Mapping[str, Any], where: str, remedy: str) -> None:
    """Refuse named values of which one is missing or of another kind; `where` stands before the key."""
    if not isinstance(content, dict):
        raise EchocycleError(f"{where}named values are expected, not {_short(content)}. {remedy}")
    for key, kind in kinds.items():
        if key not in content:
            raise EchocycleError(f"{where}{key} is missing. {remedy}")
        value = content[key]
        if isinstance(kind, Mapping):
            if not isinstance(value, dict):
                raise EchocycleError(f"{where}{key} is {_short(value)}; it takes named values. {remedy}")
            check_kinds(value, kind, f"{where}{key}.", remedy)
        elif not _is_of(value, kind if isinstance(kind, tuple) else (kind,)):
            names = " or ".join(NAMES[each] for each in (kind if isinstance(kind, tuple) else (kind,)))
            raise EchocycleError(f"{where}{key} is {_short(value)}; it takes {names}. {remedy}")


def _is_of(value: Any, kinds: tuple[type, ...]) -> bool:
    """`True` is no whole number here, and a whole number is a number."""
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (isinstance(value, int) and float in kinds)


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) < 60 else f"{text[:50]}..."


def checked_array(path: Path, remedy: str, *, mapped: bool = False) -> np.ndarray:
    """A .npy file, memory-mapped if asked for.

    Raises `EchocycleError` where it is missing, cut off or something else.
    """
    try:
        found: np.ndarray = np.load(path, mmap_mode="r" if mapped else None)
    except FileNotFoundError:
        raise EchocycleError(f"{path} is missing. {remedy}") from None
    except (ValueError, EOFError, SyntaxError, OverflowError, TokenError) as error:  # its head is a line of Python
        raise EchocycleError(f"{path} is not whole ({error}). {remedy}") from None
    if not isinstance(found, np.ndarray):
        raise EchocycleError(f"{path} is no array. {remedy}")
    return found


def check_size(path: Path, expected: int, because: str, remedy: str) -> None:
    """Refuse a file that has another number of bytes than what belongs to it says."""
    if not path.exists():
        raise EchocycleError(f"{path} is missing. {remedy}")
    size = path.stat().st_size
    if size != expected:
        raise EchocycleError(f"{path} has {size} bytes; {because} {expected}. {remedy}")
