"""Recordings without an answer: black, frozen, too short; and those that look so and have one."""

from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, rgb_of

from echocycle.recordings.quality import fans_side_by_side, note_on_repeats, repeated_frames, unanswerable
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.recordings.video import write_mjpeg


def with_running_trace(frames: np.ndarray) -> np.ndarray:
    """A thin line that runs, and a clock that changes, as on a scanner whose picture is frozen."""
    marked = frames.copy()
    for time, frame in enumerate(marked):
        column = (4 * time) % frame.shape[1]
        frame[-12:-10, : column + 1] = 200
        frame[2:8, 2 : 2 + time % 8] = 255
    return marked


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.zeros((60, 120, 160), np.uint8), "is black"),
        (np.full((60, 120, 160), 9, np.uint8), "is black"),
        (np.repeat(beating_fan(1), 60, axis=0), "stands still"),
        (with_running_trace(np.repeat(beating_fan(1), 60, axis=0)), "stands still"),
        (with_running_trace(np.zeros((60, 120, 160), np.uint8)), "stands still"),
        (np.concatenate([np.repeat(beating_fan(1), 55, axis=0), beating_fan(6)]), "stands still"),
        (np.repeat(beating_fan(9), 7, axis=0), "54 of 63 frames repeat"),
        (beating_fan(1), "is 1 frame"),
        (beating_fan(7), "are 7 frames"),
    ],
)
def test_no_answer(tmp_path: Path, frames: np.ndarray, reason: str) -> None:
    assert reason in (unanswerable(frames) or "")
    write_mjpeg(tmp_path / "clip.avi", frames, 50)
    assert unanswerable(read_recording(tmp_path / "clip.avi").frames) is not None


@pytest.mark.parametrize("dim", [1.0, 0.25])
def test_an_answer(dim: float) -> None:
    frames = (beating_fan(24) * dim).astype(np.uint8)
    assert unanswerable(frames) is None
    assert unanswerable(frames[:, 20:100, 30:130]) is None
    assert unanswerable(np.repeat(frames, 2, axis=0)) is None


def test_real_clips_have_an_answer_whole_and_cut() -> None:
    from pydicom.data import get_testdata_file

    recording = read_recording(Path(get_testdata_file("examples_ybr_color.dcm", download=False)))
    assert unanswerable(recording.frames) is None
    assert unanswerable(cut_sector(recording).frames) is None


def test_two_fans() -> None:
    """Biplane, by its picture alone; a fan that a shadow parts is one."""
    fan = beating_fan(24)
    both = np.concatenate([fan, beating_fan(24, seed=1)], axis=2)
    assert fans_side_by_side(fan) == 1
    assert "2 fans side by side" in str(unanswerable(both))
    assert "3 fans side by side" in str(unanswerable(np.concatenate([both, fan], axis=2)))
    shadowed = fan.copy()
    shadowed[:, :, 75:86] = 0
    assert unanswerable(shadowed) is None
    smaller = np.zeros_like(fan)
    smaller[:, 20:80, 40:120] = fan[:, ::2, ::2]
    assert unanswerable(np.concatenate([fan, smaller], axis=2)) is None


def test_repeats() -> None:
    frames = beating_fan(20)
    frames[5], frames[6], frames[12] = frames[4], frames[4], frames[11]
    assert repeated_frames(frames) == [5, 6, 12]
    assert note_on_repeats(frames, 50.0) == ["3 of 20 frames repeat the one before"]
    assert note_on_repeats(beating_fan(20), 50.0) == []
    assert repeated_frames(rgb_of(frames)) == [5, 6, 12]
