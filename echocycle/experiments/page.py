"""An experiment's page: our numbers beside the printed ones."""

from typing import Any

import numpy as np
import pandas as pd

from echocycle.evaluation.tables import CELL, explain_protocol
from echocycle.experiments.drawn import drawn_section
from echocycle.reporting.blocks import (
    Block,
    Code,
    Items,
    Page,
    Section,
    Table,
    Text,
    Words,
    marked,
    p_value,
    table_of,
)
from echocycle.reporting.markdown import write_markdown

DICE, DICE_PER_VIDEO = "Dice_percent", "Dice_per_video_percent"
"""Pooled over the pixels of all videos, which is the paper's; and the mean of the videos' own."""


ALL_SHOWN = "all shown"
"""In place of a fraction of labels: all that stand in the table."""


HEADINGS = {"MAE": "MAE in EF points", "R2_percent": "R2 in percent", DICE: "Dice in percent"}
"""Metrics that have a table on the page."""


# ------------------------------------------------------------------------------------------------ the page


def page_of(about: dict[str, Any], tidy: pd.DataFrame, compared: pd.DataFrame) -> Page:
    """The page of an experiment, from NAME.json, NAME.csv and NAME.comparisons.csv."""
    phantom = about["data"]["phantom_version"]
    lead: list[Block] = [Items(_where_from(about))]
    if phantom is not None and about["paper"]:
        lead.append(
            Text(
                marked(
                    "Ours are on synthetic videos and the paper's on EchoNet-Dynamic: the column *difference* compares "
                    "two worlds. What can be compared is the order of the rows and the differences between them."
                )
            )
        )
    lead += [Text(marked(note)) for note in about["notes"]]
    sections = _missing(about)
    budgets = {tuple(budget[key] for key in CELL): budget for budget in about["budgets"]}
    own = tidy[tidy["metric"] == DICE_PER_VIDEO].set_index([*CELL, "protocol"])["mean"]
    for (metric, protocol), part in tidy[tidy["metric"].isin(HEADINGS)].groupby(["metric", "protocol"], sort=False):
        videos = part["videos"].iloc[0]
        what = "naming of ED and ES" if metric == DICE else "protocol"
        title = f"{HEADINGS[str(metric)]} ({what}: {protocol}; {videos} test videos)"
        lines = [_line(each, budgets, own) for _, each in part.iterrows()]
        sections.append(Section(title, [_table(lines, f"{metric}-{protocol}")]))
    notes: list[Block] = [Text(_how(about, tidy)), *_budget_note(about["budgets"])]
    if sections:
        sections[-1] = Section(sections[-1].title, [*sections[-1].blocks, *notes])
    title = f"Table {about['paper']}: {about['title']}" if about["paper"] else about["title"]
    drawn = drawn_section(about["experiment"], tidy)
    return Page(title, lead, [*sections, *([drawn] if drawn else []), *_comparison_section(tidy, compared)])


def render_page(about: dict[str, Any], tidy: pd.DataFrame, compared: pd.DataFrame) -> str:
    """The page as Markdown."""
    return write_markdown(page_of(about, tidy, compared))


