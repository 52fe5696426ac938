"""A part of a model whose network is run by another engine; whoever calls it need not know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.engines.sessions import Run
from echocycle.errors import EchocycleError
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.segmenter import SegmenterOutput
from echocycle.models.specs import Part, RegressorSpec
from echocycle.models.video_segmenter import VideoSegmenter

CLIPS_AT_ONCE = 4
"""Clips in one call of an engine, so that memory stays that of a few."""


class EngineFailedError(EchocycleError):
    """An engine could not compute what it was given."""


def on_engine(part: Part, run: Run, name: str) -> Part:
    """The part with its network run by `run`, an open graph of `graphs.inner_graph`; `name` is the engine's."""

    def checked(array: Tensor) -> Tensor:
        try:
            found = run(np.ascontiguousarray(array.numpy()))
        except Exception as error:  # each engine has classes of its own
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise EngineFailedError(f"{name} failed: {told}") from error
        return torch.from_numpy(found)

    if isinstance(part.spec, RegressorSpec):
        network: nn.Module = _Clips(checked)
    else:
        network = (_Together if isinstance(part.network, BeatSegmenter) else _Frames)(checked)
    return Part(part.spec, network.eval(), part.hash).to(torch.device("cpu"))


class _Run(nn.Module):
    def __init__(self, run: Callable[[Tensor], Tensor]):
        super().__init__()
        self.run = run


class _Frames(_Run):
    def forward(self, images: Tensor) -> SegmenterOutput:
        logits = self.run(images)
        return SegmenterOutput(logits, logits.new_empty(0))


class _Together(_Run, VideoSegmenter):
    video = BeatSegmenter.video  # type: ignore[assignment]

    def forward(self, clips: Tensor) -> Tensor:
        return torch.stack([self.run(clip) for clip in clips])


class _Clips(_Run):
    def forward(self, clips: Tensor) -> Tensor:
        return torch.cat([self.run(some) for some in clips.split(CLIPS_AT_ONCE)])
