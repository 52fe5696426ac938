"""Supervised segmentation: the left ventricle from the traced ED and ES frames of labelled videos.

Ouyang et al., Nature 580 (2020); the rows "Supervised" and "Video+Seg." of the paper's Tables IV to VI. Per step
20 labelled videos give 20 ED and 20 ES frames, each a forward pass of its own, so that batch normalisation sees
them apart.

Where we depart from the paper: frames are kept grey and given three times (`prepare.color true` keeps RGB). It does not
say, and its public code has, the sum over pixels, no decay of the weights, a learning rate that stays what it is,
ImageNet weights for the backbone, and the epoch with the lowest cross-entropy of one validation pass. The code spreads
a batch over four cards (DataParallel), so that batch normalisation sees 5 of the 20 frames at a time; ours sees all 20
on one device. Ours are `augment spatial`, for few labels and random weights, and `augment strong` with `standardise`,
for images of a machine that training never saw.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.data.clips import Stream, TracedBatch, TracedFrameSampler
from echocycle.data.labels import TrainingData
from echocycle.models.augment import strongly_augmented
from echocycle.models.ghost_batch_norm import apart
from echocycle.models.preprocess import Preprocess, resize, warp
from echocycle.models.segmenter import SEGMENTERS, load_segmenter_weights
from echocycle.models.specs import Part, SegmenterSpec
from echocycle.settings.convert import require
from echocycle.settings.stages import SegmentSettings
from echocycle.training.method import Inputs, Method, StepResult, Validation

BEAT = "beat_unet"
"""A network that sees how a clip changes over time. Here its clip is the two traced frames, between which the
ventricle moves most; when it marks a video it sees whole beats."""


@dataclass(frozen=True)
class SupervisedOptions:
    """Supervised segmentation has no settings of its own."""


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """L_seg, half the summed binary cross-entropy of the ED frames plus half that of the ES frames (paper Eq. 8).

    A sum over pixels and frames, not a mean: the paper's learning rate of 1e-5 depends on it.

    Args:
        logits: (2, batch, height, width), ED first.
        masks: the same shape, 0 to 1.
    """
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="sum") / 2


def dice(found: Tensor, true: Tensor) -> float:
    """Dice of boolean masks of one shape, pooled over all their pixels; two empty ones agree: 1.

    What is watched while training. `evaluation.metrics.pooled_dice` is the same of pixel counts.
    """
    total = int(found.sum() + true.sum())
    return 2 * int((found & true).sum()) / total if total else 1.0


class SupervisedSegmentation(Method):
    """Trains a segmenter on traced frames alone."""

    name = "supervised"
    Options: ClassVar[type] = SupervisedOptions
    settings: SegmentSettings

    def __init__(self, settings: SegmentSettings, options: Any, inputs: Inputs):
        super().__init__(settings, options, inputs)
        require(
            settings.batch > 1 or settings.network != "deeplabv3_resnet50",
            "batch must be at least 2 for deeplabv3_resnet50: its pooled branch cannot be normalised over one frame.",
        )
        self.spec = self.segmenter_spec(inputs)
        self.segmenter = self.spec.build()
        self.preprocess = Preprocess(inputs.mean, inputs.std, settings.size, settings.standardise)

    def segmenter_spec(self, inputs: Inputs) -> SegmenterSpec:
        """What is built and trained; methods with a network of their own change it."""
        s = self.settings
        known = [*SEGMENTERS, *([BEAT] if self.name == SupervisedSegmentation.name else [])]
        require(
            s.network in known, f"Method {self.name} takes no network {s.network!r}; choose one of {', '.join(known)}."
        )
        require(s.network != BEAT or not inputs.color, f"Network {BEAT} takes grey frames; prepare without --color.")
        return SegmenterSpec(s.network, s.width, s.size, inputs.mean, inputs.std, inputs.color, s.standardise)

    def prepare_start(self, data: TrainingData) -> None:
        load_segmenter_weights(self.segmenter, self.settings.weights)

    @property
    def in_pairs(self) -> bool:
        """Whether the network sees ED and ES of a video together, as a clip of two frames."""
        return self.spec.network == BEAT

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        if self.in_pairs:
            return self.segmenter, [(torch.empty(2, 2, 3, self.spec.size, self.spec.size), self.settings.batch)]
        return self.segmenter, [(torch.empty(2, 3, self.spec.size, self.spec.size), 2 * self.settings.batch)]

    def streams(self) -> dict[str, Stream]:
        sampler = TracedFrameSampler(augment=self.settings.augment == "spatial")
        return {"labelled": Stream(sampler, "labelled", self.settings.batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        return StepResult({"segmentation": self.labelled_loss(batches["labelled"])}, {})

    def labelled_loss(self, batch: TracedBatch) -> Tensor:
        """The segmentation loss of a batch; ED and ES frames are normalised apart."""
        images, masks = self.labelled_images(batch)
        return segmentation_loss(self.logits_of(images, one_pass=images.is_cuda).float(), masks)

    def logits_of(self, images: Tensor, *, one_pass: bool) -> Tensor:
        """Logits (2, batch, height, width) of ED and ES frames (2, batch, 3, height, width).

        Two passes and one compute the same. On a CPU two are a little faster; a GPU is better filled by one.
        """
        if self.in_pairs:
            pairs: Tensor = self.segmenter(images.transpose(0, 1))
            return pairs.transpose(0, 1)
        if not one_pass:
            return torch.stack([self.segmenter(phase).logits for phase in images])
        with apart(self.segmenter, len(images)):
            logits: Tensor = self.segmenter(images.flatten(0, 1)).logits
        return logits.unflatten(0, images.shape[:2])

    def labelled_images(self, batch: TracedBatch) -> tuple[Tensor, Tensor]:
        """Images (2, batch, 3, size, size) and masks (2, batch, size, size), augmented as the settings say."""
        masks = self._targets(batch)
        if self.settings.augment == "strong":
            levels = self.preprocess.levels(batch.frames.flatten(0, 1), self.spec.color)
            levels, changed = strongly_augmented(levels, masks.flatten(0, 1))
            images, masks = (part.unflatten(0, (2, -1)) for part in (self.preprocess.normalised(levels), changed))
        else:
            images = self._images(batch)
        if self.settings.augment == "spatial":
            images, masks = (
                _warp_pairs(images, batch.warp, "border"),
                _warp_pairs(masks[:, :, None], batch.warp, "zeros")[:, :, 0],
            )
        return images, masks

    def _images(self, batch: TracedBatch) -> Tensor:
        return self.preprocess.frames(batch.frames.flatten(0, 1), self.spec.color).unflatten(0, (2, -1))

    def _targets(self, batch: TracedBatch) -> Tensor:
        return resize(batch.masks.float(), self.spec.size)

    def validation(self) -> Validation:
        return Validation(Stream(TracedFrameSampler(), "validation", self.settings.batch), "bce")

    def score(self, batch: TracedBatch) -> dict[str, tuple[float, int]]:
        targets = self._targets(batch)
        logits = self.logits_of(self._images(batch), one_pass=False).float()
        count = targets.shape[1]
        return {
            "bce": (segmentation_loss(logits, targets).item(), count),
            "dice": (dice(logits > 0, targets > 0.5) * count, count),
        }

    def parts(self) -> dict[str, Part]:
        return {"segmenter": Part(self.spec, self.segmenter)}


def _warp_pairs(images: Tensor, parameters: Tensor, padding: str) -> Tensor:
    """`warp` of (phases, batch, channels, height, width)."""
    moved = warp(images.flatten(0, 1), parameters.flatten(0, 1), padding)
    return moved.unflatten(0, images.shape[:2])
