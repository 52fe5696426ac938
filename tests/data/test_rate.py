"""Time in seconds: which frames a video at another rate has, and a store seen so."""

import numpy as np
import pytest

from echocycle.data.rate import is_outside, places_at_rate, rate_for, training_rate
from echocycle.data.store import Store
from echocycle.data.store_at_rate import seen_by
from echocycle.errors import EchocycleError

REFERENCE = {"fps": 50.0, "ranges": {"fps": [40.0, 60.0]}}


@pytest.mark.parametrize("fps", [12.5, 24, 25, 30, 49.5, 50, 50.9, 75, 100, 200])
def test_each_place_takes_the_frame_nearest_in_time(fps: float) -> None:
    places, _ = places_at_rate(60, fps, 50)
    if abs(fps - 50) <= 1:
        assert places.tolist() == list(range(60))
        return
    assert (np.diff(places) >= 0).all()
    at = np.arange(len(places)) / 50
    assert np.abs(places / fps - at).max() <= 0.5 / fps + 1e-9
    assert at[-1] <= 59 / fps < at[-1] + 1 / 50 + 1e-9  # as long as before, to a frame


def test_traced_frames_stay() -> None:
    for fps in (25.0, 73.0, 200.0):
        places, (ed, es) = places_at_rate(100, fps, 50, (13, 61))
        assert (places[ed], places[es]) == (13, 61)
        assert abs(ed / 50 - 13 / fps) <= 0.5 / 50 + 0.5 / fps
    assert places_at_rate(100, 50, 50, (13, 61))[1] == (13, 61)


def test_which_rate_a_recording_gets() -> None:
    assert rate_for("auto", 50, REFERENCE) is None
    assert rate_for("auto", 25, REFERENCE) == 50
    assert rate_for("frames", 25, REFERENCE) is None
    assert rate_for("seconds", 45, REFERENCE) == 50
    assert rate_for("seconds", float("nan"), REFERENCE) is None
    assert not is_outside(float("nan"), REFERENCE)
    assert training_rate({"ranges": {"fps": [40.0, 60.0]}}) == 50  # a model of before the rate was kept
    assert training_rate({}) is None
    assert rate_for("auto", 25, {}) is None


def test_runs_on_stores_in_frames_stay_the_same_runs(store: Store) -> None:
    """What a run compares with its store when it is resumed is what earlier versions wrote."""
    assert store.time == "frames"
    assert set(store.provenance()) == {"id", "source", "color", "phantom_version", "videos", "frames"}


def test_a_store_in_seconds(store: Store) -> None:
    twice = {"fps": 2 * float(store.index["fps"][0])}
    seen = seen_by(store, "seconds", twice, "M")
    assert seen_by(store, "frames", twice, "M") is store
    assert seen.n_frames(0) == 2 * store.n_frames(0) - 1 == len(seen.frames(0))
    np.testing.assert_array_equal(seen.frames(0)[::2], store.frames(0))
    assert seen.index["frames"][0] == seen.n_frames(0)
    assert abs(seen.index["ed_frame"][0] - 2 * store.index["ed_frame"][0]) <= 1
    assert set(seen.index["fps"]) == {twice["fps"]}
    np.testing.assert_array_equal(seen.traced_masks(0), store.traced_masks(0))
    here, there = int(seen.index["ed_frame"][0]), int(store.index["ed_frame"][0])
    np.testing.assert_array_equal(seen.frames(0)[here], store.frames(0)[there])
    masks = seen.masks("truth").probabilities(0, [here])
    np.testing.assert_array_equal(masks, store.masks("truth").probabilities(0, [there]))
    with pytest.raises(EchocycleError, match="M does not say its training rate"):
        seen_by(store, "seconds", {}, "M")
