"""What a reader finds odd or wrong in a data set: one type for every layout, how it is collected and how it is said."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["note", "warning", "error"]

ORDER: dict[str, int] = {"error": 0, "warning": 1, "note": 2}

NAMES_SHOWN = 8

LONGEST_NAME_SHOWN = 80  # characters


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
    stops: bool = False
    """Whether `prepare` refuses the folder because of it: the labels cannot be what they seem."""


class FindingList:
    """Collects findings in the order in which they are made."""

    def __init__(self) -> None:
        self._all: list[Finding] = []
        self._single: dict[tuple[Level, str], tuple[str, dict[str, None]]] = {}

    def add(
        self,
        level: Level,
        kind: str,
        names: Iterable[str],
        message: str,
        lines: Iterable[int] = (),
        *,
        stops: bool = False,
    ) -> None:
        """One finding on all these names; none where there are no names."""
        names = tuple(names)
        if names:
            self._all.append(Finding(level, kind, names, message, tuple(lines), stops))

    def add_for_folder(self, level: Level, kind: str, message: str) -> None:
        """A finding that concerns the folder itself."""
        self._all.append(Finding(level, kind, (), message))

    def add_one(self, level: Level, kind: str, name: str, message: str, case: str = "") -> None:
        """Add a name to the finding of this kind; the message of the first one stays and ends with its case."""
        text = f"{message} First: {case}." if case else message
        names = self._single.setdefault((level, kind), (text, {}))[1]
        if name:
            names[name] = None

    def sorted(self) -> tuple[Finding, ...]:
        """All findings, the worst first, then by kind."""
        single = [Finding(level, kind, tuple(names), text) for (level, kind), (text, names) in self._single.items()]
        return tuple(sorted([*self._all, *single], key=_rank))


def _rank(finding: Finding) -> tuple[int, str]:
    return ORDER[finding.level], finding.kind


def merge_findings(*groups: Iterable[Finding]) -> list[Finding]:
    """Findings of one level and kind put together, the first message kept; the worst first. Takes linear time."""
    names: dict[tuple[Level, str], dict[str, None]] = {}
    first: dict[tuple[Level, str], Finding] = {}
    for finding in (finding for group in groups for finding in group):
        key = (finding.level, finding.kind)
        if first.setdefault(key, finding) is not finding and finding.stops and not first[key].stops:
            first[key] = finding
        names.setdefault(key, {}).update(dict.fromkeys(finding.names))
    merged = [
        Finding(level, kind, tuple(found), first[level, kind].message, (), first[level, kind].stops)
        for (level, kind), found in names.items()
    ]
    return sorted(merged, key=_rank)


def plain_finding(finding: Finding) -> dict[str, Any]:
    """A finding as report.json holds it."""
    return {"level": finding.level, "kind": finding.kind, "names": list(finding.names), "message": finding.message}


def finding_of(plain: Mapping[str, Any]) -> Finding:
    """The finding that `plain_finding` wrote."""
    return Finding(plain["level"], plain["kind"], tuple(plain["names"]), plain["message"])


def finding_text(finding: Finding) -> str:
    """Message, names and lines of a finding, shortened after a few of them."""
    if not finding.names:
        return finding.message
    if len(finding.lines) == len(finding.names):
        pairs = zip(finding.names, finding.lines, strict=True)
        return f"{finding.message} [{_some([f'{short(name)} (line {line})' for name, line in pairs])}]"
    lines = f"; lines {_some([str(line) for line in finding.lines])}" if finding.lines else ""
    return f"{finding.message} [{_some([short(name) for name in finding.names])}{lines}]"


def _some(items: Sequence[str]) -> str:
    more = len(items) - NAMES_SHOWN
    return ", ".join(items[:NAMES_SHOWN]) + (f", and {more} more" if more > 0 else "")


def short(name: str) -> str:
    """A name as messages show it: cut in the middle where it is very long."""
    if len(name) <= LONGEST_NAME_SHOWN:
        return name
    half = LONGEST_NAME_SHOWN // 2
    return f"{name[:half]}...{name[-half:]} ({len(name)} characters)"
