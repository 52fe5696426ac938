"""Trains the EF network of the model in the package on clips that are drawn while it learns.

Each EF is as frequent as any other, so that poor hearts are not taken for usual ones. A part of the clips shows ED and
ES alone, in turn, as if somebody had two stills: so the network can be tried where there are no more.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.models.augment import changed_in_looks, grain, moved_alike
from echocycle.models.regressor import Regressor, load_regressor_weights
from echocycle.models.specs import RegressorSpec
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import make_clip
from echocycle.zero.drawn import EF, drawn_settings
from echocycle.zero.training import Schedule, fit

SIZE, FRAMES, PERIOD = 56, 16, 3
LONGEST = 76
MEAN, STD = 47.0, 47.0
STILLS = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)
"""ED (0) and ES (1) as a clip of a beat."""


@dataclass(frozen=True)
class RegressorTraining:
    """How the EF network is trained."""

    steps: int = 800
    clips: int = 900
    """Clips drawn in all; one more a step until then."""
    first_clips: int = 150
    batch: int = 8
    widths: tuple[int, ...] = (16, 32, 64, 128)
    lr: float = 1e-3
    stills: float = 0.15
    """Share of clips that show ED and ES alone."""
    seed: int = 31


def ef_spec(widths: tuple[int, ...]) -> RegressorSpec:
    """The network and its input."""
    return RegressorSpec("r2plus1d_18", widths, 3, 10.0, SIZE, FRAMES, PERIOD, (MEAN,), (STD,), False)


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
    """Clips drawn so far, at the network's size, with their EF."""

    def __init__(self, settings: tuple[PhantomSettings, PhantomSettings], capacity: int):
        self.settings, self.capacity, self.drawn = settings, capacity, 0
        self.frames = np.zeros((capacity, LONGEST, SIZE, SIZE), np.uint8)
        self.length = np.zeros(capacity, int)
        self.phases = np.zeros((capacity, 2), int)
        self.ef = np.zeros(capacity, np.float32)

    def grow(self, clips: int) -> None:
        """Draw up to so many more clips, until the pool is full."""
        for index in range(self.drawn, min(self.drawn + clips, self.capacity)):
            clip = make_clip(index // 2, self.settings[index % 2])
            small = halved(clip.frames[:LONGEST])
            self.length[index] = len(small)
            self.frames[index, : len(small)] = small
            self.phases[index] = clip.ed_frame, clip.es_frame
            self.ef[index] = clip.ef
            self.drawn = index + 1

    def sample(self, rng: np.random.Generator, clips: int, stills: float) -> tuple[Tensor, Tensor]:
        """Grey levels, float (clips, FRAMES, SIZE, SIZE), and EF (clips,)."""
        chosen = rng.integers(0, self.drawn, clips)
        places = np.empty((clips, FRAMES), int)
        span = (FRAMES - 1) * PERIOD + 1
        for row, clip in enumerate(chosen):
            if rng.uniform() < stills:
                places[row] = self.phases[clip][list(STILLS)]
            else:
                places[row] = rng.integers(0, self.length[clip] - span + 1) + PERIOD * np.arange(FRAMES)
        return torch.from_numpy(self.frames[chosen[:, None], places]).float(), torch.from_numpy(self.ef[chosen])


def halved(frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (time, 112, 112) at half their size, as block means."""
    blocks = frames.reshape(len(frames), SIZE, 2, SIZE, 2).mean((2, 4), dtype=np.float32)
    return np.rint(blocks).astype(np.uint8)


def clip_augmented(levels: Tensor) -> Tensor:
    """Clips (clips, frames, height, width), each moved and changed in looks as one, with grain of each frame."""
    levels = changed_in_looks(moved_alike(levels))
    noise = grain(levels.flatten(0, 1)[:, None])[:, 0].view_as(levels)
    amount = 0.2 * torch.rand(len(levels), 1, 1, 1) * (torch.rand(len(levels), 1, 1, 1) < 0.6)
    return (levels * (1 + amount * noise)).clamp(0, 255)


def as_input(levels: Tensor) -> Tensor:
    """(clips, frames, height, width) as the network takes it, (clips, 3, frames, height, width)."""
    return ((levels - MEAN) / STD)[:, None].expand(-1, 3, -1, -1, -1)


def train(settings: RegressorTraining, out: Path, say: Callable[[str], None] = print) -> nn.Module:
    """The averaged network."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    pool = EfPool(ef_settings(settings.seed), settings.clips)
    network: Regressor = ef_spec(settings.widths).build_one()
    load_regressor_weights(network, "r2plus1d_18", "shapes")
    network.set_bias(45.0)
    say(str(asdict(settings)))
    pool.grow(settings.first_clips)

    def loss_of(step: int) -> Tensor:
        pool.grow(1)
        levels, ef = pool.sample(rng, settings.batch, settings.stills)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(as_input(clip_augmented(levels)))
        return (found.float() - ef).square().mean()

    return fit(network, loss_of, Schedule(settings.steps, settings.lr), out, say)


if __name__ == "__main__":
    import json
    import sys

    torch.set_num_threads(1)
    given = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    train(RegressorTraining(**given), Path(sys.argv[1]), lambda line: print(line, flush=True))
