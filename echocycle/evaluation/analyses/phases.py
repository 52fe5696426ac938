"""Which moment of the beat each frame of a video shows, from an area curve: what features are held against."""

import numpy as np
from numpy.typing import NDArray

from echocycle.cardiac.beats import USUAL_FPS, find_beats

Floats = NDArray[np.float64]


def phases(area: NDArray[np.integer] | Floats, fps: float, *, beyond: bool = False) -> Floats:
    """The phase of each frame (time,), counted in beats: whole at each end diastole, NaN before the first and after the
    last. Its fraction is the moment of the beat, its whole part the beat's number.

    Args:
        beyond: go on before the first and after the last end diastole with the length of the beat beside it.
    """
    area = np.asarray(area, np.float64)
    found = np.full(len(area), np.nan)
    ends = ed_frames(area, fps)
    if len(ends) < 2:
        return found
    frames = np.arange(ends[0], ends[-1] + 1)
    found[frames] = np.interp(frames, ends, np.arange(len(ends)))
    if beyond:
        before, after = np.arange(ends[0]), np.arange(ends[-1] + 1, len(area))
        found[before] = (before - ends[0]) / (ends[1] - ends[0])
        found[after] = len(ends) - 1 + (after - ends[-1]) / (ends[-1] - ends[-2])
    return found


def ed_frames(area: Floats, fps: float) -> list[int]:
    """Frames of end diastole, in order, each once."""
    rate = fps if np.isfinite(fps) and fps > 0 else USUAL_FPS
    return sorted({beat.ed for beat in find_beats(np.asarray(area, np.float64), rate)})


def beat_length(area: NDArray[np.integer] | Floats, fps: float) -> float:
    """Frames from one end diastole to the next, the median over the video; NaN where fewer than two are seen."""
    ends = ed_frames(np.asarray(area, np.float64), fps)
    return float(np.median(np.diff(ends))) if len(ends) > 1 else float("nan")
