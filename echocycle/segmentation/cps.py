"""CPS: two segmenters that are each other's labels on unlabelled frames (Chen et al., CVPR 2021; Tables V and VI).

Two networks of one design start from different heads. On every unlabelled frame each learns the other's hard answer;
no gradient passes through an answer. With `cutmix` the frames are patchworks of two, and the answers those for the
whole frames, cut in the same way. The first network is the result.

Where we depart from the paper, which says little: an unlabelled pixel weighs as much as a labelled one (a sum over
pixels and frames, halved like the segmentation loss), times 1.5, the original's weight on Pascal VOC without CutMix (1
with it; 6 and 5 on Cityscapes); the loss covers unlabelled frames only, one a video (`labelled_too true` gives the
original's, which covers labelled images too); CutMix is off, since the paper does not mention it. Its boxes are the
original's: three, whose sides are brought down by the root of three from boxes of a quarter to a half of the frame;
where two of them overlap the frame's own pixels stand again, so that the other frame has a quarter of the pixels on
average. The other frame is the next of the batch. Pseudo-labels are made in training mode. The presets with random
weights take a weight of 0.1: at 1.5 the first, wrong answers confirm one another. Optimiser and epochs are those of
`supervised`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.data.clips import Sampler, Stream
from echocycle.data.labels import TrainingData
from echocycle.errors import EchocycleError
from echocycle.models.segmenter import load_segmenter_weights
from echocycle.segmentation.supervised import SupervisedSegmentation, segmentation_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import SegmentSettings
from echocycle.training.method import Inputs, StepResult

BOXES = 3
BOX_SHARE = (0.25, 0.5)
"""Share of the frame of each box of CutMix, least and most, before all sides are divided by the root of `BOXES`."""


@dataclass(frozen=True)
class CPSOptions:
    """Settings of the cross pseudo-supervision."""

    weight: float = 1.5
    """Weight of the loss between the networks, lambda."""
    unlabelled_batch: int = 40
    """Unlabelled frames in a step, one a video."""
    cutmix: bool = False
    """Put boxes of another frame into each unlabelled frame."""
    labelled_too: bool = False
    """Let the networks teach each other on the labelled frames too."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, f"option.weight is {self.weight}; it must not be negative.")
        least = 2 if self.cutmix else 1
        require(
            self.unlabelled_batch >= least,
            f"option.unlabelled_batch is {self.unlabelled_batch}; it must be at least {least}.",
        )


class FrameBatch(NamedTuple):
    """Single frames without annotation."""

    frames: Tensor
    """uint8 (batch, height, width[, 3])."""
    boxes: Tensor | None
    """uint8 (batch, size, size): 1 where CutMix takes the other frame; None without."""
    row: Tensor
    """int64 (batch,): row of the store's index."""


@dataclass(frozen=True)
class FrameSampler(Sampler):
    """A random frame of a video, and boxes for CutMix."""

    boxes: int | None = None
    """Height and width of the boxes' mask in pixels; None for no boxes."""

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> FrameBatch:
        """One frame."""
        frame = np.array(data.frames(video)[rng.integers(data.n_frames(video))])
        boxes = random_boxes(self.boxes, rng) if self.boxes is not None else None
        return FrameBatch(frame, boxes, video)  # type: ignore[arg-type]


def random_boxes(size: int, rng: np.random.Generator) -> np.ndarray:
    """1 inside three boxes of random share, shape and place within a square, else 0; uint8 (size, size).

    Each box turns what it covers round, so that 0 stands again where two overlap: 0.25 of the square is 1 on average.
    """
    mask = np.zeros((size, size), np.uint8)
    for share in rng.uniform(*BOX_SHARE, BOXES):
        height = share ** rng.uniform()  # from the share itself, a band across, to 1, a band down
        tall, wide = (max(1, round(size * side / BOXES**0.5)) for side in (height, share / height))
        top, left = rng.integers(size - tall + 1), rng.integers(size - wide + 1)
        mask[top : top + tall, left : left + wide] ^= 1
    return mask


