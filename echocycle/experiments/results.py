"""From evaluated runs to tables: per-video predictions, a tidy CSV as the paper's, comparisons, and a Markdown page.

RESULTS/
  NAME.predictions.csv.gz   EF of every test and validation video, every training and protocol
  NAME.dice.csv.gz          pixel counts of every mask, for tables of segmenters
  NAME.json                 command, date, machine, versions, data, label budgets, what failed
  NAME.csv                  mean and standard deviation over seeds, with the paper's numbers beside them
  NAME.comparisons.csv      differences of two rows, with interval and both tests
  NAME.md                   the same for people
The last three are made from the first three alone, so every number can be made again without a model.
"""

import gzip
import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import (
    TTest,
    bias,
    mae,
    mean_and_sd,
    paired_difference,
    paired_t,
    pooled_dice,
    r2,
    rmse,
    unpaired_t,
)
from echocycle.evaluation.tables import per_video
from echocycle.experiments.plan import Cell, Experiment, fraction_value
from echocycle.files import read_json, replacing, write_json, write_text

CELL = ["row", "column", "label_fraction"]
EF_METRICS = {"MAE": (mae, 1.0), "RMSE": (rmse, 1.0), "R2_percent": (r2, 100.0)}
"""By the paper's name: the metric, and the factor to the unit that the paper prints."""
DICE, DICE_PER_VIDEO = "Dice_percent", "Dice_per_video_percent"
"""Pooled over the pixels of all videos, which is the paper's; and the mean of the videos' own."""
ALL_SHOWN = "all shown"
"""In place of a fraction of labels: all that stand in the table."""
HEADINGS = {"MAE": "MAE in EF points", "R2_percent": "R2 in percent", DICE: "Dice in percent"}
"""Metrics that have a table on the page."""
PHASES = {"ED Frame": ("ED", "ES"), "ES Frame": ("ES", "ED"), "Unlabeled Frame": ("all", "all")}
"""Column of Table VI: the phase by area, and by the public code's naming."""


# ------------------------------------------------------------------------------------- what the runs left


def column_of(cell: Cell) -> str:
    """The paper's column."""
    return cell.row.column or (f"{cell.fraction} labels" if cell.fraction != "All" else "All labels")


def collect_predictions(cells: Iterable[Cell]) -> pd.DataFrame:
    """One row per training, protocol and video; the mean of a video's clips, except for `one-clip`."""
    return _collect(cells, "predictions.csv", lambda table: per_video(table).drop(columns=["run", "method", "clips"]))


def collect_dice(cells: Iterable[Cell]) -> pd.DataFrame:
    """One row per training, video and phase: pixel counts."""
    return _collect(cells, "dice.csv", lambda table: table.drop(columns=["run", "dice"]))


def _collect(cells: Iterable[Cell], name: str, shorten: Any) -> pd.DataFrame:
    found = []
    for cell in cells:
        files = [run / "evaluation" / name for run in cell.runs]
        if all(file.exists() for file in files):
            text = {"video": str, "patient": str}
            tables = [shorten(pd.read_csv(file, dtype=text, keep_default_na=False)) for file in files]
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


# ---------------------------------------------------------------------------------------------- summaries


