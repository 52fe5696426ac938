"""The smallest settings with which every stage runs, for tests of the loop and of the pipeline."""

import shutil
from pathlib import Path
from typing import Any

from echocycle.data.store import Store
from echocycle.settings.stages import LabelSettings, LoopSettings, OptimiserSettings, RegressSettings, SegmentSettings

LABELS = LabelSettings(labelled="4", validation="4")
OPTIMISER = OptimiserSettings("adamw", lr=1e-3, weight_decay=1e-2, schedule="one-cycle")


def loop_settings(**values: Any) -> LoopSettings:
    return LoopSettings(**{"steps": 4, "validate_every": 2, "device": "cpu", "tensorboard": False, **values})


def segment_settings(method: str, **values: Any) -> SegmentSettings:
    """A U-Net of width 2 on frames of 32 pixels."""
    option = {"period": "2", "longer_than": "79"} if method == "css" else {}
    chosen = {
        "network": "unet",
        "width": 2,
        "weights": "none",
        "size": 32,
        "batch": 2,
        "labels": LABELS,
        "optimiser": OPTIMISER,
        "loop": loop_settings(),
        "option": option,
    }
    return SegmentSettings(method=method, **{**chosen, **values})


def regress_settings(method: str, **values: Any) -> RegressSettings:
    """A slim R(2+1)D on clips of 4 frames of 32 pixels."""
    chosen = {
        "widths": (4, 8, 8, 8),
        "weights": "none",
        "size": 32,
        "frames": 4,
        "period": 3,
        "pad": 4,
        "batch": 2,
        "fc_bias": None,
        "target_scale": 10.0,
        "labels": LABELS,
        "optimiser": OPTIMISER,
        "loop": loop_settings(),
        "option": {"unlabelled_batch": "2"} if method == "student" else {},
    }
    return RegressSettings(method=method, **{**chosen, **values})


def copied(store: Store, folder: Path) -> Store:
    """A copy of the shared store, for tests that write masks."""
    shutil.copytree(store.path, folder / "store")
    return Store(folder / "store")
