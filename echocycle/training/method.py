"""The contract of a method: what it trains, what it samples, what it minimises, how its best moment is chosen.

The loop in `train.py` knows no method by name. A method is one file with its settings, its loss as a pure
function, and a small class that follows `Method`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from echocycle.data.clips import Stream
from echocycle.data.labels import TrainingData
from echocycle.models.specs import Part
from echocycle.settings.stages import OptimiserSettings, RegressSettings, SegmentSettings


@dataclass(frozen=True)
class Inputs:
    """What a stage gives a method besides its settings."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Mean and standard deviation of the training videos' channels, in grey levels."""
    color: bool
    """Whether frames are RGB."""
    teachers: tuple[Part, ...] = ()
    """The trained teachers, for methods that need some."""


@dataclass
class StepResult:
    """What a method gives for one step."""

    losses: dict[str, Tensor]
    """Named scalars, weighted; their sum is minimised and each is logged."""
    monitors: dict[str, Tensor]
    """Named scalars that are only logged."""


@dataclass(frozen=True)
class Validation:
    """How the best moment is chosen: the lowest mean of `metric` over `passes` seeded passes of `stream`."""

    stream: Stream
    metric: str
    passes: int = 1


class Method(nn.Module):
    """Base of every method. Its child modules are its networks; those that require gradients are trained."""

    name: ClassVar[str]
    Options: ClassVar[type]
    """The method's own settings: a frozen dataclass."""
    needs_masks: ClassVar[bool] = False
    """Whether a segmentation run must be named."""
    needs_teacher: ClassVar[bool] = False
    """Whether the run of a teacher, or of several, must be named."""
    reads_unlabelled_annotation: bool = False
    """Whether the settings make it read annotation of unlabelled videos; such a run must be allowed and says so."""
    settings: SegmentSettings | RegressSettings
    options: Any

    def __init__(self, settings: SegmentSettings | RegressSettings, options: Any, inputs: Inputs):
        """Build the networks, with random weights.

        Args:
            settings: of the stage; a method of either package takes those of its own stage.
            options: the method's own, an `Options`.
            inputs: what the stage knows of the data, and the teachers.

        Raises:
            EchocycleError: the settings, the options and the inputs do not fit one another.
        """
        super().__init__()
        self.settings, self.options, self.inputs = settings, options, inputs

    def streams(self) -> dict[str, Stream]:
        """Where the batches of a step come from; the first stream sets the length of an epoch."""
        raise NotImplementedError

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        """The losses of one step (0-based), from the batches of its streams."""
        raise NotImplementedError

    def validation(self) -> Validation:
        """How the best moment is chosen."""
        raise NotImplementedError

    def score(self, batch: Any) -> dict[str, tuple[float, int]]:
        """Sum and count of each metric on a batch of the validation stream, in evaluation mode."""
        raise NotImplementedError

    def parts(self) -> dict[str, Part]:
        """The trained parts of the bundle."""
        raise NotImplementedError

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        """The largest trained network, and for each of its passes in a step an example of two items and the count
        of items, the pass that `batch` sets first; from it the memory of a step is told."""
        raise NotImplementedError

    def prepare_start(self, data: TrainingData) -> None:
        """Called once before the first step of a run, not when it is resumed (initial weights and biases)."""

    def begin_step(self, step: int) -> None:
        """Called before each step with its number."""

    def after_step(self, step: int) -> None:
        """Called after each optimiser step (moving averages)."""

    def optimiser(self, settings: OptimiserSettings) -> torch.optim.Optimizer:
        """The optimiser of all parameters that require gradients."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        if settings.name == "adamw":
            return torch.optim.AdamW(parameters, settings.lr, weight_decay=settings.weight_decay)
        return torch.optim.SGD(parameters, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)

    def watched(self) -> Iterator[nn.Parameter]:
        """Parameters on which each loss's own gradient norm is measured: by default all that are trained."""
        return (p for p in self.parameters() if p.requires_grad)
