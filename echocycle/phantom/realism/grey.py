"""Grey levels: by region of the heart, by distance from the outline, by radius and angle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocycle.phantom.realism.clips import Floats, Mask, Measures
from echocycle.phantom.realism.sector import Fan
from echocycle.phantom.realism.ventricle import long_axis

PERCENTILES = (5, 25, 50, 75, 95)
EDGE_DISTANCES = (-8, -4, -2, -1, 1, 2, 3, 4, 5, 6, 8, 12)


@dataclass(frozen=True)
class Regions:
    """Where a pixel lies, seen from the left ventricle in one or several frames; all arrays of the masks' shape."""

    cavity: Mask
    """The mask shrunk by 2 px."""
    wall: Mask
    """1 to 8 px outside the mask, the base left out."""
    rest: Mask
    """The fan without cavity, wall and the rim between."""
    septum: Mask
    lateral: Mask
    apical: Mask
    thirds: tuple[Mask, Mask, Mask]
    """Of the cavity along the axis, from apex to base."""
    distance: Floats
    """Signed distance from the outline, negative inside; NaN by the base and outside the fan."""


def find_regions(mask: Mask, fan: Mask) -> Regions:
    """The regions of one frame."""
    axis = long_axis(mask)
    along, across = axis.along(mask.shape)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    cavity = inside > 2
    above_base = along <= axis.length
    wall = ~mask & (outside <= 8) & above_base & fan
    third = np.floor(3 * along / axis.length)
    beside_apex = along < axis.length / 3
    distance = np.where(mask, -inside, outside)
    by_base = np.where(mask, axis.length - along < inside + 1, ~above_base)
    return Regions(
        cavity=cavity & fan,
        wall=wall,
        rest=fan & ~mask & ~wall,
        septum=wall & ~beside_apex & (across < 0),
        lateral=wall & ~beside_apex & (across > 0),
        apical=wall & beside_apex,
        thirds=tuple(cavity & fan & (third == number) for number in range(3)),  # type: ignore[arg-type]
        distance=np.where(fan & ~by_base, distance, np.nan),
    )


def stack_regions(parts: list[Regions]) -> Regions:
    """The regions of several frames, each array with the frame as first axis."""

    def stacked(name: str) -> NDArray:
        return np.stack([getattr(part, name) for part in parts])

    thirds = tuple(np.stack([part.thirds[number] for part in parts]) for number in range(3))
    names = ("cavity", "wall", "rest", "septum", "lateral", "apical", "distance")
    return Regions(**{name: stacked(name) for name in names}, thirds=thirds)  # type: ignore[arg-type]


def measure_grey(frames: NDArray[np.uint8], regions: Regions, fan: Mask) -> Measures:
    """Grey levels by region, pooled over the frames; regions without a pixel are left out."""
    measures: Measures = {}
    whole = frames[:, fan]
    named = {"cavity": frames[regions.cavity], "wall": frames[regions.wall], "rest of the fan": frames[regions.rest]}
    for name, levels in {**named, "whole fan": whole}.items():
        if not levels.size:
            continue
        found = np.percentile(levels, PERCENTILES)
        measures |= {f"{name}, {share} %": float(level) for share, level in zip(PERCENTILES, found, strict=True)}
        measures |= {f"{name}, mean": float(levels.mean()), f"{name}, sd": float(levels.std())}
    measures |= {f"whole fan, {share} %, mp4": measures[f"whole fan, {share} %"] for share in PERCENTILES}
    measures |= {f"{name}, 50 %, CAMUS": measures.get(f"{name}, 50 %", np.nan) for name in ("cavity", "wall")}
    parts = {"septum, mean": regions.septum, "lateral wall, mean": regions.lateral, "apical wall, mean": regions.apical}
    parts |= {
        f"cavity, {name} third": regions.thirds[number] for number, name in enumerate(("apical", "middle", "basal"))
    }
    measures |= {name: float(frames[part].mean()) for name, part in parts.items() if part.any()}
    if {"septum, mean", "lateral wall, mean"} <= measures.keys():
        measures["septum over lateral wall"] = measures["septum, mean"] / max(measures["lateral wall, mean"], 1.0)
    if {"wall, mean", "cavity, mean"} <= measures.keys():
        measures["wall over cavity, means"] = measures["wall, mean"] / max(measures["cavity, mean"], 1.0)
    measures["fan below 4, share"] = 100 * float((whole < 4).mean())
    measures["whole frame, mean"], measures["whole frame, sd"] = float(frames.mean()), float(frames.std())
    return measures


def edge_profile(frames: NDArray, distance: Floats) -> dict[int, float]:
    """Mean grey at each whole signed distance from the outline."""
    known = np.isfinite(distance) & (np.abs(distance) < 20)
    place = np.rint(distance[known]).astype(int) + 20
    counts = np.bincount(place, minlength=41)
    sums = np.bincount(place, frames[known], minlength=41)
    return {int(number) - 20: float(sums[number] / counts[number]) for number in np.flatnonzero(counts)}


def profile(levels: Floats, position: Floats, edges: Floats) -> Floats:
    """Mean level in each bin of a position; NaN where a bin is empty."""
    counts, _ = np.histogram(position, edges)
    sums, _ = np.histogram(position, edges, weights=levels)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def measure_profiles(frames: NDArray[np.uint8], fan: Fan) -> Measures:
    """The time mean by radius and by angle, over the pixels of the fan."""
    mean = frames.mean(axis=0)
    inside = fan.mask(mean.shape)
    radius, angle = fan.polar(mean.shape)
    by_radius = profile(mean[inside], radius[inside], np.arange(5.0, 106, 10))
    by_angle = profile(mean[inside], angle[inside], np.arange(-50.0, 51, 10))
    measures = {f"radius {5 + 10 * n}-{15 + 10 * n} px": float(level) for n, level in enumerate(by_radius)}
    return measures | {f"angle {-50 + 10 * n} to {-40 + 10 * n} deg": float(level) for n, level in enumerate(by_angle)}
