"""A training with the production loop, and the other sides beside it on the same batches."""

import csv
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from echocycle.benchmarks.measure import OURS, Meter
from echocycle.data.labels import TrainingData
from echocycle.runs import Run
from echocycle.settings.stages import LoopSettings, OptimiserSettings
from echocycle.training.loop import fit
from echocycle.training.method import Method


def train_beside(
    method: Method,
    data: TrainingData,
    run: Path,
    loop: LoopSettings,
    optimiser: OptimiserSettings,
    meter: Meter,
    rivals: Callable[[int], dict[str, Callable[[int], Any]]],
) -> dict[str, float]:
    """Train with the production loop, and between its steps take the other sides' steps on the same batches.

    Args:
        rivals: prepares the batch of a step, given its number, for the other sides and gives their steps.

    Returns:
        Each side's loss in the first step, and the share of a step in which ours waited for its batch.
    """
    checks: dict[str, float] = {}
    waits: list[float] = []
    left = 0.0
    begin_step, after_step = method.begin_step, method.after_step

    def take_turns(step: int) -> None:
        for name, take in rivals(step).items():
            with meter.side(name, first=step == 0):
                loss = take(step)
            if step == 0:
                checks[f"first_loss, {name}"] = loss

    def begin(step: int) -> None:
        if step:
            waits.append(time.perf_counter() - left)
        if step % 2 == 0:
            take_turns(step)
        ours.enter_context(meter.side(OURS, first=step == 0))
        begin_step(step)

    def after(step: int) -> None:
        nonlocal left
        after_step(step)
        ours.close()
        if step % 2:
            take_turns(step)
        left = time.perf_counter()

    method.begin_step, method.after_step = begin, after  # type: ignore[method-assign]
    with ExitStack() as ours:
        fit(method, data, Run(run), loop=loop, optimiser=optimiser, save_best=lambda: None)
    with open(run / "losses.csv", newline="", encoding="utf-8") as file:
        checks[f"first_loss, {OURS}"] = float(next(csv.DictReader(file))["total"])
    wait, step = median(waits), median(meter.sides[OURS].seconds)
    return {**checks, "waiting_share": wait / (wait + step)}
