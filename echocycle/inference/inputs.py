"""Start of `predict`: which files are recordings, and what their results are called. PyTorch is not imported here."""

import hashlib
import unicodedata
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from echocycle.files import printable
from echocycle.recordings.archive import opened
from echocycle.recordings.find import find_recordings, is_overlay
from echocycle.writers.as_failures import Failure

LONGEST_NAME = 180
"""Bytes of a result's name without suffix: file systems take 255, and a temporary name is longer than the last."""


@dataclass(frozen=True)
class Input:
    """A file to be predicted."""

    path: Path
    """Absolute, so that a result tells whose it is; of a member of a zip the path that stands for it."""
    name: str
    """Where its results lie below the output folder, without suffix: the path below the folder that was named."""

    @property
    def source(self) -> str:
        """The path as text that every program can read."""
        return printable(self.path)

    def opened(self) -> AbstractContextManager[Path]:
        """The file to read, for as long as it is read."""
        return opened(self.path)

    @property
    def other_name(self) -> str:
        """A name that no other recording has, for where `name` is taken."""
        return f"{self.name}~{hashlib.sha256(self.source.encode()).hexdigest()[:8]}"


def find_inputs(inputs: list[Path], out: Path) -> tuple[list[Input], list[Failure]]:
    """The recordings of files, folders, DICOMDIR files and zip archives; and what could not be looked at.

    Left out are the output folder and what `find_recordings` passes over.

    Raises:
        EchocycleError: nothing was named, or nothing was found.
    """
    recordings: list[Input] = []
    failures: list[Failure] = []
    named = {Path(path).absolute() for path in inputs}
    for found in find_recordings(inputs, exclude=[out]):
        if found.path is None:
            kind: Literal["refused", "unreadable"] = "refused" if found.refused else "unreadable"
            failures.append(Failure(printable(found.origin), kind, str(found.problem)))
        elif found.path in named and is_overlay(found.path):
            told = f"{found.path} is an overlay that `predict` made; name the recording itself."
            failures.append(Failure(printable(found.path), "unreadable", told))
        else:
            recordings.append(Input(found.path, found.path.relative_to(found.top).as_posix()))
    return _distinct(recordings), failures


def _distinct(found: list[Input]) -> list[Input]:
    """The same files with names that differ, also on systems that fold case: by the folders above where needed."""
    depth = {each.path: 0 for each in found}
    while True:
        named = {each.path: _name(each, depth[each.path]) for each in found}
        taken: dict[str, list[Path]] = {}
        for path, name in named.items():
            taken.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(path)
        twice = [path for paths in taken.values() if len(paths) > 1 for path in paths]
        longer = [path for path in twice if depth[path] < len(path.parts)]
        if not longer:
            made = [replace(each, name=named[each.path]) for each in found]
            return [replace(each, name=each.other_name) if each.path in twice else each for each in made]
        for path in longer:
            depth[path] += 1


def _name(each: Input, above: int) -> str:
    """The name with so many more of the folders above, each part of it short and readable."""
    below = len(PurePosixPath(each.name).parts)
    parts = each.path.relative_to(each.path.anchor).parts
    parts = parts[max(0, len(parts) - below - above) :]
    return "/".join(_short(printable(part).replace("/", "_")) for part in parts)


def _short(part: str) -> str:
    coded = part.encode()
    if len(coded) <= LONGEST_NAME:
        return part
    return f"{coded[: LONGEST_NAME - 9].decode(errors='ignore')}~{hashlib.sha256(coded).hexdigest()[:8]}"
