"""A whole chain in one call, for a machine that is there for minutes: phantom, store, experiments, tables.

    python -m echocycle.experiments chain --minutes 60 OUT

The rows of Tables I and IV and our own are trained at one fraction of the labels, seed after seed. The first seed is
begun whatever it takes; another only if it fits. When the time is over the tables are written from what is done.
OUT gets tables, predictions, curves and JSON; everything else stays in the working folder.
"""

import gzip
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from echocycle.console import console
from echocycle.errors import EchocycleError, Finding
from echocycle.experiments.asked import as_printed, find, with_one_clip
from echocycle.experiments.estimate import check_disk, disk_needed, minutes_of, seconds_taken
from echocycle.experiments.flow import MOST_SEEDS
from echocycle.experiments.ground import open_store
from echocycle.experiments.plan import Experiment, Plan, fraction_value, only, plan
from echocycle.experiments.schedule import Outcome, as_json, jobs_word, merged_facts, work
from echocycle.experiments.written import write_page
from echocycle.files import write_json
from echocycle.settings.presets import Preset, preset
from echocycle.settings.stages import LoopSettings

NAMES = ("table-4", "own-row", "table-1")
FOR_TABLES = 45.0
"""Seconds kept for writing the tables."""


def chain_preset(steps: int | None, videos: int | None, *, smoke: bool) -> Preset:
    """Full-size networks on a phantom of 1,400 videos, 300 of them test videos; with `smoke` all as small as can be."""
    if smoke:
        return smoke_preset()
    chosen = preset("phantom")
    evaluate = replace(chosen.evaluate, protocol=("strided",), stride=8)
    chosen = replace(chosen, evaluate=evaluate, phantom={"videos": 1400, "val": 80, "test": 300})
    if videos is not None:
        if videos < 1000:
            raise EchocycleError(f"videos is {videos}; at least 1000 are needed.")
        chosen = replace(chosen, phantom={**chosen.phantom, "videos": videos})
    return with_loop(chosen, **({"steps": steps} if steps else {}))


def smoke_preset() -> Preset:
    """Networks and phantom so small that a chain takes seconds and its numbers mean nothing."""
    chosen = preset("debug")
    labels = replace(chosen.segment.labels, labelled="1/4", validation="3")
    # EF networks start from moving shapes, as in all presets but the paper's
    regress = {name: replace(each, labels=labels, weights="shapes") for name, each in chosen.regress.items()}
    chosen = replace(
        chosen,
        name="smoke",
        segment=replace(chosen.segment, labels=labels),
        segment_others={name: replace(each, labels=labels) for name, each in chosen.segment_others.items()},
        regress=regress,
        evaluate=replace(chosen.evaluate, splits=("test",)),
        phantom={**chosen.phantom, "videos": 26, "val": 3, "test": 6},
    )
    return with_loop(chosen, steps=2, validate_every=2)


def with_loop(chosen: Preset, **values: Any) -> Preset:
    """The preset with other settings of every loop, and without TensorBoard's files."""

    def changed(loop: LoopSettings) -> LoopSettings:
        return replace(loop, tensorboard=False, **values)

    return replace(
        chosen,
        segment=replace(chosen.segment, loop=changed(chosen.segment.loop)),
        segment_others={name: replace(each, loop=changed(each.loop)) for name, each in chosen.segment_others.items()},
        regress={name: replace(each, loop=changed(each.loop)) for name, each in chosen.regress.items()},
    )


