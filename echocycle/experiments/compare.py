"""An experiment's statistics: rows over seeds, differences between rows, verdicts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import TTest, compare_methods
from echocycle.evaluation.metrics import bias, dice_per_video, mae, mean_and_sd, pooled_dice, r2, rmse
from echocycle.evaluation.tables import CELL
from echocycle.experiments.page import ALL_SHOWN, DICE, DICE_PER_VIDEO

EF_METRICS = {"MAE": (mae, 1.0), "RMSE": (rmse, 1.0), "R2_percent": (r2, 100.0)}
"""By the paper's name: the metric, and the factor to the unit that the paper prints."""


PHASES = {"ED Frame": ("ED", "ES"), "ES Frame": ("ES", "ED"), "Unlabeled Frame": ("all", "all")}
"""Column of Table VI: the phase by area, and by the public code's naming."""


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
    sizes = (counts[name] for name in ("intersection", "size_true", "size_pred"))
    return pd.Series(100 * dice_per_video(*sizes), index=counts.index)


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
    found = compare_methods(first.true, first.runs, second.runs, metric, groups=first.patients)
    interval = found.difference
    low, high = _rounded(interval.low), _rounded(interval.high)
    return {
        "measure": measure,
        "difference": _rounded(interval.value),
        "low": low,
        "high": high,
        "p_paired_over_videos": _p(found.over_videos),
        "p_unpaired_over_runs": _p(found.over_runs),
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
