"""CSS: cyclical self-supervision of the segmenter, the paper's first contribution (Sec. III-A, Eq. 1 to 9).

A phase of the heartbeat, a few consecutive frames, is looked for later in the same unlabelled clip; a little after
the place where it is found, the clip must look like a little after the phase itself. The features compared are the
encoder's, summed over positions, so the loss shapes what the segmenter sees without a label.

Where we depart from the paper, following its public code: p* and the candidates run over the 11 phases that leave room
for the offset (`candidates paper`: 13 for p*, 15 candidates); features are summed, not averaged, over positions, and
the cross-entropy is summed over pixels, since temperature and weight were tuned so; only videos of more than 120 frames
give clips. Following the paper and not the code: clips come from labelled and unlabelled videos (`source unlabelled`
gives the code's), so that there is a loss with all labels too, which the code refuses; and unlabelled videos without a
tracing are used (`labels.untraced drop` leaves them out).

Where we depart from both: batch normalisation sees a whole batch on one device. The code spreads each over four cards
(DataParallel), whose statistics are those of 5 of the 20 frames, or 10 of the clip's 40. Validation is the plain mean
over videos; the code counts its short last batch for less. For networks whose map has other than 196 positions the
temperature is rescaled by (196 / positions)^2, as distances of sums grow with positions squared.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from echocycle.data.clips import CycleBatch, CycleSampler, Stream
from echocycle.segmentation.supervised import SupervisedSegmentation
from echocycle.settings.convert import require
from echocycle.settings.stages import SegmentSettings
from echocycle.training.method import Inputs, StepResult

PAPER_POSITIONS = 14 * 14
"""Positions of DeepLabV3's layer 4 at 112x112 pixels."""


