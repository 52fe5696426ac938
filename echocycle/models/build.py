"""Segmenters by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from echocycle.errors import EchocycleError
from echocycle.models.segmenter import SEGMENTERS


def build_segmenter(network: str, width: int = 16, option: Mapping[str, Any] | None = None) -> nn.Module:
    """A segmenter with random weights, of frames or (with their own `option`) of more than a frame at once."""
    from echocycle.models.beat_segmenter import BeatSegmenter
    from echocycle.models.video_segmenter import VIDEO_SEGMENTERS

    if network == "beat_unet":
        return BeatSegmenter(width)
    if network in VIDEO_SEGMENTERS:
        return VIDEO_SEGMENTERS[network](width, option or {})
    if network not in SEGMENTERS:
        raise EchocycleError(f"There is no segmenter {network!r}; choose one of {', '.join(SEGMENTERS)}.")
    # channels last: half the time of a pass on a CPU, and what matrix units want on a GPU
    return SEGMENTERS[network](width).to(memory_format=torch.channels_last)
