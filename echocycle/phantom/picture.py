"""Third step of the phantom: from a planned clip to pixels and true masks.

The picture is a sum of two echo amplitudes, log-compressed like a scanner's: tissue, which moves with the
heart, and clutter, which stands still. Both are fully developed speckle (complex Gaussian fields) times an
echo level. Tissue is kept in one polar table of the heart at end diastole; for every frame each pixel of
the fan looks up where its piece of tissue was then, so that levels, texture and speckle move as one and the
mask is exact by construction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocycle.phantom.heart import SIZE, STEPS, ClipPlan, Heart
from echocycle.phantom.look import Look
from echocycle.phantom.reader import as_seen, moved_less

Floats = NDArray[np.float32]
Take = Callable[[int, int], NDArray[np.complex64]]

RADIAL_STEP = 0.5  # pixels between rows of the polar table
ANGULAR_STEP = 0.5  # degrees between its columns
TABLE_RADIUS, TABLE_ANGLE = 114.0, 54.0  # a little beyond the fan: tissue moves in from there
ROWS, COLUMNS = int(TABLE_RADIUS / RADIAL_STEP), int(2 * TABLE_ANGLE / ANGULAR_STEP)
BANK_MARGIN = 160  # rows and columns by which the bank of speckle exceeds a table, for crops to start in
OUTER_FADE = 13.0  # pixels over which the motion of the inner wall fades away outside it
ATRIAL_FADE = 28.0  # pixels over which the motion of the mitral plane fades away below it
ELSEWHERE, CAVITY, SEPTUM, WALL, RIGHT_VENTRICLE, LEFT_ATRIUM, RIGHT_ATRIUM = range(7)  # parts of the picture
DISPLAY_STEP = 0.25  # grey levels between entries of the display curve
DISPLAY_RANGE = (-160.0, 420.0)


@dataclass(frozen=True)
class Fan:
    """The pixels that show echoes, in row order; all arrays (pixels of the fan,)."""

    index: NDArray[np.intp]
    """Position in the flattened frame."""
    x: Floats
    y: Floats
    radius: Floats
    angle: Floats
    """Degrees from the vertical, positive to the image's right."""
    bank_index: NDArray[np.intp]
    """Position in the flattened bank of speckle for a crop that starts at 0, 0."""


@lru_cache(maxsize=4)
def fan(look: Look) -> Fan:
    """The fan of `look`."""
    y, x = np.mgrid[:SIZE, :SIZE].reshape(2, -1).astype(np.float32)
    radius = np.hypot(x - look.fan_apex_x, y - look.fan_apex_y)
    angle = np.degrees(np.arctan2(x - look.fan_apex_x, y - look.fan_apex_y))
    inside = (np.abs(angle) < look.fan_half_angle) & (radius > look.fan_near) & (radius < look.fan_far)
    index = np.flatnonzero(inside)
    row = (radius[index] / RADIAL_STEP).astype(np.intp)
    column = ((angle[index] + TABLE_ANGLE) / ANGULAR_STEP).astype(np.intp)
    bank_index = row * (COLUMNS + BANK_MARGIN) + column
    return Fan(index, x[index], y[index], radius[index], angle[index], bank_index)


@lru_cache(maxsize=4)
def speckle_bank(look: Look) -> NDArray[np.complex64]:
    """Speckle of unit power (ROWS + BANK_MARGIN, COLUMNS + BANK_MARGIN), of which clips cut their fields."""
    rng = np.random.default_rng(20230423)
    shape = (2, ROWS + BANK_MARGIN, COLUMNS + BANK_MARGIN)
    lateral = math.degrees(look.speckle_lateral / look.speckle_reference) / ANGULAR_STEP
    sigma = (0, look.speckle_radial / RADIAL_STEP, lateral)
    real, imaginary = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    bank = real + 1j * imaginary
    return (bank / np.sqrt(np.mean(np.abs(bank) ** 2))).astype(np.complex64)


