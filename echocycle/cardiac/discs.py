"""Masks of a whole video to EF without a regressor: find the beats, measure ED and ES by Simpson's discs.

The order is: area of the left ventricle in every frame -> smooth -> frames of end diastole (ED) and end
systole (ES) -> outline, long axis and 20 discs of those frames (and of their nearest neighbours) -> one EF
per beat -> their median. Discs are computed only where they are needed, so a video takes a few hundredths
of a second.

Single-plane rule of discs: volume = pi/4 * sum(d_i^2) * L/20, the ventricle being round about its long axis.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from echocycle.cardiac.beats import Floats, Rule, area_curve, check_masks, fill_missing, find_beats
from echocycle.errors import EchocycleError

DISCS = 20


NEIGHBOURS = 0.03  # seconds around ED and ES whose frames are measured too; at most 2 frames to either side


# --- area and beats -------------------------------------------------------------------------------


# --- one mask -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Volume:
    """A ventricle measured in one frame. Lengths are mm, areas mm^2; pixels where the spacing is unknown."""

    volume: float  # by discs; ml, or px^3 where the spacing is unknown
    unit: str
    length: float  # of the long axis, apex to the middle of the mitral plane
    area: float
    diameters: Floats = field(repr=False)  # (discs,), apex first
    apex: tuple[float, float]  # (row, column) in pixels
    base: tuple[float, float]  # the middle of the mitral plane
    notes: tuple[str, ...] = ()

    @property
    def area_length(self) -> float:
        """Volume by the area-length formula 8 A^2 / (3 pi L), in `unit`; the same for a half-ellipsoid."""
        if not self.length > 0:
            return 0.0
        return 8 * self.area**2 / (3 * np.pi * self.length) / (1000 if self.unit == "ml" else 1)

    @property
    def wall_length(self) -> float:
        """Length of the outline from one end of the mitral plane over the apex to the other, without that plane.

        It runs through the ends of the discs, each centred on the long axis: the steps of pixels are smoothed away.
        """
        if not self.length > 0:
            return 0.0
        half = self.diameters / 2
        step = self.length / len(half)
        at_base = max(0.0, 1.5 * half[-1] - 0.5 * half[-2])
        inner = np.hypot(step, np.diff(half)).sum()
        return float(2 * (np.hypot(step / 2, half[0]) + inner + np.hypot(step / 2, at_base - half[-1])))


def _outline(mask: NDArray) -> tuple[Floats | None, list[str]]:
    """The outline (points, 2) of the largest blob at one half, in pixels (row, column), closed; and notes.

    Probabilities place it between pixel centres. Holes have outlines of their own, and are so filled.
    """
    notes = []
    inside = mask > 0.5
    if inside[0].any() or inside[-1].any() or inside[:, 0].any() or inside[:, -1].any():
        notes.append("the mask touches the border of the frame")
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not rows.size:
        return None, ["the mask is empty"]
    # One pixel around the mask is enough and makes this several times faster.
    top, left = rows[0] - 1, columns[0] - 1
    window = np.pad(mask, 1)[rows[0] : rows[-1] + 3, columns[0] : columns[-1] + 3]
    outlines = measure.find_contours(window, 0.5)
    areas = [abs(_polygon_area(outline)) for outline in outlines]
    largest = int(np.argmax(areas))
    if len(outlines) > 1:
        notes.append("only the largest blob of the mask is measured")
    return outlines[largest] + (top, left), notes


def _polygon_area(points: Floats) -> float:
    """Signed area of a closed polygon (points, 2) whose last point is its first."""
    y, x = points[:, 0], points[:, 1]
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def _centroid_and_direction(points: Floats) -> tuple[Floats, Floats]:
    """Centroid and principal direction (unit vector) of the area in a closed polygon, by Green's theorem."""
    origin = points.mean(0)
    a, b = points[:-1] - origin, points[1:] - origin
    cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
    area = cross.sum() / 2
    centroid = (cross[:, None] * (a + b)).sum(0) / (6 * area)
    seconds = np.einsum("n,ni,nj->ij", cross, a, a) + np.einsum("n,ni,nj->ij", cross, b, b)
    seconds += np.einsum("n,ni,nj->ij", cross, a + b, a + b)
    covariance = seconds / (24 * area) - np.outer(centroid, centroid)
    return centroid + origin, np.linalg.eigh(covariance)[1][:, 1]


def _widths(points: Floats, origin: Floats, direction: Floats, levels: Floats) -> Floats:
    """Total chord of a closed polygon across `direction` at each of `levels` (distances along it from
    `origin`).

    Each edge that crosses a level adds its crossing point, signed by the sense in which it crosses: the
    sum is the length inside, however often the outline goes in and out.
    """
    along = (points - origin) @ direction
    across = (points - origin) @ np.array([-direction[1], direction[0]])
    s0, s1, t0, t1 = along[:-1], along[1:], across[:-1], across[1:]
    crosses = (s0 <= levels[:, None]) != (s1 <= levels[:, None])
    step = np.where(s1 == s0, 1.0, s1 - s0)
    crossing = t0 + (levels[:, None] - s0) / step * (t1 - t0)
    return np.abs((np.sign(s1 - s0) * np.where(crosses, crossing, 0.0)).sum(1))


