"""Low EF found or missed: counts by hand, intervals and areas against the libraries."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from echocycle.evaluation.classification import auc_under, share, under


def videos(true: list[float], pred: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"ef_true": true, "ef_pred": pred, "patient": [f"p{n}" for n in range(len(true))]})


def test_counts_by_hand():
    """The limit itself is not under it, on either side."""
    found = under(videos([30, 35, 39.9, 40, 60, 70], [35, 41, 39, 39, 40, 65]), 40, resamples=200)
    assert (found.low, found.found, found.other, found.cleared) == (3, 2, 3, 2)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(2 / 3)
    # pairs (low, other): 35 beats 39, 40, 65; 41 beats 65; 39 ties 39 and beats 40, 65
    assert found.auc.value == pytest.approx((3 + 1 + 2.5) / 9)
    assert found.auc.low <= found.auc.value <= found.auc.high


def test_area_is_that_of_mann_and_whitney():
    random = np.random.default_rng(0)
    true = random.normal(50, 12, 150)
    pred = np.round(true + random.normal(0, 8, 150))  # with ties
    low = true < 45
    theirs = stats.mannwhitneyu(pred[~low], pred[low]).statistic / (low.sum() * (~low).sum())
    assert auc_under(45)(true, pred) == pytest.approx(theirs, rel=1e-12)


def test_weights_count_videos():
    random = np.random.default_rng(1)
    true = random.normal(50, 12, 20)
    pred = true + random.normal(0, 8, 20)
    counts = random.integers(0, 3, (4, 20)).astype(float)
    counts[3] = true >= 50  # no low EF at all
    found = auc_under(50)(true, pred, counts)
    for row, value in zip(counts[:3].astype(int), found, strict=False):
        assert value == pytest.approx(auc_under(50)(np.repeat(true, row), np.repeat(pred, row)))
    assert math.isnan(found[3])


def test_a_share_of_few_has_a_wide_interval():
    """Wilson, 1927: of 3 of 3 one may still expect less than a half."""
    found = share(3, 3)
    assert found.value == 1
    assert found.low == pytest.approx(1 / (1 + 1.959964**2 / 3), abs=1e-6)
    assert found.high == pytest.approx(1)
    assert math.isnan(share(0, 0).value)


def test_nobody_under_the_limit():
    found = under(videos([60, 61, 62], [59, 39, 61]), 40)
    assert (found.low, found.found, found.other, found.cleared) == (0, 0, 3, 2)
    assert math.isnan(found.sensitivity.value)
    assert math.isnan(found.auc.value)
