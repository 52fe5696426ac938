"""The ranges that the phantom's pictures are drawn from."""

from dataclasses import dataclass, fields
from typing import Any

from echocycle.errors import EchocycleError


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

    heart_x: float = 63.0
    """Column around which the ventricle's middle lies."""
    heart_x_sd: float = 2.5
    """Spread of that column."""
    heart_y: float = 19.0
    """Row around which its apex lies."""
    heart_y_sd: float = 2.8
    """Spread of that row."""
    heart_tilt: float = -13.0
    """Angle of its long axis from the vertical; negative: the apex is to the image's left."""
    heart_tilt_sd: float = 7.0
    """Spread of that angle."""
    heart_size: float = 1.0
    """Factor on the ventricle's height and width in pixels."""
    heart_slimness: float = 1.0
    """Factor on its width over its length."""
    heart_bend: float = 1.0
    """Factor on the sideways bend of its middle line, which bulges one wall into it."""
    heart_oblique: float = 0.0
    """Slope of its mitral plane against the line across its axis; positive: the lateral hinge lies higher."""
    apex_bluntness: float = 0.0
    """Added to the exponent of the apex's curve, which is about 2.1: less is more pointed."""
    lowest_base: float = 93.0
    """Lowest row that the mitral plane may reach."""

    grey_per_db: float = 5.0
    """Grey levels per decibel of echo amplitude (255 levels show about 55 dB)."""
    dark_knee: float = 12.5
    """Softness with which dark levels run into black."""
    bright_knee: float = 190.0
    """Grey level from which bright echoes are compressed."""
    cavity_level: float = -44.0
    """Echo level of blood; negative levels are mostly black."""
    septum_level: float = 154.0
    """Echo level of the septum, left of the ventricle."""
    lateral_level: float = 82.0
    """Echo level of the lateral wall."""
    apical_level: float = 116.0
    """Echo level of the wall around the apex."""
    tissue_level: float = 82.0
    """Echo level of everything behind the walls."""
    lung_level: float = 42.5
    """Echo level beyond the lateral wall, where lung shades the beams."""
    right_heart_haze: float = 40.0
    """Levels by which the right ventricle is brighter than blood."""
    left_atrium_haze: float = 18.0
    """Levels by which the left atrium is brighter than blood."""
    free_wall_level: float = 75.0
    """Echo level of the walls of the other chambers."""
    annulus_level: float = 120.0
    """Echo level of the two hinges of the mitral valve."""
    leaflet_level: float = 54.0
    """Echo level of the mitral leaflets."""
    far_wall_level: float = 62.0
    """Echo level of the tissue behind the atria."""
    edge_start: float = -6.6
    """Signed distance from the outline at which the endocardial ramp begins (negative is inside)."""
    edge_end: float = 7.0
    """Signed distance from the outline at which the wall is brightest."""
    reader_tightness: float = 0.0
    """How much less the wall moves inwards than the outline until end systole, relative: readers differ in whether
    they trace trabeculae as blood."""
    reader_apex: float = 0.0
    """Pixels by which the reader's outline begins below the tip of the visible cavity."""
    reader_apex_tightness: float = 0.0
    """Share of the ventricle's shortening that only the reader sees, at the tip: it fills with trabeculae until ES."""
    reader_base: float = 0.0
    """Pixels by which it ends above the visible mitral plane."""
    reader_side: float = 0.0
    """Pixels by which it lies further towards the septum than the visible cavity."""
    wall_thickness: float = 6.0
    """Thickness of the wall at end diastole."""

    pericardium_level: float = 6.0
    """Levels added along the thin line outside the lateral wall."""
    atrium_depth: tuple[float, float] = (22.0, 30.0)
    """Range of the depth of the atria, from the mitral plane to their far wall."""
    right_ventricle_width: tuple[float, float] = (9.0, 14.0)
    """Range of half the width of the right ventricle."""
    right_ventricle_length: tuple[float, float] = (0.34, 0.44)
    """Range of half the length of the right ventricle over the length of the left one."""
    right_ventricle_place: float = 0.60
    """Its middle along the left one's axis, 0 (apex) to 1 (mitral plane)."""
    atrium_size: float = 1.0
    """Factor on the depth of the atria."""
    right_heart_size: float = 1.0
    """Factor on the size of the right ventricle and the width of the right atrium."""
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
    valve_at_diastole: float = 0.0
    """How far the mitral valve still is open in the frame called end diastole, 0 to 1; readers differ."""
    papillary_share: float = 0.4
    """Share of clips that show a papillary muscle, on the lateral side of the cavity."""
    papillary_level: float = 50.0
    """Echo level of a papillary muscle."""
    trabeculae: float = 0.9
    """Roughness of the endocardium: standard deviation of its distance, most around the apex."""

    texture_sd: float = 22.0
    """Standard deviation of the tissue's coarse texture."""
    texture_skew: float = 0.25
    """How much more often patches are very bright than very dark; 0 is symmetric."""
    texture_grain: float = 5.0
    """Width of the coarse texture."""
    speckle_radial: float = 0.7
    """Standard deviation of the point spread along the beam."""
    speckle_lateral: float = 0.84
    """Standard deviation of the point spread across the beam, at radius `speckle_reference`."""
    speckle_reference: float = 55.0
    """Radius at which the grains are `speckle_lateral` wide; they widen with depth."""
    null_fill: float = 0.24
    """Share of the mean power that fills the dark nulls of the speckle, as a scanner's compounding does."""
    static_share: float = 0.58
    """Share of the speckle's energy that moves with the tissue and never decorrelates."""
    slow_share: float = 0.24
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
    near_haze_level: float = 101.0
    """What the clutter gains next to the probe."""
    near_haze_depth: float = 37.0
    """Radius over which the clutter next to the probe fades by 1/e."""
    near_loss: float = 34.0
    """Levels lost right next to the probe; regained within 8 pixels."""

    gain_sd: float = 6.0
    """Spread of the overall gain between clips."""
    contrast: float = 1.22
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
    flank_loss: float = 46.0
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

    shadow_share: float = 0.12
    """Share of clips with the shadow of a rib or of lung somewhere in the fan."""
    shadow_level: float = 45.0
    """Levels lost at the centre of a shadow (0.5 to 1.5 times this)."""
    reverberation_share: float = 0.3
    """Share of clips with bright arcs next to the probe, repeated at equal distances."""
    reverberation_level: float = 22.0
    """Levels gained on the first arc; the others are weaker."""

    blur: float = 0.0
    """Standard deviation of a smoothing of the finished picture."""
    drift: float = 1.2
    """Amplitude of the slow shift of the whole heart (breathing, the probe)."""

    def __post_init__(self) -> None:
        require_range(
            min(self.static_share, self.slow_share) >= 0
            and self.static_share < 1
            and self.static_share + self.slow_share <= 1,
            f"look.static_share ({self.static_share}) and look.slow_share ({self.slow_share}) are parts of one "
            "whole: neither is negative, and they add up to 1 at most.",
        )


