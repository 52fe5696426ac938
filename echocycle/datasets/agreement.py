"""The list against the recording, and tracings against picture and label: what differs is said, with both values."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echocycle.cardiac.discs import disc_volume
from echocycle.datasets.camus_images import tip_side
from echocycle.datasets.findings import Level
from echocycle.datasets.records import Record
from echocycle.recordings.video import Recording

Note = Callable[[Level, str, str], None]
"""Adds a finding on the video at hand: level, kind, message."""

LIT = 12
"""Grey level that a place must reach at some time to count as picture; compressed black stays below."""
MOSTLY_INSIDE = 0.6
"""Part of a mask that must lie on the picture; tracings often reach a little beyond the sector."""
ECHONET_SIZE = 112
SAME_FPS = 0.03
"""Relative difference of two frame rates that are taken for the same; headers round."""
FAR_FROM_LABEL = 25.0
"""EF points between single-plane discs and a biplane label that are hardly possible in the same heart."""
SMALLEST_MASK = 30  # pixels that discs need


def compare_with_list(record: Record, recording: Recording, note: Note) -> None:
    """Say where a list's frames, rate or size differ from what was decoded."""
    frames, (height, width) = len(recording.frames), recording.frames.shape[1:3]
    if record.listed_frames and record.listed_frames != frames:
        note(
            "warning",
            "frames-differ",
            "The listed number of frames is not the decoded one, which counts. First: "
            f"{record.name}: {record.listed_frames} listed, {frames} decoded.",
        )
    if abs(record.fps - recording.fps) > SAME_FPS * recording.fps:  # never where one is unknown
        note(
            "warning",
            "fps-differs",
            "The listed frames a second are not those of the video; the listed ones are used. First: "
            f"{record.name}: {record.fps:g} listed, {recording.fps:g} in the video.",
        )
    if record.height and record.width and (record.height, record.width) != (height, width) and not record.is_traced:
        note(
            "warning",
            "size-differs",
            "The listed size is not that of the video, which counts. First: "
            f"{record.name}: {record.height}x{record.width} listed, {height}x{width} decoded.",
        )


def compare_with_picture(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_], sector: NDArray[np.bool_] | None, note: Note
) -> None:
    """Say where masks (2, height, width) of ED and ES lie on black beside the picture (time, height, width[, 3]).

    Args:
        sector: where the picture is, (height, width); None where that is not known.
    """
    picture = _lit(frames) if sector is None else sector
    inside = min(_share(mask, picture) for mask in masks)
    if inside >= MOSTLY_INSIDE or not picture.any():
        return
    height, width = picture.shape
    guesses = {
        "are x and y exchanged?": (0.0, 1.0, 1.0, 0.0),
        f"are they those of a {ECHONET_SIZE}x{ECHONET_SIZE} picture?": (
            height / ECHONET_SIZE,
            0.0,
            0.0,
            width / ECHONET_SIZE,
        ),
    }
    shares = {text: min(_share_moved(mask, picture, matrix) for mask in masks) for text, matrix in guesses.items()}
    likely = max(shares, key=lambda text: shares[text])
    guess = likely if shares[likely] > max(0.9, inside + 0.3) else "are they those of another picture?"
    note(
        "warning",
        "tracing-outside-picture",
        f"Tracings lie on the black beside the picture. Look at their coordinates: {guess} First: "
        f"{100 * inside:.0f} % of a mask inside the picture of {height}x{width} pixels.",
    )


def _lit(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a video is ever bright, with what lies between: a ventricle itself may stay black."""
    from skimage.morphology import convex_hull_image

    brightest = frames.max(axis=0)
    lit = (brightest if brightest.ndim == 2 else brightest.max(axis=-1)) > LIT
    hull: NDArray[np.bool_] = convex_hull_image(lit) if lit.any() else lit
    return hull


def _share(mask: NDArray[np.bool_], picture: NDArray[np.bool_]) -> float:
    return float(picture[mask].mean()) if mask.any() else 1.0


def _share_moved(mask: NDArray[np.bool_], picture: NDArray[np.bool_], matrix: tuple[float, ...]) -> float:
    """The same for a mask whose (row, column) are multiplied by a matrix; what leaves the frame is outside."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0.0
    a, b, c, d = matrix
    at_row, at_column = np.rint(a * rows + b * columns).astype(int), np.rint(c * rows + d * columns).astype(int)
    there = (at_row >= 0) & (at_row < picture.shape[0]) & (at_column >= 0) & (at_column < picture.shape[1])
    return float(picture[at_row[there], at_column[there]].sum() / len(rows))


def compare_with_label(masks: NDArray[np.bool_], ef: float, spacing_mm: tuple[float, float], note: Note) -> None:
    """Say where EF by discs of the traced ED and ES (2, height, width) is far from the listed EF in percent."""
    if math.isnan(ef) or min(mask.sum() for mask in masks) < SMALLEST_MASK:
        return
    spacing = None if any(math.isnan(side) for side in spacing_mm) else spacing_mm
    ed, es = (disc_volume(mask.astype(float), spacing).volume for mask in masks)
    if not ed > 0:
        return
    by_discs = 100 * (ed - es) / ed
    if abs(by_discs - ef) > FAR_FROM_LABEL:
        note(
            "warning",
            "discs-contradict-ef",
            f"EF by discs of the tracings differs by more than {FAR_FROM_LABEL:g} points from the listed EF: is it "
            f"the label or tracing of another video? First: {by_discs:.0f} % by discs, {ef:.0f} % listed.",
        )


def check_orientation(frames: NDArray[np.uint8], note: Note) -> None:
    """Say where the narrow end of the sector is not at the top of pictures (time, height, width[, 3])."""
    grey = frames if frames.ndim == 3 else frames[..., 1]
    tip = tip_side(np.where(grey > LIT, grey, 0))
    if tip not in (None, "top"):
        note(
            "warning",
            "sector-turned",
            f"The narrow end of the sector is not at the top, where the networks expect it. First: at the {tip}. "
            "Turn the video, or leave it out.",
        )
