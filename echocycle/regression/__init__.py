"""Regression methods by name. A new one is one file beside these and one line here."""

from echocycle.regression.adacon import AdaCon
from echocycle.regression.cross_model import CrossModel
from echocycle.regression.mask_teacher import MaskTeacher
from echocycle.regression.mean_teacher import MeanTeacher
from echocycle.regression.moving_shapes import Shapes
from echocycle.regression.multi_teacher import MultiTeacher
from echocycle.regression.student import Student
from echocycle.regression.supervised import SupervisedRegression
from echocycle.regression.teacher import Teacher
from echocycle.regression.ucvme import UCVME
from echocycle.training.method import Method

METHODS: dict[str, type[Method]] = {
    "supervised": SupervisedRegression,
    "teacher": Teacher,
    "mask_teacher": MaskTeacher,
    "student": Student,
    "committee": MultiTeacher,
    "adacon": AdaCon,
    "mean_teacher": MeanTeacher,
    "cross_model": CrossModel,
    "ucvme": UCVME,
    "shapes": Shapes,
}
