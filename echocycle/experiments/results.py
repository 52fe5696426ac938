"""From evaluated runs to tables: per-video predictions, a tidy CSV as the paper's, comparisons, and a Markdown page.

RESULTS/
  NAME.predictions.csv.gz   EF of every test and validation video, every training and protocol
  NAME.dice.csv.gz          pixel counts of every mask, for tables of segmenters
  NAME.json                 command, date, machine, versions, data, label budgets, what failed
  NAME.csv                  mean and standard deviation over seeds, with the paper's numbers beside them
  NAME.comparisons.csv      differences of two rows, with interval and both tests
  NAME.md                   the same for people
  NAME.svg, NAME.png        the error drawn, where there is a line to draw
The others are made from the first three alone, so every number can be made again without a model.
"""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.tables import CELL, read_experiment_dice, read_experiment_predictions
from echocycle.experiments.collect import (
    collect_budgets,
    collect_dice,
    collect_predictions,
    first_weights,
    paper_numbers,
    trained_on,
)
from echocycle.experiments.compare import compare, summarise
from echocycle.experiments.drawn import drawn_section, write_figures
from echocycle.experiments.page import render_page
from echocycle.experiments.plan import Cell, Experiment, fraction_value
from echocycle.files import read_json, replacing, write_json, write_text


def pairs_of(experiment: Experiment) -> tuple[tuple[str, str], ...]:
    """The comparisons of an experiment: those it names, or its last row with every other."""
    names = list(dict.fromkeys(row.name for row in experiment.rows))
    return experiment.compare or tuple((names[-1], name) for name in names[:-1])


# ---------------------------------------------------------------------------------------------- on disk


def write_results(experiment: Experiment, cells: list[Cell], folder: Path, facts: dict[str, Any]) -> Path:
    """Write predictions, facts and what is made from them; gives the page."""
    predictions, dice = collect_predictions(cells), collect_dice(cells)
    if not len(predictions) and not len(dice):
        raise EchocycleError(f"No row of {experiment.name} is evaluated yet, so there is no table to write.")
    for name, table in (("predictions", predictions), ("dice", dice)):
        if len(table):
            _write_gzip(folder / f"{experiment.name}.{name}.csv.gz", table)
    about = {
        "experiment": experiment.name,
        "title": experiment.title,
        "paper": experiment.paper,
        "compare": pairs_of(experiment),
        "notes": list(experiment.notes),
        "budgets": collect_budgets(cells),
        "trained_on": trained_on(cells),
        "weights": first_weights(cells),
        **facts,
    }
    write_json(folder / f"{experiment.name}.json", about)
    return render(folder, experiment.name)


def merge_results(folders: list[Path], out: Path) -> list[Path]:
    """Tables of several folders of results as one, such as those of chains that shared rows or seeds; gives the pages.

    Raises `EchocycleError` where data or presets differ, or a training is in two folders with different predictions.
    """
    names = sorted(
        {file.stem for folder in folders for file in folder.glob("*.json") if "experiment" in read_json(file)}
    )
    if not names:
        raise EchocycleError(
            f"{', '.join(map(str, folders))} hold no results; name folders with files such as table-4.json."
        )
    return [
        _merge_one(name, [folder for folder in folders if (folder / f"{name}.json").exists()], out) for name in names
    ]


def _merge_one(name: str, folders: list[Path], out: Path) -> Path:
    abouts = [read_json(folder / f"{name}.json") for folder in folders]
    for key in ("data", "preset", "weights"):
        values = [about.get(key) for about in abouts]
        values = [value for value in values if value]  # segmenters alone have no weights
        if any(value != values[0] for value in values):
            raise EchocycleError(f"The results of {name} come from different {key}; they cannot be one table.")
    tables = [read_tables(folder, name) for folder in folders]
    for kind, parts in zip(("predictions", "dice"), zip(*tables, strict=True), strict=True):
        whole = pd.concat(parts, ignore_index=True)
        if len(whole):
            whole = whole.drop_duplicates()
            unique = [*CELL, "seed", "split", "video", "protocol" if kind == "predictions" else "phase"]
            if whole.duplicated(unique).any():
                raise EchocycleError(f"Two folders hold different results of one training of {name}; leave one out.")
            _write_gzip(out / f"{name}.{kind}.csv.gz", _in_order(whole))
    budgets = {tuple(each[part] for part in CELL): each for about in abouts for each in about["budgets"]}
    made = [about["made_with"] for about in abouts]
    done = list(dict.fromkeys(job for about in abouts for job in about.get("done", [])))
    merged = {
        **abouts[0],
        "budgets": list(budgets.values()),
        "compare": list(dict.fromkeys(tuple(pair) for about in abouts for pair in about["compare"])),
        "date": max(about["date"] for about in abouts),
        "minutes": round(sum(about["minutes"] for about in abouts), 1),
        "made_with": {
            **made[0],
            "command": "; ".join(dict.fromkeys(each["command"] for each in made)),
        },
        "trained_on": sorted({machine for about in abouts for machine in about["trained_on"]}),
        "failed": {job: said for about in abouts for job, said in about["failed"].items() if job not in done},
        "blocked": {job: cause for about in abouts for job, cause in about["blocked"].items() if job not in done},
        "left": list(dict.fromkeys(job for about in abouts for job in about["left"] if job not in done)),
        "done": done,
    }
    write_json(out / f"{name}.json", merged)
    return render(out, name)


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order in which they first come, the fractions of each ascending, as one experiment has them."""
    place = {row: number for number, row in enumerate(dict.fromkeys(table["row"]))}
    keys = pd.DataFrame({"row": table["row"].map(place), "fraction": table["label_fraction"].map(fraction_value)})
    return table.loc[keys.sort_values(["row", "fraction"], kind="stable").index].reset_index(drop=True)


def _write_gzip(path: Path, table: pd.DataFrame) -> None:
    """The same table gives the same bytes."""
    text = table.round(3).to_csv(index=False, lineterminator="\n").encode()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0))


def read_tables(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The stored EF and Dice of every video; empty tables for what an experiment has not."""
    readers = {"predictions": read_experiment_predictions, "dice": read_experiment_dice}
    files = {kind: folder / f"{name}.{kind}.csv.gz" for kind in readers}
    predictions, dice = (readers[kind](file) if file.exists() else pd.DataFrame() for kind, file in files.items())
    return predictions, dice


def render(folder: Path, name: str) -> Path:
    """Make NAME.csv, NAME.comparisons.csv and NAME.md from the stored predictions and NAME.json; gives the page."""
    about = read_json(folder / f"{name}.json")
    predictions, dice = read_tables(folder, name)
    paper = paper_numbers(about["paper"])
    summary = summarise(predictions, dice)
    compared = compare(predictions, dice, [tuple(pair) for pair in about["compare"]])
    tidy = summary.assign(table=about["paper"] or name)
    tidy = tidy.merge(paper, "left", [*CELL, "metric"], suffixes=("", "_paper")).rename(
        columns={"mean_paper": "paper_mean", "std_paper": "paper_std"}
    )
    columns = ["table", *CELL, "metric", "mean", "std", "protocol", "seeds", "videos", "paper_mean", "paper_std"]
    write_text(folder / f"{name}.csv", tidy[columns].to_csv(index=False, lineterminator="\n"))
    write_text(folder / f"{name}.comparisons.csv", compared.to_csv(index=False, lineterminator="\n"))
    write_figures(folder, drawn_section(name, tidy))
    page = folder / f"{name}.md"
    write_text(page, render_page(about, tidy, compared))
    return page
