"""More than eight bits per pixel made eight, so that the picture looks as it does in a viewer.

In this order: the window of the header, if the picture shows within it; the eight upper of the stored bits, if the
values reach that far; else the eight upper of the bits that occur.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from echocycle.recordings.budget import samples
from echocycle.recordings.header import number, numbers

if TYPE_CHECKING:
    from pydicom import Dataset

Levels = Callable[[np.ndarray], np.ndarray]


def eight_bits(frames: np.ndarray, dataset: "Dataset", stored: int) -> tuple[np.ndarray, list[str]]:
    """uint8 of integer `frames` (time, height, width[, 3]) of which `stored` bits are used, and notes."""
    if frames.dtype == np.uint8:
        return frames, []
    levels, notes = _levels(frames, dataset, stored)
    scaled = np.empty(frames.shape, np.uint8)
    for index, frame in enumerate(frames):  # frame by frame: in floating point the whole would be eight times as large
        scaled[index] = levels(frame)
    return scaled, notes


def _levels(frames: np.ndarray, dataset: "Dataset", stored: int) -> tuple[Levels, list[str]]:
    few = samples(frames)
    window, notes = _window(dataset)
    if window is not None:
        shown = window(few)
        if shown.max() > shown.min() and shown.std() > 1:
            return window, notes
        notes = ["the header's grey window shows nothing of the picture; the values that occur are used"]
    lowest, highest = int(frames.min()), int(frames.max())
    if lowest >= 0:
        if highest >= 1 << max(stored - 2, 0):
            return _upper_bits(0, stored), notes
        bits = max(8, highest.bit_length())
        if bits < stored:
            notes = [*notes, f"grey values reach {highest} of {(1 << stored) - 1}; the {bits} bits that occur are used"]
        return _upper_bits(0, min(bits, stored)), notes
    if highest - lowest >= 1 << max(stored - 2, 0):
        return _upper_bits(-(1 << (stored - 1)), stored), notes
    bits = max(8, (highest - lowest).bit_length())
    return _upper_bits(lowest, bits), [*notes, f"grey values run from {lowest} to {highest}; these are used"]


def _upper_bits(lowest: int, bits: int) -> Levels:
    return lambda frame: ((frame.astype(np.int64) - lowest) >> max(bits - 8, 0)).clip(0, 255).astype(np.uint8)


def _window(dataset: "Dataset") -> tuple[Levels | None, list[str]]:
    """The linear window of DICOM PS3.3 C.11.2.1.2 after the rescale of C.11.1, if the header has a usable one."""
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if not centres or not widths or not widths[0] >= 1:
        return None, []
    centre, width = centres[0], widths[0]
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    slope, intercept = (slope if slope else 1.0), (intercept if math.isfinite(intercept) else 0.0)
    slope = slope if math.isfinite(slope) else 1.0

    def shown(frame: np.ndarray) -> np.ndarray:
        values = frame.astype(np.float64) * slope + intercept
        scaled = ((values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5) * 255
        return scaled.round().clip(0, 255).astype(np.uint8)

    return shown, []
