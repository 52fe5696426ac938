"""The report's sections on masks: Dice, volumes, overlays, disagreements."""

import math
from collections.abc import Sequence

import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import METRICS, dice_per_video, pooled_dice
from echocycle.evaluation.tables import check_dice, check_volumes
from echocycle.reporting import figures
from echocycle.reporting.about_sections import missing_runs
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Details,
    Figure,
    Missing,
    Section,
    Table,
    count,
    count_cell,
    number,
    number_cell,
)
from echocycle.reporting.ef_sections import Result, table_with_common_columns
from echocycle.reporting.run_data import ReportData, RunReport

_DISAGREEMENTS = 15  # videos listed where EF by discs and the label differ most


# --- masks ----------------------------------------------------------------------------------------


def _dice_rows(run: RunReport, public_names: bool, problems: list[str]) -> list[list[Cell]]:
    if run.dice is None:
        return []
    try:
        table = check_dice(run.dice, f"Dice table of {run.name}")
    except EchocycleError as error:
        problems.append(str(error))
        return []

    def cells(part: pd.DataFrame) -> list[Cell]:
        if part.empty:
            return [Cell("–"), Cell("–")]
        counts = [part[name] for name in ("intersection", "size_true", "size_pred")]
        values = pooled_dice(*counts), float(dice_per_video(*counts).mean())
        return [number_cell(100 * value, 1) for value in values]

    rows = []
    for split, part in table.groupby("split", sort=False):
        ed, es = (cells(part[part["phase"] == phase]) for phase in ("ED", "ES"))
        phases = part[part["phase"] != "all"]
        both = cells(phases if len(phases) else part)
        start, videos = [Cell(run.name), Cell(str(split))], count_cell(part["video"].nunique())
        if not public_names:
            rows.append([*start, *ed, *es, *both, videos])
            continue
        rows.append([*start, Cell("by area"), *ed, *es, *both, videos])
        rows.append([*start, Cell("as the public code names them"), *es, *ed, *both, videos])
    return rows


def dice_section(data: ReportData, problems: list[str]) -> Section:
    rows = [row for run in data.runs for row in _dice_rows(run, data.public_names, problems)]
    blocks: list[Block] = []
    if rows:
        columns = ["<run", "<split", *["<naming"] * data.public_names, "ED, pooled", "ED, mean", "ES, pooled"]
        words = (
            "Dice of the left ventricle, %. Pooled: over the pixels of all videos together; mean: of the Dice of "
            "each video. ED is the larger of a video’s two traced masks."
        )
        if data.public_names:
            words += (
                " The public code of EchoNet-Dynamic and of work built on it calls the trace listed last “large”, "
                "which is ES in the published files: its ED and ES are exchanged, and so are numbers printed by it."
            )
        blocks.append(
            table_with_common_columns([*columns, "ES, mean", "both, pooled", "both, mean", "videos"], rows, words)
        )
    blocks += missing_runs(data, "segment", "overlaps of masks", lambda run: run.dice is not None, "dice.csv")
    return Section("Segmentation", blocks)


def _ef_row(run: str, split: str, source: str, true: pd.Series, pred: pd.Series) -> list[Cell]:
    values = {
        key: METRICS[key](true, pred) if len(true) > 1 else math.nan for key in ("mae", "rmse", "r2", "pearson", "bias")
    }
    return [
        Cell(source),
        Cell(split),
        number_cell(values["mae"]),
        number_cell(values["rmse"]),
        number_cell(100 * values["r2"], 1),
        number_cell(values["pearson"], 3),
        number_cell(values["bias"], sign=True),
        count_cell(len(true)),
        Cell(run),
    ]


def _beside(run: RunReport, results: Sequence[Result], split: str) -> list[tuple[str, pd.Series]]:
    """Regressed EF by video: the run's own, or every run's where a segmenter has none."""
    own = [result for result in results if result.run.name == run.name]
    return [
        (f"regressed, {result.run.name}, {result.protocol}", result.videos.set_index("video")["ef_pred"])
        for result in own or results
        if result.split == split
    ]


