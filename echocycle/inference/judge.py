"""The last step of a prediction: how far its EF can be trusted, whether the two EF agree, what must be looked at."""

import math
from dataclasses import replace

import numpy as np

from echocycle.calibration import LEVEL, Calibration
from echocycle.cardiac.beats import USUAL_FPS
from echocycle.inference.flags import flags_of_result, flags_of_signs, graded
from echocycle.inference.measured import Measured
from echocycle.inference.signs import signs_of
from echocycle.prediction import Category, EfInterval, Headline, Prediction

USUAL_DISAGREEMENT = 15.0
"""EF points by which regression and discs may differ where no calibration says how far either may be off."""
UNCALIBRATED = "The model was not calibrated, so it is not known how far its EF may be off."


def judged(
    result: Prediction,
    measured: Measured | None,
    calibration: Calibration | None,
    *,
    unlike: list[str],
    unlikeness: float,
    header: list[str],
    sure: tuple[float, float],
) -> Prediction:
    """The result with intervals, headline, category and flags.

    Args:
        result: with its EFs, as far as there are any; `ef_clips` are empty where the model has no EF network.
        measured: what the masks gave; None without masks.
        unlike: what about the recording is unlike the training videos, a sentence each.
        unlikeness: the same as a number (`data/domain_shift.unlikeness`).
        header: what the file's header hints at, a sentence each.
        sure: `signs.sureness` of the masks, and of frames that were shown upside down.
    """
    regressed = result.ef if result.ef_clips else None
    by_discs = result.ef_by_discs if result.not_measured is None else None
    difference = None if regressed is None or by_discs is None else regressed - by_discs
    first = second = None
    likely: dict[str, dict[Category, float]] = {}
    if regressed is not None:
        spread = float(np.std([ef for _, ef in result.ef_clips])) if len(result.ef_clips) > 1 else math.nan
        off = math.nan if difference is None else difference
        first = no_interval()
        if calibration is not None:
            first, likely["regression"] = calibration.regression_interval(regressed, spread, off, unlikeness)
    if by_discs is not None:
        second = no_interval()
        if calibration is not None:
            second, likely["discs"] = calibration.discs_interval(by_discs)
    headline, reason = headline_of(regressed, by_discs, first, second)
    result = replace(
        result,
        interval=first,
        interval_by_discs=second,
        headline=headline,
        headline_reason=reason,
        ef_disagreement=difference,
        category_probabilities=likely.get(headline, {}),
    )
    flags = flags_of_result(result, unlike, header)
    if measured is not None and result.frames is not None:
        fps = result.fps if math.isfinite(result.fps) else USUAL_FPS
        signs = signs_of(result.frames, measured.marked, fps, measured.discs, measured.rhythm, sure)
        flags += flags_of_signs(signs)
    return replace(result, flags=graded(flags))


def no_interval() -> EfInterval:
    """The interval of a model that was not calibrated."""
    return EfInterval(None, None, LEVEL, "none", 0, UNCALIBRATED)


def headline_of(
    regressed: float | None, by_discs: float | None, first: EfInterval | None, second: EfInterval | None
) -> tuple[Headline, str]:
    """Which EF is the answer, and why.

    Two answers contradict each other where they differ by more than the root of the sum of their intervals' squared
    half widths: more than two errors that have nothing to do with each other would make in nine of ten recordings.
    """
    if regressed is None:
        if by_discs is None:
            return "none", "No EF was measured."
        return "discs", "The model has no EF network; the EF is by discs from the masks."
    if by_discs is None:
        return "regression", "The masks gave no EF by discs to compare with."
    widths = [_half_width(each) for each in (first, second)]
    known = [width for width in widths if width is not None]
    allowed = math.hypot(*known) if len(known) == 2 else USUAL_DISAGREEMENT
    basis = "their intervals allow" if len(known) == 2 else "is usual"
    difference = abs(regressed - by_discs)
    if difference > allowed:
        return "neither", (
            f"The EF is {regressed:.0f} % by video and {by_discs:.0f} % by discs: they differ by {difference:.0f} "
            f"points, and {allowed:.0f} are what {basis}. Neither is the answer."
        )
    told = f"EF by video and by discs differ by {difference:.0f} points; {allowed:.0f} are what {basis}."
    return "regression", told


def _half_width(interval: EfInterval | None) -> float | None:
    """Half the width of an interval that calibration videos made; None of a naive one, which allows anything."""
    if interval is None or interval.kind not in ("conformal", "plain") or interval.low is None or interval.high is None:
        return None
    return (interval.high - interval.low) / 2
