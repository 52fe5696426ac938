"""How long a beat is in a video, told without a model: by how soon its pictures come back."""

import math

import numpy as np
from numpy.typing import NDArray

FASTEST, SLOWEST = 180.0, 35.0
"""Beats a minute between which a beat is looked for."""
DEPTH = 0.15
"""How much more alike pictures a beat apart must be than pictures half a beat apart; noise stays below."""
LEAST_OVERLAP = 0.25
"""Of the frames, those that must remain to be compared at the longest beat looked for."""
CELL = 8
"""Rows and columns of a cell whose mean is compared: speckle averages out in it."""


def beat_length(frames: NDArray[np.uint8], fps: float) -> float | None:
    """Frames from one beat to the next of a video (time, height, width[, 3]).

    Pictures a beat apart look alike, those half a beat apart do not. None where the rate is unknown, or where nothing
    comes back clearly, as in a video of one beat.
    """
    if not math.isfinite(fps) or fps <= 0:
        return None
    shortest = max(2, math.floor(60 / FASTEST * fps))
    longest = min(math.ceil(60 / SLOWEST * fps), math.floor((1 - LEAST_OVERLAP) * len(frames)))
    if longest < shortest + 2:
        return None
    grey = frames if frames.ndim == 3 else frames[..., 1]
    height, width = (side // CELL * CELL for side in grey.shape[1:])
    cells = grey[:, :height, :width].reshape(len(grey), height // CELL, CELL, width // CELL, CELL)
    small = cells.mean(axis=(2, 4), dtype=np.float32).reshape(len(grey), -1)
    apart = np.array([np.abs(small[lag:] - small[: len(small) - lag]).mean() for lag in range(1, longest + 1)])
    smooth = np.convolve(apart, np.ones(3) / 3, mode="same")
    inside = range(shortest - 1, longest - 1)
    valleys = [i for i in inside if smooth[i] <= smooth[i - 1] and smooth[i] < smooth[i + 1]]
    for place in valleys:  # the first that is deep: later ones are two beats and more
        hill = smooth[: place + 1].max()
        if hill > 0 and smooth[place] < (1 - DEPTH) * hill:
            return float(place + 1)
    return None
