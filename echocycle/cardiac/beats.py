"""From an area curve to beats: ED, ES, and which masks can be trusted. Pure functions, no network, no file."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from echocycle.errors import EchocycleError

USUAL_FPS = 50.0
"""Frames a second that are taken for beats where they are unknown."""


Floats = NDArray[np.float64]


FRAMES_AT_ONCE = 128
"""Frames whose blobs are numbered together: numbers take twelve times the memory of a mask."""

SHORTEST_BEAT, LONGEST_BEAT = 0.4, 1.6  # R-R in seconds: 150 to 37 beats a minute


LONGEST_EJECTION = 0.75  # seconds from ED to ES; really 0.34-0.47, whatever the rate


SMOOTHING = 0.03  # seconds, standard deviation of the Gaussian over the area curve


PROMINENCE = 0.4  # depth of a systole as a share of the range of the area


MISSING = 0.1  # a frame whose area is below this share of the median has lost its mask


Rule = Literal["prominent", "echonet"]


def check_masks(masks: NDArray) -> Floats:
    """Masks (..., height, width) as numbers in [0, 1]: booleans or probabilities of the left ventricle.

    Other types and ranges are refused rather than guessed: 8-bit masks may hold 0/1 or 0/255, and logits
    have no fixed range.
    """
    masks = np.asarray(masks)
    if masks.dtype == bool:
        return masks.astype(np.float32)
    if not np.issubdtype(masks.dtype, np.floating):
        raise EchocycleError(
            f"Masks are {masks.dtype}; give booleans or probabilities from 0 to 1 (divide 8-bit ones by 255)."
        )
    if masks.size and not (masks.min() >= 0 and masks.max() <= 1):
        raise EchocycleError("Masks hold values outside 0 to 1 or NaN; turn logits into probabilities first.")
    return masks


def largest_components(masks: NDArray) -> NDArray[np.bool_]:
    """Only the largest blob of each frame, (time, height, width); blobs join at edges, not at corners."""
    inside = check_masks(masks) > 0.5
    within_frame = np.zeros((3, 3, 3), dtype=bool)
    within_frame[1] = ndimage.generate_binary_structure(2, 1)
    for first in range(0, len(inside), FRAMES_AT_ONCE):
        block = inside[first : first + FRAMES_AT_ONCE]
        labels, _ = ndimage.label(block, structure=within_frame)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0  # the background
        keep = np.array([frame[np.unravel_index(sizes[frame].argmax(), frame.shape)] for frame in labels])
        block &= labels == keep[:, None, None]
    return inside


def area_curve(masks: NDArray) -> Floats:
    """Pixels of the left ventricle in each frame, (time,), of masks (time, height, width), without specks."""
    if np.ndim(masks) != 3:
        raise EchocycleError(f"Masks have the shape {np.shape(masks)}; (time, height, width) is needed.")
    return largest_components(masks).sum(axis=(1, 2)).astype(np.float64)


def fill_missing(area: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Bridge frames that lost their mask, by a straight line; also says which those are.

    An empty mask would otherwise look like a perfect systole.
    """
    area = np.asarray(area, dtype=np.float64)
    seen = area[area > 0]
    missing = area < MISSING * np.median(seen) if seen.size else np.ones(len(area), dtype=bool)
    if missing.all() or not missing.any():
        return area, missing
    frames = np.arange(len(area))
    return np.interp(frames, frames[~missing], area[~missing]), missing


class Beat(NamedTuple):
    """Frames of end diastole and of the end systole that follows it."""

    ed: int
    es: int


def systoles_of_echonet(area: Floats) -> NDArray[np.intp]:
    """EchoNet-Dynamic's rule: troughs at least 20 frames apart, as deep as half the trimmed range.

    The range is trimmed at the sorted positions round(n^0.05) and round(n^0.95): powers, not products.
    """
    ordered, last = np.sort(area), len(area) - 1
    low, high = (ordered[min(last, round(len(area) ** power))] for power in (0.05, 0.95))
    return signal.find_peaks(-area, distance=20, prominence=0.5 * (high - low))[0]


def _systoles(area: Floats, fps: float) -> NDArray[np.intp]:
    """Troughs at least `SHORTEST_BEAT` apart and deep enough, of the smoothed area."""
    low, high = np.percentile(area, [2, 98])
    if not high > low:
        return np.empty(0, dtype=np.intp)
    distance = max(1, int(SHORTEST_BEAT * fps))
    return signal.find_peaks(-area, distance=distance, prominence=PROMINENCE * (high - low))[0]


def smooth_area(area: Floats, fps: float) -> Floats:
    """Gaussian of `SMOOTHING` seconds; hardly anything at low frame rates."""
    return ndimage.gaussian_filter1d(np.asarray(area, dtype=np.float64), SMOOTHING * fps, mode="nearest")


def find_beats(area: Sequence[float] | Floats, fps: float, rule: Rule = "prominent") -> list[Beat]:
    """ED and ES of each beat in an area curve (time,), in order.

    ES are troughs; each ED is the largest area between the trough before and it, within
    `LONGEST_EJECTION`. A beat whose ED would lie on the first frame began before the video did and counts
    only if no whole beat is there. Without any trough (a half cycle, as in CAMUS) the largest area and the
    smallest make the beat, the smallest after it if that is about as small; if the area never changes, the
    list is empty.

    `rule`: how troughs are found, "prominent" by time and depth, or "echonet" as EchoNet-Dynamic does it,
    on the curve as it is and with a distance in frames.
    """
    if not fps > 0:
        raise EchocycleError(f"fps is {fps}; it must be above 0.")
    area, _ = fill_missing(np.asarray(area, dtype=np.float64))
    if not np.isfinite(area).all():
        raise EchocycleError("The area curve holds values that are not finite.")
    if len(area) < 2 or not area.any():
        return []
    smooth = smooth_area(area, fps)
    systoles = systoles_of_echonet(area) if rule == "echonet" else _systoles(smooth, fps)

    beats: list[Beat] = []
    cut_off: list[Beat] = []
    previous = 0
    for es in systoles.tolist():
        start = max(previous, es - round(LONGEST_EJECTION * fps))
        ed = start + int(np.argmax(smooth[start : es + 1]))
        (beats if ed > 0 else cut_off).append(Beat(ed, int(es)))
        previous = int(es)
    if beats:
        return beats
    if cut_off:
        es = cut_off[-1].es
        after = es + int(np.argmax(smooth[es : es + round(LONGEST_BEAT * fps) + 1]))
        # The next ED stands in for one that the video misses by starting within the systole.
        return [Beat(after, es)] if smooth[after] > 1.02 * smooth[cut_off[-1].ed] else cut_off
    ed = int(np.argmax(smooth))
    es = ed + int(np.argmin(smooth[ed:]))
    if smooth[es] - smooth.min() > 0.2 * np.ptp(smooth):  # the systole lies before: half a cycle, ES to ED
        es = int(np.argmin(smooth))
    return [Beat(ed, es)] if smooth[ed] > smooth[es] else []
