"""Recordings without a question are found, and sound ones, however unusual, are not taken for such."""

from pathlib import Path

import numpy as np
import pytest
from helpers.predicting import video_of

from echocycle.data.store import Store
from echocycle.inference.quality import unusable_masks
from echocycle.recordings.quality import unanswerable
from echocycle.recordings.video import read_video


@pytest.fixture(scope="module")
def sound(phantom_folder: Path) -> np.ndarray:
    return read_video(video_of(phantom_folder)).frames


def test_sound_recordings_are_answerable(phantom_folder: Path, sound: np.ndarray) -> None:
    for path in sorted((phantom_folder / "Videos").glob("*.avi")):
        assert unanswerable(read_video(path).frames) is None, path.name
    assert unanswerable(sound // 3) is None  # dark
    assert unanswerable(np.repeat(sound, 4, axis=0)) is None  # each frame shown four times
    half = np.concatenate([sound[:40], np.repeat(sound[40:41], 40, axis=0)])  # stands still in its second half
    assert unanswerable(half) is None


def test_masks_of_the_phantom_are_usable(store: Store) -> None:
    for video in range(len(store)):
        masks = store.masks("truth").probabilities(video, np.arange(store.n_frames(video))) > 127
        frames = np.array(store.frames(video))
        assert unusable_masks(masks, frames) is None
        masks[::3] = False  # lost in every third frame
        assert unusable_masks(masks, frames) is None
        masks[1::3] = False
        assert "frames only" in str(unusable_masks(masks, frames))


def test_masks_on_the_black_are_not(store: Store) -> None:
    frames = np.array(store.frames(0))
    everywhere = np.ones(frames.shape, bool)
    assert "outside the ultrasound picture" in str(unusable_masks(everywhere, frames))
    corner = np.zeros(frames.shape, bool)
    corner[:, :30, :25] = True
    assert "100 % of what" in str(unusable_masks(corner, frames))
    speck = np.zeros(frames.shape, bool)
    speck[:, 50:52, 50:54] = True  # fewer pixels than any ventricle
    assert f"in 0 of {len(frames)} frames" in str(unusable_masks(speck, frames))
    assert unusable_masks(corner, np.zeros_like(frames)) is not None
