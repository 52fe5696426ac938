"""Intervals hold as many true EFs as they say, in every band, on simulated answers; and a bundle keeps them."""

import json
from pathlib import Path

import numpy as np
import pytest

from echocycle.bundle import Bundle, save_bundle
from echocycle.calibration import (
    FEWEST_VIDEOS,
    LEVEL,
    NAME,
    Calibration,
    Difficulty,
    Known,
    band_reaches,
    bands,
    intervals,
    kind_of,
    read_calibration,
    shares_below,
    write_calibration,
)
from echocycle.errors import EchocycleError
from echocycle.evaluation.calibrate import coverage, fit_difficulty
from echocycle.models.specs import Part, SegmenterSpec


def answers(count: int, seed: int) -> Known:
    """Videos as a network answers them: weak hearts are rare, and are taken for better ones."""
    rng = np.random.default_rng(seed)
    weak = rng.uniform(size=count) < 0.25
    true = np.clip(np.where(weak, rng.uniform(15, 50, count), rng.normal(61, 6, count)), 10, 80)
    pred = 58 + 0.75 * (true - 58) + rng.normal(0, 4.5, count)
    return Known(true, pred, np.ones(count))


def held(known: Known, new: Known) -> dict[str, dict[str, float]]:
    """Coverage of `new` by intervals from `known`."""
    return coverage(new.ef_true, intervals(known, new.ef_pred, new.difficulty, kind_of(known)[0], 15.0))


def test_nine_of_ten_are_held_in_every_band() -> None:
    found = [held(answers(500, seed), answers(2000, 1000 + seed)) for seed in range(20)]
    for name, slack in (("all", 0.01), ("under 40", 0.03), ("40 to 49", 0.03), ("50 and more", 0.02)):
        assert np.mean([each[name]["coverage"] for each in found]) == pytest.approx(0.9, abs=slack), name
    # one width for all, as plain conformal prediction gives it, holds far fewer of the weak hearts
    plain = []
    for seed in range(20):
        known, new = answers(500, seed), answers(2000, 1000 + seed)
        plain.append(coverage(new.ef_true, intervals(known, new.ef_pred, new.difficulty, "plain", 15.0)))
    assert np.mean([each["all"]["coverage"] for each in plain]) == pytest.approx(0.9, abs=0.01)
    assert np.mean([each["under 40"]["coverage"] for each in plain]) < 0.85


def test_a_difficult_video_has_a_wider_interval() -> None:
    rng = np.random.default_rng(0)
    known = answers(600, 1)
    hard = rng.uniform(0.5, 3.0, 600)
    known = Known(known.ef_true, known.ef_true + hard * rng.normal(0, 2, 600), hard)
    ends = intervals(known, np.array([62.0, 62.0]), np.array([0.6, 2.8]), "conformal", 15.0)
    easy, difficult = ends[:, 1] - ends[:, 0]
    assert 0 < 2 * easy < difficult
    assert (ends[:, 0] <= 62).all()
    assert (ends[:, 1] >= 62).all()


def test_reaches_need_no_more_than_their_band() -> None:
    """By hand: 19 videos of each band whose errors are 1 to 19, no band near another: the 18th of 19 is the reach."""
    error = np.arange(1.0, 20.0)
    true = np.concatenate([np.full(19, 20.0), np.full(19, 45.0), np.full(19, 90.0)])
    pred = np.concatenate([20 - error, 45 + error * 0, 90 - error * 0.5])
    reaches = band_reaches(Known(true, pred, np.ones(57)), LEVEL)
    assert reaches == pytest.approx([18.0, 0.0, 9.0])


def test_few_videos_give_the_naive_interval_and_say_so() -> None:
    for count in (0, 1, 8, 50, FEWEST_VIDEOS - 1):
        known = answers(count, 3)
        kind, reason = kind_of(known)
        assert kind == "naive"
        assert "100" in reason
        low, high = intervals(known, np.array([55.0]), np.ones(1), kind, 15.0)[0]
        assert high - low >= 30
    poor = Known(np.full(50, 60.0), np.full(50, 25.0), np.ones(50))  # worse than always the mean: wider still
    low, high = intervals(poor, np.array([50.0]), np.ones(1), "naive", 15.0)[0]
    assert (low, high) == (15.0, 85.0)
    sound = Known(np.full(150, 62.0), np.full(150, 60.0) + np.arange(150) / 50, np.ones(150))
    kind, reason = kind_of(sound)
    assert kind == "plain"
    assert "Only 0 calibration videos have an EF under 40 %" in reason
    assert kind_of(answers(600, 0)) == ("conformal", "")