def _long_axis(points: Floats) -> tuple[Floats, Floats]:
    """Apex and middle of the mitral plane of an outline (points, 2), both (row, column).

    The principal axis says where the two ends are. The wider, blunter one is the base; if they are much
    alike, the lower one in the image, because apical views have the apex on top. The ends of the mitral
    plane are the corners of the outline there, and the apex is the point farthest from their middle.
    """
    centroid, direction = _centroid_and_direction(points)
    if direction[0] < 0:
        direction = -direction  # downwards, so that ties go to the lower end
    along = (points - centroid) @ direction
    low, high = along.min(), along.max()
    ends = np.array([0.06, 0.1, 0.14])
    levels = np.concatenate([low + ends * (high - low), high - ends * (high - low)])
    widths = _widths(points, centroid, direction, levels)
    if widths[:3].sum() > 1.1 * widths[3:].sum():
        direction = -direction
    for _ in range(2):  # the first round's direction is that of the whole blob, the second's that of the axis
        along = (points - centroid) @ direction
        across = (points - centroid) @ np.array([-direction[1], direction[0]])
        corners = points[[np.argmax(along + across), np.argmax(along - across)]]
        base = corners.mean(0)
        distance = np.linalg.norm(points - base, axis=1)
        # A pixelated apex is flat: the middle of the farthest points, at the distance of the farthest.
        farthest = points[distance >= distance.max() * 0.99].mean(0)
        if np.linalg.norm(base - farthest) > 0:  # 0 only in blobs of a few pixels
            direction = (base - farthest) / np.linalg.norm(base - farthest)
        apex = base - direction * distance.max()
    return apex, apex + direction * _exit(points, apex, direction, float(distance.max()))


def _exit(points: Floats, origin: Floats, direction: Floats, otherwise: float) -> float:
    """How far from `origin` along `direction` the outline is left for good; `otherwise` if it is never met.

    At the mitral plane this is a little more than the middle of its two corners, which every outline rounds off.
    """
    along = (points - origin) @ direction
    across = (points - origin) @ np.array([-direction[1], direction[0]])
    s0, s1, t0, t1 = along[:-1], along[1:], across[:-1], across[1:]
    crosses = (t0 <= 0) != (t1 <= 0)
    levels = (s0 - t0 * (s1 - s0) / np.where(crosses, t1 - t0, 1.0))[crosses]
    return float(levels.max()) if levels.size and levels.max() > 0 else otherwise