def chain(
    out: Path,
    folder: Path,
    chosen: Preset,
    *,
    minutes: float,
    fraction: str = "1/8",
    names: Iterable[str] = NAMES,
    rows: Iterable[str] = (),
    seeds: Iterable[int] = range(MOST_SEEDS),
    workers: int = 8,
) -> None:
    """Run the experiments and leave their results in `out`.

    Args:
        folder: for the phantom, the store and the runs; a chain that was stopped is resumed.
        minutes: for everything, the drawing of the phantom included.
        names: of the experiments; with all labels, those that have rows for it.
        rows: to run, by their name or method; all without a name.
        seeds: to run, one after the other, as far as the time goes.

    Raises:
        Finding: some jobs failed; the tables are written from the others.
    """
    end = time.monotonic() + 60 * minutes - FOR_TABLES
    chosen = with_one_clip(chosen)
    experiments = with_rows([find(name) for name in names], list(rows))
    if fraction_value(fraction) == 1:
        experiments = [each for each in experiments if any(row.all_labels for row in each.rows)]
        if not experiments:
            raise EchocycleError("None of these rows is run with all labels; choose a fraction such as 1/8.")
    spelled = {experiment.name: as_printed(fraction, experiment) for experiment in experiments}
    store = open_store(None, chosen, folder, workers)
    arguments = chosen, store.path, store.meta["id"], folder / "runs"
    outcomes: list[Outcome] = []
    begun: list[int] = []
    whole = Plan()
    for seed in seeds:
        start = time.monotonic()
        jobs = Plan()
        for experiment in experiments:
            jobs.jobs |= plan(experiment.rows, *arguments, fractions=[spelled[experiment.name]], seeds=[seed]).jobs
        try:
            check_disk(disk_needed(jobs, store.meta["frames"]), folder)
        except EchocycleError as error:
            if not begun:
                raise
            console.print(f"Seed {seed} is not begun: {error}", soft_wrap=True)
            break
        whole.jobs |= jobs.jobs
        outcomes.append(work(jobs, folder / "jobs", minutes=(end - start) / 60))
        begun.append(seed)
        took, left = time.monotonic() - start, end - time.monotonic()
        console.print(f"Seed {seed} took {minutes_of(took)}; {minutes_of(max(left, 0))} are left.")
        once = {name: job for name, job in jobs.jobs.items() if job.method == "shapes"}  # the start of all seeds
        if outcomes[-1].left or took - seconds_taken(once, folder / "jobs") > left:
            break
    # what seeds share is counted once
    outcome = replace(merged_facts(outcomes), seconds=seconds_taken(whole.jobs, folder / "jobs"))
    pages = []
    for experiment in experiments:
        planned = plan(experiment.rows, *arguments, fractions=[spelled[experiment.name]], seeds=begun)
        pages.append(write_page(experiment, planned, _of(outcome, planned), store, chosen, folder))
    _leave(folder / "results", out)
    _leave(folder / "jobs" / "logs", out)
    _write_curves(folder / "runs", out)
    write_json(out / "chain.json", {"minutes": minutes, "seeds": begun, "fraction": fraction, **as_json(outcome)})
    if outcome.failed:
        raise Finding(
            f"{jobs_word(len(outcome.failed))} failed: {', '.join(outcome.failed)}; see {out / 'chain.json'}."
        )
    if not any(pages):
        raise Finding("The time was over before a row was evaluated, so there is no table; give more --minutes.")


def with_rows(experiments: list[Experiment], names: list[str]) -> list[Experiment]:
    """The experiments with the rows named alone; one that has none of them is left out.

    Raises `EchocycleError` for a name that no experiment has.
    """
    found, unknown = [], set(names)
    for experiment in experiments:
        known = {name for row in experiment.rows for name in (row.name, row.system.method)}
        mine = [name for name in names if name in known]
        unknown -= known
        if mine or not names:
            found.append(replace(experiment, rows=only(experiment.rows, mine)))
    if unknown:
        raise EchocycleError(
            f"No row is called {', '.join(sorted(unknown))}; see `echocycle experiment NAME --dry-run`."
        )
    return found


def _of(outcome: Outcome, planned: Plan) -> Outcome:
    """The part of an outcome that belongs to a plan's jobs."""
    mine = planned.jobs.keys()
    return Outcome(
        done=[name for name in outcome.done if name in mine],
        failed={name: log for name, log in outcome.failed.items() if name in mine},
        blocked={name: cause for name, cause in outcome.blocked.items() if name in mine},
        left=[name for name in outcome.left if name in mine],
        seconds=outcome.seconds,
    )


def _leave(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(folder.glob("*")):
        shutil.copyfile(file, out / file.name)


def _write_curves(runs: Path, out: Path) -> None:
    """losses.csv and validation.csv of all runs, in one compressed table each."""
    for name in ("losses", "validation"):
        files = sorted(runs.glob(f"*/{name}.csv"))
        tables = [pd.read_csv(file).assign(run=file.parent.name) for file in files]
        if tables:
            whole = pd.concat(tables, ignore_index=True)
            whole = whole[["run", *(column for column in whole.columns if column != "run")]]
            text = whole.to_csv(index=False, float_format="%.5g", lineterminator="\n").encode()
            (out / f"{name}.csv.gz").write_bytes(gzip.compress(text, mtime=0))
