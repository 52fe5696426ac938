"""From measures to rows beside their targets, and to a report in Markdown."""

from typing import NamedTuple

import numpy as np

from echocycle.phantom.realism.clips import Floats, Measures
from echocycle.phantom.realism.targets import TARGETS, Target

ALLOWED_FAILURES = 3


class Row(NamedTuple):
    """One measured row beside its target."""

    target: Target
    median: float
    """Over clips; their mean where the row is a share of clips."""
    low: float
    """5 % over clips; NaN where the row is one number."""
    high: float
    passed: bool | None
    """None where the target only informs, or no clip could be measured."""


def judge(target: Target, values: Floats) -> Row:
    """The row of one target, from one value per clip or a single one."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Row(target, np.nan, np.nan, np.nan, None)  # such as irregular beats, which few clips have
    is_share, is_worst = target.name.startswith("clips "), "worst" in target.name
    summarise = np.mean if is_share else np.max if is_worst else np.median
    median = float(summarise(values))
    has_spread = len(values) > 1 and not is_share and not is_worst
    low, high = np.percentile(values, (5, 95)) if has_spread else (np.nan, np.nan)
    if target.low is None or target.high is None:
        return Row(target, median, float(low), float(high), None)
    return Row(target, median, float(low), float(high), target.low <= median <= target.high)


def judge_all(clips: list[Measures], file_list: Measures) -> dict[str, list[Row]]:
    """All rows, by section."""
    columns = {name: np.array([value]) for name, value in file_list.items()}
    for name in {name for clip in clips for name in clip}:
        columns[name] = np.array([clip[name] for clip in clips if name in clip])
    nothing = np.array([])
    return {
        title: [judge(target, columns.get(target.name, nothing)) for target in targets]
        for title, targets in TARGETS.items()
    }


def number(value: float | None) -> str:
    """Three figures, or nothing for a number that is missing."""
    return "" if value is None or not np.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span(low: float | None, high: float | None) -> str:
    """A range, or nothing."""
    return f"{number(low)} to {number(high)}" if number(low) else ""


def table(rows: list[Row]) -> list[str]:
    """Rows as a table in Markdown."""
    lines = ["| | phantom | 5-95 % of clips | target | range | unit | source | |", "|---|---|---|---|---|---|---|---|"]
    verdicts = {True: "pass", False: "**fail**", None: "-"}
    for row in rows:
        target = row.target
        cells = (
            target.name, number(row.median), span(row.low, row.high), number(target.value),
            span(target.low, target.high), target.unit, target.source, verdicts[row.passed],
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(sections: dict[str, list[Row]], version: int, about: str) -> str:
    """The whole report in Markdown: tables, then the failing rows."""
    rows = [row for section in sections.values() for row in section]
    failing = [row for row in rows if row.passed is False]
    lines = [f"# Likeness of phantom version {version} to real clips", "", about, ""]
    for title, section in sections.items():
        lines += [f"## {title}", "", *table(section), ""]
    judged = sum(row.passed is not None for row in rows)
    lines += ["## Failing rows", "", f"{len(failing)} of {judged} rows with a range fail; {ALLOWED_FAILURES} may.", ""]
    lines += [
        f"- {row.target.name}: {number(row.median)} {row.target.unit}".rstrip()
        + f", range {span(row.target.low, row.target.high)}"
        for row in failing
    ]
    return "\n".join(lines).rstrip() + "\n"
