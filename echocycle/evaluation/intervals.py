"""Intervals and tests over patients: the bootstrap, paired differences, t-tests."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import (
    ELEMENTS_PER_BATCH,
    LEVEL,
    METRICS,
    RESAMPLES,
    Floats,
    Metric,
    check_pair,
    find_metric,
    mse,
    rmse,
)

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
    batch = max(1, ELEMENTS_PER_BATCH // max(groups, len(group)))
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


def video_intervals(
    videos: pd.DataFrame, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of all metrics of a table of videos with the columns ef_true, ef_pred and patient.

    What `evaluate` notes in metrics.json and what a report prints are both made here.
    """
    return bootstrap_intervals(
        videos["ef_true"],
        videos["ef_pred"],
        resamples=resamples,
        level=level,
        seed=seed,
        groups=list(videos["patient"]),
    )


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
    batch = max(1, ELEMENTS_PER_BATCH // n)
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


def _test(a: Floats, b: Floats, error: float, function: Callable[..., Any], **how: Any) -> TTest:
    """A test of scipy's over two samples; NaN where there is no spread at all (`error`): it says nothing then."""
    difference = float(a.mean() - b.mean())
    with warnings.catch_warnings():
        # scipy warns where all differences are the same up to rounding, which is rightly significant
        warnings.simplefilter("ignore", RuntimeWarning)
        found = function(a, b, **how)
    if not error > 0:
        return TTest(difference, math.nan, float(found.df), math.nan)
    return TTest(difference, float(found.statistic), float(found.df), float(found.pvalue))


def paired_t(true: ArrayLike, pred_a: ArrayLike, pred_b: ArrayLike) -> TTest:
    """Student's paired t-test over the absolute errors of each video: what a p-value claim should rest on.

    Predictions as in `paired_difference`; with several runs a video's absolute error is averaged over them
    first, so that there is one pair per video.
    """
    true, runs_a = _check_runs(true, pred_a)
    _, runs_b = _check_runs(true, pred_b)
    a, b = (np.mean(np.abs(np.stack(runs) - true), 0) for runs in (runs_a, runs_b))
    return _test(a, b, float((a - b).std(ddof=1)), stats.ttest_rel)


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
    return _test(a, b, float(a.var(ddof=1) + b.var(ddof=1)), stats.ttest_ind, equal_var=equal_variance)


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same videos: the difference (A minus B) with its interval, and both tests."""

    difference: Interval
    over_videos: TTest
    over_runs: TTest | None
    """None where a method was trained once."""


def compare_methods(
    true: ArrayLike,
    pred_a: ArrayLike,
    pred_b: ArrayLike,
    metric: str | Metric = "mae",
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
    groups: Sequence[Any] | ArrayLike | None = None,
) -> Comparison:
    """`paired_difference`, `paired_t` over videos, and `unpaired_t` over the metric of each run; arguments as there."""
    function = find_metric(metric)
    runs = [[float(function(true, run)) for run in _check_runs(true, pred)[1]] for pred in (pred_a, pred_b)]
    return Comparison(
        paired_difference(true, pred_a, pred_b, metric, resamples=resamples, level=level, seed=seed, groups=groups),
        paired_t(true, pred_a, pred_b),
        unpaired_t(*runs) if min(map(len, runs)) > 1 else None,
    )
