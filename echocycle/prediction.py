"""End of the flow: what is said about one recording. `inference.py` makes it, `writers/` put it on disk."""

import math
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from echocycle import __version__
from echocycle.verdict import Verdict

DISCLAIMER = "Research use only; not a medical device."


Severity = Literal["unusable", "review", "note"]
Headline = Literal["regression", "discs", "neither", "none"]
VolumeUnit = Literal["ml", "px3"]
Category = Literal["under_40", "40_to_49", "50_and_more"]
"""Bands of EF, percent, in which a result's category is told: the limits are 40 and 50."""
CATEGORIES: tuple[Category, ...] = ("under_40", "40_to_49", "50_and_more")


@dataclass(frozen=True)
class Flag:
    """A doubt about one result that a program can read: `cardiac/` and `inference/flags.py` raise them."""

    code: str
    """What it is, a word that stays the same over versions, such as `apex_cut_off`."""
    sentence: str
    """The reason, for a reader, with the numbers that it rests on."""
    severity: Severity
    """`unusable`: believe no EF. `review`: a person must look before the EF is used. `note`: good to know."""


@dataclass(frozen=True)
class EfInterval:
    """Where the true EF lies, by conformal prediction on the model's calibration videos."""

    low: float | None
    """Lower end, percent, 0 to 100; None where no interval can be given (`reason` says why)."""
    high: float | None
    """Upper end, percent, 0 to 100."""
    level: float
    """Share of results whose interval holds the true EF, 0 to 1, on recordings like those of the calibration."""
    kind: str
    """`conformal` (by predicted band and difficulty), `plain` (one width for all), `naive` (the width that always
    answering the mean would need), or `none`."""
    videos: int
    """Calibration videos that it rests on: those of the predicted EF's band; 0 for `none`."""
    reason: str
    """Why it is `plain`, `naive` or `none`; empty for `conformal`."""


@dataclass(frozen=True)
class MeasuredBeat:
    """One heartbeat as the masks show it. Volumes are in the `volume_unit` of the result."""

    ed: int
    """Frame of end diastole, from 0."""
    es: int
    """Frame of the end systole that follows it."""
    ef: float
    """EF by discs, percent: 100 (edv - esv) / edv."""
    ef_area_length: float | None
    """EF by the area-length formula, percent."""
    edv: float
    """End-diastolic volume by discs."""
    esv: float
    """End-systolic volume by discs."""
    ef_by_regression: float | None
    """Mean of the EF network's clips whose middle lies in this beat, percent; None where there is none."""
    interval_s: float | None
    """Seconds from this end systole to the next one; None for the last beat, or where the frame rate is unknown."""
    rate: float | None
    """60 / `interval_s`, beats a minute."""
    axis_shortening: float | None
    """Shortening of the long axis from ED to ES, percent of its length at ED."""
    wall_shortening: float | None
    """Shortening of the cavity's outline without the mitral plane, percent of its length at ED."""
    whole: bool
    """False where ED or ES lies on the first or last frame: the beat may go on outside the recording."""


