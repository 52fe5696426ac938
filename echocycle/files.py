"""Files that are there whole or not at all: atomic writes, JSON, hashes."""

import errno
import hashlib
import json
import os
import re
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echocycle.console import console
from echocycle.errors import EchocycleError

LEFTOVERS = ".*.partial*"
"""Temporary files of `replacing`."""
FORMULA = ("=", "+", "-", "@", "\t", "\\t", "\\r")
"""How a cell begins that a spreadsheet computes; a tab and a line end also as `printable` writes them."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def printable(text: str | Path) -> str:
    """A file's name as text that every program can read: what is no Unicode (an old export's Latin-1), and line ends
    and other control characters, are escaped (`Z\\udcfcrich`)."""
    known = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) == "Cc" else each for each in known
    )


def cell(text: str | Path) -> str:
    """Text for a cell of a CSV table that is opened in a spreadsheet: `printable`, and never a formula.

    A name that begins like one (`=cmd|...`, `@SUM(...)`) gets an apostrophe in front, which says that it is text.
    Numbers stay numbers. What was made safe before stays as it is.
    """
    known = printable(text)
    return f"'{known}" if known.startswith(FORMULA) and not NUMBER.fullmatch(known) else known


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place if the block ends without an error.

    The suffix is kept, because some writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Let the disk hold a file, or all files below a folder and their names, before something says they are whole: a
    power cut takes what only the system's memory holds."""
    for each in (path, *path.rglob("*")) if path.is_dir() else (path, path.parent):
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            continue
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives cannot sync a folder
                raise
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what `replacing` left half-written in a folder because its process was killed."""
    for leftover in Path(folder).glob(LEFTOVERS):
        leftover.unlink(missing_ok=True)


def empty_unless_begun(folder: Path, job: dict[str, Any]) -> None:
    """Empty a half-made folder, and say so, unless its started.json names this very job (as JSON gives it back)."""
    sweep(folder)
    started = folder / "started.json"
    before = read_json(started) if started.exists() else None
    left = list(folder.glob("*"))
    if before == job or not left:
        return
    why = "it does not say for what it was begun" if before is None else difference(before, job)
    words = f"{folder} is incomplete and cannot be resumed ({why}); its content is deleted and made again."
    console.print(words, soft_wrap=True, highlight=False)
    for item in left:
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def difference(before: Any, now: Any, where: str = "") -> str:
    """In words, the first value in which two nested dictionaries differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(set(before) | set(now)):
            if before.get(key) != now.get(key):
                return difference(before.get(key), now.get(key), f"{where}.{key}" if where else key)
    return f"{where} was {before!r}, is {now!r}"


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as it is: line ends are not the system's."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or damaged file is an `EchocycleError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EchocycleError(f"{path} is missing.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EchocycleError(f"{path} is not readable JSON ({error}). Restore or delete it.") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
