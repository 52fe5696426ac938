"""The report's section on what the paper says in words: each claim with our test on these runs and its verdict."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echocycle.evaluation.analyses import claims
from echocycle.evaluation.analyses.attention import pooled_interval
from echocycle.evaluation.analyses.data_set import table_of_videos
from echocycle.evaluation.intervals import Interval
from echocycle.evaluation.tables import check_predictions, per_video
from echocycle.reporting.blocks import Cell, Section, Table, Text, interval_cell, number_cell, several
from echocycle.reporting.ef_sections import Result, places_of, resampling
from echocycle.reporting.run_data import ReportData, RunReport


def claims_section(data: ReportData, results: Sequence[Result], problems: list[str]) -> Section | None:
    """The paper's claims; left out for runs that are neither on public data nor on a phantom in their form."""
    if not results or not data.public_names:
        return None
    place = places_of(results)[0]
    first = {result.run.name: result for result in reversed([r for r in results if r.where == place])}
    runs = [_asked(run, first.get(run.name)) for run in data.runs]
    world = claims.World(echonet=data.echonet, splits=_splits(data))
    found = claims.judge(runs, world, **resampling(data))
    counts = {verdict: sum(each.verdict == verdict for each in found)
              for verdict in (claims.SEEN, claims.OPPOSITE, claims.NOT_SEEN, claims.NOT_ASKED)}  # fmt: skip
    told = "; ".join(f"{verdict}: {several(count, 'claim')}" for verdict, count in counts.items() if count)
    words = (
        f"Each statement of the paper’s text with our test of it on these runs. {told.capitalize()}. What to see: "
        "where a claim was not seen, the smallest effect that these videos and seeds could have shown: if that is "
        "larger than the paper’s effect, nothing was decided."
    )
    rows = [
        [
            Cell(each.claim), Cell(each.value), Cell(each.test if each.verdict != claims.NOT_ASKED else "–"),
            Cell("–") if each.effect is None else interval_cell(each.effect, sign=True),
            number_cell(each.smallest), Cell(each.verdict, _wrapped(each.why)), Cell(each.source),
        ]
        for each in found
    ]  # fmt: skip
    columns = ["<claim", "<the paper’s value", "<our test", "ours", "smallest effect to be seen", "<verdict", "<source"]
    caption = (
        "Differences are the first minus the second: a negative one of MAE, a positive one of R2 speaks for the first."
    )
    return Section("What the paper says, claim by claim", [Text(words), Table(columns, rows, caption, "claims")])


def _wrapped(text: str, width: int = 34) -> str:
    """Text in short lines, since small print in a table is not wrapped."""
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _asked(run: RunReport, result: Result | None) -> claims.ClaimRun:
    elsewhere = {}
    for store, other in run.externals.items():
        if other.predictions is not None:
            videos = per_video(check_predictions(other.predictions, f"predictions of {run.name} on {store}"))
            elsewhere[store] = videos[videos["protocol"] == videos["protocol"].iloc[0]]
    return claims.ClaimRun(
        run.name,
        run.role or run.method,
        run.labels.labelled if run.labels is not None else -1,
        result.videos if result is not None else None,
        run.segmenter_option,
        _dice(run),
        elsewhere,
    )


def _dice(run: RunReport) -> dict[str, Interval]:
    """Dice in percent at ED, at ES and between them, of a segmenter."""
    found: dict[str, np.ndarray] = {}
    if run.dice is not None:
        for phase, part in run.dice[run.dice["split"] == "test"].groupby("phase"):
            found[str(phase)] = part[["intersection", "size_true", "size_pred"]].to_numpy(np.int64)
    if "masks" in run.analyses:
        counts = [arrays["counts"] for _, arrays in run.analyses["masks"].pieces() if arrays["counts"].size]
        if counts:
            found["between"] = np.stack(counts)
    return {name: _percent(pooled_interval(counts[:, None], 2000)) for name, counts in found.items()}


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.value, 100 * interval.low, 100 * interval.high, interval.level)


def _splits(data: ReportData) -> dict[str, int]:
    for run in data.runs:
        if "data" in run.analyses:
            counts: pd.Series = table_of_videos(run.analyses["data"])["split"].value_counts()
            return {str(name): int(value) for name, value in counts.items()}
    return {}
