"""Predicted and true EF, as arrays, to numbers: metrics, their intervals, and comparisons of two methods.

Everything here is a pure function on arrays and needs NumPy and SciPy only. EF is in percent, so that errors
are in percentage points. `METRICS` names the metrics; a report prints whichever it likes.

Every metric takes optional `weights`: how often each video is counted. A bootstrap resample is nothing else
than such a row of counts, so intervals need no second set of formulas, a resample of patients differs from
one of videos only in how the counts are drawn, and 10 000 resamples are a matrix product.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echocycle.errors import EchocycleError

Floats = NDArray[np.float64]


LEVEL = 0.95


RESAMPLES = 10_000


ELEMENTS_PER_BATCH = 2_000_000  # counts held at once while resampling: 16 MB


# --- metrics --------------------------------------------------------------------------------------


def check_pair(true: ArrayLike, pred: ArrayLike) -> tuple[Floats, Floats]:
    """Give both as float arrays of one shape (videos,).

    Raises `EchocycleError` if they differ in length, are not one-dimensional, hold fewer than 2 videos, or
    hold anything that is not a finite number.
    """
    arrays = []
    for name, values in (("true", true), ("predicted", pred)):
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise EchocycleError(f"The {name} values are not all numbers.") from None
        if array.ndim != 1:
            raise EchocycleError(f"The {name} values have the shape {array.shape}: one per video is needed.")
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            raise EchocycleError(
                f"{bad.size} of {array.size} {name} values are missing or infinite, the first at position "
                f"{bad[0]}. Leave those videos out, and say so."
            )
        arrays.append(array)
    if len(arrays[0]) != len(arrays[1]):
        raise EchocycleError(f"{len(arrays[0])} true and {len(arrays[1])} predicted values are no pairs.")
    if len(arrays[0]) < 2:
        raise EchocycleError(f"A metric needs at least 2 videos, and there are {len(arrays[0])}.")
    return arrays[0], arrays[1]


def _weights(weights: ArrayLike | None, videos: int) -> Floats:
    """Counts (..., videos); each video once by default."""
    if weights is None:
        return np.ones(videos)
    counts = np.asarray(weights, dtype=np.float64)
    if counts.shape[-1] != videos:
        raise EchocycleError(f"{counts.shape[-1]} weights for {videos} videos.")
    return counts


def _number(values: Any) -> Any:
    """A plain float for one set of weights, an array for several."""
    return float(values) if np.ndim(values) == 0 else values


def _quotient(numerator: Any, denominator: Any, smallest: float = 0.0) -> Any:
    """numerator / denominator; NaN, for undefined, where the denominator is not above `smallest`."""
    defined = np.asarray(denominator) > smallest
    return np.where(defined, numerator, np.nan) / np.where(defined, denominator, 1.0)


def mae(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean absolute error.

    As for all metrics here: `true`, `pred` are (videos,), and `weights` (videos,) or (resamples, videos) say
    how often each video is counted; with rows of weights the result is an array (resamples,). Errors:
    `check_pair`.
    """
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    return _number(w @ np.abs(pred - true) / w.sum(-1))


