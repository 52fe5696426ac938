"""A start for EF networks where there are no Kinetics weights: they learn how textured shapes move (`data/shapes.py`).

No EF, no heart and no label are in it, so its own answers are no EF; other methods begin from what it leaves
(`--weights RUN/model/regressor.safetensors`). `--weights shapes` takes weights of the small networks of preset `tiny`
that come with this package and were made by

    echocycle regress STORE RUN --preset tiny --method shapes --network r2plus1d_18

For other networks the commands of several stages (`experiment`, `train`) make them first. From random weights
a small network sits for thousands of clips at the mean EF before it sees that something moves.

Where we depart from the paper: its networks start from Kinetics-400, which for small networks does not exist.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.data.clips import Stream
from echocycle.data.labels import TrainingData
from echocycle.data.moving_shapes import MOTIONS, ShapeBatch, ShapeSampler
from echocycle.models.regressor import find_shapes
from echocycle.regression.supervised import SupervisedRegression
from echocycle.settings.convert import require
from echocycle.settings.presets import Preset
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult, Validation


@dataclass(frozen=True)
class ShapesOptions:
    """Settings of the start."""

    place_weight: float = 2.0
    """Weight of telling where the shape is."""

    def __post_init__(self) -> None:
        require(self.place_weight >= 0, "option.place_weight must not be negative.")


def start_to_make(settings: RegressSettings, chosen: Preset) -> RegressSettings | None:
    """Settings of the run that makes the start of a network, which `settings` name by `weights` `shapes`.

    None where another start is named, and where the weights come with the package.
    """
    if settings.weights != "shapes" or find_shapes(settings.network, settings.widths):
        return None
    return replace(chosen.regression("shapes"), network=settings.network, widths=settings.widths, weights="none")


def place_loss(logits: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy with the share of each cell that the shape covers.

    Args:
        logits: (batch, time, height, width) of a map of features.
        inside: (batch, time, height, width) at another size; its means over the map's cells are taken.
    """
    _, time, height, width = logits.shape
    share = F.adaptive_avg_pool3d(inside, (time, height, width))
    return F.binary_cross_entropy_with_logits(logits.float(), share)


class Shapes(SupervisedRegression):
    """Trains the network below its last layer."""

    name = "shapes"
    Options: ClassVar[type] = ShapesOptions

    def __init__(self, settings: RegressSettings, options: ShapesOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.motion = nn.Linear(settings.widths[-1], len(MOTIONS))
        self.place = nn.Conv3d(settings.widths[1], 1, 1)

    def prepare_start(self, data: TrainingData) -> None:
        """As all methods; and a last layer of zeros, which nobody will take for something learnt."""
        super().prepare_start(data)
        for parameter in self.regressor.fc.parameters():
            nn.init.zeros_(parameter)

    def streams(self) -> dict[str, Stream]:
        return {"shapes": Stream(self._sampler(), "both", self.settings.batch)}

    def _sampler(self) -> ShapeSampler:
        return ShapeSampler(self.settings.frames, self.settings.size)

    def answers(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Motions (batch, motions) and logits of where the shape is, of clips (batch, time, height, width)."""
        network: Any = self.regressor
        clips = video[:, None].expand(-1, 3, -1, -1, -1).contiguous(memory_format=torch.channels_last_3d)
        half = network.layer2(network.layer1(network.stem(clips)))
        features = network.avgpool(network.layer4(network.layer3(half))).flatten(1)
        return self.motion(features).float(), self.place(half)[:, 0]

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        batch: ShapeBatch = batches["shapes"]
        motion, place = self.answers(batch.video)
        losses = {
            "motion": F.mse_loss(motion, batch.motion),
            "place": self.options.place_weight * place_loss(place, batch.inside),
        }
        return StepResult(losses, {})

    def validation(self) -> Validation:
        return Validation(Stream(self._sampler(), "validation", self.settings.batch), "mse", self.validation_passes)

    def score(self, batch: Any) -> dict[str, tuple[float, int]]:
        motion, _ = self.answers(batch.video)
        squares = (motion - batch.motion).square()
        found = {"mse": (squares.mean(1).sum().item(), len(squares))}
        return found | {name: (squares[:, place].sum().item(), len(squares)) for place, name in enumerate(MOTIONS)}