OLD_LOOK: dict[str, Any] = {
    "left_atrium_haze": 0.0,
    "flank_loss": 62.0,
    "texture_sd": 28.0,
    "right_heart_haze": 28.0,
    "dark_knee": 10.0,
    "contrast": 1.16,
    "haze_level": -45.0,
    "free_wall_level": 78.0,
    "apical_level": 82.0,
    "lateral_level": 58.0,
    "slow_share": 0.17,
    "far_wall_level": 80.0,
    "tissue_level": 72.0,
    "pericardium_level": 24.0,
    "edge_end": 6.0,
    "edge_start": -6.0,
    "papillary_level": 66.0,
    "texture_grain": 3.2,
    "static_share": 0.77,
    "grey_per_db": 6.0,
    "cavity_level": -30.0,
    "septum_level": 166.0,
    "lung_level": 50.0,
    "leaflet_level": 72.0,
    "speckle_lateral": 1.35,
    "wall_thickness": 7.5,
    "near_haze_level": 94.0,
    "near_haze_depth": 27.0,
    "null_fill": 0.13,
    "papillary_share": 0.0,
    "trabeculae": 0.0,
    "shadow_share": 0.0,
    "reverberation_share": 0.0,
}
"""What version 1 had where it differs from today's defaults."""


SECOND_LOOK: dict[str, Any] = {
    # a narrower and deeper fan that is squeezed to a square
    "fan_apex_x": 56.0,
    "fan_apex_y": 0.5,
    "fan_half_angle": 35.0,
    "fan_near": 4.0,
    "fan_far": 110.0,
    "heart_x": 57.0,
    "heart_y": 23.0,
    "heart_y_sd": 4.0,
    "heart_tilt": -4.0,
    "heart_size": 0.84,
    "heart_slimness": 0.86,
    "atrium_size": 1.3,
    "right_heart_size": 1.15,
    "lowest_base": 97.0,
    # less contrast between blood and wall, finer grain
    "cavity_level": 42.0,
    "septum_level": 130.0,
    "lateral_level": 92.0,
    "apical_level": 88.0,
    "tissue_level": 84.0,
    "lung_level": 72.0,
    "right_heart_haze": 6.0,
    "leaflet_level": 112.0,
    "annulus_level": 140.0,
    "edge_start": -3.0,
    "edge_end": 4.0,
    "wall_thickness": 6.0,
    "grey_per_db": 5.0,
    "null_fill": 0.45,
    "speckle_radial": 0.6,
    "speckle_lateral": 1.0,
    "near_haze_level": 70.0,
    "haze_level": 0.0,
    "haze_poor": 40.0,
    "flank_loss": 30.0,
    "dark_flank_share": 0.05,
    "gain_sd": 12.0,
    "contrast": 1.0,
    "contrast_sd": 0.12,
}
"""The second hospital's machine where it differs from the first's; after 50 CAMUS patients."""


