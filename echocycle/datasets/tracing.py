"""From the chords of a traced frame to the mask of the left ventricle: between echonet.py and the store.

EchoNet-Dynamic stores a contour as 21 chords, one per row of VolumeTracings.csv, each (x1, y1, x2, y2) in
pixels: first the long axis from the apex to the middle of the mitral plane, then 20 discs from apex to base.
About a hundred frames carry several contours below one another, and a few carry incomplete ones.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

MultiTrace = Literal["first", "union", "vote", "code"]

DISCS = 20
ROWS_PER_TRACE = 1 + DISCS
LONG_AXIS_FACTOR = 1.1  # "by far the longest"; even a dilated ventricle is longer than wide by more than this
MIN_ORDERED_STEPS = 0.9  # the last disc lies obliquely in the mitral plane and may fall behind its neighbour
MIN_AXIS_SHARE = 0.5  # discs of one contour cover more than half of its axis


def split_traces(chords: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Contours among the chords (n, 4) of one frame, each (21, 4) and in listing order.

    A contour is a block of 21 consecutive rows whose first row is by far the longest chord and whose other
    rows follow one another along it. Rows that belong to no such block are skipped.
    """
    chords = _checked(chords)
    traces = []
    start = 0
    while start + ROWS_PER_TRACE <= len(chords):
        block = chords[start : start + ROWS_PER_TRACE]
        if _is_trace(block):
            traces.append(block)
            start += ROWS_PER_TRACE
        else:
            start += 1
    return traces


def trace_mask(
    chords: NDArray[np.floating],
    *,
    height: int = 112,
    width: int = 112,
    multi_trace: MultiTrace = "first",
    round_vertices: bool = True,
) -> NDArray[np.bool_]:
    """Mask (height, width) of the ventricle traced by `chords` (n, 4), in pixels, clipped to the frame.

    `multi_trace` says what becomes of a frame with several contours: the `first`, their `union`, the pixels
    inside more than half of them (`vote`; of two contours that is the intersection), or one self-crossing
    polygon through all rows, as the public EchoNet `code` draws it. Where no complete contour is found (16
    or 18 rows, or rows in disorder) the polygon runs through all rows but the first, which for a single
    contour is the right one. `round_vertices` moves the vertices to whole pixels first (half to even), as
    EchoNet does.
    """
    if multi_trace not in get_args(MultiTrace):
        raise ValueError(f"multi_trace is {multi_trace!r}; it must be one of {', '.join(get_args(MultiTrace))}.")
    chords = _checked(chords)
    traces = [] if multi_trace == "code" else split_traces(chords)
    if not traces:
        traces = [chords]
    elif multi_trace == "first":
        traces = traces[:1]
    masks = np.stack([_polygon_mask(trace, height, width, round_vertices) for trace in traces])
    votes = masks.sum(axis=0)
    return votes * 2 > len(masks) if multi_trace == "vote" else votes > 0


def trace_area(chords: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area of single contours (..., n, 4) in square pixels, by the shoelace formula without clipping."""
    x, y = _outline(np.asarray(chords, dtype=np.float64))
    return np.abs((x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1)).sum(axis=-1)) / 2


def long_axis_is_first(chords: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether row 0 of single contours (..., n, 4) is by far their longest chord."""
    lengths = np.hypot(chords[..., 2] - chords[..., 0], chords[..., 3] - chords[..., 1])
    return lengths[..., 0] > LONG_AXIS_FACTOR * lengths[..., 1:].max(axis=-1)


def _checked(chords: NDArray[np.floating]) -> NDArray[np.float64]:
    checked: NDArray[np.float64] = np.asarray(chords, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 4 or len(checked) < 2:
        raise ValueError(f"Chords have shape {checked.shape}; (n, 4) with a long axis and a disc is least.")
    if not np.isfinite(checked).all():
        raise ValueError("Chords contain values that are not finite.")
    return checked


def _is_trace(block: NDArray[np.float64]) -> bool:
    if not long_axis_is_first(block):
        return False
    axis = block[0, 2:] - block[0, :2]
    length = np.hypot(*axis)
    along_axis = (block[1:, :2] + block[1:, 2:]) / 2 @ (axis / length)
    steps = np.diff(along_axis)
    in_order = max((steps > 0).mean(), (steps < 0).mean()) >= MIN_ORDERED_STEPS
    return bool(in_order and np.ptp(along_axis) >= MIN_AXIS_SHARE * length)


def _outline(chords: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vertices x and y: down the first ends of the discs and back up the second, without the long axis."""
    first, second = chords[..., 1:, :2], chords[..., :0:-1, 2:]
    vertices = np.concatenate([first, second], axis=-2)
    return vertices[..., 0], vertices[..., 1]


def _polygon_mask(chords: NDArray[np.float64], height: int, width: int, round_vertices: bool) -> NDArray[np.bool_]:
    from skimage.draw import polygon

    x, y = _outline(chords)
    if round_vertices:
        x, y = np.rint(x), np.rint(y)
    mask = np.zeros((height, width), dtype=bool)
    mask[polygon(y, x, (height, width))] = True
    return mask
