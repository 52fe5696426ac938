"""Predicted and true EF, as arrays, to numbers: metrics, their intervals, and comparisons of two methods.

Everything here is a pure function on arrays and needs NumPy and SciPy only. EF is in percent, so that errors
are in percentage points. `METRICS` names the metrics; a report prints whichever it likes.

Every metric takes optional `weights`: how often each video is counted. A bootstrap resample is nothing else
than such a row of counts, so intervals need no second set of formulas, a resample of patients differs from
one of videos only in how the counts are drawn, and 10 000 resamples are a matrix product.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from echocycle.errors import EchocycleError

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 10_000
_ELEMENTS_PER_BATCH = 2_000_000  # counts held at once while resampling: 16 MB


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


# --- intervals ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A value and its bootstrap interval.

    The ends are NaN where most resamples leave the value undefined, or where one patient has all videos.
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    @property
    def width(self) -> float:
        return self.high - self.low


def _group_index(groups: Sequence[Any] | ArrayLike | None, videos: int) -> NDArray[np.intp]:
    """For each video the number of its group (patient); its own number where no group has two videos."""
    if groups is None:
        return np.arange(videos)
    names = np.asarray(groups)
    if names.shape != (videos,):
        raise EchocycleError(f"{names.size} groups for {videos} videos: each video needs its patient.")
    index = np.unique(names, return_inverse=True)[1].reshape(-1)
    return index if index.max() + 1 < videos else np.arange(videos)


def _resampled_weights(group: NDArray[np.intp], resamples: int, seed: int) -> Iterator[Floats]:
    """Batches of counts (resamples, videos): groups are drawn with replacement, their videos with them.

    One group alone cannot be resampled: its counts are NaN, which leaves every metric undefined.
    """
    random = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    if groups == 1:
        yield np.full((1, len(group)), np.nan)
        return
    batch = max(1, _ELEMENTS_PER_BATCH // max(groups, len(group)))
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        drawn = random.integers(groups, size=(rows, groups)) + groups * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)
        yield counts[:, group]


def _interval(value: float, samples: Floats, level: float) -> Interval:
    defined = samples[np.isfinite(samples)]
    if defined.size < samples.size / 2:
        return Interval(value, math.nan, math.nan, level)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level)


def _check_resampling(resamples: int, level: float) -> None:
    if resamples < 1:
        raise EchocycleError(f"resamples is {resamples}; at least 1 is needed.")
    if not 0 < level < 1:
        raise EchocycleError(f"level is {level}; it is a share between 0 and 1, such as 0.95.")


def bootstrap_intervals(
    true: ArrayLike,
    pred: ArrayLike,
    metrics: Mapping[str, Metric] | None = None,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[Any] | ArrayLike | None = None,
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of several metrics (default: all of `METRICS`) from the same resamples.

    Agrees with `scipy.stats.bootstrap(..., paired=True, method="percentile")`, but resamples whole patients
    when `groups` (one name per video) is given. Where each video has a patient of its own, that is the same.
    """
    true, pred = check_pair(true, pred)
    _check_resampling(resamples, level)
    metrics = METRICS if metrics is None else metrics
    samples: dict[str, list[Any]] = {name: [] for name in metrics}
    for weights in _resampled_weights(_group_index(groups, len(true)), resamples, seed):
        for name, metric in metrics.items():
            samples[name].append(metric(true, pred, weights))
    return {
        name: _interval(float(metric(true, pred)), np.concatenate(samples[name]), level)
        for name, metric in metrics.items()
    }


def bootstrap_interval(
    true: ArrayLike,
    pred: ArrayLike,
    metric: str | Metric,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[Any] | ArrayLike | None = None,
) -> Interval:
    """`bootstrap_intervals` of one metric, given by name or as a function that takes weights."""
    return bootstrap_intervals(
        true, pred, {"it": find_metric(metric)}, resamples=resamples, level=level, seed=seed, groups=groups
    )["it"]


