"""Start of `predict`: which files are recordings, and what their results are called. PyTorch is not imported here."""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from echocycle.errors import EchocycleError
from echocycle.files import printable
from echocycle.recordings.recording import SUPPORTED, VIDEO_SUFFIXES, may_be_recording
from echocycle.writers.as_failures import Failure

OVERLAY = ".overlay.mp4"
LONGEST_NAME = 180
"""Bytes of a result's name without suffix: file systems take 255, and a temporary name is longer than the last."""


@dataclass(frozen=True)
class Input:
    """A file to be predicted."""

    path: Path
    """Absolute, so that a result tells whose it is."""
    name: str
    """Where its results lie below the output folder, without suffix: the path below the folder that was named."""

    @property
    def source(self) -> str:
        """The path as text that every program can read."""
        return printable(self.path)

    @property
    def other_name(self) -> str:
        """A name that no other recording has, for where `name` is taken."""
        return f"{self.name}~{hashlib.sha256(self.source.encode()).hexdigest()[:8]}"


def find_inputs(inputs: list[Path], out: Path) -> tuple[list[Input], list[Failure]]:
    """Files named, and in folders every file that may be a recording; and what could not be looked at.

    Left out are hidden files and folders, the output folder, and overlay videos that lie beside their JSON. Links to
    folders are followed, each folder once.

    Raises:
        EchocycleError: nothing was named, or nothing was found.
    """
    if not inputs:
        raise EchocycleError(f"Name at least one recording or folder; supported are {SUPPORTED}.")
    found: dict[Path, Input] = {}
    failures: list[Failure] = []
    visited: set[tuple[int, int]] = set()
    for path in map(Path.absolute, inputs):
        if not path.is_dir():
            if _is_overlay(path):
                told = f"{path} is an overlay that `predict` made; name the recording itself."
                failures.append(Failure(printable(path), "unreadable", told))
            else:
                found.setdefault(path, Input(path, path.name))
            continue
        failed, again = len(failures), _place(path) in visited
        here = sorted(_files(path, out, visited, failures))
        for inside in here:
            found.setdefault(inside, Input(inside, inside.relative_to(path).as_posix()))
        if not here and len(failures) == failed and not again:
            told = f"The folder {path} holds no recording; supported are {SUPPORTED}."
            if len(inputs) == 1:
                raise EchocycleError(told)
            failures.append(Failure(printable(path), "unreadable", told))
    return _distinct(list(found.values())), failures


def _files(top: Path, out: Path, visited: set[tuple[int, int]], failures: list[Failure]) -> Iterator[Path]:
    """Files below a folder that may be recordings; real folders first, so that a link to one gives it no other name."""
    hidden_from = {_place(out)} - {None, _place(top)}
    waiting = [top]

    def refused(error: OSError) -> None:
        told = f"The folder {error.filename} cannot be listed ({error.strerror})."
        failures.append(Failure(printable(error.filename), "refused", told))

    while waiting:
        for name, folders, files in os.walk(waiting.pop(0), onerror=refused):
            folder = Path(name)
            place = _place(folder)
            if place is None or place in visited or place in hidden_from:
                folders.clear()
                continue
            visited.add(place)
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            waiting += [folder / each for each in folders if (folder / each).is_symlink()]
            yield from (folder / each for each in files if _wanted(folder / each))


def _wanted(path: Path) -> bool:
    """Whether a file in a folder is to be predicted; what cannot be opened is, so that it is not passed over."""
    if path.name.startswith(".") or _is_overlay(path):
        return False
    if path.is_symlink() and not path.exists():  # what a data manager has not fetched
        return path.suffix.lower() in (".dcm", *VIDEO_SUFFIXES)
    try:
        return path.is_file() and may_be_recording(path)
    except OSError:
        return True


def _is_overlay(path: Path) -> bool:
    stem = path.name.removesuffix(OVERLAY)
    return stem != path.name and path.with_name(f"{stem}.json").exists()


def _place(folder: Path) -> tuple[int, int] | None:
    """What folder it is, whatever it is called; None if there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
