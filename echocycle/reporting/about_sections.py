"""The report's sections on labels, settings and training: what a run was made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.reporting import figures
from echocycle.reporting.blocks import (
    Block,
    Cell,
    Code,
    Details,
    Facts,
    Figure,
    Missing,
    Section,
    Table,
    Text,
    Words,
    count_cell,
    joined,
)
from echocycle.reporting.run_data import NOT_RECORDED, LabelCounts, Provenance, ReportData, RunReport


def missing_runs(data: ReportData, stage: str, what: str, has: Callable[[RunReport], Any], file: str) -> list[Block]:
    """A word about the runs of a stage (of any, if empty) that lack something; and if nobody has it at all."""
    if not any(has(run) for run in data.runs):
        return [Missing(f"No run has {what} ({file}).")]
    lacking = [run.name for run in data.runs if not has(run) and (not stage or run.stage in (stage, ""))]
    return [Missing(f"Without {what} ({file}): {joined(lacking)}.")] if lacking else []


# --- figures --------------------------------------------------------------------------------------


def chunks(items: Sequence[Any], size: int = figures.PANELS_PER_FIGURE) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def training_section(data: ReportData, problems: list[str]) -> Section:
    stages: dict[str, dict[str, pd.DataFrame]] = {}
    for run in data.runs:
        if run.losses is not None:
            try:
                stages.setdefault(run.stage, {})[run.name] = figures.read_losses(run.losses)
            except EchocycleError as error:
                problems.append(str(error))
    blocks: list[Block] = []
    for tables in stages.values():
        for part in chunks(list(tables), len(figures.SERIES)):
            try:
                picture = figures.losses_figure({name: tables[name] for name in part})
                blocks.append(Figure(picture, f"Training curves of {joined(part)}."))
            except EchocycleError as error:
                problems.append(f"Training curves of {joined(part)}: {error}")
    blocks += missing_runs(data, "", "training curves", lambda run: run.losses, "a CSV of losses")
    return Section("Training", blocks)


# --- labels, settings, facts ----------------------------------------------------------------------


def labels_section(data: ReportData) -> Section:
    budgets: dict[LabelCounts, list[str]] = {}
    for run in data.runs:
        if run.labels is not None:
            budgets.setdefault(run.labels, []).append(run.name)
    words = {True: "used", False: "not used", None: NOT_RECORDED}
    rows = [
        [
            Cell(joined(names)),
            count_cell(budget.labelled),
            count_cell(budget.unlabelled),
            count_cell(budget.validation),
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
        blocks.append(Text(f"Annotations of videos declared unlabelled were used by {joined(used)}."))
    elif rows and not unknown:
        blocks.append(Text("No run used an annotation of a video declared unlabelled."))
    if unknown:
        unsaid = "Whether annotations of unlabelled videos were used is not recorded"
        blocks.append(Missing(f"{unsaid}: {joined(unknown)}."))
    blocks += missing_runs(
        data, "", "a label budget", lambda run: run.labels is not None, "labelled and unlabelled videos"
    )
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


def settings_section(data: ReportData) -> Section:
    """Where the page comes from, and every setting of every run."""
    about: list[tuple[str, Words]] = [("Date", data.date or NOT_RECORDED)]
    about += [(label, (Code(value),) if label == "Command" else value) for label, value in facts(data.provenance)]
    blocks: list[Block] = [Facts(about)]
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
    if not data.runs:
        blocks.append(Missing("There are no runs."))
    return Section("How it was made", blocks)
