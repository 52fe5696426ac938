"""Trains the segmenter of the model in the package on clips that are drawn while it learns."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.models.augment import changed_in_looks, grain, moved_alike
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.preprocess import standardised
from echocycle.models.specs import SegmenterSpec
from echocycle.zero.drawn import FIRST, SECOND, THIRD, Pool, Range, drawn_settings
from echocycle.zero.training import Schedule, fit

KINDS = ((0.45, 8, 4), (0.85, 14, 2), (1.0, 24, 1))  # (share of steps up to it, clips, frames of each)


@dataclass(frozen=True)
class Phase:
    """A part of the training that goes on from the averaged weights of the part before, with a phantom of its own."""

    steps: int
    lr: float
    clips: int
    """Clips drawn in all; one more a step until then."""
    seed: int
    ranges: dict[str, Range]
    first_clips: int = 300
    stop: int = 0
    """Step after which to end early; 0: none."""


PHASES = (
    Phase(2200, 3e-3, 2500, 15, FIRST, stop=500),
    Phase(700, 2e-3, 800, 17, SECOND, first_clips=200, stop=250),
    Phase(420, 1.5e-3, 600, 19, THIRD, first_clips=180),
)


@dataclass(frozen=True)
class SegmenterTraining:
    """How the segmenter is trained."""

    width: int = 16
    phases: tuple[Phase, ...] = PHASES


def segmenter_spec(width: int) -> SegmenterSpec:
    """The network and its input."""
    return SegmenterSpec("beat_unet", width, 112, (0.0,), (1.0,), color=False, standardise=True)


def augmented(levels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Clips and masks (clips, frames, height, width) moved alike; looks changed alike, but for grain of each frame."""
    frames = levels.shape[1]
    moved = moved_alike(torch.cat([levels, masks], 1))
    levels, masks = changed_in_looks(moved[:, :frames]), moved[:, frames:]
    noise = grain(levels.flatten(0, 1)[:, None])[:, 0].view_as(levels)
    amount = 0.25 * torch.rand(len(levels), 1, 1, 1) * (torch.rand(len(levels), 1, 1, 1) < 0.6)
    return (levels * (1 + amount * noise)).clamp(0, 255), masks


def normalised(levels: Tensor) -> Tensor:
    """(clips, frames, height, width) as the network takes it, (clips, frames, 1, height, width)."""
    return standardised(levels.flatten(0, 1)[:, None]).view(*levels.shape[:2], 1, *levels.shape[2:])


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy a pixel, and one less the soft Dice of each frame."""
    entropy = F.binary_cross_entropy_with_logits(logits, masks)
    found = torch.sigmoid(logits).flatten(2)
    true = masks.flatten(2)
    dice = (2 * (found * true).sum(2) + 1) / (found.sum(2) + true.sum(2) + 1)
    return 4 * entropy + 0.3 * (1 - dice).mean()


def train(settings: SegmenterTraining, out: Path, say: Callable[[str], None] = print) -> nn.Module:
    """The averaged network after all phases."""
    start: dict[str, Tensor] | None = None
    for number, phase in enumerate(settings.phases, 1):
        say(f"Segmenter, phase {number} of {len(settings.phases)}: {asdict(phase)}")
        average = train_phase(phase, settings.width, start, out, say)
        start = average.state_dict()
    return average


def train_phase(
    phase: Phase, width: int, start: dict[str, Tensor] | None, out: Path, say: Callable[[str], None]
) -> nn.Module:
    """The averaged network of one phase, from the weights `start` or random ones."""
    torch.manual_seed(phase.seed)
    rng = np.random.default_rng(phase.seed)
    pool = Pool(drawn_settings(phase.seed, **phase.ranges), phase.clips)
    network = BeatSegmenter(width)
    if start is not None:
        network.load_state_dict(start)
    pool.grow(phase.first_clips)

    def loss(step: int) -> Tensor:
        pool.grow(1)
        kind = rng.uniform()
        clips, frames = next((c, f) for share, c, f in KINDS if kind < share)
        levels, masks = augmented(*pool.sample(rng, clips, frames))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(normalised(levels))
        return loss_of(logits.float(), masks)

    return fit(network, loss, Schedule(phase.steps, phase.lr, stop=phase.stop), out, say)
