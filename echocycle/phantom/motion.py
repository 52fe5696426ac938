"""How the phantom's heart moves: beats, arrhythmia, drift."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from echocycle.phantom.look import Look
from echocycle.phantom.patient import Patient, normal_score

# How far a systole has come (contraction) against its elapsed share: a slow start, a steady fall, a slow end.
SYSTOLE_1 = ((0.0, 0.0), (0.12, 0.05), (0.24, 0.16), (0.48, 0.46), (0.71, 0.79), (0.86, 0.94), (1.0, 1.0))


SYSTOLE = ((0.0, 0.0), (0.12, 0.04), (0.25, 0.15), (0.48, 0.50), (0.68, 0.82), (0.84, 0.955), (1.0, 1.0))


Knot = tuple[float, float]  # (frame, value)


@dataclass(frozen=True)
class Motion:
    """How one clip moves, frame by frame."""

    contraction: NDArray[np.float64]
    """(T,), 0 at the traced end diastole and 1 at the traced end systole, exactly."""
    valve: NDArray[np.float64]
    """(T,), how far the mitral valve is open: 0 shut, 1 wide open."""
    drift: NDArray[np.float64]
    """(T, 2), shift of the whole heart in pixels (x, y)."""
    ed_frame: int
    es_frame: int


def draw_motion(patient: Patient, look: Look, rng: np.random.Generator) -> Motion:
    """Beats around one traced beat whose end diastole and end systole fall on whole frames."""
    systole = patient.systole_frames
    ed_frame = int(rng.integers(0, patient.frames - systole))
    starts = _beat_starts(patient, ed_frame, rng)
    filling, atrial_share = rng.uniform(0.54, 0.74), rng.uniform(0.05, 0.20)
    traced = starts.index(float(ed_frame))
    intervals = np.diff(starts) / (patient.rr_s * patient.fps)
    contraction_knots: list[Knot] = []
    valve_knots: list[Knot] = []
    for number, (start, end) in enumerate(pairwise(starts)):
        low, high, ejection = 0.0, 1.0, float(systole)
        if number != traced:
            low, high = 0.015 * normal_score(rng, 2), 1 + 0.03 * normal_score(rng, 2)
            ejection = min(systole * (1 + 0.03 * normal_score(rng, 2)), 0.66 * (end - start))
            if patient.fibrillation and number and traced:  # a longer pause fills more, and empties more
                longer = float(np.clip(intervals[number - 1] - intervals[traced - 1], -0.6, 0.6))
                low, high = low - 0.12 * longer, high + 0.08 * longer
        beat = _fibrillating_beat if patient.fibrillation else _beat
        contraction, valve = beat(
            start, end, ejection, (low, high), filling, atrial_share, patient.fps, SYSTOLE, 0.04, 0.183
        )
        contraction_knots += contraction
        valve_knots += valve
    frame = np.arange(patient.frames, dtype=np.float64)
    contraction = PchipInterpolator(*zip(*contraction_knots, strict=True))(frame)
    contraction[ed_frame], contraction[ed_frame + systole] = 0.0, 1.0  # free of rounding
    valve = np.clip(PchipInterpolator(*zip(*valve_knots, strict=True))(frame), 0, 1)
    valve *= 1 - 0.45 * patient.remodelled  # little flows in, so the leaflets open less
    since_diastole = (frame - ed_frame) / (0.04 * patient.fps)
    valve = np.maximum(valve, look.valve_at_diastole * np.exp(-(since_diastole**2)))
    return Motion(contraction, valve, _drift(patient, look, rng), ed_frame, ed_frame + systole)


def draw_motion_1(patient: Patient, look: Look, rng: np.random.Generator) -> Motion:
    """As in version 1: every beat has its atrial kick, and volumes do not follow the interval before."""
    systole = patient.systole_frames
    ed_frame = int(rng.integers(0, patient.frames - systole))
    starts = _beat_starts(patient, ed_frame, rng)
    filling, atrial_share = rng.uniform(0.58, 0.78), rng.uniform(0.05, 0.20)
    contraction_knots: list[Knot] = []
    valve_knots: list[Knot] = []
    for start, end in pairwise(starts):
        low, high, ejection = 0.0, 1.0, float(systole)
        if start != ed_frame:
            low, high = 0.015 * normal_score(rng, 2), 1 + 0.03 * normal_score(rng, 2)
            ejection = min(systole * (1 + 0.03 * normal_score(rng, 2)), 0.66 * (end - start))
        contraction, valve = _beat(
            start, end, ejection, (low, high), filling, atrial_share, patient.fps, SYSTOLE_1, 0.05, 0.19
        )
        contraction_knots += contraction
        valve_knots += valve
    frame = np.arange(patient.frames, dtype=np.float64)
    contraction = PchipInterpolator(*zip(*contraction_knots, strict=True))(frame)
    contraction[ed_frame], contraction[ed_frame + systole] = 0.0, 1.0  # free of rounding
    valve = np.clip(PchipInterpolator(*zip(*valve_knots, strict=True))(frame), 0, 1)
    return Motion(contraction, valve, _drift(patient, look, rng), ed_frame, ed_frame + systole)


def _beat(
    start: float,
    end: float,
    ejection: float,
    levels: tuple[float, float],
    filling: float,
    atrial_share: float,
    fps: float,
    systole: tuple[Knot, ...],
    relaxing_s: float,
    rapid_s: float,
) -> tuple[list[Knot], list[Knot]]:
    """Knots (frame, value) of contraction and valve opening for one beat; times in frames, but `_s` in seconds.

    Ejection, a short stand-still, rapid filling by the share `filling`, rest, and the atrial kick, before
    which `atrial_share` of what is left has trickled in. Fast hearts have less of each and no rest.
    """
    low, high = levels
    filling_time = end - start - ejection
    still = start + ejection
    relaxing = min(relaxing_s * fps, 0.15 * filling_time)
    rapid = min(rapid_s * fps, 0.40 * filling_time)
    kick = min(0.15 * fps, 0.30 * filling_time)
    resting = (1 - filling) * high
    before_kick = (1 - atrial_share) * resting
    contraction = [(start + share * ejection, low + (high - low) * level) for share, level in systole]
    contraction += [
        (still + relaxing, 0.97 * high),
        (still + relaxing + 0.5 * rapid, (1 - 0.55 * filling) * high),
        (still + relaxing + rapid, resting),
        (end - kick, before_kick),
        (end - 0.4 * kick, 0.3 * before_kick),
    ]
    valve = [
        (start + 0.05 * ejection, 0.0),
        (still + 0.6 * relaxing, 0.0),
        (still + relaxing + 0.4 * rapid, 1.0),
        (still + relaxing + 1.1 * rapid, 0.45),
        (end - 0.5 * kick, 0.8),
    ]
    return contraction, valve


def _fibrillating_beat(
    start: float,
    end: float,
    ejection: float,
    levels: tuple[float, float],
    filling: float,
    atrial_share: float,
    fps: float,
    systole: tuple[Knot, ...],
    relaxing_s: float,
    rapid_s: float,
) -> tuple[list[Knot], list[Knot]]:
    """A beat without atrial kick: the rapid filling brings more, the rest trickles in until the next beat."""
    knots, valve = _beat(
        start, end, ejection, levels, 0.5 + 0.5 * filling, atrial_share, fps, systole, relaxing_s, rapid_s
    )
    kept, resting = knots[:-2], knots[-3]  # up to the end of rapid filling
    middle = 0.5 * (resting[0] + end)
    return [*kept, (middle, 0.35 * resting[1])], [*valve[:-1], (0.5 * (middle + end), 0.15)]


def _beat_starts(patient: Patient, ed_frame: int, rng: np.random.Generator) -> list[float]:
    """End diastoles in frames, from a beat before the clip to a beat after it; `ed_frame` is one of them."""

    def beat() -> float:
        factor = 1 + patient.rr_spread * normal_score(rng, 2)
        return max(patient.rr_s * factor, patient.systole_s / 0.66) * patient.fps

    starts = [float(ed_frame)]
    while starts[-1] < patient.frames + 1:
        starts.append(starts[-1] + beat())
    starts.append(starts[-1] + beat())
    while starts[0] > -1:
        starts.insert(0, starts[0] - beat())
    starts.insert(0, starts[0] - beat())
    return starts


def _drift(patient: Patient, look: Look, rng: np.random.Generator) -> NDArray[np.float64]:
    """Slow shift of the heart, pixels (T, 2)."""
    seconds = np.arange(patient.frames)[:, None] / patient.fps
    period, phase = rng.uniform(2.5, 6.0, size=2), rng.uniform(0, 2 * np.pi, size=2)
    size = look.drift * rng.uniform(0.1, 1.0, size=2)
    return size * np.sin(2 * np.pi * seconds / period + phase)
