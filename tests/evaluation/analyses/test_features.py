"""Numbers on features: high where they go in circles, low for noise; the beat read off; the matching of phases."""

import numpy as np
import pytest
import torch

from echocycle.evaluation.analyses import matching, similarity
from echocycle.evaluation.analyses.cyclicity import cyclicity, distances
from echocycle.evaluation.analyses.phases import beat_length, phases
from echocycle.segmentation.css import CSSOptions, css_loss

BEAT = 40
FRAMES = np.arange(4 * BEAT + 11)
PHASE = np.where(FRAMES < 4 * BEAT + 1, FRAMES / BEAT, np.nan)
CIRCLE = np.stack([np.cos(2 * np.pi * FRAMES / BEAT), np.sin(2 * np.pi * FRAMES / BEAT)], 1)
NOISE = np.random.default_rng(0).normal(size=(len(FRAMES), 16))


def test_a_circle() -> None:
    found = cyclicity(CIRCLE, PHASE)
    assert found.beats == 4
    assert found.phase_read == pytest.approx(1, abs=1e-6)
    assert found.return_ratio == pytest.approx(0, abs=1e-6)


def test_noise() -> None:
    found = cyclicity(NOISE, PHASE)
    assert abs(found.phase_read) < 0.25
    assert found.return_ratio == pytest.approx(1, abs=0.15)


def test_a_circle_in_noise_lies_between() -> None:
    found = cyclicity(np.concatenate([3 * CIRCLE, NOISE], 1), PHASE)
    assert 0.3 < found.phase_read < 1
    assert 0.1 < found.return_ratio < 0.9


def test_a_straight_line_comes_back_nowhere() -> None:
    found = cyclicity(FRAMES[:, None].astype(float), PHASE)
    assert found.return_ratio == pytest.approx(2)


def test_too_few_beats_say_nothing() -> None:
    found = cyclicity(CIRCLE[:60], PHASE[:60])
    assert found.beats == 2
    short = cyclicity(CIRCLE[:30], PHASE[:30])
    assert short.beats == 1
    assert np.isnan([short.phase_read, short.return_ratio]).all()
    assert np.isnan(cyclicity(CIRCLE, np.full(len(FRAMES), np.nan)).phase_read)


def test_phases_are_counted_from_end_diastole() -> None:
    area = 1000 + 300 * np.cos(2 * np.pi * (FRAMES - 15) / BEAT)  # largest at 15, 55, 95 ...
    found = phases(area, 50.0)
    assert np.isnan(found[:14]).all()
    whole = phases(area, 50.0, beyond=True)
    assert whole[0] == pytest.approx(-15 / BEAT, abs=0.03)
    assert whole[-1] == pytest.approx((len(area) - 1 - 15) / BEAT, abs=0.06)
    assert found[15:96:40] == pytest.approx([0, 1, 2], abs=0.03)
    assert found[75] == pytest.approx(1.5, abs=0.03)
    assert beat_length(area, 50.0) == pytest.approx(BEAT, abs=1)
    assert np.isnan(beat_length(area[:40], 50.0))
    assert np.isnan(phases(np.full(50, 7.0), 50.0)).all()


@pytest.mark.parametrize("beat", [28, 40, 55.5])
def test_the_beat_is_read_off_the_features(beat: float) -> None:
    turn = 2 * np.pi * np.arange(170) / beat
    features = np.stack([np.cos(turn), np.sin(turn), 0.4 * np.cos(2 * turn)], 1)
    assert similarity.beat_read(distances(features), 50.0) == pytest.approx(beat, abs=0.5)
    assert similarity.rate(beat, 50.0) == pytest.approx(3000 / beat)


def test_no_beat_in_noise() -> None:
    assert np.isnan(similarity.beat_read(distances(NOISE), 50.0))
    assert np.isnan(similarity.rate(float("nan"), 50.0))


def test_distance_by_lag_by_hand() -> None:
    distance = distances(np.array([[0.0], [1.0], [3.0], [6.0], [10.0], [15.0]]))
    assert similarity.by_lag(distance) == pytest.approx([0, 3, 6, 9])


# ------------------------------------------------------------------------------------------------- matching


def dossier_features() -> np.ndarray:
    """The features of the unit test of the loss: T = 40, d = 8."""
    t, k = np.arange(40)[:, None], np.arange(8)[None]
    return np.sin(2 * np.pi * t / 17 * (1 + k % 3) + 0.3 * k) + 0.05 * np.cos(0.7 * t + k)


@pytest.mark.parametrize(("candidates", "starts"), [("code", 11), ("paper", 13)])
def test_beta_is_that_of_the_loss(candidates: str, starts: int) -> None:
    """The loss is -log of beta at its target, so beta and its target are known from the loss's own values."""
    options = CSSOptions(period=1, longer_than=0, candidates=candidates)  # type: ignore[arg-type]
    features = dossier_features()
    for start in range(starts):
        found = matching.match(features, options, start, positions=196)
        loss = css_loss(torch.from_numpy(features), start, candidates=candidates)  # type: ignore[arg-type]
        target = found.candidates.tolist().index(found.target)
        assert -np.log(found.beta[target]) == pytest.approx(float(loss), rel=1e-9)
        assert found.alpha.sum() == pytest.approx(1)
        assert found.beta.sum() == pytest.approx(1)
    assert found.template == starts - 1
    assert found.target == starts + 1


def test_places_are_frames_of_the_video() -> None:
    features = np.repeat(dossier_features(), 3, axis=0)
    found = matching.match(features, CSSOptions(), 2, positions=196, first=1)
    assert found.template == 7
    assert found.searched[:2].tolist() == [46, 49]
    assert found.candidates[0] == 7
    assert found.target == 13


def test_a_soft_match_finds_the_moment_of_a_circle() -> None:
    options = CSSOptions(period=1, longer_than=0, temperature=200.0)
    phase = np.arange(40) / 18
    turn = 2 * np.pi * phase
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    found = matching.match(circle, options, 4, positions=196)
    assert found.hit
    assert found.agreement(phase) > 0.9
    noise = [
        matching.match(np.random.default_rng(s).normal(size=(40, 8)), options, 4, 196).agreement(phase)
        for s in range(40)
    ]
    assert abs(np.mean(noise)) < 0.3


def test_entropy_and_fit() -> None:
    assert matching.entropy(np.array([1.0, 0, 0, 0])) == 0
    assert matching.entropy(np.full(4, 0.25)) == pytest.approx(1)
    options = CSSOptions()
    assert matching.fits(options, 118)
    assert not matching.fits(options, 117)
    longer = matching.fitted(options, 200, 3, 50.0)
    assert longer.frames == 51
    assert matching.fitted(options, 200, 3, 90.0).frames == 67  # as long as the video allows


def test_the_windows_of_a_run() -> None:
    options = matching.options_of_run({"period": "2", "phase_length": 4, "weight": "0.01", "cycle_back": "regression"})
    assert (options.period, options.phase_length, options.temperature) == (2, 4, 10.0)
