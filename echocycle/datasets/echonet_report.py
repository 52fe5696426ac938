"""The data report of a folder in EchoNet-Dynamic's layout, as values and for a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from echocycle.datasets.findings import finding_text
from echocycle.datasets.records import EchonetFolder, Record, Split

if TYPE_CHECKING:
    from rich.console import Group


RELEASES = {
    "older": "older release (layout of EchoNet-Dynamic)",
    "newer": "newer release (layout of EchoNet-Dynamic)",
    "own": "a folder of your own (layout of EchoNet-Dynamic)",
    "videos": "a folder of recordings",
}

# ------------------------------------------------------------------------------------------------- the report


def report_dict(folder: EchonetFolder) -> dict[str, Any]:
    """The data report as plain values for JSON; what does not exist is None."""
    return {
        "root": str(folder.root),
        "release": folder.release,
        "videos": len(folder.records),
        "splits": {
            split: _split_summary([record for record in folder.records if record.split == split])
            for split in get_args(Split)
        },
    }


def _split_summary(records: Sequence[Record]) -> dict[str, Any]:
    return {
        "videos": len(records),
        "patients": len({record.patient for record in records}),
        "labelled": sum(not np.isnan(record.ef) for record in records),
        "traced": sum(record.is_traced for record in records),
        "ef_percent": _spread([record.ef for record in records]),
        "fps": _spread([record.fps for record in records]),
        "frames": _spread([record.listed_frames or np.nan for record in records]),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, standard deviation (ddof 0) and range of the values that are not NaN."""
    known = np.array(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    return {
        "mean": float(known.mean()),
        "sd": float(known.std()),
        "min": float(known.min()),
        "max": float(known.max()),
    }


def render_report(folder: EchonetFolder) -> "Group":
    """The data report for a terminal: counts per split, then the findings, the worst first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    report = report_dict(folder)
    release = RELEASES[folder.release]
    title = Text(f"{folder.root}: {report['videos']} videos, {release}")
    counts = Table("split", "videos", "patients", "EF known", "traced", "EF, % (sd)", "frames/s", "frames")
    for split, summary in report["splits"].items():
        counts.add_row(
            split,
            *(str(summary[key]) for key in ("videos", "patients", "labelled", "traced")),
            *(_spread_text(summary[key]) for key in ("ef_percent", "fps", "frames")),
        )
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    findings = [
        Text.assemble((finding.level, colours[finding.level]), f" {finding.kind}: {finding_text(finding)}")
        for finding in folder.findings
    ]
    return Group(title, counts, *(findings or [Text("Nothing odd was found.")]))


def _spread_text(spread: Mapping[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['mean']:.1f} ({spread['sd']:.1f})"
