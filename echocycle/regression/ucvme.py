"""UCVME: two networks with dropout agree on EF and on how uncertain it is.

Dai et al., Semi-Supervised Deep Regression with Uncertainty Consistency and Variational Model Ensembling via Bayesian
Neural Networks, AAAI 2023; not in the paper, an extra row. Each network m gives y_m, EF, and z_m, the logarithm of its
variance. On unlabelled clips the targets are means over several passes with dropout and over both networks, for the
variance as for EF; so clips that nobody can read count less.

The loss is in EF points, since its supplement says that EF labels are not normalised. Its public code is for the age of
faces alone and differs: it standardises the labels, takes the mean of both networks' z in the labelled loss, where the
text's Eq. 3 gives each network its own, and drops values before both heads too. Ours follows the text. `standardised
true` counts errors in units of `target_scale`; the small presets have it, for networks from random weights.

Where we depart from its text, which leaves this open: single values are dropped, not channels, before stages 2, 3 and 4
and nowhere else. Targets are made in training mode, as dropout suggests (`pseudo_labels eval` normalises with the
running statistics, which lag behind fast learning until the networks chase each other away). In use what is dropped is
fixed, so that a clip has one answer. The weight of 10 is its text's; the supplement prints 0.05 and 5 under its
baselines. Learning rate and its fall at epoch 15 are printed; crop, decay and first bias are not, and are those of the
paper's public code, see `supervised`.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch, Stream
from echocycle.data.labels import TrainingData
from echocycle.models.regressor import Ensemble, unrounded
from echocycle.models.specs import Part
from echocycle.regression.supervised import SupervisedRegression
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult


@dataclass(frozen=True)
class UCVMEOptions:
    """Settings of the uncertainty and of the targets."""

    weight: float = 10.0
    """Weight of both unlabelled losses."""
    unlabelled_batch: int = 10
    """Unlabelled clips in a step."""
    dropout: float = 0.05
    """Share of values dropped between the four stages."""
    passes: int = 5
    """Passes with dropout behind a target, and behind an answer in use, T."""
    standardised: bool = False
    """Errors in units of `target_scale`, or in EF points as the paper has them. EchoNet-Dynamic's EF have a standard
    deviation of 12.4."""
    pseudo_labels: Literal["eval", "train"] = "train"
    """Mode of batch normalisation while targets are made."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "option.weight must not be negative.")
        require(0 <= self.dropout < 1, "option.dropout must lie between 0 and 1.")
        require(self.unlabelled_batch > 0 and self.passes > 0, "option.unlabelled_batch and passes must be above 0.")


def heteroscedastic_loss(
    y: Float[Tensor, "networks batch"], z: Float[Tensor, "*networks batch"], target: Float[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """L_reg: the mean over clips of the sum over networks of (y - target)^2 / (2 exp z) + z / 2."""
    return ((y - target).square() / (2 * z.exp()) + z / 2).sum(0).mean()


class UCVME(SupervisedRegression):
    """Trains two regressors, each with a second output for the logarithm of the variance."""

    name = "ucvme"
    Options: ClassVar[type] = UCVMEOptions

    def __init__(self, settings: RegressSettings, options: UCVMEOptions, inputs: Inputs):
        require(
            not options.standardised or settings.target_scale != 1,
            "option.standardised counts errors in units of target_scale, which is 1, so it would change nothing; give "
            "the standard deviation of EF, such as --target-scale 12.4, or leave it out.",
        )
        super().__init__(settings, options, inputs, dropout=options.dropout, passes=options.passes)
        self.second = self.spec.build_one()
        self.log_variances = nn.ModuleList(nn.Linear(settings.widths[-1], 1) for _ in range(2))
        self.unit = settings.target_scale if options.standardised else 1.0

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        self.initialise(self.second, data)

    @property
    def trained(self) -> nn.Module:
        return Ensemble([self.regressor, self.second])

    def clips_per_pass(self) -> tuple[int, ...]:
        return self.settings.batch, self.options.unlabelled_batch

    def streams(self) -> dict[str, Stream]:
        unlabelled = self.sampler(masks=False, labels=False)
        return {**super().streams(), "unlabelled": Stream(unlabelled, "unlabelled", self.options.unlabelled_batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        pad, weight = self.settings.pad, self.options.weight
        labelled: ClipBatch = batches["labelled"]
        assert labelled.ef is not None
        unlabelled = self.clips(batches["unlabelled"], pad=pad)
        target_y, target_z = self.targets(unlabelled)
        y, z = self.read([network.features(unlabelled) for network in self.networks])
        agreement = heteroscedastic_loss(y, target_z, target_y)
        uncertainty_agreement = (z - target_z).square().sum(0).mean()
        clips = self.clips(labelled, pad=pad)
        y, z = self.read([network.features(clips) for network in self.networks])
        losses = {
            "labelled": heteroscedastic_loss(y, z, labelled.ef / self.unit),
            "uncertainty": (z[0] - z[1]).square().mean(),
            "unlabelled": weight * agreement,
            "unlabelled_uncertainty": weight * uncertainty_agreement,
        }
        return StepResult(losses, {})

    @property
    def networks(self) -> tuple[Any, Any]:
        """Both regressors."""
        return self.regressor, self.second

    def read(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """y in the loss's unit and z, (networks, ..., batch), from each network's features (..., batch, dim)."""
        y = [network.answer(x) / self.unit for network, x in zip(self.networks, features, strict=True)]
        z = [unrounded(head, x)[..., 0] for head, x in zip(self.log_variances, features, strict=True)]
        return torch.stack(y).float(), torch.stack(z).float()

    @torch.no_grad()
    def targets(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Means of y and z over passes with dropout and networks, (batch,) each."""
        self.train(self.options.pseudo_labels == "train")
        y, z = self.read([network.dropout_passes(clips, self.options.passes) for network in self.networks])
        self.train()
        return y.mean((0, 1)), z.mean((0, 1))

    def parts(self) -> dict[str, Part]:
        return {"regressor": Part(replace(self.spec, members=2), Ensemble(self.networks))}
