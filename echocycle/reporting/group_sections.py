"""The report's sections on groups of videos: bands of EF, image quality, rhythm, another hospital's videos."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.groups import (
    BAND_NAMES,
    QUALITIES,
    RHYTHMS,
    GroupError,
    band_of,
    errors_by,
    unpaired_difference,
    with_details,
)
from echocycle.evaluation.intervals import compare_methods
from echocycle.evaluation.metrics import naive_prediction
from echocycle.evaluation.tables import check_predictions, per_video
from echocycle.reporting import analysis_figures as drawn
from echocycle.reporting.analysis_sections import attention_blocks
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Details,
    Figure,
    Items,
    Section,
    Table,
    Text,
    Words,
    count_cell,
    interval_cell,
    number_cell,
    p_value,
)
from echocycle.reporting.ef_sections import Result, resampling
from echocycle.reporting.run_data import ReportData


def _naive(data: ReportData) -> float | None:
    try:
        return None if data.train_ef is None else naive_prediction(data.train_ef)
    except EchocycleError:
        return None


def _first_results(results: Sequence[Result]) -> list[Result]:
    """Of each run its first result on the split that comes first."""
    found: dict[str, Result] = {}
    for result in results:
        if result.split == results[0].split:
            found.setdefault(result.run.name, result)
    return list(found.values())


def _detailed(result: Result) -> pd.DataFrame:
    assert result.run.predictions is not None
    return with_details(result.videos, result.run.predictions)


def _group_rows(run: str, groups: Sequence[GroupError]) -> list[list[Cell]]:
    return [
        [
            Cell(run),
            Cell(each.name),
            interval_cell(each.mae),
            interval_cell(each.bias, sign=True),
            number_cell(each.naive),
            count_cell(each.videos),
        ]
        for each in groups
    ]


_COLUMNS = ["<run", "<videos with", "MAE", "bias", "always the mean EF", "videos"]


def _groups_figure(results: Sequence[tuple[str, Sequence[GroupError]]], order: Sequence[str]) -> drawn.Picture:
    """MAE by group, a point for each run."""
    rows = []
    for name in order:
        values = [next((g.mae for g in groups if g.name == name), None) for _, groups in results]
        if any(value is not None for value in values):
            empty = type(next(v for v in values if v is not None))(np.nan, np.nan, np.nan)
            rows.append((name, [value or empty for value in values]))
    names = [name for name, _ in results]
    return drawn.bars_figure(rows, names, "mean absolute error, EF points", float("nan"))


def bands_section(data: ReportData, results: Sequence[Result]) -> Section | None:
    """Error by bands of the true EF and by image quality."""
    if not results:
        return None
    naive = _naive(data)
    shown = _first_results(results)[:4]
    bands = [
        (r.run.name, errors_by(r.videos, r.videos["ef_true"].map(band_of), BAND_NAMES, naive, **resampling(data)))
        for r in shown
    ]
    words = (
        "What to see: few videos have a low EF, and networks answer too near to the mean. So the error is largest, and "
        "its bias positive, where the EF is low: there it matters most. A group in which a run is no better than "
        "always the mean EF learnt nothing of it."
    )
    caption = f"By the true EF, %, on {shown[0].split} videos, with 95 % intervals."
    blocks: list[Block] = [
        Text(words),
        Figure(_groups_figure(bands, BAND_NAMES), "Mean absolute error by the true EF, %.", "error-by-ef"),
        Table(_COLUMNS, [row for name, groups in bands for row in _group_rows(name, groups)], caption, "error-by-ef"),
    ]
    qualities = []
    for result in shown:
        videos = _detailed(result)
        if "quality" in videos:
            groups = errors_by(videos, videos["quality"], QUALITIES, naive, **resampling(data))
            qualities.append((result.run.name, groups))
    rows = [row for name, groups in qualities for row in _group_rows(name, groups)]
    if rows:
        blocks.append(Table(_COLUMNS, rows, "By image quality, as the data set gives it.", "error-by-quality"))
    return Section("Error by EF and image quality", blocks)


def rhythm_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section | None:
    """Regular against irregular rhythm, with and without the segmenter's cycles (Sec. V-A)."""
    here = [(r, _detailed(r)) for r in _first_results(results)]
    here = [(r, videos) for r, videos in here if "rhythm" in videos and (videos["rhythm"] == "irregular").any()]
    if not here:
        return None
    words = (
        "CSS learns from beats that repeat. What to see: whether the error grows more with an irregular rhythm in runs "
        "whose masks were learnt with CSS than in the others. Videos of both rhythms are different ones, so their "
        "difference is not paired; the difference of two runs on the same videos is."
    )
    rows, tests = [], []
    for result, videos in here:
        groups = errors_by(videos, videos["rhythm"], RHYTHMS, _naive(data), **resampling(data))
        rows += _group_rows(result.run.name, groups)
        found = unpaired_difference(videos, videos["rhythm"], "irregular", "regular")
        if found is not None:
            tests.append([Cell(result.run.name), Cell("irregular − regular"), interval_cell(found[0], sign=True),
                          Cell(p_value(found[1].p))])  # fmt: skip
    first = here[0]
    for other, videos in here[1:]:
        for rhythm in RHYTHMS:
            a, b = (v[v["rhythm"] == rhythm].set_index("video") for v in (videos, first[1]))
            shared = a.index.intersection(b.index)
            if len(shared) < 2:
                continue
            paired = compare_methods(
                a.loc[shared, "ef_true"], a.loc[shared, "ef_pred"].to_numpy(), b.loc[shared, "ef_pred"].to_numpy(),
                groups=list(a.loc[shared, "patient"]), **resampling(data),
            )  # fmt: skip
            names = f"{other.run.name} − {first[0].run.name}"
            difference = interval_cell(paired.difference, sign=True)
            tests.append([Cell(names), Cell(rhythm), difference, Cell(p_value(paired.over_videos.p))])
    blocks: list[Block] = [Text(words), Table(_COLUMNS, rows, "By rhythm, with 95 % intervals.", "rhythm")]
    if tests:
        caption = (
            "Differences of the MAE. Of rhythms: Welch’s interval and test over videos. Of runs: paired bootstrap and "
            "paired t-test over the same videos."
        )
        blocks.append(Table(["<run", "<videos", "difference", "p"], tests, caption, "rhythm-tests"))
    return Section("Regular and irregular rhythm", blocks)


