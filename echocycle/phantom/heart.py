"""Second step of the phantom: the left ventricle's shape and how it beats, in numbers, without a picture.

The ventricle is a solid of revolution about its long axis. Along the axis, s runs from 0 (apex) to 1
(mitral plane); the half width at end diastole is `half_width * profile(s)`. The contraction k runs from 0
(end diastole of the traced beat) to 1 (its end systole) and scales the length by 1 - shortening * k and the
half width by 1 - narrowing * k * regional(s). So the volume is a closed formula of k, and the ejection
fraction is exact.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError
from echocycle.phantom.look import Look
from echocycle.phantom.motion import Motion, draw_motion, draw_motion_1
from echocycle.phantom.patient import Patient, draw_patient, normal_score, stream
from echocycle.phantom.reader import Hand, as_read, draw_hands, volume_ratio
from echocycle.phantom.settings import PhantomSettings

SIZE = 112  # pixels, height and width of the frame


STEPS = 2048  # of the tables along the axis


DISCS = 20


LAZY_WIDTH = 0.22  # half length of a segment that contracts badly, as a share of the axis


MM3_PER_ML = 1000.0


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Heart:
    """One ventricle: shape at end diastole, change until end systole, and place in the image (pixels)."""

    length: float
    half_width: float
    widest: float
    """Share of the axis at which the ventricle is widest, from the apex."""
    base: float
    """Width in the mitral plane over greatest width."""
    bluntness: float
    """Exponent of the super-ellipse of the apex: 2 is an ellipse, more is blunter."""
    bend: float
    """Sideways bend of the middle line, relative to the half width; positive towards the image's right."""
    regional_slope: float
    """How much more the apex narrows than the base, relative."""
    shortening: float
    narrowing: float
    apex_x: float
    apex_y: float
    tilt: float
    """Angle of the long axis from the vertical in degrees; negative: the apex is to the image's left."""
    tilt_change: float
    """Degrees added to the tilt from end diastole to end systole."""
    apex_descent: float
    """Pixels by which the apex moves towards the base until end systole."""
    spacing_mm: float
    """Millimetres per pixel, the same along rows and columns."""
    lazy: float = 0.0
    """Share of the narrowing that is lost at the middle of a segment that contracts badly."""
    lazy_at: float = 0.5
    """Place of that segment along the axis, 0 (apex) to 1 (base)."""
    lean: float = 0.0
    """How much less one side narrows than the other, relative; positive: the septum lags. Volumes do not change."""
    wall: float = 1.0
    """Factor on the thickness of the wall."""
    oblique: float = 0.0
    """Slope of the mitral plane, and of every disc, against the line across the axis; volumes do not change."""

    def scaled(self, factor: float) -> "Heart":
        """The same ventricle, smaller in the picture."""
        return replace(
            self,
            length=self.length * factor,
            half_width=self.half_width * factor,
            apex_descent=self.apex_descent * factor,
            spacing_mm=self.spacing_mm / factor,
        )

    def profile(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half width at `s` over the greatest half width: 0 at the apex, `base` at the mitral plane."""
        below = self.widest
        above = (1 - below) / (1 - self.base**self.bluntness) ** (1 / self.bluntness)
        reach = np.where(s < below, (below - s) / below, (s - below) / above)
        return np.maximum(1 - np.minimum(reach, 1) ** self.bluntness, 0) ** (1 / self.bluntness)

    def regional(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Narrowing at `s` relative to that of the middle of a healthy ventricle."""
        return 1 + self.regional_slope * (0.5 - s) - self.lazy * np.exp(-(((s - self.lazy_at) / LAZY_WIDTH) ** 2))

    def side_shift(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels by which the middle line at `s` moves to the image's left until end systole: one wall lags."""
        shift: NDArray[np.float64] = -self.lean * self.narrowing * self.half_width * self.profile(s) * np.sin(np.pi * s)
        return shift

    @cached_property
    def tables(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Half width, regional narrowing and middle line at end diastole, and the middle line's shift until end
        systole, each (STEPS + 1,); pixels."""
        s = np.linspace(0, 1, STEPS + 1)
        bend = self.bend * self.half_width * np.sin(np.pi * s)
        width = self.half_width * self.profile(s)
        regional, shift = self.regional(s).astype(np.float32), self.side_shift(s).astype(np.float32)
        return width.astype(np.float32), regional, bend.astype(np.float32), shift

    def volumes_ml(self, contraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Volume at each contraction, by the closed formula."""
        squares = _squares(self.profile, self.regional)
        pixels = _volume(self.length, self.half_width, squares, self.shortening, self.narrowing, contraction)
        return pixels * self.spacing_mm**3 / MM3_PER_ML

    def axis(self, contraction: float) -> tuple[float, float, float, float, float]:
        """Apex (x, y), direction of the axis from apex to base (x, y), and length, at one contraction."""
        tilt = math.radians(self.tilt + self.tilt_change * contraction)
        start = math.radians(self.tilt)
        descent = self.apex_descent * contraction
        x = self.apex_x - descent * math.sin(start)
        y = self.apex_y + descent * math.cos(start)
        return x, y, -math.sin(tilt), math.cos(tilt), self.length * (1 - self.shortening * contraction)

    def chords(self, contraction: float, shift: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float64]:
        """The tracing at one contraction as EchoNet stores it: (21, 4), long axis, then discs to the base."""
        x, y, along_x, along_y, length = self.axis(contraction)
        x, y = x + shift[0], y + shift[1]
        s = (np.arange(DISCS) + 0.5) / DISCS
        s[0], s[-1] = 0.01, 1.0  # the first disc lies at the tip, the last in the mitral plane
        scale = 1 - self.narrowing * contraction * self.regional(s)
        half = self.half_width * self.profile(s) * scale
        middle = self.bend * self.half_width * np.sin(np.pi * s) * scale + contraction * self.side_shift(s)
        centre_x, centre_y = x + s * length * along_x, y + s * length * along_y
        right_x, right_y = along_y, -along_x  # unit vector across the axis, to the image's right
        rows = np.empty((1 + DISCS, 4))
        rows[0] = x, y, x + length * along_x, y + length * along_y
        for column, across in ((0, middle - half), (2, middle + half)):
            rows[1:, column] = centre_x + across * right_x
            rows[1:, column + 1] = centre_y + across * right_y
            if self.oblique:
                rows[1:, column] -= self.oblique * across * along_x
                rows[1:, column + 1] -= self.oblique * across * along_y
        return rows


@dataclass(frozen=True)
class ClipPlan:
    """A clip before it is drawn: everything the tables need."""

    patient: Patient
    look: Look
    heart: Heart
    motion: Motion
    hands: tuple[Hand, Hand] | None = None
    """The reader's hand in the two traced frames; None: he draws the truth."""

    @property
    def volumes_ml(self) -> NDArray[np.float64]:
        """Volume of the ventricle in every frame (T,)."""
        return self.heart.volumes_ml(self.motion.contraction)

    @property
    def true_chords(self) -> NDArray[np.float64]:
        """The true outlines of the ED and the ES frame as tracings, (2, 21, 4)."""
        frames = (self.motion.ed_frame, self.motion.es_frame)
        return np.stack([self.heart.chords(self.motion.contraction[t], tuple(self.motion.drift[t])) for t in frames])

    @property
    def chords(self) -> NDArray[np.float64]:
        """Tracings of the ED and the ES frame as the reader drew them, (2, 21, 4)."""
        if self.hands is None:
            return self.true_chords
        return np.stack([as_read(one, hand) for one, hand in zip(self.true_chords, self.hands, strict=True)])

    @property
    def volumes_read(self) -> tuple[float, float]:
        """EDV and ESV in ml as the reader finds them: the true ones, as far off as his outlines are by discs."""
        true = [float(self.volumes_ml[t]) for t in (self.motion.ed_frame, self.motion.es_frame)]
        if self.hands is None:
            return true[0], true[1]
        ratios = [volume_ratio(read, clean) for read, clean in zip(self.chords, self.true_chords, strict=True)]
        # no reader calls the smaller of the two end diastole
        edv = true[0] * ratios[0]
        return edv, min(true[1] * ratios[1], 0.97 * edv)


def plan_clip(index: int, settings: PhantomSettings) -> ClipPlan:
    """Patient, heart and motion of clip `index`."""
    patient, look = draw_patient(index, settings), draw_look(index, settings)
    heart = draw_heart(patient, look, stream(settings, index, "heart"), stream(settings, index, "disease"))
    draw = draw_motion if settings.version > 1 else draw_motion_1
    motion = draw(patient, look, stream(settings, index, "motion"))
    noise = settings.reader_noise
    hands = draw_hands(noise, stream(settings, index, "reader")) if noise else None
    return ClipPlan(patient, look, heart, motion, hands)


def draw_look(index: int, settings: PhantomSettings) -> Look:
    """The look of clip `index`: that of the settings, or with `randomise` one drawn from its ranges."""
    if not settings.randomise:
        return settings.look
    rng = stream(settings, index, "look-ranges")
    drawn: dict[str, Any] = {
        one.name: float(rng.uniform(*getattr(settings.ranges, one.name))) for one in fields(settings.ranges)
    }
    return replace(settings.look, **drawn)


def draw_heart(patient: Patient, look: Look, rng: np.random.Generator, disease: np.random.Generator) -> Heart:
    """A ventricle with the patient's volumes that lies inside the fan."""
    highest = 0.5 * patient.ef / 100
    shape = Heart(
        length=1.0,
        half_width=patient.width_ratio / 2,
        widest=rng.uniform(0.50, 0.66),
        base=rng.uniform(0.62, 0.82),
        bluntness=rng.uniform(1.85, 2.35) + look.apex_bluntness,
        bend=0.09 * look.heart_bend * normal_score(rng, 2),
        regional_slope=rng.uniform(-0.25, 0.4),
        shortening=float(np.clip(0.03 + 0.0023 * patient.ef + 0.02 * normal_score(rng, 2), 0.02, highest)),
        narrowing=0.0,
        apex_x=0.0,
        apex_y=0.0,
        tilt=0.0,
        tilt_change=rng.normal(3.5, 1.5),
        apex_descent=0.0,
        spacing_mm=1.0,
        oblique=look.heart_oblique,
    )
    shape = _remodelled(_diseased(shape, patient, disease), patient, disease)
    width_ratio = patient.width_ratio * look.heart_slimness
    shape = replace(shape, half_width=width_ratio / 2)
    mean_profile = float(shape.profile((np.arange(STEPS) + 0.5) / STEPS).mean())
    length = float(np.clip(math.sqrt(patient.area_px / (patient.width_ratio * mean_profile)), 41, 70))
    length *= look.heart_size
    half_width = length * width_ratio / 2
    squares = _squares(shape.profile, shape.regional)
    pixels = float(_volume(length, half_width, squares, 0.0, 0.0, np.array(0.0)))
    sized = replace(
        shape,
        length=length,
        half_width=half_width,
        narrowing=_narrowing(squares, 1 - patient.ef / 100, shape.shortening),
        apex_descent=rng.uniform(0.05, 0.35) * shape.shortening * length,
        spacing_mm=(patient.edv_ml * MM3_PER_ML / pixels) ** (1 / 3),
    )
    return _place(sized, look, rng, may_shrink=look.heart_size != 1.0 or patient.remodelled > 0)


def _diseased(shape: Heart, patient: Patient, rng: np.random.Generator) -> Heart:
    """The shape with what the patient's disease and the plane do to it; volumes are fitted afterwards."""
    amount, place, side = rng.uniform(size=3)
    if patient.pathology == "dilated":
        shape = replace(shape, bluntness=shape.bluntness + 0.2, regional_slope=0.5 * shape.regional_slope, wall=0.85)
    elif patient.pathology == "hypertrophic":
        shape = replace(shape, wall=1.35 + 0.35 * amount)
    elif patient.pathology == "regional":
        if place < 0.5:  # a weak apex
            shape = replace(shape, lazy=0.5 + 0.4 * amount, lazy_at=0.1 + 0.3 * place)
        else:  # one wall lags
            shape = replace(shape, lean=(0.3 + 0.3 * amount) * (1 if side < 0.5 else -1))
    if patient.foreshortened:
        shape = replace(shape, bluntness=shape.bluntness + 0.25, shortening=0.8 * shape.shortening)
    return shape


def _remodelled(shape: Heart, patient: Patient, rng: np.random.Generator) -> Heart:
    """The shape of a failing heart: blunt, thin-walled, wide at its base; the mitral plane descends less, and a segment
    may hardly narrow at all."""
    amount = patient.remodelled
    if not amount:
        return shape
    blunter, wider, thinner, shorter, weak, place = rng.uniform(size=6)
    shape = replace(
        shape,
        bluntness=shape.bluntness + 0.4 * amount * blunter,
        base=min(shape.base + 0.1 * amount * wider, 0.9),
        wall=shape.wall * (1 - 0.4 * amount * thinner),
        shortening=shape.shortening * (1 - 0.6 * amount * shorter),
    )
    if not shape.lazy and weak < 0.5 * amount:
        shape = replace(shape, lazy=0.4 + weak, lazy_at=0.1 + 0.7 * place)
    return shape


def _place(heart: Heart, look: Look, rng: np.random.Generator, *, may_shrink: bool) -> Heart:
    """The ventricle somewhere in the fan, drawn again until it lies inside; many failures move it deeper."""
    for attempt in range(120 if may_shrink else 60):
        tilt = look.heart_tilt - look.heart_tilt_sd * normal_score(rng, 2) - (5 if rng.uniform() < 0.2 else 0)
        middle_x = look.heart_x + look.heart_x_sd * normal_score(rng, 2)
        apex_y = look.heart_y + look.heart_y_sd * normal_score(rng, 2)
        apex_y += 0.25 * max(-tilt - 15, 0) + 0.12 * max(62 - heart.length, 0)
        apex_y += 0.4 * min(max(attempt - 20, 0), 40)
        if attempt >= 60:  # a slim fan and a large heart: upright, in the middle, and smaller if need be
            share = (attempt - 59) / 20
            tilt, middle_x = tilt * (1 - share), middle_x + (look.fan_apex_x - middle_x) * share
            heart = heart.scaled(0.97)
        apex_x = middle_x + 0.54 * heart.length * math.sin(math.radians(tilt))
        placed = replace(heart, tilt=tilt, apex_x=apex_x, apex_y=apex_y)
        if _is_inside(placed, look):
            return placed
    raise EchocycleError("Phantom settings: the ventricle does not fit into the fan; widen the look's fan.")


def _squares(profile: Curve, regional: Curve) -> tuple[float, float, float]:
    """Integrals over s of profile², profile² regional and profile² regional²."""
    s = (np.arange(STEPS) + 0.5) / STEPS
    square, region = profile(s) ** 2, regional(s)
    return float(square.mean()), float((square * region).mean()), float((square * region**2).mean())


def _volume(
    length: float,
    half_width: float,
    squares: tuple[float, float, float],
    shortening: float,
    narrowing: float,
    contraction: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Volume in cubic pixels of the solid of revolution at each contraction."""
    narrow = narrowing * contraction
    area = squares[0] - 2 * narrow * squares[1] + narrow**2 * squares[2]
    return np.pi * half_width**2 * length * (1 - shortening * contraction) * area


def _narrowing(squares: tuple[float, float, float], remaining: float, shortening: float) -> float:
    """The narrowing that leaves `remaining` (ESV over EDV) of the volume: the smaller root of a quadratic."""
    none, once, twice = squares
    constant = none * (1 - remaining / (1 - shortening))
    return (once - math.sqrt(once**2 - twice * constant)) / twice


def _is_inside(heart: Heart, look: Look) -> bool:
    """Whether the ventricle stays inside the fan and the frame, drift and end systole included."""
    for contraction in (0.0, 1.0):
        chords = heart.chords(contraction)
        x = np.concatenate([chords[:, 0], chords[1:, 2]])
        y = np.concatenate([chords[:, 1], chords[1:, 3]])
        radius = np.hypot(x - look.fan_apex_x, y - look.fan_apex_y)
        angle = np.degrees(np.arctan2(np.abs(x - look.fan_apex_x), y - look.fan_apex_y))
        margin = 1.5 + look.drift
        inside = angle < look.fan_half_angle - np.degrees(margin / radius)
        inside &= radius > look.fan_near + margin
        if not inside.all() or x.min() < margin or x.max() > SIZE - 1 - margin or y.max() > look.lowest_base:
            return False
    return True
