"""Regression methods by name. A new one is one file beside these and one line here."""

from echocycle.method import Method
from echocycle.regression.adacon import AdaCon
from echocycle.regression.committee import Committee
from echocycle.regression.cross_model import CrossModel
from echocycle.regression.mask_teacher import MaskTeacher
from echocycle.regression.mean_teacher import MeanTeacher
from echocycle.regression.shapes import Shapes
from echocycle.regression.student import Student
from echocycle.regression.supervised import SupervisedRegression
from echocycle.regression.teacher import Teacher
from echocycle.regression.ucvme import UCVME

METHODS: dict[str, type[Method]] = {
    "supervised": SupervisedRegression,
    "teacher": Teacher,
    "mask_teacher": MaskTeacher,
    "student": Student,
    "committee": Committee,
    "adacon": AdaCon,
    "mean_teacher": MeanTeacher,
    "cross_model": CrossModel,
    "ucvme": UCVME,
    "shapes": Shapes,
}
