"""What a reader finds odd or wrong in a data set, and how it is said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["note", "warning", "error"]


NAMES_SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """Something odd in a folder, summarised over the videos it concerns."""

    level: Level
    kind: str
    names: tuple[str, ...]
    """Of videos, or of what the message speaks of (columns, patients)."""
    message: str
    """What it is, and what is done about it or what the user should do."""
    lines: tuple[int, ...] = ()
    """Line numbers in the file the message names, where rows are concerned."""


class FindingList:
    """Collects findings; those without names are dropped unless they concern the folder itself."""

    def __init__(self) -> None:
        self._all: list[Finding] = []

    def add(self, level: Level, kind: str, names: Iterable[str], message: str, lines: Iterable[int] = ()) -> None:
        names = tuple(names)
        if names:
            self._all.append(Finding(level, kind, names, message, tuple(lines)))

    def add_for_folder(self, level: Level, kind: str, message: str) -> None:
        self._all.append(Finding(level, kind, (), message))

    def sorted(self) -> tuple[Finding, ...]:
        order = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted(self._all, key=lambda finding: (order[finding.level], finding.kind)))


def finding_text(finding: Finding) -> str:
    """Message, names and lines of a finding, shortened after a few of them."""
    if not finding.names:
        return finding.message
    if len(finding.lines) == len(finding.names):
        pairs = zip(finding.names, finding.lines, strict=True)
        return f"{finding.message} [{_shortened([f'{name} (line {line})' for name, line in pairs])}]"
    lines = f"; lines {_shortened([str(line) for line in finding.lines])}" if finding.lines else ""
    return f"{finding.message} [{_shortened(finding.names)}{lines}]"


def _shortened(items: Sequence[str]) -> str:
    more = len(items) - NAMES_SHOWN
    return ", ".join(items[:NAMES_SHOWN]) + (f", and {more} more" if more > 0 else "")


def plain_finding(finding: Finding) -> dict[str, Any]:
    return {"level": finding.level, "kind": finding.kind, "names": list(finding.names), "message": finding.message}


def merge_findings(*groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings with equal level, kind and message put together; equal kinds of single videos too."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in (f for group in groups for f in group):
        key = (finding["level"], finding["kind"])
        if key in merged:
            names = merged[key]["names"]
            names += [name for name in finding["names"] if name not in names]
        else:
            merged[key] = {**finding, "names": list(finding["names"])}
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(merged.values(), key=lambda f: (order[f["level"]], f["kind"]))


def finding_line(finding: dict[str, Any]) -> str:
    """A finding of report.json as one line of text."""
    return finding_text(Finding(finding["level"], finding["kind"], tuple(finding["names"]), finding["message"]))
