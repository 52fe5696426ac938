"""From predictions.csv to the calibration that a bundle keeps: intervals from validation videos that chose no epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import spearmanr

from echocycle.bundle_description import BundleDescription, read_description
from echocycle.calibration import (
    LEVEL,
    Calibration,
    Difficulty,
    Known,
    bands,
    intervals,
    kind_of,
    no_videos,
    write_calibration,
)
from echocycle.cardiac.beats import USUAL_FPS
from echocycle.cardiac.discs import ef_by_discs
from echocycle.console import console
from echocycle.data.domain_shift import unlikeness
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import per_video, read_labels, read_predictions
from echocycle.files import write_text
from echocycle.runs import Run

NAME = "intervals.csv"
FEWEST_TO_FIT = 30
"""Selection videos that a difficulty is fitted to; with fewer all recordings count as equally difficult."""
LEAST_TELLING = 0.3
"""Rank correlation of difficulty and error on the selection videos from which on intervals follow the difficulty."""
SMOOTHEST = 0.25
"""The least difficulty over its mean: no interval is so narrow that a chance agreement of clips made it."""


def keep_calibration(run: Run, store: Store) -> Path | None:
    """Calibrate an evaluated EF network from its validation videos; its model keeps what was found, and intervals.csv
    beside predictions.csv says each held-out video's interval. None where nothing was predicted for validation."""
    folder = run.path / "evaluation"
    videos = calibration_table(run, store)
    if videos.empty:
        return None
    found = fit_calibration(videos, training_ef(run.path, store))
    described = videos.assign(difficulty=found.difficulty.of(*(videos[name] for name in SIGNS)))
    held_out = described[described["subset"] != "selection"]
    kind, reason = kind_of(found.regression)
    ends = intervals(
        found.regression,
        held_out["ef_pred"].to_numpy(float),
        held_out["difficulty"].to_numpy(float),
        kind,
        found.naive_half_width,
        found.level,
    )
    table = held_out.assign(low=ends[:, 0], high=ends[:, 1], kind=kind)
    text = table.to_csv(index=False, lineterminator="\n")
    if not (folder / NAME).exists() or (folder / NAME).read_text(encoding="utf-8") != text:  # done once is done
        write_text(folder / NAME, text)
    path = write_calibration(run.model, found)
    said = f"Intervals ({found.level:.0%}) from {len(found.regression)} calibration videos"
    console.print(f"{said}{'.' if not reason else f': {kind}. {reason}'}", soft_wrap=True, highlight=False)
    return path


SIGNS = ("spread", "disagreement", "unlikeness")


def calibration_table(run: Run, store: Store) -> pd.DataFrame:
    """Validation and test videos of an evaluated run: EF, signs of difficulty, and `subset` (selection, calibration or
    test). Of several protocols the first counts. The signs are measured only where there are calibration videos."""
    table = read_predictions(run.path / "evaluation" / "predictions.csv")
    table = table[table["protocol"] == table["protocol"].iloc[0]]
    videos = per_video(table).set_index("video")
    videos["spread"] = table.groupby("video")["ef_pred"].std(ddof=0).where(videos["clips"] > 1)
    labels = read_labels(run.path / "labels.csv").set_index("name")["subset"]
    given = labels.reindex(videos.index)
    videos["subset"] = np.select(
        [given == "validation", given == "calibration", videos["split"] == "test"],
        ["selection", "calibration", "test"],
        "",
    )
    videos = videos[videos["subset"] != ""].copy()
    videos["ef_discs"] = np.nan
    videos["unlikeness"] = np.nan
    if (videos["subset"] == "calibration").any():
        _measure(videos, read_description(run.model), store)
    videos["disagreement"] = videos["ef_pred"] - videos["ef_discs"]
    columns = ["split", "subset", "patient", "protocol", "ef_true", "ef_pred", "ef_discs", *SIGNS]
    return videos.reset_index()[["video", *columns]]