def echonet_bootstrap(
    true: ArrayLike, pred: ArrayLike, metric: str | Metric, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """EchoNet-Dynamic's rule: a 90 % interval whose ends are two of the sorted resampled values.

    The ends stand at the positions round(0.05 n) and round(0.95 n) of the n sorted values, and those of the
    RMSE are the roots of the interval of the MSE. The draws are those of NumPy's legacy generator, as in
    EchoNet's code.
    """
    true, pred = check_pair(true, pred)
    _check_resampling(resamples, 0.9)
    metric = find_metric(metric)
    if metric is rmse:
        squared = echonet_bootstrap(true, pred, mse, resamples=resamples, seed=seed)
        return Interval(math.sqrt(squared.value), math.sqrt(squared.low), math.sqrt(squared.high), 0.9)
    random = np.random.RandomState(seed)
    n = len(true)
    batch = max(1, _ELEMENTS_PER_BATCH // n)
    samples: list[Any] = []
    for start in range(0, resamples, batch):
        rows = min(batch, resamples - start)
        drawn = random.choice(n, (rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        samples.append(metric(true, pred, counts))
    values = np.sort(np.concatenate(samples))
    last = len(values) - 1
    low, high = (float(values[min(last, round(share * len(values)))]) for share in (0.05, 0.95))
    return Interval(float(metric(true, pred)), low, high, 0.9)


# --- two methods ----------------------------------------------------------------------------------


def _check_runs(true: ArrayLike, pred: ArrayLike) -> tuple[Floats, list[Floats]]:
    """`true` (videos,) and one prediction (videos,) per run, from `pred` (videos,) or (runs, videos)."""
    rows = pred if np.ndim(pred) == 2 else [pred]
    pairs = [check_pair(true, row) for row in rows]  # type: ignore[union-attr]
    return pairs[0][0], [row for _, row in pairs]


def paired_difference(
    true: ArrayLike,
    pred_a: ArrayLike,
    pred_b: ArrayLike,
    metric: str | Metric = "mae",
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[Any] | ArrayLike | None = None,
) -> Interval:
    """Metric of A minus metric of B on the same videos, with a paired percentile bootstrap interval.

    For MAE and RMSE a negative difference speaks for A. `pred_a`, `pred_b`: (videos,), or (runs, videos) when
    a method was trained several times; then the metric is averaged over the runs, which are resampled too, so that
    the interval knows how runs differ (somewhat too little: of three runs, their variance over three comes out a
    third too small). Both methods see the same videos, and where they have as many runs the same of those (run i of
    A and of B share a seed), so what is common to a video or a seed cancels.
    """
    true, runs_a = _check_runs(true, pred_a)
    _, runs_b = _check_runs(true, pred_b)
    _check_resampling(resamples, level)
    metric = find_metric(metric)

    def by_run(runs: list[Floats], weights: Floats | None) -> Floats:
        return np.stack([metric(true, run, weights) for run in runs])

    def difference(weights: Floats) -> Floats:
        a, b = by_run(runs_a, weights), by_run(runs_b, weights)
        drawn = random.integers(len(a), size=a.shape)
        other = drawn if len(a) == len(b) else random.integers(len(b), size=b.shape)
        return np.take_along_axis(a, drawn, 0).mean(0) - np.take_along_axis(b, other, 0).mean(0)

    random = np.random.default_rng([seed, 1])
    value = by_run(runs_a, None).mean() - by_run(runs_b, None).mean()
    batches = _resampled_weights(_group_index(groups, len(true)), resamples, seed)
    samples = np.concatenate([difference(weights) for weights in batches])
    return _interval(float(value), samples, level)


@dataclass(frozen=True)
class TTest:
    """Result of a two-sided t-test: difference of the means (A minus B), statistic, degrees of freedom, p."""

    difference: float
    statistic: float
    degrees: float
    p: float


def _t_test(difference: float, error: float, degrees: float) -> TTest:
    """NaN where there is no spread at all: the test says nothing then."""
    if not error > 0:
        return TTest(difference, math.nan, degrees, math.nan)
    statistic = difference / error
    return TTest(difference, statistic, degrees, float(2 * stats.t.sf(abs(statistic), degrees)))


def paired_t(true: ArrayLike, pred_a: ArrayLike, pred_b: ArrayLike) -> TTest:
    """Student's paired t-test over the absolute errors of each video: what a p-value claim should rest on.

    Predictions as in `paired_difference`; with several runs a video's absolute error is averaged over them
    first, so that there is one pair per video.
    """
    true, runs_a = _check_runs(true, pred_a)
    _, runs_b = _check_runs(true, pred_b)
    pairs = np.mean(np.abs(np.stack(runs_a) - true), 0) - np.mean(np.abs(np.stack(runs_b) - true), 0)
    error = float(pairs.std(ddof=1)) / math.sqrt(len(pairs))
    return _t_test(float(pairs.mean()), error, len(pairs) - 1)


def unpaired_t(values_a: ArrayLike, values_b: ArrayLike, *, equal_variance: bool = True) -> TTest:
    """Two-sided t-test over one number per run (such as the MAE of each seed) of two methods.

    Student's with pooled variance, or Welch's with `equal_variance=False`. It asks whether other seeds would
    agree; `paired_t` asks whether other videos would. Raises `EchocycleError` for fewer than 2 runs on a
    side.
    """
    a, b = (np.asarray(values, dtype=np.float64).ravel() for values in (values_a, values_b))
    if min(len(a), len(b)) < 2:
        raise EchocycleError(f"A test over runs needs 2 a side, not {len(a)} and {len(b)}.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise EchocycleError("A test over runs needs a finite number for every run.")
    share_a, share_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    difference = float(a.mean() - b.mean())
    if equal_variance:
        degrees = float(len(a) + len(b) - 2)
        pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / degrees
        return _t_test(difference, math.sqrt(pooled * (1 / len(a) + 1 / len(b))), degrees)
    spread = share_a**2 / (len(a) - 1) + share_b**2 / (len(b) - 1)
    degrees = float((share_a + share_b) ** 2 / spread) if spread > 0 else math.nan
    return _t_test(difference, math.sqrt(share_a + share_b), degrees)


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
    total = float((size_true + size_pred).sum())
    return 2 * float(intersection.sum()) / total if total > 0 else 1.0
