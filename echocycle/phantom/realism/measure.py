"""All measures of one clip, in one place."""

import numpy as np

from echocycle.phantom.realism.clips import (
    SAMPLED_FRAMES,
    Clip,
    Measures,
    sampled,
)
from echocycle.phantom.realism.grey import (
    EDGE_DISTANCES,
    edge_profile,
    find_regions,
    measure_grey,
    measure_profiles,
    stack_regions,
)
from echocycle.phantom.realism.sector import fit_fan, measure_sector
from echocycle.phantom.realism.speckle import measure_speckle
from echocycle.phantom.realism.time import LAGS, measure_time
from echocycle.phantom.realism.ventricle import measure_beats, measure_shape


def measure_clip(clip: Clip) -> Measures:
    """All measures of one clip."""
    fan = fit_fan(clip.frames.max(axis=0))
    inside = fan.mask(clip.frames.shape[1:])
    # With 25 frames behind each, so that one choice serves all; very short clips have too few for that.
    has_lags = len(clip.frames) > LAGS[-1] + SAMPLED_FRAMES
    chosen = sampled(np.arange(len(clip.frames)), LAGS[-1] if has_lags else 0)
    frames = clip.frames[chosen]
    regions = stack_regions([find_regions(mask, inside) for mask in clip.masks[chosen]])
    edge = edge_profile(frames, regions.distance)
    return {
        **measure_sector(clip.frames, fan),
        **measure_grey(frames, regions, inside),
        **{f"edge, {place:+d} px": edge[place] for place in EDGE_DISTANCES if place in edge},
        **measure_profiles(clip.frames, fan),
        **measure_speckle(frames, regions, inside),
        **(measure_time(clip, chosen, regions, inside) if has_lags and clip.fps == 50 else {}),
        **measure_shape(clip),
        **measure_beats(clip),
    }
