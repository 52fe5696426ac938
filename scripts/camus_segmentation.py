"""Numbers of segmenters on CAMUS for docs/results/camus-segmentation.md, printed as Markdown.

`python scripts/camus_segmentation.py "NAME=RUN/external-ID" ...`, one for each folder that `echocycle evaluate RUN
--external STORE` (or without it) has left. Intervals are bootstraps over patients. No picture is read.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.evaluation.intervals import bootstrap_intervals
from echocycle.evaluation.metrics import METRICS
from echocycle.evaluation.tables import read_dice, read_volumes

SHOWN = ("mae", "bias", "pearson")


def mean_interval(values: np.ndarray, resamples: int = 10_000) -> str:
    """A mean with its 95 % bootstrap interval."""
    drawn = np.random.default_rng(0).choice(values, (resamples, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def rows_of(name: str, folder: Path) -> tuple[list[str], list[str]]:
    """A row of the table of Dice and one of the table of EF for each split."""
    dice, volumes = read_dice(folder / "dice.csv"), read_volumes(folder / "volumes.csv")
    overlaps, efs = [], []
    for split, part in dice.groupby("split", sort=False):
        by_phase = {phase: rows["dice"].to_numpy() for phase, rows in part.groupby("phase")}
        both = part[part["phase"].isin(["ED", "ES"])].groupby("video")["dice"].mean().to_numpy()
        cells = [mean_interval(values) for values in (by_phase["ED"], by_phase["ES"], both)]
        overlaps.append(f"| {name} | {split}, {len(both)} patients | {' | '.join(cells)} | {both.min():.2f} |")
        rows = volumes[volumes["split"] == split]
        pair = rows[["ef_traced_true", "ef_traced_pred"]].apply(pd.to_numeric).dropna()
        chosen = {metric: METRICS[metric] for metric in SHOWN}
        found = bootstrap_intervals(pair["ef_traced_true"], pair["ef_traced_pred"], chosen)
        numbers = [f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in (found[key] for key in SHOWN)]
        naive = float(np.abs(pair["ef_traced_true"] - pair["ef_traced_true"].mean()).mean())
        efs.append(f"| {name} | {split}, {len(pair)} of {len(rows)} | {' | '.join(numbers)} | {naive:.2f} |")
    return overlaps, efs


def main(arguments: list[str]) -> int:
    """Print both tables."""
    if not arguments:
        print(__doc__)
        return 2
    overlaps, efs = [], []
    for argument in arguments:
        name, _, folder = argument.partition("=")
        first, second = rows_of(name, Path(folder))
        overlaps, efs = overlaps + first, efs + second
    print("| model | split | Dice ED | Dice ES | both | worst patient |\n|---|---|---|---|---|---|")
    print("\n".join(overlaps))
    print("\n| model | split | EF MAE, points | bias | correlation | MAE of their mean |\n|---|---|---|---|---|---|")
    print("\n".join(efs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
