"""End of the flow: what is said about one recording. `inference.py` makes it, `writers/` put it on disk."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

DISCLAIMER = "Research use only; not a medical device."


@dataclass(frozen=True)
class Prediction:
    """The result for one recording. EF is in percent; frames are counted from 0."""

    source: str
    """The recording, as the caller named it."""
    ef: float | None
    """Ejection fraction, percent; None when it could not be measured (the notes say why)."""
    protocol: str
    """How clips were chosen and averaged."""
    fps: float
    """Frames per second of the recording; NaN when unknown."""
    n_frames: int
    spacing_mm: tuple[float, float] = (math.nan, math.nan)
    """Millimetres per pixel of `frames` and `masks`, (row, column); NaN when unknown."""
    ef_clips: list[tuple[int, float]] = field(default_factory=list)
    """(first frame, EF in percent) of each clip that went into `ef`."""
    mask_area_px: list[float] = field(default_factory=list)
    """Area of the left ventricle in each frame, pixels; empty without segmentation."""
    ef_by_discs: float | None = None
    """EF from the masks by the method of discs, percent."""
    ed_frames: list[int] = field(default_factory=list)
    """End-diastolic frames."""
    es_frames: list[int] = field(default_factory=list)
    """End-systolic frames."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader: doubts about the recording or the result."""
    model: dict[str, Any] = field(default_factory=dict)
    """Identity of the model: id, versions."""
    masks: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 (time, height, width): probability of the left ventricle, 255 is certain."""
    frames: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 grey (time, height, width): what the model saw."""
    affine: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (2, 3): source (column, row) = affine @ (column, row, 1) of `frames`."""
