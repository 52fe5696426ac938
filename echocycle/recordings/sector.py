"""Between `recording.py` and the network: find the ultrasound fan in a picture and cut it out as EchoNet does.

First the picture is seen as it is meant: with square pixels and the probe at the top (`recordings/orientation.py`).

A scanner's picture holds more than the fan: names, rulers, an electrocardiogram, logos. They stand still, or move
in thin lines, while speckle moves everywhere in the fan. So the fan is the largest region that changes over time;
two straight edges and an arc are fitted to its outline, and all that lies outside them turns black.

The cut has the geometry of EchoNet-Dynamic (medians of 203 clips), so that a network trained there sees a familiar
picture. Coordinates are (column, row), in pixels, integers at pixel centres. Angles are degrees from vertical.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from echocycle.recordings.budget import samples
from echocycle.recordings.orientation import TURNS, View, without_surroundings
from echocycle.recordings.overlays import trace_strip
from echocycle.recordings.quality import activity
from echocycle.recordings.regions import Box
from echocycle.recordings.streams import UPRIGHT
from echocycle.recordings.video import Recording

ECHONET_SIZE = 112
ECHONET_APEX = (61.3, 4.7)  # column, row
ECHONET_DEPTH = 103.9  # radius of the far arc, so the fan ends at row 108

ACTIVITY_LEVELS = (0.5, 1.0, 2.0, 4.0)  # grey levels of change; the best fit wins
SMALLEST_REGION = 0.05  # of the picture
WIDEST_USUAL = 100.0  # degrees between the edges of a cardiac fan, seldom more
MOST_ASLANT = 15.0  # degrees by which its edges differ, seldom more
NARROWEST_EDGE, WIDEST_EDGE = 12.0, 65.0  # degrees from vertical
DEEPEST_START = 0.4  # of the far arc: a cardiac probe is small, so what begins deeper is no fan
BELONGS = 0.9  # share of the fan that lies in the header's region if the two belong together
TRUSTED = 0.4  # confidence from which on the fan is cut out
SURE = 0.8  # confidence from which on a fan that lies another way is believed
CLEARLY = 0.15  # by how much it must be better than the fan as it lies


@dataclass(frozen=True)
class Sector:
    """The fan in the picture as seen with square pixels and upright; for most recordings that is as it is stored."""

    mask: np.ndarray
    """bool (height, width): True inside the fan; all True when none was found."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the mask, in pixels; the last two are exclusive."""
    apex: tuple[float, float]
    """Where the straight edges meet, (column, row); NaN when they could not be fitted."""
    left_angle: float
    """Degrees from vertical of the left edge, positive; NaN when not fitted."""
    right_angle: float
    """The same for the right edge."""
    radii: tuple[float, float]
    """Distance of the near and the far arc from the apex, pixels; NaN when not fitted."""
    confidence: float
    """0 (nothing found) to 1 (both edges and the arc fit, and the region inside moves)."""

    @property
    def has_edges(self) -> bool:
        """Whether apex, edges and arcs were fitted; else the mask is the convex hull of what moves."""
        return not math.isnan(self.apex[0])


@dataclass(frozen=True)
class CutRecording:
    """A recording as the networks take it."""

    frames: np.ndarray
    """uint8 grey (time, size, size), black outside the fan."""
    fps: float
    affine: np.ndarray
    """float64 (2, 3): stored (column, row) = affine @ (column, row, 1) of the cut, also where it was turned."""
    spacing_mm: tuple[float, float]
    """Millimetres per pixel of the cut, (row, column); NaN when unknown."""
    sector: Sector | None
    """None when the picture already had the network's size and was left alone."""
    notes: tuple[str, ...]
    colours: np.ndarray | None = None
    """uint8 RGB (time, size, size, 3), as `frames` else; None where the picture was cut, or was read in grey."""
    stored_frames: np.ndarray | None = None
    """int (time): as in `Recording`."""


def find_sector(frames: np.ndarray) -> Sector:
    """Find the fan in uint8 grey `frames` (time, height, width); confidence 0 and a full mask if there is none.

    The probe is taken to be at the top, and pixels to be square.
    """
    return _sector_in(activity(frames))


