"""The report's sections on masks of frames that nobody traced, on the data, and on what answers and labels cost."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echocycle.evaluation.analyses import data_set
from echocycle.evaluation.analyses.attention import pooled_interval
from echocycle.evaluation.analyses.stored import Analysed
from echocycle.evaluation.intervals import Interval
from echocycle.evaluation.metrics import mean_and_sd
from echocycle.reporting import analysis_figures as drawn
from echocycle.reporting.analysis_sections import with_analysis
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Figure,
    Section,
    Table,
    Text,
    count,
    count_cell,
    interval_cell,
    number,
    number_cell,
)
from echocycle.reporting.ef_sections import Result, places_of
from echocycle.reporting.run_data import ReportData, RunReport

# ----------------------------------------------------------------------------------------------------- masks


def contours_section(data: ReportData, problems: list[str]) -> Section | None:
    """Masks on frames that nobody traced (Fig. A3, Table VI), and the area over the whole video."""
    found = with_analysis(data, "masks")
    if not found:
        return None
    words = (
        "One random frame between ED and ES of each video, which no training saw a tracing of. What to see: whether "
        "the outlines of the runs part from the truth, and where; mostly at the apex and at the mitral valve. The "
        "curves show the area in every frame: they should rise and fall smoothly with each beat, without jumps."
    )
    blocks: list[Block] = [Text(words)]
    frames, areas, traced = _pictures(found)
    if frames:
        caption = "Outlines of all runs and, where it is known, the truth, on frames without a tracing."
        blocks.append(Figure(drawn.contours_figure(frames), caption, "contours"))
        blocks.append(
            Figure(drawn.areas_figure(areas, traced), "Area of the ventricle over the whole video.", "area-curves")
        )
    rows = [row for run, analysed in found for row in _unlabelled_dice(run, analysed)]
    if rows:
        caption = (
            "Dice, %, pooled over all videos, with 95 % intervals over videos. ED and ES are the traced frames, ED the "
            "larger mask; between: one random frame between them against the true mask."
        )
        columns = ["<run", "<method", "ED", "ES", "between", "videos"]
        blocks.append(Table(columns, rows, caption, "masks-between"))
    return Section("Masks on frames that nobody traced", blocks)


def _pictures(
    found: Sequence[tuple[RunReport, Analysed]],
) -> tuple[list[drawn.Outlined], list[tuple[str, float, dict[str, np.ndarray], np.ndarray]], list[np.ndarray]]:
    """The first videos of all runs: frames with masks, area curves, traced frames."""
    shown = int(found[0][1].settings.get("shown", 6))
    frames: dict[str, drawn.Outlined] = {}
    areas: dict[str, tuple[str, float, dict[str, np.ndarray], np.ndarray]] = {}
    traced: dict[str, np.ndarray] = {}
    for run, analysed in found[: len(drawn.OUTLINES)]:
        for (name, arrays), _ in zip(analysed.pieces(), range(shown), strict=False):
            true = arrays["true"] if arrays["true"].size else None
            if name not in frames:
                title = f"{name}, frame {int(arrays['number'])}"
                frames[name] = drawn.Outlined(title, arrays["frame"], true, {})
                areas[name] = (name, float(arrays["fps"]), {}, arrays["area_true"])
                traced[name] = arrays["traced"]
            frames[name].masks[run.name] = arrays["mask"]  # type: ignore[index]
            areas[name][2][run.name] = arrays["area"]
    return list(frames.values()), list(areas.values())[:3], list(traced.values())[:3]


def _unlabelled_dice(run: RunReport, analysed: Analysed) -> list[list[Cell]]:
    counts = [arrays["counts"] for _, arrays in analysed.pieces() if arrays["counts"].size]
    if not counts:
        return []
    between = pooled_interval(np.stack(counts)[:, None], 2000)
    names = {name for name, arrays in analysed.pieces() if arrays["counts"].size}
    cells = [_traced_dice(run, phase, names) for phase in ("ED", "ES")]
    return [[Cell(run.name), Cell(run.method), *cells, interval_cell(between, 1, 100), count_cell(len(counts))]]


def _traced_dice(run: RunReport, phase: str, names: set[str]) -> Cell:
    if run.dice is None:
        return Cell("–")
    part = run.dice[(run.dice["phase"] == phase) & run.dice["video"].isin(names)]
    if part.empty:
        return Cell("–")
    counts = part[["intersection", "size_true", "size_pred"]].to_numpy(np.int64)
    return interval_cell(pooled_interval(counts[:, None], 2000), 1, 100)


# ------------------------------------------------------------------------------------------------------ data

PAPER = {
    "EchoNet-Dynamic": ("10 030", "175 ± 57", "51.1 ± 6.2", "55.75 ± 12.37", "–"),
    "CAMUS": ("450", "20 ± 4", "–", "52.03 ± 12.07", "260 / 148 / 42"),
}
"""Tables A2 and A3 of the paper: patients, frames, frames a second, EF, image quality Good / Medium / Poor."""


def data_section(data: ReportData, problems: list[str]) -> Section | None:
    """What the data are (Tables A2 and A3), and how many clips of CSS cover two beats (Appendix B)."""
    found = with_analysis(data, "data")
    if not found:
        return None
    words = (
        "What to see: how these videos differ from those of the paper, above all in number and in the spread of EF: a "
        "data set whose EF hardly differ is one on which always answering the mean is hard to beat."
    )
    rows, said = [], []
    for store in dict.fromkeys(analysed.meta["job"]["store"] for _, analysed in found):
        analysed = next(each for each in found if each[1].meta["job"]["store"] == store)[1]
        videos = data_set.table_of_videos(analysed)
        for split in (*dict.fromkeys(videos["split"]), "all"):
            part = videos if split == "all" else videos[videos["split"] == split]
            rows.append([Cell(f"{store}, {split}"), *_facts(part)])
        for _, each in (pair for pair in found if pair[1].meta["job"]["store"] == store):
            told = covered_words(data_set.covered(data_set.table_of_videos(each)))
            if told not in said:
                said.append(told)
    rows += [[Cell(f"paper: {name}"), *map(Cell, cells)] for name, cells in PAPER.items()]
    columns = ["<videos", "patients", "frames", "frames a second", "EF, %", "Good / Medium / Poor"]
    caption = "Mean ± standard deviation (ddof = 1); image quality where the data set gives it."
    blocks: list[Block] = [Text(words), Table(columns, rows, caption, "data")]
    return Section("The data", [*blocks, *map(Text, said)])


def _facts(videos: pd.DataFrame) -> list[Cell]:
    cells = [count_cell(videos["patient"].nunique())]
    for name, digits in (("frames", 0), ("fps", 1), ("ef", 2)):
        known = videos[name].astype(float).dropna()
        if known.empty:
            cells.append(Cell("–"))
            continue
        mean, sd = mean_and_sd(known)
        cells.append(Cell(f"{number(mean, digits)} ± {number(sd, digits)}", value=mean))
    quality = videos["quality"].value_counts()
    known_quality = any(name in quality for name in data_set.QUALITIES)
    cells.append(
        Cell(" / ".join(str(int(quality.get(name, 0))) for name in data_set.QUALITIES) if known_quality else "–")
    )
    return cells


def covered_words(found: data_set.Covered) -> str:
    """How many clips of CSS cover two beats, in a sentence."""
    words = f"A clip of CSS spans {found.clip} frames; {count(found.enough)} videos have so many."
    if not found.known:
        return f"{words} The length of a beat is not known in any of them."
    share = 100 * found.two / found.known
    return (
        f"{words} In {count(found.two)} of the {count(found.known)} of them whose beat is known ({number(share, 0)} "
        f"%) the clip covers two beats or more; the median is {number(found.beats, 1)} beats. The paper takes it for "
        "granted (Appendix B)."
    )


# ------------------------------------------------------------------------------------------- labels and cost


def labels_cost_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section | None:
    """Error against the labels that were really used; the cost of a teacher with masks and of a student."""
    blocks: list[Block] = []
    lines: dict[str, list[tuple[float, float, float]]] = {}
    if results:
        place = places_of(results)[0]
        by: dict[tuple[str, int], list[float]] = {}
        for result in (each for each in results if each.where == place):
            if result.run.labels_used_in_all:
                key = result.run.method, result.run.labels_used_in_all
                by.setdefault(key, []).append(result.intervals["mae"].value)
        for (method, labels), values in by.items():
            mean, sd = mean_and_sd(values)
            lines.setdefault(method, []).append((labels, mean, sd))
    if any(len(points) > 1 for points in lines.values()):
        caption = (
            "Error against the labels used in all, those of helpers (masks, teacher) and of the validation videos "
            "included. Lines: one method; bars: standard deviation over seeds."
        )
        picture = drawn.points_figure(lines, "labelled videos used in all", "MAE, EF points", log=True)
        blocks.append(Figure(picture, caption, "error-by-labels"))
    rows = []
    for run in data.runs:
        if run.cost is None:
            continue
        mae = next((r.intervals["mae"] for r in results if r.run is run), Interval(np.nan, np.nan, np.nan))
        cost = run.cost
        rows.append(
            [Cell(run.name), Cell(run.method), interval_cell(mae), count_cell(run.labels_used_in_all or 0),
             number_cell(cost.parameters / 1e6, 2), number_cell(cost.masks, 1), number_cell(cost.clips, 1),
             number_cell(cost.whole, 1)]
        )  # fmt: skip
    if rows:
        columns = ["<run", "<method", "MAE", "labels in all", "weights, millions", "masks", "clips", "together"]
        caption = (
            "Multiply-adds for one answer, in thousand millions: the masks of all 176 frames of a usual video, and 16 "
            "clips. A teacher needs the masks every time; a student needs them in training alone."
        )
        blocks.append(Table(columns, rows, caption, "cost"))
    if not blocks:
        return None
    words = (
        "What to see: what a lower error costs. A student is worth having where it is about as good as its teacher for "
        "less; more labels are worth having where the line still falls."
    )
    return Section("Labels and cost", [Text(words), *blocks])
