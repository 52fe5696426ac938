"""What `train` would train, and what that would take."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from rich.table import Table

from echocycle.data.labels import LabelBudget, draw_budget
from echocycle.data.store import Store
from echocycle.datasets.open import open_source
from echocycle.evaluation.candidates import CANDIDATES, answered_by, methods_for, possible
from echocycle.forecast.cost import Timer, steps_of
from echocycle.forecast.parts import (
    MASK_BYTES_PER_FRAME,
    USUAL_FRAMES,
    Forecast,
    Videos,
    evaluation_seconds,
    training_seconds,
    weight_lines,
)
from echocycle.models.pretrained import require_weights
from echocycle.progress import minutes_of
from echocycle.settings.presets import Preset
from echocycle.settings.stages import RegressSettings, SegmentSettings

T = TypeVar("T")


def trainings(
    path: Path, out: Path, chosen: Preset, names: Sequence[str]
) -> dict[Path, SegmentSettings | RegressSettings]:
    """The trainings of `train` by their runs, as far as the folder's files tell them; `names` of its candidates."""
    runs = out / "runs"
    traced = not (path / "FileList.csv").exists() or (path / "VolumeTracings.csv").exists()
    methods = methods_for(possible(names, traced=traced, unlabelled=True))
    found: dict[Path, SegmentSettings | RegressSettings] = {runs / "css": chosen.segment} if traced else {}
    return found | {runs / name: chosen.regression(name) for name in methods}


def not_begun(trainings: dict[Path, T]) -> list[T]:
    """Settings of the trainings that need their first weights yet."""
    return [
        settings
        for run, settings in trainings.items()
        if not any((run / name).exists() for name in ("done.json", "resume.ckpt"))
    ]


def forecast_of(path: Path, out: Path, chosen: Preset, names: Sequence[str] = tuple(CANDIDATES)) -> Forecast:
    """What `train` would take, from the folder's list and one pass through each network."""
    source = open_source(path, chosen.prepare)
    splits = [str(record.split or "train").lower() for record in source.records]
    frames = sum(record.listed_frames or USUAL_FRAMES for record in source.records)
    labelled = sum(
        split == "train" and math.isfinite(record.ef) for split, record in zip(splits, source.records, strict=True)
    )
    videos = Videos(splits.count("train"), splits.count("val"), splits.count("test"), frames, labelled)
    if labelled == videos.train and chosen.regression("student").labels.labelled == "all":
        names = possible(names, traced=True, unlabelled=False)
    needed = trainings(path, out, chosen, names)
    timer = Timer(chosen.segment.loop.device)
    forecast = Forecast(
        title=f"echocycle train {path}, preset {chosen.name}: {', '.join(run.name for run in needed)}",
        data=f"{videos.train} training, {videos.val} validation, {videos.test} test videos, "
        f"about {frames} frames; {labelled} training videos have an EF",
        evaluate=chosen.evaluate,
        weights=weight_lines(not_begun(needed)),
        folder=out,
        device=timer.device,
        details=Table("stage", "steps", "seconds of a step", "in all", "memory of a step", box=None, pad_edge=False),
    )
    for run, settings in needed.items():
        if (run / "done.json").exists():
            continue
        seconds, cost = training_seconds(settings, videos, timer)
        forecast.add(run.name, seconds, cost)
        row = (
            f"{steps_of(settings, labelled)}",
            f"{cost.seconds:.3g}",
            minutes_of(seconds),
            f"{cost.bytes / 2**30:.2f} GiB",
        )
        forecast.details.add_row(run.name, *row)
        forecast.disk += 6 * cost.weights
        if isinstance(settings, SegmentSettings):
            forecast.add("masks", frames * cost.item)
            forecast.disk += int(frames * MASK_BYTES_PER_FRAME * settings.size / 112)
        else:
            seconds = evaluation_seconds(settings, chosen.evaluate, videos, cost)
            answering = [name for name in names if run.name in answered_by(name)]
            if answering:
                forecast.add(f"evaluate {run.name}", len(answering) * seconds)
    if not (out / "store" / "store.json").exists():
        forecast.disk += frames * 112 * 112 * (3 if chosen.prepare.color else 1)
    return forecast


def require_first_weights(path: Path, out: Path, chosen: Preset, names: Sequence[str] = tuple(CANDIDATES)) -> None:
    """Refuse to begin where the first weights of a training to come cannot be had."""
    require_weights(not_begun(trainings(path, out, chosen, names)))


def budget_of(store: Store, chosen: Preset, *, traced: bool) -> LabelBudget:
    """The labels that the student's training will have; what cannot be trained is refused.

    Args:
        traced: Whether a segmenter will be trained too.
    """
    budget = draw_budget(store, chosen.regression("student").labels, needs="ef")
    if traced:
        draw_budget(store, chosen.segment.labels, needs="tracing")
    return budget
