"""Errors of one run by groups of videos: bands of EF, image quality, rhythm; pure functions on predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from echocycle.evaluation.intervals import Interval, TTest, bootstrap_intervals
from echocycle.evaluation.metrics import bias, mae

BANDS = ((0.0, 30.0), (30.0, 40.0), (40.0, 50.0), (50.0, 60.0), (60.0, 100.0))
"""Bands of the true EF in percent; each holds its lower end, the last its upper one too."""
QUALITIES = ("Good", "Medium", "Poor")
RHYTHMS = ("regular", "irregular")


@dataclass(frozen=True)
class GroupError:
    """The error of the videos of one group, in EF points; NaN where there are too few."""

    name: str
    videos: int
    mae: Interval
    bias: Interval
    naive: float
    """The MAE of always answering the same EF; NaN where that answer is not known."""


def band_of(ef: float) -> str:
    """The band that an EF lies in, in words."""
    low, high = next(band for band in BANDS if ef < band[1] or band is BANDS[-1])
    return f"under {high:g}" if low == 0 else f"{low:g} and more" if high == 100 else f"{low:g} to {high:g}"


BAND_NAMES = tuple(band_of(low) for low, _ in BANDS)


def errors_by(
    videos: pd.DataFrame, group: pd.Series, order: Sequence[str], naive: float | None = None, **resampling: Any
) -> list[GroupError]:
    """The errors of each group that has a video.

    Args:
        videos: columns ef_true, ef_pred, patient; one row a video.
        group: the group of each row; one that `order` does not name is left out.
        naive: the EF of the naive answer, percent.
    """
    found = []
    for name in order:
        part = videos[(group == name).to_numpy()]
        if part.empty:
            continue
        true, pred = part["ef_true"].to_numpy(float), part["ef_pred"].to_numpy(float)
        guess = float(np.abs(true - naive).mean()) if naive is not None else float("nan")
        if len(part) < 2:
            one = (
                Interval(float(abs(pred[0] - true[0])), np.nan, np.nan),
                Interval(float(pred[0] - true[0]), np.nan, np.nan),
            )
            found.append(GroupError(name, len(part), *one, guess))
            continue
        both = bootstrap_intervals(true, pred, {"mae": mae, "bias": bias}, groups=list(part["patient"]), **resampling)
        found.append(GroupError(name, len(part), both["mae"], both["bias"], guess))
    return found


def unpaired_difference(videos: pd.DataFrame, group: pd.Series, a: str, b: str) -> tuple[Interval, TTest] | None:
    """Mean absolute error of group `a` minus that of `b`, with Welch's interval and test; None with fewer than 2 a
    side.

    The videos are different ones, so nothing is paired.
    """
    error = (videos["ef_pred"] - videos["ef_true"]).abs().to_numpy(float)
    first, second = error[(group == a).to_numpy()], error[(group == b).to_numpy()]
    if min(len(first), len(second)) < 2:
        return None
    found = stats.ttest_ind(first, second, equal_var=False)
    ends = found.confidence_interval(0.95)
    value = float(first.mean() - second.mean())
    test = TTest(value, float(found.statistic), float(found.df), float(found.pvalue))
    return Interval(value, float(ends.low), float(ends.high)), test


def with_details(videos: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Videos (`tables.per_video`) with what predictions.csv says of each besides: image quality, rhythm."""
    columns = [name for name in ("quality", "rhythm") if name in predictions.columns]
    known: Any = predictions.drop_duplicates("video").set_index("video")[columns].to_dict()
    return videos.assign(**{name: videos["video"].map(known[name]).fillna("") for name in columns})
