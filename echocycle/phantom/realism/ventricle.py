"""The left ventricle: its shape at ED and ES, and its beats."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from echocycle.phantom.realism.clips import Clip, Floats, Mask, Measures

JITTER = 0.015
"""Standard deviation of the area from frame to frame, in ED areas: real curves have 1 to 2 %."""
IRREGULAR_SD = 0.11
"""Seconds; regular rhythms have a standard deviation of R-R of 0.08 at most, irregular ones of 0.14 at least."""


@dataclass(frozen=True)
class Axis:
    """The long axis of a mask; pixels, and degrees from the vertical (negative: the apex is to the image's left)."""

    x: float
    """Centroid."""
    y: float
    angle: float
    length: float
    reach_up: float
    """From the centroid to the apex, along the axis."""

    def along(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Pixels from the apex along the axis and from the axis (positive to the image's right), of every pixel."""
        y, x = np.indices(shape)
        return along_axis(x - self.x, y - self.y, self.angle, self.reach_up)


def along_axis(x: Floats, y: Floats, angle: float, reach_up: float) -> tuple[Floats, Floats]:
    """Positions along and across the axis of points relative to its centroid."""
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    return -x * sine + y * cosine + reach_up, x * cosine + y * sine


def long_axis(mask: Mask) -> Axis:
    """The principal axis of a mask, and how far the mask reaches along it."""
    y, x = np.nonzero(mask)
    middle_x, middle_y = x.mean(), y.mean()
    _, vectors = np.linalg.eigh(np.cov(x - middle_x, y - middle_y))
    axis = vectors[:, -1] * np.sign(vectors[1, -1] or 1)  # towards the base, down the image
    angle = float(np.degrees(np.arctan2(-axis[0], axis[1])))
    along, _ = along_axis(x - middle_x, y - middle_y, angle, 0.0)
    length = float(np.ptp(along)) + 1  # from pixel edge to pixel edge
    return Axis(float(middle_x), float(middle_y), angle, length, float(0.5 - along.min()))


def measure_shape(clip: Clip) -> Measures:
    """The left ventricle at the traced end diastole and end systole."""
    measures: Measures = {}
    axes: list[Axis] = []
    for phase, frame in (("ED", clip.ed_frame), ("ES", clip.es_frame)):
        mask = clip.masks[frame]
        axis = long_axis(mask)
        rows = np.flatnonzero(mask.any(axis=1))
        width = float(mask.sum(axis=1).max())
        axes.append(axis)
        measures |= {
            f"{phase} area": float(mask.sum()),
            f"{phase} long axis": axis.length,
            f"{phase} widest row": width,
            f"{phase} centroid x": axis.x,
            f"{phase} centroid y": axis.y,
            f"{phase} angle": axis.angle,
            f"{phase} apex row": float(rows[0]),
            f"{phase} base row": float(rows[-1]),
            f"{phase} width over length": width / axis.length,
        }
    change = {name: measures[f"ES {name}"] / measures[f"ED {name}"] for name in ("area", "long axis", "widest row")}
    cm2 = clip.spacing_mm**2 / 100
    return measures | {
        "ED area over the frame": 100 * measures["ED area"] / mask.size,
        "area change": 1 - change["area"],
        "long axis shortens by": 100 * (1 - change["long axis"]),
        "width shrinks by": 100 * (1 - change["widest row"]),
        "base comes up by": measures["ED base row"] - measures["ES base row"],
        "apex goes down by": measures["ES apex row"] - measures["ED apex row"],
        "centroid moves by": float(np.hypot(axes[1].x - axes[0].x, axes[1].y - axes[0].y)),
        "area change, CAMUS": 1 - change["area"],
        "ED area, CAMUS": measures["ED area"],
        "ED area in cm2, CAMUS": measures["ED area"] * cm2,
        "ES area in cm2, CAMUS": measures["ES area"] * cm2,
        "EF against 100 (1 - ESV/EDV), worst difference": abs(
            clip.ef - 100 * (1 - clip.volumes_ml[clip.es_frame] / clip.volumes_ml[clip.ed_frame])
        ),
        "clips of 112 x 112, share": 100.0 * (mask.shape == (112, 112)),
    }


# --- beats ---


def find_beats(area: Floats, fps: float) -> NDArray[np.intp]:
    """End diastoles: the clear maxima of an area curve, a third of a second apart at least; never the first or last."""
    smooth = ndimage.gaussian_filter1d(area, 0.02 * fps)
    peaks, _ = signal.find_peaks(smooth, distance=max(1, 0.35 * fps), prominence=max(0.35 * np.ptp(smooth), 1e-9))
    return peaks


def mean_beat(area: Floats, beats: NDArray[np.intp]) -> Floats:
    """Median over beats of the area in twentieths of a beat, scaled to 0 (least) and 1 (most) in each: (21,)."""
    curves = []
    for start, end in pairwise(beats):
        beat = area[start : end + 1]
        curve = np.interp(np.linspace(start, end, 21), np.arange(start, end + 1), beat)
        curves.append((curve - beat.min()) / np.ptp(beat))
    return np.median(curves, axis=0)


def measure_beats(clip: Clip) -> Measures:
    """Timing and speed of the area curve; what needs a whole beat is left out where there is none.

    Speeds are measured with a jitter of the area like that of the model behind the real curves.
    """
    area = clip.masks.sum(axis=(1, 2)).astype(float)
    beats = find_beats(area, clip.fps)
    # the real curves are those of a model, whose area shakes from frame to frame
    shaken = area + JITTER * area[clip.ed_frame] * np.random.default_rng(len(area)).standard_normal(len(area))
    speed = np.gradient(ndimage.gaussian_filter1d(shaken, 0.02 * clip.fps)) * clip.fps / area[clip.ed_frame]
    measures = {
        "ED to ES": (clip.es_frame - clip.ed_frame) / clip.fps,
        "fastest filling": float(speed.max()),
        "fastest ejection": float(-speed.min()),
    }
    if len(beats) >= 2:
        curve = mean_beat(area, beats)
        measures |= {f"area at {5 * place} % of the beat": float(level) for place, level in enumerate(curve)}
    intervals = np.diff(beats) / clip.fps
    if len(intervals) >= 1:
        measures["R-R"] = float(intervals.mean())
    if len(intervals) >= 2:
        spread = float(intervals.std(ddof=1))
        is_irregular = spread > IRREGULAR_SD
        measures[f"sd of R-R, {'irregular' if is_irregular else 'regular'} clips"] = spread
        if is_irregular:
            measures["sd of R-R over R-R, irregular clips"] = 100 * spread / float(intervals.mean())
    return measures
