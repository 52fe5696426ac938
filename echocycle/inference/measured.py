"""What is measured in a recording's masks: areas, beats and EF by discs."""

import math
from dataclasses import replace

import numpy as np

from echocycle.cardiac.beats import USUAL_FPS
from echocycle.cardiac.discs import ef_by_discs
from echocycle.inference.clips import THRESHOLD
from echocycle.prediction import Prediction

RATE_UNKNOWN = f"The frame rate is unknown; {USUAL_FPS:g} frames a second are taken for beats."


def with_masks(result: Prediction, masks: np.ndarray, *, usable: bool) -> Prediction:
    """Areas and, where the masks are usable, beats and EF by discs."""
    marked = masks > THRESHOLD
    spacing = result.spacing_mm if all(map(math.isfinite, result.spacing_mm)) else None
    measured = ef_by_discs(marked, result.fps if math.isfinite(result.fps) else USUAL_FPS, spacing)
    result.notes.extend(f"Masks: {note}." for note in measured.notes)
    result = replace(result, masks=masks, mask_area_px=[float(area) for area in measured.area])
    if not usable:
        return result
    return replace(
        result,
        ef_by_discs=measured.ef if 0 <= measured.ef <= 100 else None,
        ed_frames=[beat.ed for beat in measured.beats],
        es_frames=[beat.es for beat in measured.beats],
    )
