"""From an area curve and its beats to the rhythm: heart rate, times between beats, whether they are regular."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from echocycle.cardiac.beats import Beat, Floats, fill_missing, smooth_area
from echocycle.errors import EchocycleError

SHORTEST_PERIOD, LONGEST_PERIOD = 0.27, 2.4
"""Seconds between two beats that are looked for: 222 to 25 a minute. Wider than what is usual, so that a frame rate
that the file states wrongly shows itself by an impossible heart rate."""
WEAKEST_PERIOD = 0.25
"""Autocorrelation below which there is no period."""
FUNDAMENTAL = 0.8
"""A shorter period counts if its autocorrelation reaches this share of the highest: beats that alternate in size repeat
best after two."""
IRREGULAR = 0.12
"""Spread of the times between beats over their mean from which on a rhythm is irregular; breathing makes less."""
MISSED = 1.25
"""Time between beats over the period from which on beats were missed."""
FEWEST_INTERVALS = 2
"""Times between beats that are needed to tell whether they are alike."""


@dataclass(frozen=True)
class Rhythm:
    """How the heart beats. Rates are beats a minute, times are seconds."""

    rate: float | None
    """Heart rate: 60 over the mean time between beats; where only one beat is whole, by the curve's period."""
    intervals_s: tuple[float, ...]
    """Time from each beat to the next, (beats - 1,), from the middle of one ejection to the middle of the next."""
    variation: float | None
    """Standard deviation of `intervals_s`, percent of their mean; None with fewer than two."""
    irregular: bool | None
    """Whether `variation` exceeds 100 `IRREGULAR`; None with fewer than `FEWEST_INTERVALS`."""
    period_s: float | None
    """Period of the area curve by autocorrelation; None where there is none."""
    strength: float
    """Autocorrelation at that period, 0 to 1: how well one beat is like the next."""


def period_of(area: Sequence[float] | Floats, fps: float) -> tuple[float | None, float]:
    """Period in seconds of an area curve (time,), and its autocorrelation there (0 to 1).

    The curve must hold at least one period and a third. Lost masks are bridged. None where nothing repeats within
    `SHORTEST_PERIOD` to `LONGEST_PERIOD`.
    """
    if not fps > 0:
        raise EchocycleError(f"fps is {fps}; it must be above 0.")
    curve, missing = fill_missing(np.asarray(area, dtype=np.float64))
    count = len(curve)
    if count < 8 or missing.all() or np.ptp(curve) == 0:
        return None, 0.0
    curve = signal.detrend(smooth_area(curve, fps))
    longest = min(int(LONGEST_PERIOD * fps), int(count / 1.33))
    shortest = max(2, int(np.ceil(SHORTEST_PERIOD * fps)))
    if longest <= shortest + 1:
        return None, 0.0
    lags = np.arange(shortest - 1, longest + 2)
    lags = lags[lags < count - 1]
    similar = np.array([_similarity(curve[:-lag], curve[lag:]) for lag in lags])
    peaks = np.flatnonzero((similar[1:-1] > similar[:-2]) & (similar[1:-1] >= similar[2:])) + 1
    peaks = peaks[similar[peaks] >= WEAKEST_PERIOD]
    if not peaks.size:
        return None, float(max(similar.max(), 0.0))
    best = peaks[similar[peaks] >= FUNDAMENTAL * similar[peaks].max()][0]
    before, here, after = similar[best - 1 : best + 2]
    bend = before - 2 * here + after
    offset = 0.0 if bend == 0 else 0.5 * (before - after) / bend  # the top of the parabola through three lags
    return float((lags[best] + offset) / fps), float(here)


def _similarity(first: Floats, second: Floats) -> float:
    """Correlation of two stretches of a curve, each about the whole curve's mean of 0."""
    power = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / power) if power > 0 else 0.0


def ejection_times(area: Sequence[float] | Floats, beats: Sequence[Beat], fps: float) -> list[float]:
    """Seconds at which each beat has halved its way from ED to ES, (beats,): where the curve is steepest, so that noise
    moves it least. Beats whose ES lies before their ED (the next ED stands in) are left out."""
    curve = smooth_area(fill_missing(np.asarray(area, dtype=np.float64))[0], fps)
    times = []
    for beat in beats:
        if beat.es <= beat.ed:
            continue
        part = curve[beat.ed : beat.es + 1]
        half = (part[0] + part[-1]) / 2
        below = int(np.flatnonzero(part <= half)[0]) if (part <= half).any() else len(part) - 1
        above = max(below - 1, 0)
        step = part[above] - part[below]
        share = (part[above] - half) / step if step > 0 else 0.0
        times.append((beat.ed + above + share) / fps)
    return times


def rhythm_of(area: Sequence[float] | Floats, beats: Sequence[Beat], fps: float) -> Rhythm:
    """Rhythm of an area curve (time,) in which `find_beats` found `beats`.

    Args:
        area: pixels of the ventricle in each frame.
        fps: frames a second.
    """
    period, strength = period_of(area, fps)
    intervals = np.diff(ejection_times(area, beats, fps))
    variation = None
    if len(intervals) >= 2:
        variation = float(100 * intervals.std(ddof=1) / intervals.mean())
    irregular = None if variation is None or len(intervals) < FEWEST_INTERVALS else variation > 100 * IRREGULAR
    mean = float(intervals.mean()) if len(intervals) else None
    if period is not None and (mean is None or (not irregular and mean > MISSED * period)):
        mean = period  # beats closer than `find_beats` allows
    return Rhythm(
        None if mean is None else 60 / mean, tuple(map(float, intervals)), variation, irregular, period, strength
    )