# ------------------------------------------------------------------------------------------ another hospital

FILLS = {
    "black": "frames past the end are black",
    "repeat": "the beat is repeated until a clip is full",
    "period-1": "every frame is taken instead of every other",
}


def external_section(data: ReportData, problems: list[str]) -> Section | None:
    """Runs on another store: by image quality, and where they look (Tables IX and X)."""
    found = [(run, name, other) for run in data.runs for name, other in run.externals.items()]
    if not found:
        return None
    words = (
        "The same models on videos of another machine or hospital; nothing was trained on these. What to see: the "
        "error beside that of always the mean EF of the training videos, and whether it grows as image quality falls."
    )
    blocks: list[Block] = [Text(words)]
    naive = _naive(data)
    for place in dict.fromkeys(name for _, name, _ in found):
        rows = []
        said: list[Words] = []
        for run, name, other in found:
            if name != place or other.predictions is None:
                continue
            try:
                table = check_predictions(other.predictions, f"predictions of {run.name} on {place}")
            except EchocycleError as error:
                problems.append(str(error))
                continue
            videos = per_video(table)
            videos = videos[videos["protocol"] == videos["protocol"].iloc[0]].reset_index(drop=True)
            videos = with_details(videos, table).assign(split="all")
            quality = videos["quality"] if "quality" in videos else pd.Series("", index=videos.index)
            groups = errors_by(videos, quality, QUALITIES, naive, **resampling(data))
            groups += errors_by(videos, videos["split"], ("all",), naive, **resampling(data))
            rows += _group_rows(run.name, groups)
            said.append(f"{run.name}: {protocol_words(other.settings)}")
        if rows:
            caption = f"On the store {place}, by image quality and over all videos, with 95 % intervals."
            blocks += [Table(_COLUMNS, rows, caption, f"external-{place}")]
            blocks.append(Details("How half beats, short clips and the input were handled", [Items(said)]))
        looked = [(run, other.analyses["attention"]) for run, name, other in found
                  if name == place and "attention" in other.analyses]  # fmt: skip
        if looked:
            blocks.append(Text("Where the networks look in these videos; as in the section on the runs’ own store."))
            blocks += attention_blocks(looked, f"external-attention-{place}")
    return Section("Another hospital", blocks) if len(blocks) > 1 else None


def protocol_words(settings: dict[str, object] | object) -> str:
    """How an evaluation on half beats was done, in a sentence."""
    known = settings if isinstance(settings, dict) else {}
    how = str(known.get("half_beats", "keep"))
    if how == "keep":
        beats = "videos as they are, what is missing of a clip is black"
    else:
        beats = f"half beats doubled in time ({how}); {FILLS[str(known.get('fill', 'black'))]}"
    whose = "these videos’" if known.get("statistics") == "store" else "the training videos’"
    who = "; the paper’s 450 patients" if known.get("patients") == "paper" else ""
    return f"{beats}; input normalised by {whose} mean and deviation{who}."
