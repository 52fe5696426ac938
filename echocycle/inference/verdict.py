"""What a model is worth: its error on videos that it was not trained on, beside that of always the same answer."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import bootstrap_interval
from echocycle.evaluation.metrics import mae, naive_prediction
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import per_video, read_predictions
from echocycle.files import read_json, write_json

WORDS = {"test": "test", "val": "validation"}
"""Splits that a verdict may be about, the best first: by the validation videos the model was chosen."""


@dataclass(frozen=True)
class Verdict:
    """How a model did on held-out videos. EF in percent, errors in EF points."""

    split: str
    videos: int
    error: float
    """Mean absolute error."""
    low: float
    high: float
    """Its 95 % interval."""
    naive_ef: float
    """Mean EF of the labelled training videos: what the naive answer always is."""
    naive_error: float
    """Mean absolute error of that answer on the same videos."""
    protocol: str

    @property
    def bad(self) -> bool:
        """Whether always giving the same answer is at least as good."""
        return not self.error < self.naive_error

    @property
    def shown(self) -> bool:
        """Whether the whole interval of the error lies below the error of the naive answer."""
        return self.high < self.naive_error

    def sentence(self) -> str:
        """The verdict in words."""
        interval = "" if self.bad else f" (95 % interval {self.low:.1f} to {self.high:.1f})"
        words = (
            f"On {self.videos} {WORDS[self.split]} videos this model errs by {self.error:.1f} points{interval}; "
            f"always answering {self.naive_ef:.1f} % errs by {self.naive_error:.1f}."
        )
        if self.bad:
            return f"{words} Do not use it."
        return words if self.shown else f"{words} It is not shown to be better than that."


def verdict_of_run(run: Path) -> Verdict:
    """The verdict on an evaluated EF network, from its predictions.csv (of several protocols the first) and labels.csv.

    Raises `EchocycleError` where fewer than two test or validation videos have an EF.
    """
    videos = per_video(read_predictions(Path(run) / "evaluation" / "predictions.csv"))
    guess = naive_prediction(training_ef(Path(run)))
    for split in WORDS:
        rows = videos[videos["split"] == split]
        rows = rows[rows["protocol"] == rows["protocol"].iloc[0]] if len(rows) else rows
        if len(rows) > 1:
            true, pred = rows["ef_true"].to_numpy(), rows["ef_pred"].to_numpy()
            found = bootstrap_interval(true, pred, mae, groups=list(rows["patient"]))
            naive = mae(true, np.full(len(true), guess))
            protocol = str(rows["protocol"].iloc[0])
            return Verdict(split, len(rows), found.value, found.low, found.high, guess, naive, protocol)
    raise EchocycleError(
        f"{run} has fewer than two test or validation videos with an EF, so there is no verdict on it."
    )


def write_verdict(bundle: Path, verdict: Verdict) -> None:
    """Keep a verdict in a bundle's folder as verdict.json; one that says the same is left as it is."""
    path, content = bundle / "verdict.json", {**asdict(verdict), "sentence": verdict.sentence()}
    if not path.exists() or read_json(path) != content:
        write_json(path, content)
