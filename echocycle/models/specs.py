"""What a network was built from: enough to build it again."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from echocycle.models.build import build_segmenter
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import Ensemble, Regressor


@dataclass(frozen=True)
class SegmenterSpec:
    """What is needed to build a segmenter and its input."""

    network: str
    width: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: bool
    standardise: bool = False
    """Each frame is brought to mean 0 and standard deviation 1 of its own instead of the training videos'."""
    option: dict[str, str] = field(default_factory=dict)
    """Further settings of a network that looks at more than one frame at once."""

    def build(self) -> nn.Module:
        """The network with random weights."""
        return build_segmenter(self.network, self.width, self.option)


@dataclass(frozen=True)
class RegressorSpec:
    """What is needed to build a regressor and its input."""

    network: str
    widths: tuple[int, ...]
    channels: int
    """What goes in: 3 is the video, 4 the video and its masks, 1 the masks alone."""
    target_scale: float
    size: int
    frames: int
    period: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: bool
    members: int = 1
    """Networks whose mean is the answer."""
    dropout: float = 0.0
    """Share of values dropped between the stages."""
    passes: int = 1
    """Passes with dropout whose mean is a network's answer."""

    @property
    def span(self) -> int:
        """Video frames from a clip's first to its last, both counted."""
        return (self.frames - 1) * self.period + 1

    @property
    def takes_video(self) -> bool:
        """Whether the network sees the video's frames."""
        return self.channels != 1

    @property
    def takes_masks(self) -> bool:
        """Whether the network sees masks."""
        return self.channels != 3

    def visible(self, clips: Tensor) -> Tensor:
        """The channels that the network takes of clips (batch, 3 or 4, time, height, width), masks last."""
        return clips[:, -self.channels :] if self.takes_masks else clips[:, :3]

    def build_one(self) -> Regressor:
        """One network with random weights."""
        return Regressor(self.network, self.widths, self.channels, self.target_scale, self.dropout, self.passes)

    def build(self) -> nn.Module:
        """The network, or all members, with random weights."""
        return self.build_one() if self.members == 1 else Ensemble(self.build_one() for _ in range(self.members))


@dataclass
class Part:
    """A network ready to use, with its input preparation."""

    spec: Any
    network: nn.Module
    hash: str = ""

    def __post_init__(self) -> None:
        standardise = getattr(self.spec, "standardise", False)
        self.preprocess = Preprocess(self.spec.mean, self.spec.std, self.spec.size, standardise)

    def to(self, device: torch.device) -> "Part":
        """Move to a device, in evaluation mode and without gradients."""
        self.network.to(device).eval().requires_grad_(False)
        self.preprocess.to(device)
        return self
