"""What a phantom's folder knows beyond a list and videos, for its frame store: spacing, and the mask of every frame."""

import csv
from pathlib import Path

import numpy as np

from echocycle.checked import checked_json
from echocycle.data.mask_set import MaskWriter
from echocycle.data.store import SIZE


def phantom_version(root: Path) -> int | None:
    """The phantom's version, if the folder is one."""
    if not (root / "phantom.json").exists():
        return None
    found = checked_json(root / "phantom.json", {"phantom_version": int}, f"Draw {root} again with `phantom`.")
    version: int = found["phantom_version"]
    return version


def true_spacing(root: Path, name: str) -> tuple[float, float]:
    """Millimetres per pixel of a clip, (row, column)."""
    with np.load(root / "Truth" / f"{name}.npz") as truth:
        row, column = map(float, truth["spacing_mm"])
    return row, column


def what_is_drawn(root: Path) -> dict[str, dict[str, str]]:
    """Image quality and rhythm of a phantom's clips, by name; empty for a phantom of an earlier version."""
    path = root / "Patients.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rhythm = {"0": "regular", "1": "irregular"}
    return {
        row["FileName"]: {
            "quality": row.get("QualityName", "").capitalize(),
            "rhythm": rhythm.get(row.get("Fibrillation", ""), ""),
        }
        for row in rows
    }


def write_truth(store: Path, root: Path, names: list[str]) -> None:
    """The phantom's own masks of every frame of its clips, as the mask set `truth` of a store that is being made."""
    if (store / "masks" / "truth").exists():  # whole, and from before a kill
        return
    writer = MaskWriter(store / "masks" / "truth", len(names), {"size": SIZE, "source": "phantom"})
    for video, name in enumerate(names):
        if writer.is_done(video):
            continue
        with np.load(root / "Truth" / f"{name}.npz") as truth:
            shape = tuple(truth["masks_shape"])
            masks = np.unpackbits(truth["masks"], axis=1, count=shape[1] * shape[2]).reshape(shape)
        writer.add(video, masks * np.uint8(255))
    writer.finish()
