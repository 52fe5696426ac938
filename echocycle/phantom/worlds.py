"""Named worlds: settings of the phantom that belong together."""

from dataclasses import replace
from typing import Any

from echocycle.phantom.look import Look, Ranges

HARD_LOOK: dict[str, Any] = {
    "dropout_share": 0.8,
    "dropout_width": (5.0, 12.0),
    "dropout_angle": (6.0, 36.0),
    "shadow_share": 0.35,
    "reverberation_share": 0.5,
    "dark_flank_share": 0.35,
    "papillary_share": 0.6,
    "heart_tilt_sd": 10.0,
    "level_sd": 24.0,
}
HARD_RANGES = replace(
    Ranges(),
    fan_half_angle=(38.0, 46.0),
    heart_x=(57.0, 66.0),
    heart_y=(14.0, 26.0),
    heart_tilt=(-22.0, 0.0),
    heart_size=(0.8, 1.1),
    heart_slimness=(0.85, 1.1),
    cavity_level=(-45.0, 55.0),
    haze_level=(-50.0, 35.0),
    septum_level=(90.0, 165.0),
    lateral_level=(45.0, 110.0),
    apical_level=(50.0, 125.0),
    trabeculae=(0.5, 1.8),
    reader_tightness=(0.0, 0.0),
    dropout_level=(40.0, 90.0),
    contrast=(0.8, 1.3),
    blur=(0.0, 0.4),
)
"""Several machines: every clip has a look of its own, from near EchoNet-Dynamic's to hazy ones with little contrast."""


def world_settings(world: str) -> dict[str, Any]:
    """The settings of a world, by name of the field of `PhantomSettings`; those of `usual` are its defaults."""
    if world == "usual":
        return {}
    return {
        "randomise": True,
        "ranges": HARD_RANGES,
        "look": Look(**HARD_LOOK),
        "foreshortened_share": 0.35,
        "irregular_share": 0.12,
        "reader_noise": 1.0,
    }
