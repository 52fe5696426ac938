"""From predictions.csv to the verdict that a bundle keeps: the model's error beside that of always the mean EF."""

from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import bootstrap_intervals
from echocycle.evaluation.metrics import mae, naive_prediction
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import per_video, read_predictions
from echocycle.verdict import Verdict

ORDER = ("test", "val")
"""The split that a verdict is about, the best first: by the validation videos the model was chosen."""


def verdict_from_predictions(table: pd.DataFrame, naive_ef: float) -> Verdict:
    """The verdict on the test videos of predictions.csv (`read_predictions`), else on the validation videos.

    Args:
        table: of one run; of several protocols the first counts.
        naive_ef: the mean EF of the labelled training videos, percent.

    Raises:
        EchocycleError: fewer than two videos of these splits.
    """
    videos = per_video(table)
    for split in ORDER:
        rows = videos[videos["split"] == split]
        rows = rows[rows["protocol"] == rows["protocol"].iloc[0]] if len(rows) else rows
        if len(rows) < 2:
            continue
        true, pred = rows["ef_true"].to_numpy(), rows["ef_pred"].to_numpy()
        found = bootstrap_intervals(true, pred, {"mae": mae}, groups=list(rows["patient"]))["mae"]
        low, high = (float(end) if np.isfinite(end) else None for end in (found.low, found.high))
        naive_error = mae(true, np.full(len(true), naive_ef))
        protocol = str(rows["protocol"].iloc[0])
        return Verdict(split, len(rows), float(found.value), low, high, float(naive_ef), float(naive_error), protocol)
    raise EchocycleError("A verdict needs at least two test or validation videos with a predicted EF.")


def verdict_of_run(run: Path) -> Verdict:
    """The verdict of an evaluated regression run, from its predictions.csv and its labels.csv."""
    table = read_predictions(Path(run) / "evaluation" / "predictions.csv")
    return verdict_from_predictions(table, naive_prediction(training_ef(Path(run))))
