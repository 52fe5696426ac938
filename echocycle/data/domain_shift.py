"""How unlike a recording is to the videos that a model was trained on."""

from typing import Any

import numpy as np

from echocycle.data.labels import TrainingData
from echocycle.data.statistics import VIDEOS


def describe(frames: np.ndarray) -> dict[str, float]:
    """Measures of a video of grey (time, 112, 112) or RGB frames that do not depend on the heart's function."""
    grey = frames[:64].astype(np.float32)
    grey = grey.mean(-1) if grey.ndim == 4 else grey
    lit = grey.max(0) > 8
    inside = grey[:, lit] if lit.any() else grey.reshape(len(grey), -1)
    steps = np.abs(np.diff(grey, axis=0))
    gradient = np.abs(np.diff(grey[0], axis=1))
    return {
        "lit_share": float(lit.mean()),
        "mean_grey": float(inside.mean()),
        "grey_deviation": float(inside.std()),
        "dark_share": float((inside < 4).mean()),
        "frame_difference": float(steps[:, lit].mean()) if len(steps) and lit.any() else 0.0,
        "sharpness": float(gradient.mean() / max(float(grey[0].std()), 1e-3)),
    }


def reference(data: TrainingData, phantom_version: int | None) -> dict[str, Any]:
    """The training videos' ranges of `describe`, kept in the bundle."""
    rng = np.random.default_rng([1, VIDEOS])
    chosen = rng.permutation(data.videos("both"))[:VIDEOS]
    rows = [{**describe(data.frames(int(video))), "fps": data.fps(int(video))} for video in chosen]
    rates = [row["fps"] for row in rows if np.isfinite(row["fps"])]
    rows = [{**row, "fps": row["fps"] if np.isfinite(row["fps"]) else float(np.median(rates or [0]))} for row in rows]
    ranges = {}
    for name in rows[0]:
        low, high = np.quantile([row[name] for row in rows], [0.005, 0.995])
        margin = 0.1 * (high - low)
        ranges[name] = [round(float(low - margin), 6), round(float(high + margin), 6)]
    usual = {"fps": round(float(np.median(rates)), 6)} if rates else {}
    return {"phantom_version": phantom_version, "ranges": ranges, "videos": len(rows), **usual}


WORDS = {
    "lit_share": "share of the picture that shows the sector",
    "mean_grey": "mean grey level in the sector",
    "grey_deviation": "contrast in the sector",
    "dark_share": "share of black pixels in the sector",
    "frame_difference": "change from frame to frame",
    "sharpness": "sharpness",
    "fps": "frames a second",
}


def unlikeness(frames: np.ndarray, fps: float, reference: dict[str, Any]) -> float:
    """How far a video lies outside the training videos' ranges: for each measure the excess over the range's width,
    at most 1 each, summed; 0 where it lies within all, NaN where the model knows no ranges."""
    ranges = reference.get("ranges", {})
    if not ranges:
        return float("nan")
    measured = {**describe(frames), "fps": fps}
    total = 0.0
    for name, (low, high) in ranges.items():
        value = measured[name]
        if np.isfinite(value):
            total += min(1.0, max(low - value, value - high, 0.0) / max(high - low, 1e-6))
    return total


def unlike(frames: np.ndarray, fps: float, reference: dict[str, Any]) -> list[str]:
    """What the model was trained on, where that must be said, and sentences on how a video is unlike it."""
    return [*training_notice(reference), *unlike_ranges(frames, fps, reference)]


def training_notice(reference: dict[str, Any]) -> list[str]:
    """A sentence where a model has seen synthetic clips only."""
    if reference.get("notice"):
        return [reference["notice"]]
    if reference.get("phantom_version") is not None:
        return [
            "The model was trained on synthetic clips (phantom version "
            f"{reference['phantom_version']}); its answer for a real recording has no clinical meaning."
        ]
    return []


def unlike_ranges(frames: np.ndarray, fps: float, reference: dict[str, Any]) -> list[str]:
    """Sentences on how a video is unlike the training videos; empty if it is not."""
    notes = []
    measured = {**describe(frames), "fps": fps}
    for name, (low, high) in reference.get("ranges", {}).items():
        value = measured[name]
        if value < low or value > high:  # an unknown value is neither
            said, lowest, highest = (_said(name, each) for each in (value, low, high))
            notes.append(
                f"Unlike the training videos: {WORDS[name]} is {said}; there it lies between {lowest} and {highest}."
            )
    return notes


def _said(name: str, value: float) -> str:
    """A measure as it is read: a share in percent; none is below 0, though a range with its margin may be."""
    value = max(value, 0.0)
    return f"{100 * min(value, 1.0):.3g} %" if name.endswith("_share") else f"{value:.3g}"
