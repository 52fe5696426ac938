"""A contour as a reader draws it: a few handles, the closed curve through them, its mask and its discs.

Points are (x, y) in pixels of the frame shown, (0, 0) being the corner of the first pixel, as annotation tools and a
browser's canvas count. The curve is a closed centripetal Catmull-Rom spline (Barry and Goldman's pyramid), `SAMPLES` a
span; `page/` computes the same in JavaScript.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError

Floats = NDArray[np.float64]

SAMPLES = 8
"""Points of the curve from one handle to the next."""
SHORTEST = 1e-4
"""The least interval between two knots: handles that lie on one another must not divide by zero."""
MOST_POINTS = 200
ON_A_SIDE = 4
"""Handles between the apex and an end of the mitral plane in a contour that is proposed; with 3 landmarks and the
middle of the plane they are 12."""


@dataclass(frozen=True)
class Contour:
    """The left ventricle in one frame, as handles of a closed curve."""

    frame: int
    points: tuple[tuple[float, float], ...]
    """(x, y) of the handles, in order around the cavity."""
    apex: int
    """Which handle is the apex."""
    mitral: tuple[int, int]
    """Which handles are the ends of the mitral plane."""

    def as_json(self) -> dict[str, Any]:
        """In the types of JSON."""
        points = [[round(x, 3), round(y, 3)] for x, y in self.points]
        return {"frame": self.frame, "points": points, "apex": self.apex, "mitral": list(self.mitral)}

    def curve(self) -> Floats:
        """The curve (8 a span, 2) as (x, y)."""
        return closed_curve(np.array(self.points))

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels' centres lie inside."""
        from skimage.draw import polygon

        curve = self.curve() - 0.5
        mask = np.zeros((height, width), bool)
        mask[polygon(curve[:, 1], curve[:, 0], mask.shape)] = True
        return mask

    def volume(self, spacing_mm: tuple[float, float] | None = None) -> tuple[float, float]:
        """Volume by 20 discs (ml; px^3 without spacing) and length of the long axis (mm; px)."""
        from echocycle.cardiac.discs import outline_volume  # SciPy takes seconds, for which the page need not wait

        points = np.array(self.points)
        apex, base = points[self.apex], points[list(self.mitral)].mean(0)
        found = outline_volume(self.curve()[:, ::-1], tuple(apex[::-1]), tuple(base[::-1]), spacing_mm)
        return found.volume, found.length

    def moved(self, affine: NDArray, frame: int | None = None) -> "Contour":
        """The contour in other pixels: `affine` (2, 3) takes pixel centres (column, row, 1) there."""
        old = np.array(self.points) - 0.5
        new = old @ affine[:, :2].T + affine[:, 2] + 0.5
        return Contour(self.frame if frame is None else frame, _tuples(new), self.apex, self.mitral)


def closed_curve(handles: Floats, samples: int = SAMPLES) -> Floats:
    """The closed centripetal Catmull-Rom curve through `handles` (n, 2), as (n * samples, 2); each handle is on it."""
    p1 = np.asarray(handles, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)

    def interval(a: Floats, b: Floats) -> Floats:
        return np.maximum(np.sqrt(np.linalg.norm(b - a, axis=1)), SHORTEST)[:, None, None]

    t1 = interval(p0, p1)  # t0 is 0
    t2 = t1 + interval(p1, p2)
    t3 = t2 + interval(p2, p3)
    t = t1 + (t2 - t1) * (np.arange(samples) / samples)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (p0, p1, p2, p3))
    a1 = (t1 - t) / t1 * p0 + t / t1 * p1
    a2 = (t2 - t) / (t2 - t1) * p1 + (t - t1) / (t2 - t1) * p2
    a3 = (t3 - t) / (t3 - t2) * p2 + (t - t2) / (t3 - t2) * p3
    b1 = (t2 - t) / t2 * a1 + t / t2 * a2
    b2 = (t3 - t) / (t3 - t1) * a2 + (t - t1) / (t3 - t1) * a3
    return ((t2 - t) / (t2 - t1) * b1 + (t - t1) / (t2 - t1) * b2).reshape(-1, 2)


