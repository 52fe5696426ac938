"""The phantom's settings: how many clips, of what kind, and every number of their look. Imports nothing heavy."""

from dataclasses import dataclass, field

from echocycle.errors import EchocycleError

PHANTOM_VERSION = 1
SHORTEST_CLIP = 28  # frames; a systole of 0.47 s at 50 frames per second still fits


@dataclass(frozen=True)
class Look:
    """How the picture looks, in numbers. Lengths in pixels, angles in degrees, levels in grey values."""

    fan_apex_x: float = 61.3
    """Column of the point in which the fan's edges meet."""
    fan_apex_y: float = 4.7
    """Row of the point in which the fan's edges meet."""
    fan_half_angle: float = 44.6
    """Angle between the vertical and an edge of the fan."""
    fan_near: float = 7.8
    """Radius of the first echo."""
    fan_far: float = 103.9
    """Radius of the far arc."""

    grey_per_db: float = 6.0
    """Grey levels per decibel of echo amplitude (255 levels show about 55 dB)."""
    dark_knee: float = 10.0
    """Softness with which dark levels run into black."""
    bright_knee: float = 190.0
    """Grey level from which bright echoes are compressed."""
    cavity_level: float = -30.0
    """Echo level of blood; negative levels are mostly black."""
    septum_level: float = 166.0
    """Echo level of the septum, left of the ventricle."""
    lateral_level: float = 58.0
    """Echo level of the lateral wall."""
    apical_level: float = 82.0
    """Echo level of the wall around the apex."""
    tissue_level: float = 72.0
    """Echo level of everything behind the walls."""
    lung_level: float = 50.0
    """Echo level beyond the lateral wall, where lung shades the beams."""
    right_heart_haze: float = 28.0
    """Levels by which the right ventricle is brighter than blood."""
    free_wall_level: float = 78.0
    """Echo level of the walls of the other chambers."""
    annulus_level: float = 120.0
    """Echo level of the two hinges of the mitral valve."""
    leaflet_level: float = 72.0
    """Echo level of the mitral leaflets."""
    far_wall_level: float = 80.0
    """Echo level of the tissue behind the atria."""
    edge_start: float = -6.0
    """Signed distance from the outline at which the endocardial ramp begins (negative is inside)."""
    edge_end: float = 6.0
    """Signed distance from the outline at which the wall is brightest."""
    wall_thickness: float = 7.5
    """Thickness of the wall at end diastole."""

    pericardium_level: float = 24.0
    """Levels added along the thin line outside the lateral wall."""
    atrium_depth: tuple[float, float] = (22.0, 30.0)
    """Range of the depth of the atria, from the mitral plane to their far wall."""
    right_ventricle_width: tuple[float, float] = (9.0, 14.0)
    """Range of half the width of the right ventricle."""
    right_ventricle_length: tuple[float, float] = (0.34, 0.44)
    """Range of half the length of the right ventricle over the length of the left one."""
    right_atrium_width: float = 11.0
    """Half the width of the right atrium."""
    leaflet_lengths: tuple[float, float] = (1.25, 0.80)
    """Lengths of the septal and the lateral mitral leaflet over half the width of the mitral plane."""
    leaflet_thinness: float = 26.0
    """Levels a leaflet loses at a distance of one pixel; grows with the square."""
    leaflet_shut_angle: float = 9.0
    """Angle between a shut leaflet and the mitral plane."""
    leaflet_swing: float = 66.0
    """Angle by which a leaflet swings open."""

    texture_sd: float = 28.0
    """Standard deviation of the tissue's coarse texture."""
    texture_skew: float = 0.25
    """How much more often patches are very bright than very dark; 0 is symmetric."""
    texture_grain: float = 3.2
    """Width of the coarse texture."""
    speckle_radial: float = 0.7
    """Standard deviation of the point spread along the beam."""
    speckle_lateral: float = 1.35
    """Standard deviation of the point spread across the beam, at radius `speckle_reference`."""
    speckle_reference: float = 55.0
    """Radius at which the grains are `speckle_lateral` wide; they widen with depth."""
    null_fill: float = 0.13
    """Share of the mean power that fills the dark nulls of the speckle, as a scanner's compounding does."""
    static_share: float = 0.77
    """Share of the speckle's energy that moves with the tissue and never decorrelates."""
    slow_share: float = 0.17
    """Share that moves with the tissue and decorrelates with `slow_seconds`; the rest has `fast_seconds`."""
    slow_seconds: float = 0.2
    """Time constant of the slowly changing speckle."""
    fast_seconds: float = 0.026
    """Time constant of the quickly changing speckle."""

    haze_level: float = -45.0
    """Level of the clutter that stands still while the heart moves."""
    haze_sd: float = 4.0
    """Spread of that level between clips."""
    haze_poor: float = 12.0
    """Levels by which the clutter of the poorest clips exceeds that of the best."""
    near_haze_level: float = 94.0
    """What the clutter gains next to the probe."""
    near_haze_depth: float = 27.0
    """Radius over which the clutter next to the probe fades by 1/e."""
    near_loss: float = 34.0
    """Levels lost right next to the probe; regained within 8 pixels."""

    gain_sd: float = 6.0
    """Spread of the overall gain between clips."""
    contrast: float = 1.16
    """Slope of the display curve around level 45."""
    contrast_sd: float = 0.08
    """Spread of the contrast between clips (relative)."""
    level_sd: float = 18.0
    """Spread of each region's level between clips."""
    radial_gain_sd: float = 7.0
    """Spread of the slowly varying gain along depth."""
    angular_gain_sd: float = 9.0
    """Spread of the slowly varying gain across beams."""
    flank_width: float = 9.0
    """Angle over which the picture fades towards the fan's edges."""
    flank_loss: float = 62.0
    """Levels lost at the very edge."""
    dark_flank_share: float = 0.2
    """Share of clips in which one flank is almost black."""
    dropout_share: float = 0.5
    """Share of clips whose lateral wall partly drops out."""
    dropout_level: float = 48.0
    """Levels lost at the centre of a drop-out (0.4 to 1.2 times this)."""
    dropout_angle: tuple[float, float] = (14.0, 36.0)
    """Range of the angle at which the drop-out lies."""
    dropout_width: tuple[float, float] = (4.0, 8.0)
    """Range of its width."""
    dropout_begin: tuple[float, float] = (15.0, 45.0)
    """Range of the radius from which on the beam is shaded."""

    drift: float = 1.2
    """Amplitude of the slow shift of the whole heart (breathing, the probe)."""

    def __post_init__(self) -> None:
        _require(
            min(self.static_share, self.slow_share) >= 0
            and self.static_share < 1
            and self.static_share + self.slow_share <= 1,
            f"look.static_share ({self.static_share}) and look.slow_share ({self.slow_share}) are parts of one "
            "whole: neither is negative, and they add up to 1 at most.",
        )


