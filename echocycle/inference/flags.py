"""Doubts about one result, each with its reason: what a person must look at before an EF is used.

The limits were set on sound phantom clips of one seed and five ways of spoiling them, and tried on other ways, other
clips and another look (`scripts/flags.py`, docs/results/flags.md); those on rates and times are physiology's.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from echocycle.inference.signs import Signs
from echocycle.prediction import Flag, Prediction, Severity

GRAVITY: tuple[Severity, ...] = ("unusable", "review", "note")


@dataclass(frozen=True)
class Limits:
    """Where a sign becomes a doubt; the units are those of `Signs`."""

    most_dim: float = 0.2
    least_continuity: float = 0.93
    """Between frames in one pair of twenty; sound clips stay above 0.96."""
    lowest_continuity: float = 0.8
    """Between frames anywhere: a cut. Sound clips stay above 0.9."""
    least_found: float = 0.9
    least_overlap: float = 0.86
    most_jump: float = 0.045
    least_swing: float = 0.07
    """EF 8 % and less look so too, and are worth a look."""
    fewest_beats: int = 1
    rates: tuple[float, float] = (40.0, 130.0)
    """Beats a minute at rest; outside, the heart is ill or the frame rate is wrong."""
    systole_s: tuple[float, float] = (0.2, 0.6)
    fps: tuple[float, float] = (15.0, 200.0)
    most_tilt: float = 50.0
    slimness: tuple[float, float] = (1.27, 2.4)
    most_at_border: float = 0.08
    least_apex_gap: float = 0.08
    least_contrast: float = 0.55
    least_wall: float = 0.62
    least_sure: float = 0.48
    """Of the suspected pixels; it depends on the segmenter, and a badly trained one is never sure."""
    widest_fan_top: float = 0.5
    most_unlike: int = 1
    """Measures that may lie outside the training videos' ranges without more than a note."""


LIMITS = Limits()


def flags_of_signs(signs: Signs, limits: Limits = LIMITS) -> list[Flag]:
    """The doubts that a recording and its masks raise by themselves, whatever the EF; the gravest first."""
    return graded([*_picture(signs, limits), *_masks(signs, limits), *_beats(signs, limits)])


def flags_of_result(result: Prediction, unlike: list[str], header: list[str], limits: Limits = LIMITS) -> list[Flag]:
    """The doubts that the result, its model and the file's header raise.

    Args:
        result: with its headline.
        unlike: what about the recording is unlike the training videos, a sentence each.
        header: what the header hints at, a sentence each.
    """
    found = []
    if result.not_measured is not None:
        found.append(Flag("not_measured", result.not_measured, "unusable"))
    if result.headline == "neither":
        found.append(Flag("disagreement", result.headline_reason, "review"))
    if result.irregular:
        told = f"The times between beats vary by {result.rate_variation:.0f} %: the rhythm is irregular."
        found.append(Flag("irregular_rhythm", told, "note"))
    if unlike:
        grave: Severity = "review" if len(unlike) > limits.most_unlike else "note"
        found.append(Flag("unlike_training", " ".join(unlike), grave))
    found += [Flag("other_kind", f"{told[:1].upper()}{told[1:]}.", "review") for told in header]
    return found


def graded(flags: list[Flag]) -> list[Flag]:
    """The gravest first, otherwise as they came."""
    return sorted(flags, key=lambda flag: GRAVITY.index(flag.severity))


def _picture(signs: Signs, limits: Limits) -> Iterator[Flag]:
    if signs.dim_share > limits.most_dim:
        yield _review("dark_frames", f"{signs.dim_share:.0%} of the frames are almost black.")
    if signs.continuity < limits.least_continuity:
        yield _review(
            "abrupt_changes",
            "The picture changes abruptly from frame to frame (the probe moves, frames are lost or out of order, there "
            f"is noise, or several recordings are in one): one pair in twenty correlates by {signs.continuity:.2f} or "
            f"less; in sound recordings it is above {limits.least_continuity:g}.",
        )
    elif signs.lowest_continuity < limits.lowest_continuity:
        yield _review(
            "cut",
            f"The picture changes altogether from one frame to the next (correlation {signs.lowest_continuity:.2f}): "
            "there may be two recordings in one.",
        )
    if signs.fan_top > limits.widest_fan_top:
        yield _review("no_fan", "The picture is no fan: it may be an M-mode, a Doppler trace or a rendered picture.")
    if _outside(signs.fps, limits.fps):
        yield _review(
            "frame_rate",
            f"{signs.fps:.3g} frames a second are outside {_between(limits.fps)}: ED and ES may lie "
            "between frames, or the file's frame rate is wrong.",
        )