@lru_cache(maxsize=4)
def texture_bank(look: Look) -> Floats:
    """Coarse texture of tissue with unit standard deviation, of the shape of the speckle bank."""
    rng = np.random.default_rng(20220909)
    shape = (ROWS + BANK_MARGIN, COLUMNS + BANK_MARGIN)
    lateral = math.degrees(look.texture_grain / look.speckle_reference) / ANGULAR_STEP
    field = rng.standard_normal(shape, dtype=np.float32)
    field = ndimage.gaussian_filter(field, (look.texture_grain / RADIAL_STEP, lateral), mode="wrap")
    return (field / field.std()).astype(np.float32)


class Speckle:
    """A speckle field that keeps a static part and forgets the rest, at a slow and at a fast rate."""

    def __init__(self, look: Look, fps: float, take: Take, rng: np.random.Generator, static_share: float) -> None:
        """`take(row, column)` cuts a field out of the bank; it fixes the shape of the result."""
        self.take, self.rng = take, rng
        slow_share = look.slow_share / (1 - look.static_share) * (1 - static_share)
        self.static = take(*self._place()) * np.float32(math.sqrt(static_share))
        shares = (slow_share, 1 - static_share - slow_share)
        self.parts = [take(*self._place()) * np.float32(math.sqrt(share)) for share in shares]
        keep = [math.exp(-1 / (fps * seconds)) for seconds in (look.slow_seconds, look.fast_seconds)]
        self.keep = [np.float32(value) for value in keep]
        # What is new is the mean of two draws in a row: the scanner averages frames, too.
        self.renew = [np.float32(math.sqrt((1 - k) * share / 2)) for k, share in zip(keep, shares, strict=True)]
        self.drawn = [take(*self._place()) for _ in shares]

    def next(self) -> NDArray[np.complex64]:
        """The field of the next frame."""
        total = self.static
        for number, part in enumerate(self.parts):
            part *= self.keep[number]
            fresh = self.take(*self._place())
            part += self.renew[number] * (fresh + self.drawn[number])
            self.drawn[number] = fresh
            total = total + part
        return total

    def _place(self) -> tuple[int, int]:
        row, column = self.rng.integers(0, BANK_MARGIN, size=2)
        return int(row), int(column)


