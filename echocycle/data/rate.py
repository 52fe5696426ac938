"""Time in frames or in seconds: which stored frame each place of another frame rate takes.

A network learns how far apart the frames of its clips are. A recording at another rate shows it a slower or a faster
heart. In frames, as the paper counts, clips take every n-th stored frame whatever the rate; in seconds, each place on
the grid of the wanted rate takes the stored frame nearest in time. No frame is blended of two: speckle would blur.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Time = Literal["auto", "frames", "seconds"]
SAME = 0.02
"""Relative difference up to which two rates are the same: headers round."""


def places_at_rate(
    count: int, fps: float, rate: float, keep: Sequence[int] = ()
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Which of `count` frames at `fps` a second each place at `rate` a second takes, (places,); all where they agree.

    Args:
        keep: frames that must be there, such as traced ones: the place nearest in time takes each.

    Returns:
        The places, and where among them the frames of `keep` are.
    """
    if not math.isfinite(fps) or abs(fps - rate) <= SAME * rate:
        return np.arange(count), tuple(keep)
    places = np.rint(np.arange(math.floor((count - 1) * rate / fps + 1e-9) + 1) * fps / rate).astype(np.int64)
    places = places.clip(0, count - 1)
    where = tuple(int(np.abs(places - frame).argmin()) for frame in keep)
    if len(set(where)) < len(set(keep)):  # at so low a rate ED and ES would be one frame
        where = tuple(min(round(frame * rate / fps), len(places) - 1) for frame in keep)
    for place, frame in zip(where, keep, strict=True):
        places[place] = frame
    return places, where


def training_rate(reference: dict[str, Any]) -> float | None:
    """Frames a second of a model's training videos, the usual one; None where a model does not say."""
    if (rate := reference.get("fps")) and math.isfinite(rate):
        return float(rate)
    low, high = reference.get("ranges", {}).get("fps", (0.0, 0.0))
    return (low + high) / 2 if high > 0 else None


def is_outside(fps: float, reference: dict[str, Any]) -> bool:
    """Whether a rate is none of those that a model was trained on; an unknown one is not."""
    low, high = reference.get("ranges", {}).get("fps", (0.0, 0.0))
    return math.isfinite(fps) and high > 0 and not low * (1 - SAME) <= fps <= high * (1 + SAME)


def rate_for(asked: Time, fps: float, reference: dict[str, Any]) -> float | None:
    """The rate that a recording is resampled to for a model; None where its frames are taken as they are.

    Args:
        asked: `frames`, `seconds`, or `auto`: seconds where the recording's rate is outside the training range.
        fps: of the recording; NaN where unknown, which can only be taken in frames.
    """
    rate = training_rate(reference)
    wanted = asked == "seconds" or (asked == "auto" and is_outside(fps, reference))
    return rate if wanted and math.isfinite(fps) else None
