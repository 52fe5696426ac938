"""What an answer costs: multiply-adds and weights of a model's parts; a teacher needs masks, a student does not."""

from dataclasses import dataclass
from pathlib import Path

import torch

from echocycle.bundle_description import read_description
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.settings.convert import from_dict

FRAMES = 176
"""Frames of the video that costs are given for: the mean of EchoNet-Dynamic."""
STARTS = 16
"""Clips of it that are averaged."""


@dataclass(frozen=True)
class Cost:
    """Of one model's answer for one video."""

    parameters: int
    """Weights of what it takes to answer."""
    masks: float
    """Multiply-adds for the masks of every frame, in thousand millions; 0 for a model that needs none."""
    clips: float
    """Multiply-adds for the clips."""

    @property
    def whole(self) -> float:
        """All multiply-adds, in thousand millions."""
        return self.masks + self.clips


def cost_of(model: Path) -> Cost:
    """The cost of a bundle, from its description alone: no weights are read and nothing is computed.

    Args:
        model: the bundle's folder, or the run that holds it.
    """
    described = read_description(model)
    parts = described.parts
    specs: list[RegressorSpec] = [from_dict(RegressorSpec, parts[name].spec) for name in described.regressors]
    parameters, clips = 0, 0.0
    for spec in specs:
        regressor = _on_meta(spec)
        parameters += _parameters(regressor)
        clips += STARTS * _operations(regressor, (1, spec.channels, spec.frames, spec.size, spec.size))
    masks = 0.0
    if any(spec.takes_masks for spec in specs) and "segmenter" in parts:
        seen: SegmenterSpec = from_dict(SegmenterSpec, parts["segmenter"].spec)
        segmenter = _on_meta(seen)
        parameters += _parameters(segmenter)
        alone = (1, 3, seen.size, seen.size)
        masks = FRAMES * _operations(segmenter, (1, *alone) if seen.network == "beat_unet" else alone)
    return Cost(parameters, masks / 1e9, clips / 1e9)


def _on_meta(spec: RegressorSpec | SegmenterSpec) -> Part:
    with torch.device("meta"):
        network = spec.build()
    return Part(spec, network.eval())


def _parameters(part: Part) -> int:
    return sum(each.numel() for each in part.network.parameters())


def _operations(part: Part, shape: tuple[int, ...]) -> float:
    """Multiply-adds of one pass; PyTorch's counter counts both the multiplication and the addition."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        part.network(torch.zeros(shape, device="meta"))
    return counter.get_total_flops() / 2
