"""Speckle: the size of its grains, by region."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocycle.phantom.realism.clips import Floats, Mask, Measures
from echocycle.phantom.realism.grey import Regions

SIGMA = 4.0
"""Pixels; what is coarser is removed before speckle is measured."""


def smooth_inside(images: Floats, weight: Floats) -> Floats:
    """Images (n, height, width) smoothed with SIGMA over the pixels of `weight` (height, width) only."""
    blurred = ndimage.gaussian_filter(images * weight, (0, SIGMA, SIGMA))
    return blurred / np.maximum(ndimage.gaussian_filter(weight, SIGMA), 1e-6)


def whitened(frames: NDArray, fan: Mask) -> Floats:
    """Frames less their local mean, over their local standard deviation (and a grey level, for black ground)."""
    weight, levels = fan.astype(float), frames.astype(float)
    high = (levels - smooth_inside(levels, weight)) * weight
    variance = smooth_inside(high**2, weight)
    return high / (np.sqrt(np.maximum(variance, 0)) + 1)


def half_height_lag(images: Floats, region: Mask, axis: int) -> float:
    """Lag in pixels at which the autocorrelation falls to a half, by linear interpolation; axis -1 is x and -2 is y.

    Only pairs of which both pixels lie in the region count; both arrays are (n, height, width).
    """
    inside, power = region, float(np.mean(images[region] ** 2))
    before = 1.0
    for lag in range(1, 16):
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(None, -lag), slice(lag, None)
        pair = inside[tuple(here)] & inside[tuple(there)]
        if not pair.any():
            return np.nan
        after = float(np.mean(images[tuple(here)][pair] * images[tuple(there)][pair])) / power
        if after < 0.5:
            return lag - 1 + (before - 0.5) / (before - after)
        before = after
    return np.nan


def measure_speckle(frames: NDArray[np.uint8], regions: Regions, fan: Mask) -> Measures:
    """Size of the grains by region."""
    images = whitened(frames, fan)
    everywhere = np.broadcast_to(fan, images.shape)
    measures: Measures = {}
    for name, region in (("fan", everywhere), ("wall", regions.wall), ("cavity", regions.cavity)):
        if region.any():
            measures |= {
                f"{name}, lag {label}": half_height_lag(images, region, axis) for label, axis in (("x", -1), ("y", -2))
            }
    return measures | {f"fan, lag {label}, mp4": measures[f"fan, lag {label}"] for label in "xy"}


def high_passed(frames: NDArray, fan: Mask) -> Floats:
    """Frames less their local mean."""
    weight, levels = fan.astype(float), frames.astype(float)
    return (levels - smooth_inside(levels, weight)) * weight
