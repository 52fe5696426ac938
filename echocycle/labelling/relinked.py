"""Recordings that were moved are found by their content, and named in videos.txt where they lie now."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echocycle.datasets.folders import recordings_below
from echocycle.errors import EchocycleError
from echocycle.files import printable, sha256, write_text
from echocycle.labelling.journal import NAME, read_journal
from echocycle.labelling.project import ID, PATHS, Project


@dataclass(frozen=True)
class Relinked:
    """What was found."""

    found: dict[str, Path]
    """Video -> where it lies now."""
    missing: dict[str, str]
    """Videos that are still missing -> where they lay."""


def find_again(folder: Path, places: Sequence[Path], said: Callable[[int, int], None] | None = None) -> Relinked:
    """Find the labelled recordings of a project that are gone, below some folders; write those into videos.txt.

    Raises `EchocycleError` for a place that is not there.
    """
    for place in places:
        if not place.exists():
            raise EchocycleError(f"{place} does not exist. Name a folder in which the recordings may lie now.")
    project = Project(folder, may_be_empty=True)
    wanted: dict[str, str] = {}
    for entry in read_journal(project.folder / "labels" / NAME):
        video = entry.get("id")
        if video is not None and video not in project.videos:
            wanted[video] = str(entry.get("file") or wanted.get(video, ""))
    candidates = list(_candidates(places)) if wanted else []
    found: dict[str, Path] = {}
    for number, path in enumerate(candidates, 1):
        if said is not None:
            said(number, len(candidates))
        try:
            video = sha256(path)[:ID]
        except OSError:
            continue
        if video in wanted and video not in found:
            found[video] = path
        if len(found) == len(wanted):
            break
    if found:
        _name(project, list(found.values()))
    return Relinked(found, {video: file for video, file in wanted.items() if video not in found})


def _candidates(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from (Path(os.path.abspath(path)) for path in recordings_below(place)[0])
        else:
            yield Path(os.path.abspath(place))


def _name(project: Project, paths: list[Path]) -> None:
    """Add files to videos.txt; lines of it that lead nowhere any more are turned into remarks."""
    file = project.folder / PATHS
    lines = file.read_text(encoding="utf-8-sig").splitlines() if file.exists() else []
    kept = []
    for line in lines:
        bare = line.strip()
        gone = bare and not bare.startswith("#") and not (project.folder / bare).exists()
        kept.append(f"# gone: {bare}" if gone else line)
    for path in paths:
        try:
            relative = os.path.relpath(path, project.folder)
        except ValueError:  # another drive
            relative = str(path)
        if printable(relative) != relative or "\n" in relative:
            raise EchocycleError(f"{printable(path)} has a name that {PATHS} cannot hold. Rename it.")
        kept.append(relative)
    write_text(file, "\n".join(kept) + "\n")
