"""Mean teacher: a moving average of the network gives the targets on unlabelled clips.

Ji et al., as the paper adapts it: the row "Ji et al." of its Tables I, II, IX and A1. Student and teacher see the same
clip, each with frames jittered in time and pixel noise of its own. The model is the teacher.

Where we depart from the paper: it names the two perturbations, the warm-up of 10 epochs and what is common to all
methods, and nothing else; all other values are proposals and settings. The average is theta' <- a theta' + (1 - a)
theta after each step, a = min(1 - 1 / (step + 1), `decay`), as in Tarvainen and Valpola's code, which counts the step
before it takes the average: a is 1/2 after the first step and 2/3 after the second, so that the teacher is at first the
mean of all weights so far, the initial ones too. `decay` is 0.99, since 0.999 is too slow for 1150 steps. The running
statistics of batch normalisation are averaged alike (`statistics copied` takes the student's), and the teacher uses
them: it stays in evaluation mode. Noise is drawn at network size, the same for all three channels. "Frame jittering"
could also mean the constant that AdaCon's loader can add to a whole clip: `jitter 0`, `noise constant`. Crop, schedule,
decay and first bias are the public code's of the paper, which is silent on them, see `supervised`.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch, StepData, Stream, ViewSampler
from echocycle.data.labels import TrainingData
from echocycle.models.preprocess import Preprocess
from echocycle.models.specs import Part
from echocycle.regression.supervised import SupervisedRegression, regression_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult

Noise = Literal["gaussian", "black", "constant"]


@dataclass(frozen=True)
class MeanTeacherOptions:
    """Settings of the teacher, of the perturbations and of the consistency loss."""

    weight: float = 1.0
    """Weight of the consistency loss."""
    unlabelled_batch: int = 10
    """Unlabelled clips in a step."""
    warmup_epochs: int = 10
    """Epochs of labelled clips alone."""
    warmup_steps: int | None = None
    """Steps of labelled clips alone; where given it takes the place of `warmup_epochs`."""
    ramp_epochs: int = 0
    """Epochs over which the weight then grows as exp(-5 (1 - r)^2); 0 for at once."""
    labelled_too: bool = False
    """Ask for consistency on labelled clips as well."""
    decay: float = 0.99
    """Largest share that the teacher keeps of itself in a step, a."""
    statistics: Literal["averaged", "copied"] = "averaged"
    """The teacher's running statistics: averaged as its weights are, or the student's."""
    jitter: int = 1
    """Video frames by which each frame may lie away from its place."""
    noise: Noise = "gaussian"
    """`gaussian` noise, single `black` pixels, or a `constant` on the whole clip."""
    noise_size: float = 0.1
    """Standard deviation or largest constant in normalised units; of `black` the share of pixels."""

    def __post_init__(self) -> None:
        require(self.unlabelled_batch > 0, "option.unlabelled_batch must be above 0.")
        require(0 <= self.decay <= 1, "option.decay must lie between 0 and 1.")
        for name in ("weight", "warmup_epochs", "ramp_epochs", "jitter", "noise_size"):
            require(getattr(self, name) >= 0, f"option.{name} must not be negative.")
        require(self.warmup_steps is None or self.warmup_steps >= 0, "option.warmup_steps must not be negative.")


def decay_at(step: int, highest: float) -> float:
    """a after a step (0-based), 1/2 at first: the average begins as the mean of all weights, the initial ones too."""
    return min(1 - 1 / (step + 2), highest)


@torch.no_grad()
def move_average(average: nn.Module, current: nn.Module, decay: float, statistics: str = "averaged") -> None:
    """theta' <- a theta' + (1 - a) theta for all weights; running statistics alike, or `copied`."""
    for mean, value in zip(average.parameters(), current.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
    for kept, seen in zip(average.buffers(), current.buffers(), strict=True):
        if statistics == "averaged" and kept.is_floating_point():
            kept.lerp_(seen, 1 - decay)
        else:
            kept.copy_(seen)


def ramp_at(step: int, start: int, length: int) -> float:
    """The share of the weight at a step: 0 before `start`, then exp(-5 (1 - r)^2) over `length` steps, then 1."""
    if step < start:
        return 0.0
    return math.exp(-5 * (1 - min(1.0, (step - start) / length)) ** 2) if length else 1.0


def perturb(clips: Tensor, noise: Noise, size: float, preprocess: Preprocess) -> Tensor:
    """Clips (batch, 3, time, height, width) with noise, drawn anew for each."""
    count, _, *grid = clips.shape
    if noise == "constant":
        return clips + size * torch.rand(count, 1, 1, 1, 1, device=clips.device)
    if noise == "gaussian":
        return clips + size * torch.randn(count, 1, *grid, device=clips.device)
    black = (-preprocess.mean / preprocess.std).view(-1, 1, 1, 1)
    return torch.where(torch.rand(count, 1, *grid, device=clips.device) < size, black, clips)


class MeanTeacher(SupervisedRegression):
    """Trains a student and keeps its moving average, the teacher, which is the model."""

    name = "mean_teacher"
    Options: ClassVar[type] = MeanTeacherOptions
    warmup_steps: Tensor
    ramp_steps: Tensor

    def __init__(self, settings: RegressSettings, options: MeanTeacherOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.teacher = copy.deepcopy(self.regressor).requires_grad_(False)
        # an epoch in steps is known when the data are, and kept with the resume point
        self.register_buffer("warmup_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("ramp_steps", torch.zeros((), dtype=torch.int64))

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        self.teacher.load_state_dict(self.regressor.state_dict())
        o, loop = self.options, self.settings.loop
        epoch = StepData(data, self.streams(), seed=0).steps_per_epoch
        warmup = epoch * o.warmup_epochs if o.warmup_steps is None else o.warmup_steps
        said = (
            f"option.warmup_epochs is {o.warmup_epochs}, which is {warmup} steps,"
            if o.warmup_steps is None
            else f"option.warmup_steps is {warmup}"
        )
        require(
            warmup < (loop.steps or loop.epochs * epoch),
            f"{said} and the run is no longer: unlabelled clips would never be used. Lower it, or train longer.",
        )
        self.warmup_steps.fill_(warmup)
        self.ramp_steps.fill_(epoch * o.ramp_epochs)

    def train(self, mode: bool = True) -> "MeanTeacher":
        """Training mode for the student; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def clips_per_pass(self) -> tuple[int, ...]:
        batch = self.settings.batch
        return batch, self.options.unlabelled_batch + (batch if self.options.labelled_too else 0)

    def streams(self) -> dict[str, Stream]:
        o = self.options
        plain_and_views = (0, o.jitter, o.jitter) if o.labelled_too else (0,)
        labelled = ViewSampler(self.sampler(masks=False), plain_and_views)
        unlabelled = ViewSampler(self.sampler(masks=False, labels=False), (o.jitter, o.jitter))
        return {
            "labelled": Stream(labelled, "labelled", self.settings.batch),
            "unlabelled": Stream(unlabelled, "unlabelled", o.unlabelled_batch),
        }

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        o, pad = self.options, self.settings.pad
        labelled: ClipBatch = batches["labelled"]
        assert labelled.ef is not None
        plain, *own = self.clips(labelled, pad=pad).chunk(3 if o.labelled_too else 1)
        weight = o.weight * ramp_at(step, int(self.warmup_steps), int(self.ramp_steps))
        consistency = plain.new_zeros(())
        if weight:
            views = self.clips(batches["unlabelled"], pad=pad).chunk(2)
            one, other = (torch.cat(pair) for pair in zip(views, own, strict=True)) if own else views
            consistency = weight * self.consistency(one, other)
        losses = {"labelled": regression_loss(self.regressor(plain), labelled.ef[: len(plain)])}
        return StepResult({**losses, "unlabelled": consistency}, {})

    def consistency(self, one: Tensor, other: Tensor) -> Tensor:
        """How far the student's answer for one view is from the teacher's for the other."""
        o = self.options
        with torch.no_grad():
            target = self.teacher(perturb(other, o.noise, o.noise_size, self.preprocess))
        guess = self.regressor(perturb(one, o.noise, o.noise_size, self.preprocess))
        return regression_loss(guess, target.float())

    def after_step(self, step: int) -> None:
        o = self.options
        move_average(self.teacher, self.regressor, decay_at(step, o.decay), o.statistics)

    def parts(self) -> dict[str, Part]:
        return {"regressor": Part(self.spec, self.teacher)}
