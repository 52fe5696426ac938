"""The report's sections on EF: every run, methods over seeds and in pairs, agreement with the labels.

Every number is computed here from the tables of the runs. Whatever is missing is said in the place where it would
have stood.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.candidates import CANDIDATES
from echocycle.evaluation.intervals import Interval, TTest, compare_methods, video_intervals
from echocycle.evaluation.metrics import LEVEL, mean_and_sd, naive_prediction
from echocycle.evaluation.tables import check_predictions, explain_protocol, per_video
from echocycle.reporting import figures
from echocycle.reporting.about_sections import chunks, missing_runs
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Figure,
    Missing,
    Section,
    Table,
    Text,
    count,
    count_cell,
    interval_cell,
    joined,
    number,
    p_value,
    percent,
)
from echocycle.reporting.run_data import ReportData, RunReport

# --- results of each run --------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A run on one split by one protocol: its videos (`tables.per_video`) and the intervals of all metrics."""

    run: RunReport
    split: str
    protocol: str
    videos: pd.DataFrame
    intervals: Mapping[str, Interval]

    @property
    def where(self) -> tuple[str, str]:
        return self.split, self.protocol


def resampling(data: ReportData) -> dict[str, Any]:
    """How intervals are made."""
    return {"resamples": data.resamples, "level": data.level, "seed": data.seed}


def results_of(data: ReportData, problems: list[str]) -> list[Result]:
    """One result per run, split and protocol; what cannot be computed becomes a problem, in words."""
    results = []
    for run in data.runs:
        if run.predictions is None:
            continue
        try:
            videos = per_video(check_predictions(run.predictions, f"predictions of {run.name}"))
        except EchocycleError as error:
            problems.append(str(error))
            continue
        for (split, protocol), part in videos.groupby(["split", "protocol"], sort=False):
            part = part.reset_index(drop=True)
            try:
                intervals = video_intervals(part, **resampling(data))
            except EchocycleError as error:
                problems.append(f"{run.name}, split {split}, {protocol}: {error}")
                continue
            results.append(Result(run, str(split), str(protocol), part, intervals))
    order = {where: place for place, where in enumerate(places_of(results))}
    return sorted(results, key=lambda result: order[result.where])


