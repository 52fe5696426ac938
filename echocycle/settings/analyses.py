"""What can be set of the analyses that need a model: where a network looks, what its features do, its masks."""

from dataclasses import dataclass, field
from typing import Literal

from echocycle.settings.convert import OPERATIONAL, require
from echocycle.settings.stages import Device, HalfBeats

What = Literal["attention", "features", "masks", "data"]
"""`attention`: where an EF network looks. `features`: what a segmenter's features do over the beats. `masks`: its
masks on frames that nobody traced. `data`: what the store holds."""


@dataclass(frozen=True, kw_only=True)
class AnalyseSettings:
    """Command `analyse`."""

    split: str = "test"
    """Split whose videos are looked at; `all` takes every video."""
    videos: int = 200
    """At most so many of its videos, in the order of the store; 0 takes all."""
    shown: int = 6
    """Videos that the report draws."""
    samples: int = 25
    """Noisy copies of a clip whose gradients are averaged (SmoothGrad's n). The paper does not say."""
    sigma: float = 0.15
    """Standard deviation of that noise as a share of the clip's range, as in SmoothGrad's own library. The paper does
    not say."""
    share: float = 0.05
    """Share of the pixels with the largest gradients that count as looked at."""
    seed: int = 0
    """Seed of the noise, of the random frames and of t-SNE."""
    half_beats: HalfBeats = "keep"
    """What is made of videos of half a beat, as in `evaluate`; for `attention`."""
    supplied: str = ""
    """Folder with masks VIDEO_FRAME.png of your own, frames counted from 0, that `masks` compares with; by default the
    phantom's."""
    batch: int = field(default=20, metadata=OPERATIONAL)
    """Clips, or frames, in one pass."""
    device: Device = field(default="auto", metadata=OPERATIONAL)
    """`auto` takes a GPU where there is one."""

    def __post_init__(self) -> None:
        require(self.samples >= 1, f"samples is {self.samples}; at least one gradient is needed.")
        require(self.sigma >= 0, f"sigma is {self.sigma}; it must not be negative.")
        require(0 < self.share < 1, f"share is {self.share}; it lies between 0 and 1, such as 0.05.")
        require(self.batch > 0, f"batch is {self.batch}; it must be above 0.")
        require(self.videos >= 0 and self.shown >= 0, "videos and shown must not be negative.")
