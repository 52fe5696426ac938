"""A teacher that sees the masks alone: EF from clips of predicted masks, without the video. Ours, not the paper's.

Masks carry the ventricle's motion without the speckle that few labels overfit. The network, its training and its
choice of the best epoch are those of the paper's f_m; it can teach the student (`--option.start weights`).

Where we depart from the paper: it has no such teacher. The input is f_m's fourth channel, 2 p - 1. Given weights for
RGB are summed, which is the mask repeated to three channels. Crop, schedule, decay and first bias are its public
code's, see `supervised`.
"""

from dataclasses import dataclass
from typing import ClassVar

from echocycle.regression.supervised import SupervisedRegression


@dataclass(frozen=True)
class MaskTeacherOptions:
    """The teacher of masks alone has no settings of its own."""


class MaskTeacher(SupervisedRegression):
    """Trains a regressor on the masks of labelled clips."""

    name = "mask_teacher"
    Options: ClassVar[type] = MaskTeacherOptions
    channels = 1
    validation_passes = 3
    needs_masks = True
