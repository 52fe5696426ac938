"""The report's word on intervals: how many true EFs of the held-out videos they hold, by band of the true EF."""

from echocycle.errors import EchocycleError
from echocycle.evaluation.calibrate import coverage
from echocycle.reporting.blocks import Block, Cell, Missing, Table, Text, count_cell, number_cell
from echocycle.reporting.run_data import RunReport


def interval_blocks(run: RunReport) -> list[Block]:
    """A table of coverage and width of a run's intervals on its test videos; nothing where it has none."""
    if run.intervals is None:
        return []
    kinds = sorted(set(run.intervals["kind"]))
    test = run.intervals[run.intervals["subset"] == "test"]
    calibrating = int((run.intervals["subset"] == "calibration").sum())
    if kinds == ["naive"]:
        return [
            Text(
                f"Intervals of a single EF: {calibrating} validation videos were kept for them, too few for more than "
                "the naive interval, which is as wide as that of always answering the mean "
                "(`--set regress.labels.calibration=1/2` keeps half of the validation videos)."
            )
        ]
    if test.empty:
        return [Missing("No test video has an interval of its EF (intervals.csv).")]
    try:
        held = coverage(test["ef_true"].to_numpy(float), test[["low", "high"]].to_numpy(float))
    except (KeyError, ValueError) as error:
        raise EchocycleError(f"intervals.csv of {run.name} cannot be read ({error}).") from None
    rows = [
        [
            Cell(name),
            count_cell(int(each["videos"])),
            number_cell(100 * each["coverage"], 0),
            number_cell(each["width"], 1),
        ]
        for name, each in held.items()
        if each["videos"]
    ]
    caption = (
        f"Intervals of a single EF ({', '.join(kinds)}) from {calibrating} calibration videos, on the test videos of "
        f"{run.name}: 90 % should be held in every band."
    )
    return [Table(["<true EF", "videos", "held, %", "mean width, points"], rows, caption, "intervals")]
