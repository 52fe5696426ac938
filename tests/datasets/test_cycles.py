"""How long a beat is, and what `check` says where a clip shows too little of it."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.recording_files import beating_fan

from echocycle.data.store import Store
from echocycle.datasets.check import _few_cycles, _Seen
from echocycle.datasets.cycles import beat_length


def test_a_fan_that_beats_every_fifty_frames() -> None:
    frames = beating_fan(120, 112, 112)
    assert beat_length(frames, 50) == pytest.approx(50, abs=2)
    assert beat_length(np.repeat(frames, 2, axis=0), 100) == pytest.approx(100, abs=4)


def test_where_no_beat_can_be_told() -> None:
    rng = np.random.default_rng(0)
    assert beat_length(beating_fan(40, 112, 112), 50) is None  # less than a beat
    assert beat_length(rng.integers(0, 255, (120, 112, 112), np.uint8), 50) is None
    assert beat_length(np.full((120, 112, 112), 7, np.uint8), 50) is None
    assert beat_length(beating_fan(120, 112, 112), float("nan")) is None
    assert beat_length(beating_fan(4, 112, 112), 50) is None


def test_the_phantoms_beats(store: Store) -> None:
    """Where a beat is told it is that of the heart: pictures at its distance are more alike than half of it apart."""
    told = [beat_length(store.frames(video), float(store.index["fps"][video])) for video in range(len(store))]
    known = [beat for beat in told if beat is not None]
    assert all(60 / 180 <= beat / 50 <= 60 / 35 for beat in known)


def test_what_is_said() -> None:
    seen = _Seen("a", "train", 200, None, None, (), 50.0, 50.0)
    assert _few_cycles([seen]) == []
    fast, short = replace(seen, name="b", fps=100.0, beat=100.0), replace(seen, name="c", frames=30, beat=None)
    few, less = _few_cycles([seen, fast, short])
    assert (few.kind, few.level, few.names) == ("too-few-cycles", "note", ("b",))
    assert "0.6 of a beat" in few.message
    assert (less.kind, less.names) == ("less-than-a-beat", ("c",))
    assert "0.60 s" in less.message
