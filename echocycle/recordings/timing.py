"""When each frame was taken: rates from time stamps, headers checked against them, uneven ones put on an even grid.

Everything after reading counts in frames, so frames must be evenly spaced. Where they are not, each place on an even
grid takes the stored frame nearest in time. No frame is blended from two: speckle would blur, and the picture would be
one that the scanner never made.
"""

import math
from dataclasses import dataclass

import numpy as np

HIGHEST_FPS = 1000.0
"""No ultrasound scanner reaches it; a header that does counts in milliseconds or is broken."""
LONGEST_S = 86_400.0
"""Seconds that time stamps may span: a day. Longer ones are no times of a cine."""
PAUSE_S = 1.0
"""Seconds between two frames from which on a time stamp is taken for broken and not for a pause to be filled."""


@dataclass(frozen=True)
class Timing:
    """What the time stamps of a recording say."""

    fps: float
    """Frames per second, the mean if they are even, else the usual rate; NaN if they say nothing."""
    even: bool
    """Whether no frame lies more than half an interval away from an even grid."""
    places: np.ndarray | None
    """int (new time): which stored frame each place of the even grid takes; None if all stay where they are."""
    notes: tuple[str, ...]


def timing_of_stamps(seconds: np.ndarray) -> Timing:
    """Rate and evenness of one time stamp per frame, in seconds.

    Stamps that stand still, run backwards or span more than a day say nothing, nor do those of fewer than three frames.
    """
    seconds = np.asarray(seconds, float)
    steps = np.diff(seconds)
    if len(steps) < 2 or not np.isfinite(seconds).all() or (steps <= 0).any():
        return Timing(math.nan, True, None, ())
    if seconds[-1] - seconds[0] > LONGEST_S:
        return Timing(math.nan, True, None, ())
    mean = steps.mean()
    if np.abs(seconds - (seconds[0] + mean * np.arange(len(seconds)))).max() <= 0.5 * mean:
        return Timing(_or_nan(1 / mean), True, None, ())
    usual = float(np.median(steps))
    spread = f"frames are {1000 * steps.min():.3g} to {1000 * steps.max():.3g} ms apart"
    if steps.max() > max(PAUSE_S, 4 * usual) or not math.isfinite(_or_nan(1 / usual)):
        at = int(steps.argmax())
        return Timing(
            _or_nan(1 / usual),
            False,
            None,
            (f"{spread} (the longest after frame {at}); they are used as they are, at the usual rate",),
        )
    grid = np.arange(seconds[0], seconds[-1] + usual / 2, usual)
    after = np.searchsorted(seconds, grid).clip(1, len(seconds) - 1)
    places = after - (grid - seconds[after - 1] < seconds[after] - grid)
    places[-1] = len(seconds) - 1  # the last frame lies less than half a step from the grid's end
    return Timing(_or_nan(1 / usual), False, places, (f"{spread}; they were put onto {1 / usual:.4g} per second",))


def timing_of_intervals(milliseconds: list[float]) -> Timing:
    """The same for the intervals between frames, as DICOM's FrameTimeVector has them, first entry left out."""
    return timing_of_stamps(np.concatenate([[0.0], np.cumsum(milliseconds)]) / 1000)


def intervals_of_vector(values: list[float]) -> tuple[list[float], list[str]]:
    """Intervals in milliseconds of a FrameTimeVector, without its first entry, and notes.

    The standard wants the time since the frame before; some write the time since the first frame instead. Then the
    values rise steadily while their differences hardly vary.
    """
    later = np.array(values[1:], float)
    if len(later) < 3:
        return later.tolist(), []
    differences = np.diff(np.array(values, float))
    rising = (differences >= 0).all() and differences.sum() > 0
    if rising and _variation(differences) < 0.5 * _variation(later):
        return differences.tolist(), ["FrameTimeVector counts from the first frame instead of from the frame before"]
    return later.tolist(), []


def compared(stated: float, name: str, found: float) -> list[str]:
    """A note if a stated rate is not the rate that was found, but for rounding."""
    if math.isfinite(stated) and math.isfinite(found) and abs(stated - found) > 0.02 * found + 0.5:
        return [f"{name} says {stated:.4g} frames per second, the frames' times say {found:.4g}, which is used"]
    return []


def _variation(values: np.ndarray) -> float:
    mean = float(values.mean())
    return float(values.std()) / mean if mean > 0 else math.inf


def _or_nan(fps: float) -> float:
    return fps if 0 < fps < HIGHEST_FPS else math.nan
