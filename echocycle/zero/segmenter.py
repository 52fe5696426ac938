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
from echocycle.zero.drawn import Pool, drawn_settings
from echocycle.zero.training import Schedule, fit

KINDS = ((0.45, 8, 4), (0.85, 14, 2), (1.0, 24, 1))  # (share of steps up to it, clips, frames of each)


@dataclass(frozen=True)
class SegmenterTraining:
    """How the segmenter is trained."""

    steps: int = 2200
    clips: int = 2500
    """Clips drawn in all; one more a step until then."""
    first_clips: int = 300
    width: int = 16
    lr: float = 3e-3
    seed: int = 15
    start: str = ""
    """A file of weights to start from."""


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


def train(settings: SegmenterTraining, out: Path, say: Callable[[str], None] = print, **ranges: tuple) -> nn.Module:
    """The averaged network."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    pool = Pool(drawn_settings(settings.seed, **ranges), settings.clips)
    network = BeatSegmenter(settings.width)
    if settings.start:
        network.load_state_dict(torch.load(settings.start, weights_only=True))
    say(str(asdict(settings)) + " " + str(ranges))
    pool.grow(settings.first_clips)

    def loss(step: int) -> Tensor:
        pool.grow(1)
        kind = rng.uniform()
        clips, frames = next((c, f) for share, c, f in KINDS if kind < share)
        levels, masks = augmented(*pool.sample(rng, clips, frames))
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(normalised(levels))
        return loss_of(logits.float(), masks)

    return fit(network, loss, Schedule(settings.steps, settings.lr), out, say)


if __name__ == "__main__":
    import json
    import sys

    torch.set_num_threads(1)
    given = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    chosen = {key: given.pop(key) for key in list(given) if key in SegmenterTraining.__dataclass_fields__}
    train(SegmenterTraining(**chosen), Path(sys.argv[1]), lambda line: print(line, flush=True), **given)