def cut_sector(recording: Recording, size: int = ECHONET_SIZE, sector: Sector | None = None) -> CutRecording:
    """Cut the fan out as a grey square of `size` pixels.

    A picture of that size already, with square pixels, is at most turned, and keeps its colours. Others are made
    square, turned so that the probe is at the top where that is sure, and cut; `affine` leads back to the stored
    pixels. A `sector` that is given is taken as it is, in a picture that is not turned.
    """
    frames = to_grey(recording.frames)
    if frames.shape[1:] == (size, size) and recording.pixel_aspect == 1:
        _, view, more = _look(frames, View((size, size)), None)
        return CutRecording(
            frames=_turned(frames, view),
            fps=recording.fps,
            affine=view.affine(),
            spacing_mm=view.spacing(recording.spacing_mm),
            sector=None,
            notes=(*recording.notes, *more),
            colours=_turned(recording.frames, view) if recording.frames.ndim == 4 else None,
            stored_frames=recording.stored_frames,
        )
    notes = list(recording.notes)
    view = View((frames.shape[1], frames.shape[2]), recording.pixel_aspect)
    if sector is None:
        sector, view, more = locate_sector(recording)
        notes += more
    mask = view.stored_mask(sector.mask)
    if sector.confidence < TRUSTED and recording.region is not None:
        notes.append("no ultrasound fan was found; the region that the header names is used, with whatever is in it")
        mask = without_surroundings(np.ones((1, *mask.shape), np.uint8), recording.region)[0].astype(bool)
        sector = replace(_whole_picture(view.square), box=_box(view.squared(mask[None])[0]))
    elif sector.confidence < TRUSTED:
        notes.append("no ultrasound fan was found; the whole picture is used, with whatever is written in it")
        sector = _whole_picture(view.square)
        mask[:] = True
    elif not sector.has_edges:
        notes.append("the fan's straight edges could not be fitted; the outline of what moves is used")
    scale, left, top = _placement(sector, size)
    affine = view.affine() @ np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]])
    row_mm, column_mm = view.spacing(recording.spacing_mm)
    return CutRecording(
        frames=_resample(frames, mask, affine, view, size),
        fps=recording.fps,
        affine=affine,
        spacing_mm=(row_mm * scale, column_mm * scale),
        sector=sector,
        notes=tuple(notes),
        stored_frames=recording.stored_frames,
    )


def _turned(frames: np.ndarray, view: View) -> np.ndarray:
    """Frames, grey or RGB, turned upright."""
    return np.ascontiguousarray(np.stack([view.turn.apply(frame) for frame in frames]))


def locate_sector(recording: Recording) -> tuple[Sector, View, list[str]]:
    """The fan of a recording, without strips that are drawn over; how the picture is seen; notes."""
    frames = to_grey(recording.frames)
    sector, view, notes = _look(
        frames, View((frames.shape[1], frames.shape[2]), recording.pixel_aspect), recording.region
    )
    sector = _within_region(sector, view, recording.region)
    sector, more = _without_trace(sector, view, frames)
    return sector, view, notes + more


def _look(frames: np.ndarray, view: View, region: Box | None) -> tuple[Sector, View, list[str]]:
    """The fan, and how the picture must be turned for it to stand upright."""
    few = samples(frames)
    moving = activity(view.squared(without_surroundings(few, region)))
    sector = _sector_in(moving)
    if region is not None and sector.confidence < TRUSTED:
        moving = activity(view.squared(few))  # the header's region may be wrong in a way that could not be seen
        sector = _sector_in(moving)
    if _uprightness(sector) > SURE:
        return sector, view, []
    others = {side: _sector_in(np.ascontiguousarray(turn.apply(moving))) for side, turn in TURNS.items()}
    side = max(others, key=lambda name: _uprightness(others[name]))
    if TURNS[side] == UPRIGHT or _uprightness(others[side]) < _uprightness(sector) + CLEARLY:
        return sector, view, []
    if _uprightness(others[side]) < SURE:
        return sector, view, [f"the probe may be {side} of the picture; it is left as it is"]
    done = "flipped upside down; left and right stay" if side == "at the bottom" else "turned by a quarter"
    return others[side], replace(view, turn=TURNS[side]), [f"the probe is {side} of the picture, which was {done}"]


