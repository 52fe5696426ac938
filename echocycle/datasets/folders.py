"""What lies in a folder: recordings at any depth, and what they are called in a store."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from echocycle.datasets.lookup import nfc, without_suffix
from echocycle.errors import EchocycleError
from echocycle.recordings.find import RESULTS, Found, find_recordings


def recordings_below(folder: Path) -> tuple[list[Path], list[Found]]:
    """Recordings below a folder in order, members of zip archives among them; and what cannot be reached."""
    try:
        found = list(find_recordings([folder]))
    except EchocycleError:  # there is none
        return [], []
    paths = [folder / each.path.relative_to(each.top) for each in found if each.path is not None]
    return paths, [each for each in found if each.problem]


def holds_recordings(folder: Path) -> bool:
    """Whether a folder holds recordings, or what says why it cannot be reached, and is no run and no store."""
    if any((folder / name).exists() for name in RESULTS):
        return False
    try:
        return next(find_recordings([folder]), None) is not None
    except EchocycleError:
        return False


def store_name(root: Path, path: Path) -> str:
    """A recording's name in the store: its path without suffix, folders joined by `-`."""
    parts = path.relative_to(root).parts
    folders = [part.removesuffix(".zip!") for part in parts[:-1]]
    text = "-".join((*folders, without_suffix(parts[-1])))
    return nfc(os.fsencode(text).decode("utf-8", "backslashreplace"))


def distinct_names(root: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Names in the store; where two would be alike, suffix and number are added."""
    plain = {path: store_name(root, path) for path in paths}
    count = Counter(plain.values())
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path, name in plain.items():
        if count[name] > 1:
            name += path.suffix.lower() or "-file"
        number, base = 2, name
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        names[path] = name
        taken.add(name)
    return names