@dataclass(frozen=True)
class CSSOptions:
    """Settings of the cyclical loss."""

    weight: float = 0.01
    """Weight of the cyclical loss, w_css."""
    phase_length: int = 3
    """Frames in a phase, s."""
    offset: int = 2
    """Frames from the found phase to the one that must agree, c."""
    template: int = 15
    """Frames at the start of the clip from which the phase is taken, P."""
    search: int = 21
    """Phases later in the clip among which it is found again, Q."""
    temperature: float = 10.0
    """Sharpness of both softmaxes, tau."""
    candidates: Literal["code", "paper"] = "code"
    """Phases among which the cycle must end where it began: the public code's 11, or the paper's 15."""
    pooling: Literal["sum", "mean"] = "sum"
    """How features become one vector a frame."""
    rescale_temperature: bool = True
    """Multiply the temperature by (196 / positions)^2 when features are summed."""
    period: int = 3
    """Video frames from one clip frame to the next."""
    longer_than: int = 120
    """Only videos with more frames give clips."""
    clips: int = 1
    """Clips in a step."""
    source: Literal["both", "unlabelled"] = "both"
    """Videos that give clips: labelled and unlabelled (paper), or unlabelled only (code)."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"option.weight is {self.weight}; it must not be negative.")
        for name in ("phase_length", "search", "temperature", "period", "clips"):
            require(getattr(self, name) > 0, f"option.{name} is {getattr(self, name)}; it must be above 0.")
        require(self.offset >= 0, f"option.offset is {self.offset}; it must not be negative.")
        require(
            self.template >= self.phase_length + self.offset,
            "option.template must be at least phase_length + offset, or no phase fits into it.",
        )

    @property
    def frames(self) -> int:
        """Frames in a clip, T = P + Q + s + c - 1."""
        return self.template + self.search + self.phase_length + self.offset - 1

    @property
    def starts(self) -> int:
        """Phases that p* can be."""
        return allowed_starts(self.template, self.phase_length, self.offset, self.candidates)


class Cycle(NamedTuple):
    """The cyclical loss and how it came about."""

    loss: Float[Tensor, " batch"]
    alpha: Float[Tensor, "batch search"]
    """Where in the search window the phase was found."""
    beta: Float[Tensor, "batch candidates"]
    """Where among the candidates what follows it leads back to; without a gradient."""


def allowed_starts(template: int, phase_length: int, offset: int, candidates: str) -> int:
    """How many phases p* (0-based, from 0) may be; p* + c must be a candidate too."""
    if candidates == "code":
        return template - phase_length + 1 - offset
    return min(template - phase_length + 1, template - offset)


def css_loss(
    features: Float[Tensor, "*batch time dim"],
    start: int | Int[Tensor, "*batch"],
    *,
    phase_length: int = 3,
    offset: int = 2,
    template: int = 15,
    search: int = 21,
    temperature: float = 10.0,
    candidates: Literal["code", "paper"] = "code",
) -> Float[Tensor, "*batch"]:
    """L_css, the cyclical loss (paper Eq. 1 to 7).

    Args:
        features: one vector a frame; a clip, or a batch of clips.
        start: p*, 0-based: the phase whose return is asked for; one for each clip.

    Returns:
        A scalar for one clip, (batch,) for a batch.

    Raises:
        ValueError: the clip is too short for the windows, or `start` is out of range.
    """
    batch = features.shape[:-2]
    clips = features.reshape(-1, *features.shape[-2:])
    starts = torch.as_tensor(start, device=features.device).expand(batch).reshape(-1)
    loss = cycle(clips, starts, phase_length, offset, template, search, temperature, candidates).loss
    return loss.reshape(batch)


def cycle(
    features: Float[Tensor, "batch time dim"],
    start: Int[Tensor, " batch"],
    phase_length: int,
    offset: int,
    template: int,
    search: int,
    temperature: float,
    candidates: str,
) -> Cycle:
    """The cyclical loss of a batch of clips, with the attention it found."""
    needed = template + search + phase_length + offset - 1
    if features.shape[1] < needed:
        raise ValueError(
            f"The clip has {features.shape[1]} frames; template {template}, search {search}, phase_length "
            f"{phase_length} and offset {offset} need {needed}."
        )
    allowed = allowed_starts(template, phase_length, offset, candidates)
    if bool((start < 0).any()) or bool((start >= allowed).any()):
        raise ValueError(f"start must lie in 0 .. {allowed - 1}, but is {start.tolist()}.")
    dim = features.shape[-1]
    scale = temperature / (dim * phase_length)
    row = torch.arange(len(features), device=features.device)

    phases = features.unfold(1, phase_length, 1)  # E^t: (batch, phases, dim, phase_length), Eq. 1
    template_phase = phases[row, start]  # E^p*
    searched = phases[:, template : template + search]  # E^q, q in Q
    alpha = F.softmax(-scale * squared_distances(template_phase, searched), 1)  # Eq. 2 and 3
    later = phases[:, template + offset : template + offset + search]
    found = torch.einsum("bq,bqds->bds", alpha, later)  # Eq. 4 and 5: frames c .. c+s-1 after each q, weighted
    if candidates == "code":
        among, target = phases[:, offset : offset + allowed], start
    else:
        among, target = phases[:, :template], start + offset
    beta = -scale * squared_distances(found, among)  # Eq. 6, before the softmax
    loss = F.cross_entropy(beta, target, reduction="none")  # Eq. 7: -log beta_(p*+c)
    return Cycle(loss, alpha, beta.detach().softmax(1))


def squared_distances(
    one: Float[Tensor, "batch dim phase"], many: Float[Tensor, "batch phases dim phase"]
) -> Float[Tensor, "batch phases"]:
    """Squared distances of one phase to many."""
    return (many - one[:, None]).square().sum((-1, -2))


def pool(
    features: Float[Tensor, "frames dim rows columns"], pooling: str, temperature: float, *, rescale: bool
) -> tuple[Float[Tensor, "frames dim"], float]:
    """One vector a frame, and the temperature for them; see `rescale_temperature`."""
    features = features.float()
    if pooling == "mean":
        return features.mean((-1, -2)), temperature
    positions = features.shape[-2] * features.shape[-1]
    return features.sum((-1, -2)), temperature * ((PAPER_POSITIONS / positions) ** 2 if rescale else 1)


class CSS(SupervisedSegmentation):
    """Trains a segmenter on traced frames and on the cycles of any clip."""

    name = "css"
    Options: ClassVar[type] = CSSOptions

    def __init__(self, settings: SegmentSettings, options: CSSOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.options: CSSOptions = options

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        network, [labelled] = super().step_examples()
        return network, [labelled, (labelled[0], self.options.clips * self.options.frames)]

    def streams(self) -> dict[str, Stream]:
        o = self.options
        sampler = CycleSampler(o.frames, o.period, o.starts, o.longer_than)
        cycles = Stream(sampler, "both" if o.source == "both" else "unlabelled", o.clips)
        return {**super().streams(), "cycles": cycles}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        segmentation = self.labelled_loss(batches["labelled"])
        found = self.cycle_of(batches["cycles"])
        entropy = -(found.alpha * found.alpha.clamp_min(1e-12).log()).sum(1).mean()
        return StepResult(  # L_vol = L_seg + w_css L_css, Eq. 9
            {"segmentation": segmentation, "css": self.options.weight * found.loss.mean()},
            {"alpha_entropy": entropy.detach(), "css_unweighted": found.loss.mean().detach()},
        )

    def cycle_of(self, batch: CycleBatch) -> Cycle:
        """The cycles of a batch of clips, by the encoder's features."""
        o = self.options
        frames = self.preprocess.frames(batch.video.flatten(0, 1), self.spec.color)
        # The whole network and not the encoder alone, as in the code: the decoder's running statistics see it too.
        features = self.segmenter(frames).features
        pooled, temperature = pool(features, o.pooling, o.temperature, rescale=o.rescale_temperature)
        return cycle(
            pooled.unflatten(0, (-1, o.frames)),
            batch.start,
            o.phase_length,
            o.offset,
            o.template,
            o.search,
            temperature,
            o.candidates,
        )