def _within_region(sector: Sector, view: View, region: Box | None) -> Sector:
    """The fan without corners that reach beyond the header's region, where rulers stand, if the two belong together."""
    if region is None or sector.confidence < TRUSTED:
        return sector
    box = without_surroundings(np.ones((1, *view.stored), np.uint8), region).astype(bool)
    mask = sector.mask & view.turn.apply(view.squared(box)[0])
    return replace(sector, mask=mask) if mask.sum() > BELONGS * sector.mask.sum() else sector


def _without_trace(sector: Sector, view: View, frames: np.ndarray) -> tuple[Sector, list[str]]:
    """The sector without the far end that an electrocardiogram is drawn over."""
    if not sector.has_edges or sector.confidence < TRUSTED:
        return sector, []
    few = np.stack([view.turn.apply(frame) for frame in view.squared(samples(frames))])
    strip = trace_strip(few, sector.mask)
    if strip is None:
        return sector, []
    mask = sector.mask.copy()
    end = len(mask) if sector.box[3] - strip[1] < 0.1 * (sector.box[3] - sector.box[1]) else strip[1]
    mask[strip[0] : end] = False
    share = 1 - mask.sum() / sector.mask.sum()
    note = f"a trace is drawn across the fan; the strip with it, {100 * share:.0f} % of the fan, was blackened"
    return replace(sector, mask=mask), [note]


def _uprightness(sector: Sector) -> float:
    """How well a fan is fitted, less if it opens too wide, as an inverted fan does, or aslant, as a lying one does."""
    if not sector.has_edges:
        return 0.0
    too_wide = max(0.0, sector.left_angle + sector.right_angle - WIDEST_USUAL) / 60
    aslant = max(0.0, abs(sector.left_angle - sector.right_angle) - MOST_ASLANT) / 45
    return sector.confidence * max(0.0, 1 - too_wide - aslant)


def _sector_in(moving: np.ndarray) -> Sector:
    """The fan in a picture of how much each pixel changes, float32 (height, width)."""
    regions = [_moving_region(moving > level) for level in ACTIVITY_LEVELS]
    candidates = [sector for region in regions if (sector := _sector_of(region, loosest=regions[0])) is not None]
    if not candidates:
        return _whole_picture(moving.shape)
    return max(candidates, key=lambda sector: sector.confidence)


def to_grey(frames: np.ndarray) -> np.ndarray:
    """uint8 grey (time, height, width) of grey or RGB frames: the luma of ITU-R 601."""
    if frames.ndim == 3:
        return frames
    weights = np.array([19595, 38470, 7471], np.uint32)  # 0.299, 0.587, 0.114 in 1/65536
    return np.stack([((frame @ weights + 32768) >> 16).astype(np.uint8) for frame in frames])


def _placement(sector: Sector, size: int) -> tuple[float, float, float]:
    """Source pixels per cut pixel, and the source column and row of the cut's pixel (0, 0)."""
    unit = size / ECHONET_SIZE
    middle = (size - 1) / 2
    if sector.has_edges:
        scale = sector.radii[1] / (ECHONET_DEPTH * unit)
        # pixel centres: EchoNet's (0, 0) is not the corner of the picture but half a pixel inside it
        column, row = ((value + 0.5) * unit - 0.5 for value in ECHONET_APEX)
        return scale, sector.apex[0] - scale * column, sector.apex[1] - scale * row
    left, top, right, bottom = sector.box
    scale = max(right - left, bottom - top) / size
    return scale, (left + right - 1) / 2 - scale * middle, (top + bottom - 1) / 2 - scale * middle


