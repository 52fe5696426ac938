"""CLAS: segmentation and motion learnt together from clips with both traced frames (Tables V and VI).

Wei et al., MICCAI 2020, in the form of Chen et al. (SPIE 2022), which the paper compares with. A network gives for
every frame of a clip the ventricle and the motion to the next frame and to the one before. Motion must carry images
(appearance), and each traced mask to the other (overlap); and on the way the mask carried must be the one segmented
(propagation). Labelled videos only. Motion is needed in training alone, so the trained model is without it.

`network r2plus1d_18` is Chen et al.'s own: clips of 32 frames in, min-max scaled, and a mask for each. With
`deeplabv3_resnet50` or `unet` frames are segmented alone.

Where we depart from the paper: it says only that it follows Chen et al. Masks reach the teacher as the probability of
the ventricle. Ours are the frame-wise networks, whose motion is told from the features of three successive frames.
Systoles longer than `longest_systole` are left out, as with them; allowed, and longer than the clip, they are resampled
to its length.

Where we depart from Chen et al.'s public code: their warps begin from a grid over -1 to 1 with corners not aligned,
which is no identity: without any motion each warp shrinks the picture a little, and after 16 of them three quarters of
an area of 112 pixels are left. Ours begin from the identity (`grid code` gives theirs). They scale each channel to 0 to
1 over the whole video; ours over the clip. Their clips start no earlier than 30 frames before ES, ours 31 (ES is then
the last of 32 frames). In use they stretch a video to the nearest multiple of 32 frames with halves rounded to even (80
frames become 64) and with corners not aligned; ours rounds halves up (96) and keeps first and last frames in their
places. The bias of our motion head starts at 0. The four losses and the two Adams are theirs.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from echocycle.data.clips import WARP, Sampler, Stream
from echocycle.data.labels import TrainingData
from echocycle.models.augment import changed_in_looks, moved_alike
from echocycle.models.preprocess import warp
from echocycle.models.segmenter import FrameSegmenter
from echocycle.models.specs import SegmenterSpec
from echocycle.models.video_segmenter import ClipSegmenter, load_trunk, unit_range
from echocycle.segmentation.clas_motion import Grid, MotionHead, carried, shifted, unevenness
from echocycle.segmentation.supervised import SupervisedSegmentation, dice
from echocycle.settings.convert import LATER, require
from echocycle.settings.stages import OptimiserSettings, SegmentSettings
from echocycle.training.method import Inputs, StepResult, Validation

SMOOTHNESS = 0.005
"""Weight of the motion's unevenness."""


@dataclass(frozen=True)
class CLASOptions:
    """Settings of the clips."""

    frames: int = 32
    """Frames in a clip, one after the other."""
    longest_systole: int = 30
    """Only videos whose ED precedes their ES by at most so many frames give clips."""
    grid: Grid = field(default="identity", metadata=LATER)
    """Where warps begin: the true `identity`, or the grid of Chen et al.'s `code`, which shrinks the picture."""

    def __post_init__(self) -> None:
        require(self.frames > 2, f"option.frames is {self.frames}; it must be at least 3.")
        require(self.longest_systole > 0, f"option.longest_systole is {self.longest_systole}; it must be above 0.")


# -------------------------------------------------------------------------------------------------- clips


class TracedClipBatch(NamedTuple):
    """Clips that contain both traced frames."""

    video: Tensor
    """uint8 (batch, time, height, width[, 3])."""
    masks: Tensor
    """uint8 (batch, 2, height, width): ED and ES, 0 or 1."""
    places: Tensor
    """int64 (batch, 2): where in the clip they stand."""
    warp: Tensor
    """float32 (batch, 4), as in `TracedBatch`; zeros without augmentation."""
    row: Tensor
    """int64 (batch,): row of the store's index."""


