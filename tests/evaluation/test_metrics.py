"""Metrics against slow literal formulas, known answers, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from echocycle.errors import EchocycleError
from echocycle.evaluation import intervals, metrics
from echocycle.evaluation.intervals import (
    bootstrap_interval,
    bootstrap_intervals,
    echonet_bootstrap,
    paired_difference,
    paired_t,
    unpaired_t,
)
from echocycle.evaluation.metrics import (
    METRICS,
    dice_per_video,
    limits_of_agreement,
    mask_counts,
    mean_and_sd,
    naive_prediction,
    pooled_dice,
)

TRUE = [30.0, 45.0, 55.0, 60.0, 70.0]
PRED = [35.0, 44.0, 58.0, 58.0, 61.0]


def literal(name: str, true: list[float], pred: list[float]) -> float:
    """Every metric with loops."""
    n = len(true)
    errors = [p - t for t, p in zip(true, pred, strict=True)]
    mean = sum(errors) / n
    mean_t, mean_p = sum(true) / n, sum(pred) / n
    products = sum((t - mean_t) * (p - mean_p) for t, p in zip(true, pred, strict=True))
    squares_t = sum((t - mean_t) ** 2 for t in true)
    squares_p = sum((p - mean_p) ** 2 for p in pred)
    sd = math.sqrt(sum((e - mean) ** 2 for e in errors) / (n - 1))
    correlation = products / math.sqrt(squares_t * squares_p)
    return {
        "mae": sum(abs(e) for e in errors) / n,
        "rmse": math.sqrt(sum(e * e for e in errors) / n),
        "r2": 1 - sum(e * e for e in errors) / squares_t,
        "pearson": correlation,
        "squared_pearson": correlation**2,
        "bias": mean,
        "lower_limit": mean - 1.96 * sd,
        "upper_limit": mean + 1.96 * sd,
    }[name]


def cohort(videos: int = 200, seed: int = 0, noise: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    true = random.normal(56, 12, videos)
    return true, true + random.normal(0.5, noise, videos)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_its_literal_formula(name: str):
    assert METRICS[name](TRUE, PRED) == pytest.approx(literal(name, TRUE, PRED), rel=1e-12)
    true, pred = cohort()
    assert METRICS[name](true, pred) == pytest.approx(literal(name, list(true), list(pred)), rel=1e-10)


def test_known_values():
    # scikit-learn documents r2_score([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) = 0.948...
    assert METRICS["r2"]([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) == pytest.approx(0.9486081370449679, rel=1e-12)
    assert METRICS["mae"]([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) == 0.5
    assert METRICS["rmse"]([50, 60], [53, 56]) == pytest.approx(math.sqrt(12.5))
    assert METRICS["r2"]([50, 60, 70], [60, 60, 60]) == 0
    assert METRICS["r2"]([50, 60, 70], [70, 60, 50]) == -3
    assert METRICS["squared_pearson"]([50, 60, 70], [70, 60, 50]) == pytest.approx(1)
    assert limits_of_agreement([0, 0], [1, 3]) == pytest.approx((2 - 1.96 * math.sqrt(2), 2 + 1.96 * math.sqrt(2)))


def test_metrics_are_plain_floats():
    for metric in METRICS.values():
        assert type(metric(TRUE, PRED)) is float


def test_undefined_is_nan_without_a_warning():
    assert math.isnan(METRICS["r2"]([50, 50, 50], [50, 51, 52]))
    assert math.isnan(METRICS["pearson"]([50, 60, 70], [55.1, 55.1, 55.1]))
    assert METRICS["mae"]([50, 50, 50], [50, 51, 52]) == 1


@pytest.mark.parametrize(
    ("true", "pred", "words"),
    [
        ([50, math.nan], [50, 60], "1 of 2 true values"),
        ([50, 60], [50, math.inf], "1 of 2 predicted values"),
        ([50, 60, 70], [50, 60], "3 true and 2 predicted"),
        ([50], [50], "at least 2 videos"),
        ([], [], "at least 2 videos"),
        ([[50, 60]], [[50, 60]], "shape"),
        (["a", "b"], [1, 2], "not all numbers"),
    ],
)
@pytest.mark.parametrize("name", METRICS)
def test_bad_input_is_named(name: str, true: list, pred: list, words: str):
    with pytest.raises(EchocycleError, match=words):
        METRICS[name](true, pred)


values = st.floats(5, 95).map(lambda value: round(value, 2))
pairs = st.lists(st.tuples(values, values), min_size=3, max_size=30)


@settings(max_examples=40, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_order_of_videos_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    for metric in METRICS.values():
        before, after = (metric(*zip(*order, strict=True)) for order in (rows, shuffled))
        assert before == pytest.approx(after, rel=1e-6, abs=1e-6, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(pairs, st.floats(-20, 20))
def test_shift_moves_bias_and_limits_but_no_correlation(rows, shift):
    true, pred = map(np.array, zip(*rows, strict=True))
    for name in ("bias", "lower_limit", "upper_limit"):
        assert METRICS[name](true, pred + shift) == pytest.approx(METRICS[name](true, pred) + shift, abs=1e-8)
    assert METRICS["pearson"](true, pred + shift) == pytest.approx(
        METRICS["pearson"](true, pred), abs=1e-6, nan_ok=True
    )
    assert METRICS["mae"](true + shift, pred + shift) == pytest.approx(METRICS["mae"](true, pred), abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_mae_is_at_most_rmse_and_bias_at_most_mae(rows):
    true, pred = zip(*rows, strict=True)
    assert abs(METRICS["bias"](true, pred)) <= METRICS["mae"](true, pred) + 1e-9
    assert METRICS["mae"](true, pred) <= METRICS["rmse"](true, pred) + 1e-9


@pytest.mark.parametrize("name", METRICS)
def test_weights_count_videos(name: str):
    """Counting a video twice is having it twice; rows of weights give one value each."""
    true, pred, counts = np.array(TRUE), np.array(PRED), np.array([2, 0, 1, 3, 1])
    repeated = METRICS[name](np.repeat(true, counts), np.repeat(pred, counts))
    assert METRICS[name](true, pred, counts) == pytest.approx(repeated, rel=1e-10)
    rows = METRICS[name](true, pred, np.stack([counts, np.ones(5)]))
    assert rows == pytest.approx([repeated, METRICS[name](true, pred)], rel=1e-10)


def test_bootstrap_agrees_with_scipy():
    true, pred = cohort(300)
    for name in ("mae", "r2", "bias"):
        ours = bootstrap_interval(true, pred, name, resamples=4000)
        theirs = stats.bootstrap(
            (true, pred),
            lambda t, p, name=name: METRICS[name](t, p),
            paired=True,
            vectorized=False,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(1),
        ).confidence_interval
        assert ours.low == pytest.approx(theirs.low, abs=0.12 * ours.width)
        assert ours.high == pytest.approx(theirs.high, abs=0.12 * ours.width)
        assert ours.value == METRICS[name](true, pred)


def test_bootstrap_is_repeatable_and_its_level_orders_it():
    true, pred = cohort()
    narrow, wide = (bootstrap_interval(true, pred, "rmse", level=level, resamples=1000) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    assert bootstrap_interval(true, pred, "rmse", resamples=1000, seed=3) == bootstrap_interval(
        true, pred, "rmse", resamples=1000, seed=3
    )
    together = bootstrap_intervals(true, pred, resamples=1000)
    assert list(together) == list(METRICS)
    assert together["rmse"] == bootstrap_interval(true, pred, "rmse", resamples=1000)


def test_bootstrap_covers_the_truth():
    """Bias of known size in 200 simulated studies of 60 videos."""
    covered = 0
    for study in range(200):
        random = np.random.default_rng(1000 + study)
        true = random.normal(56, 12, 60)
        pred = true + random.normal(1.0, 5.0, 60)
        interval = bootstrap_interval(true, pred, "bias", resamples=600, seed=study)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_patients_widen_an_interval_when_their_videos_agree():
    random = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(40)], 5)
    true = random.normal(56, 12, 200)
    pred = true + np.repeat(random.normal(0, 5, 40), 5)
    by_video = bootstrap_interval(true, pred, "bias", resamples=2000)
    by_patient = bootstrap_interval(true, pred, "bias", resamples=2000, groups=patients)
    assert by_patient.width > 1.7 * by_video.width
    names = np.random.default_rng(1).permutation(200)  # in whatever order patients of one video are named
    assert bootstrap_interval(true, pred, "bias", resamples=2000, groups=names) == by_video


def test_one_patient_alone_has_no_interval():
    found = bootstrap_intervals(TRUE, PRED, resamples=50, groups=["a"] * 5)
    difference = paired_difference(TRUE, PRED, PRED[::-1], resamples=50, groups=["a"] * 5)
    for interval in (*found.values(), difference):
        assert math.isfinite(interval.value)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)


def test_patients_are_drawn_whole():
    group = np.array([0, 0, 0, 1, 2, 2])
    weights = np.concatenate(list(intervals._resampled_weights(group, 50, 0)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 3, 4]].sum(1) == 3).all()


def test_bootstrap_errors():
    with pytest.raises(EchocycleError, match="no metric 'mse'"):
        bootstrap_interval(TRUE, PRED, "mse")
    with pytest.raises(EchocycleError, match="2 groups for 5 videos"):
        bootstrap_interval(TRUE, PRED, "mae", groups=["a", "b"])
    with pytest.raises(EchocycleError, match="level is 95"):
        bootstrap_interval(TRUE, PRED, "mae", level=95)
    with pytest.raises(EchocycleError, match="resamples is 0"):
        bootstrap_interval(TRUE, PRED, "mae", resamples=0)


def test_interval_of_an_undefined_metric_has_no_ends():
    interval = bootstrap_interval([50, 50, 50], [50, 51, 52], "r2", resamples=100)
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)
    # Resamples of one video only are left out; here they are few.
    assert math.isfinite(bootstrap_interval(TRUE, PRED, "r2", resamples=500).low)


@pytest.mark.parametrize("name", ["mae", "r2", "rmse"])
def test_echonet_bootstrap_is_the_literal_loop(name: str):
    """As EchoNet-Dynamic draws, sorts and indexes; the RMSE by way of the MSE."""
    true, pred = cohort(50)
    samples, random = 300, np.random.RandomState(7)
    function = metrics.mse if name == "rmse" else METRICS[name]
    values = []
    for _ in range(samples):
        index = random.choice(len(true), len(true))
        values.append(function(true[index], pred[index]))
    values = sorted(values)
    expected = [function(true, pred), values[round(0.05 * samples)], values[round(0.95 * samples)]]
    if name == "rmse":
        expected = [math.sqrt(value) for value in expected]
    result = echonet_bootstrap(true, pred, name, resamples=samples, seed=7)
    assert [result.value, result.low, result.high] == pytest.approx(expected, rel=1e-9)
    assert result.level == 0.9


def test_paired_interval_is_narrower_than_unpaired():
    """Two methods that share the difficulty of each video."""
    random = np.random.default_rng(0)
    true = random.normal(56, 12, 300)
    hard = random.normal(0, 6, 300)
    a, b = (true + hard + random.normal(0, 1, 300) for _ in range(2))
    paired = paired_difference(true, a, b, resamples=2000)
    single = [bootstrap_interval(true, pred, "mae", resamples=2000) for pred in (a, b)]
    assert paired.width < 0.5 * math.hypot(single[0].width, single[1].width)
    assert paired.value == pytest.approx(single[0].value - single[1].value)
    assert paired.low < paired.value < paired.high


def test_paired_difference_has_a_sign_and_averages_runs():
    true, good = cohort(noise=2)
    _, bad = cohort(noise=8)
    assert paired_difference(true, good, bad, resamples=500).high < 0
    assert paired_difference(true, bad, good, "r2", resamples=500).high < 0
    both = paired_difference(true, [good, bad], good, resamples=500)
    assert both.low < 0.1 * both.value, "one of the runs may be drawn twice"
    assert both.value == pytest.approx(paired_difference(true, bad, good, resamples=500).value / 2)
    with pytest.raises(EchocycleError, match="200 true and 3 predicted"):
        paired_difference(true, good, [1, 2, 3])


def test_t_tests_agree_with_scipy():
    true, a = cohort()
    _, b = cohort(seed=1)
    ours = paired_t(true, a, b)
    theirs = stats.ttest_rel(np.abs(a - true), np.abs(b - true))
    assert (ours.statistic, ours.p, ours.degrees) == pytest.approx((theirs.statistic, theirs.pvalue, 199))
    for equal in (True, False):
        ours = unpaired_t([5.61, 5.57, 5.7], [5.4, 5.47, 5.52, 5.6], equal_variance=equal)
        theirs = stats.ttest_ind([5.61, 5.57, 5.7], [5.4, 5.47, 5.52, 5.6], equal_var=equal)
        assert (ours.statistic, ours.p, ours.degrees) == pytest.approx((theirs.statistic, theirs.pvalue, theirs.df))


def test_unpaired_t_of_published_run_means():
    """5.61 +- 0.06 against 5.47 +- 0.05 over five runs each: t = 4.0, p = 0.004."""
    shape = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    shape /= shape.std(ddof=1)
    test = unpaired_t(5.61 + 0.06 * shape, 5.47 + 0.05 * shape)
    assert test.statistic == pytest.approx(4.0, abs=0.02)
    assert test.p == pytest.approx(0.004, abs=0.0005)


def test_t_tests_are_their_formulas():
    """With loops, as Student and Welch wrote them: what published tables were made with before scipy did it."""
    true, a = cohort(30)
    _, b = cohort(30, seed=1)
    pairs = [abs(x - t) - abs(y - t) for t, x, y in zip(true, a, b, strict=True)]
    mean = sum(pairs) / 30
    error = math.sqrt(sum((pair - mean) ** 2 for pair in pairs) / 29 / 30)
    ours = paired_t(true, a, b)
    assert ours.difference == pytest.approx(mean, rel=1e-12)
    assert ours.statistic == pytest.approx(mean / error, rel=1e-12)
    assert ours.p == pytest.approx(2 * stats.t.sf(abs(mean / error), 29), rel=1e-12)
    first, second = [5.61, 5.57, 5.7], [5.4, 5.47, 5.52, 5.6]
    variances = [np.var(values, ddof=1) for values in (first, second)]
    pooled = (2 * variances[0] + 3 * variances[1]) / 5
    shares = variances[0] / 3, variances[1] / 4
    difference = np.mean(first) - np.mean(second)
    for equal, error, degrees in (
        (True, math.sqrt(pooled * (1 / 3 + 1 / 4)), 5),
        (False, math.sqrt(sum(shares)), sum(shares) ** 2 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 3)),
    ):
        ours = unpaired_t(first, second, equal_variance=equal)
        expected = difference / error, degrees, 2 * stats.t.sf(abs(difference / error), degrees)
        assert (ours.statistic, ours.degrees, ours.p) == pytest.approx(expected, rel=1e-10)


def test_t_test_without_spread_says_nothing():
    for test in (paired_t(TRUE, PRED, PRED), unpaired_t([4.0, 4.0], [5.0, 5.0])):
        assert test.difference in (0, -1)
        assert math.isnan(test.p)
        assert math.isnan(test.statistic)
    with pytest.raises(EchocycleError, match="2 a side, not 1 and 2"):
        unpaired_t([1], [1, 2])


def test_naive_prediction_and_seeds():
    assert naive_prediction([40, 60, 65]) == 55
    with pytest.raises(EchocycleError, match="at least one"):
        naive_prediction([])
    mean, sd = mean_and_sd([4, 5, 6])
    assert (mean, sd) == (5, 1)
    assert math.isnan(mean_and_sd([4])[1])


def test_dice():
    true = np.zeros((2, 8, 8), bool)
    pred = np.zeros((2, 8, 8), bool)
    true[0, 2:6, 2:6] = pred[0, 2:6, 3:7] = True
    counts = mask_counts(true, pred)
    assert [list(count) for count in counts] == [[12, 0], [16, 0], [16, 0]]
    assert list(dice_per_video(*counts)) == [0.75, 1]  # two empty masks agree


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_pooled_dice_is_that_of_all_pixels(rows):
    intersection, only_true, only_pred = map(np.array, zip(*rows, strict=True))
    size_true, size_pred = intersection + only_true, intersection + only_pred
    union = size_true + size_pred - intersection
    total = (size_true + size_pred).sum()
    pooled = pooled_dice(intersection, size_true, size_pred)
    if total:
        assert pooled == pytest.approx(2 * intersection.sum() / total)
        # as EchoNet-Dynamic writes it
        assert pooled == pytest.approx(2 * intersection.sum() / (union.sum() + intersection.sum()))
    single = dice_per_video(intersection, size_true, size_pred)
    assert single.min() - 1e-9 <= pooled <= single.max() + 1e-9


def test_dice_errors():
    with pytest.raises(EchocycleError, match="larger than the mask"):
        pooled_dice([5], [4], [6])
    with pytest.raises(EchocycleError, match="no masks"):
        pooled_dice([], [], [])
    with pytest.raises(EchocycleError, match="differ in length"):
        dice_per_video([1], [2, 3], [2])
    with pytest.raises(EchocycleError, match="shape"):
        mask_counts(np.zeros((2, 2)), np.zeros((2, 3)))
