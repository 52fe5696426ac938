"""What a recording and its masks measure like, apart from the heart's function: the numbers that flags rest on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocycle.cardiac.discs import DiscsEF, Volume
from echocycle.cardiac.rhythm import Rhythm
from echocycle.inference.quality import SMALLEST_MASK, fan_of

THUMBNAIL = 28
"""Rows and columns to which frames are shrunk before one is compared with the next: speckle is averaged away."""
NEAR_BORDER = 2.5
"""Pixels from the fan's border within which an outline lies at it."""
RING = (2, 6)
"""Pixels outside a mask between which its wall is looked for; the ventricle's edge itself is left out."""
SECTORS = 12
"""Parts of the ring around a mask in each of which the wall is looked for."""
BRIGHTER = 0.3
"""Standard deviations of grey in the fan by which a part of the ring must exceed the cavity to be wall."""
SUSPECTED, SURE = 25, 217
"""Stored probabilities (255 is certain) from which a pixel is suspected to be ventricle, and sure to be."""
TURNED_FRAMES = 10
"""Frames that are shown to the segmenter upside down."""
DIM = 0.35
"""A frame whose mean grey is below this share of the usual one shows nothing."""
MOST_FRAMES = 16
"""Frames that are looked at for what changes slowly."""


@dataclass(frozen=True)
class Signs:
    """Measures of one recording; NaN where there was nothing to measure. Lengths are in pixels of 112 x 112."""

    seconds: float
    """Length of the recording."""
    fps: float
    """Frames a second, as the file states them; NaN when unknown."""
    dim_share: float
    """Share of frames that are almost black."""
    continuity: float
    """Correlation of a frame with the next one, both shrunk: the value that one pair in twenty falls below."""
    usual_continuity: float
    """The same in the middle pair."""
    lowest_continuity: float
    """The same in the lowest pair: two recordings in one have a cut."""
    fan_top: float
    """Width of the picture near its top over its greatest width: a fan is narrow there, a strip is not."""
    found_share: float
    """Share of frames in which the ventricle was found."""
    overlap: float
    """Dice of a mask with the next frame's: the value that one pair in twenty falls below."""
    jump: float
    """How far the mask's centre moves from a frame to the next over the long axis; one pair in twenty moves further."""
    swing: float
    """How much the area changes: the 95th less the 5th percentile over the 95th."""
    whole_beats: int
    """Beats that lie wholly within the recording."""
    rate: float
    """Heart rate, beats a minute."""
    systole_s: float
    """From ED to ES, median over beats, seconds."""
    strength: float
    """Autocorrelation of the area curve at its period."""
    tilt: float
    """Angle of the long axis from the vertical, degrees, 0 to 180; above 90 the apex lies below the base."""
    slimness: float
    """Long axis over the greatest diameter, at ED."""
    border_share: float
    """Share of the outline that lies at the fan's border, at ED."""
    apex_gap: float
    """From the apex on to the fan's border, along the long axis, over the axis's length, at ED."""
    apex_width: float
    """Diameter a thirteenth of the axis below the apex over the greatest, at ED: a tip that is cut off is wide."""
    contrast: float
    """How much brighter the wall is than the cavity, over the standard deviation of grey in the fan: the median of
    `SECTORS` directions."""
    wall_share: float
    """Share of those directions in which there is a wall."""
    sureness: float = float("nan")
    """Share of the pixels that may be ventricle of which the segmenter is sure."""
    turned_sureness: float = float("nan")
    """The same where some frames are shown to it upside down."""


def sureness(probabilities: NDArray[np.uint8]) -> float:
    """Share of the suspected pixels of stored probabilities, of any shape, of which the segmenter is sure."""
    return float((probabilities > SURE).sum() / max(int((probabilities > SUSPECTED).sum()), 1))


