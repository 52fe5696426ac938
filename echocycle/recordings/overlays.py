"""What scanners draw over the fan itself: the strip of an electrocardiogram across its far end."""

import numpy as np

LINE = 3
"""Grey levels by which a drawn line stands out of what is beside it, in most frames."""
WIDEST_LINE = 3
"""Pixels from which on a bright line is no longer thin; speckle and tissue are thicker, or do not stay."""
CROSSES = 0.28
"""Share of the fan's width that a trace covers at least."""
STANDS_OUT = 6
"""How many times more of the width it covers than lines do elsewhere in the lower half of the fan."""


def trace_strip(frames: np.ndarray, mask: np.ndarray) -> tuple[int, int] | None:
    """Rows (first, last exclusive) of a trace drawn across the far half of the fan; None if there is none.

    A trace is a thin line that stays where it is while the speckle under it changes, and crosses much of the fan within
    a low strip. It is found in the median over time of what stands out of its neighbours.

    Args:
        frames: some frames, uint8 (time, height, width), upright.
        mask: bool (height, width), the fan.
    """
    from scipy import ndimage

    inside = ndimage.binary_erosion(mask, np.ones((3, 3), bool), iterations=2)  # the fan's own edge is a line as well
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(frames) < 3 or not inside.any():
        return None
    standing_out = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):
        across = frame - ndimage.grey_opening(frame, (WIDEST_LINE, 1))
        along = frame - ndimage.grey_opening(frame, (1, WIDEST_LINE))
        standing_out[index] = np.maximum(across, along)
    lines = (np.median(standing_out, axis=0) >= LINE) & inside
    height, width = max(6, mask.shape[0] // 25), columns[-1] - columns[0] + 1
    starts = np.arange((rows[0] + rows[-1]) // 2, rows[-1] - height // 2, max(1, height // 4))
    covered = np.array([lines[start : start + height].any(axis=0).sum() / width for start in starts])
    if len(covered) < 4:
        return None
    best = int(covered.argmax())
    elsewhere = np.median(covered)
    if covered[best] < CROSSES or covered[best] < STANDS_OUT * elsewhere:
        return None
    near = np.zeros_like(lines)
    near[max(0, starts[best] - height) : starts[best] + 2 * height] = True
    labels, count = ndimage.label(ndimage.binary_dilation(lines & near, np.ones((3, 7), bool)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    trace = np.flatnonzero(np.isin(labels, np.flatnonzero(sizes >= 0.2 * sizes.max())).any(axis=1))
    return max(0, int(trace[0]) - 1), min(mask.shape[0], int(trace[-1]) + 2)
