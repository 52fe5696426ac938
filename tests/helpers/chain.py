"""The preset `debug`, for tests of the loop and of the pipeline."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from echocycle.data.store import Store
from echocycle.settings.presets import preset
from echocycle.settings.stages import LoopSettings, RegressSettings, SegmentSettings

DEBUG = preset("debug")
LABELS, OPTIMISER = DEBUG.segment.labels, DEBUG.segment.optimiser


def loop_settings(**values: Any) -> LoopSettings:
    return replace(DEBUG.segment.loop, **{"device": "cpu", **values})


def segment_settings(method: str, **values: Any) -> SegmentSettings:
    """A U-Net of width 2 on frames of 32 pixels, whatever the method."""
    option = DEBUG.segment.option if method == "css" else {}
    chosen = {"method": method, "loop": loop_settings(), "option": option}
    return replace(DEBUG.segment, **{**chosen, **values})


def regress_settings(method: str, **values: Any) -> RegressSettings:
    """A slim R(2+1)D on clips of 4 frames of 32 pixels."""
    option = DEBUG.regression(method).option if method == "student" else {}
    chosen = {"method": method, "loop": loop_settings(), "option": option}
    return replace(DEBUG.regress["default"], **{**chosen, **values})


def copied(store: Store, folder: Path) -> Store:
    """A copy of the shared store, for tests that write masks."""
    shutil.copytree(store.path, folder / "store")
    return Store(folder / "store")