def pseudo_labels(logits: Tensor) -> Tensor:
    """The hard answer, 0 or 1, of logits of any shape; no gradient passes."""
    return (logits.detach() > 0).to(logits.dtype)


def cps_loss(first: Tensor, second: Tensor, first_labels: Tensor, second_labels: Tensor) -> Tensor:
    """Each network's cross-entropy with the other's answer, summed over pixels and frames and halved.

    Args:
        first, second: logits of the two networks, (frames, height, width).
        first_labels, second_labels: what each says, 0 to 1.
    """
    one = F.binary_cross_entropy_with_logits(first, second_labels, reduction="sum")
    other = F.binary_cross_entropy_with_logits(second, first_labels, reduction="sum")
    return (one + other) / 2


def mixed(whole: Tensor, boxes: Tensor) -> Tensor:
    """Each image or mask (batch, ..., size, size), with the next one's pixels in its boxes (batch, size, size)."""
    inside = boxes.bool().view(len(boxes), *[1] * (whole.ndim - 3), *boxes.shape[1:])
    return torch.where(inside, whole.roll(-1, 0), whole)


class CPS(SupervisedSegmentation):
    """Trains two segmenters on traced frames and on each other's answers."""

    name = "cps"
    Options: ClassVar[type] = CPSOptions

    def __init__(self, settings: SegmentSettings, options: CPSOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        require(
            options.unlabelled_batch > 1 or settings.network != "deeplabv3_resnet50",
            "option.unlabelled_batch must be at least 2 for deeplabv3_resnet50: its pooled branch cannot be normalised "
            "over one frame.",
        )
        self.options: CPSOptions = options
        self.second = self.spec.build()

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        load_segmenter_weights(self.second, self.settings.weights)
        pairs = zip(self.segmenter.parameters(), self.second.parameters(), strict=True)
        if all(torch.equal(one, other) for one, other in pairs):
            raise EchocycleError(
                f"The weights {self.settings.weights} fill both networks alike, so neither could teach the other. Give "
                "the weights of a backbone, or --weights none."
            )

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        network, [(example, count)] = super().step_examples()
        return network, [(example, 2 * count), (example, 2 * self.options.unlabelled_batch)]

    def streams(self) -> dict[str, Stream]:
        o = self.options
        sampler = FrameSampler(boxes=self.settings.size if o.cutmix else None)
        return {**super().streams(), "unlabelled": Stream(sampler, "unlabelled", o.unlabelled_batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        networks = (self.segmenter, self.second)
        images, masks = self.labelled_images(batches["labelled"])
        first, second = (torch.stack([network(phase).logits for phase in images]).float() for network in networks)
        cross, agreement = self.cross_loss(batches["unlabelled"])
        if self.options.labelled_too:
            cross = cross + cps_loss(first, second, pseudo_labels(first), pseudo_labels(second))
        return StepResult(
            {
                "segmentation": segmentation_loss(first, masks),
                "segmentation_second": segmentation_loss(second, masks),
                "cps": self.options.weight * cross,
            },
            {"agreement": agreement},
        )

    def cross_loss(self, batch: FrameBatch) -> tuple[Tensor, Tensor]:
        """The loss between the networks on unlabelled frames, and the share of pixels on which their answers agree."""
        networks = (self.segmenter, self.second)
        images = self.preprocess.frames(batch.frames, self.spec.color)
        if batch.boxes is None:
            first, second = (network(images).logits.float() for network in networks)
            labels = pseudo_labels(first), pseudo_labels(second)
        else:
            with torch.no_grad():
                answers = [pseudo_labels(network(images).logits.float()) for network in networks]
            labels = mixed(answers[0], batch.boxes), mixed(answers[1], batch.boxes)
            patchwork = mixed(images, batch.boxes)
            first, second = (network(patchwork).logits.float() for network in networks)
        return cps_loss(first, second, *labels), (labels[0] == labels[1]).float().mean()
