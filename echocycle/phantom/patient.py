"""First step of the phantom: the settings, and who the patients are, before anything is drawn.

The distributions follow EchoNet-Dynamic: the quantiles below are those of its file list. What version 2 adds
(rhythm, disease, foreshortening) is drawn from streams of its own, so that version 1 stays what it was.
"""

import math
import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from echocycle.phantom.settings import PhantomSettings

USUAL_FPS = 50.0

# (share of clips below, value). Real EF reaches 97; it ends at 85 here, since no ventricle empties itself.
EF_QUANTILES = (
    (0.0, 6.9), (0.01, 17.9), (0.05, 27.9), (0.062, 30.0), (0.126, 40.0), (0.224, 50.0), (0.306, 55.0),
    (0.5, 59.2), (0.552, 60.0), (0.75, 64.0), (0.81, 65.0), (0.95, 69.1), (0.968, 70.0), (0.99, 74.3),
    (1.0, 85.0),
)  # fmt: skip
EDV_QUANTILES = (
    (0.0, 12.6), (0.01, 28.9), (0.05, 40.4), (0.25, 62.2), (0.5, 82.1), (0.75, 108.3), (0.95, 173.2),
    (0.99, 262.4), (0.997, 320.0), (1.0, 695.0),
)  # fmt: skip
EDV_QUANTILES_2 = (*EDV_QUANTILES[:-1], (0.9992, 430.0), (1.0, 695.0))
# The second hospital's, after CAMUS: mean 52, half of the patients at 45 to 62.
SECOND_EF_QUANTILES = ((0.0, 8.0), (0.05, 27.0), (0.25, 44.0), (0.5, 53.5), (0.75, 61.5), (0.95, 70.0), (1.0, 82.0))
SECOND_QUALITIES = ((0.35, 0.85, "good"), (0.81, 0.5, "medium"), (1.0, 0.12, "poor"))
# (share of clips below, quality, name)
FRAMES_QUANTILES = (
    (0.0, 28.0), (0.01, 74.0), (0.05, 108.0), (0.25, 144.0), (0.5, 171.0), (0.75, 201.0), (0.95, 253.0),
    (0.99, 354.0), (0.997, 460.0), (1.0, 1002.0),
)  # fmt: skip
SECONDS_QUANTILES = (
    (0.0, 0.7), (0.01, 1.6), (0.05, 2.2), (0.25, 2.9), (0.5, 3.4), (0.75, 4.0), (0.95, 4.9), (0.99, 6.2),
    (0.997, 8.5), (1.0, 20.0),
)  # fmt: skip
SLOW_FPS_QUANTILES = ((0.0, 18.0), (0.1, 33.0), (0.45, 46.0), (1.0, 49.0))
FAST_FPS_QUANTILES = ((0.0, 51.0), (0.52, 61.0), (0.9, 76.0), (1.0, 138.0))
FAST_FPS_QUANTILES_2 = ((0.0, 51.0), (0.52, 60.0), (0.9, 75.0), (0.97, 84.0), (1.0, 138.0))
# Weak hearts are large: normal score of EDV against EF, through the median EDV of each band of EF.
EDV_SCORE_BY_EF = ((22.0, 1.55), (38.0, 0.74), (51.0, 0.26), (60.0, -0.13), (68.0, -0.5))
EDV_SCORE_SD = 0.86


Pathology = Literal["none", "dilated", "hypertrophic", "regional"]


