"""Masks from which no ejection fraction can be told, and why. Of recordings, `recordings/quality.py` says it."""

import numpy as np

DARK = 16
"""Grey level up to which a picture counts as black: the ripple of compression stays below."""
SMALLEST_MASK = 0.002
"""Of the picture; a left ventricle of EchoNet-Dynamic covers 4 to 20 %."""
MARKED_SHARE = 0.5
"""Frames in which the ventricle must be found."""
OUTSIDE_SHARE = 0.25
"""Mask pixels that may lie on the black around the ultrasound fan."""


def unusable_masks(masks: np.ndarray, frames: np.ndarray) -> str | None:
    """Why no EF can be told from bool masks of uint8 grey frames, both (time, height, width); None where it may be."""
    sizes = masks.sum((1, 2))
    marked = int((sizes > SMALLEST_MASK * masks[0].size).sum())
    if marked < MARKED_SHARE * len(masks):
        return f"The left ventricle was found in {marked} of {len(masks)} frames only."
    fan = fan_of(frames)
    outside = sum(int((mask & ~fan).sum()) for mask in masks) / max(int(sizes.sum()), 1)
    if outside > OUTSIDE_SHARE:
        return f"{100 * outside:.0f} % of what was taken for the left ventricle lies outside the ultrasound picture."
    return None


def fan_of(frames: np.ndarray) -> np.ndarray:
    """bool (height, width): the convex hull of all that is ever lit, without specks."""
    from scipy import ndimage
    from skimage.morphology import convex_hull_image

    lit = ndimage.binary_opening(frames.max(0) > DARK, np.ones((3, 3)))
    return np.asarray(convex_hull_image(lit)) if lit.any() else lit
