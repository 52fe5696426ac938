"""The student f_e: EF from clips alone, taught by labels and by the frozen teacher (paper Sec. III-B, Eq. 11 to 13).

The paper's result: rows "Ours" of Tables I, II, IX, X and A1, those with "Dist." of Table IV, and the f_e columns of
Tables III, V, VII and VIII. On unlabelled clips the teacher, who sees the masks too, gives the target. A teacher that
sees the masks alone (`mask_teacher`) can take its place; the student then starts from `weights`, since there is no
video channel to copy.

Where we depart from the paper, following its public code: the unlabelled loss is halved (`halved false` gives the
paper's formula), the student starts as the teacher without its mask channel, and the best epoch has the lowest mean of
three validation passes. Crop, schedule, decay and first bias are the code's too, see `supervised`. Following the paper
and not the code: clip starts are uniform; `traced_frame_in_clip all` reproduces the code, which reads tracings of
videos that are declared unlabelled, and must be allowed.

Where we depart from the code in the test, on which the paper is silent: the code tests f_e on one random clip of each
video and repeats that with five seeds, and only f_m on clips from every start. Ours takes clips from every start for
both; `evaluate --protocol one-clip` is the code's for f_e. Every table names the protocol of its rows.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from echocycle.data.clips import ClipBatch, Stream
from echocycle.data.labels import TrainingData
from echocycle.errors import EchocycleError
from echocycle.models.regressor import Regressor, copy_without_mask_channel
from echocycle.models.specs import RegressorSpec
from echocycle.regression.supervised import SupervisedRegression, regression_loss
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult


@dataclass(frozen=True)
class StudentOptions:
    """Settings of the distillation."""

    weight: float = 5.0
    """Weight of the unlabelled loss, w_ulb."""
    halved: bool = True
    """Halve the unlabelled loss, as the public code does."""
    unlabelled_batch: int = 10
    """Unlabelled clips in a step."""
    start: Literal["teacher", "weights"] = "teacher"
    """First weights: the teacher's without the mask channel (if it sees the video), or those of `weights`."""
    traced_frame_in_clip: Literal["none", "labelled", "all"] = "none"
    """Clips whose grid must contain a traced frame; `all` (validation clips too) is the public code's and reads
    unlabelled tracings."""

    def __post_init__(self) -> None:
        require(self.unlabelled_batch > 0, "option.unlabelled_batch must be above 0.")
        require(self.weight >= 0, "option.weight must not be negative.")


def distillation_loss(student: Tensor, teacher: Tensor, weight: float, halved: bool) -> Tensor:
    """w_ulb L_ulb (Eq. 12), the weighted squared distance of student and teacher, (batch,) each.

    No gradient reaches the teacher. The paper's weight is not halved.
    """
    return weight * (0.5 if halved else 1.0) * regression_loss(student, teacher.detach().float())


class Student(SupervisedRegression):
    """Trains a video-only regressor with a teacher's help."""

    name = "student"
    Options: ClassVar[type] = StudentOptions
    validation_passes = 3
    needs_masks = True
    needs_teacher = True

    def __init__(self, settings: RegressSettings, options: StudentOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        if len(inputs.teachers) != 1:
            raise EchocycleError(
                f"The student needs one teacher and has {len(inputs.teachers)}; name its run with `--teacher RUN`. "
                "Method `committee` learns from several."
            )
        [teacher] = inputs.teachers
        spec = teacher.spec
        require(
            spec.takes_masks,
            "The teacher named takes no masks; name a run of a method that does, such as `teacher`.",
        )
        require(
            options.start == "weights" or self.can_start_as(teacher),
            f"The teacher named is no network like the student ({settings.network}, widths {settings.widths}) that "
            "sees the video, so the student cannot start as it; use --option.start weights.",
        )
        for key in ("size", "frames", "period"):
            require(
                getattr(spec, key) == getattr(settings, key),
                f"{key} is {getattr(settings, key)} here and {getattr(spec, key)} for the teacher; they must agree.",
            )
        assert isinstance(teacher.network, Regressor)
        self.teacher = teacher.network.requires_grad_(False)
        self.teacher_spec: RegressorSpec = spec
        self.reads_unlabelled_annotation = self.validates_on_traced = options.traced_frame_in_clip == "all"

    def prepare_start(self, data: TrainingData) -> None:
        if self.options.start == "teacher":
            copy_without_mask_channel(self.teacher, self.regressor)
        else:
            super().prepare_start(data)

    def train(self, mode: bool = True) -> "Student":
        """Training mode for the student; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def clips_per_pass(self) -> tuple[int, ...]:
        return self.settings.batch, self.options.unlabelled_batch

    def streams(self) -> dict[str, Stream]:
        o = self.options
        labelled = self.sampler(masks=False, traced_frame=o.traced_frame_in_clip != "none")
        unlabelled = self.sampler(masks=True, labels=False, traced_frame=o.traced_frame_in_clip == "all")
        return {
            "labelled": Stream(labelled, "labelled", self.settings.batch),
            "unlabelled": Stream(unlabelled, "unlabelled", o.unlabelled_batch),
        }

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        o, pad = self.options, self.settings.pad
        unlabelled: ClipBatch = batches["unlabelled"]
        with_masks = self.preprocess.clips(unlabelled, masks=True, pad=pad)
        with torch.no_grad():
            target = self.teacher(self.teacher_spec.visible(with_masks))
        # First the unlabelled batch, then the labelled one, as in the code: each has its own batch statistics.
        guess = self.regressor(self.spec.visible(with_masks))
        labelled = super().forward(batches, step).losses["labelled"]
        return StepResult(  # L_dst = L_lb + w_ulb L_ulb, Eq. 13
            {"labelled": labelled, "unlabelled": distillation_loss(guess, target, o.weight, o.halved)}, {}
        )
