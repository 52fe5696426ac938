"""Finds the file that a list means: other Unicode forms, capitals, suffixes, and paths of another machine."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from echocycle.recordings.recording import VIDEO_SUFFIXES, may_be_recording

RECORDING_SUFFIXES = (*VIDEO_SUFFIXES, ".dcm", ".dicom")
"""Suffixes that a list may leave out or write otherwise; the first ones win where two files differ in nothing else."""

_SUFFIX = re.compile(f"({'|'.join(re.escape(suffix) for suffix in RECORDING_SUFFIXES)})$", re.IGNORECASE)

Key = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """What a written name leads to."""

    path: Path | None
    """None where there is no such file, or several that it may mean."""
    others: tuple[Path, ...] = ()
    """Further files that it may mean: with a path they differ in the suffix only, without one in the folder."""
    other_spelling: bool = False
    """Whether capitals differ between list and disk."""


class Lookup:
    """Files of a folder by every name that a list may give them."""

    def __init__(self, root: Path, paths: Iterable[Path]) -> None:
        self._whole: defaultdict[Key, list[Path]] = defaultdict(list)
        self._tails: defaultdict[Key, list[Path]] = defaultdict(list)
        for path in paths:
            key = _key(path.relative_to(root).parts)
            self._whole[key].append(path)
            for start in range(len(key)):
                self._tails[key[start:]].append(path)

    def find(self, written: str) -> Match:
        """The file that a name or path means.

        A path may begin above this folder (`C:\\data\\p1\\clip.avi`, where p1/clip.avi lies here) or below it
        (`clip.avi`, where only p1/clip.avi is called so). A whole path counts before part of one.
        """
        parts = path_parts(written)
        if not parts or ".." in parts:
            return Match(None)
        key = _key(parts)
        found = self._whole.get(key) or self._tails.get(key) or []
        for start in range(1, len(key)):
            found = found or self._whole.get(key[start:], [])
        if not found:
            return Match(None)
        last = nfc(parts[-1])
        same_case = [path for path in found if without_suffix(nfc(path.name)) == without_suffix(last)]
        ranked = sorted(same_case or found, key=lambda path: _rank(path, last))
        if len({path.parent for path in ranked}) > 1:
            return Match(None, tuple(ranked))
        return Match(ranked[0], tuple(ranked[1:]), not same_case)


def path_parts(written: str) -> list[str]:
    """The parts of a path, whichever machine it was written on, without drive and root."""
    parts = [part for part in re.split(r"[/\\]+", written.strip()) if part not in ("", ".")]
    return parts[1:] if parts and re.fullmatch(r"[A-Za-z]:", parts[0]) else parts


def nfc(text: str) -> str:
    """Text in the usual Unicode form; a Mac writes `e` and its accent as two."""
    return unicodedata.normalize("NFC", text)


def without_suffix(name: str) -> str:
    """A name without the suffix of a recording."""
    return _SUFFIX.sub("", name)


def recordings_in(folder: Path) -> list[Path]:
    """The recordings that lie in a folder itself, by name; hidden files are none."""
    with os.scandir(folder) as entries:
        paths = [folder / entry.name for entry in entries if entry.name[0] != "." and entry.is_file()]
    return sorted(path for path in paths if is_recording(path))


def is_recording(path: Path) -> bool:
    """Whether a file is meant to be read as a recording: by its suffix, else by how it begins."""
    return path.suffix.lower() in RECORDING_SUFFIXES or may_be_recording(path)


def _key(parts: Sequence[str]) -> Key:
    folded = [nfc(part).casefold() for part in parts]
    return (*folded[:-1], without_suffix(folded[-1]))


def _rank(path: Path, written: str) -> tuple[bool, int, str]:
    """Order among files of one folder and name: the suffix that is written, then the order of suffixes."""
    suffix = path.suffix.lower()
    known = RECORDING_SUFFIXES.index(suffix) if suffix in RECORDING_SUFFIXES else len(RECORDING_SUFFIXES)
    return nfc(path.name).casefold() != written.casefold(), known, path.name
