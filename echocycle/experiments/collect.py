"""An experiment's numbers, read from its runs and from the paper's tables."""

import io
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.evaluation.tables import CELL, per_video, read_dice, read_predictions
from echocycle.experiments.plan import Cell
from echocycle.files import read_json

# ------------------------------------------------------------------------------------- what the runs left


def column_of(cell: Cell) -> str:
    """The paper's column."""
    return cell.row.column or (f"{cell.fraction} labels" if cell.fraction != "All" else "All labels")


def collect_predictions(cells: Iterable[Cell]) -> pd.DataFrame:
    """One row per training, protocol and video; the mean of a video's clips, except for `one-clip`."""

    def read(file: Path) -> pd.DataFrame:
        return per_video(read_predictions(file)).drop(columns=["run", "method", "clips"])

    return _collect(cells, "predictions.csv", read)


def collect_dice(cells: Iterable[Cell]) -> pd.DataFrame:
    """One row per training, video and phase: pixel counts."""
    return _collect(cells, "dice.csv", lambda file: read_dice(file).drop(columns=["run", "dice"]))


def _collect(cells: Iterable[Cell], name: str, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    found = []
    for cell in cells:
        files = [run / "evaluation" / name for run in cell.runs]
        if all(file.exists() for file in files):
            tables = [read(file) for file in files]
            table = tables[0] if len(tables) == 1 else _together(tables)
            where = {"row": cell.row.name, "column": column_of(cell), "label_fraction": cell.fraction}
            table = table.assign(**where, seed=cell.seed)
            found.append(table[[*where, "seed", *(c for c in table.columns if c not in (*where, "seed"))]])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _together(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The mean answer of several systems to each video; a video that one of them has no answer to is left out."""
    keys = [column for column in tables[0].columns if column not in ("ef_pred", "seed")]
    whole = pd.concat(tables, ignore_index=True).groupby(keys, sort=False)["ef_pred"].agg(["mean", "count"])
    return whole[whole["count"] == len(tables)]["mean"].rename("ef_pred").reset_index()


def collect_budgets(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """The labels that each row was made with, helpers (masks, teacher) included."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for cell in cells:
        # those that answer together are trained on the same videos' labels
        if (cell.runs[0] / "run.json").exists():
            info = read_json(cell.runs[0] / "run.json")
            found[(cell.row.name, column_of(cell), cell.fraction)] = {
                **dict(zip(CELL, (cell.row.name, column_of(cell), cell.fraction), strict=True)),
                **{key: info["budget"][key] for key in ("labelled", "unlabelled", "validation", "labels_used_in_all")},
                "reads_unlabelled_annotation": info["reads_unlabelled_annotation"],
            }
    return list(found.values())


def trained_on(cells: Iterable[Cell]) -> list[str]:
    """The machines that trained the rows."""
    return sorted({info["made_with"]["machine"] for info in _infos(cells)})


def first_weights(cells: Iterable[Cell]) -> list[str]:
    """The first weights of the EF networks, as their settings name them."""
    return sorted({info["settings"]["weights"] for info in _infos(cells) if info["stage"] == "regress"})


def _infos(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """run.json of every run that was begun."""
    files = (run / "run.json" for cell in cells for run in cell.runs)
    return [read_json(file) for file in files if file.exists()]


# -------------------------------------------------------------------------------------------- the paper's


def paper_numbers(table: str) -> pd.DataFrame:
    """A table of the paper as it prints it: row, column, label_fraction, metric, mean and std as text."""
    columns = [*CELL, "metric", "mean", "std"]
    if not table:
        return pd.DataFrame(columns=columns)
    file = files("echocycle.experiments") / "paper" / f"table_{table}.csv"
    return pd.read_csv(io.StringIO(file.read_text(encoding="utf-8")), dtype=str, keep_default_na=False)[columns]