def _masks(signs: Signs, limits: Limits) -> Iterator[Flag]:
    if signs.found_share < limits.least_found:
        yield _review("ventricle_lost", f"The left ventricle was found in {signs.found_share:.0%} of the frames only.")
    if signs.overlap < limits.least_overlap or signs.jump > limits.most_jump:
        yield _review(
            "masks_jump",
            f"The masks jump: in one pair of frames in twenty they overlap by less than {signs.overlap:.2f} (Dice), or "
            f"move by more than {signs.jump:.1%} of the ventricle's length.",
        )
    if signs.contrast < limits.least_contrast or signs.wall_share < limits.least_wall:
        yield _review(
            "no_ventricle_seen",
            f"Where the ventricle was marked, a wall is seen in {signs.wall_share:.0%} of the directions, brighter "
            f"than the cavity by {signs.contrast:.2f} standard deviations: there may be none, or the picture is too "
            "poor.",
        )
    if signs.sureness < limits.least_sure:
        yield _review(
            "unsure_masks",
            f"The segmenter is sure of {signs.sureness:.0%} of what it marks; in sound recordings of over "
            f"{limits.least_sure:.0%}. It may be another view, another organ, or too poor a picture.",
        )
    if signs.turned_sureness > signs.sureness:
        yield _review(
            "upside_down", "The segmenter is surer of the picture when it is turned upside down: the apex may be below."
        )
    if signs.apex_gap < limits.least_apex_gap:
        yield _review("apex_cut_off", "The ventricle reaches the top of the picture: its apex may be cut off.")
    if signs.border_share > limits.most_at_border:
        yield _review(
            "leaves_sector", f"{signs.border_share:.0%} of the ventricle's outline lies at the border of the picture."
        )
    low, high = limits.slimness
    if signs.tilt > limits.most_tilt or not low <= signs.slimness <= high:
        yield _review(
            "not_apical",
            f"This may be no apical four-chamber view: the ventricle's long axis is {signs.tilt:.0f} degrees from the "
            f"vertical, and {signs.slimness:.1f} times as long as the ventricle is wide.",
        )
    if signs.swing < limits.least_swing:
        yield _review("hardly_moves", f"The ventricle's area changes by {signs.swing:.0%} only: a still, or no beat.")


def _outside(value: float, ends: tuple[float, float]) -> bool:
    """Whether a number is known and lies outside a range."""
    return math.isfinite(value) and not ends[0] <= value <= ends[1]


def _between(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g} to {ends[1]:g}"


def _beats(signs: Signs, limits: Limits) -> Iterator[Flag]:
    if signs.whole_beats < limits.fewest_beats or not math.isfinite(signs.rate):
        yield _review(
            "few_cycles",
            f"{signs.whole_beats} whole beats were found in {signs.seconds:.1f} s; with fewer than one and a third no "
            "cycle can be told from another.",
        )
    if _outside(signs.rate, limits.rates):
        yield _review(
            "heart_rate",
            f"{signs.rate:.0f} beats a minute are outside {_between(limits.rates)}: an extreme rate, or the file's "
            "frame rate is wrong.",
        )
    if _outside(signs.systole_s, limits.systole_s):
        yield _review(
            "systole_length",
            f"From ED to ES it takes {signs.systole_s:.2f} s, which is outside {_between(limits.systole_s)}: no beat, "
            "or the file's frame rate is wrong.",
        )


def _review(code: str, sentence: str) -> Flag:
    return Flag(code, sentence, "review")