@dataclass(frozen=True)
class Patient:
    """What is drawn about one patient and recording before the first pixel; volumes in ml, EF in percent."""

    ef: float
    edv_ml: float
    fps: float
    frames: int
    rr_s: float
    """Mean time between beats, seconds."""
    rr_spread: float
    """Standard deviation of that time, relative."""
    systole_s: float
    """From end diastole to end systole, seconds."""
    area_px: float
    """Area of the ventricle at end diastole, square pixels."""
    width_ratio: float
    """Greatest width over length at end diastole."""
    quality: float = 0.5
    """Image quality, 0 to 1; see the settings."""
    quality_name: str = "medium"
    pathology: Pathology = "none"
    foreshortened: bool = False
    fibrillation: bool = False
    """The atria do not kick, and each beat's volumes follow the interval before it."""
    remodelled: float = 0.0
    """How far the heart is remodelled as failing hearts are, 0 (not at all) to 1."""

    @property
    def esv_ml(self) -> float:
        """Volume at end systole, ml."""
        return self.edv_ml * (1 - self.ef / 100)

    @property
    def systole_frames(self) -> int:
        """Frames from end diastole to end systole of the traced beat."""
        return max(3, round(self.systole_s * self.fps))


def stream(settings: PhantomSettings, index: int, purpose: str) -> np.random.Generator:
    """The random numbers of one clip for one purpose, independent of those for any other."""
    return np.random.default_rng([settings.seed, index, zlib.crc32(purpose.encode())])


def draw_patient(index: int, settings: PhantomSettings) -> Patient:
    """Draw patient `index`: cheap, and everything that has to do with EF is decided here."""
    rng = stream(settings, index, "patient")
    new = settings.version > 1
    ef_share = rng.uniform()
    if settings.uniform_ef is not None:
        ef = float(np.interp(ef_share, (0, 1), settings.uniform_ef))
    else:
        ef = quantile(SECOND_EF_QUANTILES if settings.hospital == "second" else EF_QUANTILES, ef_share)
    efs, scores = zip(*EDV_SCORE_BY_EF, strict=True)
    edv_score = float(np.interp(ef, efs, scores)) + EDV_SCORE_SD * rng.normal()
    edv_ml = quantile(EDV_QUANTILES_2 if new else EDV_QUANTILES, float(ndtr(edv_score)))
    # A larger heart is recorded with more depth, so that it is only somewhat larger in pixels.
    area_px = 1790 * math.exp(0.10 * np.clip(edv_score, -2, 2.5) + 0.22 * rng.normal())
    width_ratio = float(np.clip(rng.normal(0.595, 0.03), 0.53, 0.67))
    rr_s = float(np.clip(0.87 * math.exp(0.22 * rng.normal()), 0.52, 1.35))
    systole_s = min(float(np.clip(rng.normal(0.38, 0.03), 0.33, 0.47)), 0.62 * rr_s)
    irregular = rng.uniform() < settings.irregular_share
    rr_spread = rng.uniform(0.15, 0.28) if irregular else rng.uniform(0.01, 0.06)
    if new and irregular:
        rr_spread = rng.uniform(0.32, 0.48)
    draw_timing = _draw_timing if new else _draw_timing_1
    fps, frames = draw_timing(rng, settings, systole_s)
    patient = Patient(
        ef=ef,
        edv_ml=edv_ml,
        fps=fps,
        frames=frames,
        rr_s=rr_s,
        rr_spread=rr_spread,
        systole_s=systole_s,
        area_px=float(np.clip(area_px, 780, 2450)),
        width_ratio=width_ratio,
        quality=settings.quality,
    )
    rng = stream(settings, index, "condition")
    return _draw_condition(patient, irregular, settings, index, rng) if new else patient


def _draw_condition(
    patient: Patient, irregular: bool, settings: PhantomSettings, index: int, rng: np.random.Generator
) -> Patient:
    """What version 2 adds: disease that fits the volumes already drawn, foreshortening, rhythm, quality."""
    diseased, which, missed, quality, rounder = rng.uniform(size=5)
    pathology: Pathology = "none"
    if diseased < settings.pathological_share:
        if patient.ef < 45:
            pathology = "dilated" if which < 0.55 else "regional"
        elif patient.ef < 56:
            pathology = "regional" if which < 0.7 else "none"
        elif patient.edv_ml < 85:
            pathology = "hypertrophic" if which < 0.3 else "none"
    foreshortened = bool(missed < settings.foreshortened_share)
    width_ratio = patient.width_ratio
    if pathology == "dilated":
        width_ratio += 0.03
    if foreshortened:
        width_ratio *= 1.04 + 0.12 * rounder
    level, name = settings.quality, "medium"
    if settings.hospital == "second":
        level, name = next((level, name) for share, level, name in SECOND_QUALITIES if quality < share)
    changed = replace(
        patient,
        width_ratio=width_ratio,
        quality=level,
        quality_name=name,
        pathology=pathology,
        foreshortened=foreshortened,
        fibrillation=irregular,
    )
    if settings.remodelled_share:
        changed = _remodelled(changed, settings, stream(settings, index, "remodelling"))
    return replace(changed, frames=changed.systole_frames + 1) if settings.only_half_cycles else changed


