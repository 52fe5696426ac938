"""Supervised regression: EF straight from clips of labelled videos.

Ouyang et al., Nature 580 (2020); the rows "Ouyang et al." and "Video Only" of the paper's Tables I, II, IV, IX
and A1.

Where we depart from the paper, which is silent on them, following its public code and Ouyang et al.'s: the crop of a
picture padded by 12 pixels (no crop in validation and use), the learning rate times 0.1 every 15 epochs, a weight decay
of 1e-4, and 55.6 as the first bias of the last layer, which all methods that learn EF share; and the best epoch by the
lowest squared error of one validation pass. 45 epochs in the `paper` preset, as Ouyang et al.'s implementation has,
however few the labels.

Where we depart from the code too: frames are kept grey and given three times; `prepare.color true` keeps the RGB of
EchoNet-Dynamic's files, which differs by a colour cast in a few. A test video's EF is the mean over clips from every
start (`evaluate --protocol`). EchoNet-Dynamic's six untraced videos, whose frames are larger, are brought to 112x112
and kept: 7465, 1288 and 1277 videos, where the code has 7460, 1288 and 1276 (`labels.untraced drop`). Batch
normalisation sees a whole batch on one device; the code spreads it over four cards (DataParallel), 5 clips each. Crops
and starts are drawn anew in every epoch, where the code's workers repeat theirs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch, ClipSampler, Stream
from echocycle.data.labels import TrainingData
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import Regressor, load_regressor_weights
from echocycle.models.specs import Part, RegressorSpec
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, Method, StepResult, Validation


@dataclass(frozen=True)
class SupervisedOptions:
    """Supervised regression has no settings of its own."""


def regression_loss(predicted: Tensor, ef: Tensor) -> Tensor:
    """L_m and L_lb (paper Eq. 10 and 11): mean squared error in EF points, of predictions and labels, (batch,) each."""
    return F.mse_loss(predicted.float(), ef)


class SupervisedRegression(Method):
    """Trains a regressor on labelled clips. Others build on it: `channels` is what their network takes."""

    name = "supervised"
    Options: ClassVar[type] = SupervisedOptions
    settings: RegressSettings
    channels = 3
    """As in `RegressorSpec`."""
    validation_passes = 1
    validates_on_traced = False
    """Whether a validation clip must contain a traced frame."""

    def __init__(self, settings: RegressSettings, options: Any, inputs: Inputs, **network: Any):
        """`network`: further settings of the network, as in `RegressorSpec`."""
        super().__init__(settings, options, inputs)
        s = settings
        self.spec = RegressorSpec(
            s.network,
            s.widths,
            self.channels,
            s.target_scale,
            s.size,
            s.frames,
            s.period,
            inputs.mean,
            inputs.std,
            inputs.color,
            **network,
        )
        self.regressor: Regressor = self.spec.build_one()
        self.preprocess = Preprocess(inputs.mean, inputs.std, s.size)

    def prepare_start(self, data: TrainingData) -> None:
        self.filled = self.initialise(self.regressor, data)

    def initialise(self, network: Regressor, data: TrainingData) -> set[str]:
        """Give a network its first weights and bias; returns what `load_regressor_weights` does."""
        filled = load_regressor_weights(network, self.settings.network, self.settings.weights)
        bias = self.settings.fc_bias
        if "fc" not in filled:
            network.set_bias(data.mean_ef() if bias is None else bias)
        return filled

    def can_start_as(self, teacher: Part) -> bool:
        """Whether a teacher sees the video and is one network of this one's kind and widths."""
        spec, s = teacher.spec, self.settings
        return spec.takes_video and (spec.network, spec.widths, spec.members) == (s.network, s.widths, 1)

    def sampler(self, *, masks: bool, labels: bool = True, pad: int | None = None, **more: Any) -> ClipSampler:
        """Clips of this run's length and rate; for training with its crop and augmentation, else `pad` is given."""
        s = self.settings
        augment = s.augment == "spatial" and pad is None
        return ClipSampler(s.frames, s.period, s.pad if pad is None else pad, masks, labels, augment=augment, **more)

    def clips(self, batch: ClipBatch, *, pad: int = 0) -> Tensor:
        """A batch as the network takes it, (batch, channels, time, size, size)."""
        return self.spec.visible(self.preprocess.clips(batch, masks=self.spec.takes_masks, pad=pad))

    @property
    def trained(self) -> nn.Module:
        """All that a step trains."""
        return self.regressor

    def clips_per_pass(self) -> tuple[int, ...]:
        """Clips of each pass that a step keeps for its backward pass; first the pass that `batch` sets."""
        return (self.settings.batch,)

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        s = self.settings
        clips = torch.empty(2, self.channels, s.frames, s.size, s.size)
        return self.trained, [(clips, count) for count in self.clips_per_pass()]

    def streams(self) -> dict[str, Stream]:
        return {"labelled": Stream(self.sampler(masks=self.spec.takes_masks), "labelled", self.settings.batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        batch: ClipBatch = batches["labelled"]
        predicted = self.regressor(self.clips(batch, pad=self.settings.pad))
        return StepResult({"labelled": regression_loss(predicted, batch.ef)}, {})  # type: ignore[arg-type]

    def validation(self) -> Validation:
        sampler = self.sampler(masks=self.spec.takes_masks, pad=0, traced_frame=self.validates_on_traced)
        return Validation(Stream(sampler, "validation", self.settings.batch), "mse", self.validation_passes)

    def score(self, batch: ClipBatch) -> dict[str, tuple[float, int]]:
        found = self.parts()["regressor"].network(self.clips(batch)).float()
        errors = found - batch.ef
        return {
            "mse": (errors.square().sum().item(), len(errors)),
            "mae": (errors.abs().sum().item(), len(errors)),
        }

    def parts(self) -> dict[str, Part]:
        return {"regressor": Part(self.spec, self.regressor)}