@dataclass(frozen=True)
class Ranges:
    """Domain randomisation: for each number of the look the range from which every clip draws its own."""

    fan_apex_x: tuple[float, float] = (53.0, 62.0)
    fan_apex_y: tuple[float, float] = (-3.0, 6.0)
    fan_half_angle: tuple[float, float] = (32.0, 46.0)
    fan_near: tuple[float, float] = (2.0, 9.0)
    fan_far: tuple[float, float] = (100.0, 114.0)
    heart_x: tuple[float, float] = (54.0, 64.0)
    heart_y: tuple[float, float] = (12.0, 32.0)
    heart_tilt: tuple[float, float] = (-20.0, 6.0)
    heart_size: tuple[float, float] = (0.75, 1.2)
    heart_slimness: tuple[float, float] = (0.68, 1.1)
    apex_bluntness: tuple[float, float] = (-0.5, 0.2)
    lowest_base: tuple[float, float] = (92.0, 102.0)
    atrium_size: tuple[float, float] = (0.8, 1.7)
    right_heart_size: tuple[float, float] = (0.8, 1.6)
    left_atrium_haze: tuple[float, float] = (-15.0, 25.0)
    cavity_level: tuple[float, float] = (-25.0, 82.0)
    septum_level: tuple[float, float] = (80.0, 175.0)
    lateral_level: tuple[float, float] = (45.0, 125.0)
    apical_level: tuple[float, float] = (50.0, 130.0)
    tissue_level: tuple[float, float] = (50.0, 120.0)
    lung_level: tuple[float, float] = (20.0, 110.0)
    right_heart_haze: tuple[float, float] = (0.0, 35.0)
    edge_start: tuple[float, float] = (-7.0, -2.0)
    edge_end: tuple[float, float] = (1.0, 5.5)
    reader_tightness: tuple[float, float] = (0.0, 0.35)
    wall_thickness: tuple[float, float] = (4.0, 11.0)
    leaflet_level: tuple[float, float] = (60.0, 150.0)
    leaflet_thinness: tuple[float, float] = (10.0, 40.0)
    valve_at_diastole: tuple[float, float] = (0.0, 1.0)
    papillary_level: tuple[float, float] = (40.0, 110.0)
    trabeculae: tuple[float, float] = (0.0, 1.8)
    grey_per_db: tuple[float, float] = (3.0, 7.0)
    null_fill: tuple[float, float] = (0.1, 0.8)
    texture_sd: tuple[float, float] = (8.0, 34.0)
    texture_grain: tuple[float, float] = (1.6, 5.0)
    speckle_radial: tuple[float, float] = (0.4, 1.2)
    speckle_lateral: tuple[float, float] = (0.7, 2.2)
    haze_level: tuple[float, float] = (-50.0, 45.0)
    near_haze_level: tuple[float, float] = (20.0, 100.0)
    near_haze_depth: tuple[float, float] = (12.0, 45.0)
    near_loss: tuple[float, float] = (0.0, 40.0)
    flank_loss: tuple[float, float] = (0.0, 70.0)
    gain_sd: tuple[float, float] = (6.0, 18.0)
    contrast: tuple[float, float] = (0.7, 1.35)
    dropout_level: tuple[float, float] = (20.0, 70.0)
    blur: tuple[float, float] = (0.0, 0.8)
    reader_apex: tuple[float, float] = (0.0, 0.0)  # new ranges stand last: a look is drawn in this order
    reader_base: tuple[float, float] = (0.0, 0.0)
    heart_bend: tuple[float, float] = (1.0, 1.0)
    heart_oblique: tuple[float, float] = (0.0, 0.0)
    reader_apex_tightness: tuple[float, float] = (0.0, 0.0)
    reader_side: tuple[float, float] = (0.0, 0.0)
    right_ventricle_place: tuple[float, float] = (0.60, 0.60)

    def __post_init__(self) -> None:
        for one in fields(self):
            low, high = getattr(self, one.name)
            require_range(low <= high, f"ranges.{one.name} is {low} to {high}; the first must not be above the second.")


def require_range(condition: bool, message: str) -> None:
    if not condition:
        raise EchocycleError(f"Phantom settings: {message}")
