"""The report's sections on patients: one by one, and by whether the EF is low."""

from collections.abc import Sequence
from dataclasses import replace

from echocycle.evaluation.classification import LIMITS, Under, under
from echocycle.reporting import figures
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Details,
    Figure,
    Missing,
    Section,
    Side,
    Table,
    Text,
    count_cell,
    interval_cell,
    number_cell,
    percent,
)
from echocycle.reporting.ef_sections import Result, place_words, resampling
from echocycle.reporting.interval_blocks import interval_blocks
from echocycle.reporting.run_data import ReportData


def patients_section(result: Result | None) -> Section:
    """Every video of the delivered model's first result, the largest difference first."""
    title = "Patient by patient"
    if result is None:
        return Section(title, [Missing("No EF was predicted, so there is nothing to list (predictions.csv).")])
    videos = result.videos.assign(difference=result.videos["ef_pred"] - result.videos["ef_true"])
    videos = videos.loc[videos["difference"].abs().sort_values(ascending=False, kind="stable").index]
    named = bool((videos["patient"] != videos["video"]).any())
    films = result.run.overlay_files
    columns = ["<patient", *["<video"] * named, "EF true, %", "EF predicted, %", "difference"]
    rows = []
    for row in videos.itertuples():
        link = films.get(str(row.video), "")  # on the last of the names, which is the video's
        names = (
            [Cell(str(row.patient)), Cell(str(row.video), link=link)] if named else [Cell(str(row.video), link=link)]
        )
        numbers = [number_cell(float(value), 1) for value in (row.ef_true, row.ef_pred)]
        rows.append([*names, *numbers, number_cell(float(row.difference), 1, sign=True)])
    panel = [figures.Comparison(result.run.name, videos["ef_true"], videos["ef_pred"])]
    split, protocol = place_words(result)
    caption = f"{split.capitalize()} videos of {result.run.name}, the largest difference first; {protocol}"
    if any(video in films for video in videos["video"]):
        caption += " A name that is a link leads to the film with the outline drawn on it."
    return Section(
        title,
        [
            Side(
                [
                    Figure(
                        figures.scatter_figure(panel),
                        "Each point is a video; on the dashed line the prediction is right.",
                        "patients-agreement",
                    ),
                    Figure(
                        figures.bland_altman_figure(panel),
                        "Predicted minus true EF; solid: the mean difference, dashed: where 95 % are expected.",
                        "patients-differences",
                    ),
                ]
            ),
            Table(columns, rows, caption, "patients", tall=True),
        ],
    )


def low_ef_section(data: ReportData, delivered: Result | None, results: Sequence[Result]) -> Section:
    """Whether low EF are found: the delivered model first, then the other runs on the same videos."""
    title = "Low EF: under 40 and under 50"
    if delivered is None:
        return Section(title, [Missing("No EF was predicted, so it cannot be said (predictions.csv).")])
    here = [delivered, *(each for each in results if each.where == delivered.where and each.run is not delivered.run)]
    found = {each.run.name: [under(each.videos, limit, **resampling(data)) for limit in LIMITS] for each in here}
    split, protocol = place_words(delivered)
    words = (
        "A video counts as found where the predicted EF is under the limit as well. The AUC says how well the model "
        "orders patients, whatever the limit."
    )
    caption = (
        f"{delivered.run.name} on {split} videos; {protocol} Small print: {percent(data.level)} intervals, Wilson’s "
        "for sensitivity and specificity, a bootstrap over patients for the AUC; and the videos counted."
    )
    columns = ["<true EF", "sensitivity, %", "specificity, %", "AUC, %"]
    rows = [_shares(each) for each in found[delivered.run.name]]
    everyone = [
        [Cell(name), *_shares(each), *map(count_cell, (each.low, each.found, each.other, each.cleared))]
        for name, limits in found.items()
        for each in limits
    ]
    wide = ["<run", *columns, "under the limit", "found", "other videos", "let pass"]
    blocks: list[Block] = [Text(words), Table(columns, rows, caption, "low-ef"), *interval_blocks(delivered.run)]
    return Section(title, [*blocks, Details("All runs", [Table(wide, everyone, name="low-ef-all-runs")])])


def _shares(found: Under) -> list[Cell]:
    sensitivity, specificity = (interval_cell(share, 0, 100) for share in (found.sensitivity, found.specificity))
    return [
        Cell(f"under {found.limit:g}"),
        _counted(sensitivity, found.found, found.low),
        _counted(specificity, found.cleared, found.other),
        interval_cell(found.auc, 1, 100),
    ]


def _counted(cell: Cell, part: int, whole: int) -> Cell:
    """A share with its counts below its interval."""
    return replace(cell, small=f"{cell.small}\n{part} of {whole}".strip())
