"""What a report holds: from the tables of runs to sections of text, tables and figures, not yet a page.

The caller fills `ReportData` by reading run folders; `build_sections` computes every number. The HTML page
and the Markdown text are two ways to write the same sections down, so they cannot disagree. Whatever is
missing is said in the place where it would have stood.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation import figures
from echocycle.evaluation.metrics import (
    METRICS,
    Interval,
    TTest,
    bootstrap_intervals,
    dice_per_video,
    mean_and_sd,
    naive_prediction,
    paired_difference,
    paired_t,
    pooled_dice,
    unpaired_t,
)
from echocycle.evaluation.tables import check_dice, check_predictions, check_volumes, per_video

NOT_RECORDED = "not recorded"
_DISAGREEMENTS = 15  # videos listed where EF by discs and the label differ most


# --- what the caller fills in ---------------------------------------------------------------------


@dataclass(frozen=True)
class LabelBudget:
    """How many videos a run knew the labels of."""

    labelled: int
    unlabelled: int
    validation: int  # labels that chose the best epoch; they are labels too
    unlabelled_annotations_used: bool | None = None  # None: not recorded
    note: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from. An empty field is printed as not recorded."""

    software: str = ""
    torch: str = ""
    phantom: str = ""  # version of the phantom, or a word that the data are real
    data: str = ""
    command: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Overlays:
    """Frames (n, height, width) of 8 bit with true and predicted masks of the same shape."""

    frames: np.ndarray
    true: np.ndarray | None = None
    pred: np.ndarray | None = None
    captions: Sequence[str] | None = None


@dataclass(frozen=True)
class RunReport:
    """One run as its folder tells it. Every table may be missing; see `evaluation.tables` for their columns."""

    name: str
    method: str
    seed: int | None = None
    stage: Literal["segment", "regress", ""] = ""  # says which tables to expect; all of them if empty
    labels: LabelBudget | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    predictions: pd.DataFrame | None = None
    dice: pd.DataFrame | None = None
    volumes: pd.DataFrame | None = None
    losses: Path | None = None  # CSV: step, and a column per named loss
    overlays: Overlays | None = None
    provenance: Provenance | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything a report is made of."""

    title: str
    runs: Sequence[RunReport]
    date: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    train_ef: Sequence[float] | np.ndarray | None = None  # percent, labelled videos: for the naive baseline
    reference: str | None = None  # the method others are compared with; the first one by default
    warnings: Sequence[str] = ()
    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0


# --- what a report is made of ---------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A table's cell: a number or word, and in small print its interval or an explanation."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """Columns whose name starts with `<` hold words and are set to the left."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Text:
    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Missing:
    """Says what is not there, and which file would bring it."""

    text: str
    kind: str = "missing"


@dataclass(frozen=True)
class Drawing:
    svg: str
    caption: str
    kind: str = "figure"


@dataclass(frozen=True)
class Details:
    """Blocks that a reader may unfold."""

    summary: str
    blocks: Sequence[Any]
    kind: str = "details"


Block = Text | Table | Missing | Drawing | Details


@dataclass(frozen=True)
class Tile:
    """A number to see first."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True)
class Contents:
    """A whole report before it is written down."""

    title: str
    date: str
    facts: Sequence[tuple[str, str]]
    tiles: Sequence[Tile]
    warnings: Sequence[str]
    sections: Sequence[Section]


# --- numbers as text ------------------------------------------------------------------------------


def number(value: float, digits: int = 2, sign: bool = False) -> str:
    """A number with a real minus sign; a dash where it is undefined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "").replace("+", "")
    return text.replace("-", "−")


