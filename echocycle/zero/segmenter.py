"""Trains the segmenter of the model in the package on clips that are drawn while it learns."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.models.augment import changed_in_looks, grain, moved_alike, movements
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.preprocess import standardised
from echocycle.models.specs import SegmenterSpec
from echocycle.phantom.picture import CAVITY, RIGHT_ATRIUM
from echocycle.zero.drawn import (
    FIFTH,
    FIRST,
    FOURTH,
    RIGHT_HEARTS,
    SECOND,
    SIDE_BY_SIDE,
    THIRD,
    USUAL,
    Pool,
    Range,
    drawn_settings,
)
from echocycle.zero.training import Schedule, fit

KINDS = ((0.45, 8, 4), (0.85, 14, 2), (1.0, 24, 1))  # (share of steps up to it, clips, frames of each)
EXPLAINED_KINDS = ((0.15, 4, 8), (0.45, 8, 4), (0.8, 14, 2), (1.0, 24, 1))
PARTS = RIGHT_ATRIUM + 1
UNKNOWN = -1  # a part that counts for nothing
PARTS_WEIGHT = 0.5
VEIL_SHARE, VEIL = 0.35, 90.0  # share of clips under a veil, and the most grey levels that it adds
CUT_SHARE = 0.12  # of clips that lack a side


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
    explained: bool = False
    """Whether the network must also say what else each pixel shows, on stronger augmentation."""
    third: dict[str, Range] = field(default_factory=dict)
    """Ranges of a phantom that a third of the clips come from."""


PHASES = (
    Phase(2200, 3e-3, 2500, 15, FIRST, stop=500),
    Phase(700, 2e-3, 800, 17, SECOND, first_clips=200, stop=250),
    Phase(420, 1.5e-3, 600, 19, THIRD, first_clips=180),
    Phase(4000, 2.5e-3, 2500, 21, FOURTH, stop=750, explained=True),
    Phase(560, 2e-3, 860, 23, FIFTH, stop=500, explained=True, third=SIDE_BY_SIDE),
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


def varied(levels: Tensor, masks: Tensor, parts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `augmented`, with a veil of haze over some clips and a side of the fan missing in others.

    Parts come back at half the resolution, (clips, frames, height / 2, width / 2), whole numbers.
    """
    count, frames, height, width = levels.shape
    matrix = movements(count, levels.device)
    grid = F.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    half = F.affine_grid(matrix, [count, 1, height // 2, width // 2], align_corners=False)
    moved = F.grid_sample(torch.cat([levels, masks], 1), grid, align_corners=False)
    parts = F.grid_sample(parts, half, mode="nearest", align_corners=False).long()
    levels, masks = _veiled(moved[:, :frames]), moved[:, frames:]
    levels = changed_in_looks(levels)
    noise = grain(levels.flatten(0, 1)[:, None])[:, 0].view_as(levels)
    amount = 0.25 * torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < 0.6)
    kept = _kept(count, height, width)
    return (levels * (1 + amount * noise)).clamp(0, 255) * kept, masks * kept, parts * kept[:, :, ::2, ::2].long()


def _axes(height: int, width: int) -> tuple[Tensor, Tensor]:
    return torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None]


def _veiled(levels: Tensor) -> Tensor:
    """Some clips under a bright, smooth veil that stands still; black outside the fan stays black."""
    count = len(levels)
    rows, columns = _axes(*levels.shape[-2:])
    row, column = (1.6 * torch.rand(2, count, 1, 1, 1) - 0.8).unbind()
    radius = 0.35 + 0.9 * torch.rand(count, 1, 1, 1)
    veil = torch.exp(-((rows - row).square() + (columns - column).square()) / radius.square())
    amount = VEIL * torch.rand(count, 1, 1, 1) * (torch.rand(count, 1, 1, 1) < VEIL_SHARE)
    return levels + amount * veil * (1 - levels / 255) * (levels > 1)


