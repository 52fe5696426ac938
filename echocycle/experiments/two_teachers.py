"""What the paper does not ask: teachers that see the masks alone, students of several teachers; what bad masks do to
them; and what bf16 costs."""

from dataclasses import replace

from echocycle.experiments.plan import MASK_CHANNEL, Experiment, Regressor, Row, Segmenter, Together, student, teacher

CSS = Segmenter("css")

VIDEO = "Video Only"
TEACHER = "Teacher: video and masks (the paper's)"
STUDENT = "Its student (the paper's)"
MASK_TEACHER = "Teacher: masks alone"
MASK_STUDENT = "Student of masks alone"
BOTH = "Both teachers together"
COMMITTEE = "Student of both teachers (our own)"


def mask_teacher(masks: Segmenter) -> Regressor:
    """The teacher that does not see the video."""
    return Regressor("mask_teacher", masks=masks)


def committee(masks: Segmenter, *teachers: Regressor, **option: str) -> Regressor:
    """The student of several teachers; of both where none is named."""
    return Regressor("committee", option, masks=masks, teachers=teachers or (teacher(masks), mask_teacher(masks)))


def own_row() -> Experiment:
    """The row of our own beside the paper's, and what it is made of. All rows see the masks of one CSS segmenter."""
    rows = (
        Row(VIDEO, Regressor("supervised")),
        Row(TEACHER, teacher(CSS)),
        Row(STUDENT, student(CSS)),
        Row(MASK_TEACHER, mask_teacher(CSS)),
        Row(MASK_STUDENT, Regressor("student", {"start": "weights"}, masks=CSS, teachers=(mask_teacher(CSS),))),
        Row(BOTH, Together((teacher(CSS), mask_teacher(CSS)))),
        Row(COMMITTEE, committee(CSS)),
    )
    compare = (
        (BOTH, TEACHER),
        (BOTH, MASK_TEACHER),
        (COMMITTEE, STUDENT),
        (COMMITTEE, TEACHER),
        (COMMITTEE, VIDEO),
        (MASK_TEACHER, TEACHER),
        (MASK_STUDENT, STUDENT),
        (MASK_STUDENT, MASK_TEACHER),
        (STUDENT, VIDEO),
        (TEACHER, VIDEO),
        (BOTH, VIDEO),
    )
    notes = (
        "Students differ in their start too: those of the paper's teacher and of both start as the paper's teacher, "
        "that of masks alone from first weights, since its teacher has no video channel to copy.",
        "The student of both sees video alone, as the paper's does. Its targets are agreed on before training, one for "
        "each unlabelled video, from four clips of each teacher (method `committee`).",
        MASK_CHANNEL,
    )
    return Experiment(
        "own-row",
        "Two teachers, one of which sees the masks alone, and their student",
        rows,
        ("1/16", "1/8", "1/4", "1/2"),
        compare=compare,
        notes=notes,
    )


def own_parts() -> Experiment:
    """Which part of the committee helps; choose on validation videos (the predictions have them), compare on test."""
    zero, uniform = (Regressor("teacher", {"mask_channel": how}, masks=CSS) for how in ("zero", "uniform"))
    both = (zero, mask_teacher(CSS))
    rows = (
        Row("Teacher, mask channel uniform (the public code's)", uniform),
        Row("Its student", Regressor("student", masks=CSS, teachers=(uniform,))),
        Row("Teacher, mask channel from zero", zero),
        Row("The paper's student", Regressor("student", masks=CSS, teachers=(zero,))),
        Row("Several clips of the paper's teacher", committee(CSS, both[0])),
        Row("Several clips of the teacher of masks alone", committee(CSS, both[1], start="weights")),
        Row("Both and EF by discs", committee(CSS, *both, discs="true")),
        Row("Both, equal votes, doubt ignored", committee(CSS, *both, votes="equal", doubt="ignored")),
        Row("Both", committee(CSS, *both)),
    )
    compare = [("Both", row.name) for row in rows[3:-1]]
    compare += [(rows[2].name, rows[0].name), (rows[3].name, rows[1].name)]
    return Experiment("own-parts", "Parts of the student of two teachers", rows, compare=tuple(compare))


def bad_masks() -> Experiment:
    """What remains of it when masks are bad: the segmenter's training is cut short."""
    rows, compare = [], []
    for steps in (10, 30, None):
        masks = Segmenter("css", steps=steps)
        after = f"{steps} steps" if steps else "all steps"
        rows += [
            Row(f"Segmenter, {after}", masks),
            Row(f"Teacher: video and masks, {after}", teacher(masks)),
            Row(f"Teacher: masks alone, {after}", mask_teacher(masks)),
            Row(f"Student of both teachers, {after}", committee(masks)),
        ]
        _, both, alone, taught = (row.name for row in rows[-4:])
        compare += [(alone, both), *((each, VIDEO) for each in (both, alone, taught))]
    rows.append(Row(VIDEO, Regressor("supervised")))
    return Experiment("bad-masks", "Teachers and their student with bad masks", tuple(rows), compare=tuple(compare))


def precision() -> Experiment:
    """Does training in bf16 cost accuracy? The same teacher on the same masks, in both precisions."""
    usual = teacher(CSS)
    rows = (
        Row("f_m, fp32", replace(usual, precision="32")),
        Row("f_m, bf16 where the device computes in it", replace(usual, precision="auto")),
    )
    return Experiment("precision", "Training in bf16 and in fp32", rows)
