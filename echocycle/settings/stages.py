"""Everything that can be set, stage by stage, with the paper's values as defaults.

Settings are frozen standard dataclasses, so that training imports nothing but them; the command line, YAML
files and the environment are mapped onto them by cyclopts in `cli.py`, which rejects unknown keys. What
belongs to one method alone stands in that method's file and is reached by `--option.NAME VALUE`.

Those of a stage take keywords only: on the command line each is an option, never a bare word.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from echocycle.settings.convert import LATER, OPERATIONAL, require

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["32", "bf16", "auto"]
HalfBeats = Literal["keep", "symmetric", "forward-backward"]
Fill = Literal["black", "repeat", "period-1"]

OptionValue = str | int | float | bool
"""A value of a method's own setting; what is text becomes what the method's `Options` say (`methods.options_of`).

Text comes first: the command line, which does not know the method's `Options`, would make an int of 0.1.
"""


@dataclass(frozen=True)
class LabelSettings:
    """Which training videos are labelled: nested subsets by seed (paper Sec. IV-A; the code's own shuffle)."""

    labelled: str = "920"
    """Labelled training videos: a count (`920`), a fraction of the pool (`1/8`, `0.125`) or `all`."""
    unlabelled: str = "rest"
    """Unlabelled training videos: a count, a fraction of the pool, or `rest` (of the pool)."""
    pool: str = "all"
    """Training videos that take part at all: a count or `all`; the paper uses 7360 of EchoNet-Dynamic's 7465."""
    validation: str = "all"
    """Labelled validation videos used to choose the best epoch: a count or `all`. They count as labels used."""
    seed: int = 0
    """Seed of the shuffle; 0 on EchoNet-Dynamic gives the paper authors' own subset."""
    allow_unlabelled_annotation: bool = False
    """Permit settings that reproduce the public code by reading annotation of videos declared unlabelled."""
    untraced: Literal["keep", "drop"] = field(default="keep", metadata=LATER)
    """`keep` videos without a tracing in EF stages and as unlabelled ones, or `drop` them from every stage and from the
    run's evaluation, as the paper's code does. EchoNet-Dynamic has six: of 7465 training and 1277 test videos 7460 and
    1276 are left."""

    calibration: str = field(default="0", metadata=LATER)
    """Validation videos that are kept apart from the choice of the best epoch, for the intervals of EF: a count or a
    fraction such as 1/2. They count as labels used; under 100 no interval is narrower than the naive one."""

    def __post_init__(self) -> None:
        for name in ("labelled", "unlabelled", "pool", "validation", "calibration"):
            count_of(getattr(self, name), 1000, f"labels.{name}")


def count_of(text: str, whole: int, what: str) -> int:
    """A count, a fraction of `whole`, or one of the words `all` and `rest` (both: `whole`)."""
    text = str(text).strip()
    if text in ("all", "rest"):
        return whole
    try:
        if text.isdigit():
            return int(text)
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(-1)
    require(0 <= share <= 1, f"{what} is {text!r}; give a count such as 920, a fraction such as 1/8, or all.")
    return int(share * whole)


@dataclass(frozen=True)
class OptimiserSettings:
    """One optimiser and its learning rate over the run."""

    name: Literal["sgd", "adamw"] = "sgd"
    """`sgd` (the paper's) or `adamw` (networks from random weights)."""
    lr: float = 1e-4
    """Learning rate; with `one-cycle` the highest."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 0.0
    """Weight decay. The public code has 1e-4 for EF and 0 for segmentation; the paper is silent."""
    schedule: Literal["flat", "step", "one-step", "one-cycle"] = "flat"
    """`flat`, `step` (times `gamma` every `step_epochs`), `one-step` (the same, once), or `one-cycle` (rise over a
    tenth, cosine to zero). The public code has `step` for EF, 0.1 every 15 epochs, and `flat` for segmentation; the
    paper is silent."""
    step_epochs: int = 15
    """Epochs between two falls of `step`, or before that of `one-step`."""
    gamma: float = 0.1
    """Factor of each fall."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 leaves it as it is."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optimiser.lr is {self.lr}; it must be above 0.")
        require(self.step_epochs > 0, f"optimiser.step_epochs is {self.step_epochs}; it must be above 0.")


@dataclass(frozen=True)
class LoopSettings:
    """How long to train, how often to validate, and on which device."""

    epochs: int = 25
    """Passes over the labelled videos."""
    steps: int | None = None
    """Steps in all; where given it takes the place of `epochs`."""
    validate_every: int | None = None
    """Steps between two validations; by default one epoch."""
    checkpoint_seconds: float = field(default=60.0, metadata=OPERATIONAL)
    """Seconds between two resume points; 0 writes one after every step."""
    gradient_every: int = 25
    """Steps between two measurements of each loss's own gradient norm; 0 for never."""
    seed: int = 0
    """Seed of initialisation, order, starts, crops and dropout."""
    precision: Precision = "32"
    """`32`, `bf16` mixed precision, or `auto`: bf16 where the device computes in it, else 32; kept with the run."""
    device: Device = field(default="auto", metadata=OPERATIONAL)
    """`auto` takes a GPU where there is one."""
    workers: int = field(default=0, metadata=OPERATIONAL)
    """Processes that cut clips; 0 does it in this one."""
    tensorboard: bool = field(default=True, metadata=OPERATIONAL)
    """Write TensorBoard files beside the CSV."""

    def __post_init__(self) -> None:
        require(self.epochs > 0, f"loop.epochs is {self.epochs}; it must be above 0.")
        require(self.steps is None or self.steps > 0, f"loop.steps is {self.steps}; it must be above 0.")
        require(
            self.validate_every is None or self.validate_every > 0,
            f"loop.validate_every is {self.validate_every}; it must be above 0.",
        )
        require(self.workers >= 0, f"loop.workers is {self.workers}; it must not be negative.")


@dataclass(frozen=True, kw_only=True)
class SegmentSettings:
    """Stage `segment`: the left-ventricle segmenter."""

    method: str = "css"
    """Segmentation method; `echocycle info` lists them."""
    network: str = "deeplabv3_resnet50"
    """`deeplabv3_resnet50`, `unet` (small) or `unet_deep` (sees the whole frame); method `clas` has its own besides,
    `r2plus1d_18`, and method `supervised` `beat_unet`, which sees both traced frames, and whole beats when it marks."""
    width: int = 16
    """Channels of the first level of a U-Net; a quarter of those of `r2plus1d_18`."""
    weights: str = "imagenet"
    """Backbone weights: `imagenet`, for `r2plus1d_18` `kinetics` (torchvision's, from its cache or the network),
    `zero` (the segmenter of the model in this package, for `beat_unet`), `none`, or a local file."""
    size: int = 112
    """Height and width of the network's input in pixels."""
    batch: int = 20
    """Labelled videos in a step; each gives its ED and its ES frame."""
    augment: Literal["none", "spatial", "strong"] = "none"
    """`spatial` shifts, scales and turns each traced frame with its mask (not in the paper; for few labels).
    `strong` does more of that and changes the picture: for segmenters that must work on another machine's images."""
    standardise: bool = False
    """Bring each frame to mean 0 and standard deviation 1 of its own instead of the training videos'."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(lr=1e-5))
    loop: LoopSettings = field(default_factory=LoopSettings)
    option: dict[str, OptionValue] = field(default_factory=dict)
    """The method's own settings, as `--option.NAME VALUE`."""

    def __post_init__(self) -> None:
        require(self.batch > 0, f"batch is {self.batch}; it must be above 0.")
        require(16 <= self.size <= 1024, f"size is {self.size}; give 16 to 1024 pixels.")


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """Stage `mask`: masks of every frame of every video."""

    batch: int = field(default=64, metadata=OPERATIONAL)
    """Frames in one pass of the network."""
    splits: tuple[str, ...] = ("train", "val", "test")
    """Splits whose videos get masks."""
    device: Device = field(default="auto", metadata=OPERATIONAL)
    """`auto` takes a GPU where there is one."""
    precision: Precision = "32"
    """`32`, `bf16` autocast, or `auto`: bf16 where the device computes in it, else 32; kept with the masks."""

    def __post_init__(self) -> None:
        require(self.batch > 0, f"batch is {self.batch}; it must be above 0.")


@dataclass(frozen=True, kw_only=True)
class RegressSettings:
    """Stage `regress`: the ejection-fraction network."""

    method: str = "student"
    """Regression method; `echocycle info` lists them."""
    network: str = "r2plus1d_18"
    """`r2plus1d_18`, `r3d_18` or `mc3_18`."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels of the four stages; torchvision's are 64, 128, 256, 512."""
    weights: str = "kinetics"
    """Initial weights: `kinetics` (torchvision's, from its cache or the network), `shapes` (of a network that has seen
    moving shapes; those of small ones are in this package), `zero` (the first EF network of the model in this package,
    which has seen synthetic clips; its widths are those of preset `tiny`), `none`, or a local file."""
    size: int = 112
    """Height and width of the network's input in pixels."""
    frames: int = 32
    """Frames in a clip."""
    period: int = 2
    """Video frames from one clip frame to the next."""
    pad: int = 12
    """Zero pixels added on each side before the random crop; 0 for no crop. 12 is the public code's; the paper names no
    crop."""
    augment: Literal["none", "spatial"] = "none"
    """`spatial` turns, scales and shifts each clip with its masks (not in the paper; for few labels)."""
    batch: int = 20
    """Labelled clips in a step."""
    fc_bias: float | None = 55.6
    """Initial bias of the last layer in EF points; empty takes the mean EF of the labelled videos. 55.6 is the public
    code's; the paper names none."""
    target_scale: float = 1.0
    """EF points per unit of the network's last layer; 1 is the paper's, a larger one suits random weights."""
    labels: LabelSettings = field(default_factory=LabelSettings)
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(lr=1e-4, weight_decay=1e-4, schedule="step")
    )
    loop: LoopSettings = field(default_factory=LoopSettings)
    option: dict[str, OptionValue] = field(default_factory=dict)
    """The method's own settings, as `--option.NAME VALUE`."""

    def __post_init__(self) -> None:
        require(self.batch > 0, f"batch is {self.batch}; it must be above 0.")
        require(self.frames > 0 and self.period > 0, "frames and period must be above 0.")
        require(len(self.widths) == 4 and min(self.widths) > 0, "widths takes four numbers above 0.")
        require(self.target_scale > 0, "target_scale must be above 0.")

    @property
    def span(self) -> int:
        """Video frames from a clip's first to its last, both counted."""
        return (self.frames - 1) * self.period + 1


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Stage `evaluate`: predictions and Dice of a run."""

    splits: tuple[str, ...] = ("val", "test")
    """Splits to predict."""
    protocol: tuple[Literal["all-clips", "one-clip", "strided", "beat-by-beat"], ...] = ("all-clips",)
    """`all-clips` (every start; the public code's for f_m), `one-clip` (one random start, five seeds; the public code's
    for f_e), `strided` (every `stride`-th start), `beat-by-beat` (one clip around each systole that the masks show, as
    EchoNet-Dynamic does). The paper does not say which it has."""
    stride: int = 8
    """Frames between two starts of `strided`."""
    clip_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of `one-clip`."""
    batch: int = field(default=20, metadata=OPERATIONAL)
    """Clips, or frames, in one pass."""
    device: Device = field(default="auto", metadata=OPERATIONAL)
    """`auto` takes a GPU where there is one."""
    precision: Precision = "32"
    """`32`, `bf16` autocast, or `auto`: bf16 where the device computes in it, else 32; kept with the results."""
    largest_only: bool = False
    """Of each predicted mask only the largest blob counts; by default all that the segmenter marks."""
    half_beats: HalfBeats = field(default="keep", metadata=LATER)
    """What an EF network sees of videos of half a beat (CAMUS): as they are, or doubled by mirroring in time as in the
    paper, `symmetric` (half of it before the start, half behind the end) or `forward-backward`."""
    fill: Fill = field(default="black", metadata=LATER)
    """What follows where a mirrored beat is shorter than a clip: `black` frames (as the public code's loader), the beat
    again (`repeat`), or nothing, since every frame is taken instead of every other (`period-1`)."""
    statistics: Literal["model", "store"] = field(default="model", metadata=LATER)
    """Mean and deviation that the input is normalised by: the model's own, or those of the store that it is tested on,
    as the public code has it with CAMUS."""
    patients: Literal["all", "paper"] = field(default="all", metadata=LATER)
    """Of CAMUS, `paper` takes the 450 patients of the paper (those whose EF was published at the time)."""
    time: Literal["frames", "seconds"] = field(default="frames", metadata=LATER)
    """`frames` counts clips in stored frames, as the paper does; `seconds` brings every video to the usual rate of the
    model's training videos first."""

    def __post_init__(self) -> None:
        require(self.batch > 0 and self.stride > 0, "batch and stride must be above 0.")


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """Stage `prepare`: the frame store."""

    color: bool = False
    """Keep RGB frames; by default grey, which the networks get three times."""
    workers: int = field(default=2, metadata=OPERATIONAL)
    """Processes that decode; 0 does it in this one."""
    multi_trace: Literal["first", "union", "vote", "code"] = "first"
    """What to do with several contours of one frame; `code` joins them into one polygon as the public code does."""
    round_vertices: bool = True
    """Round contour corners to whole pixels, as EchoNet-Dynamic does."""
    ed_es_naming: Literal["area", "code"] = "area"
    """`area`: the larger mask is ED; `code`: the last listed frame is ED."""
    damaged: Literal["leave-out", "cut"] = "leave-out"
    """A damaged video is left out and reported, or kept up to the damage."""
    assign_splits: tuple[float, float, float] | None = None
    """Shares of train, val and test, such as 0.75 0.125 0.125, drawn by patient where no split is listed."""
    split_by: Literal["balance", "name"] | None = None
    """How missing splits are drawn: `balance` (default: exact counts, EF and tracings shared out evenly) or `name`
    (from each patient's name alone, so that added videos never move others)."""
    split_seed: int | None = None
    """Another number draws other splits; 0 where it is not given."""
    ef_unit: Literal["percent", "share"] | None = None
    """Unit of EF in the list: `percent`, or `share` (0.55 for 55 %). Without it a list of shares is refused."""
    camus_resize: Literal["squeeze", "pad-to-square"] = field(default="squeeze", metadata=LATER)
    """How pictures of CAMUS become square: squeezed as in the paper, or with black added, so that shapes stay true."""
    time: Literal["frames", "seconds"] = field(default="frames", metadata=LATER)
    """`frames` keeps every frame, whatever its rate, as the paper does; `seconds` brings every video to `rate`."""
    rate: float = field(default=50.0, metadata=LATER)
    """Frames a second of every video with `time` seconds; 50 is EchoNet-Dynamic's usual rate."""
    allow_mixed: bool = field(default=False, metadata=OPERATIONAL)
    """Take a folder in which some videos are 112x112 pixels already and others are a scanner's own pictures."""
    patients: Literal["clear", "hashed"] = field(default="clear", metadata=LATER)
    """`hashed` puts a salted hash in place of each patient's name or number; splits stay by patient."""
    salt_file: str = field(default="", metadata=LATER | OPERATIONAL)
    """File with the secret of `patients hashed`, outside the store; made if it is missing. Keep it apart."""
    license: str = field(default="unknown", metadata=OPERATIONAL)
    """License of the videos, a name or an address, for the store's croissant.json."""

    def __post_init__(self) -> None:
        require(
            (self.patients == "hashed") == bool(self.salt_file),
            "patients hashed and salt_file belong together: give both, or neither.",
        )
        require(0 < self.rate < 1000, f"rate is {self.rate}; it must be above 0 and under 1000 frames a second.")
        require(
            self.time == "seconds" or self.rate == 50.0,
            "rate is used with --time seconds only; add it, or leave rate away.",
        )
