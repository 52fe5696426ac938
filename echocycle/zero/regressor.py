"""Trains the EF networks of the model in the package: small ones that see the video, whose mean is the answer.

One stretch of training is common to all; each network then goes on by itself, on clips of its own whose looks lie
further from those of the two hospitals. A part of the clips shows ED and ES alone, blended into a beat, as if somebody
had two stills: so the networks can be tried on them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.models.augment import changed_in_looks, moved_alike
from echocycle.models.regressor import Regressor, load_regressor_weights
from echocycle.models.specs import RegressorSpec
from echocycle.zero.ef_clips import FRAMES, PERIOD, SIZE, Curriculum, EfPool
from echocycle.zero.training import Schedule, fit

MEAN, STD = (34.0,), (44.0,)
"""Of the clips' grey levels."""
MIDDLE_EF = 45.0


@dataclass(frozen=True)
class Stretch:
    """A part of the training that goes on from the averaged weights of the part before, with clips of its own."""

    steps: int
    curriculum: Curriculum
    lr: float = 1.5e-3
    batch: int = 10
    stills: float = 0.08
    """Share of clips that show ED and ES alone."""
    amount: float = 0.5
    """Largest change of place and looks besides those of the phantom, as a share of `models/augment.py`'s."""


@dataclass(frozen=True)
class RegressorTraining:
    """How the EF networks are trained: that of the common stretch, and those that go on from it."""

    widths: tuple[int, ...] = (16, 32, 64, 128)
    common: Stretch = Stretch(700, Curriculum(900, 200, wide=0.35, seed=31))
    members: tuple[tuple[Stretch, ...], ...] = (
        (),
        (
            Stretch(480, Curriculum(630, 150, 0.2, 0.9, seed=33), lr=1e-3),
            Stretch(130, Curriculum(200, 80, 0.4, 0.8, seed=37, tight_readers=False), lr=4e-4),
        ),
        (Stretch(480, Curriculum(630, 150, 0.3, 1.0, second=0.5, remodelled=0.8, seed=35), lr=1e-3, amount=0.7),),
    )
    """Stretches of each network after the common one."""


def ef_spec(widths: tuple[int, ...]) -> RegressorSpec:
    """A network and its input, which is the video."""
    return RegressorSpec("r2plus1d_18", widths, 3, 10.0, SIZE, FRAMES, PERIOD, MEAN, STD, False)


def as_input(levels: Tensor) -> Tensor:
    """Grey levels (clips, frames, height, width) as the network takes them, (clips, 3, frames, height, width)."""
    return ((levels - MEAN[0]) / STD[0])[:, None].expand(-1, 3, -1, -1, -1)


def start(widths: tuple[int, ...]) -> Regressor:
    """A network that has seen moving shapes alone and answers the middle EF."""
    network = ef_spec(widths).build_one()
    load_regressor_weights(network, "r2plus1d_18", "shapes")
    network.set_bias(MIDDLE_EF)
    return network


def train(stretch: Stretch, network: nn.Module, out: Path, say: Callable[[str], None] = print) -> nn.Module:
    """The averaged network after a stretch that begins with `network`."""
    torch.manual_seed(stretch.curriculum.seed)
    rng = np.random.default_rng(stretch.curriculum.seed)
    pool = EfPool(stretch.curriculum)
    say(f"EF network: {asdict(stretch)}")
    pool.grow(stretch.curriculum.first_clips)

    def loss_of(step: int) -> Tensor:
        pool.grow(1)
        levels, ef = pool.sample(rng, stretch.batch, stretch.stills)
        amount = float(rng.uniform(0, stretch.amount))
        levels = changed_in_looks(moved_alike(levels, amount), amount)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(as_input(levels))
        return (found.float() - ef).square().mean() / 100

    return fit(network, loss_of, Schedule(stretch.steps, stretch.lr), out, say)
