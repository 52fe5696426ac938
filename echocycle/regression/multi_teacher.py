"""A student of several teachers, who agree on each unlabelled video before training. Ours, not the paper's.

The paper's student is told, clip by clip, what one teacher says of that very clip. A label belongs to a video, and so
does this student's target: every teacher looks once at several clips of each unlabelled video, the mean is its answer,
and the committee's answer is the mean of its members', each weighing the inverse of its squared error on the validation
videos. A video on which the answers differ counts less in the loss. EF by discs from the masks can be a further member,
brought to the labels' scale by a line through the labelled videos.

Any trained regressor can be a member: f_m, a teacher of masks alone, several seeds of either, a student. The answers
are computed when the run begins and kept in its resume point; no teacher runs during training.

Where we depart from the paper: it has no such student. The weight of the unlabelled loss, its halving and the start are
those of the paper's student; crop, schedule, decay and first bias are its public code's, see `supervised`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from echocycle.data.clips import ClipBatch, Stream
from echocycle.data.labels import TrainingData
from echocycle.errors import EchocycleError
from echocycle.models.regressor import Regressor, copy_without_mask_channel
from echocycle.progress import track
from echocycle.regression.members import discs_member, network_member
from echocycle.regression.supervised import SupervisedRegression
from echocycle.settings.convert import require
from echocycle.settings.stages import RegressSettings
from echocycle.training.method import Inputs, StepResult


@dataclass(frozen=True)
class MultiTeacherOptions:
    """Settings of the committee and of what is learnt from it."""

    weight: float = 5.0
    """Weight of the unlabelled loss, as the paper's w_ulb."""
    halved: bool = True
    """Halve the unlabelled loss, as the paper's code does."""
    unlabelled_batch: int = 10
    """Unlabelled clips in a step."""
    clips: int = 4
    """Clips of each video that a teacher looks at, spread evenly over it."""
    discs: bool = False
    """EF by discs from the masks is a member too."""
    votes: Literal["validation", "equal"] = "validation"
    """Members weigh the inverse of their squared error on the validation videos, or all the same."""
    doubt: Literal["counts", "ignored"] = "counts"
    """Whether a video on which the answers differ counts less."""
    start: Literal["teacher", "weights"] = "teacher"
    """First weights: those of the first teacher that sees the video, without its mask channel; or `weights`."""

    def __post_init__(self) -> None:
        require(self.unlabelled_batch > 0, "option.unlabelled_batch must be above 0.")
        require(self.clips > 0, "option.clips must be above 0.")
        require(self.weight >= 0, "option.weight must not be negative.")


def member_weights(answers: np.ndarray, ef: np.ndarray) -> np.ndarray:
    """The inverse of each member's mean squared error, (members,), summing to 1.

    Args:
        answers: (members, videos) percent on validation videos; NaN where a member has no answer.
        ef: (videos,) their labels, percent.
    """
    inverse = 1 / np.nanmean((answers - ef) ** 2, axis=1).clip(1e-6)
    return np.asarray(inverse / inverse.sum())


