"""Time: how fast the picture changes, by region."""

import numpy as np
from numpy.typing import NDArray

from echocycle.phantom.realism.clips import Clip, Floats, Mask, Measures
from echocycle.phantom.realism.grey import Regions
from echocycle.phantom.realism.speckle import high_passed

LAGS = (1, 2, 3, 5, 10, 25)


def correlation(first: Floats, second: Floats, region: Mask) -> float:
    """Mean over images of the correlation of two stacks inside the region."""
    found = [
        np.corrcoef(a[r], b[r])[0, 1]
        for a, b, r in zip(first, second, region, strict=True)
        if a[r].std() > 0 < b[r].std()
    ]
    return float(np.mean(found)) if found else np.nan


def measure_time(clip: Clip, starts: NDArray[np.intp], regions: Regions, fan: Mask) -> Measures:
    """How fast the picture changes, from `starts` on, the frames of which `regions` holds the regions."""
    measures: Measures = {}
    everywhere = np.broadcast_to(fan, (len(starts), *fan.shape))
    named = {"fan": everywhere, "wall": regions.wall, "cavity": regions.cavity}
    first = high_passed(clip.frames[starts], fan)
    for lag in LAGS:
        second = high_passed(clip.frames[starts + lag], fan)
        measures |= {
            f"{name}, correlation {lag} frames later": correlation(first, second, region)
            for name, region in named.items()
        }
        name = f"fan, correlation {lag} frames later"
        measures[f"{name}, mp4"] = measures[name]
    difference = np.abs(clip.frames[starts + 1].astype(float) - clip.frames[starts])
    whole = np.ones_like(everywhere)
    for name, region in {**named, "whole frame": whole}.items():
        measures[f"{name}, frame difference"] = float(difference[region].mean()) if region.any() else np.nan
    measures |= {
        f"{name}, frame difference, mp4": measures[f"{name}, frame difference"] for name in ("fan", "whole frame")
    }
    return measures