def count(value: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009")


def p_value(p: float) -> str:
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _interval_cell(interval: Interval, digits: int = 2, scale: float = 1, sign: bool = False) -> Cell:
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    small = f"{number(low, digits)} to {number(high, digits)}" if math.isfinite(low) else ""
    return Cell(number(value, digits, sign), small)


def _percent(level: float) -> str:
    return f"{100 * level:g} %"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


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


def _resampling(data: ReportData, videos: pd.DataFrame) -> dict[str, Any]:
    """How intervals over these videos are made."""
    return {"groups": videos["patient"], "resamples": data.resamples, "level": data.level, "seed": data.seed}


def _results(data: ReportData, problems: list[str]) -> list[Result]:
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
                intervals = bootstrap_intervals(part["ef_true"], part["ef_pred"], **_resampling(data, part))
            except EchocycleError as error:
                problems.append(f"{run.name}, split {split}, {protocol}: {error}")
                continue
            results.append(Result(run, str(split), str(protocol), part, intervals))
    order = {where: place for place, where in enumerate(_places(results))}
    return sorted(results, key=lambda result: order[result.where])


def _places(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Splits and protocols in order: test first, training last, otherwise as they appear."""
    rank = {"test": 0, "val": 1, "train": 3}
    places = dict.fromkeys(result.where for result in results)
    return sorted(places, key=lambda place: rank.get(place[0].lower(), 2))


def _naive(data: ReportData, results: Sequence[Result], problems: list[str]) -> list[tuple[Result, float]]:
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
        intervals = bootstrap_intervals(videos["ef_true"], videos["ef_pred"], **_resampling(data, videos))
        run = RunReport(name="no video looked at", method=f"mean training EF, {number(answer, 1)}\u00a0%")
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
_METRIC_WORDS = (
    "MAE, RMSE, bias and limits are in EF percentage points. R² is 1 − SSE/SST; r is Pearson’s correlation and r² "
    "its square, which some publications print as R². Bias is the mean of predicted minus true EF; the limits of "
    "agreement are the bias ∓ 1.96 standard deviations (ddof = 1)."
)


def _metric_cells(intervals: Mapping[str, Interval]) -> list[Cell]:
    cells = [
        _interval_cell(intervals[key], digits, scale, sign=key == "bias") for key, _, digits, scale in _METRIC_COLUMNS
    ]
    limits = (number(intervals[key].value) for key in ("lower_limit", "upper_limit"))
    return [*cells, Cell(" to ".join(limits))]


def _videos_cell(videos: pd.DataFrame) -> Cell:
    patients = videos["patient"].nunique()
    return Cell(count(len(videos)), f"{count(patients)} patients" if patients < len(videos) else "")


def _run_row(result: Result) -> list[Cell]:
    run = result.run
    return [
        Cell(run.name),
        Cell(run.method),
        Cell("–" if run.seed is None else str(run.seed)),
        Cell("–" if run.labels is None else count(run.labels.labelled)),
        Cell(result.split),
        Cell(result.protocol),
        _videos_cell(result.videos),
        *_metric_cells(result.intervals),
    ]


def _without(data: ReportData, stage: str, what: str, has: Callable[[RunReport], Any], file: str) -> list[Block]:
    """A word about the runs of a stage (of any, if empty) that lack something; and if nobody has it at all."""
    if not any(has(run) for run in data.runs):
        return [Missing(f"No run has {what} ({file}).")]
    lacking = [run.name for run in data.runs if not has(run) and (not stage or run.stage in (stage, ""))]
    return [Missing(f"Without {what} ({file}): {_names(lacking)}.")] if lacking else []


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> Table:
    """A table in which split and protocol move from columns to the caption where all rows agree on them."""
    same: dict[int, str] = {}
    for index, column in enumerate(columns):
        words = {row[index].text for row in rows} - {"–"}
        if column in ("<split", "<protocol") and len(words) == 1:
            same[index] = f"{column[1:]} {words.pop()}"
    if same:
        caption = f"{caption} All rows: {_names(same.values())}."
    kept = [index for index in range(len(columns)) if index not in same]
    return Table([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption)


def _runs_section(data: ReportData, results: Sequence[Result], naive: Sequence[tuple[Result, float]]) -> Section:
    blocks: list[Block] = []
    for place in _places(results):
        errors = [(result.run.name, result.intervals["mae"]) for result in results if result.where == place]
        caption = f"Mean absolute error on split {place[0]}, {place[1]}, with {_percent(data.level)} intervals."
        for other in (other for other, _ in naive if other.split == place[0]):
            caption += f" Always answering the mean training EF: {number(other.intervals['mae'].value)}."
        blocks.append(Drawing(figures.interval_figure(errors, "mean absolute error, EF points"), caption))
    if results:
        columns = ["<run", "<method", "seed", "labelled", "<split", "<protocol", "videos"]
        columns += [label for _, label, *_ in _METRIC_COLUMNS] + ["limits of agreement"]
        rows = [_run_row(result) for result in [*results, *(other for other, _ in naive)]]
        grouped = any(result.videos["patient"].nunique() < len(result.videos) for result in results)
        unit = "patients, with all their videos" if grouped else "videos"
        caption = (
            f"Each run, with {_percent(data.level)} percentile bootstrap intervals: "
            f"{count(data.resamples)} resamples of {unit}."
        )
        blocks += [_table(columns, rows, caption), Text(_METRIC_WORDS)]
    blocks += _without(data, "regress", "predictions", lambda run: run.predictions is not None, "predictions.csv")
    if results and not naive:
        blocks.append(Missing("No training EF given, so there is no naive baseline to compare with."))
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


def _seeds_section(results: Sequence[Result]) -> Section:
    rows = []
    for place in _places(results):
        for name, members in _families([r for r in results if r.where == place]).items():
            cells = [Cell(name), Cell(place[0]), Cell(place[1]), Cell(str(len(members)))]
            for key, _, digits, scale in _METRIC_COLUMNS:
                mean, sd = mean_and_sd([scale * member.intervals[key].value for member in members])
                spread = f"± {number(sd, digits)}" if len(members) > 1 else ""
                cells.append(Cell(number(mean, digits, sign=key == "bias"), spread))
            rows.append(cells)
    blocks: list[Block] = []
    if not rows:
        blocks.append(Missing("No predictions, so there is nothing to average."))
    elif any(row[3].text != "1" for row in rows):
        columns = ["<method", "<split", "<protocol", "runs", *(label for _, label, *_ in _METRIC_COLUMNS)]
        words = "Mean ± standard deviation (ddof = 1) over the runs of a method: how much the seed matters."
        blocks.append(_table(columns, rows, words))
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
    return Cell(p_value(test.p), f"t = {number(test.statistic)}")


def _difference_row(data: ReportData, name: str, a: Sequence[Result], b: Sequence[Result]) -> list[Cell]:
    videos, preds_a, preds_b = _common(a, b)
    true = videos["ef_true"].to_numpy(float)
    differences = [
        paired_difference(true, preds_a, preds_b, metric, **_resampling(data, videos)) for metric in ("mae", "rmse")
    ]
    runs = [[result.intervals["mae"].value for result in family] for family in (a, b)]
    over_runs = unpaired_t(*runs) if min(map(len, runs)) > 1 else None
    return [
        Cell(name),
        Cell(a[0].split),
        Cell(a[0].protocol),
        Cell(count(len(videos))),
        *(_interval_cell(difference, sign=True) for difference in differences),
        _test_cell(paired_t(true, preds_a, preds_b)),
        _test_cell(over_runs),
        Cell(f"{len(a)} and {len(b)}"),
    ]


def _paired_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section:
    rows = []
    for place in _places(results):
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
    return Section("Methods, compared in pairs", [_table(columns, rows, words)])


# --- masks ----------------------------------------------------------------------------------------


def _dice_rows(run: RunReport, problems: list[str]) -> list[list[Cell]]:
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
        return [Cell(number(100 * value, 1)) for value in values]

    rows = []
    for split, part in table.groupby("split", sort=False):
        ed, es = (cells(part[part["phase"] == phase]) for phase in ("ED", "ES"))
        phases = part[part["phase"] != "all"]
        both = cells(phases if len(phases) else part)
        start = [Cell(run.name), Cell(str(split)), Cell(count(part["video"].nunique()))]
        rows.append([*start, Cell("by area"), *ed, *es, *both])
        rows.append([*start, Cell("as the public code names them"), *es, *ed, *both])
    return rows


def _dice_section(data: ReportData, problems: list[str]) -> Section:
    rows = [row for run in data.runs for row in _dice_rows(run, problems)]
    blocks: list[Block] = []
    if rows:
        columns = ["<run", "<split", "videos", "<naming", "ED, pooled", "ED, mean", "ES, pooled", "ES, mean"]
        words = (
            "Dice of the left ventricle, %. Pooled: over the pixels of all videos together; mean: of the Dice of "
            "each video. By area, ED is the larger of a video’s two traced masks. The public code of "
            "EchoNet-Dynamic and of work built on it calls the trace listed last “large”, which is ES in the "
            "published files: its ED and ES are exchanged, and so are numbers printed by it."
        )
        blocks.append(_table([*columns, "both, pooled", "both, mean"], rows, words))
    blocks += _without(data, "segment", "overlaps of masks", lambda run: run.dice is not None, "dice.csv")
    return Section("Segmentation", blocks)


def _ef_row(run: str, split: str, source: str, true: pd.Series, pred: pd.Series) -> list[Cell]:
    values = {
        key: METRICS[key](true, pred) if len(true) > 1 else math.nan for key in ("mae", "rmse", "r2", "pearson", "bias")
    }
    return [
        Cell(run),
        Cell(split),
        Cell(source),
        Cell(count(len(true))),
        Cell(number(values["mae"])),
        Cell(number(values["rmse"])),
        Cell(number(100 * values["r2"], 1)),
        Cell(number(values["pearson"], 3)),
        Cell(number(values["bias"], sign=True)),
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


def _volumes_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section:
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
        columns = ["<masks of", "<split", "<EF", "videos", "MAE", "RMSE", "R², %", "r", "bias"]
        words = (
            "EF from masks alone (Simpson’s single-plane rule of 20 discs; area and length: 8A²/3πL), median over "
            "beats, beside EF regressed from video, against the labels of the same videos."
        )
        blocks.append(_table(columns, rows, words))
    blocks += further
    blocks += _without(data, "segment", "EF by discs", lambda run: run.volumes is not None, "volumes.csv")
    return Section("EF by discs", blocks)


# --- figures --------------------------------------------------------------------------------------


def _chunks(items: Sequence[Any], size: int = figures.PANELS_PER_FIGURE) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _agreement_section(results: Sequence[Result]) -> Section:
    blocks: list[Block] = []
    for place in _places(results):
        panels = [
            figures.Comparison(r.run.name, r.videos["ef_true"], r.videos["ef_pred"])
            for r in results
            if r.where == place
        ]
        for part in _chunks(panels):
            where = f"split {place[0]}, {place[1]}"
            words = f"Predicted against true EF, {where}; dashed: identity."
            blocks.append(Drawing(figures.scatter_figure(part), words))
            words = f"Differences, {where}; solid: bias, dashed: 95 % limits of agreement."
            blocks.append(Drawing(figures.bland_altman_figure(part), words))
    return Section("Agreement with the labels", blocks or [Missing("No predictions, so there is nothing to draw.")])


def _training_section(data: ReportData, problems: list[str]) -> Section:
    stages: dict[str, dict[str, pd.DataFrame]] = {}
    for run in data.runs:
        if run.losses is not None:
            try:
                stages.setdefault(run.stage, {})[run.name] = figures.read_losses(run.losses)
            except EchocycleError as error:
                problems.append(str(error))
    blocks: list[Block] = []
    for tables in stages.values():
        for part in _chunks(list(tables), len(figures.SERIES)):
            try:
                svg = figures.losses_figure({name: tables[name] for name in part})
                blocks.append(Drawing(svg, f"Training curves of {_names(part)}."))
            except EchocycleError as error:
                problems.append(f"Training curves of {_names(part)}: {error}")
    blocks += _without(data, "", "training curves", lambda run: run.losses, "a CSV of losses")
    return Section("Training", blocks)


def _masks_section(data: ReportData, problems: list[str]) -> Section:
    blocks: list[Block] = []
    for run in data.runs:
        try:
            if run.overlays is not None:
                shown = run.overlays
                svg = figures.overlay_figure(shown.frames, shown.true, shown.pred, shown.captions)
                blocks.append(Drawing(svg, f"Masks of {run.name}: true (solid, blue), predicted (dashed, orange)."))
        except EchocycleError as error:
            problems.append(f"Masks of {run.name}: {error}")
    blocks += _without(data, "segment", "a sheet of masks", lambda run: run.overlays is not None, "frames with masks")
    return Section("Masks", blocks)


# --- labels, settings, facts ----------------------------------------------------------------------


def _labels_section(data: ReportData) -> Section:
    budgets: dict[LabelBudget, list[str]] = {}
    for run in data.runs:
        if run.labels is not None:
            budgets.setdefault(run.labels, []).append(run.name)
    words = {True: "used", False: "not used", None: NOT_RECORDED}
    rows = [
        [
            Cell(_names(names)),
            Cell(count(budget.labelled)),
            Cell(count(budget.unlabelled)),
            Cell(count(budget.validation)),
            Cell(words[budget.unlabelled_annotations_used]),
            Cell(budget.note or "–"),
        ]
        for budget, names in budgets.items()
    ]
    blocks: list[Block] = []
    if rows:
        columns = ["<runs", "labelled", "unlabelled", "validation"]
        columns += ["<annotations of the unlabelled videos", "<note"]
        caption = "Videos whose labels a run may use. Validation labels choose the epoch and are labels as well."
        blocks.append(Table(columns, rows, caption))
    used = [run.name for run in data.runs if run.labels and run.labels.unlabelled_annotations_used]
    unknown = [run.name for run in data.runs if not run.labels or run.labels.unlabelled_annotations_used is None]
    if used:
        blocks.append(Text(f"Annotations of videos declared unlabelled were used by {_names(used)}."))
    elif rows and not unknown:
        blocks.append(Text("No run used an annotation of a video declared unlabelled."))
    if unknown:
        unsaid = "Whether annotations of unlabelled videos were used is not recorded"
        blocks.append(Missing(f"{unsaid}: {_names(unknown)}."))
    blocks += _without(data, "", "a label budget", lambda run: run.labels is not None, "labelled and unlabelled videos")
    return Section("Labels", blocks)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and text."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", "–" if value is None or value == "" else str(value)))
    return rows


def facts(provenance: Provenance) -> list[tuple[str, str]]:
    """Provenance as pairs of words."""
    labels = {"software": "Software", "torch": "PyTorch", "phantom": "Phantom", "data": "Data"}
    labels |= {"command": "Command", "machine": "Machine"}
    return [(label, getattr(provenance, name) or NOT_RECORDED) for name, label in labels.items()]


def _settings_section(data: ReportData) -> Section:
    blocks: list[Block] = []
    for run in data.runs:
        inside: list[Block] = []
        if run.provenance is not None:
            rows = [[Cell(label), Cell(value)] for label, value in facts(run.provenance)]
            inside.append(Table(["<where from", "<"], rows))
        if run.settings:
            rows = [[Cell(name), Cell(value)] for name, value in flatten(run.settings)]
            inside.append(Table(["<setting", "<value"], rows))
        else:
            inside.append(Missing(f"No settings were recorded for {run.name}."))
        seed = "" if run.seed is None else f", seed {run.seed}"
        blocks.append(Details(f"{run.name} ({run.method}{seed})", inside))
    return Section("Settings of each run", blocks or [Missing("There are no runs.")])


def _tiles(data: ReportData, results: Sequence[Result], naive: Sequence[tuple[Result, float]]) -> list[Tile]:
    tiles = []
    if results:
        place = _places(results)[0]
        here = [result for result in results if result.where == place]
        best = min(here, key=lambda result: result.intervals["mae"].value)
        cell = _interval_cell(best.intervals["mae"])
        label = "Lowest MAE" if len(here) > 1 else "MAE"
        tiles.append(Tile(label, cell.text, f"{cell.small}\n{best.run.name}"))
        share = _interval_cell(best.intervals["r2"], 1, 100)
        tiles.append(Tile("R² of that run", f"{share.text} %", share.small))
        base = next((other for other, _ in naive if other.split == place[0]), None)
        if base is not None:
            cell = _interval_cell(base.intervals["mae"])
            tiles.append(Tile("MAE without looking", cell.text, "always the mean training EF"))
        tiles.append(Tile("Videos", count(len(best.videos)), f"split {place[0]}, {place[1]}"))
    budgets = sorted({run.labels.labelled for run in data.runs if run.labels})
    if budgets:
        span = count(budgets[0]) if len(budgets) == 1 else f"{count(budgets[0])}–{count(budgets[-1])}"
        tiles.append(Tile("Labelled videos", span, f"{count(len(data.runs))} runs"))
    return tiles


def build_contents(data: ReportData) -> Contents:
    """Compute every number and figure of a report.

    Missing parts, and tables that break their rules, are named in the report instead of ending it.
    """
    problems: list[str] = []
    repeated = {run.name for run in data.runs if sum(other.name == run.name for other in data.runs) > 1}
    if repeated:
        problems.append(f"Several runs have one name: {_names(sorted(repeated))}.")
    results = _results(data, problems)
    naive = _naive(data, results, problems)
    sections = [
        _labels_section(data),
        _runs_section(data, results, naive),
        _seeds_section(results),
        _paired_section(data, results, problems),
        _agreement_section(results),
        _volumes_section(data, results, problems),
        _dice_section(data, problems),
        _masks_section(data, problems),
        _training_section(data, problems),
        _settings_section(data),
    ]
    return Contents(
        title=data.title,
        date=data.date or NOT_RECORDED,
        facts=facts(data.provenance),
        tiles=_tiles(data, results, naive),
        warnings=[*data.warnings, *problems],
        sections=sections,
    )
