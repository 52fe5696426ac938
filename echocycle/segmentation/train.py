"""Stage `segment`: any method of segmentation, trained on a frame store."""

from pathlib import Path
from typing import Any

from echocycle.bundle import Bundle
from echocycle.runs import Run
from echocycle.segmentation import METHODS
from echocycle.settings.stages import SegmentSettings
from echocycle.training.opened import inputs_of, open_data
from echocycle.training.setup import train_method


def train_segmenter(store: Path, run: Path, settings: SegmentSettings, options: Any) -> Bundle:
    """Train a segmenter, or go on; `options` are the method's own settings, checked."""
    data = open_data(store, settings.labels, "tracing")
    inputs = inputs_of(data)
    return train_method(METHODS[settings.method], settings, options, inputs, data, Run(run), "segment")