@dataclass(frozen=True)
class PhantomSettings:
    """What to make. The same settings give the same bytes; a clip depends on the seed and its index."""

    videos: int = 560
    """Number of clips."""
    val: int = 80
    """How many of them are in the split VAL."""
    test: int = 80
    """How many of them are in the split TEST; the rest is TRAIN."""
    seed: int = 0
    """Seed of everything that is drawn."""
    frames_median: int = 171
    """Median number of frames of a clip; 171 is that of the real clips."""
    frames_min: int = SHORTEST_CLIP
    """Fewest frames of a clip; a very fast recording may get a few more, so that one systole fits."""
    frames_max: int = 1002
    """Most frames of a clip."""
    usual_fps_share: float = 0.79
    """Share of clips with 50 frames per second; the rest has 18 to 138."""
    irregular_share: float = 0.08
    """Share of clips with an irregular heart rhythm."""
    quality: float = 0.5
    """Image quality from 0 (poor: low contrast, much drop-out) to 1 (good); 0.5 resembles real clips."""
    look: Look = field(default_factory=Look)
    """The numbers of the rendering."""

    def __post_init__(self) -> None:
        _require(self.videos >= 1, f"videos is {self.videos}; make at least one.")
        _require(self.val >= 0 and self.test >= 0, f"val is {self.val} and test {self.test}; neither is negative.")
        _require(
            self.val + self.test < self.videos,
            f"val ({self.val}) and test ({self.test}) leave none of {self.videos} videos for training; "
            "lower them or raise videos.",
        )
        _require(self.seed >= 0, f"seed is {self.seed}; it must not be negative.")
        _require(
            SHORTEST_CLIP <= self.frames_min <= self.frames_median <= self.frames_max,
            f"frames_min, frames_median and frames_max are {self.frames_min}, {self.frames_median} and "
            f"{self.frames_max}; they must rise in this order, from {SHORTEST_CLIP} on (one heart beat).",
        )
        for name in ("usual_fps_share", "irregular_share", "quality"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} is {value}; it must lie between 0 and 1.")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise EchocycleError(f"Phantom settings: {message}")
