"""What the report knows of one run, as `collect.py` read it from disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echocycle.evaluation.analyses.cost import Cost
from echocycle.evaluation.analyses.stored import Analysed
from echocycle.evaluation.candidates import Choice

NOT_RECORDED = "not recorded"


# --- what the caller fills in ---------------------------------------------------------------------


@dataclass(frozen=True)
class LabelCounts:
    """How many videos a run knew the labels of."""

    labelled: int
    unlabelled: int
    validation: int  # labels that chose the best epoch; they are labels too
    unlabelled_annotations_used: bool | None = None  # None: not recorded
    note: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from. An empty field is printed as not recorded."""

    software: str = ""
    torch: str = ""
    phantom: str = ""  # version of the phantom, or a word that the data are real
    data: str = ""
    command: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Overlays:
    """Frames (n, height, width) of 8 bit with true and predicted masks of the same shape."""

    frames: np.ndarray
    true: np.ndarray | None = None
    pred: np.ndarray | None = None
    captions: Sequence[str] | None = None


@dataclass(frozen=True)
class External:
    """A run on another store."""

    predictions: pd.DataFrame | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of its evaluation there."""
    analyses: Mapping[str, Analysed] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """One run as its folder tells it. Every table may be missing; see `evaluation.tables` for their columns."""

    name: str
    method: str
    seed: int | None = None
    stage: Literal["segment", "regress", ""] = ""  # says which tables to expect; all of them if empty
    labels: LabelCounts | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    dice: pd.DataFrame | None = None
    volumes: pd.DataFrame | None = None
    intervals: pd.DataFrame | None = None  # intervals.csv: held-out videos with low, high and kind
    losses: Path | None = None  # CSV: step, and a column per named loss
    overlays: Overlays | None = None
    overlay_files: Mapping[str, str] = field(default_factory=dict)  # by video: where its film lies, seen from the page
    evaluated: Mapping[str, Any] = field(default_factory=dict)  # the settings of its evaluation
    not_measured: Mapping[str, int] = field(default_factory=dict)  # by split: videos without an answer
    provenance: Provenance | None = None
    analyses: Mapping[str, Analysed] = field(default_factory=dict)  # what `analyse` left, by name
    externals: Mapping[str, External] = field(default_factory=dict)  # what is known of it on other stores, by their id
    labels_used_in_all: int = 0  # labelled videos, those of its helpers included
    role: str = ""  # its method and, behind a slash, that of the segmenter that it learnt from
    segmenter_option: Mapping[str, Any] = field(default_factory=dict)  # settings of that segmenter's method
    cost: Cost | None = None  # what an answer of it costs


@dataclass(frozen=True)
class ReportData:
    """Everything a report is made of."""

    title: str
    runs: Sequence[RunReport]
    date: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    delivered: str = ""  # the run whose model is handed on; by default the last one that has predictions
    echonet: bool = False  # the data are EchoNet-Dynamic's own videos: the paper's numbers can be held to them
    public_names: bool = False  # the data are the public ones, or a phantom of their form: numbers of papers compare
    train_ef: Sequence[float] | np.ndarray | None = None  # percent, labelled videos: for the naive baseline
    choice: Choice | None = None  # which of several candidates was taken, where `train` chose
    reference: str | None = None  # the method others are compared with; the first one by default
    warnings: Sequence[str] = ()
    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0
