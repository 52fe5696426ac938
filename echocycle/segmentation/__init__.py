"""Segmentation methods by name. A new one is one file beside these and one line here."""

from echocycle.method import Method
from echocycle.segmentation.css import CSS
from echocycle.segmentation.supervised import SupervisedSegmentation

METHODS: dict[str, type[Method]] = {
    "supervised": SupervisedSegmentation,
    "css": CSS,
}
