"""Regression methods by name. A new one is one file beside these and one line here."""

from echocycle.method import Method
from echocycle.regression.student import Student
from echocycle.regression.supervised import SupervisedRegression
from echocycle.regression.teacher import Teacher

METHODS: dict[str, type[Method]] = {
    "supervised": SupervisedRegression,
    "teacher": Teacher,
    "student": Student,
}
