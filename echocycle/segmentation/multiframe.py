"""Multi-frame attention: a frame is segmented with the help of its neighbours (Ahn et al., MICCAI 2021; Tables V, VI).

Two models of one design that share nothing: one sees the three frames before the target, the other the three after.
The encoder's features of the neighbours are joined with the target's before the decoder. The mean of both models'
probabilities is the mask. Labelled frames only.

Where we depart from the paper, which does not say how features are joined: every position of the target attends to all
positions of each neighbour (queries, keys and values of an eighth of the features' channels), and a 1x1 convolution
reduces target and neighbours to the channels of one frame (`fusion concat` leaves the attention out). Neighbours are
one frame apart, and the video's end frames stand again past its ends. Both models are trained in one run, in the same
order and with one best moment, the lowest mean of their cross-entropies; the paper trains and chooses each alone. A
U-Net's finer maps are those of the target alone. Loss, optimiser and epochs are those of `supervised`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.data.clips import Stream, TracedBatch, TracedFrameSampler
from echocycle.data.labels import TrainingData
from echocycle.models.augment import strongly_augmented
from echocycle.models.preprocess import warp
from echocycle.models.segmenter import load_segmenter_weights
from echocycle.models.specs import SegmenterSpec
from echocycle.models.video_segmenter import MultiFrame, MultiFrameOutput
from echocycle.segmentation.supervised import SupervisedSegmentation, dice, segmentation_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import SegmentSettings
from echocycle.training.method import Inputs, StepResult, Validation


@dataclass(frozen=True)
class MultiFrameOptions:
    """Settings of the two models."""

    fusion: Literal["attention", "concat"] = "attention"
    """How the neighbours' features are joined with the target's."""
    neighbours: int = 3
    """Frames before, or after, the target."""
    spacing: int = 1
    """Video frames from one neighbour to the next."""

    def __post_init__(self) -> None:
        for name in ("neighbours", "spacing"):
            require(getattr(self, name) > 0, f"option.{name} is {getattr(self, name)}; it must be above 0.")


@dataclass(frozen=True)
class TracedWindowSampler(TracedFrameSampler):
    """The traced frames of a video among their neighbours, in the order of time.

    A batch's `frames` have the axis of the window behind the batch's: (2, batch, 2 neighbours + 1, height, width[, 3]).
    """

    neighbours: int = 3
    spacing: int = 1

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> TracedBatch:
        """Both windows of a video."""
        sample = super().draw(data, video, rng)
        around = self.spacing * np.arange(-self.neighbours, self.neighbours + 1)
        numbers = np.array(data.traced_frames(video))[:, None] + around
        windows = np.array(data.frames(video)[numbers.clip(0, data.n_frames(video) - 1)])
        return sample._replace(frames=windows)  # type: ignore[arg-type]


class MultiFrameSegmentation(SupervisedSegmentation):
    """Trains two segmenters on traced frames, each with the neighbours on one side."""

    name = "multiframe"
    Options: ClassVar[type] = MultiFrameOptions

    def __init__(self, settings: SegmentSettings, options: MultiFrameOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.options: MultiFrameOptions = options
        self.segmenter: MultiFrame

    def segmenter_spec(self, inputs: Inputs) -> SegmenterSpec:
        spec, o = super().segmenter_spec(inputs), self.options
        option = {"fusion": o.fusion, "neighbours": str(o.neighbours), "spacing": str(o.spacing)}
        return replace(spec, network=f"multiframe_{spec.network}", option=option)

    def prepare_start(self, data: TrainingData) -> None:
        for model in (self.segmenter.before, self.segmenter.after):
            load_segmenter_weights(model.network, self.settings.weights)

    def sampler(self, *, augment: bool = False) -> TracedWindowSampler:
        """Windows of this run's neighbours."""
        return TracedWindowSampler(augment, self.options.neighbours, self.options.spacing)

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        size = self.spec.size
        windows = torch.empty(2, 2 * self.options.neighbours + 1, 3, size, size)
        return self.segmenter, [(windows, 2 * self.settings.batch)]

    def streams(self) -> dict[str, Stream]:
        sampler = self.sampler(augment=self.settings.augment == "spatial")
        return {"labelled": Stream(sampler, "labelled", self.settings.batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        windows, masks = self.labelled_images(batches["labelled"])
        found = self._logits(windows)
        return StepResult(
            {
                "segmentation_before": segmentation_loss(found.before, masks),
                "segmentation_after": segmentation_loss(found.after, masks),
            },
            {},
        )

    def _logits(self, windows: Tensor) -> MultiFrameOutput:
        """Both models' logits of windows (2, batch, ...), each (2, batch, size, size); ED and ES pass apart."""
        found = [self.segmenter(phase) for phase in windows]
        return MultiFrameOutput(*(torch.stack(logits).float() for logits in zip(*found, strict=True)))

    def labelled_images(self, batch: TracedBatch) -> tuple[Tensor, Tensor]:
        """Windows (2, batch, window, 3, size, size), each changed as a whole, and masks (2, batch, size, size)."""
        windows, masks = self._images(batch), self._targets(batch)
        if self.settings.augment == "none":
            return windows, masks
        pairs, many = masks.shape[:2], windows.shape[2:4]
        flat = masks.flatten(0, 1)
        if self.settings.augment == "strong":
            levels, flat = strongly_augmented(self._levels(batch).flatten(1, 2), flat)
            moved = self.preprocess.normalised(levels.unflatten(1, (many[0], -1)).flatten(0, 1))
        else:
            parameters = batch.warp.flatten(0, 1)
            moved = warp(windows.flatten(0, 1).flatten(1, 2), parameters, "border")
            flat = warp(flat[:, None], parameters, "zeros")[:, 0]
        return moved.reshape(*pairs, *many, *moved.shape[-2:]), flat.unflatten(0, pairs)

    def _levels(self, batch: TracedBatch) -> Tensor:
        """Grey levels, (2 batch, window, 1 or 3, size, size)."""
        frames = batch.frames.flatten(0, 1)
        return self.preprocess.levels(frames.flatten(0, 1), self.spec.color).unflatten(0, frames.shape[:2])

    def _images(self, batch: TracedBatch) -> Tensor:
        images = self.preprocess.frames(batch.frames.flatten(0, 2), self.spec.color)
        return images.unflatten(0, batch.frames.shape[:3])

    def validation(self) -> Validation:
        return Validation(Stream(self.sampler(), "validation", self.settings.batch), "bce")

    def score(self, batch: TracedBatch) -> dict[str, tuple[float, int]]:
        targets = self._targets(batch)
        logits = self._logits(self._images(batch))
        before, after = (segmentation_loss(each, targets).item() for each in logits)
        probability = (torch.sigmoid(logits.before) + torch.sigmoid(logits.after)) / 2
        count = targets.shape[1]
        return {
            "bce": ((before + after) / 2, count),
            "bce_before": (before, count),
            "bce_after": (after, count),
            "dice": (dice(probability > 0.5, targets > 0.5) * count, count),
        }
