"""Tables I, II, IX, X, A1: the paper's method beside those of others."""

from echocycle.experiments.plan import Experiment, Regressor, Row, Segmenter, student

CSS = Segmenter("css")

OURS = "Ours"
OTHERS = {
    "Ouyang et al. [6]": "supervised",
    "Dai et al. [12]": "adacon",
    "Ji et al. [46]": "mean_teacher",
    "Xu et al. [44]": "cross_model",
}
WITHOUT_UNLABELLED = ("supervised", "adacon")
"""Methods that learn from labels alone, so that they are run with all of them too."""


def table_1() -> Experiment:
    """Five methods at 1/8, 1/4, 1/2 and all labels; `echocycle experiment table-1 --fractions 1/8` for one fraction.

    The paper's MAE at 1/8: 5.64, 5.47, 5.61, 5.08, and 4.90 for ours.
    """
    rows = [Row(name, Regressor(method), all_labels=method in WITHOUT_UNLABELLED) for name, method in OTHERS.items()]
    extra = Row("UCVME (not in the paper)", Regressor("ucvme"))
    return Experiment(
        "table-1",
        "Comparison with other methods",
        (*rows, extra, Row(OURS, student(CSS))),
        ("1/8", "1/4", "1/2", "All"),
        "I",
    )


def table_a1() -> Experiment:
    """Five methods with three backbones at 1/8 labels."""
    rows = [
        Row(name, Regressor(method, network=network), column)
        for column, network in BACKBONES.items()
        for name, method in OTHERS.items()
    ]
    ours = [Row(OURS, student(CSS, network), column) for column, network in BACKBONES.items()]
    return Experiment("table-a1", "Three backbones", (*rows, *ours), ("1/8",), "A1")


BACKBONES = {"MC3": "mc3_18", "R3D": "r3d_18", "R2+1D": "r2plus1d_18"}

ATTENTION = (
    "rows of its own: `echocycle analyse RUN --what attention` looks at each run of table-1, and `echocycle report` "
    "shows them side by side"
)


def table_2() -> Experiment:
    """Where the networks of Table I look."""
    return Experiment("table-2", "Attention inside the ventricle", paper="II", lacks=ATTENTION)


def table_9() -> Experiment:
    """The networks of Table I on another hospital's videos."""
    return Experiment(
        "table-9",
        "External validation on CAMUS",
        paper="IX",
        lacks="rows of its own: `echocycle evaluate RUN --external STORE --half-beats symmetric` tests each run of "
        "table-1, and `echocycle report` shows them side by side by image quality",
    )


def table_10() -> Experiment:
    """Where the networks of Table IX look."""
    lacks = "rows of its own: `echocycle analyse RUN --what attention --external STORE`, then `echocycle report`"
    return Experiment("table-10", "Attention on CAMUS", paper="X", lacks=lacks)
