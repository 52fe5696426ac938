"""Two models beside each other on the same validation videos: error of EF, Dice, and how sure the difference is."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import Interval, bootstrap_interval, paired_difference
from echocycle.labelling.curve import Contour

if TYPE_CHECKING:
    import torch

    from echocycle.bundle import Bundle

WORST = 10
STRIDE = 4
"""Frames between two clips whose EF are averaged, as `predict` does it."""


def compare(
    truths: list[dict[str, Any]],
    path_of: Callable[[str], Path],
    new: Path,
    used: Path,
    said: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The new model and the one in use on validation videos, as JSON.

    Args:
        truths: of each video id, name, patient, ef, and the reader's contours ed and es.
        path_of: where a video lies, by its id.
        new: a bundle.
        used: a bundle, or a name of the package.
    """
    import torch

    from echocycle.bundle import load_bundle

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bundles = {"new": load_bundle(new, device), "used": load_bundle(used, device)}
    rows = []
    for number, truth in enumerate(truths, 1):
        rows.append({**truth, **_answers(truth, path_of(truth["id"]), bundles, device)})
        if said is not None:
            said(number, len(truths))
    return summary(rows)


def _answers(
    truth: dict[str, Any], path: Path, bundles: dict[str, "Bundle"], device: "torch.device"
) -> dict[str, float | None]:
    """EF and mean Dice of ED and ES of both models in one video."""
    from echocycle.inference.recordings import predict_cut
    from echocycle.labelling.looked import place_of
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import cut_sector

    color = any(part.spec.color for bundle in bundles.values() for part in bundle.parts().values())
    found: dict[str, float | None] = {}
    try:
        recording = read_recording(path, color=color)
    except EchocycleError:
        return {f"{what}_{name}": None for name in bundles for what in ("ef", "dice")}
    cut = cut_sector(recording)
    back = np.linalg.inv(np.vstack([cut.affine, [0, 0, 1]]))[:2]
    contours = [_contour(truth[phase]).moved(back) for phase in ("ed", "es")]
    for name, bundle in bundles.items():
        result = predict_cut(cut, path.name, bundle, None, device, STRIDE)
        found[f"ef_{name}"] = result.ef
        found[f"dice_{name}"] = None
        if result.masks is not None:
            places = [place_of(each.frame, recording.stored_frames) for each in contours]
            masks = [result.masks[place] > 127 for place in places]
            pairs = [(each.mask(*cut.frames.shape[1:]), mask) for each, mask in zip(contours, masks, strict=True)]
            found[f"dice_{name}"] = float(np.mean([_dice(a, b) for a, b in pairs]))
    return found


def _contour(value: dict[str, Any]) -> Contour:
    first, second = value["mitral"]
    return Contour(value["frame"], tuple((x, y) for x, y in value["points"]), value["apex"], (first, second))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else 0.0


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page shows of answers (`ef_new`, `ef_used`, `dice_new`, `dice_used`) beside the truth (`ef`).

    Errors are mean absolute ones in EF points, with 95 % intervals over patients; only videos in which both models
    answered count, and how many did not is said.
    """
    both = [row for row in rows if row["ef_new"] is not None and row["ef_used"] is not None]
    out: dict[str, Any] = {
        "videos": len(both),
        "without_answer": {name: sum(row[f"ef_{name}"] is None for row in rows) for name in ("new", "used")},
        "error_new": None,
        "error_used": None,
        "difference": None,
        "dice_new": _mean(rows, "dice_new"),
        "dice_used": _mean(rows, "dice_used"),
        "worst": _worst(rows),
    }
    if len(both) == 1:  # of one video there is an error, and no interval
        (row,) = both
        errors = {name: abs(row[f"ef_{name}"] - row["ef"]) for name in ("new", "used")}
        differs = {"difference": errors["new"] - errors["used"]}
        for name, value in {"error_new": errors["new"], "error_used": errors["used"], **differs}.items():
            out[name] = {"value": value, "low": None, "high": None}
    elif both:
        true, new, used = (np.array([row[key] for row in both]) for key in ("ef", "ef_new", "ef_used"))
        groups = [row["patient"] for row in both]
        out["error_new"] = _interval(bootstrap_interval(true, new, "mae", groups=groups))
        out["error_used"] = _interval(bootstrap_interval(true, used, "mae", groups=groups))
        out["difference"] = _interval(paired_difference(true, new, used, "mae", groups=groups))
    out["sentence"] = sentence(out)
    return out


def sentence(found: dict[str, Any]) -> str:
    """Which model is better, as far as it is shown."""
    difference = found["difference"]
    if difference is None:
        return "There is no validation video in which both models gave an EF, so they cannot be compared."
    new, used = found["error_new"]["value"], found["error_used"]["value"]
    told = (
        f"On {found['videos']} validation videos the new model errs by {new:.1f} points, the one in use by {used:.1f}"
    )
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return f"{told}; with so few patients that difference may be chance."
    told += f"; difference {difference['value']:.1f} (95 % interval {low:.1f} to {high:.1f})"
    if high < 0:
        return f"{told}: the new one is better."
    if low > 0:
        return f"{told}: the new one is worse."
    return f"{told}: which is better is not shown."


def _worst(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The videos in which the new model errs most; those without an answer first."""
    errors = [
        (math.inf if row["ef_new"] is None else abs(row["ef_new"] - row["ef"]), row["id"], row["name"]) for row in rows
    ]
    errors.sort(key=lambda each: (-each[0], each[2]))
    return [
        {"id": video, "name": name, "error": error if math.isfinite(error) else None}
        for error, video, name in errors[:WORST]
    ]


def _mean(rows: list[dict[str, Any]], key: str) -> float | None:
    known = [row[key] for row in rows if row[key] is not None]
    return float(np.mean(known)) if known else None


def _interval(found: Interval) -> dict[str, float | None]:
    """An interval as JSON; ends that are undefined are null."""
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {name: float(value) if math.isfinite(value) else None for name, value in ends.items()}