def _where_from(about: dict[str, Any]) -> list[Words]:
    made = about["made_with"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    phantom = about["data"]["phantom_version"]
    source = "real videos" if phantom is None else f"phantom version {phantom}"
    return [
        ("Command: ", Code(made["command"])),
        f"Date: {about['date']}; machine: {', '.join(about['trained_on'])}; jobs: {about['minutes']:.1f} minutes",
        f"Versions: {versions}",
        (f"Data: {source}, store {about['data']['id']}; preset ", Code(about["preset"])),
        *(("First weights of the EF networks: ", Code(name)) for name in about.get("weights", [])),
    ]


def _how(about: dict[str, Any], tidy: pd.DataFrame) -> Words:
    """What the page's numbers, protocols and metrics are, a line each."""
    evaluate = about.get("evaluate", {})
    draws = len(evaluate["clip_seeds"]) if evaluate else None
    said = {name: explain_protocol(name, evaluate.get("stride"), draws) for name in tidy["protocol"].unique()}
    found = ["Ours: mean ± standard deviation (ddof 1) over seeds, of the same labelled videos."]
    found += [f"{name}: {words}" for name, words in said.items() if words]
    if "RMSE" in set(tidy["metric"]):
        found.append("RMSE stands in the CSV.")
    if DICE in set(tidy["metric"]):
        found.append("Dice is pooled over the pixels of all videos, as the paper's; *per video* is the videos' mean.")
    return marked("\n".join(found))


def _missing(about: dict[str, Any]) -> list[Section]:
    lines = [f"{name}: failed ({said})" for name, said in about["failed"].items()]
    lines += [f"{name}: not tried, since {cause} failed" for name, cause in about["blocked"].items()]
    lines += [f"{name}: no time was left" for name in about["left"]]
    return [Section("Not in the table", [Items(lines)])] if lines else []


def _line(row: pd.Series, budgets: dict[tuple[str, ...], dict[str, Any]], own: pd.Series) -> dict[str, str]:
    digits = 1 if str(row["metric"]).endswith("percent") else 2
    seeds = len(str(row["seeds"]).split())
    paper = "" if _empty(row["paper_mean"]) else _plus_minus(row["paper_mean"], row["paper_std"])
    mean, sd = f"{float(row['mean']):.{digits}f}", "" if _empty(row["std"]) else f"{float(row['std']):.{digits}f}"
    budget = budgets.get((row["row"], row["column"], row["label_fraction"])) or next(
        # a table of segmenters has several columns for one training
        (
            each
            for each in budgets.values()
            if (each["row"], each["label_fraction"]) == (row["row"], row["label_fraction"])
        ),
        {"labels_used_in_all": ""},
    )
    per_video = own.get((*(row[part] for part in CELL), row["protocol"])) if row["metric"] == DICE else None
    return {
        "row": str(row["row"]),
        "column": "" if "labels" in str(row["column"]) else str(row["column"]),
        "labels": str(row["label_fraction"]),
        "paper": paper,
        "ours": f"{_plus_minus(mean, sd)} ({seeds} seed{'s' if seeds > 1 else ''})",
        "per video": "" if per_video is None else f"{float(per_video):.{digits}f}",
        "difference": "" if not paper else f"{float(row['mean']) - float(row['paper_mean']):+.{digits}f}",
        "labels used in all": str(budget["labels_used_in_all"]),
    }


def _empty(text: Any) -> bool:
    return not isinstance(text, str) or not text


def _plus_minus(mean: str, sd: Any) -> str:
    return mean if _empty(sd) else f"{mean} ± {sd}"


def _budget_note(budgets: list[dict[str, Any]]) -> list[Block]:
    notes: list[Block] = [
        Text(
            "Labels used in all: training videos, and validation videos that choose the best moment, of which the EF "
            "or the tracings were read, by the row or by what it is built on (masks, teacher)."
        )
    ]
    reading = sorted({budget["row"] for budget in budgets if budget["reads_unlabelled_annotation"]})
    if reading:
        notes.append(Text(f"{', '.join(reading)} read annotation of videos that are called unlabelled."))
    return notes


def _comparison_section(tidy: pd.DataFrame, compared: pd.DataFrame) -> list[Section]:
    if not len(compared):
        return []
    words = (
        "Difference of two rows on the same test videos with its 95 % interval (paired bootstrap over patients and, "
        f"where there are several, seeds); for MAE{_compared_by(tidy)} a negative one, for Dice (of each video, its ED "
        "and ES averaged) a positive one speaks for the first. *Helps* is said only where the interval excludes zero; "
        "with one seed it knows nothing of how seeds differ, with three it knows too little. p over videos: Student's "
        "paired t-test on each video's error; p over runs: two-sided unpaired t-test on the runs' means."
    )
    if (compared["label_fraction"] == ALL_SHOWN).any():
        words += f"\nLabels *{ALL_SHOWN}*: the mean over all fractions and seeds that both rows have."
    rows = [
        {
            "rows": f"{each['row']} against {each['against']}",
            "column": "" if "labels" in str(each["column"]) else str(each["column"]),
            "labels": str(each["label_fraction"]),
            "difference": f"{each['difference']:+.2f} ({each['low']:+.2f} to {each['high']:+.2f})",
            "p over videos": _p_text(each["p_paired_over_videos"]),
            "p over runs": _p_text(each["p_unpaired_over_runs"]),
            "the first": str(each["verdict"]),
        }
        for _, each in compared.iterrows()
    ]
    return [Section("Comparisons", [Text(marked(words)), _table(rows, "comparisons")])]


def _compared_by(tidy: pd.DataFrame) -> str:
    """The protocol by which EF is compared: the first one (`compare.compare`)."""
    protocols = tidy[tidy["metric"] == "MAE"]["protocol"]
    return f" (protocol {protocols.iloc[0]})" if len(protocols) else ""


def _p_text(p: float) -> str:
    return "" if np.isnan(p) else p_value(p)


def _table(rows: list[dict[str, str]], name: str) -> Table:
    """A table of text; a column without a word is left out."""
    header = [name for name in rows[0] if any(row[name] for row in rows)]
    return table_of([f"<{name}" for name in header], [[row[name] for name in header] for row in rows], name=name)