def _resample(frames: np.ndarray, mask: np.ndarray, affine: np.ndarray, view: View, size: int) -> np.ndarray:
    """Cut a square out of stored frames and turn it, shrinking by area averages; zero outside mask and picture."""
    from PIL import Image

    corners = affine @ np.array([[-0.5, size - 0.5], [-0.5, size - 0.5], [1, 1]]) + 0.5  # pixel borders, not centres
    edges = np.concatenate([corners.min(axis=1), corners.max(axis=1)])
    height, width = frames.shape[1:]
    before_x, before_y = (max(0, math.ceil(-edge)) for edge in edges[:2])
    after_x, after_y = max(0, math.ceil(edges[2] - width)), max(0, math.ceil(edges[3] - height))
    border = ((before_y, after_y), (before_x, after_x))
    box = tuple(edges + np.array([before_x, before_y] * 2))
    smallest = min(edges[2] - edges[0], edges[3] - edges[1]) / size
    method = Image.Resampling.BOX if smallest > 1 else Image.Resampling.BILINEAR
    cut = np.empty((len(frames), size, size), np.uint8)
    for index, frame in enumerate(frames):
        padded = np.pad(np.where(mask, frame, 0), border)
        cut[index] = view.turn.apply(np.asarray(Image.fromarray(padded).resize((size, size), method, box=box)))
    return cut


def _moving_region(moving: np.ndarray) -> np.ndarray:
    """The largest connected part of bool `moving` (height, width), without thin lines such as a running trace."""
    from scipy import ndimage

    radius = max(1, round(min(moving.shape) / 160))
    row, column = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = row**2 + column**2 <= radius**2 + 1
    filled = ndimage.binary_closing(np.pad(moving, 2 * radius), disc)
    opened = ndimage.binary_opening(filled, disc)[2 * radius : -2 * radius, 2 * radius : -2 * radius]
    labels, count = ndimage.label(opened)
    if count == 0:
        return opened
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return ndimage.binary_fill_holes(labels == sizes.argmax())


def _sector_of(region: np.ndarray, loosest: np.ndarray) -> Sector | None:
    """Fit a fan to a region; the convex hull if it has no straight edges; None if it is tiny.

    `loosest` is the region at the lowest level. It tells where the fan begins, since the first few millimetres hardly
    move.
    """
    if region.mean() < SMALLEST_REGION:
        return None
    outline = _outline(region)
    left, right = (_edge(outline, side) for side in (-1, 1))
    if left is not None and right is not None:
        fan = _fan(region, loosest, left, right)
        if fan is not None:
            return fan
    hull = _convex_hull(region)
    filled = region.sum() / hull.sum()
    black_margin = 1 - hull.mean()  # a picture that moves all over has no fan to cut out
    return Sector(
        mask=hull,
        box=_box(hull),
        apex=(math.nan, math.nan),
        left_angle=math.nan,
        right_angle=math.nan,
        radii=(math.nan, math.nan),
        confidence=float(0.5 * filled * min(1, black_margin / 0.1)),
    )


@dataclass(frozen=True)
class _Outline:
    """First and last column of the region in each row that it reaches."""

    rows: np.ndarray
    first: np.ndarray
    last: np.ndarray
    width: int


def _outline(region: np.ndarray) -> _Outline:
    rows = np.flatnonzero(region.any(axis=1))
    first = region[rows].argmax(axis=1)
    last = region.shape[1] - 1 - region[rows, ::-1].argmax(axis=1)
    return _Outline(rows, first, last, region.shape[1])


@dataclass(frozen=True)
class _Edge:
    """The line column = start + slope * row, and the share of outline rows that lie on it."""

    start: float
    slope: float
    rows_on_it: int


