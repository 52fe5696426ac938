"""The sector: where it lies in the frame, and what lies outside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echocycle.phantom.realism.clips import Floats, Mask, Measures, sampled

LIT = 8
"""Grey level above which the brightest frame counts as fan; compression ripple stays below."""


@dataclass(frozen=True)
class Fan:
    """A sector: columns and rows in pixels, angles from the vertical in degrees, radii from the apex in pixels."""

    apex_x: float
    apex_y: float
    left: float
    right: float
    near: float
    far: float

    def polar(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Radius and angle (positive to the image's right) of every pixel."""
        return polar(self.apex_x, self.apex_y, shape)

    def mask(self, shape: tuple[int, int]) -> Mask:
        """The sector's pixels."""
        radius, angle = self.polar(shape)
        return (angle > -self.left) & (angle < self.right) & (radius >= self.near) & (radius <= self.far)


def polar(apex_x: float, apex_y: float, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Radius in pixels and angle from the vertical in degrees of every pixel."""
    y, x = np.indices(shape)
    return np.hypot(x - apex_x, y - apex_y), np.degrees(np.arctan2(x - apex_x, y - apex_y))


def fit_fan(brightest: NDArray[np.uint8]) -> Fan:
    """The sector of a clip from its maximum over time: two straight edges, then the radii between them.

    The edges are fitted where both lie inside the frame. They run half a pixel outside the outermost lit pixels,
    and past overlays, which only a few rows have.
    """
    lit = brightest > LIT
    rows = np.arange(14, 53)
    rows = rows[lit[rows].any(axis=1)]
    left_start, left_slope = fit_line(rows, lit[rows].argmax(axis=1) - 0.5)
    last = lit.shape[1] - 1 - lit[rows, ::-1].argmax(axis=1)
    right_start, right_slope = fit_line(rows, last + 0.5)
    apex_y = (left_start - right_start) / (right_slope - left_slope)
    apex_x = left_start + left_slope * apex_y
    left, right = np.degrees(np.arctan([-left_slope, right_slope]))
    radius, angle = polar(apex_x, apex_y, lit.shape)
    between = (angle > -left) & (angle < right)
    near, far = lit_radii(lit[between], radius[between])
    return Fan(float(apex_x), float(apex_y), float(left), float(right), near, far)


def fit_line(x: NDArray[np.intp], y: Floats) -> tuple[float, float]:
    """Start and slope of the line on which most points lie, within a pixel; least squares through those."""
    first, second = np.triu_indices(len(x), k=10)
    slope = (y[second] - y[first]) / (x[second] - x[first])
    start = y[first] - slope * x[first]
    is_close = np.abs(y - start[:, None] - slope[:, None] * x) <= 1
    chosen = is_close[is_close.sum(axis=1).argmax()]
    fitted_slope, fitted_start = np.polyfit(x[chosen], y[chosen], 1)
    return float(fitted_start), float(fitted_slope)


def lit_radii(lit: Mask, radius: Floats) -> tuple[float, float]:
    """Radii between which at least half of the pixels are lit, in quarters of a pixel over a pixel-wide ring."""
    place = (radius * 4).astype(int)
    ring = np.ones(4)
    share = np.convolve(np.bincount(place, lit), ring, "same") / np.maximum(
        np.convolve(np.bincount(place), ring, "same"), 1
    )
    reached = np.flatnonzero(share >= 0.5)
    return float(reached[0] / 4), float((reached[-1] + 1) / 4)


def measure_sector(frames: NDArray[np.uint8], fan: Fan) -> Measures:
    """Geometry of the fan, and what lies outside it."""
    shape = frames.shape[1:]
    brightest, mean = frames.max(axis=0), frames.mean(axis=0)
    inside = fan.mask(shape)
    radius, angle = fan.polar(shape)
    beyond = radius * np.sin(np.radians(angle - fan.right))
    ruler = ~inside & (beyond > 0.5) & (beyond < 5) & (radius > 10) & (radius < 75) & (np.indices(shape)[0] > 6)
    probe_mark = (mean > 20)[3:6, 67:76] & ~inside[3:6, 67:76]
    seen = visible_angles(mean, inside, angle)
    return {
        "fan apex x": fan.apex_x,
        "fan apex y": fan.apex_y,
        "fan left edge": fan.left,
        "fan right edge": fan.right,
        "fan first echo, radius": fan.near,
        "fan far arc, radius": fan.far,
        "fan ends at row": fan.apex_y + fan.far,
        "fan cut by the left border from row": fan.apex_y + fan.apex_x / np.tan(np.radians(fan.left)),
        "fan cut by the right border from row": fan.apex_y
        + (shape[1] - 1 - fan.apex_x) / np.tan(np.radians(fan.right)),
        "fan fills the frame": float((brightest > LIT).mean()),
        "outside the fan, 95th percentile": float(np.percentile(sampled(frames)[:, ~inside], 95)),
        "clips with a probe mark": 100.0 * probe_mark.any(),
        "clips with a ruler along the right edge": 100.0 * (((mean > 20) & ruler).sum() >= 3),
        "clips with one dark flank": 100.0 * (min(seen) < 32),
    }


def visible_angles(mean: Floats, inside: Mask, angle: Floats) -> tuple[float, float]:
    """How many degrees left and right of the vertical the time mean reaches before it stays below the level LIT."""
    place = np.floor(angle[inside]).astype(int) + 60
    counts = np.bincount(place, minlength=120)
    profile = np.bincount(place, mean[inside], minlength=120) / np.maximum(counts, 1)
    bright = np.flatnonzero(profile > LIT) - 60
    return float(-bright.min()), float(bright.max() + 1)