def _measure(videos: pd.DataFrame, model: BundleDescription, store: Store) -> None:
    """EF by discs, where the store has the masks of the model's segmenter, and unlikeness, in place."""
    segmenter = model.parts.get("segmenter")
    masks = None if segmenter is None else store.masks_of(segmenter.sha256)
    rows = pd.Series(np.arange(len(store)), index=store.index["name"])
    for name in videos.index:
        video = int(rows[name])
        fps = float(store.index["fps"][video])
        videos.loc[name, "unlikeness"] = unlikeness(np.asarray(store.frames(video)), fps, model.reference)
        if masks is not None and masks.has(video):
            found = masks.probabilities(video, np.arange(store.n_frames(video))) > 127.5
            videos.loc[name, "ef_discs"] = ef_by_discs(found, fps if np.isfinite(fps) else USUAL_FPS).ef


def fit_calibration(videos: pd.DataFrame, training: np.ndarray) -> Calibration:
    """A calibration from videos with columns subset, ef_true, ef_pred, ef_discs and `SIGNS`.

    Args:
        training: EF of the labelled training videos (videos,), percent.
    """
    if len(training) < 2:
        raise EchocycleError("An interval needs the EF of at least two labelled training videos.")
    mean = float(np.mean(training))
    naive = float(np.quantile(np.abs(training - mean), LEVEL, method="higher"))
    selection, calibrating = (videos[videos["subset"] == name] for name in ("selection", "calibration"))
    difficulty = fit_difficulty(selection)
    seen = calibrating.dropna(subset=["ef_discs"])
    return Calibration(
        naive_half_width=max(naive, 0.1),
        selection_videos=len(selection),
        protocol=str(videos["protocol"].iloc[0]) if len(videos) else "",
        difficulty=difficulty,
        regression=_known(calibrating, "ef_pred", difficulty.of(*(calibrating[name] for name in SIGNS))),
        discs=_known(seen, "ef_discs", np.ones(len(seen))),
    )


def _known(videos: pd.DataFrame, column: str, difficulty: np.ndarray) -> Known:
    if videos.empty:
        return no_videos()
    return Known(videos["ef_true"].to_numpy(float), videos[column].to_numpy(float), difficulty)


def fit_difficulty(selection: pd.DataFrame) -> Difficulty:
    """What each sign adds to the size of an error, none of it negative, by least squares; in mean errors."""
    known = selection.dropna(subset=["ef_true", "ef_pred"])
    if len(known) < FEWEST_TO_FIT:
        return Difficulty()
    error = (known["ef_true"] - known["ef_pred"]).abs().to_numpy(float)
    signs = known[list(SIGNS)].abs().fillna(0.0).to_numpy(float)
    weights, _ = nnls(np.column_stack([np.ones(len(known)), signs]), error)
    mean = float(error.mean()) or 1.0
    floor = max(float(weights[0]) / mean, SMOOTHEST)
    found = Difficulty(floor, *(round(float(weight) / mean, 6) for weight in weights[1:]))
    told = found.of(*(known[name] for name in SIGNS))
    if np.ptp(told) == 0 or spearmanr(told, error).statistic < LEAST_TELLING:
        return Difficulty()  # signs that say little about errors only make intervals wider
    return found


# --- how well intervals hold ------------------------------------------------------------------------


def coverage(ef_true: np.ndarray, ends: np.ndarray) -> dict[str, dict[str, float]]:
    """Share of videos whose interval (videos, 2) holds the true EF, its mean width in points, and the videos: over all
    and for each band of the true EF."""
    held = (ends[:, 0] <= ef_true) & (ef_true <= ends[:, 1])
    width = ends[:, 1] - ends[:, 0]
    band = bands(ef_true)
    parts: dict[str, Any] = {"all": np.ones(len(band), bool), "under 40": band == 0, "40 to 49": band == 1}
    parts["50 and more"] = band == 2
    return {
        name: {
            "videos": int(part.sum()),
            "coverage": float(held[part].mean()) if part.any() else float("nan"),
            "width": float(width[part].mean()) if part.any() else float("nan"),
        }
        for name, part in parts.items()
    }


def read_intervals(folder: Path) -> pd.DataFrame | None:
    """intervals.csv of an evaluation; None where there is none."""
    path = Path(folder) / NAME
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path)
        table[["ef_true", "low", "high"]].astype(float)
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise EchocycleError(f"{path} is not readable ({error}). Run `echocycle evaluate` again.") from None
    return table