def disc_volume(mask: NDArray, spacing_mm: tuple[float, float] | None = None) -> Volume:
    """Volume of the left ventricle in one mask (height, width) by Simpson's single-plane rule of 20 discs.

    `mask`: booleans or probabilities. `spacing_mm`: height and width of a pixel; without it pixels are
    taken as square and the volume is in px^3, which is all that EF needs. An empty mask has the volume 0
    and a note.
    """
    if np.ndim(mask) != 2:
        raise EchocycleError(f"The mask has the shape {np.shape(mask)}; (height, width) is needed.")
    spacing = np.array((1.0, 1.0) if spacing_mm is None else spacing_mm, dtype=np.float64)
    if spacing.shape != (2,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise EchocycleError(f"spacing_mm is {spacing_mm}; give a pixel's height and width, above 0.")
    unit = "px^3" if spacing_mm is None else "ml"
    outline, notes = _outline(check_masks(mask))
    if outline is None:
        nowhere = (float("nan"), float("nan"))
        return Volume(0.0, unit, 0.0, 0.0, np.zeros(DISCS), nowhere, nowhere, tuple(notes))
    points = outline * spacing
    apex, base = _long_axis(points)
    length = float(np.linalg.norm(base - apex))
    levels = (np.arange(DISCS) + 0.5) / DISCS * length
    diameters = _widths(points, apex, (base - apex) / length, levels)
    volume = float(np.pi / 4 * (diameters**2).sum() * length / DISCS)
    return Volume(
        volume=volume if spacing_mm is None else volume / 1000,
        unit=unit,
        length=length,
        area=abs(_polygon_area(points)),
        diameters=diameters,
        apex=tuple(apex / spacing),
        base=tuple(base / spacing),
        notes=tuple(notes),
    )


# --- one video ------------------------------------------------------------------------------------


class BeatEF(NamedTuple):
    """One measured beat: frames, EF in percent, and both volumes in the unit of the video's result."""

    ed: int
    es: int
    ef: float
    edv: float
    esv: float
    ef_area_length: float = float("nan")  # percent
    axis_shortening: float = float("nan")  # of the long axis, percent of its length at ED
    wall_shortening: float = float("nan")  # of the outline without the mitral plane, percent


@dataclass(frozen=True)
class DiscsEF:
    """EF of a video from its masks: medians over beats, NaN where no beat could be measured."""

    ef: float  # percent, by discs
    ef_area_length: float  # percent, by area and length
    edv: float  # ml, or px^3 where the spacing is unknown
    esv: float
    unit: str
    beats: list[BeatEF]
    area: Floats = field(repr=False)  # pixels in each frame, (time,), as measured
    notes: tuple[str, ...] = ()
    frames: list[Volume] = field(default_factory=list, repr=False)  # every frame's, where it was asked for

    @property
    def axis_shortening(self) -> float:
        """Shortening of the long axis, percent, median over beats."""
        return _median([beat.axis_shortening for beat in self.beats])

    @property
    def wall_shortening(self) -> float:
        """Global longitudinal shortening: of the outline without the mitral plane, percent, median over beats."""
        return _median([beat.wall_shortening for beat in self.beats])

    def as_row(self) -> dict[str, float | str | int]:
        """The columns of volumes.csv that can be told from the masks."""
        ed = [self.area[beat.ed] for beat in self.beats]
        es = [self.area[beat.es] for beat in self.beats]
        return {
            "ef_discs": self.ef,
            "ef_area_length": self.ef_area_length,
            "edv": self.edv,
            "esv": self.esv,
            "unit": self.unit,
            "area_ed": float(np.median(ed)) if ed else float("nan"),
            "area_es": float(np.median(es)) if es else float("nan"),
            "beats": len(self.beats),
            "notes": "; ".join(self.notes),
        }


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _around(frame: int, missing: NDArray[np.bool_], fps: float) -> list[int]:
    """The frame and its nearest neighbours in time that have a mask."""
    reach = min(2, int(NEIGHBOURS * fps))
    frames = range(max(0, frame - reach), min(len(missing), frame + reach + 1))
    return [near for near in frames if not missing[near]]


class _Means(NamedTuple):
    """Means of some frames' measures."""

    volume: float
    area_length: float
    length: float
    wall_length: float


def ef_by_discs(
    masks: NDArray,
    fps: float,
    spacing_mm: tuple[float, float] | None = None,
    rule: Rule = "prominent",
    *,
    every_frame: bool = False,
) -> DiscsEF:
    """EF of a video from its masks (time, height, width), booleans or probabilities.

    Each beat's volumes are means over the frames next to ED and ES (`NEIGHBOURS`), its EF is
    100 (EDV - ESV) / EDV, and the video's EF is the median over beats (`find_beats`). `notes` says what
    was not as it should be: frames without a mask, specks, masks at the border, no whole beat. With `every_frame`
    each frame is measured, for curves of volume and length.
    """
    masks = check_masks(masks)
    area = area_curve(masks)
    _, missing = fill_missing(area)
    unit = "px^3" if spacing_mm is None else "ml"
    nan = float("nan")
    if missing.all():
        return DiscsEF(nan, nan, nan, nan, unit, [], area, ("no frame has a mask",))
    notes = [f"{missing.sum()} of {len(area)} frames have no mask"] if missing.any() else []

    found = find_beats(area, fps, rule)
    frames = [disc_volume(mask, spacing_mm) for mask in masks] if every_frame else []
    measured: dict[int, Volume] = {}

    def means(frame: int) -> _Means:
        near = _around(frame, missing, fps)
        for index in near:
            if index not in measured:
                measured[index] = frames[index] if frames else disc_volume(masks[index], spacing_mm)
        if not near:
            return _Means(nan, nan, nan, nan)
        rows = [(v.volume, v.area_length, v.length, v.wall_length) for v in (measured[index] for index in near)]
        return _Means(*map(float, np.mean(rows, axis=0)))

    beats = []
    for ed, es in found:
        full, empty = means(ed), means(es)
        if full.volume > 0 and np.isfinite(empty.volume):
            lost = [
                100 * (1 - after / before) if before > 0 else nan for before, after in zip(full, empty, strict=True)
            ]
            beats.append(BeatEF(ed, es, lost[0], full.volume, empty.volume, *lost[1:]))
    if not beats:
        return DiscsEF(nan, nan, nan, nan, unit, [], area, (*notes, "the area never falls: no beat found"), frames)
    if len(beats) == 1 and (beats[0].ed in (0, len(area) - 1) or beats[0].es in (0, len(area) - 1)):
        notes.append("no whole beat: the largest and the smallest area were taken")
    for note in dict.fromkeys(note for volume in measured.values() for note in volume.notes):
        count = sum(note in volume.notes for volume in measured.values())
        notes.append(f"{note} ({count} of {len(measured)} measured frames)")
    return DiscsEF(
        ef=_median([beat.ef for beat in beats]),
        ef_area_length=_median([beat.ef_area_length for beat in beats]),
        edv=_median([beat.edv for beat in beats]),
        esv=_median([beat.esv for beat in beats]),
        unit=unit,
        beats=beats,
        area=area,
        notes=tuple(notes),
        frames=frames,
    )
