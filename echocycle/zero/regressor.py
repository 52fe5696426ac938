"""Trains the EF network of the model in the package: it sees the masks that the segmenter finds, and nothing else.

Each EF is as frequent as any other, so that poor hearts are not taken for usual ones. Half of the masks are true, half
those of the segmenter on clips that it was not trained on: with true ones alone they would be too good, and with worse
ones alone the network learns that EF is higher than the masks show, which on real images it is not. A part of the clips
shows ED and ES alone, in turn, as if somebody had two stills: so the network can be tried on them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.models.augment import moved_alike
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.regressor import Regressor, load_regressor_weights
from echocycle.models.specs import RegressorSpec
from echocycle.phantom.clip import make_clip
from echocycle.phantom.settings import PhantomSettings
from echocycle.zero.drawn import EF, drawn_settings
from echocycle.zero.segmenter import normalised
from echocycle.zero.training import Schedule, fit

SIZE, FRAMES, PERIOD = 56, 16, 3
SPAN = (FRAMES - 1) * PERIOD + 1
LONGEST = 76
STILLS = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)
"""ED (0) and ES (1) as a clip of a beat."""


@dataclass(frozen=True)
class RegressorTraining:
    """How the EF network is trained."""

    steps: int = 360
    clips: int = 520
    """Clips drawn in all; one more a step until then."""
    first_clips: int = 160
    batch: int = 10
    widths: tuple[int, ...] = (16, 32, 64, 128)
    lr: float = 1.5e-3
    stills: float = 0.2
    """Share of clips that show ED and ES alone."""
    true_share: float = 0.5
    """Share of clips that give their true masks instead of the segmenter's."""
    seed: int = 31


def ef_spec(widths: tuple[int, ...]) -> RegressorSpec:
    """The network and its input, which is the masks alone."""
    return RegressorSpec("r2plus1d_18", widths, 1, 10.0, SIZE, FRAMES, PERIOD, (0.0,), (1.0,), False)


def ef_settings(seed: int) -> tuple[PhantomSettings, PhantomSettings]:
    """The phantoms: of either hospital, of all frame rates, every EF as frequent."""
    first, second = (
        replace(
            settings,
            uniform_ef=(8.0, 82.0),
            usual_fps_share=0.5,
            frames_min=52,
            frames_median=60,
            frames_max=LONGEST,
        )
        for settings in drawn_settings(seed, **EF)
    )
    return first, second


class EfPool:
    """Masks of the clips drawn so far, at the network's size: a window of FRAMES, then ED and ES; and their EF."""

    def __init__(
        self, settings: tuple[PhantomSettings, PhantomSettings], capacity: int, segmenter: nn.Module, true_share: float
    ):
        self.settings, self.capacity, self.drawn, self.true_share = settings, capacity, 0, true_share
        self.segmenter = segmenter.eval()
        self.masks = np.zeros((capacity, FRAMES + 2, SIZE, SIZE), np.float32)
        self.ef = np.zeros(capacity, np.float32)

    def grow(self, clips: int) -> None:
        """Draw up to so many more clips and find their masks, until the pool is full."""
        for index in range(self.drawn, min(self.drawn + clips, self.capacity)):
            clip = make_clip(index // 2, self.settings[index % 2])
            rng = np.random.default_rng([self.settings[0].seed, index])
            start = int(rng.integers(0, len(clip.frames) - SPAN + 1))
            kept = [*(start + PERIOD * np.arange(FRAMES)), clip.ed_frame, clip.es_frame]
            if rng.uniform() < self.true_share:
                found = torch.from_numpy(clip.masks[kept]).float()
            else:
                levels = torch.from_numpy(clip.frames[kept]).float()[None]
                found = torch.cat([self._masks(part) for part in (levels[:, :FRAMES], levels[:, FRAMES:])])
            self.masks[index] = F.avg_pool2d(found[:, None], 112 // SIZE)[:, 0].numpy()
            self.ef[index] = clip.ef
            self.drawn = index + 1

    @torch.no_grad()
    def _masks(self, levels: Tensor) -> Tensor:
        """Probabilities (frames, 112, 112) of one clip of grey levels (1, frames, 112, 112)."""
        with torch.autocast("cpu", torch.bfloat16):
            return torch.sigmoid(self.segmenter(normalised(levels))[0].float())

    def sample(self, rng: np.random.Generator, clips: int, stills: float) -> tuple[Tensor, Tensor]:
        """Probabilities (clips, FRAMES, SIZE, SIZE), and EF (clips,)."""
        chosen = rng.integers(0, self.drawn, clips)
        is_still = rng.uniform(size=clips) < stills
        places = np.where(is_still[:, None], FRAMES + np.array(STILLS), np.arange(FRAMES))
        return torch.from_numpy(self.masks[chosen[:, None], places]), torch.from_numpy(self.ef[chosen])


def as_input(masks: Tensor) -> Tensor:
    """Probabilities (clips, frames, height, width) as the network takes them, (clips, 1, frames, height, width)."""
    return (2 * masks - 1)[:, None]


def train(
    settings: RegressorTraining, segmenter: nn.Module, out: Path, say: Callable[[str], None] = print
) -> nn.Module:
    """The averaged network, which sees the masks of `segmenter`."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    pool = EfPool(ef_settings(settings.seed), settings.clips, segmenter, settings.true_share)
    network: Regressor = ef_spec(settings.widths).build_one()
    load_regressor_weights(network, "r2plus1d_18", "shapes")
    network.set_bias(45.0)
    say(f"EF network: {asdict(settings)}")
    pool.grow(settings.first_clips)

    def loss_of(step: int) -> Tensor:
        pool.grow(1)
        masks, ef = pool.sample(rng, settings.batch, settings.stills)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(as_input(moved_alike(masks)))
        return (found.float() - ef).square().mean()

    return fit(network, loss_of, Schedule(settings.steps, settings.lr), out, say)


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    seen = BeatSegmenter(16)
    seen.load_state_dict(torch.load(sys.argv[2], weights_only=True))
    train(RegressorTraining(), seen, Path(sys.argv[1]), lambda line: print(line, flush=True))