def _edge(outline: _Outline, side: int) -> _Edge | None:
    """The straight edge on the left (-1) or right (1): the steepest line with the outline on it or inside it.

    Among lines through two outline points, outside which hardly any point lies, the one with most points on it.
    """
    columns = outline.first if side < 0 else outline.last
    inside = (columns > 0) & (columns < outline.width - 1)
    rows, columns = outline.rows[inside].astype(float), columns[inside].astype(float)
    if len(rows) < 12:
        return None
    tolerance = 0.75 + outline.width / 640
    pick = np.random.default_rng(0).integers(0, len(rows), (2, 1500))
    pick = pick[:, np.abs(rows[pick[0]] - rows[pick[1]]) >= len(rows) / 16]
    slope = (columns[pick[1]] - columns[pick[0]]) / (rows[pick[1]] - rows[pick[0]])
    outwards = side * slope
    possible = (outwards > math.tan(math.radians(NARROWEST_EDGE))) & (outwards < math.tan(math.radians(WIDEST_EDGE)))
    slope, start = slope[possible], (columns[pick[0]] - slope * rows[pick[0]])[possible]
    if len(slope) == 0:
        return None
    across = np.sqrt(1 + slope**2)
    distance = side * (columns - start[:, None] - slope[:, None] * rows) / across[:, None]  # positive: outside
    on_it = (np.abs(distance) <= tolerance).sum(axis=1)
    on_it[(distance > tolerance).mean(axis=1) > 0.02] = 0
    best = on_it.argmax()
    close = np.abs(distance[best]) <= tolerance
    if on_it[best] < max(8, 0.1 * len(rows)):
        return None
    fitted_slope, fitted_start = np.polyfit(rows[close], columns[close], 1)
    return _Edge(float(fitted_start), float(fitted_slope), int(on_it[best]))


def _fan(region: np.ndarray, loosest: np.ndarray, left: _Edge, right: _Edge) -> Sector | None:
    """The fan between two edges: apex where they meet, arcs from the region's radii."""
    apex_row = (left.start - right.start) / (right.slope - left.slope)
    apex_column = left.start + left.slope * apex_row
    left_angle, right_angle = math.degrees(math.atan(-left.slope)), math.degrees(math.atan(right.slope))
    rows, columns = np.indices(region.shape)
    radius = np.hypot(columns - apex_column, rows - apex_row)
    angle = np.degrees(np.arctan2(columns - apex_column, rows - apex_row))
    between = (angle >= -left_angle) & (angle <= right_angle)
    reached = region & between
    if reached.sum() < 0.5 * region.sum():
        return None
    far = _far_arc(radius[reached], angle[reached], -left_angle, right_angle)
    near = float(np.quantile(radius[(reached | loosest) & between], 0.0005))
    if near > DEEPEST_START * far:
        return None
    half_a_pixel = np.degrees(0.5 / np.maximum(radius, 1))
    mask = (
        (angle >= -left_angle - half_a_pixel)
        & (angle <= right_angle + half_a_pixel)
        & (radius >= near - 1)
        & (radius <= far + 0.5)
    )
    inside = region & mask
    edge_rows = max(1.0, (far - near) * math.cos(math.radians(max(left_angle, right_angle))))
    straightness = min(1, (left.rows_on_it + right.rows_on_it) / 2 / (0.4 * edge_rows))
    precision = inside.sum() / region.sum()
    coverage = min(1, inside.sum() / mask.sum() / 0.7)
    return Sector(
        mask=mask,
        box=_box(mask),
        apex=(float(apex_column), float(apex_row)),
        left_angle=left_angle,
        right_angle=right_angle,
        radii=(near, far),
        confidence=float(precision**2 * coverage * straightness),
    )


def _far_arc(radius: np.ndarray, angle: np.ndarray, start: float, stop: float) -> float:
    """Far radius of a fan from its pixels' radii and angles.

    It is where most directions end: dark directions end earlier, and a few may run on into an overlay.
    """
    directions = np.clip((angle - start) / (stop - start) * 90, 0, 89).astype(int)
    farthest = np.zeros(90)
    np.maximum.at(farthest, directions, radius)
    farthest = farthest[farthest > 0]
    typical = np.quantile(farthest, 0.8)
    return float(np.median(farthest[np.abs(farthest - typical) <= 0.02 * typical]))


def _convex_hull(region: np.ndarray) -> np.ndarray:
    from skimage.morphology import convex_hull_image

    return convex_hull_image(region)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _whole_picture(shape: tuple[int, ...]) -> Sector:
    height, width = shape
    unknown = (math.nan, math.nan)
    full = np.ones((height, width), bool)
    return Sector(full, (0, 0, width, height), unknown, math.nan, math.nan, unknown, confidence=0.0)
