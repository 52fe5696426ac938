"""How alike frames are, and the heart rate that can be read off it (Fig. A2)."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from echocycle.cardiac.beats import LONGEST_BEAT, SHORTEST_BEAT, USUAL_FPS

DEPTH = 0.1
"""How deep a valley of the distances must be, as a share of their range, to count as a beat."""


def by_lag(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean distance of frames 0, 1, 2 ... frames apart, up to two thirds of the video, from (time, time)."""
    longest = max(2, 2 * len(distance) // 3)
    return np.array([np.diagonal(distance, lag).mean() for lag in range(longest)])


def beat_read(distance: NDArray[np.float64], fps: float) -> float:
    """Frames of a beat, read off the distances of frames: where frames are alike again; NaN where they never are.

    The first valley of `by_lag` between the shortest and the longest beat that a heart has, between frames by a
    parabola.
    """
    rate = fps if np.isfinite(fps) and fps > 0 else USUAL_FPS
    curve = by_lag(distance)
    low, high = max(1, round(SHORTEST_BEAT * rate)), round(LONGEST_BEAT * rate)
    found, _ = signal.find_peaks(-curve, prominence=DEPTH * float(np.ptp(curve)) or None)
    valleys = [int(lag) for lag in found if low <= lag <= high]
    if not valleys:
        return float("nan")
    lag = valleys[0]
    before, here, after = curve[lag - 1 : lag + 2]
    bend = before - 2 * here + after
    return float(lag + (0.5 * (before - after) / bend if bend > 0 else 0.0))


def rate(beat: float, fps: float) -> float:
    """Beats a minute of a beat of so many frames."""
    return 60 * fps / beat if np.isfinite(beat) and beat > 0 else float("nan")
