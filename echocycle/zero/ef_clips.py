"""Clips that the EF networks of the model in the package learn from: phantoms whose looks widen while they are drawn.

With wide ranges from the first step on a network stays at the mean EF; with the phantom's own looks alone it knows one
machine. So the first clips have the looks of the two hospitals, and later ones looks that lie further and further from
them. Every EF is as frequent as any other, so that poor hearts are not taken for usual ones, and poor hearts are
remodelled: large, round and thin-walled, as they are in patients.
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from echocycle.phantom.clip import PhantomClip, make_clip
from echocycle.phantom.look import Look, Ranges
from echocycle.phantom.settings import PhantomSettings

SIZE, FRAMES, PERIOD = 56, 16, 3
SPAN = (FRAMES - 1) * PERIOD + 1
LONGEST = 76
STILLS = (0.0, 0.1, 0.35, 0.65, 0.9, 1.0, 1.0, 0.85, 0.6, 0.45, 0.35, 0.3, 0.25, 0.2, 0.1, 0.0)
"""How much of ES is in each frame of a beat that two stills, ED and ES, are blended into."""


@dataclass(frozen=True)
class Curriculum:
    """Which clips are drawn, in order."""

    clips: int
    """Drawn in all."""
    first_clips: int = 240
    """Drawn before the first step; then some in each step, until there are all."""
    narrow: float = 0.0
    """How wide the looks of the first clip are, as a share of the way from a hospital's own look to all ranges."""
    wide: float = 0.7
    """How wide those of the last."""
    second: float = 0.33
    """Share of clips of the second hospital."""
    remodelled: float = 0.6
    """Share of poor hearts that are remodelled."""
    seed: int = 31
    tight_readers: bool = True
    """Whether EF may be that of readers whose outline comes closer at ES than the wall that is seen."""


def around(look: Look, share: float) -> Ranges:
    """Ranges that lie `share` of the way from a look to the usual ranges: 0 is the look alone."""
    ends = {}
    for one in fields(Ranges):
        own, usual = getattr(look, one.name), getattr(Ranges(), one.name)
        ends[one.name] = tuple(own + share * (end - own) for end in usual)
    return Ranges(**ends)


def settings_of(index: int, curriculum: Curriculum) -> PhantomSettings:
    """The phantom that clip `index` comes from."""
    rng = np.random.default_rng([curriculum.seed, index])
    hospital: Literal["first", "second"] = "second" if rng.uniform() < curriculum.second else "first"
    share = curriculum.narrow + (curriculum.wide - curriculum.narrow) * min(1.0, index / max(1, curriculum.clips - 1))
    own = PhantomSettings(hospital=hospital).look
    quality = float(rng.uniform(0.2, 0.8))
    ranges = around(own, share * float(rng.uniform(0.3, 1.0)))
    if not curriculum.tight_readers:
        ranges = replace(ranges, reader_tightness=(0.0, 0.0))
    return PhantomSettings(
        seed=curriculum.seed,
        hospital=hospital,
        half_cycles=False,
        uniform_ef=(8.0, 82.0),
        remodelled_share=curriculum.remodelled,
        usual_fps_share=0.4,
        quality=quality,
        randomise=True,
        ranges=ranges,
        frames_min=52,
        frames_median=60,
        frames_max=LONGEST,
    )


class EfPool:
    """The clips drawn so far, at the networks' size, and their EF."""

    def __init__(self, curriculum: Curriculum):
        self.curriculum, self.drawn = curriculum, 0
        count = curriculum.clips
        self.frames = np.zeros((count, LONGEST, SIZE, SIZE), np.uint8)
        self.length = np.zeros(count, np.int64)
        self.traced = np.zeros((count, 2), np.int64)
        self.ef = np.zeros(count, np.float32)

    def grow(self, clips: int) -> None:
        """Draw up to so many more clips, until all are drawn."""
        for index in range(self.drawn, min(self.drawn + clips, self.curriculum.clips)):
            self.put(index, make_clip(index, settings_of(index, self.curriculum)))
            self.drawn = index + 1

    def put(self, index: int, clip: PhantomClip) -> None:
        """Keep a clip in place `index`."""
        length = min(len(clip.frames), LONGEST)
        self.frames[index, :length] = halved(clip.frames[:length])
        self.length[index] = length
        self.traced[index] = np.minimum((clip.ed_frame, clip.es_frame), length - 1)
        self.ef[index] = clip.ef

    def sample(self, rng: np.random.Generator, clips: int, stills: float) -> tuple[Tensor, Tensor]:
        """Grey levels (clips, FRAMES, SIZE, SIZE), float, and EF (clips,).

        Args:
            stills: share of clips that show ED and ES alone, blended into a beat.
        """
        chosen = rng.integers(0, self.drawn, clips)
        starts = rng.integers(0, self.length[chosen] - SPAN + 1)
        levels = self.frames[chosen[:, None], starts[:, None] + PERIOD * np.arange(FRAMES)].astype(np.float32)
        still = rng.uniform(size=clips) < stills
        share = np.array(STILLS, np.float32)[:, None, None]
        for place in np.flatnonzero(still):
            ed, es = self.frames[chosen[place], self.traced[chosen[place]]].astype(np.float32)
            levels[place] = ed * (1 - share) + es * share
        return torch.from_numpy(levels), torch.from_numpy(self.ef[chosen])


def halved(frames: np.ndarray) -> np.ndarray:
    """Pictures (n, 112, 112) at half their size, each pixel the mean of four, uint8."""
    parts = frames.reshape(len(frames), SIZE, 2, SIZE, 2)
    return ((parts.sum((2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8)