def render(
    plan: ClipPlan, rng: np.random.Generator, details: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Frames, true masks, and what each pixel shows (ELSEWHERE to RIGHT_ATRIUM), all (T, 112, 112).

    Args:
        details: draws what version 2 added, so that version 1 is drawn as ever.
    """
    look, quality = plan.look, plan.patient.quality
    heart, motion, grid = plan.heart, plan.motion, fan(look)
    seen = as_seen(heart, look)
    per_neper = np.float32(look.grey_per_db * 20 / math.log(10))  # grey levels per factor e in amplitude
    levels, anatomy = draw_anatomy(seen, look, quality, rng, details)
    tissue, anatomy = np.exp(levels / per_neper).ravel(), anatomy.ravel()
    haze = np.exp(draw_haze(grid, look, quality, rng, details) / per_neper)
    gain = draw_gain(grid, look, quality, rng) - draw_shadow(grid, look, details)
    curve = draw_display(look, rng)
    bank = speckle_bank(look)
    flat_bank = bank.ravel()

    def crop(row: int, column: int) -> NDArray[np.complex64]:
        return bank[row : row + ROWS, column : column + COLUMNS]

    def at_pixels(row: int, column: int) -> NDArray[np.complex64]:
        return flat_bank[grid.bank_index + (row * bank.shape[1] + column)]

    moving = Speckle(look, plan.patient.fps, crop, rng, look.static_share)
    standing = Speckle(look, plan.patient.fps, at_pixels, rng, look.static_share)
    valve = Valve(seen, look, grid)
    count = plan.patient.frames
    frames = np.zeros((count, SIZE * SIZE), dtype=np.uint8)
    masks, parts = np.zeros((count, SIZE * SIZE), dtype=bool), np.zeros((count, SIZE * SIZE), dtype=np.uint8)
    offset = gain + np.float32(0.16 * per_neper)  # the median of speckle lies 1.6 dB under its mean power
    lowest, highest = DISPLAY_RANGE
    wall = moved_less(seen, look)
    for t in range(count):
        shift = motion.drift[t]
        place = (float(motion.contraction[t]), float(shift[0]), float(shift[1]))
        warp = warp_to_diastole(wall, look, grid, *place)
        inside = warp.inside if wall is heart else warp_to_diastole(heart, look, grid, *place).inside
        amplitude = tissue[warp.table_index]
        valve.draw(amplitude, warp, float(motion.contraction[t]), float(motion.valve[t]), per_neper)  # type: ignore[arg-type]
        echo = amplitude * moving.next().ravel()[warp.table_index] + haze * standing.next()
        power = echo.real**2 + echo.imag**2 + np.float32(look.null_fill) * amplitude**2
        level = np.log(power + np.float32(1e-6)) * (per_neper / 2) + offset
        np.clip(level, lowest, highest - 1, out=level)
        frames[t, grid.index] = curve[((level - lowest) / DISPLAY_STEP).astype(np.intp)]
        masks[t, grid.index], parts[t, grid.index] = inside, anatomy[warp.table_index]
    pictures = frames.reshape(count, SIZE, SIZE)
    if look.blur > 0:
        pictures = ndimage.gaussian_filter(pictures, (0, look.blur, look.blur))
    draw_marks(pictures, look, rng)
    return pictures, masks.reshape(count, SIZE, SIZE), parts.reshape(count, SIZE, SIZE)


# --- motion: where was this piece of tissue at end diastole? ---


@dataclass(frozen=True)
class Warp:
    """The pixels of the fan seen from the heart in one frame; all arrays (pixels of the fan,)."""

    table_index: NDArray[np.intp]
    """Position in the flattened polar table of the tissue that is now at the pixel."""
    along: Floats
    """Pixels from the apex along the axis, minus the length: negative inside the ventricle."""
    across: Floats
    """Pixels from the axis, positive to the image's right."""
    inside: NDArray[np.bool_]
    """The true mask."""


def warp_to_diastole(heart: Heart, look: Look, grid: Fan, contraction: float, shift_x: float, shift_y: float) -> Warp:
    """Follow every pixel back to end diastole: linear inside the ventricle, fading away outside."""
    apex_x, apex_y, along_x, along_y, length = heart.axis(contraction)
    width_table, regional, bend_table, shift_table = heart.tables
    scale = 1 - np.float32(heart.narrowing * contraction) * regional
    x, y = grid.x - np.float32(apex_x + shift_x), grid.y - np.float32(apex_y + shift_y)
    along = x * np.float32(along_x) + y * np.float32(along_y)
    across = x * np.float32(along_y) - y * np.float32(along_x)
    if heart.oblique:
        along = along + np.float32(heart.oblique) * across

    within = np.clip(along, 0, np.float32(length))
    step = (within * np.float32(STEPS / length)).astype(np.intp)
    width = (width_table * scale)[step]
    from_middle = across - (bend_table * scale + np.float32(contraction) * shift_table)[step]
    distance = np.abs(from_middle)
    beyond = distance - width
    is_beside = beyond <= 0
    narrowed = (width_table * (1 - scale))[step]
    outer = distance + narrowed * np.exp(np.minimum(beyond * np.float32(-1 / OUTER_FADE), 0))
    across_then = np.where(is_beside, distance * (1 / scale)[step], outer)
    across_then = np.copysign(across_then, from_middle) + bend_table[step]

    below = np.maximum(along - np.float32(length), 0)
    rise = np.float32(heart.length - length - heart.apex_descent * contraction)
    fade = 1 - np.exp(below * np.float32(-1 / ATRIAL_FADE))
    along_then = within * np.float32(heart.length / length) + np.minimum(along, 0) + below - rise * fade

    if heart.oblique:
        along_then = along_then - np.float32(heart.oblique) * across_then
    start_x, start_y, then_x, then_y, _ = heart.axis(0.0)
    then_x, then_y = np.float32(then_x), np.float32(then_y)  # type: ignore[assignment]
    x = np.float32(start_x - look.fan_apex_x) + along_then * then_x + across_then * then_y
    y = np.float32(start_y - look.fan_apex_y) + along_then * then_y - across_then * then_x
    row = (np.sqrt(x * x + y * y) * np.float32(1 / RADIAL_STEP)).astype(np.int32)
    angle = np.arctan2(x, y) * np.float32(180 / np.pi) + np.float32(TABLE_ANGLE)
    column = (angle * np.float32(1 / ANGULAR_STEP)).astype(np.int32)
    np.minimum(row, ROWS - 1, out=row)
    np.clip(column, 0, COLUMNS - 1, out=column)
    inside = is_beside & (along >= 0) & (along <= np.float32(length))
    return Warp((row * COLUMNS + column).astype(np.intp), along - np.float32(length), across, inside)


# --- anatomy: echo levels of the heart at end diastole ---


def draw_anatomy(
    heart: Heart, look: Look, quality: float, rng: np.random.Generator, details: np.random.Generator
) -> tuple[Floats, NDArray[np.uint8]]:
    """Echo level, in grey levels, of all tissue at end diastole, and its parts: polar tables (ROWS, COLUMNS)."""
    along, across, distance = _around_heart(heart, look)
    s = np.clip(along / heart.length, 0, 1)
    if look.trabeculae > 0:
        row, column = details.integers(0, BANK_MARGIN, size=2)
        bumps = texture_bank(look)[row : row + ROWS, column : column + COLUMNS]
        distance = distance + np.float32(look.trabeculae) * bumps * (1.6 - 1.2 * s)
    width = heart.half_width * heart.profile(s.astype(np.float64)).astype(np.float32)
    base_width = heart.half_width * heart.base
    vary = look.level_sd * rng.standard_normal(7)
    contrast = 0.75 + 0.5 * quality
    septum, lateral = (
        contrast * (look.septum_level + 1.5 * vary[0]),
        contrast * (look.lateral_level + vary[1]),
    )
    apical = contrast * (look.apical_level + vary[2])
    tissue, free_wall = look.tissue_level + 0.8 * vary[3], look.free_wall_level + 0.8 * vary[4]

    is_septal = _soft(-across, 0.35 * heart.half_width)
    is_medial = _soft(0.5 * heart.half_width - across, 0.3 * heart.half_width)
    is_apical = _soft(0.16 * heart.length - along, 0.07 * heart.length)
    wall = lateral + (septum - lateral) * is_septal
    wall = wall + (apical - wall) * is_apical
    thickness = look.wall_thickness * (1 + 0.15 * rng.standard_normal()) * heart.wall
    edge = np.clip((distance - look.edge_start) / (look.edge_end - look.edge_start), 0, 1)
    level = look.cavity_level + (wall - look.cavity_level) * edge
    tissue = look.lung_level + vary[3] + (tissue - look.lung_level - vary[3]) * is_medial
    level += (tissue - wall) * _ramp(distance, thickness, thickness + 4)
    pericardium = np.exp(-(((distance - thickness - 2.5) / 1.6) ** 2)) * (1 - is_septal)
    level += look.pericardium_level * pericardium

    if details.uniform() < look.papillary_share:
        level = np.maximum(level, _papillary_muscle(heart, look, along, across, contrast, details))

    far = along - heart.length
    parts = np.where(across < 0, SEPTUM, WALL) * ((distance <= thickness) & (far <= 2))
    parts[(distance <= 0) & (far <= 0)] = CAVITY
    atrium_depth = rng.uniform(*look.atrium_depth) * look.atrium_size
    level += (look.far_wall_level + vary[5] - tissue) * _ramp(far, atrium_depth - 1, atrium_depth + 4)
    gap = thickness + rng.uniform(0, 2)
    right_width = rng.uniform(*look.right_ventricle_width) * look.right_heart_size
    right_length = rng.uniform(*look.right_ventricle_length) * heart.length * look.right_heart_size
    atrium_width = look.right_atrium_width * look.right_heart_size
    chambers = (
        # centre along and across, half lengths along and across, level
        (
            look.right_ventricle_place * heart.length,
            -(width.max() * 0.96 + gap + right_width),
            right_length,
            right_width,
            look.right_heart_haze,
        ),
        (heart.length + 0.48 * atrium_depth, 1.0, 0.54 * atrium_depth, 0.98 * base_width, look.left_atrium_haze),
        (
            heart.length + 0.48 * atrium_depth,
            -(base_width + 5 + atrium_width),
            0.50 * atrium_depth,
            atrium_width,
            6.0,
        ),
    )
    open_blood = np.zeros_like(level)
    for part, (middle_along, middle_across, half_along, half_across, haze) in enumerate(chambers, RIGHT_VENTRICLE):
        reach = np.hypot((along - middle_along) / half_along, (across - middle_across) / half_across)
        outside = (reach - 1) * min(half_along, half_across)  # roughly pixels
        rim = np.exp(-(((outside - 3.5) / 2.5) ** 2)) * _ramp(distance, 1, 4)
        level += np.maximum(free_wall - level, 0) * rim
        blood = _soft(-outside, 1.3)
        level += (look.cavity_level + haze - level) * blood
        open_blood = np.maximum(open_blood, blood)
        parts[(outside <= 0) & (parts != CAVITY)] = part
    for side in (-1, 1):
        spot = np.hypot(far - 1, (across - side * (base_width + 3.0)) * 0.8)
        level += np.maximum(look.annulus_level + vary[6] - level, 0) * np.exp(-((spot / 3.2) ** 2))

    row, column = rng.integers(0, BANK_MARGIN, size=2)
    texture = texture_bank(look)[row : row + ROWS, column : column + COLUMNS]
    texture = texture + look.texture_skew * (texture * texture - 1)
    solid = edge * (1 - open_blood)
    level += look.texture_sd * texture * (0.25 + 0.75 * solid)
    return level.astype(np.float32), parts.astype(np.uint8)


def _papillary_muscle(
    heart: Heart, look: Look, along: Floats, across: Floats, contrast: float, rng: np.random.Generator
) -> Floats:
    """Echo level of a short muscle that stands on the lateral wall; far below that of blood elsewhere."""
    place, slope = rng.uniform(0.42, 0.66), rng.uniform(-0.1, 0.35)
    half_length, half_width = rng.uniform(4.0, 8.0), rng.uniform(1.2, 2.4)
    wall = heart.half_width * float(heart.profile(np.array(place)))
    from_middle = along - place * heart.length
    off_axis = across - (wall - rng.uniform(1.5, 5.0)) + slope * from_middle
    inside = np.hypot(from_middle / half_length, off_axis / half_width)
    level = contrast * look.papillary_level * rng.uniform(0.8, 1.2)
    return (look.cavity_level + (level - look.cavity_level) * _soft(1 - inside, 0.25)).astype(np.float32)


def _around_heart(heart: Heart, look: Look) -> tuple[Floats, Floats, Floats]:
    """For every entry of the polar table: pixels along and across the axis, and signed distance to the wall.

    The distance is to the outline of the ventricle with the mitral plane left open, negative inside.
    """
    radius = (np.arange(ROWS, dtype=np.float32)[:, None] + 0.5) * RADIAL_STEP
    angle = np.radians((np.arange(COLUMNS, dtype=np.float32) + 0.5) * ANGULAR_STEP - TABLE_ANGLE)
    x, y = look.fan_apex_x + radius * np.sin(angle), look.fan_apex_y + radius * np.cos(angle)
    along, across = _heart_coordinates(heart, x, y)
    pixel_y, pixel_x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    pixel_along, pixel_across = _heart_coordinates(heart, pixel_x, pixel_y)
    width, _, bend, _ = heart.tables
    step = (np.clip(pixel_along / heart.length, 0, 1) * STEPS).astype(np.intp)
    cavity = (np.abs(pixel_across - bend[step]) <= width[step]) & (pixel_along >= 0)
    cavity &= pixel_along <= heart.length + 16
    outside, inside = ndimage.distance_transform_edt(~cavity), ndimage.distance_transform_edt(cavity)
    signed = np.where(cavity, 0.5 - inside, outside - 0.5)
    distance = ndimage.map_coordinates(signed, np.stack([y, x]), order=1, mode="nearest", output=np.float32)
    return along, across, distance


def _heart_coordinates(heart: Heart, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Pixels along and across the axis at end diastole."""
    apex_x, apex_y, along_x, along_y, _ = (np.float32(value) for value in heart.axis(0.0))
    x, y = x - apex_x, y - apex_y
    along, across = x * along_x + y * along_y, x * along_y - y * along_x
    return (along + np.float32(heart.oblique) * across if heart.oblique else along), across


class Valve:
    """The two mitral leaflets: thin bright lines that hinge at the ends of the mitral plane."""

    def __init__(self, heart: Heart, look: Look, grid: Fan) -> None:
        self.heart, self.look = heart, look
        along, across = _heart_coordinates(heart, grid.x, grid.y)
        reach = max(look.leaflet_lengths) * heart.half_width * heart.base + 5
        rise = heart.shortening * heart.length + 3
        near = (np.abs(across) < reach + 3) & (along - heart.length > -reach - rise) & (along - heart.length < 7)
        self.pixels = np.flatnonzero(near)

    def draw(self, amplitude: Floats, warp: Warp, contraction: float, opening: float, per_neper: float) -> None:
        """Raise `amplitude` (pixels of the fan,) in place where a leaflet lies."""
        heart = self.heart
        narrowing = heart.narrowing * contraction * float(heart.tables[1][-1])
        width = heart.half_width * heart.base * (1 - narrowing)
        up, across = -warp.along[self.pixels], warp.across[self.pixels]
        tilt = math.radians(self.look.leaflet_shut_angle + self.look.leaflet_swing * opening)
        nearest = np.full(len(self.pixels), np.inf, dtype=np.float32)
        for side, relative in zip((1, -1), self.look.leaflet_lengths, strict=True):
            length = relative * width
            direction_up, direction_across = np.float32(math.sin(tilt)), np.float32(side * math.cos(tilt))
            from_hinge = across + np.float32(side * width)
            share = np.clip(up * direction_up + from_hinge * direction_across, 0, np.float32(length))
            gap_up, gap_across = up - share * direction_up, from_hinge - share * direction_across
            np.minimum(nearest, gap_up**2 + gap_across**2, out=nearest)
        level = self.look.leaflet_level - np.float32(self.look.leaflet_thinness) * nearest
        amplitude[self.pixels] = np.maximum(amplitude[self.pixels], np.exp(level / per_neper))


# --- the recording: clutter, gain, display ---


def draw_haze(grid: Fan, look: Look, quality: float, rng: np.random.Generator, details: np.random.Generator) -> Floats:
    """Level of the clutter that stands still, (pixels of the fan,); strongest next to the probe."""
    near = np.exp(-(grid.radius - look.fan_near) / look.near_haze_depth)
    level = look.haze_level + look.haze_poor * (0.5 - quality) + look.haze_sd * rng.standard_normal()
    strength = look.near_haze_level * (1 + 0.2 * rng.standard_normal())
    haze = level + strength * near
    if details.uniform() < look.reverberation_share:
        first, width = details.uniform(9, 16), details.uniform(1.0, 2.2)
        for number in (1, 2, 3):
            arc = np.exp(-(((grid.radius - number * first) / width) ** 2))
            haze = haze + look.reverberation_level / number * arc
    return haze.astype(np.float32)


def draw_shadow(grid: Fan, look: Look, rng: np.random.Generator) -> Floats:
    """Levels lost behind a rib or lung, (pixels of the fan,); zeros in most clips."""
    if rng.uniform() >= look.shadow_share:
        return np.zeros_like(grid.radius)
    centre, width = rng.uniform(-0.9, 0.9) * look.fan_half_angle, rng.uniform(3.0, 7.0)
    begin = rng.uniform(8.0, 30.0)
    shadow = np.exp(-(((grid.angle - centre) / width) ** 2)) * _soft(grid.radius - begin, 4.0)
    return (look.shadow_level * rng.uniform(0.5, 1.5) * shadow).astype(np.float32)


def draw_gain(grid: Fan, look: Look, quality: float, rng: np.random.Generator) -> Floats:
    """Levels gained and lost on the way, (pixels of the fan,): depth, beams, flanks, drop-out."""
    gain = look.radial_gain_sd * _smooth(grid.radius / look.fan_far, rng)
    gain += look.angular_gain_sd * _smooth(grid.angle / look.fan_half_angle, rng)
    gain -= look.near_loss * (1 - _ramp(grid.radius, look.fan_near, look.fan_near + 8))
    dark_side = rng.choice((-1, 1)) if rng.uniform() < look.dark_flank_share else 0
    for side in (-1, 1):
        is_dark = side == dark_side
        width = look.flank_width * rng.uniform(0.7, 1.3) * (2.2 if is_dark else 1.0)
        loss = look.flank_loss * (2.0 if is_dark else 1.0)
        to_edge = look.fan_half_angle - side * grid.angle
        gain -= loss * (1 - _ramp(to_edge, 0, width))
    if rng.uniform() < look.dropout_share * (1.5 - quality):
        centre, width = rng.uniform(*look.dropout_angle), rng.uniform(*look.dropout_width)
        begin = rng.uniform(*look.dropout_begin)
        shadow = np.exp(-(((grid.angle - centre) / width) ** 2)) * _soft(grid.radius - begin, 4.0)
        gain -= look.dropout_level * rng.uniform(0.4, 1.2) * shadow
    return gain.astype(np.float32)


def draw_display(look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The display curve: grey value of each level in DISPLAY_RANGE, with the clip's own gain and contrast."""
    level = np.arange(*DISPLAY_RANGE, DISPLAY_STEP)
    level = 45 + (level - 45) * look.contrast * (1 + look.contrast_sd * rng.standard_normal())
    level = level + look.gain_sd * rng.standard_normal()
    grey = look.dark_knee * np.logaddexp(0, level / look.dark_knee)
    room = 255 - look.bright_knee
    over = np.maximum(grey - look.bright_knee, 0)
    grey = np.minimum(grey, look.bright_knee) + room * (1 - np.exp(-over / room))
    return np.rint(np.clip(grey - 0.5, 0, 255)).astype(np.uint8)


def draw_marks(frames: NDArray[np.uint8], look: Look, rng: np.random.Generator) -> None:
    """The scanner's own marks, in place: the probe's mark at the top and a ruler along the right edge."""
    column, row = int(rng.integers(67, 74)), int(rng.integers(3, 5))
    frames[:, row : row + 2, column : column + 2] = int(rng.integers(90, 200))
    slope = math.radians(look.fan_half_angle + 0.8)
    for radius in np.arange(12, 70, rng.uniform(6, 9)):
        x = round(look.fan_apex_x + radius * math.sin(slope) + 1)
        y = round(look.fan_apex_y + radius * math.cos(slope))
        if x < SIZE:
            frames[:, y, x] = 110


def _smooth(position: Floats, rng: np.random.Generator) -> Floats:
    """A random curve of about unit variance over `position`, which spans one or two units."""
    phases = rng.uniform(0, 2 * np.pi, size=3)
    waves = [np.sin(np.pi * (number + 0.5) * position + phase) for number, phase in enumerate(phases)]
    return np.sqrt(2 / 3).astype(np.float32) * np.sum(waves, axis=0)


def _ramp(value: Floats, start: float, end: float) -> Floats:
    """0 up to `start`, 1 from `end`, smooth between."""
    share = np.clip((value - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


def _soft(value: Floats, width: float) -> Floats:
    """A soft step at 0: 0 far below, 1 far above."""
    return 0.5 + 0.5 * np.tanh(value / (2 * width))
