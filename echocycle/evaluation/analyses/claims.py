"""What the paper says in words, one claim after the other, with our test of it on the runs at hand and its verdict.

The claims, with their sources, are in `claims.csv`. A verdict is one of

seen                    an interval excludes zero on the side that the claim names (or a number lies in our interval)
the opposite was seen   it excludes zero on the other side
not seen                it does not; then the smallest effect that these videos and seeds could have shown stands
beside it cannot be asked here    the runs that it compares are not among these, or it is about data that these are not

That smallest effect is what a two-sided test at 5 % finds in four of five studies of this size: 2.8 standard errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import Interval, paired_difference
from echocycle.evaluation.metrics import METRICS

SEEN, OPPOSITE, NOT_SEEN, NOT_ASKED = "seen", "the opposite was seen", "not seen", "cannot be asked here"
BETTER = {"mae": -1, "rmse": -1, "r2": +1}
"""The sign of a difference that speaks for the first of two."""


@dataclass(frozen=True)
class ClaimRun:
    """A run as the claims ask of it."""

    name: str
    role: str
    """Its method, and behind a slash that of the segmenter whose masks it learnt from: `student/css`, `adacon`."""
    labelled: int
    videos: pd.DataFrame | None
    """Its test videos: video, patient, ef_true, ef_pred."""
    option: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its segmenter's method."""
    dice: Mapping[str, Interval] = field(default_factory=dict)
    """Of a segmenter: Dice in percent at `ED`, `ES` and `between` them."""
    elsewhere: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Its videos on other stores, by the store's id."""


@dataclass(frozen=True)
class World:
    """What the runs were made on."""

    echonet: bool
    """Whether the videos are EchoNet-Dynamic itself, to which alone the paper's numbers can be held."""
    splits: Mapping[str, int] = field(default_factory=dict)
    """Videos of each split, where they are known."""


@dataclass(frozen=True)
class Judged:
    """A claim and what became of it."""

    claim: str
    value: str
    source: str
    test: str
    """What was compared, in words."""
    effect: Interval | None
    smallest: float
    """The smallest effect that could have been seen; NaN where there is no test."""
    verdict: str
    why: str = ""


