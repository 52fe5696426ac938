"""The numbers of metrics.json, made from the tables of an evaluation alone, and the baseline they are held against."""

import math
from typing import Any

import numpy as np
import pandas as pd

from echocycle.data.store import Store
from echocycle.evaluation.intervals import Interval, video_intervals
from echocycle.evaluation.metrics import dice_per_video, naive_prediction, pooled_dice
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import explain_protocol, per_video
from echocycle.runs import Run
from echocycle.settings.stages import EvaluateSettings


def compared_videos(run: Run, store: Store) -> np.ndarray:
    """Whether each video of a store has an EF to compare with, (videos,).

    Of the store that a run with `labels.untraced` `drop` was trained on, only those that have a tracing too.
    """
    info, index = run.info, store.index
    found: np.ndarray = index["ef"].notna().to_numpy()
    drops = info["settings"].get("labels", {}).get("untraced") == "drop"
    if drops and info["data"]["id"] == store.meta["id"]:
        found = found & (index["ed_frame"] >= 0).to_numpy()
    return found


def naive_metrics(run: Run, store: Store, settings: EvaluateSettings) -> dict[str, Any]:
    """What always answering the mean EF of the run's labelled videos gives on a store, with intervals, by split."""
    guess = naive_prediction(training_ef(run.path, store))
    index, compared = store.index, compared_videos(run, store)
    found: dict[str, Any] = {"ef": guess}
    for split in settings.splits:
        rows = index[(index["split"] == split) & compared]
        if len(rows) > 1:
            found[split] = intervals(rows["ef"].to_numpy(), np.full(len(rows), guess), rows["patient"])
    return found


def protocols_used(table: pd.DataFrame, settings: EvaluateSettings) -> dict[str, str]:
    """How clips were chosen for each protocol of predictions.csv, in words."""
    used = table["protocol"].unique()
    return {str(name): explain_protocol(str(name), settings.stride, len(settings.clip_seeds)) for name in used}


def ef_metrics(table: pd.DataFrame, asked: dict[str, int] | None = None) -> dict[str, Any]:
    """Every metric with its bootstrap interval, by split and protocol, from predictions.csv.

    `asked`: videos of each split; those that a protocol gave no answer for are counted as `not_measured`.
    """
    videos = per_video(table)
    found: dict[str, Any] = {}
    for (split, protocol), rows in videos.groupby(["split", "protocol"], sort=False):
        if len(rows) > 1:
            found.setdefault(str(split), {})[str(protocol)] = {
                "videos": len(rows),
                **_as_json(video_intervals(rows)),
            }
            if missing := (asked or {}).get(str(split), len(rows)) - len(rows):
                found[str(split)][str(protocol)]["not_measured"] = missing
    return found


def intervals(true: np.ndarray, pred: np.ndarray, patients: Any) -> dict[str, Any]:
    """`METRICS` of videos with 95 % intervals over patients, as plain JSON; an undefined metric is left out."""
    return _as_json(video_intervals(pd.DataFrame({"ef_true": true, "ef_pred": pred, "patient": list(patients)})))


def _as_json(found: dict[str, Interval]) -> dict[str, Any]:
    return {name: interval_dict(interval) for name, interval in found.items() if math.isfinite(interval.value)}


def interval_dict(interval: Interval) -> dict[str, float | None]:
    """An interval as JSON; ends that are undefined are null."""
    ends = {"low": interval.low, "high": interval.high}
    return {"value": interval.value, **{name: end if math.isfinite(end) else None for name, end in ends.items()}}


def dice_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """Dice pooled over pixels and as the mean of videos, by split and phase; `overall` pools ED and ES."""
    found: dict[str, Any] = {}
    for split, rows in table.groupby("split", sort=False):
        phases = {str(phase): part for phase, part in rows.groupby("phase", sort=False)}
        traced = rows[rows["phase"].isin(["ED", "ES"])]
        if len(traced):
            phases["overall"] = traced
        found[str(split)] = {}
        for phase, part in phases.items():
            counts = [part[column].to_numpy() for column in ("intersection", "size_true", "size_pred")]
            found[str(split)][phase] = {
                "pooled": pooled_dice(*counts),
                "mean": float(dice_per_video(*counts).mean()),
                "videos": int(part["video"].nunique()),
            }
    return found


def traced_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """EF by discs of the two traced frames, predicted masks against traced ones, by split, with intervals."""
    found: dict[str, Any] = {}
    for split, rows in table.groupby("split", sort=False):
        pair = rows[["ef_traced_true", "ef_traced_pred"]].apply(pd.to_numeric).dropna()
        if len(pair) > 1:
            both = intervals(
                pair["ef_traced_true"].to_numpy(), pair["ef_traced_pred"].to_numpy(), rows["patient"][pair.index]
            )
            found[str(split)] = {"videos": len(pair), **both}
    return found


def discs_metrics(table: pd.DataFrame) -> dict[str, Any]:
    """EF by discs against the label, by split, with intervals; videos that could not be measured are counted."""
    found: dict[str, Any] = {}
    for split, rows in table[table["ef_true"].notna()].groupby("split", sort=False):
        good = rows[rows["ef_discs"].notna()]
        entry: dict[str, Any] = {"videos": len(good), "not_measured": len(rows) - len(good)}
        if len(good) > 1:
            entry |= intervals(good["ef_true"].to_numpy(), good["ef_discs"].to_numpy(), good["patient"])
        found[str(split)] = entry
    return found