@dataclass(frozen=True)
class Prediction:
    """The result for one recording. EF is in percent; frames are counted from 0."""

    source: str
    """The recording, as the caller named it."""
    ef: float | None
    """Ejection fraction, percent, 0 to 100: the EF network's, or that by discs where the model has none; None when it
    was not measured (`not_measured` says why). Where `headline` is `neither` it is not the answer: see `answer`."""
    protocol: str
    """How clips were chosen and averaged."""
    fps: float
    """Frames per second of the recording; NaN when unknown."""
    n_frames: int
    spacing_mm: tuple[float, float] = (math.nan, math.nan)
    """Millimetres per pixel of `frames` and `masks`, (row, column); NaN when unknown."""
    ef_clips: list[tuple[int, float]] = field(default_factory=list)
    """(first frame, EF in percent) of each clip that went into `ef`."""
    ef_members: list[float] = field(default_factory=list)
    """EF of each EF network of the model, percent, where it has several; `ef` is their mean, and their spread tells how
    far they disagree."""
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
    headline: Headline | None = None
    """Which EF is the answer: `regression` or `discs`; `neither` where both exist and differ by more than their
    intervals allow; `none` where nothing was measured. None in results of earlier versions."""
    headline_reason: str = ""
    """Why `headline` is what it is, a sentence."""
    flags: list[Flag] = field(default_factory=list)
    """Doubts about this result, the gravest first."""
    interval: EfInterval | None = None
    """Interval of the EF by regression; None where the model has no EF network or nothing was measured."""
    interval_by_discs: EfInterval | None = None
    """Interval of the EF by discs."""
    category_probabilities: dict[Category, float] = field(default_factory=dict)
    """Probability, 0 to 1, of each of `CATEGORIES` for the headline's EF, by the conformal distribution behind its
    interval; empty where there is no such interval."""
    ef_disagreement: float | None = None
    """EF by regression minus EF by discs, percentage points; None where one of them is missing."""
    ef_area_length: float | None = None
    """EF from the masks by the area-length formula 8 A^2 / (3 pi L), median over beats, percent."""
    edv: float | None = None
    """End-diastolic volume by discs, median over beats, in `volume_unit`."""
    esv: float | None = None
    """End-systolic volume by discs, median over beats, in `volume_unit`."""
    volume_unit: VolumeUnit | None = None
    """`ml` where the pixel size is known, else `px3` (cubic pixels of `masks`: only ratios mean something)."""
    heart_rate: float | None = None
    """Beats a minute, from the period of the area curve; None where the frame rate is unknown or no period is found."""
    rate_variation: float | None = None
    """Standard deviation of the times between beats, percent of their mean; None with fewer than three beats."""
    ef_variation: float | None = None
    """Standard deviation of the EF by discs over beats, percentage points; None with fewer than two whole beats."""
    irregular: bool | None = None
    """Whether the rhythm is irregular; None where too few beats were seen to tell."""
    axis_shortening: float | None = None
    """Shortening of the long axis, median over beats, percent."""
    longitudinal_shortening: float | None = None
    """Global longitudinal shortening of the cavity (outline without the mitral plane), median over beats, percent."""
    beats: list[MeasuredBeat] = field(default_factory=list)
    """The beats, in order; `ed_frames` and `es_frames` are theirs."""
    volume_curve: list[float] = field(default_factory=list)
    """Volume by discs in each frame, in `volume_unit`; 0 where no ventricle was found; empty without segmentation."""
    label_provenance: str = ""
    """Whose EF the model was taught, a sentence."""
    stored_frames: list[int] | None = None
    """Which frame of the file, from 0, each frame is, where they were put onto an even grid in time; None: all, in
    order."""
    time: str = "frames"
    """`frames`: the recording's own frames; `seconds`: it was brought to the rate of the training videos, which is
    `fps`, and frames are counted after that."""
    recorded_fps: float | None = None
    """Frames per second before that; None where they were not changed."""
    engines: dict[str, str] = field(default_factory=dict)
    """What ran each network of the model and how precisely, such as `openvino float32`; empty in results of earlier
    versions and of `echocycle.predict`, which are PyTorch's."""
    masks: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 (time, height, width): probability of the left ventricle, 255 is certain."""
    frames: np.ndarray | None = field(default=None, repr=False, compare=False)
    """uint8 grey (time, height, width): what the model saw."""
    affine: np.ndarray | None = field(default=None, repr=False, compare=False)
    """float64 (2, 3): source (column, row) = affine @ (column, row, 1) of `frames`."""
    file: Path | None = field(default=None, repr=False, compare=False)
    """Where the recording's file lies now; None for an array, and in a result that was read again."""

    @property
    def stem(self) -> str:
        """`result`, or the recording's name."""
        return self.result or Path(self.source).name

    @property
    def answer(self) -> float | None:
        """The EF that may be quoted alone, percent; None where there is none, or where two contradict each other."""
        if self.headline == "discs":
            return self.ef_by_discs
        return self.ef if self.headline in (None, "regression") else None

    @property
    def flagged(self) -> bool:
        """Whether a person must look at it before its EF is used."""
        return any(flag.severity != "note" for flag in self.flags)

    def answer_in_words(self, digits: int = 1) -> str:
        """The EF as a result's first line says it."""
        if self.headline == "neither" and self.ef is not None and self.ef_by_discs is not None:
            return f"EF unclear: {self.ef:.{digits}f} % by video, {self.ef_by_discs:.{digits}f} % by discs"
        return "EF not measured" if self.answer is None else f"EF {self.answer:.{digits}f} %"


class Model(Protocol):
    """What a bundle and its description (`bundle_description.py`) have in common."""

    @property
    def id(self) -> str: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def reference(self) -> dict[str, Any]: ...


def model_identity(model: Model, verdict: Verdict | None, calibration: str | None = None) -> dict[str, Any]:
    """What a result says about its model. A result of another identity is made anew.

    Args:
        calibration: the id of the calibration that its intervals come from.
    """
    return {
        "id": model.id,
        "run": model.provenance.get("run"),
        "method": model.provenance.get("method"),
        "phantom_version": model.reference.get("phantom_version"),
        "verdict": None if verdict is None else verdict.sentence(),
        "echocycle": __version__,
        "torch": version("torch"),
        **({} if calibration is None else {"calibration": calibration}),
    }


def label_provenance(model: Model) -> str:
    """Whose EF a model was taught, a sentence."""
    data = model.provenance.get("data")
    budget = model.provenance.get("budget")
    count = f"{budget['labelled']} labelled videos" if isinstance(budget, dict) and "labelled" in budget else "videos"
    if model.reference.get("phantom_version") is not None or model.provenance.get("method") == "zero":
        return f"The EF of {count} of the phantom: true volumes, no reader."
    where = f" ({data['source']})" if isinstance(data, dict) and data.get("source") else ""
    return f"The EF that the list of {count}{where} gives; who read it is not recorded."


def protocol_of(stride: int, time: str, protocol: str = "strided") -> str:
    """How clips are chosen and averaged, in words; `time` is `frames` or `seconds`."""
    chosen = {
        "strided": f"clips every {stride} frames, mean",
        "one-clip": "one clip from the middle",
        "all-clips": "clips at every frame, mean",
        "beats": "clips from the end diastole of each beat, mean",
    }[protocol]
    return f"{chosen}; time in {time}"


def model_warnings(model: Model, verdict: Verdict | None) -> list[str]:
    """What about a model must not be overlooked: it has seen synthetic clips only; it is no better than the mean.
    A model's own notice says the first with more words."""
    found = []
    if model.reference.get("notice"):
        found.append(str(model.reference["notice"]))
    elif model.reference.get("phantom_version") is not None:
        found.append("The model has seen synthetic clips only: no clinical meaning.")
    if verdict is not None and verdict.bad:
        found.append(verdict.sentence())
    return found
