"""What a set of videos measures like: the input's mean and deviation, and the ranges that make another unlike."""

import numpy as np

from echocycle.data.clips import clip_start, cut_clip
from echocycle.data.labels import TrainingData

VIDEOS, FRAMES, PERIOD = 128, 16, 2
"""The estimator of EchoNet-Dynamic's code: this many random training videos, one clip of each."""


def input_statistics(data: TrainingData) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in grey levels, zero-filled ends of short clips included.

    A private generator, so nothing else that is random depends on it.
    """
    clips = _clips(data)
    pixels = sum(clip.size // (clip.shape[-1] if clip.ndim == 4 else 1) for clip in clips)
    axes = (0, 1, 2)
    total = np.sum([clip.sum(axes, dtype=np.float64) for clip in clips], axis=0)
    squares = np.sum([np.square(clip.astype(np.float64)).sum(axes) for clip in clips], axis=0)
    mean = np.atleast_1d(total / pixels)
    std = np.sqrt(np.maximum(np.atleast_1d(squares / pixels) - mean**2, 1e-6))
    # rounded, so that the same clips give the same numbers through a file
    return tuple(round(float(v), 6) for v in mean), tuple(round(float(v), 6) for v in std)


def _clips(data: TrainingData) -> list[np.ndarray]:
    rng = np.random.default_rng([0, VIDEOS])
    videos = data.videos("both")
    chosen = rng.permutation(videos)[:VIDEOS]
    return [
        cut_clip(data, int(v), clip_start(data.n_frames(int(v)), FRAMES, PERIOD, rng), FRAMES, PERIOD)[0]
        for v in chosen
    ]