@dataclass(frozen=True)
class TracedClipSampler(Sampler):
    """A clip of successive frames around the traced systole; the start is uniform over those that cover it."""

    frames: int = 32
    longest_systole: int = 30
    augment: bool = False
    """Draw a turn, scale and shift for each clip."""

    def usable(self, data: TrainingData, video: int) -> bool:
        """Whether ED comes before ES, and not too long before."""
        ed, es = data.traced_frames(video)
        return 0 < es - ed <= self.longest_systole

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> TracedClipBatch:
        """One clip. A systole that is longer, or a video that is shorter than it, is resampled to its length."""
        (ed, es), n_frames = data.traced_frames(video), data.n_frames(video)
        first, last = max(0, es - self.frames + 1), min(ed, n_frames - self.frames)
        if first <= last:
            start = int(rng.integers(first, last + 1))
            numbers = start + np.arange(self.frames)
            clip, places = np.array(data.frames(video)[numbers]), (ed - start, es - start)
        else:
            start, end = (ed, es) if es - ed >= self.frames else (0, n_frames - 1)
            clip = in_time(data.frames(video)[start : end + 1], self.frames)
            scale = (self.frames - 1) / (end - start)
            places = round((ed - start) * scale), round((es - start) * scale)
        moved = np.zeros(4, np.float32)
        if self.augment:
            moved = rng.uniform(-1, 1, 4).astype(np.float32) * WARP
        return TracedClipBatch(clip, data.traced_masks(video).astype(np.uint8), places, moved, video)  # type: ignore[arg-type]


def in_time(frames: np.ndarray, count: int) -> np.ndarray:
    """Frames uint8 (time, ...) resampled to `count` of them, linear in time; first and last stay."""
    places = np.linspace(0, len(frames) - 1, count)
    below = places.astype(int)
    above = np.minimum(below + 1, len(frames) - 1)
    weight = (places - below).reshape(-1, *[1] * (frames.ndim - 1))
    mixed = frames[below] * (1 - weight) + frames[above] * weight
    return mixed.round().astype(np.uint8)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------------- losses


class CLASLosses(NamedTuple):
    """The four losses; their sum is minimised."""

    appearance: Tensor
    """OTA: motion carries each frame to the next and to the one before, and is smooth."""
    segmentation: Tensor
    """SGA: the traced frames are segmented as traced."""
    propagation: Tensor
    """SGS: every other frame is segmented as the masks carried to it say."""
    overlap: Tensor
    """OTS: each traced mask, carried to the other, covers it."""


