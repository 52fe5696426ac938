"""CMPL: two networks label clips for each other, each from the clip as it is for the other's perturbed one.

Xu et al., Cross-Model Pseudo-Labeling, CVPR 2022, as the paper adapts it: the row "Xu et al." of its Tables I, II, IX
and A1. Both networks are of the same kind; a regression has no confidence, so every pseudo-label counts.

Where we depart from the paper: it says what the two views are and no value; all values are proposals and settings. The
weight is 5, as tuned for the paper's own method, without a warm-up. Both networks start from the same weights and
differ by their last layer, and by the order and the crops of their labelled clips. Both views of an unlabelled clip
have one crop. Pseudo-labels are made in evaluation mode. Where learning is fast, as from random weights, the running
statistics lag behind until the networks chase each other away; `pseudo_labels train`, which the small presets have,
takes the batch's own. The perturbations are those of `mean_teacher`. The model is the first network (`model mean`: the
mean of both). Crop, schedule, decay and first bias are the public code's of the paper, which is silent on them, see
`supervised`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch, Stream, ViewSampler
from echocycle.data.labels import TrainingData
from echocycle.models.regressor import Ensemble
from echocycle.models.specs import Part
from echocycle.regression.mean_teacher import Noise, perturb
from echocycle.regression.supervised import SupervisedRegression, regression_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult


@dataclass(frozen=True)
class CrossModelOptions:
    """Settings of the pseudo-labels."""

    weight: float = 5.0
    """Weight of the loss against pseudo-labels."""
    unlabelled_batch: int = 10
    """Unlabelled clips in a step."""
    pseudo_labels: Literal["eval", "train"] = "eval"
    """Mode of batch normalisation while pseudo-labels are made."""
    model: Literal["first", "mean"] = "first"
    """What is validated and kept: the first network, or the mean of both."""
    jitter: int = 1
    """Video frames by which each frame of a perturbed clip may lie away from its place."""
    noise: Noise = "gaussian"
    """`gaussian` noise, single `black` pixels, or a `constant` on the whole clip."""
    noise_size: float = 0.1
    """Standard deviation or largest constant in normalised units; of `black` the share of pixels."""

    def __post_init__(self) -> None:
        require(self.unlabelled_batch > 0, "option.unlabelled_batch must be above 0.")
        for name in ("weight", "jitter", "noise_size"):
            require(getattr(self, name) >= 0, f"option.{name} must not be negative.")


def cross_loss(guesses: tuple[Tensor, Tensor], pseudo_labels: tuple[Tensor, Tensor]) -> Tensor:
    """Squared distances of each network's answers, (batch,), to the other's pseudo-labels, which get no gradient."""
    (first, second), (by_first, by_second) = guesses, pseudo_labels
    return regression_loss(first, by_second.detach().float()) + regression_loss(second, by_first.detach().float())


class CrossModel(SupervisedRegression):
    """Trains two regressors on labelled clips and on each other's answers."""

    name = "cross_model"
    Options: ClassVar[type] = CrossModelOptions

    def __init__(self, settings: RegressSettings, options: CrossModelOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.second = self.spec.build_one()

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        self.initialise(self.second, data)

    @property
    def trained(self) -> nn.Module:
        return Ensemble([self.regressor, self.second])

    def clips_per_pass(self) -> tuple[int, ...]:
        return self.settings.batch, self.options.unlabelled_batch

    def streams(self) -> dict[str, Stream]:
        o = self.options
        views = ViewSampler(self.sampler(masks=False, labels=False), (0, o.jitter))
        return {
            "labelled": Stream(self.sampler(masks=False), "labelled", self.settings.batch),
            "labelled_second": Stream(self.sampler(masks=False), "labelled", self.settings.batch),
            "unlabelled": Stream(views, "unlabelled", o.unlabelled_batch),
        }

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        o, pad = self.options, self.settings.pad
        weak, strong = self.clips(batches["unlabelled"], pad=pad).chunk(2)
        strong = perturb(strong, o.noise, o.noise_size, self.preprocess)
        pseudo_labels = self.pseudo_labels(weak)
        guesses = self.regressor(strong), self.second(strong)
        losses = {}
        for name, network in (("labelled", self.regressor), ("labelled_second", self.second)):
            batch: ClipBatch = batches[name]
            losses[name] = regression_loss(network(self.clips(batch, pad=pad)), batch.ef)  # type: ignore[arg-type]
        return StepResult({**losses, "unlabelled": o.weight * cross_loss(guesses, pseudo_labels)}, {})

    @torch.no_grad()
    def pseudo_labels(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Both networks' answers, (batch,) each."""
        self.train(self.options.pseudo_labels == "train")
        found = self.regressor(clips), self.second(clips)
        self.train()
        return found

    def parts(self) -> dict[str, Part]:
        if self.options.model == "first":
            return super().parts()
        return {"regressor": Part(replace(self.spec, members=2), Ensemble([self.regressor, self.second]))}