def summarise(predictions: pd.DataFrame, dice: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """Mean and standard deviation (ddof 1) over seeds of every metric, by row, column, fraction and protocol.

    `one-clip` is the mean of the metric over its clips' seeds, never the metric of their mean. For Dice the protocol
    is how ED and ES are named.
    """
    found = []
    if len(predictions):
        found.append(_ef_values(predictions, split))
    if len(dice):
        found.append(_dice_values(dice, split))
    if not found:
        return pd.DataFrame()
    values = pd.concat(found, ignore_index=True)
    rows = []
    for key, part in values.groupby([*CELL, "metric", "protocol"], sort=False):
        mean, sd = mean_and_sd(part["value"])
        seeds = " ".join(str(seed) for seed in sorted(part["seed"]))
        rows.append(
            {
                **dict(zip([*CELL, "metric"], key, strict=False)),
                "mean": f"{mean:.3f}",
                "std": "" if np.isnan(sd) else f"{sd:.3f}",
                "protocol": key[-1],
                "seeds": seeds,
                "videos": int(part["videos"].iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def _ef_values(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """One value per training, metric and protocol."""
    kept = predictions[predictions["split"] == split]
    rows = []
    for key, part in kept.groupby([*CELL, "seed", "protocol"], sort=False):
        true, pred = part["ef_true"].to_numpy(), part["ef_pred"].to_numpy()
        protocol = _family(str(key[-1]))
        for name, (metric, factor) in EF_METRICS.items():
            value = metric(true, pred) * factor
            where = dict(zip([*CELL, "seed"], key, strict=False))
            rows.append({**where, "metric": name, "protocol": protocol, "value": value, "videos": len(part)})
    one = pd.DataFrame(rows)
    grouped = one.groupby([*CELL, "seed", "metric", "protocol"], sort=False)
    return grouped.agg(value=("value", "mean"), videos=("videos", "first")).reset_index()


def _family(protocol: str) -> str:
    return "one-clip" if protocol.startswith("one-clip") else protocol


def _dice_values(dice: pd.DataFrame, split: str) -> pd.DataFrame:
    kept = dice[dice["split"] == split]
    rows = []
    for key, part in kept.groupby([*CELL[:1], CELL[2], "seed"], sort=False):
        row, fraction, seed = key
        for column, phases in PHASES.items():
            for naming, phase in zip(("area", "code"), phases, strict=True):
                counts = part[part["phase"] == phase]
                if len(counts) and not (naming == "code" and phase == "all"):
                    pooled = 100 * pooled_dice(*(counts[name] for name in ("intersection", "size_true", "size_pred")))
                    where = {"row": row, "column": column, "label_fraction": fraction, "seed": seed}
                    for metric, value in ((DICE, pooled), (DICE_PER_VIDEO, _dice_of_each(counts).mean())):
                        rows.append(
                            {**where, "metric": metric, "protocol": naming, "value": value, "videos": len(counts)}
                        )
    return pd.DataFrame(rows)


def _dice_of_each(counts: pd.DataFrame) -> pd.Series:
    """Dice of each mask, percent; 100 where neither has a pixel."""
    total = counts["size_true"] + counts["size_pred"]
    return (200 * counts["intersection"] / total.where(total > 0)).fillna(100.0)


# ------------------------------------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class _Series:
    """Values of one row and column: (seeds, videos), in the order of `videos`, beside the truth."""

    true: np.ndarray
    runs: np.ndarray
    patients: list[str]


def compare(
    predictions: pd.DataFrame, dice: pd.DataFrame, pairs: Iterable[tuple[str, str]], split: str = "test"
) -> pd.DataFrame:
    """Each pair of rows on the same videos: the difference with its paired bootstrap interval, and both t-tests.

    EF is compared by MAE in the first protocol; a negative difference speaks for the row. Segmenters are compared by
    the mean Dice of videos (ED and ES), in points; there a positive one does. The paired t-test takes a pair for each
    video (runs averaged), the unpaired one a number for each run.
    """
    pairs = list(pairs)
    rows = []
    for table, better in ((_ef_table(predictions, split), -1), (_dice_table(dice, split), 1)):
        if not len(table):
            continue
        for (column, fraction), part in table.groupby(["column", "label_fraction"], sort=False):
            for row, against in pairs:
                first, second = part[part["row"] == row], part[part["row"] == against]
                if len(first) and len(second):
                    where = {"row": row, "against": against, "column": column, "label_fraction": fraction}
                    rows.append(where | _comparison(first, second, better))
        rows += _over_fractions(table, pairs, better)
    return pd.DataFrame(rows)


def _over_fractions(table: pd.DataFrame, pairs: list[tuple[str, str]], better: int) -> list[dict[str, Any]]:
    """Each pair over all fractions and seeds that both rows have, where these are several fractions of one table."""
    rows = []
    trainings = ["label_fraction", "seed"]
    for row, against in pairs:
        first, second = (table[table["row"] == name] for name in (row, against))
        shared = set(map(tuple, first[trainings].values)) & set(map(tuple, second[trainings].values))
        if len({fraction for fraction, _ in shared}) < 2:
            continue
        first, second = (each[[tuple(key) in shared for key in each[trainings].values]] for each in (first, second))
        where = {"row": row, "against": against, "column": "", "label_fraction": ALL_SHOWN}
        # runs of different fractions are no sample of one population
        rows.append(where | _comparison(first, second, better) | {"p_unpaired_over_runs": np.nan})
    return rows


def verdict(low: float, high: float, better: int) -> str:
    """`helps` or `harms` only where the interval excludes zero; `better` is the sign of an improvement."""
    if np.isnan(low) or np.isnan(high) or low <= 0 <= high:
        return "not shown"
    return "helps" if np.sign(low) == better else "harms"


def _ef_table(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """row, column, label_fraction, seed, video, patient, true, value in the first protocol."""
    if not len(predictions):
        return predictions
    table = predictions[predictions["split"] == split]
    table = table[table["protocol"] == table["protocol"].iloc[0]] if len(table) else table
    return table.rename(columns={"ef_true": "true", "ef_pred": "value"})


def _dice_table(dice: pd.DataFrame, split: str) -> pd.DataFrame:
    """The mean Dice of ED and ES of each video, in points; the truth is 0, so that differences are of means."""
    if not len(dice):
        return dice
    table = dice[(dice["split"] == split) & dice["phase"].isin(["ED", "ES"])]
    each = table.assign(value=_dice_of_each(table))
    found = each.groupby([*CELL, "seed", "video"], sort=False)["value"].mean().reset_index()
    return found.assign(patient=found["video"], true=0.0, column="ED and ES")


def _comparison(a: pd.DataFrame, b: pd.DataFrame, better: int) -> dict[str, Any]:
    """Two rows compared: by MAE where less is better (`better` is -1), else by the mean Dice of videos."""
    videos = sorted(set(a["video"]) & set(b["video"]))
    if len(videos) < 2:
        raise EchocycleError("Two rows share fewer than 2 test videos, so they cannot be compared.")
    first, second = _series(a, videos), _series(b, videos)
    measure, metric = ("mae", mae) if better < 0 else ("dice", bias)
    interval = paired_difference(first.true, first.runs, second.runs, metric, groups=first.patients)
    over_runs = [[metric(each.true, run) for run in each.runs] for each in (first, second)]
    runs = unpaired_t(*over_runs) if min(map(len, over_runs)) > 1 else None
    low, high = _rounded(interval.low), _rounded(interval.high)
    return {
        "measure": measure,
        "difference": _rounded(interval.value),
        "low": low,
        "high": high,
        "p_paired_over_videos": _p(paired_t(first.true, first.runs, second.runs)),
        "p_unpaired_over_runs": _p(runs),
        "runs": f"{len(first.runs)} and {len(second.runs)}",
        "videos": len(videos),
        "verdict": verdict(low, high, better),
    }


def _series(table: pd.DataFrame, videos: list[str]) -> _Series:
    wide = table.pivot(index=["label_fraction", "seed"], columns="video", values="value")[videos]
    each = table.drop_duplicates("video").set_index("video").loc[videos]
    return _Series(each["true"].to_numpy(dtype=float), wide.to_numpy(dtype=float), each["patient"].tolist())


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _p(test: TTest | None) -> float:
    return float("nan") if test is None else float(f"{test.p:.2g}")


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
    tables = [read_predictions(folder, name) for folder in folders]
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


def read_predictions(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The stored EF and Dice of every video; empty tables for what an experiment has not."""
    tables = []
    for kind in ("predictions", "dice"):
        file = folder / f"{name}.{kind}.csv.gz"
        text = {**dict.fromkeys(CELL, str), "video": str, "patient": str}
        tables.append(pd.read_csv(file, dtype=text, keep_default_na=False) if file.exists() else pd.DataFrame())
    return tables[0], tables[1]


def render(folder: Path, name: str) -> Path:
    """Make NAME.csv, NAME.comparisons.csv and NAME.md from the stored predictions and NAME.json; gives the page."""
    about = read_json(folder / f"{name}.json")
    predictions, dice = read_predictions(folder, name)
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
    page = folder / f"{name}.md"
    write_text(page, _page(about, tidy, compared))
    return page


# ------------------------------------------------------------------------------------------------ the page


def _page(about: dict[str, Any], tidy: pd.DataFrame, compared: pd.DataFrame) -> str:
    title = f"Table {about['paper']}: {about['title']}" if about["paper"] else about["title"]
    made = about["made_with"]
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    phantom = about["data"]["phantom_version"]
    source = "real videos" if phantom is None else f"phantom version {phantom}"
    lines = [
        f"# {title}",
        "",
        "Research software, not a medical device.",
        "",
        f"- Command: `{made['command']}`",
        f"- Date: {about['date']}; machine: {', '.join(about['trained_on'])}; jobs: {about['minutes']:.1f} minutes",
        f"- Versions: {versions}",
        f"- Data: {source}, store {about['data']['id']}; preset `{about['preset']}`",
        *(f"- First weights of the EF networks: `{name}`" for name in about.get("weights", [])),
        "",
    ]
    if phantom is not None and about["paper"]:
        lines += [
            "Ours are on synthetic videos and the paper's on EchoNet-Dynamic: the column *difference* compares two "
            "worlds. What can be compared is the order of the rows and the differences between them.",
            "",
        ]
    for note in about["notes"]:
        lines += [note, ""]
    lines += _missing(about)
    budgets = {tuple(budget[key] for key in CELL): budget for budget in about["budgets"]}
    own = tidy[tidy["metric"] == DICE_PER_VIDEO].set_index([*CELL, "protocol"])["mean"]
    for (metric, protocol), part in tidy[tidy["metric"].isin(HEADINGS)].groupby(["metric", "protocol"], sort=False):
        videos = part["videos"].iloc[0]
        what = "naming of ED and ES" if metric == DICE else "protocol"
        lines += [f"## {HEADINGS[str(metric)]} ({what}: {protocol}; {videos} test videos)", ""]
        lines += _table([_line(each, budgets, own) for _, each in part.iterrows()])
    lines += ["Ours: mean ± standard deviation (ddof 1) over seeds, of the same labelled videos."]
    lines += [*_how(about, tidy), ""]
    lines += _budget_note(about["budgets"])
    lines += _comparison_section(compared)
    return "\n".join(lines).rstrip() + "\n"


def _how(about: dict[str, Any], tidy: pd.DataFrame) -> list[str]:
    """What the page's protocols and metrics are."""
    evaluate = about.get("evaluate", {})
    seeds = f"{len(evaluate['clip_seeds'])} random draws of one clip" if evaluate else "random draws of one clip"
    said = {
        "all-clips": "all-clips: a video's EF is the mean over clips from every start.",
        "strided": f"strided: a video's EF is the mean over clips from every {_th(evaluate.get('stride'))} start.",
        "one-clip": f"one-clip: the metric's mean over {seeds} a video.",
        "beat-by-beat": "beat-by-beat: the mean over one clip around each systole that the masks show.",
    }
    found = [said[protocol] for protocol in tidy["protocol"].unique() if protocol in said]
    if "RMSE" in set(tidy["metric"]):
        found.append("RMSE stands in the CSV.")
    if DICE in set(tidy["metric"]):
        found.append("Dice is pooled over the pixels of all videos, as the paper's; *per video* is the videos' mean.")
    return found


def _th(number: int | None) -> str:
    return "n-th" if number is None else {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _missing(about: dict[str, Any]) -> list[str]:
    lines = [f"- {name}: failed ({said})" for name, said in about["failed"].items()]
    lines += [f"- {name}: not tried, since {cause} failed" for name, cause in about["blocked"].items()]
    lines += [f"- {name}: no time was left" for name in about["left"]]
    return ["## Not in the table", "", *lines, ""] if lines else []


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


def _budget_note(budgets: list[dict[str, Any]]) -> list[str]:
    lines = [
        "Labels used in all: training videos, and validation videos that choose the best moment, of which the EF or "
        "the tracings were read, by the row or by what it is built on (masks, teacher).",
        "",
    ]
    reading = sorted({budget["row"] for budget in budgets if budget["reads_unlabelled_annotation"]})
    if reading:
        lines += [f"{', '.join(reading)} read annotation of videos that are called unlabelled.", ""]
    return lines


def _comparison_section(compared: pd.DataFrame) -> list[str]:
    if not len(compared):
        return []
    lines = [
        "## Comparisons",
        "",
        "Difference of two rows on the same test videos with its 95 % interval (paired bootstrap over patients and, "
        "where there are several, seeds); for MAE a negative one, for Dice (of each video, its ED and ES averaged) a "
        "positive one speaks for the first. *Helps* is said only where the interval excludes zero; with one seed it "
        "knows nothing of how seeds differ, with three it knows too little. p over videos: Student's paired t-test on "
        "each video's error; p over runs: two-sided unpaired t-test on the runs' means.",
        "",
    ]
    if (compared["label_fraction"] == ALL_SHOWN).any():
        lines[-1:] = [f"Labels *{ALL_SHOWN}*: the mean over all fractions and seeds that both rows have.", ""]
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
    return lines + _table(rows)


def _p_text(p: float) -> str:
    if np.isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _table(rows: list[dict[str, str]]) -> list[str]:
    """A Markdown table; a column without a word is left out."""
    header = [name for name in rows[0] if any(row[name] for row in rows)]

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(header), line("---" for _ in header), *(line(row[name] for name in header) for row in rows), ""]
