"""The teacher f_m: EF from clips with the predicted masks as a fourth channel (paper Sec. III-B, Eq. 10).

Rows "Video+Seg." and "Video+Seg.+CSS" of Table IV, and the f_m columns of Tables III, V and VII.

Where we depart from the paper, following its public code: masks enter as 2 p - 1 and not thresholded, -1 in frames past
a video's end and 0 in the border of the crop; the fourth channel of the first convolution starts uniform over [-1, 1];
the best epoch has the lowest mean of three validation passes. Crop, schedule, decay and first bias are the code's too,
see `supervised`. A test video's EF is the mean over clips from every start, which is the code's default for f_m and
stands nowhere in the paper. Ours are 8 bits a probability, and the same fourth channel in R3D and MC3, which the code
lacks.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from echocycle.data.labels import TrainingData
from echocycle.models.regressor import init_mask_channel
from echocycle.regression.supervised import SupervisedRegression


@dataclass(frozen=True)
class TeacherOptions:
    """Settings of the teacher."""

    mask_channel: Literal["uniform", "zero", "mean"] = "uniform"
    """Initial weights of the mask channel: uniform over [-1, 1] (the code's), zero, or the mean of RGB."""


class Teacher(SupervisedRegression):
    """Trains a regressor on labelled clips with masks."""

    name = "teacher"
    Options: ClassVar[type] = TeacherOptions
    channels = 4
    validation_passes = 3
    needs_masks = True

    def prepare_start(self, data: TrainingData) -> None:
        super().prepare_start(data)
        if "mask" not in self.filled:
            init_mask_channel(self.regressor, self.options.mask_channel)
