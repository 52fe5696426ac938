"""The input's mean and deviation are the plain ones, and a video that is unlike the training videos is noticed."""

import math

import numpy as np
import pytest

from echocycle.data.domain_shift import WORDS, describe, reference, unlike
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import Store
from echocycle.settings.stages import LabelSettings


class Drawn:
    """Noise, brighter in some videos than in others."""

    def __init__(self, lengths: list[int], color: bool = False):
        rng = np.random.default_rng(0)
        shape = (6, 5, 3) if color else (6, 5)
        self._videos = [rng.integers(0, 60 + 30 * (i % 5), (n, *shape), dtype=np.uint8) for i, n in enumerate(lengths)]

    def videos(self, subset: str) -> np.ndarray:
        assert subset == "both"
        return np.arange(len(self._videos))

    def n_frames(self, video: int) -> int:
        return len(self._videos[video])

    def frames(self, video: int) -> np.ndarray:
        return self._videos[video]


def literally(data: Drawn, channel: int | None) -> tuple[float, float]:
    """The same draws, pixel by pixel in Python, zeros past the end counted."""
    rng = np.random.default_rng([0, 128])
    total = squares = count = 0.0
    for video in rng.permutation(data.videos("both"))[:128]:
        frames = data.frames(video)
        start = int(rng.integers(max(len(frames), 32) - 30))
        for step in range(16):
            number = start + 2 * step
            frame = frames[number] if number < len(frames) else np.zeros_like(frames[0])
            for pixel in (frame if channel is None else frame[..., channel]).ravel().tolist():
                total, squares, count = total + pixel, squares + pixel * pixel, count + 1
    return total / count, math.sqrt(squares / count - (total / count) ** 2)


@pytest.mark.parametrize("lengths", [[60] * 5, [20, 31, 32, 33, 100], [40] * 140])
def test_statistics_of_grey_videos(lengths: list[int]) -> None:
    data = Drawn(lengths)
    mean, std = input_statistics(data)  # type: ignore[arg-type]
    assert len(mean) == len(std) == 1
    assert (mean[0], std[0]) == pytest.approx(literally(data, None), abs=1e-5)


def test_statistics_of_rgb_videos() -> None:
    data = Drawn([20, 40, 60], color=True)
    mean, std = input_statistics(data)  # type: ignore[arg-type]
    for channel in range(3):
        assert (mean[channel], std[channel]) == pytest.approx(literally(data, channel), abs=1e-5)


def test_statistics_neither_read_nor_move_global_seeds() -> None:
    data = Drawn([50] * 6)
    first = input_statistics(data)  # type: ignore[arg-type]
    np.random.seed(123)  # noqa: NPY002 - the global generator
    expected = np.random.RandomState(123).rand()
    assert input_statistics(data) == first  # type: ignore[arg-type]
    assert np.random.rand() == expected  # noqa: NPY002


@pytest.fixture
def data(store: Store) -> TrainingData:
    return TrainingData(store, draw_budget(store, LabelSettings("4"), needs="ef"))


def test_a_training_video_is_like_the_others(store: Store, data: TrainingData) -> None:
    ranges = reference(data, None)
    assert ranges["videos"] == 8
    for video in data.videos("both"):
        assert unlike(data.frames(int(video)), data.fps(int(video)), ranges) == []


def test_a_phantoms_model_always_says_so(store: Store, data: TrainingData) -> None:
    ranges = reference(data, store.phantom_version)
    (note,) = unlike(data.frames(0), data.fps(0), ranges)
    assert "synthetic" in note
    assert "no clinical meaning" in note


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda frames: np.minimum(frames.astype(int) + 90, 255).astype(np.uint8), "mean_grey"),
        (lambda frames: frames[:, ::-1] // 6, "grey_deviation"),
        (lambda frames: np.where(np.indices(frames.shape)[1] < 80, 0, frames), "lit_share"),
        (lambda frames: frames[:1].repeat(40, 0), "frame_difference"),
        (lambda frames: (frames.astype(int) * (np.indices(frames.shape)[2] % 2)).astype(np.uint8), "sharpness"),
    ],
)
def test_what_is_unlike_is_named(data: TrainingData, change: object, word: str) -> None:
    ranges = reference(data, None)
    notes = unlike(change(data.frames(0)), data.fps(0), ranges)  # type: ignore[operator]
    assert any(WORDS[word] in note for note in notes), notes


def test_the_frame_rate_counts_and_an_unknown_one_does_not(data: TrainingData) -> None:
    ranges = reference(data, None)
    assert any("frames a second" in note for note in unlike(data.frames(0), 9.0, ranges))
    assert unlike(data.frames(0), math.nan, ranges) == []


@pytest.mark.parametrize("shape", [(1, 112, 112), (2, 112, 112), (5, 112, 112, 3)])
@pytest.mark.parametrize("level", [0, 200])
def test_a_flat_or_tiny_video_can_be_described(shape: tuple[int, ...], level: int) -> None:
    measured = describe(np.full(shape, level, np.uint8))
    assert all(math.isfinite(value) for value in measured.values())
    assert measured["frame_difference"] == 0


def test_every_measure_has_words(data: TrainingData) -> None:
    assert set(reference(data, None)["ranges"]) == set(WORDS)


def test_a_share_is_told_in_percent_and_never_below_nothing() -> None:
    ranges = {"ranges": {"dark_share": [-0.00345, 0.0383], "fps": [50.0, 60.0]}}
    dark = np.zeros((4, 112, 112), np.uint8)
    dark[0, 50, 50] = 1
    first, second = unlike(dark, 26.0, ranges)
    assert first == (
        "Unlike the training videos: share of black pixels in the sector is 100 %; there it lies between 0 % and 3.83 %."
    )
    assert second == "Unlike the training videos: frames a second is 26; there it lies between 50 and 60."