def mse(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean squared error, in squared percentage points."""
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    return _number(w @ (pred - true) ** 2 / w.sum(-1))


def rmse(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Root of the mean squared error."""
    return _number(np.sqrt(mse(true, pred, weights)))


def r2(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Coefficient of determination 1 - SSE/SST, as scikit-learn's `r2_score(true, pred)`.

    Below 0 for predictions worse than the mean of `true`; NaN where all true values are the same. Not the
    squared correlation, which forgives any bias and scale: see `squared_pearson`.
    """
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    centred = true - true.mean()
    total = w @ centred**2 - (w @ centred) ** 2 / w.sum(-1)
    return _number(1.0 - _quotient(w @ (pred - true) ** 2, total, smallest=1e-10 * float(centred @ centred)))


def pearson(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Pearson's correlation; NaN where either side is constant."""
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    t, p, n = true - true.mean(), pred - pred.mean(), w.sum(-1)
    mean_t, mean_p = w @ t / n, w @ p / n
    variance_t, variance_p = w @ t**2 / n - mean_t**2, w @ p**2 / n - mean_p**2
    # What is left of a constant side is rounding, not spread.
    varies = (variance_t > 1e-10 * np.mean(t**2)) & (variance_p > 1e-10 * np.mean(p**2))
    spread = np.where(varies, np.sqrt(np.maximum(variance_t, 0) * np.maximum(variance_p, 0)), 0.0)
    return _number(np.clip(_quotient(w @ (t * p) / n - mean_t * mean_p, spread), -1.0, 1.0))


def squared_pearson(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Squared correlation, which EchoNet-Dynamic's beat-by-beat evaluation prints as R2. Not `r2`."""
    return _number(np.square(pearson(true, pred, weights)))


def bias(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Mean of predicted minus true: above 0 where EF is overestimated."""
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    return _number(w @ (pred - true) / w.sum(-1))


def limits_of_agreement(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> tuple[float, float]:
    """Bland and Altman's 95 % limits: mean -+ 1.96 standard deviations (ddof=1) of predicted minus true."""
    true, pred = check_pair(true, pred)
    w = _weights(weights, len(true))
    n = w.sum(-1)
    middle = bias(true, pred, weights)
    centred = pred - true - np.mean(pred - true)
    squares = w @ centred**2 - (w @ centred) ** 2 / n
    half = 1.96 * np.sqrt(np.maximum(_quotient(squares, n - 1), 0.0))
    return _number(middle - half), _number(middle + half)


def lower_limit(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The lower of the `limits_of_agreement`."""
    return limits_of_agreement(true, pred, weights)[0]


def upper_limit(true: ArrayLike, pred: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The upper of the `limits_of_agreement`."""
    return limits_of_agreement(true, pred, weights)[1]


Metric = Callable[..., float]


METRICS: dict[str, Metric] = {
    "mae": mae,
    "rmse": rmse,
    "r2": r2,
    "pearson": pearson,
    "squared_pearson": squared_pearson,
    "bias": bias,
    "lower_limit": lower_limit,
    "upper_limit": upper_limit,
}


def find_metric(metric: str | Metric) -> Metric:
    """The metric of that name, or the function itself."""
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise EchocycleError(f"There is no metric {metric!r}. Known: {', '.join(METRICS)}.")
    return METRICS[metric]


def naive_prediction(train_ef: ArrayLike) -> float:
    """The EF (percent) to answer when nothing is looked at: the mean of the labelled training videos."""
    values = np.asarray(train_ef, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise EchocycleError("The naive prediction needs at least one training EF, and all of them finite.")
    return float(values.mean())


def mean_and_sd(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation (ddof=1) over runs; the deviation of a single run is NaN."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise EchocycleError("There are no runs to average.")
    return float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else math.nan


# --- overlap of masks -----------------------------------------------------------------------------


def mask_counts(true: ArrayLike, pred: ArrayLike) -> tuple[Any, Any, Any]:
    """Pixels in both, in the true, and in the predicted mask; of boolean masks (..., height, width)."""
    true, pred = np.asarray(true, dtype=bool), np.asarray(pred, dtype=bool)
    if true.shape != pred.shape:
        raise EchocycleError(f"The true mask has the shape {true.shape}, the predicted one {pred.shape}.")
    return tuple(mask.sum(axis=(-2, -1)) for mask in (true & pred, true, pred))  # type: ignore[return-value]


def _check_counts(*counts: ArrayLike) -> list[Floats]:
    intersection, size_true, size_pred = (np.asarray(count, dtype=np.float64) for count in counts)
    if not intersection.shape == size_true.shape == size_pred.shape:
        raise EchocycleError("Intersections and sizes differ in length: one of each per mask is needed.")
    if not np.isfinite(intersection + size_true + size_pred).all() or (intersection < 0).any():
        raise EchocycleError("Intersections and sizes of masks must be finite and not negative.")
    if (intersection > np.minimum(size_true, size_pred)).any():
        raise EchocycleError("A mask's intersection is larger than the mask itself.")
    return [intersection, size_true, size_pred]


def dice_per_video(intersection: ArrayLike, size_true: ArrayLike, size_pred: ArrayLike) -> Floats:
    """Dice 2I / (|A| + |B|) of each mask, from pixel counts (masks,). Two empty masks agree: 1."""
    intersection, size_true, size_pred = _check_counts(intersection, size_true, size_pred)
    total = size_true + size_pred
    return np.where(total > 0, 2 * intersection / np.where(total > 0, total, 1.0), 1.0)


def pooled_dice(intersection: ArrayLike, size_true: ArrayLike, size_pred: ArrayLike) -> float:
    """Dice over the pixels of all masks together, as in EchoNet-Dynamic's logs: large hearts count more."""
    intersection, size_true, size_pred = _check_counts(intersection, size_true, size_pred)
    if intersection.size == 0:
        raise EchocycleError("There are no masks to compare.")
    return float(dice_per_video(*([count.sum()] for count in (intersection, size_true, size_pred)))[0])
