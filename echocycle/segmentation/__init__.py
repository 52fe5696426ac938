"""Segmentation methods by name. A new one is one file beside these and one line here."""

from echocycle.segmentation.clas import CLAS
from echocycle.segmentation.cps import CPS
from echocycle.segmentation.css import CSS
from echocycle.segmentation.multiframe import MultiFrameSegmentation
from echocycle.segmentation.supervised import SupervisedSegmentation
from echocycle.segmentation.tccl import TCCL
from echocycle.training.method import Method

METHODS: dict[str, type[Method]] = {
    "supervised": SupervisedSegmentation,
    "css": CSS,
    "tccl": TCCL,
    "clas": CLAS,
    "multiframe": MultiFrameSegmentation,
    "cps": CPS,
}