def clas_losses(
    images: Float[Tensor, "batch channel time height width"],
    logits: Float[Tensor, "batch 2 time height width"],
    forward: Float[Tensor, "batch 2 time height width"],
    backward: Float[Tensor, "batch 2 time height width"],
    masks: Float[Tensor, "batch 2 height width"],
    places: Int[Tensor, "batch 2"],
    grid: Grid = "identity",
) -> CLASLosses:
    """All losses of a batch of clips.

    Args:
        images: over 0 to 1.
        logits: of background and ventricle.
        forward: where each pixel of frame t + 1 comes from in frame t, stored at t; (x, y) shifts, the frame being -1
            to 1. What stands at the last frame is not used.
        backward: where each pixel of frame t - 1 comes from in frame t, stored at t; the first is not used.
        masks: of ED and ES, 0 to 1.
        places: where in the clip they stand, ED first.
        grid: where warps begin, as in `CLASOptions`.
    """
    batch, _, time = images.shape[:3]
    row = torch.arange(batch, device=images.device)
    labels = torch.stack([1 - masks, masks], 2)  # (batch, ED and ES, maps, height, width)
    traced = logits.transpose(1, 2)[row[:, None], places]  # (batch, ED and ES, maps, height, width)

    whole = torch.stack([carried(labels[:, i], places[:, i], forward, backward, grid) for i in range(2)], 1)
    errors = cross_entropy(logits[:, None], whole).mean((2, 4, 5))  # (batch, ED and ES, time)
    moment = torch.arange(time, device=images.device)
    visited = (moment != places[:, :1]) & (moment != places[:, 1:])
    propagation = (errors * visited[:, None]).sum((1, 2)) / (2 * (time - 2))

    arrived = whole.transpose(2, 3)[row[:, None], torch.arange(2, device=places.device), places.flip(1)]
    return CLASLosses(
        appearance_loss(images, forward, backward, grid),
        cross_entropy(traced, labels).mean(),
        propagation.mean(),
        dice_loss(arrived, labels.flip(1)).mean(),
    )


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each value; the gradient reaches the labels too."""
    return F.softplus(logits) - logits * labels


def dice_loss(
    found: Float[Tensor, "*batch maps height width"], true: Float[Tensor, "*batch maps height width"]
) -> Tensor:
    """1 - soft Dice of all maps together, with 1 added above and below; (*batch)."""
    found, true = found.flatten(-3), true.flatten(-3)
    return 1 - (2 * (found * true).sum(-1) + 1) / (found.sum(-1) + true.sum(-1) + 1)


def appearance_loss(
    images: Float[Tensor, "batch channel time height width"],
    forward: Float[Tensor, "batch 2 time height width"],
    backward: Float[Tensor, "batch 2 time height width"],
    grid: Grid = "identity",
) -> Tensor:
    """How badly motion carries each frame to the next and back, and how uneven it is; the mean over steps."""
    steps = images.shape[2] - 1
    loss = torch.zeros((), device=images.device)
    for motion, source, target in (
        (forward[:, :, :-1], images[:, :, :-1], images[:, :, 1:]),
        (backward[:, :, 1:], images[:, :, 1:], images[:, :, :-1]),
    ):
        moved = shifted(source.transpose(1, 2).flatten(0, 1), motion.transpose(1, 2).flatten(0, 1), grid)
        error = F.mse_loss(moved, target.transpose(1, 2).flatten(0, 1))
        loss = loss + steps * error + SMOOTHNESS * unevenness(motion).sum()
    return loss / (2 * steps)


# ------------------------------------------------------------------------------------------------- method


class CLAS(SupervisedSegmentation):
    """Trains a segmenter together with motion on clips of labelled videos."""

    name = "clas"
    Options: ClassVar[type] = CLASOptions

    def __init__(self, settings: SegmentSettings, options: CLASOptions, inputs: Inputs):
        super().__init__(settings, options, inputs)
        self.options: CLASOptions = options
        self.segmenter: ClipSegmenter | FrameSegmenter
        self.of_clips = isinstance(self.segmenter, ClipSegmenter)
        self.motion = MotionHead(self.segmenter.dim, around=not self.of_clips)

    def segmenter_spec(self, inputs: Inputs) -> SegmenterSpec:
        if self.settings.network != "r2plus1d_18":
            return super().segmenter_spec(inputs)
        s = self.settings
        spec = SegmenterSpec(s.network, s.width, s.size, inputs.mean, inputs.std, inputs.color, s.standardise)
        return replace(spec, option={"frames": str(self.options.frames)})

    def prepare_start(self, data: TrainingData) -> None:
        weights = self.settings.weights
        if not isinstance(self.segmenter, ClipSegmenter):
            super().prepare_start(data)
        elif weights != "none":
            require(weights != "imagenet", "weights `imagenet` does not fit r2plus1d_18; use kinetics, none or a file.")
            load_trunk(self.segmenter, weights)

    def sampler(self, *, augment: bool = False) -> TracedClipSampler:
        """Clips of this run's length."""
        return TracedClipSampler(self.options.frames, self.options.longest_systole, augment)

    def step_examples(self) -> tuple[nn.Module, list[tuple[Tensor, int]]]:
        frames, size, batch = self.options.frames, self.spec.size, self.settings.batch
        if self.of_clips:
            return self.segmenter, [(torch.empty(2, 3, frames, size, size), batch)]
        return self.segmenter, [(torch.empty(2, 3, size, size), batch * frames)]

    def streams(self) -> dict[str, Stream]:
        sampler = self.sampler(augment=self.settings.augment == "spatial")
        return {"labelled": Stream(sampler, "labelled", self.settings.batch)}

    def optimiser(self, settings: OptimiserSettings) -> torch.optim.Optimizer:
        if (settings.name, settings.schedule) != ("adamw", "one-step"):
            return super().optimiser(settings)
        parameters = [p for p in self.parameters() if p.requires_grad]
        return FreshAdamW(parameters, settings.lr, weight_decay=settings.weight_decay)

    def forward(self, batches: dict[str, Any], step: int) -> StepResult:
        clips, masks = self.clips(batches["labelled"])
        losses, _ = self.losses(clips, masks, batches["labelled"].places)
        return StepResult(losses._asdict(), {})

    def clips(self, batch: TracedClipBatch) -> tuple[Tensor, Tensor]:
        """Clips (batch, 3, time, size, size) and masks (batch, 2, size, size), augmented as the settings say."""
        masks = self._targets(batch)  # type: ignore[arg-type]
        count, time = batch.video.shape[:2]
        levels = self.preprocess.levels(batch.video.flatten(0, 1), self.spec.color)
        if self.training and self.settings.augment == "strong":
            joined = moved_alike(torch.cat([levels.unflatten(0, (count, time)).flatten(1, 2), masks], 1))
            levels, masks = changed_in_looks(joined[:, :-2]).unflatten(1, (time, -1)).flatten(0, 1), joined[:, -2:]
        clips = self.preprocess.normalised(levels).unflatten(0, (count, time)).transpose(1, 2)
        if self.training and self.settings.augment == "spatial":
            clips = warp(clips.flatten(1, 2), batch.warp, "border").view(clips.shape)
            masks = warp(masks, batch.warp, "zeros")
        return clips, masks

    def losses(self, clips: Tensor, masks: Tensor, places: Tensor) -> tuple[CLASLosses, Tensor]:
        """The losses of clips, and the logits of background and ventricle."""
        images = unit_range(clips)
        if self.of_clips:
            logits, features = self.segmenter(images)
        else:
            found = self.segmenter(clips.transpose(1, 2).flatten(0, 1))
            one, features = (each.unflatten(0, (len(clips), -1)) for each in found)
            logits, features = torch.stack([-one, one], 1), features.transpose(1, 2)
        motion = self.motion(features, self.spec.size).float()
        logits = logits.float()
        return clas_losses(images, logits, motion[:, :2], motion[:, 2:], masks, places, self.options.grid), logits

    def validation(self) -> Validation:
        return Validation(Stream(self.sampler(), "validation", self.settings.batch), "loss")

    def score(self, batch: TracedClipBatch) -> dict[str, tuple[float, int]]:  # type: ignore[override]
        clips, masks = self.clips(batch)
        losses, logits = self.losses(clips, masks, batch.places)
        count = len(clips)
        row = torch.arange(count, device=logits.device)[:, None]
        background, ventricle = logits.transpose(1, 2)[row, batch.places].unbind(2)
        scores = {name: (value.item() * count, count) for name, value in losses._asdict().items()}
        total = sum(value for value, _ in scores.values())
        return {"loss": (total, count), **scores, "dice": (dice(ventricle > background, masks > 0.5) * count, count)}


class FreshAdamW(torch.optim.AdamW):
    """AdamW that forgets its moments when the learning rate falls, as a new one would begin."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, *, weight_decay: float):
        super().__init__(parameters, lr, weight_decay=weight_decay)
        for group in self.param_groups:
            group["last_lr"] = lr

    def step(self, closure: Any = None) -> Any:
        """One step."""
        for group in self.param_groups:
            if group["lr"] < group["last_lr"]:
                for parameter in group["params"]:
                    self.state.pop(parameter, None)
            group["last_lr"] = group["lr"]
        return super().step(closure)