def claims() -> pd.DataFrame:
    """The claims, as text."""
    with resources.files(__package__).joinpath("claims.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def judge(runs: Sequence[ClaimRun], world: World, **resampling: Any) -> list[Judged]:
    """Every claim with its verdict on these runs."""
    found: list[Judged] = []
    rows: Any = claims().to_dict("records")
    for row in rows:
        found += _JUDGES[row["kind"]](row, runs, world, resampling)
    return found


def smallest_effect(interval: Interval) -> float:
    """What a study of this size finds in four of five cases, from a 95 % interval of a difference."""
    error = interval.width / 2 / stats.norm.ppf(0.5 + interval.level / 2)
    return float((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error)


def verdict_of(difference: Interval, better: int) -> str:
    """The verdict on a difference that a claim calls better than zero."""
    if not np.isfinite([difference.low, difference.high]).all():
        return NOT_SEEN
    if difference.low > 0 or difference.high < 0:
        return SEEN if np.sign(difference.value) == better else OPPOSITE
    return NOT_SEEN


# ------------------------------------------------------------------------------------------------ the judges

Row = Mapping[str, str]


def _unasked(row: Row, why: str, test: str = "–") -> list[Judged]:
    return [Judged(row["claim"], row["value"], _source(row), test, None, float("nan"), NOT_ASKED, why)]


def _source(row: Row) -> str:
    return f"{row['source']}, {row['where']}"


def difference(
    a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], metric: str, **resampling: Any
) -> tuple[Interval, int]:
    """Metric of runs A minus that of runs B on the videos that all of them have, with its interval; and how many.

    Raises `EchocycleError` for fewer than two such videos.
    """
    tables = [table.set_index("video") for table in (*a, *b)]
    shared = tables[0].index
    for table in tables[1:]:
        shared = shared.intersection(table.index)
    if len(shared) < 2:
        raise EchocycleError("They have fewer than two videos in common.")
    preds = np.stack([table.loc[shared, "ef_pred"].to_numpy(float) for table in tables])
    first = tables[0].loc[shared]
    found = paired_difference(
        first["ef_true"], preds[: len(a)], preds[len(a) :], metric, groups=list(first["patient"]), **resampling
    )
    return found, len(shared)


def _difference(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    found: list[Judged] = []
    for other in row["b"].split():
        budgets = sorted(
            {r.labelled for r in runs if r.role == row["a"]} & {r.labelled for r in runs if r.role == other}
        )
        for labelled in budgets:
            pair = [
                [r.videos for r in runs if r.role == role and r.labelled == labelled and r.videos is not None]
                for role in (row["a"], other)
            ]
            if all(pair):
                found.append(_judged(row, pair[0], pair[1], f"{row['a']} − {other}, {labelled} labelled", resampling))
    return found or _unasked(
        row, f"needs runs of {row['a']} and of {' or '.join(row['b'].split())} with as many labels"
    )


def _judged(
    row: Row, a: Sequence[pd.DataFrame], b: Sequence[pd.DataFrame], test: str, resampling: Mapping[str, Any]
) -> Judged:
    metric = row["metric"]
    try:
        effect, videos = difference(a, b, metric, **resampling)
    except EchocycleError as error:
        return _unasked(row, str(error), test)[0]
    runs = f"{len(a)} and {len(b)} runs" if len(a) + len(b) > 2 else "one run each"
    words = f"{metric.upper()} of {test}; {videos} videos, {runs}"
    return Judged(
        row["claim"],
        row["value"],
        _source(row),
        words,
        effect,
        smallest_effect(effect),
        verdict_of(effect, BETTER[metric]),
    )


def _external(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    found = []
    for store in dict.fromkeys(store for run in runs for store in run.elsewhere):
        pair = [
            [r.elsewhere[store] for r in runs if r.role == role and store in r.elsewhere]
            for role in (row["a"], row["b"])
        ]
        if all(pair):
            found.append(_judged(row, pair[0], pair[1], f"{row['a']} − {row['b']} on the store {store}", resampling))
    return found or _unasked(row, f"needs runs of {row['a']} and {row['b']} on another store (evaluate --external)")


def _by_setting(row: Row, runs: Sequence[ClaimRun]) -> dict[float, list[pd.DataFrame]]:
    """Runs of the claim's role by the setting that it is about."""
    usual = {"phase_length": 3.0, "offset": 2.0, "temperature": 10.0}
    found: dict[float, list[pd.DataFrame]] = {}
    for run in runs:
        if run.role == row["a"] and run.videos is not None:
            value = float(run.option.get(row["setting"], usual[row["setting"]]))
            found.setdefault(value, []).append(run.videos)
    return found


def _range(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    by = {value: v for value, v in _by_setting(row, runs).items() if value >= float(row["low"])}
    if len(by) < 2:
        return _unasked(row, f"needs runs of {row['a']} with several values of {row['setting']}")
    errors = {
        value: float(np.mean([METRICS["mae"](v["ef_true"], v["ef_pred"]) for v in videos]))
        for value, videos in by.items()
    }
    worst, best = max(errors, key=errors.__getitem__), min(errors, key=errors.__getitem__)
    effect, videos = difference(by[worst], by[best], "mae", **resampling)
    words = f"largest difference over {row['setting']}: {worst:g} against {best:g}; {videos} videos"
    verdict = SEEN if effect.value <= float(row["high"]) else OPPOSITE if effect.low > float(row["high"]) else NOT_SEEN
    return [Judged(row["claim"], row["value"], _source(row), words, effect, smallest_effect(effect), verdict)]


def _best(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    by, claimed = _by_setting(row, runs), float(row["low"])
    others = [value for value in by if value != claimed]
    if claimed not in by or not others:
        return _unasked(row, f"needs runs of {row['a']} with {row['setting']} {claimed:g} and with others")
    means = {value: np.mean([METRICS["mae"](v["ef_true"], v["ef_pred"]) for v in by[value]]) for value in others}
    rival = min(means, key=means.__getitem__)
    return [
        _judged(row, by[claimed], by[rival], f"{row['setting']} {claimed:g} − {rival:g}, the best other", resampling)
    ]


def _dice(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    if not world.echonet:
        return _unasked(row, "is a number on EchoNet-Dynamic, and these are other videos")
    found = [run for run in runs if run.role == row["a"] and row["metric"] in run.dice]
    return [_held_against(row, run, run.dice[row["metric"]]) for run in found] or _unasked(
        row, f"needs an evaluated run of {row['a']} (and `echocycle analyse` for frames between ED and ES)"
    )


def _number(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    if not world.echonet:
        return _unasked(row, "is a number on EchoNet-Dynamic, and these are other videos")
    from echocycle.evaluation.intervals import video_intervals

    found = [
        _held_against(row, run, video_intervals(run.videos, **resampling)["mae"])
        for run in runs
        if run.role == row["a"] and run.videos is not None and abs(run.labelled - int(row["labelled"])) <= 10
    ]
    return found or _unasked(row, f"needs a run of {row['a']} with {row['labelled']} labelled videos")


def _held_against(row: Row, run: ClaimRun, ours: Interval) -> Judged:
    claimed = float(row["high"])
    verdict = SEEN if ours.low <= claimed <= ours.high else NOT_SEEN
    return Judged(row["claim"], row["value"], _source(row), f"{run.name}: the claimed value lies in our interval",
                  ours, float("nan"), verdict)  # fmt: skip


def _splits(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    if not world.echonet or not world.splits:
        return _unasked(
            row, "is about EchoNet-Dynamic, and these are other videos (or `analyse --what data` was not run)"
        )
    ours = " / ".join(str(world.splits.get(split, 0)) for split in ("train", "val", "test"))
    verdict = SEEN if ours == row["value"] else NOT_SEEN
    return [Judged(row["claim"], row["value"], _source(row), f"counted: {ours}", None, float("nan"), verdict)]


def _never(row: Row, runs: Sequence[ClaimRun], world: World, resampling: Mapping[str, Any]) -> list[Judged]:
    return _unasked(row, "those masks are not public; `analyse --what masks --supplied FOLDER` takes masks of your own")


_JUDGES = {
    "difference": _difference,
    "external": _external,
    "range": _range,
    "best": _best,
    "dice": _dice,
    "number": _number,
    "splits": _splits,
    "never": _never,
}
