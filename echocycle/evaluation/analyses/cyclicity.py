"""Do features go in circles? Numbers to go with the paper's Fig. 5, which is a picture.

Two numbers of each video, both from one vector a frame and the phase of each frame:

phase read    The phase of the most similar frame of another beat, held against the frame's own: the mean of the cosine
              of their difference. 1 where the features tell the moment of the beat, 0 where they tell nothing.
return ratio  How far the features are from themselves after one whole beat, over how far after half a beat. 0 for a
              perfect circle, 1 for features in which a beat leaves no trace.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Cyclicity:
    """Of one video; NaN where it shows no two whole beats."""

    phase_read: float
    return_ratio: float
    beats: int


def cyclicity(features: Floats, phase: Floats) -> Cyclicity:
    """Both numbers of a video.

    Args:
        features: (time, dim).
        phase: (time,), in beats, NaN where unknown, as `phases.phases` gives it.
    """
    known = np.isfinite(phase)
    beats = len(np.unique(np.floor(phase[known][:-1]))) if known.sum() > 1 else 0
    if beats < 2:
        return Cyclicity(float("nan"), float("nan"), beats)
    return Cyclicity(phase_read(features[known], phase[known]), return_ratio(features[known], phase[known]), beats)


def phase_read(features: Floats, phase: Floats) -> float:
    """Mean cosine of the difference between a frame's phase and that of the most similar frame of another beat."""
    distance = distances(features)
    beat = np.floor(phase)
    distance[beat[:, None] == beat[None, :]] = np.inf
    # the end of one beat and the beginning of the next are neighbours in time, and alike for that alone
    distance[np.abs(phase[:, None] - phase[None, :]) < 0.5] = np.inf
    usable = np.isfinite(distance).any(1)
    nearest = distance[usable].argmin(1)
    return float(np.cos(2 * np.pi * (phase[nearest] - phase[usable])).mean()) if usable.any() else float("nan")


def return_ratio(features: Floats, phase: Floats) -> float:
    """Mean distance of frames one beat apart over that of frames half a beat apart."""
    whole, half = (_apart(features, phase, beats) for beats in (1.0, 0.5))
    return whole / half if half > 0 else float("nan")


def _apart(features: Floats, phase: Floats, beats: float) -> float:
    """Mean distance of each frame to the one so many beats later, between frames by a straight line."""
    frames = np.arange(len(phase))
    later = phase + beats
    inside = later <= phase[-1]
    place = np.interp(later[inside], phase, frames)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(phase) - 1)
    weight = (place - before)[:, None]
    there = (1 - weight) * features[before] + weight * features[after]
    return float(np.linalg.norm(there - features[frames[inside]], axis=1).mean()) if inside.any() else float("nan")


def distances(features: Floats) -> NDArray[np.float64]:
    """Euclidean distances of all pairs of frames, (time, time)."""
    from scipy.spatial.distance import cdist

    found: NDArray[np.float64] = cdist(features, features)
    return found