def agree(answers: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The members' weighted mean and its weighted standard deviation, (videos,) each, percent; NaN without an answer.

    Args:
        answers: (members, clips, videos); NaN where a member has no answer. All its clips weigh what it weighs.
        weights: (members,); they are shared out anew where a member has no answer.
    """
    there = np.isfinite(answers)
    each = np.where(there, weights[:, None, None] / there.sum(1, keepdims=True).clip(1), 0.0)
    total = each.sum((0, 1))
    each /= np.where(total > 0, total, np.nan)
    filled = np.where(there, answers, 0.0)
    mean = (each * filled).sum((0, 1))
    return mean, np.sqrt((each * (filled - mean) ** 2).sum((0, 1)))


def trust(spread: np.ndarray) -> np.ndarray:
    """How much each video counts, (videos,) of mean 1: 1 / (1 + s^2 / m^2) for the spread s and its median m.

    Twice the median spread counts two fifths of what the median one does. Without any spread all count the same.
    """
    median = np.median(spread)
    found = 1 / (1 + (spread / median) ** 2) if median > 0 else np.ones_like(spread)
    return np.asarray(found / found.mean())


def multi_teacher_loss(student: Tensor, target: Tensor, trusted: Tensor, weight: float, halved: bool) -> Tensor:
    """The weighted mean of trusted (student - target)^2, of (batch,) each; no gradient reaches the target."""
    squares = trusted * (student.float() - target.detach()).square()
    return weight * (0.5 if halved else 1.0) * squares.mean()


class MultiTeacher(SupervisedRegression):
    """Trains a video-only regressor with the joint answer of several teachers."""

    name = "committee"
    Options: ClassVar[type] = MultiTeacherOptions
    validation_passes = 3
    needs_masks = True
    needs_teacher = True

    def __init__(self, settings: RegressSettings, options: MultiTeacherOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        if not inputs.teachers:
            raise EchocycleError("The committee needs teachers; name the run of each with `--teacher RUN`.")
        # not child modules: they are neither trained nor kept with the run
        self.teachers = inputs.teachers
        if options.start == "teacher":
            self._starts_as()
        self.answers = torch.zeros(0, 3)
        """Row of the store's index, target and trust of each unlabelled video, float32 (videos, 3)."""

    def _starts_as(self) -> Regressor:
        """The first teacher that sees the video and is a network like the student."""
        first = next(filter(self.can_start_as, self.teachers), None)
        if first is None:
            raise EchocycleError(
                "No teacher named is a network like the student that sees the video, so the student cannot start as "
                "one; use --option.start weights."
            )
        assert isinstance(first.network, Regressor)
        return first.network

    def prepare_start(self, data: TrainingData) -> None:
        if self.options.start == "teacher":
            copy_without_mask_channel(self._starts_as(), self.regressor)
        else:
            super().prepare_start(data)
        self.answers = self.ask(data)

    def ask(self, data: TrainingData) -> Tensor:
        """Let the teachers look at the unlabelled videos, and at those by whose labels their words are weighed."""
        o = self.options
        members = [network_member(part, data, self.settings.loop, o.clips) for part in self.teachers]
        if o.discs:
            members.append(discs_member(data, o.clips))
        unlabelled, validation = data.videos("unlabelled"), data.videos("validation")
        both = [int(video) for video in (*validation, *unlabelled)]
        said = np.full((len(members), o.clips, len(both)), np.nan)
        with track("What the teachers say") as progress:
            for place, video in enumerate(both):
                for number, member in enumerate(members):
                    said[number, :, place] = member(video)
                progress(place + 1, len(both))
        known, unknown = said[:, :, : len(validation)], said[:, :, len(validation) :]
        weights = np.full(len(members), 1 / len(members))
        if o.votes == "validation":
            ef = np.array([data.ef(int(video)) for video in validation])
            if not np.isfinite(known).any((1, 2)).all():
                raise EchocycleError(
                    "A member of the committee has no answer to any validation video (EF by discs, from masks in "
                    "which no beat is found?), so it has no vote; leave it out, or use --option.votes equal."
                )
            weights = member_weights(np.stack([agree(one[None], np.ones(1))[0] for one in known]), ef)
        target, spread = agree(unknown, weights)
        trusted = trust(spread) if o.doubt == "counts" else np.ones_like(spread)
        return torch.tensor(np.stack([unlabelled, target, trusted], 1), dtype=torch.float32)

    def get_extra_state(self) -> Tensor:
        """What the teachers said, kept in the resume point."""
        return self.answers

    def set_extra_state(self, state: Tensor) -> None:
        """What the teachers said, from the resume point."""
        self.answers = state

    def clips_per_pass(self) -> tuple[int, ...]:
        return self.settings.batch, self.options.unlabelled_batch

    def streams(self) -> dict[str, Stream]:
        unlabelled = self.sampler(masks=False, labels=False)
        return {**super().streams(), "unlabelled": Stream(unlabelled, "unlabelled", self.options.unlabelled_batch)}

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        o = self.options
        unlabelled: ClipBatch = batches["unlabelled"]
        guess = self.regressor(self.clips(unlabelled, pad=self.settings.pad))
        place = torch.searchsorted(self.answers[:, 0].contiguous(), unlabelled.row.cpu().float())
        target, trusted = self.answers[place, 1:].to(guess.device).unbind(1)
        labelled = super().forward(batches, step).losses["labelled"]
        return StepResult(
            {"labelled": labelled, "unlabelled": multi_teacher_loss(guess, target, trusted, o.weight, o.halved)}, {}
        )
