"""End of the flow: what is said about one recording. `inference.py` makes it, `writers/` put it on disk."""

import math
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from echocycle import __version__
from echocycle.verdict import Verdict

DISCLAIMER = "Research use only; not a medical device."


@dataclass(frozen=True)
class Prediction:
    """The result for one recording. EF is in percent; frames are counted from 0."""

    source: str
    """The recording, as the caller named it."""
    ef: float | None
    """Ejection fraction, percent, 0 to 100; None when it was not measured (`not_measured` says why)."""
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
    """Identity of the model: id, verdict, versions."""
    not_measured: str | None = None
    """Why `ef` is None, as a sentence; None where it is not."""
    warnings: list[str] = field(default_factory=list)
    """What must not be overlooked about the model; the overlay shows it in the picture."""
    result: str = ""
    """Where the result's files lie below the output folder, without suffix; empty for the recording's name."""
    size_bytes: int | None = None
    """Size of the recording's file."""
    sha256: str | None = None
    """SHA-256 of the recording's file; with the size it tells whether a result is of the file as it is now."""
    time: str = "frames"
    """`frames`: the recording's own frames; `seconds`: it was brought to the rate of the training videos, which is
    `fps`, and frames are counted after that."""
    recorded_fps: float | None = None
    """Frames per second before that; None where they were not changed."""
    masks: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 (time, height, width): probability of the left ventricle, 255 is certain."""
    frames: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 grey (time, height, width): what the model saw."""
    affine: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (2, 3): source (column, row) = affine @ (column, row, 1) of `frames`."""

    @property
    def stem(self) -> str:
        """`result`, or the recording's name."""
        return self.result or Path(self.source).name


class Model(Protocol):
    """What a bundle and its description (`bundle_description.py`) have in common."""

    @property
    def id(self) -> str: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def reference(self) -> dict[str, Any]: ...


def model_identity(model: Model, verdict: Verdict | None) -> dict[str, Any]:
    """What a result says about its model. A result of another identity is made anew."""
    return {
        "id": model.id,
        "run": model.provenance.get("run"),
        "method": model.provenance.get("method"),
        "phantom_version": model.reference.get("phantom_version"),
        "verdict": None if verdict is None else verdict.sentence(),
        "echocycle": __version__,
        "torch": version("torch"),
    }


def protocol_of(stride: int, time: str) -> str:
    """How clips are chosen and averaged, in words; `time` is `frames` or `seconds`."""
    return f"clips every {stride} frames, mean; time in {time}"


def model_warnings(model: Model, verdict: Verdict | None) -> list[str]:
    """What about a model must not be overlooked: it has seen synthetic clips only; it is no better than the mean."""
    found = []
    if model.reference.get("phantom_version") is not None:
        found.append("The model has seen synthetic clips only: no clinical meaning.")
    if verdict is not None and verdict.bad:
        found.append(verdict.sentence())
    return found
