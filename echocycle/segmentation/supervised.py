"""Supervised segmentation: the left ventricle from the traced ED and ES frames of labelled videos.

Ouyang et al., Nature 580 (2020); the rows "Supervised" and "Video+Seg." of the paper's Tables IV to VI. Per step
20 labelled videos give 20 ED and 20 ES frames, each a forward pass of its own, so that batch normalisation sees
them apart.

Where we depart from the paper: nothing by default; `augment spatial` is ours, for few labels and random weights.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.bundle import Part, SegmenterSpec
from echocycle.data.clips import Stream, TracedBatch, TracedFrameSampler
from echocycle.data.labels import TrainingData
from echocycle.method import Inputs, Method, StepResult, Validation
from echocycle.models.preprocess import Preprocess, resize, warp
from echocycle.models.segmenter import load_segmenter_weights
from echocycle.settings import SegmentSettings, require


@dataclass(frozen=True)
class SupervisedOptions:
    """Supervised segmentation has no settings of its own."""


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Half the summed binary cross-entropy of the ED frames plus half that of the ES frames.

    A sum over pixels and frames, not a mean: the paper's learning rate of 1e-5 depends on it.

    Args:
        logits: (2, batch, height, width), ED first.
        masks: the same shape, 0 to 1.
    """
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="sum") / 2


class SupervisedSegmentation(Method):
    """Trains a segmenter on traced frames alone."""

    name = "supervised"
    Options: ClassVar[type] = SupervisedOptions

    def __init__(self, settings: SegmentSettings, options: Any, inputs: Inputs):
        super().__init__()
        require(
            settings.batch > 1 or settings.network != "deeplabv3_resnet50",
            "batch must be at least 2 for deeplabv3_resnet50: its pooled branch cannot be normalised over one frame.",
        )
        self.settings, self.options = settings, options
        self.spec = SegmenterSpec(
            settings.network, settings.width, settings.size, inputs.mean, inputs.std, inputs.color
        )
        self.segmenter = self.spec.build()
        self.preprocess = Preprocess(inputs.mean, inputs.std, settings.size)

    def prepare_start(self, data: TrainingData) -> None:
        load_segmenter_weights(self.segmenter, self.settings.weights)

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        return self.segmenter, [(torch.empty(2, 3, self.spec.size, self.spec.size), 2 * self.settings.batch)]

    def streams(self) -> dict[str, Stream]:
        sampler = TracedFrameSampler(augment=self.settings.augment == "spatial")
        return {"labelled": Stream(sampler, "labelled", self.settings.batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        return StepResult({"segmentation": self.labelled_loss(batches["labelled"])}, {})

    def labelled_loss(self, batch: TracedBatch) -> Tensor:
        """The segmentation loss of a batch; ED and ES frames pass the network one after the other."""
        images, masks = self._images(batch), self._targets(batch)
        if self.settings.augment == "spatial":
            images, masks = (
                _warp_pairs(images, batch.warp, "border"),
                _warp_pairs(masks[:, :, None], batch.warp, "zeros")[:, :, 0],
            )
        logits = torch.stack([self.segmenter(phase).logits for phase in images])
        return segmentation_loss(logits.float(), masks)

    def _images(self, batch: TracedBatch) -> Tensor:
        return self.preprocess.frames(batch.frames.flatten(0, 1), self.spec.color).unflatten(0, (2, -1))

    def _targets(self, batch: TracedBatch) -> Tensor:
        return resize(batch.masks.float(), self.spec.size)

    def validation(self) -> Validation:
        return Validation(Stream(TracedFrameSampler(), "validation", self.settings.batch), "bce")

    def score(self, batch: TracedBatch) -> dict[str, tuple[float, int]]:
        targets = self._targets(batch)
        logits = torch.stack([self.segmenter(phase).logits for phase in self._images(batch)]).float()
        found, true = logits > 0, targets > 0.5
        overlap = 2 * (found & true).sum().item() / max(1, (found.sum() + true.sum()).item())
        count = targets.shape[1]
        return {
            "bce": (segmentation_loss(logits, targets).item(), count),
            "dice": (overlap * count, count),
        }

    def parts(self) -> dict[str, Part]:
        return {"segmenter": Part(self.spec, self.segmenter)}


def _warp_pairs(images: Tensor, parameters: Tensor, padding: str) -> Tensor:
    """`warp` of (phases, batch, channels, height, width)."""
    moved = warp(images.flatten(0, 1), parameters.flatten(0, 1), padding)
    return moved.unflatten(0, images.shape[:2])