def test_probabilities_of_categories() -> None:
    known = answers(600, 5)
    calibration = Calibration(15.0, 100, "strided", regression=known)
    for ef in (30.0, 45.0, 60.0):
        interval, likely = calibration.regression_interval(ef)
        assert interval.kind == "conformal"
        assert interval.videos == 600
        assert sum(likely.values()) == pytest.approx(1, abs=1e-3)
        assert interval.low is not None
        assert interval.high is not None
        assert 0 <= interval.low <= ef <= interval.high <= 100
    assert calibration.regression_interval(65.0)[1]["50_and_more"] > 0.9
    assert calibration.regression_interval(25.0)[1]["under_40"] > 0.9
    none, likely = calibration.discs_interval(60.0)
    assert (none.kind, none.low, none.high, likely) == ("naive", 45.0, 75.0, {})
    # of many answers near 47, as many true EF lie under 50 as is said
    new = answers(40_000, 6)
    near = np.abs(new.ef_pred - 47) < 1
    said = shares_below(known, 47.0, np.ones(1), (40.0, 50.0))
    for limit, share in zip((40.0, 50.0), said, strict=True):
        assert share == pytest.approx((new.ef_true[near] < limit).mean(), abs=0.12)


def test_bands() -> None:
    assert bands([39.99, 40, 49.99, 50, 85]).tolist() == [0, 1, 1, 2, 2]


def test_difficulty_is_fitted_only_where_it_tells() -> None:
    import pandas as pd

    rng = np.random.default_rng(2)
    spread, nothing = rng.uniform(0.5, 6, 200), np.full(200, np.nan)
    error = spread * rng.normal(0, 1, 200)
    table = pd.DataFrame(
        {"ef_true": 60.0, "ef_pred": 60 + error, "spread": spread, "disagreement": nothing, "unlikeness": nothing}
    )
    found = fit_difficulty(table)
    assert found.spread > 0
    assert (found.disagreement, found.unlikeness) == (0, 0)
    assert found.of(np.array([5.0]), np.nan, np.nan) > found.of(np.array([1.0]), np.nan, np.nan)
    assert fit_difficulty(table.assign(spread=rng.permutation(spread))) == Difficulty()
    assert fit_difficulty(table[:10]) == Difficulty()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    spec = SegmenterSpec("unet", 4, 28, (30.0,), (50.0,), False)
    save_bundle(Bundle(segmenter=Part(spec, spec.build())), tmp_path)
    return tmp_path


def test_a_bundle_keeps_its_calibration(bundle: Path) -> None:
    assert read_calibration(bundle) is None
    made = Calibration(15.0, 40, "strided", Difficulty(0.5, 0.25), answers(120, 0), answers(3, 1))
    path = write_calibration(bundle, made)
    found = read_calibration(bundle)
    assert found is not None
    assert found.regression_interval(55.0, 2.0) == made.regression_interval(55.0, 2.0)
    assert found.id == made.id
    assert found.id != Calibration(15.0, 41, "strided").id
    stamp = path.stat().st_mtime_ns
    write_calibration(bundle, made)
    assert path.stat().st_mtime_ns == stamp
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "weights": {"segmenter": "0" * 64}}))
    assert read_calibration(bundle) is None  # of other weights
    broken = ({"level": 2}, {"regression": [[1, 2]]}, {"regression": [[1, 2, 0]]}, {"difficulty": {"floor": "x"}},
              {"naive_half_width": None}, {"difficulty": [1]}, {"discs": [["a", 1, 1]]})  # fmt: skip
    for change in broken:
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(EchocycleError, match=f"{NAME} is not a readable calibration. Delete it"):
            read_calibration(bundle)
