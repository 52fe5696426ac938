"""Does the model find the patients whose EF is low? Sensitivity, specificity and AUC at a limit, with intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from echocycle.evaluation.intervals import Interval, bootstrap_interval
from echocycle.evaluation.metrics import LEVEL, RESAMPLES, Metric, check_pair

LIMITS = (40.0, 50.0)
"""EF in percent under which it counts as low: reduced, and below the normal range."""


@dataclass(frozen=True)
class Under:
    """How well a model finds an EF under a limit. Counts are of videos; shares lie between 0 and 1, NaN where empty."""

    limit: float
    low: int
    """Videos whose true EF is under the limit."""
    found: int
    """Of these, those whose predicted EF is under it as well."""
    other: int
    cleared: int
    """Of the others, those whose predicted EF is not under the limit either."""
    sensitivity: Interval
    specificity: Interval
    auc: Interval


def under(
    videos: pd.DataFrame, limit: float, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Under:
    """Classification of videos (columns ef_true, ef_pred, patient; percent) by whether the EF is under a limit.

    Sensitivity and specificity have Wilson's interval, which is right for small counts and for 0 % and 100 % too; the
    AUC, for which a lower predicted EF speaks for a low EF, that of a bootstrap over patients.
    """
    true, pred = videos["ef_true"].to_numpy(float), videos["ef_pred"].to_numpy(float)
    is_low, said_low = true < limit, pred < limit
    low, found = int(is_low.sum()), int((is_low & said_low).sum())
    other, cleared = int((~is_low).sum()), int((~is_low & ~said_low).sum())
    if low and other:
        auc = bootstrap_interval(
            true,
            pred,
            auc_under(limit),
            resamples=resamples,
            level=level,
            seed=seed,
            groups=list(videos["patient"]),
        )
    else:
        auc = Interval(np.nan, np.nan, np.nan, level)
    return Under(limit, low, found, other, cleared, share(found, low, level), share(cleared, other, level), auc)


def share(count: int, total: int, level: float = LEVEL) -> Interval:
    """`count` of `total` as a share with Wilson's interval; NaN of none."""
    if not total:
        return Interval(np.nan, np.nan, np.nan, level)
    ends = stats.binomtest(count, total).proportion_ci(level, method="wilson")
    return Interval(count / total, float(ends.low), float(ends.high), level)


def auc_under(limit: float) -> Metric:
    """The area under the ROC curve as a metric: how often, of a video under the limit and one that is not, the first
    has the lower predicted EF; equal ones count a half. NaN where one kind has no weight."""

    def auc(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
        true, pred = check_pair(true, pred)
        counts = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
        is_low = true < limit
        low, other = pred[is_low][:, None], pred[~is_low][None, :]
        wins = (low < other) + 0.5 * (low == other)
        of_low, of_other = counts[..., is_low], counts[..., ~is_low]
        pairs = of_low.sum(-1) * of_other.sum(-1)
        won = ((of_low @ wins) * of_other).sum(-1)
        area = np.divide(won, pairs, out=np.full(np.shape(pairs), np.nan), where=np.asarray(pairs) > 0)
        return float(area) if area.ndim == 0 else area  # type: ignore[return-value]

    return auc
