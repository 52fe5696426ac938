"""What a command of several stages will take, told by `--dry-run`: hours, memory, protocol, weights, disk."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from echocycle.console import output
from echocycle.forecast.cost import StepCost, Timer, steps_of
from echocycle.models.pretrained import first_weights
from echocycle.progress import minutes_of
from echocycle.runs import machine
from echocycle.settings.stages import EvaluateSettings, RegressSettings, SegmentSettings, count_of
from echocycle.training.memory import available_bytes

MASK_BYTES_PER_FRAME = 2800
"""Of a mask set at 112 x 112 pixels: 2,100 and 2,500 (twice that of 56 x 56) were measured, and a little room."""
USUAL_FRAMES = 176
"""Frames of a video whose list does not say: the mean of EchoNet-Dynamic."""


@dataclass(frozen=True)
class Videos:
    """How many videos there are, and how many frames they have together."""

    train: int
    val: int
    test: int
    frames: int
    labelled: int = -1
    """Training videos with a label; -1 for all."""

    @property
    def number(self) -> int:
        """All of them."""
        return self.train + self.val + self.test

    @property
    def mean_frames(self) -> float:
        """Frames of one video."""
        return self.frames / max(1, self.number)

    def of(self, splits: Iterable[str]) -> int:
        """Videos of some splits."""
        return sum(getattr(self, split, 0) for split in splits)


@dataclass
class Forecast:
    """What is going to be done, in lines; `details` on request."""

    title: str
    data: str
    evaluate: EvaluateSettings
    parts: list[tuple[str, float]] = field(default_factory=list)
    """Stages, or kinds of jobs, with the seconds that they will take."""
    largest: tuple[str, int] = ("", 0)
    """The training whose step needs most memory, and how many bytes."""
    weights: list[str] = field(default_factory=list)
    disk: int = 0
    """Bytes."""
    folder: Path = Path()
    """Where they will lie; it need not exist."""
    details: Table = field(default_factory=Table)
    device: Any = None

    def add(self, name: str, seconds: float, cost: StepCost | None = None) -> None:
        """A part of the work, and what a step of it needs where it is a training."""
        self.parts.append((name, seconds))
        if cost is not None and cost.bytes > self.largest[1]:
            self.largest = name, cost.bytes

    def lines(self) -> list[str]:
        """At most twenty lines."""
        seconds = sum(seconds for _, seconds in self.parts)
        parts = sorted(self.parts, key=lambda part: -part[1])
        told = [f"{name} {minutes_of(seconds)}" for name, seconds in parts[:8]]
        if len(parts) > 8:
            told.append(f"{len(parts) - 8} more {minutes_of(sum(seconds for _, seconds in parts[8:]))}")
        name, size = self.largest
        memory = "GPU memory" if self.device is not None and self.device.type == "cuda" else "Memory"
        found = [line for line in self.weights if ", found: " in line]
        missing = [line for line in self.weights if line not in found]
        lines = [
            self.title,
            f"Data: {self.data}.",
            f"Machine: {machine()}.",
            f"Time: about {minutes_of(seconds)}, by passes measured just now; loading and saving come on top.",
            f"  {', '.join(told)}." if told else "  Everything is done.",
        ]
        if size:
            free = available_bytes(self.device) / 2**30
            lines.append(
                f"{memory}: about {size / 2**30:.2g} GiB for the largest step ({name}); {free:.3g} GiB are free."
            )
        protocols, splits = ", ".join(self.evaluate.protocol), ", ".join(self.evaluate.splits)
        lines.append(f"Protocol: {protocols}; splits {splits}.")
        lines += [f"Weights: {line}." for line in (*missing, *found)[:6]] or ["Weights: none are needed."]
        where = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        free = shutil.disk_usage(where).free
        lines.append(f"Disk: about {self.disk / 1e9:.2f} GB are needed in {self.folder}, {free / 1e9:.1f} GB are free.")
        lines.append("More with --details. What is done already is not done again.")
        return lines

    def show(self, *, details: bool) -> None:
        """Print it."""
        for line in self.lines():
            output.print(line, highlight=False)
        if details:
            output.print(self.details)


def weight_lines(stages: Iterable[SegmentSettings | RegressSettings]) -> list[str]:
    """One line for each file of first weights that some stages need."""
    found = {each.file: each.described() for each in map(first_weights, stages) if each is not None}
    return list(found.values())


def training_seconds(
    settings: SegmentSettings | RegressSettings, videos: Videos, timer: Timer
) -> tuple[float, StepCost]:
    """Seconds of a training with its validations."""
    cost, steps = timer.step(settings), steps_of(settings, videos.train if videos.labelled < 0 else videos.labelled)
    every = settings.loop.validate_every or max(1, steps // settings.loop.epochs)
    validated = min(videos.val, count_of(settings.labels.validation, videos.val, "labels.validation"))
    per_video = 2 if isinstance(settings, SegmentSettings) else 1  # ED and ES
    return steps * cost.seconds + -(-steps // every) * validated * per_video * cost.item, cost


def evaluation_seconds(settings: RegressSettings, evaluate: EvaluateSettings, videos: Videos, cost: StepCost) -> float:
    """Seconds of evaluating an EF network."""
    starts = max(1.0, videos.mean_frames - settings.span + 1)
    clips = {
        "all-clips": starts,
        "strided": max(1.0, starts / evaluate.stride),
        "one-clip": len(evaluate.clip_seeds),
        "beat-by-beat": 3.0,
    }
    return videos.of(evaluate.splits) * sum(clips[each] for each in evaluate.protocol) * cost.item