def contour_of_mask(mask: NDArray, frame: int) -> Contour | None:
    """About 12 handles through apex and both ends of the mitral plane of a mask (height, width), booleans or
    probabilities, in the mask's own pixels; None where there is no ventricle."""
    from echocycle.cardiac.discs import landmarks

    found = landmarks(mask)
    if found is None or len(found.outline) < 12:
        return None
    outline = found.outline[:, ::-1] + 0.5  # (x, y), from centres to corners
    marks = np.vstack([found.apex, found.mitral])[:, ::-1] + 0.5
    apex, *ends = (int(np.argmin(np.linalg.norm(outline - mark, axis=1))) for mark in marks)
    first, second = sorted((end - apex) % len(outline) for end in ends)
    if not 0 < first < second:
        return None
    outline = np.roll(outline, -apex, axis=0)
    closed = np.vstack([outline, outline[:1]])
    parts = ((0, first, ON_A_SIDE), (first, second, 1), (second, len(outline), ON_A_SIDE))
    handles = np.vstack([_spread(closed[start : stop + 1], between) for start, stop, between in parts])
    return Contour(frame, _tuples(handles), 0, (ON_A_SIDE + 1, ON_A_SIDE + 3))


def _spread(path: Floats, between: int) -> Floats:
    """The first point of a path and `between` more at equal distances along it."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    wanted = np.arange(between + 1) / (between + 1) * along[-1]
    return np.column_stack([np.interp(wanted, along, path[:, axis]) for axis in range(2)])


def _tuples(points: Floats) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


# --------------------------------------------------------------------------------------------- from a browser


def contour_from(value: Any, frames: int, height: int, width: int) -> Contour:
    """A contour that came from outside, checked against its video: `frames` of `height` x `width` pixels.

    Raises `EchocycleError` in one sentence for what no contour can be.
    """
    if not isinstance(value, dict):
        raise EchocycleError("A contour is an object with frame, points, apex and mitral.")
    given: dict[str, Any] = value
    frame, points, apex, mitral = (given.get(key) for key in ("frame", "points", "apex", "mitral"))
    if not _whole(frame) or frame is None or not 0 <= frame < frames:
        raise EchocycleError(f"The contour's frame is {frame!r}; the video has frames 0 to {frames - 1}.")
    if not isinstance(points, list) or not 3 <= len(points) <= MOST_POINTS:
        raise EchocycleError(f"A contour has 3 to {MOST_POINTS} points.")
    if not all(isinstance(p, list | tuple) and len(p) == 2 and all(map(_finite, p)) for p in points):
        raise EchocycleError("Every point of a contour is two finite numbers, [x, y].")
    handles = tuple((float(x), float(y)) for x, y in points)
    if not all(-width <= x <= 2 * width and -height <= y <= 2 * height for x, y in handles):
        raise EchocycleError(f"A point of the contour lies far outside the frame of {width} x {height} pixels.")
    ends = [apex, *mitral] if isinstance(mitral, list | tuple) and len(mitral) == 2 else []
    if len(set(map(repr, ends))) != 3 or not all(_whole(end) and 0 <= end < len(handles) for end in ends):
        raise EchocycleError("apex and mitral name three different handles of the contour by their place in points.")
    return Contour(int(frame), handles, int(ends[0]), (int(ends[1]), int(ends[2])))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def measure(ed: Contour, es: Contour, spacing_mm: tuple[float, float] | None) -> dict[str, Any]:
    """EF, both volumes and long axes of a pair by discs, in the types of JSON."""
    (edv, length_ed), (esv, length_es) = ed.volume(spacing_mm), es.volume(spacing_mm)
    ef = 100 * (edv - esv) / edv if edv > 0 else None
    note = None
    if ef is None:
        note = "The contour of ED encloses nothing."
    elif ef < 0:
        note = "ES is larger than ED: are the two exchanged?"
    elif not 0.75 < length_es / length_ed < 1.15:
        note = "The long axes of ED and ES differ much: do both contours begin at the apex?"
    return {
        "ef": ef,
        "edv": edv,
        "esv": esv,
        "unit": "px3" if spacing_mm is None else "ml",
        "long_axis_ed": length_ed,
        "long_axis_es": length_es,
        "note": note,
    }