def _kept(count: int, height: int, width: int) -> Tensor:
    """1 but for the side of some fans that the window cuts off, (clips, 1, height, width)."""
    rows, columns = _axes(height, width)
    angle = 2 * np.pi * torch.rand(count, 1, 1, 1)
    reach = 0.25 + 0.5 * torch.rand(count, 1, 1, 1)
    reach = torch.where(torch.rand(count, 1, 1, 1) < CUT_SHARE, reach, torch.full_like(reach, 2.0))
    return (torch.cos(angle) * rows + torch.sin(angle) * columns < reach).float()


class Explained(nn.Module):
    """The segmenter with a second head, in training alone, that says what each pixel shows: a second cavity must then
    be the right ventricle, not more of the left."""

    def __init__(self, width: int):
        super().__init__()
        self.segmenter = BeatSegmenter(width)
        self.parts = nn.Conv2d(2 * width, PARTS, 1)

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips -> logits (batch, time, height, width), and of parts (batch x time, PARTS, height / 2, width / 2)."""
        features = self.segmenter.features(clips.flatten(0, 1)[:, :1], len(clips))
        logits = F.pixel_shuffle(self.segmenter.head(features), 2)[:, 0]
        return logits.unflatten(0, clips.shape[:2]), self.parts(features)


def parts_loss(logits: Tensor, masks: Tensor, parts: Tensor) -> Tensor:
    """Cross-entropy of parts (clips, frames, height / 2, width / 2), with the reader's ventricle as the cavity; what
    is cavity in the picture alone counts for neither."""
    ventricle = F.avg_pool2d(masks, 2) > 0.5
    target = torch.where(ventricle, CAVITY, torch.where(parts == CAVITY, UNKNOWN, parts))
    return F.cross_entropy(logits, target.flatten(0, 1), ignore_index=UNKNOWN)


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
        average = train_phase(phase, settings.width, start, out / f"phase-{number}", say)
        start = average.state_dict()
    found = average.segmenter if isinstance(average, Explained) else average
    torch.save(found.state_dict(), out / "average.pt")
    return found


def train_phase(
    phase: Phase, width: int, start: dict[str, Tensor] | None, out: Path, say: Callable[[str], None]
) -> nn.Module:
    """The averaged network of one phase, from the weights `start` or random ones."""
    torch.manual_seed(phase.seed)
    rng = np.random.default_rng(phase.seed)
    look = RIGHT_HEARTS if phase.explained else USUAL
    pool = Pool(drawn_settings(phase.seed, look, phase.third, **phase.ranges), phase.clips)
    network = Explained(width) if phase.explained else BeatSegmenter(width)
    if start is not None:
        begin(network, start)
    pool.grow(phase.first_clips)

    def loss(step: int) -> Tensor:
        pool.grow(1)
        kind = rng.uniform()
        kinds = EXPLAINED_KINDS if phase.explained else KINDS
        clips, frames = next((c, f) for share, c, f in kinds if kind < share)
        levels, masks, parts = pool.sample(rng, clips, frames)
        if not phase.explained:
            levels, masks = augmented(levels, masks)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(normalised(levels))
            return loss_of(logits.float(), masks)
        levels, masks, parts = varied(levels, masks, parts)
        with torch.autocast("cpu", torch.bfloat16):
            logits, said = network(normalised(levels))
        return loss_of(logits.float(), masks) + PARTS_WEIGHT * parts_loss(said.float(), masks, parts)

    return fit(network, loss, Schedule(phase.steps, phase.lr, stop=phase.stop), out, say)


def begin(network: nn.Module, start: dict[str, Tensor]) -> None:
    """Give `network` the weights of the phase before; a head that is new keeps its random ones."""
    if isinstance(network, Explained) and not any(name.startswith("parts.") for name in start):
        network.segmenter.load_state_dict(start)
    else:
        network.load_state_dict(start)
