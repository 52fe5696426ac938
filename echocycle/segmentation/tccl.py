"""TCCL: cycles between two videos, the paper's Table III (Dwibedi et al., CVPR 2019, adapted in its Sec. IV-C).

A phase of the heartbeat from one clip is looked for in a clip of another video; what is found there must lead back
to the phase it started from. It takes the place of the cyclical loss (`css`) and nothing else, so there is no offset:
the nearest phase of the other video is compared itself.

Where we depart from the paper: it does not say how the cycle is scored. By default it is CSS's cross-entropy over the
13 phases of the template; `cycle_back regression` and `smoothing` are the original's two losses. The variance that
regression divides by is held above that of an index rounded to a whole number, or a sharp beta would divide by zero.
Both clips pass the network in one batch. Temperature, pooling, clips and the optimiser are as in `css`, as is what
departs there from the code; the original has Adam at 1e-4.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from echocycle.data.clips import Sampler, Stream, clip_start, cut_clip
from echocycle.data.labels import Subset, TrainingData
from echocycle.errors import EchocycleError
from echocycle.segmentation.css import pool, squared_distances
from echocycle.segmentation.supervised import SupervisedSegmentation
from echocycle.settings.convert import require
from echocycle.settings.stages import SegmentSettings
from echocycle.training.method import Inputs, StepResult


@dataclass(frozen=True)
class TCCLOptions:
    """Settings of the loss between videos."""

    weight: float = 0.01
    """Weight of the loss."""
    phase_length: int = 3
    """Frames in a phase, s."""
    template: int = 15
    """Frames of the clip that the phase is taken from, P."""
    search: int = 21
    """Phases of the other video's clip among which it is looked for, Q."""
    temperature: float = 10.0
    """Sharpness of both softmaxes, tau."""
    cycle_back: Literal["classification", "regression"] = "classification"
    """What the way back is scored by: the cross-entropy of the phase, or the squared error of its mean place over its
    variance (the original's default)."""
    smoothing: float = 0.0
    """Label smoothing of `classification`; the original has 0.1."""
    variance_weight: float = 0.001
    """Weight of the log variance in `regression`."""
    pooling: Literal["sum", "mean"] = "sum"
    """How features become one vector a frame."""
    rescale_temperature: bool = True
    """Multiply the temperature by (196 / positions)^2 when features are summed."""
    period: int = 3
    """Video frames from one clip frame to the next."""
    longer_than: int = 120
    """Only videos with more frames give clips."""
    clips: int = 1
    """Pairs of clips in a step."""
    source: Literal["both", "unlabelled"] = "both"
    """Videos that give clips: labelled and unlabelled, or unlabelled only."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"option.weight is {self.weight}; it must not be negative.")
        for name in ("phase_length", "search", "temperature", "period", "clips"):
            require(getattr(self, name) > 0, f"option.{name} is {getattr(self, name)}; it must be above 0.")
        require(0 <= self.smoothing < 1, f"option.smoothing is {self.smoothing}; give 0 to less than 1.")
        require(
            self.template > self.phase_length,
            "option.template must be above phase_length, or there is no choice of phases.",
        )

    @property
    def frames(self) -> tuple[int, int]:
        """Frames of the clip that the phase comes from, and of the clip that it is looked for in."""
        return self.template, self.search + self.phase_length - 1

    @property
    def starts(self) -> int:
        """Phases that p* can be."""
        return self.template - self.phase_length + 1


class PairBatch(NamedTuple):
    """Clips of two videos each."""

    template: Tensor
    """uint8 (batch, time, height, width[, 3]): the clip that the phase is taken from."""
    searched: Tensor
    """uint8 (batch, time, height, width[, 3]): the clip of another video."""
    start: Tensor
    """int64 (batch,): the phase p* (0-based)."""
    row: Tensor
    """int64 (batch,): row of the store's index of the first video."""
    other: Tensor
    """int64 (batch,): that of the second."""


@dataclass(frozen=True)
class PairSampler(Sampler):
    """A clip of a video and a clip of another, drawn from the rest of the subset."""

    frames: tuple[int, int]
    period: int
    starts: int
    longer_than: int
    subset: Subset

    def usable(self, data: TrainingData, video: int) -> bool:
        """Whether the video is long enough for either clip."""
        n_frames = data.n_frames(video)
        return n_frames > self.longer_than and n_frames >= (max(self.frames) - 1) * self.period + 1

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> PairBatch:
        """One pair."""
        other = self._other(data, video, rng)
        template, searched = (
            cut_clip(data, each, clip_start(data.n_frames(each), frames, self.period, rng), frames, self.period)[0]
            for each, frames in zip((video, other), self.frames, strict=True)
        )
        return PairBatch(template, searched, int(rng.integers(self.starts)), video, other)  # type: ignore[arg-type]

    def _other(self, data: TrainingData, video: int, rng: np.random.Generator) -> int:
        for other in rng.permutation(data.videos(self.subset)).tolist():
            if other != video and self.usable(data, other):
                return int(other)
        raise EchocycleError(
            f"The loss between videos needs two videos of more than {self.longer_than} frames and finds one among "
            "those it may take. Take more videos into the budget, or lower --option.longer-than."
        )


