"""An experiment's numbers as a figure: the error against the share of labels (Fig. 6), or against a setting (Fig. 7,
Tables VII and VIII), with the spread over seeds. Made from NAME.csv alone.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.experiments.plan import fraction_value
from echocycle.files import replacing, write_text
from echocycle.reporting.analysis_figures import Points, points_figure, settings_figure
from echocycle.reporting.blocks import Figure, Section

SETTING = re.compile(r"(w_css|w_ulb|s|c|tau)=([0-9.]+)")
NAMES = {
    "w_css": "weight of the CSS loss, w_css",
    "w_ulb": "weight of the unlabelled loss, w_ulb",
    "s": "frames in a phase, s",
    "c": "offset in frames, c",
    "tau": "temperature, tau",
}


def drawn_section(name: str, tidy: pd.DataFrame) -> Section | None:
    """The figure of an experiment; None where there is nothing to draw a line through.

    Args:
        name: the experiment's, which is its files' too.
        tidy: NAME.csv.
    """
    part = tidy[tidy["metric"] == "MAE"]
    if part.empty:
        return None
    part = part[part["protocol"] == part["protocol"].iloc[0]]
    label = f"MAE, EF points ({part['protocol'].iloc[0]})"
    by_setting = _by_setting(part)
    if by_setting:
        words = "Error against each setting, the others at the paper’s value; bars: standard deviation over seeds."
        panels = {NAMES[each]: lines for each, lines in by_setting.items()}
        return Section("Drawn", [Figure(settings_figure(panels, label), words, name, f"{name}.svg")])
    lines: dict[str, Points] = {}
    for row in part.itertuples():
        line = str(row.row) if "labels" in str(row.column) else f"{row.row}, {row.column}"
        lines.setdefault(line, []).append(_point(float(fraction_value(row.label_fraction)), row))
    if max(map(len, lines.values())) < 2:
        return None
    words = "Error against the share of labels; bars: standard deviation over seeds."
    picture = points_figure(lines, "share of the training videos that are labelled", label, log=True)
    return Section("Drawn", [Figure(picture, words, name, f"{name}.svg")])


def _point(x: float, row: object) -> tuple[float, float, float]:
    spread = getattr(row, "std", "")
    known = isinstance(spread, str) and spread
    return float(x), float(getattr(row, "mean")), float(spread) if known else np.nan  # noqa: B009


def _by_setting(part: pd.DataFrame) -> dict[str, dict[str, Points]]:
    """By setting, and by the column that a row stands in, the points of every row that names the setting."""
    found: dict[str, dict[str, Points]] = {}
    for row in part.itertuples():
        for setting, value in SETTING.findall(str(row.row)):
            found.setdefault(setting, {}).setdefault(str(row.column), []).append(_point(float(value), row))
    return {setting: lines for setting, lines in found.items() if max(map(len, lines.values())) > 1}


def write_figures(folder: Path, section: Section | None) -> None:
    """Write the figures of a section as SVG and PNG beside the page."""
    for block in section.blocks if section is not None else ():
        if isinstance(block, Figure):
            write_text(folder / f"{block.name}.svg", block.picture.svg)
            with replacing(folder / f"{block.name}.png") as temporary:
                temporary.write_bytes(block.picture.png())