def _disagreements(part: pd.DataFrame, beside: Sequence[tuple[str, pd.Series]], unit: str) -> Table:
    """The videos whose EF by discs is farthest from the label."""
    distance = (part["ef_discs"] - part["ef_true"]).abs()
    worst = part.loc[distance.sort_values(ascending=False).index[:_DISAGREEMENTS]]
    rows = []
    for row in worst.itertuples():
        regressed = [Cell(number(float(values.get(row.video, math.nan)), 1)) for _, values in beside]
        digits = 1 if unit == "ml" else 0
        volumes = [Cell(number(float(value), digits)) for value in (row.edv, row.esv)]
        ef = [Cell(number(float(value), 1)) for value in (row.ef_true, row.ef_discs, row.ef_area_length)]
        beats = Cell("–" if pd.isna(row.beats) else str(row.beats))
        rows.append([Cell(row.video), *ef, *regressed, *volumes, beats, Cell(row.notes or "–")])
    columns = ["<video", "true EF", "by discs", "by area and length", *(name for name, _ in beside)]
    shown = unit.replace("^3", "³")
    columns += [f"EDV, {shown}", f"ESV, {shown}", "beats", "<notes"]
    caption = f"The {len(rows)} of {count(len(part))} videos whose EF by discs is farthest from the label."
    return Table(columns, rows, caption)


def volumes_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section:
    rows: list[list[Cell]] = []
    further: list[Block] = []
    for run in data.runs:
        if run.volumes is None:
            continue
        try:
            table = check_volumes(run.volumes, f"volumes of {run.name}")
        except EchocycleError as error:
            problems.append(str(error))
            continue
        for split, part in table.groupby("split", sort=False):
            usable = part[part["ef_true"].notna() & part["ef_discs"].notna()]
            lost = len(part) - len(usable)
            if lost:
                words = f"{run.name}, split {split}: {count(lost)} of {count(len(part))} videos have no EF by discs"
                further.append(Missing(f"{words} or no label, and are left out."))
            if usable.empty:
                continue
            beside = _beside(run, results, str(split))
            shared = usable
            for _, values in beside:
                shared = shared[shared["video"].isin(values.index)]
            sources = [("by discs", shared["ef_discs"]), ("by area and length", shared["ef_area_length"])]
            sources += [(name, shared["video"].map(values)) for name, values in beside]
            for source, values in sources:
                kept = values.notna()
                rows.append(_ef_row(run.name, str(split), source, shared["ef_true"][kept], values[kept]))
            units = [unit for unit in dict.fromkeys(part["unit"]) if unit]
            worst = _disagreements(usable, beside, " or ".join(units) or "unit not recorded")
            further.append(Details(f"{run.name}, split {split}: largest disagreements", [worst]))
    blocks: list[Block] = []
    if rows:
        columns = ["<EF", "<split", "MAE", "RMSE", "R², %", "r", "bias", "videos", "<masks of"]
        words = (
            "EF from masks alone (Simpson’s single-plane rule of 20 discs; area and length: 8A²/3πL), median over "
            "beats, beside EF regressed from video, against the labels of the same videos."
        )
        blocks.append(table_with_common_columns(columns, rows, words))
    blocks += further
    blocks += missing_runs(data, "segment", "EF by discs", lambda run: run.volumes is not None, "volumes.csv")
    return Section("EF by discs", blocks)


def masks_section(data: ReportData, problems: list[str]) -> Section:
    blocks: list[Block] = []
    for run in data.runs:
        try:
            if run.overlays is not None:
                shown = run.overlays
                picture = figures.overlay_figure(shown.frames, shown.true, shown.pred, shown.captions)
                blocks.append(Figure(picture, f"Masks of {run.name}: true (solid, blue), predicted (dashed, orange)."))
        except EchocycleError as error:
            problems.append(f"Masks of {run.name}: {error}")
    blocks += missing_runs(
        data, "segment", "a sheet of masks", lambda run: run.overlays is not None, "frames with masks"
    )
    return Section("Masks", blocks)