def _remodelled(patient: Patient, settings: PhantomSettings, rng: np.random.Generator) -> Patient:
    """The patient with a heart that is larger and rounder and takes longer to empty, the more so the lower its EF.

    How round: width over length at end diastole goes from 0.6 in healthy ventricles to 0.7 and more in dilated ones.
    """
    is_one, rounder, larger, slower = rng.uniform(size=4)
    amount = min(max((50 - patient.ef) / 30, 0.0), 1.0) * (is_one < settings.remodelled_share)
    systole_s = max(patient.systole_s, min(patient.systole_s * (1 + 0.2 * amount * slower), 0.62 * patient.rr_s))
    return replace(
        patient,
        remodelled=float(amount),
        width_ratio=float(patient.width_ratio + 0.14 * amount * rounder),
        area_px=float(min(patient.area_px * (1 + 0.35 * amount * larger), 2450)),
        systole_s=systole_s,
        frames=max(patient.frames, round(systole_s * patient.fps) + 4),
    )


def quantile(table: tuple[tuple[float, float], ...], share: float) -> float:
    """Value below which `share` of a distribution lies, by monotone interpolation in a table of quantiles."""
    shares, values = zip(*table, strict=True)
    return float(PchipInterpolator(shares, values)(share))


def normal_score(rng: np.random.Generator, limit: float) -> float:
    """A standard normal number between -limit and limit."""
    low = float(ndtr(-limit))
    return float(ndtri(rng.uniform(low, 1 - low)))


def _draw_timing(rng: np.random.Generator, settings: PhantomSettings, systole_s: float) -> tuple[float, int]:
    """Frames per second and number of frames, through the clip's seconds; one whole systole always fits."""
    usual, fast, fps_share, seconds_share = rng.uniform(size=4)
    fps = USUAL_FPS
    if usual >= settings.usual_fps_share:
        fps = float(round(quantile(FAST_FPS_QUANTILES_2 if fast < 0.5 else SLOW_FPS_QUANTILES, fps_share)))
    drawn = quantile(SECONDS_QUANTILES, seconds_share) * fps * settings.frames_median / 171
    return _fitted(fps, drawn, settings, systole_s)


def _draw_timing_1(rng: np.random.Generator, settings: PhantomSettings, systole_s: float) -> tuple[float, int]:
    """As in version 1: number of frames whatever their rate."""
    usual, fast, fps_share, frames_share = rng.uniform(size=4)
    fps = USUAL_FPS
    if usual >= settings.usual_fps_share:
        fps = float(round(quantile(FAST_FPS_QUANTILES if fast < 0.5 else SLOW_FPS_QUANTILES, fps_share)))
    drawn = quantile(FRAMES_QUANTILES, frames_share) * settings.frames_median / 171
    return _fitted(fps, drawn, settings, systole_s)


def _fitted(fps: float, drawn: float, settings: PhantomSettings, systole_s: float) -> tuple[float, int]:
    """Rate and number of frames within the settings' limits, with room for a systole."""
    frames = int(np.clip(round(drawn), settings.frames_min, settings.frames_max))
    needed = round(systole_s * fps) + 4
    if needed > settings.frames_max:
        fps, needed = USUAL_FPS, round(systole_s * USUAL_FPS) + 4
    return fps, max(frames, needed)