def turned(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`TURNED_FRAMES` frames from all over the recording (time, height, width[, 3]), upside down."""
    few = np.unique(np.linspace(0, len(frames) - 1, TURNED_FRAMES).astype(int))
    return np.ascontiguousarray(frames[few, ::-1])


def signs_of(
    frames: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    fps: float,
    discs: DiscsEF,
    rhythm: Rhythm,
    sure: tuple[float, float] = (float("nan"), float("nan")),
) -> Signs:
    """Signs of grey frames and masks, both (time, height, width).

    Args:
        fps: frames a second; NaN when unknown.
        discs: `ef_by_discs` of the masks with `every_frame`.
        rhythm: of the area curve.
        sure: `sureness` of the masks, and of `turned` frames.
    """
    fan = fan_of(frames)
    sizes = masks.sum((1, 2))
    found = sizes > SMALLEST_MASK * masks[0].size
    similar = _similarities(frames, fan)
    grey = frames.mean((1, 2))
    whole = [beat for beat in discs.beats if min(beat.ed, beat.es) > 0 and max(beat.ed, beat.es) < len(masks) - 1]
    full = [discs.frames[beat.ed] for beat in discs.beats] or [each for each in discs.frames if each.length > 0][:1]
    walls = _walls(frames, masks, fan, found)
    durations = [(beat.es - beat.ed) / fps for beat in discs.beats if beat.es > beat.ed]
    return Signs(
        seconds=len(frames) / fps,
        fps=fps,
        dim_share=float((grey < DIM * np.quantile(grey, 0.9)).mean()),
        continuity=_quantile(similar, 0.05),
        usual_continuity=_quantile(similar, 0.5),
        lowest_continuity=_quantile(similar, 0.0),
        fan_top=_fan_top(fan),
        found_share=float(found.mean()),
        overlap=_quantile(_overlaps(masks, found), 0.05),
        jump=_quantile(_jumps(masks, found, discs.frames), 0.95),
        swing=_swing(discs.area[found]),
        whole_beats=len(whole),
        rate=np.nan if rhythm.rate is None else rhythm.rate,
        systole_s=_quantile(durations, 0.5),
        strength=rhythm.strength,
        tilt=_middle([_tilt(each) for each in full]),
        slimness=_middle([each.length / max(each.diameters.max(), 1e-6) for each in full]),
        border_share=_middle([_border_share(masks[beat.ed], fan) for beat in discs.beats]),
        apex_gap=_middle([_apex_gap(each, fan) for each in full]),
        apex_width=_middle([float(each.diameters[1] / max(each.diameters.max(), 1e-6)) for each in full]),
        contrast=_middle(walls),
        wall_share=float(np.mean([wall > BRIGHTER for wall in walls])) if walls else float("nan"),
        sureness=sure[0],
        turned_sureness=sure[1],
    )


def _quantile(values: list[float] | NDArray[np.float64], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")


def _middle(values: list[float]) -> float:
    return _quantile(values, 0.5)


def _similarities(frames: NDArray[np.uint8], fan: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Correlation of each frame with the next, shrunk, inside the fan (time - 1,); black ones are left out."""
    step = frames.shape[1] // THUMBNAIL
    size = step * THUMBNAIL
    small = frames[:, :size, :size].reshape(len(frames), THUMBNAIL, step, THUMBNAIL, step).mean((2, 4))
    inside = fan[:size, :size].reshape(THUMBNAIL, step, THUMBNAIL, step).mean((1, 3)) > 0.5
    levels = small[:, inside] if inside.any() else small.reshape(len(small), -1)
    levels = levels - levels.mean(1, keepdims=True)
    power = np.sqrt((levels**2).sum(1))
    pairs = power[:-1] * power[1:]
    lit = pairs > 1e-3 * np.quantile(power, 0.9) ** 2
    return (levels[:-1] * levels[1:]).sum(1)[lit] / pairs[lit]


def _fan_top(fan: NDArray[np.bool_]) -> float:
    rows = np.flatnonzero(fan.any(1))
    if not rows.size:
        return float("nan")
    widths = fan.sum(1)[rows[0] : rows[-1] + 1]
    return float(widths[: max(1, len(widths) // 12)].mean() / widths.max())


def _overlaps(masks: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.float64]:
    both = found[:-1] & found[1:]
    sizes = masks.sum((1, 2)).astype(float)
    shared = (masks[:-1] & masks[1:]).sum((1, 2))
    return 2 * shared[both] / (sizes[:-1] + sizes[1:])[both]


def _jumps(masks: NDArray[np.bool_], found: NDArray[np.bool_], volumes: list[Volume]) -> NDArray[np.float64]:
    lengths = [each.length for each in volumes if each.length > 0]
    if not lengths or found.sum() < 2:
        return np.empty(0)
    sizes = np.maximum(masks.sum((1, 2)), 1)
    rows = masks.sum(2) @ np.arange(masks.shape[1]) / sizes
    columns = masks.sum(1) @ np.arange(masks.shape[2]) / sizes
    moved = np.hypot(np.diff(rows), np.diff(columns))[found[:-1] & found[1:]]
    reach = float(np.median([np.hypot(*np.subtract(v.base, v.apex)) for v in volumes if v.length > 0]))
    return moved / max(reach, 1.0)


def _swing(area: NDArray[np.float64]) -> float:
    if not area.size:
        return float("nan")
    low, high = np.quantile(area, [0.05, 0.95])
    return float((high - low) / max(high, 1.0))


def _tilt(volume: Volume) -> float:
    down, right = np.subtract(volume.base, volume.apex)
    return float(abs(np.degrees(np.arctan2(right, down))))


def _border_share(mask: NDArray[np.bool_], fan: NDArray[np.bool_]) -> float:
    """Share of the mask's outermost pixels that lie near, or beyond, the fan's border."""
    edge = mask & ~ndimage.binary_erosion(mask)
    depth = ndimage.distance_transform_edt(np.pad(fan, 1))[1:-1, 1:-1]
    return float((depth[edge] <= NEAR_BORDER).mean()) if edge.any() else float("nan")


def _apex_gap(volume: Volume, fan: NDArray[np.bool_]) -> float:
    """Steps of half a pixel from the apex away from the base until the fan ends, over the axis's length."""
    apex, base = np.array(volume.apex), np.array(volume.base)
    reach = float(np.linalg.norm(apex - base))
    if not reach > 0:
        return float("nan")
    steps = np.arange(0, 2 * max(fan.shape), 0.5)
    places = np.rint(apex + steps[:, None] * (apex - base) / reach).astype(int)
    within = ((places >= 0) & (places < fan.shape)).all(1)
    inside = np.zeros(len(steps), bool)
    inside[within] = fan[tuple(places[within].T)]
    left = np.flatnonzero(~inside)
    return float(steps[left[0]] / reach)


def _walls(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], fan: NDArray[np.bool_], found: NDArray[np.bool_]
) -> list[float]:
    """How much brighter the ring around the masks is than their inside, in standard deviations of grey in the fan: the
    mean over some frames in each direction in which the ring lies inside the fan."""
    numbers = np.flatnonzero(found)
    if not numbers.size or not fan.any():
        return []
    numbers = numbers[np.unique(np.linspace(0, len(numbers) - 1, MOST_FRAMES).astype(int))]
    spread = max(float(frames[numbers][:, fan].std()), 1.0)
    totals, counts = np.zeros(SECTORS), np.zeros(SECTORS)
    for number in numbers:
        mask, frame = masks[number], frames[number]
        inner = ndimage.binary_erosion(mask, iterations=2)
        near, far = (ndimage.binary_dilation(mask, iterations=reach) for reach in RING)
        ring = far & ~near & fan
        if not inner.any():
            continue
        row, column = ndimage.center_of_mass(mask)
        rows, columns = np.nonzero(ring)
        turn = (np.arctan2(rows - row, columns - column) + np.pi) / (2 * np.pi)
        sector = (turn * SECTORS).astype(int) % SECTORS
        pixels = np.bincount(sector, minlength=SECTORS)
        level = np.bincount(sector, weights=frame[ring], minlength=SECTORS) / np.maximum(pixels, 1)
        seen = pixels > 3
        totals[seen] += (level[seen] - float(frame[inner].mean())) / spread
        counts += seen
    return [float(value) for value in totals[counts > 0] / counts[counts > 0]]
