"""How much is measured, and on what: a phantom and its store."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import SIZE, Store
from echocycle.datasets.prepare import prepare_store
from echocycle.device import choose_precision
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.segmentation.css import CSSOptions
from echocycle.settings.stages import LabelSettings, LoopSettings, PrepareSettings
from echocycle.training.memory import available_bytes
from echocycle.training.method import Inputs

PAD = 12


@dataclass(frozen=True)
class BenchPlan:
    """How much is measured."""

    name: str
    repeats: int
    """Timed rounds, after the one that warms up."""
    phantom: PhantomSettings
    load_batch: int = 20
    """Clips in a batch that is loaded."""
    pairs: int = 2
    """Labelled videos in a step of CSS, beside its one clip."""
    clips: int = 2
    """Labelled clips in a step of f_m and f_e."""
    unlabelled: int = 1
    """Unlabelled clips in a step of f_e."""
    training: int = 60
    """Steps for which the segmenter is trained before its masks are compared."""
    mask_frames: int | None = None
    """Frames of a video that get masks; by default all."""
    mask_batch: int = 64
    """Frames in one pass of the segmenter."""
    starts: int | None = None
    """Clips of an evaluated video; by default all."""
    size: int = SIZE
    """Height and width of the networks' input; a divisor of 112."""
    frames: int = 32
    """Frames in a clip."""
    css: CSSOptions = field(default_factory=CSSOptions)

    @property
    def pad(self) -> int:
        """Pixels around the input of the EF networks in training, as many of its size as the paper's."""
        return PAD * self.size // SIZE


ROOMY = 64 * 2**30
"""Bytes of a GPU on which the reference's step of 20 and 10 clips fits."""


def make_plan(device: torch.device, *, quick: bool) -> BenchPlan:
    """What is measured on a device: small batches, and the paper's on a GPU with room for them."""
    plan = BenchPlan("full", 5, PhantomSettings(videos=48, val=2, test=2, frames_min=124))
    if quick:
        phantom = PhantomSettings(videos=26, val=1, test=1, frames_min=124)
        plan = BenchPlan("quick", 3, phantom, training=50, mask_frames=64, starts=16)
    if device.type == "cuda":
        plan = replace(plan, mask_frames=None, mask_batch=256, starts=None)
        if available_bytes(device) > ROOMY:
            plan = replace(plan, pairs=20, clips=20, unlabelled=10)
    return plan


@dataclass(frozen=True)
class Ground:
    """A phantom and its store, and where the operations may write."""

    source: Path
    store: Store
    folder: Path
    plan: BenchPlan
    device: torch.device

    def path(self, video: int) -> Path:
        """The AVI of a video."""
        return self.source / "Videos" / str(self.store.index["file"][video])

    def data(self, labelled: str) -> tuple[TrainingData, Inputs]:
        """What methods see, with the phantom's true masks, and the statistics of their input."""
        budget = draw_budget(self.store, LabelSettings(labelled=labelled, validation="2"), needs="ef")
        data = TrainingData(self.store, budget, self.store.masks("truth"))
        return data, Inputs(*input_statistics(data), self.store.color)

    @property
    def precision(self) -> Any:
        """What `loop.precision auto` chooses for these networks here."""
        return choose_precision("auto", self.device)

    def loop(self, steps: int) -> LoopSettings:
        """A training of some steps with one validation at its end."""
        return LoopSettings(
            steps=steps,
            validate_every=steps,
            checkpoint_seconds=1e9,
            gradient_every=0,
            precision=self.precision,
            device=self.device.type,  # type: ignore[arg-type]
            tensorboard=False,
        )


def make_ground(folder: Path, plan: BenchPlan, device: torch.device) -> Ground:
    """Draw the phantom and prepare its store in `folder`."""
    source = folder / "phantom"
    write_phantom(source, plan.phantom)
    return Ground(source, prepare_store(source, folder / "store", PrepareSettings(workers=0)), folder, plan, device)
