"""Whether a recording can be answered at all: black, frozen and too short ones have no ejection fraction."""

import math
from itertools import pairwise

import numpy as np

from echocycle.recordings.budget import samples

FEWEST_FRAMES = 8
"""Half a heartbeat, from end diastole to end systole, at 75 a minute and 20 frames a second."""
BLACK = 16
"""Grey level up to which a pixel counts as black."""
LEAST_SHOWN = 0.01
"""Share of the picture that must be brighter at some time."""
STILL = 1.0
"""Grey levels of change up to which a pixel counts as standing still."""
LEAST_MOVING = 0.01
"""Share of the picture that must move."""
MOST_REPEATED = 0.8
"""Share of frames that may repeat the one before."""
NOTEWORTHY = 0.02
"""Share of repeated frames from which on it is worth a note."""


def unanswerable(frames: np.ndarray) -> str | None:
    """Why no ejection fraction can be read from uint8 `frames` (time, height, width); None if one may be.

    Works on the frames of a recording and on those of a cut. A sentence without the file's name.
    """
    if len(frames) < FEWEST_FRAMES:
        are = "is 1 frame" if len(frames) == 1 else f"are {len(frames)} frames"
        return f"There {are}; even half a heartbeat needs {FEWEST_FRAMES}."
    few = samples(frames)
    if (few.max(axis=0) > BLACK).mean() < LEAST_SHOWN:
        return "The picture is black."
    if (activity(frames) > STILL).mean() < LEAST_MOVING:
        return "The picture stands still."
    side_by_side = fans_side_by_side(frames)
    if side_by_side > 1:
        return f"The picture shows {side_by_side} fans side by side (biplane, or a comparison); export one plane."
    repeated = len(repeated_frames(frames))
    if repeated > MOST_REPEATED * (len(frames) - 1):
        return f"The picture stands still: {repeated} of {len(frames)} frames repeat the one before."
    return None


def activity(frames: np.ndarray) -> np.ndarray:
    """How much each pixel of uint8 (time, height, width) changes, grey levels, float32 (height, width).

    It is the standard deviation over time, but no more than three times the change from frame to frame that one frame
    in five exceeds: speckle changes in most frames, a pixel on the way of a running trace or a clock in few.
    """
    few = samples(frames)
    found = np.zeros(frames.shape[1:], np.float32)
    if len(few) < 2:
        return found
    step = max(1, (1 << 20) // few.shape[2])  # some rows at a time: the intermediate results are many times as large
    for top in range(0, few.shape[1], step):
        strip = few[:, top : top + step]
        change = np.abs(np.diff(strip.astype(np.int16), axis=0))
        rank = int(0.8 * (len(change) - 1))
        usual_change = np.partition(change, rank, axis=0)[rank]
        found[top : top + step] = np.minimum(strip.std(axis=0, dtype=np.float32), 3 * usual_change)
    return found


def fans_side_by_side(frames: np.ndarray) -> int:
    """How many fans of about the same size move side by side in uint8 (time, height, width): 1 if that is unclear.

    A fan is what moves, is narrow at its top, and has its top above its middle: halves of one fan, parted by a shadow,
    have theirs at the side.
    """
    from scipy import ndimage

    moving = ndimage.binary_opening(activity(frames) > 2 * STILL, np.ones((3, 3), bool))
    labels, count = ndimage.label(ndimage.binary_closing(moving, np.ones((5, 5), bool)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    large = [number + 1 for number, size in enumerate(sizes) if size >= max(0.5 * sizes.max(), 0.04 * moving.size)]
    fans = [place for number in large if (place := _fan_place(labels == number)) is not None]
    fans.sort()
    apart = all(before[1] <= after[0] for before, after in pairwise(fans))
    return len(fans) if len(fans) > 1 and apart else 1


def _fan_place(part: np.ndarray) -> tuple[int, int] | None:
    """First and last column of a part that is shaped like an upright fan; None if it is not."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    left, width = int(columns[0]), int(columns[-1] - columns[0] + 1)
    top = np.flatnonzero(part[rows[0] : rows[0] + max(1, len(rows) // 10)].any(axis=0))
    is_narrow = top[-1] - top[0] < 0.45 * width
    is_central = abs((top[0] + top[-1]) / 2 - (left + width / 2)) < 0.2 * width
    return (left, left + width) if is_narrow and is_central else None


def repeated_frames(frames: np.ndarray) -> list[int]:
    """Numbers of frames that repeat the frame before, pixel for pixel."""
    return [index for index in range(1, len(frames)) if np.array_equal(frames[index], frames[index - 1])]


def note_on_repeats(frames: np.ndarray, fps: float) -> list[str]:
    """A note if frames repeat the one before, and what that says about the frame rate."""
    repeated = repeated_frames(frames)
    share = len(repeated) / max(1, len(frames) - 1)
    if share < NOTEWORTHY:
        return []
    note = f"{len(repeated)} of {len(frames)} frames repeat the one before"
    if 0.4 <= share < MOST_REPEATED and math.isfinite(fps):
        note += f": the scanner took about {fps * (1 - share):.3g} pictures a second, the file has {fps:.4g}"
    return [note]
