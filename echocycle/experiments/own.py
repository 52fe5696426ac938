"""What the paper does not ask: a teacher that sees the masks alone, the student it teaches; and what bf16 costs."""

from dataclasses import replace

from echocycle.experiments.plan import Experiment, Regressor, Row, Segmenter, student, teacher

CSS = Segmenter("css")

VIDEO = "Video Only"
TEACHER = "Teacher: video and masks (the paper's)"
STUDENT = "Its student (the paper's)"
MASK_TEACHER = "Teacher: masks alone"
MASK_STUDENT = "Its student"


def own_row() -> Experiment:
    """Does a teacher without the video's speckle teach better? All rows see the masks of one CSS segmenter."""
    masks_alone = Regressor("mask_teacher", masks=CSS)
    rows = (
        Row(VIDEO, Regressor("supervised")),
        Row(TEACHER, teacher(CSS)),
        Row(STUDENT, student(CSS)),
        Row(MASK_TEACHER, masks_alone),
        Row(MASK_STUDENT, Regressor("student", {"start": "weights"}, masks=CSS, teacher=masks_alone)),
    )
    compare = (
        (MASK_TEACHER, TEACHER),
        (MASK_STUDENT, STUDENT),
        (MASK_STUDENT, MASK_TEACHER),
        (MASK_STUDENT, VIDEO),
        (STUDENT, VIDEO),
    )
    note = (
        "Both students differ in their teacher and in their start: the paper's starts as its teacher, the other from "
        "first weights, since a teacher of masks has no video channel to copy.",
    )
    return Experiment(
        "own-row", "A teacher of masks alone", rows, ("1/16", "1/8", "1/4", "1/2"), compare=compare, notes=note
    )


def precision() -> Experiment:
    """Does training in bf16 cost accuracy? The same teacher on the same masks, in both precisions."""
    usual = teacher(CSS)
    rows = (
        Row("f_m, fp32", replace(usual, precision="32")),
        Row("f_m, bf16 where the device computes in it", usual),
    )
    return Experiment("precision", "Training in bf16 and in fp32", rows)