def places_of(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Splits and protocols in order: test first, training last, otherwise as they appear."""
    rank = {"test": 0, "val": 1, "train": 3}
    places = dict.fromkeys(result.where for result in results)
    return sorted(places, key=lambda place: rank.get(place[0].lower(), 2))


def place_words(result: Result) -> tuple[str, str]:
    """A result's split and protocol in words: `test`, and a sentence on how clips were chosen."""
    split = {"test": "test", "val": "validation", "train": "training"}.get(result.split, result.split)
    settings = result.run.evaluated
    said = explain_protocol(result.protocol, settings.get("stride"), len(settings.get("clip_seeds", ())) or None)
    return split, f"protocol {result.protocol}: {said}" if said else f"protocol {result.protocol}."


def naive_results(data: ReportData, results: Sequence[Result], problems: list[str]) -> list[tuple[Result, float]]:
    """The baseline that answers the mean training EF, on the videos of each split's first result."""
    if data.train_ef is None:
        return []
    try:
        answer = naive_prediction(data.train_ef)
    except EchocycleError as error:
        problems.append(str(error))
        return []
    rows = []
    for split in dict.fromkeys(result.split for result in results):
        like = next(result for result in results if result.split == split)
        videos = like.videos.assign(ef_pred=answer)
        intervals = video_intervals(videos, **resampling(data))
        run = RunReport(name="Baseline: always the mean EF", method=f"answers {number(answer, 1)}\u00a0%")
        rows.append((Result(run, split, "–", videos, intervals), answer))
    return rows


_METRIC_COLUMNS = (
    ("mae", "MAE", 2, 1),
    ("rmse", "RMSE", 2, 1),
    ("r2", "R², %", 1, 100),
    ("pearson", "r", 3, 1),
    ("squared_pearson", "r², %", 1, 100),
    ("bias", "bias", 2, 1),
)


_PUBLIC = "squared_pearson"
"""The metric that stands here only because public code prints it (as R²)."""


def _metric_columns(data: ReportData) -> list[tuple[str, str, int, int]]:
    return [column for column in _METRIC_COLUMNS if data.public_names or column[0] != _PUBLIC]


def _metric_words(data: ReportData) -> str:
    public = " and r² its square, which some publications print as R²" if data.public_names else ""
    return (
        "MAE, RMSE, bias and limits are in EF percentage points. R² is 1 − SSE/SST; r is Pearson’s "
        f"correlation{public}. Bias is the mean of predicted minus true EF; the limits of agreement are the bias "
        "∓ 1.96 standard deviations (ddof = 1)."
    )


def _metric_cells(data: ReportData, intervals: Mapping[str, Interval]) -> list[Cell]:
    cells = [
        interval_cell(intervals[key], digits, scale, sign=key == "bias")
        for key, _, digits, scale in _metric_columns(data)
    ]
    limits = (number(intervals[key].value) for key in ("lower_limit", "upper_limit"))
    return [*cells, Cell(" to ".join(limits))]


def _videos_cell(videos: pd.DataFrame) -> Cell:
    patients = videos["patient"].nunique()
    return Cell(count(len(videos)), f"{count(patients)} patients" if patients < len(videos) else "", len(videos))


def _run_row(data: ReportData, result: Result) -> list[Cell]:
    run = result.run
    return [
        Cell(run.name),
        Cell(result.split),
        Cell(result.protocol),
        *_metric_cells(data, result.intervals),
        _videos_cell(result.videos),
        Cell("–") if run.labels is None else count_cell(run.labels.labelled),
        Cell(run.method),
        Cell("–" if run.seed is None else str(run.seed)),
    ]


def table_with_common_columns(columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> Table:
    """A table in which split and protocol move from columns to the caption where all rows agree on them."""
    same: dict[int, str] = {}
    for index, column in enumerate(columns):
        words = {row[index].text for row in rows} - {"–"}
        if column in ("<split", "<protocol") and len(words) == 1:
            same[index] = f"{column[1:]} {words.pop()}"
    if same:
        caption = f"{caption} All rows: {joined(same.values())}."
    kept = [index for index in range(len(columns)) if index not in same]
    return Table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption)


def runs_section(data: ReportData, results: Sequence[Result], naive: Sequence[tuple[Result, float]]) -> Section:
    blocks: list[Block] = []
    for place in places_of(results):
        errors = [(result.run.name, result.intervals["mae"]) for result in results if result.where == place]
        like = next(result for result in results if result.where == place)
        split, protocol = place_words(like)
        caption = f"Mean absolute error on {split} videos with {percent(data.level)} intervals; {protocol}"
        for other in (other for other, _ in naive if other.split == place[0]):
            caption += f" Baseline, always the mean EF: {number(other.intervals['mae'].value)}."
        blocks.append(Figure(figures.interval_figure(errors, "mean absolute error, EF points"), caption))
    if results:
        columns = ["<run", "<split", "<protocol", *(label for _, label, *_ in _metric_columns(data))]
        columns += ["limits of agreement", "videos", "labelled", "<method", "seed"]
        rows = [_run_row(data, result) for result in [*results, *(other for other, _ in naive)]]
        grouped = any(result.videos["patient"].nunique() < len(result.videos) for result in results)
        unit = "patients, with all their videos" if grouped else "videos"
        caption = (
            f"Each run with {percent(data.level)} percentile bootstrap intervals: "
            f"{count(data.resamples)} resamples of {unit}."
        )
        blocks += [table_with_common_columns(columns, rows, caption), Text(_metric_words(data))]
    blocks += missing_runs(data, "regress", "predictions", lambda run: run.predictions is not None, "predictions.csv")
    if results and not naive:
        blocks.append(
            Missing("No training EF is known, so there is no baseline that always answers their mean (labels.csv).")
        )
    return Section("Ejection fraction, run by run", blocks)


# --- methods: several seeds, and against one another ----------------------------------------------


def _families(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of one place by method; the label budget is named where a method has several."""
    budgets: dict[str, set[int | None]] = {}
    for result in results:
        budgets.setdefault(result.run.method, set()).add(_labelled(result.run))
    families: dict[str, list[Result]] = {}
    for result in results:
        several = len(budgets[result.run.method]) > 1
        labelled = _labelled(result.run)
        words = "labels not recorded" if labelled is None else f"{count(labelled)} labelled"
        name = f"{result.run.method}, {words}" if several else result.run.method
        families.setdefault(name, []).append(result)
    return families


def _labelled(run: RunReport) -> int | None:
    return None if run.labels is None else run.labels.labelled


def seeds_section(data: ReportData, results: Sequence[Result]) -> Section:
    rows = []
    for place in places_of(results):
        for name, members in _families([r for r in results if r.where == place]).items():
            cells = [Cell(name), Cell(place[0]), Cell(place[1]), Cell(str(len(members)))]
            for key, _, digits, scale in _metric_columns(data):
                mean, sd = mean_and_sd([scale * member.intervals[key].value for member in members])
                spread = f"± {number(sd, digits)}" if len(members) > 1 else ""
                cells.append(Cell(number(mean, digits, sign=key == "bias"), spread))
            rows.append(cells)
    blocks: list[Block] = []
    if not rows:
        blocks.append(Missing("No predictions, so there is nothing to average."))
    elif any(row[3].text != "1" for row in rows):
        columns = ["<method", "<split", "<protocol", "runs", *(label for _, label, *_ in _metric_columns(data))]
        words = "Mean ± standard deviation (ddof = 1) over the runs of a method: how much the seed matters."
        blocks.append(table_with_common_columns(columns, rows, words))
    else:
        blocks.append(Missing("Every method was trained once: there is no deviation over seeds."))
    return Section("Methods, averaged over seeds", blocks)


def _common(a: Sequence[Result], b: Sequence[Result]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Videos that all runs of both methods have, and their predictions (runs, videos)."""
    tables = [result.videos.set_index("video") for result in (*a, *b)]
    shared = tables[0].index
    for table in tables[1:]:
        shared = shared[shared.isin(table.index)]
    preds = np.stack([table.loc[shared, "ef_pred"].to_numpy(float) for table in tables])
    return tables[0].loc[shared], preds[: len(a)], preds[len(a) :]


def _test_cell(test: TTest | None) -> Cell:
    if test is None:
        return Cell("–", "needs 2 runs each")
    return Cell(p_value(test.p), f"t = {number(test.statistic)}", test.p)


def _difference_row(data: ReportData, name: str, a: Sequence[Result], b: Sequence[Result]) -> list[Cell]:
    videos, preds_a, preds_b = _common(a, b)
    true, patients = videos["ef_true"].to_numpy(float), videos["patient"]
    by_mae, by_rmse = (
        compare_methods(true, preds_a, preds_b, metric, groups=patients, **resampling(data))
        for metric in ("mae", "rmse")
    )
    return [
        Cell(name),
        Cell(a[0].split),
        Cell(a[0].protocol),
        count_cell(len(videos)),
        *(interval_cell(found.difference, sign=True) for found in (by_mae, by_rmse)),
        _test_cell(by_mae.over_videos),
        _test_cell(by_mae.over_runs),
        Cell(f"{len(a)} and {len(b)}"),
    ]


def paired_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section:
    rows = []
    for place in places_of(results):
        families = _families([result for result in results if result.where == place])
        reference = next(iter(families))
        if data.reference is not None:
            found = [name for name in families if data.reference in (name, families[name][0].run.method)]
            if found:
                reference = found[0]
            else:
                problems.append(f"No run of the reference method {data.reference!r} on {' / '.join(place)}.")
        for name, members in families.items():
            if name == reference:
                continue
            try:
                title = f"{name} − {reference}"
                rows.append(_difference_row(data, title, members, families[reference]))
            except EchocycleError as error:
                problems.append(f"{name} against {reference}, {' / '.join(place)}: {error}")
    if not rows:
        return Section("Methods, compared in pairs", [Missing("There are no two methods to compare.")])
    columns = ["<difference", "<split", "<protocol", "videos", "MAE", "RMSE", "p, videos", "p, runs", "runs"]
    words = (
        "Differences on the same videos, with paired bootstrap intervals; a negative one speaks for the method "
        "named first. p, videos: paired t-test over the absolute errors of the videos, averaged over runs first; "
        "would other videos agree? p, runs: unpaired two-sided t-test over the MAE of the runs; would other "
        "seeds agree?"
    )
    return Section("Methods, compared in pairs", [table_with_common_columns(columns, rows, words)])


def agreement_section(results: Sequence[Result]) -> Section:
    blocks: list[Block] = []
    for place in places_of(results):
        panels = [
            figures.Comparison(r.run.name, r.videos["ef_true"], r.videos["ef_pred"])
            for r in results
            if r.where == place
        ]
        for part in chunks(panels):
            where = f"split {place[0]}, protocol {place[1]}"
            words = f"Predicted against true EF, {where}; on the dashed line both are the same."
            blocks.append(Figure(figures.scatter_figure(part), words))
            words = f"Predicted minus true EF, {where}; solid: bias, dashed: 95 % limits of agreement."
            blocks.append(Figure(figures.bland_altman_figure(part), words))
    return Section("Agreement with the labels", blocks or [Missing("No predictions, so there is nothing to draw.")])


# --- which of several was taken -------------------------------------------------------------------


def candidates_section(data: ReportData, results: Sequence[Result]) -> Section | None:
    """The models that `train` chose from: each with its error on the validation videos that chose, its difference to
    the one that was taken, and its error on the test videos, which chose nothing."""
    choice = data.choice
    if choice is None:
        return None
    blocks: list[Block] = [Text(f"Taken is {choice.taken}. {choice.why}")]
    tested = {result.run.name: result for result in reversed(results) if result.split == "test"}
    rows = []
    for each in choice.standings:
        result = tested.get(each.run)
        more = Interval(each.more, *(math.nan if end is None else end for end in (each.more_low, each.more_high)))
        error = Interval(each.error, *(math.nan if end is None else end for end in (each.low, each.high)))
        rows.append(
            [
                Cell(each.name, "taken" if each.name == choice.taken else ""),
                Cell(each.run),
                Cell(CANDIDATES[each.name].sees),
                interval_cell(error),
                Cell("–") if each.name == choice.taken else interval_cell(more, sign=True),
                Cell("–") if result is None else interval_cell(result.intervals["mae"]),
            ]
        )
    if rows:
        caption = (
            f"Mean absolute error in EF points with {percent(LEVEL)} intervals over patients, by protocol "
            f"{choice.protocol}. {count(choice.videos)} validation videos chose, the same that chose each network's "
            "best epoch: on others the errors are larger. They count as labels used. The test videos chose nothing."
        )
        columns = ["<candidate", "<run", "<its answer comes from", "MAE, validation", "more than the one taken"]
        blocks.append(Table([*columns, "MAE, test"], rows, caption, "candidates"))
    return Section("Which model was taken", blocks)
