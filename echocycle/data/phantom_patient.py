"""First step of the phantom: the settings, and who the patients are, before anything is drawn.

The distributions follow EchoNet-Dynamic: the quantiles below are those of its file list.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr, ndtri

from echocycle.data.phantom_settings import PhantomSettings

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
FRAMES_QUANTILES = (
    (0.0, 28.0), (0.01, 74.0), (0.05, 108.0), (0.25, 144.0), (0.5, 171.0), (0.75, 201.0), (0.95, 253.0),
    (0.99, 354.0), (0.997, 460.0), (1.0, 1002.0),
)  # fmt: skip
SLOW_FPS_QUANTILES = ((0.0, 18.0), (0.1, 33.0), (0.45, 46.0), (1.0, 49.0))
FAST_FPS_QUANTILES = ((0.0, 51.0), (0.52, 61.0), (0.9, 76.0), (1.0, 138.0))
# Weak hearts are large: normal score of EDV against EF, through the median EDV of each band of EF.
EDV_SCORE_BY_EF = ((22.0, 1.55), (38.0, 0.74), (51.0, 0.26), (60.0, -0.13), (68.0, -0.5))
EDV_SCORE_SD = 0.86


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
    ef = quantile(EF_QUANTILES, rng.uniform())
    efs, scores = zip(*EDV_SCORE_BY_EF, strict=True)
    edv_score = float(np.interp(ef, efs, scores)) + EDV_SCORE_SD * rng.normal()
    edv_ml = quantile(EDV_QUANTILES, float(ndtr(edv_score)))
    # A larger heart is recorded with more depth, so that it is only somewhat larger in pixels.
    area_px = 1790 * math.exp(0.10 * np.clip(edv_score, -2, 2.5) + 0.22 * rng.normal())
    width_ratio = float(np.clip(rng.normal(0.595, 0.03), 0.53, 0.67))
    rr_s = float(np.clip(0.87 * math.exp(0.22 * rng.normal()), 0.52, 1.35))
    systole_s = min(float(np.clip(rng.normal(0.38, 0.03), 0.33, 0.47)), 0.62 * rr_s)
    irregular = rng.uniform() < settings.irregular_share
    rr_spread = rng.uniform(0.15, 0.28) if irregular else rng.uniform(0.01, 0.06)
    fps, frames = _draw_timing(rng, settings, systole_s)
    return Patient(
        ef=ef,
        edv_ml=edv_ml,
        fps=fps,
        frames=frames,
        rr_s=rr_s,
        rr_spread=rr_spread,
        systole_s=systole_s,
        area_px=float(np.clip(area_px, 780, 2450)),
        width_ratio=width_ratio,
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
    """Frames per second and number of frames; one whole systole always fits."""
    usual, fast, fps_share, frames_share = rng.uniform(size=4)
    fps = USUAL_FPS
    if usual >= settings.usual_fps_share:
        fps = float(round(quantile(FAST_FPS_QUANTILES if fast < 0.5 else SLOW_FPS_QUANTILES, fps_share)))
    drawn = quantile(FRAMES_QUANTILES, frames_share) * settings.frames_median / 171
    frames = int(np.clip(round(drawn), settings.frames_min, settings.frames_max))
    needed = round(systole_s * fps) + 4
    if needed > settings.frames_max:
        fps, needed = USUAL_FPS, round(systole_s * USUAL_FPS) + 4
    return fps, max(frames, needed)
