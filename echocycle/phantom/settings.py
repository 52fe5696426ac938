"""The phantom's settings: how many clips, of what kind, and every number of their look. Imports nothing heavy."""

from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Literal

from echocycle.phantom.look import OLD_LOOK, SECOND_LOOK, Look, Ranges, require_range
from echocycle.phantom.worlds import world_settings

PHANTOM_VERSION = 2


SHORTEST_CLIP = 28  # frames; a systole of 0.47 s at 50 frames per second still fits


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """What to make. The same settings give the same bytes; a clip depends on the seed and its index."""

    videos: int = 560
    """Number of clips."""
    val: int = 80
    """How many of them are in the split VAL."""
    test: int = 80
    """How many of them are in the split TEST; the rest is TRAIN."""
    seed: int = 0
    """Seed of everything that is drawn."""
    frames_median: int = 171
    """Median number of frames of a clip; 171 is that of the real clips."""
    frames_min: int = SHORTEST_CLIP
    """Fewest frames of a clip; a very fast recording may get a few more, so that one systole fits."""
    frames_max: int = 1002
    """Most frames of a clip."""
    usual_fps_share: float = 0.79
    """Share of clips with 50 frames per second; the rest has 18 to 138."""
    irregular_share: float = 0.08
    """Share of clips with an irregular heart rhythm."""
    pathological_share: float = 0.5
    """How often a heart whose volumes allow it is diseased: dilated, hypertrophic, or with a wall that lags."""
    foreshortened_share: float = 0.15
    """Share of clips whose plane misses the apex: the ventricle looks shorter and rounder."""
    quality: float = 0.5
    """Image quality from 0 (poor: low contrast, much drop-out) to 1 (good); 0.5 resembles real clips. The second
    hospital draws its own: 35 % good, 46 % medium, 19 % poor."""
    hospital: Literal["first", "second"] = "first"
    """`first` resembles EchoNet-Dynamic; `second` is another machine, after CAMUS, for external validation."""
    half_cycles: bool | None = None
    """Clips run from ED to ES only; empty: those of the second hospital do."""
    version: Literal[1, 2] = PHANTOM_VERSION  # type: ignore[assignment]
    """Version of the phantom; 1 is the old one, of which results were published."""
    look: Look = field(default_factory=Look)
    """The numbers of the rendering; what is left at its default takes the version's and the hospital's number."""
    uniform_ef: tuple[float, float] | None = None
    """Lowest and highest EF, percent, of hearts of which each EF is as frequent; empty: as frequent as in patients."""
    remodelled_share: float = 0.0
    """How often a heart with an EF under 50 is remodelled, as failing hearts are: larger, rounder, with thin walls of
    which a part hardly moves, a mitral plane that hardly descends, a slower systole, and leaflets that open less. The
    lower its EF, the more of it."""
    randomise: bool = False
    """Let every clip draw its own look from `ranges` (domain randomisation)."""
    ranges: Ranges = field(default_factory=Ranges)
    """The ranges of `randomise`."""
    reader_noise: float = 0.0
    """How far tracings, and the volumes and EF read from them, lie from the truth; at 1 as those of two readers do."""
    world: Literal["usual", "hard"] = "usual"
    """`hard`: several machines, haze, drop-out, foreshortening and readers that differ, so that methods can be told
    apart; what is left at its default takes the world's number."""

    def __post_init__(self) -> None:
        usual_world = {one.name: one.default if one.default is not MISSING else Look() for one in fields(self)}
        usual_world["ranges"] = Ranges()
        for name, value in world_settings(self.world).items():
            if getattr(self, name) == usual_world[name]:
                object.__setattr__(self, name, value)
        require_range(0 <= self.reader_noise <= 3, f"reader_noise is {self.reader_noise}; it lies between 0 and 3.")
        require_range(self.videos >= 1, f"videos is {self.videos}; make at least one.")
        require_range(self.val >= 0 and self.test >= 0, f"val is {self.val} and test {self.test}; neither is negative.")
        require_range(
            self.val + self.test < self.videos,
            f"val ({self.val}) and test ({self.test}) leave none of {self.videos} videos for training; "
            "lower them or raise videos.",
        )
        require_range(self.seed >= 0, f"seed is {self.seed}; it must not be negative.")
        require_range(
            SHORTEST_CLIP <= self.frames_min <= self.frames_median <= self.frames_max,
            f"frames_min, frames_median and frames_max are {self.frames_min}, {self.frames_median} and "
            f"{self.frames_max}; they must rise in this order, from {SHORTEST_CLIP} on (one heart beat).",
        )
        shares = ("usual_fps_share", "irregular_share", "pathological_share", "foreshortened_share", "remodelled_share")
        for name in (*shares, "quality"):
            value = getattr(self, name)
            require_range(0 <= value <= 1, f"{name} is {value}; it must lie between 0 and 1.")
        if self.uniform_ef is not None:
            low, high = self.uniform_ef
            require_range(5 <= low < high <= 85, f"uniform_ef is {low} to {high}; give two numbers between 5 and 85.")
        require_range(
            self.version != 1 or (self.hospital == "first" and not self.randomise and not self.half_cycles),
            "version 1 has one hospital, whole clips and no randomise.",
        )
        usual, own = Look(), OLD_LOOK if self.version == 1 else SECOND_LOOK if self.hospital == "second" else {}
        untouched = {name: value for name, value in own.items() if getattr(self.look, name) == getattr(usual, name)}
        object.__setattr__(self, "look", replace(self.look, **untouched))

    @property
    def only_half_cycles(self) -> bool:
        """Whether clips run from ED to ES only."""
        return self.hospital == "second" if self.half_cycles is None else self.half_cycles