class CycleBack(NamedTuple):
    """The loss between videos and how it came about."""

    loss: Float[Tensor, " batch"]
    alpha: Float[Tensor, "batch search"]
    """Where in the other video the phase was found."""


def tccl_loss(
    template: Float[Tensor, "batch frames dim"],
    searched: Float[Tensor, "batch others dim"],
    start: Int[Tensor, " batch"],
    *,
    phase_length: int = 3,
    search: int = 21,
    temperature: float = 10.0,
    cycle_back: Literal["classification", "regression"] = "classification",
    smoothing: float = 0.0,
    variance_weight: float = 0.001,
) -> CycleBack:
    """From each phase p* of `template` to its nearest in `searched` and back.

    Args:
        template: one vector a frame.
        searched: the other video's; its first `search` phases are looked at.
        start: p*, 0-based.

    Raises:
        ValueError: a clip is too short, or `start` is out of range.
    """
    phases, others = template.shape[1] - phase_length + 1, searched.shape[1] - phase_length + 1
    if phases < 1 or others < search:
        raise ValueError(
            f"The clips have {template.shape[1]} and {searched.shape[1]} frames; phase_length {phase_length} and "
            f"search {search} need at least {phase_length} and {search + phase_length - 1}."
        )
    if bool((start < 0).any()) or bool((start >= phases).any()):
        raise ValueError(f"start must lie in 0 .. {phases - 1}, but is {start.tolist()}.")
    scale = temperature / (template.shape[-1] * phase_length)
    row = torch.arange(len(template), device=template.device)

    own = template.unfold(1, phase_length, 1)  # E_A: (batch, phases, dim, phase_length)
    other = searched.unfold(1, phase_length, 1)[:, :search]  # E_B
    alpha = F.softmax(-scale * squared_distances(own[row, start], other), 1)
    found = torch.einsum("bq,bqds->bds", alpha, other)
    beta = -scale * squared_distances(found, own)  # before the softmax
    if cycle_back == "classification":
        return CycleBack(F.cross_entropy(beta, start, reduction="none", label_smoothing=smoothing), alpha)
    place = torch.arange(phases, device=beta.device, dtype=beta.dtype) / phases  # as a share of their number
    share = F.softmax(beta, 1)
    mean = (share * place).sum(1)
    variance = (share * (place - mean[:, None]).square()).sum(1).clamp_min(1 / (12 * phases**2))
    return CycleBack((place[start] - mean).square() / variance + variance_weight * variance.log(), alpha)


class TCCL(SupervisedSegmentation):
    """Trains a segmenter on traced frames and on cycles between two videos."""

    name = "tccl"
    Options: ClassVar[type] = TCCLOptions

    def __init__(self, settings: SegmentSettings, options: TCCLOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.options: TCCLOptions = options

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        network, [labelled] = super().step_examples()
        return network, [labelled, (labelled[0], self.options.clips * sum(self.options.frames))]

    def streams(self) -> dict[str, Stream]:
        o = self.options
        sampler = PairSampler(o.frames, o.period, o.starts, o.longer_than, o.source)
        return {**super().streams(), "pairs": Stream(sampler, o.source, o.clips)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        segmentation = self.labelled_loss(batches["labelled"])
        found = self.cycle_of(batches["pairs"])
        entropy = -(found.alpha * found.alpha.clamp_min(1e-12).log()).sum(1).mean()
        return StepResult(
            {"segmentation": segmentation, "tccl": self.options.weight * found.loss.mean()},
            {"alpha_entropy": entropy.detach(), "tccl_unweighted": found.loss.mean().detach()},
        )

    def cycle_of(self, batch: PairBatch) -> CycleBack:
        """The cycles of a batch of pairs, by the encoder's features."""
        o = self.options
        count = len(batch.start)
        video = torch.cat([batch.template.flatten(0, 1), batch.searched.flatten(0, 1)])
        features = self.segmenter(self.preprocess.frames(video, self.spec.color)).features
        pooled, temperature = pool(features, o.pooling, o.temperature, rescale=o.rescale_temperature)
        template, searched = pooled.split([count * frames for frames in o.frames])
        return tccl_loss(
            template.unflatten(0, (count, -1)),
            searched.unflatten(0, (count, -1)),
            batch.start,
            phase_length=o.phase_length,
            search=o.search,
            temperature=temperature,
            cycle_back=o.cycle_back,
            smoothing=o.smoothing,
            variance_weight=o.variance_weight,
        )
