"""Samples: how a clip, a pair of traced frames or a cycle is cut from a video; and the batches of one step.

Every draw is a pure function of (seed, step, stream, place in the batch), so a run that is killed and started
again sees what it would have seen, whatever the number of worker processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from echocycle.data.labels import Subset, TrainingData
from echocycle.errors import EchocycleError


class ClipBatch(NamedTuple):
    """Clips for regression, as stored: 8-bit, not normalised."""

    video: Tensor
    """uint8 (batch, time, height, width[, 3]); frames past the end of the video are 0."""
    mask: Tensor | None
    """uint8 (batch, time, height, width) probabilities, or None."""
    valid: Tensor
    """int64 (batch,): frames of each clip that exist; the rest become zeros after normalisation."""
    crop: Tensor
    """int64 (batch, 2): row and column of the crop in the padded clip; equal to the padding for no crop."""
    ef: Tensor | None
    """float32 (batch,) percent; None for clips without a label."""
    row: Tensor
    """int64 (batch,): row of the store's index."""
    warp: Tensor | None = None
    """float32 (batch, 4): turn (radians), log scale, row and column shift (share of the frame) of each clip, for
    augmentation; None without."""


WARP = np.array([0.26, 0.15, 0.08, 0.08], np.float32)
"""Largest turn (15 degrees), log scale (15 %), row and column shift (8 % of the frame) of an augmented sample."""


class TracedBatch(NamedTuple):
    """Traced frames for segmentation."""

    frames: Tensor
    """uint8 (2, batch, height, width[, 3]): the ED frames, then the ES frames."""
    masks: Tensor
    """uint8 (2, batch, height, width), 0 or 1."""
    warp: Tensor
    """float32 (2, batch, 4): turn (radians), log scale, row and column shift (share of the frame), for
    augmentation; zeros without."""
    row: Tensor
    """int64 (batch,): row of the store's index."""


class CycleBatch(NamedTuple):
    """Clips for the cyclical loss."""

    video: Tensor
    """uint8 (batch, time, height, width[, 3])."""
    start: Tensor
    """int64 (batch,): the phase p* (0-based) whose template is looked for."""
    row: Tensor
    """int64 (batch,): row of the store's index."""


class Sampler:
    """Cuts one sample from a video, and makes a batch of samples; the base of all samplers."""

    batch_axis: ClassVar[int] = 0
    """The axis of a batch along which its samples lie, in fields of more than one number a sample."""

    def usable(self, data: TrainingData, video: int) -> bool:
        """Whether the video can give a sample at all; by default every video can."""
        return True

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> Any:
        """One sample of a video: a batch's named tuple, of arrays and numbers without the batch axis."""
        raise NotImplementedError

    def stack(self, samples: Sequence[Any]) -> Any:
        """A batch of samples."""
        return collate(samples, self.batch_axis)


def collate(samples: Sequence[Any], axis: int = 0) -> Any:
    """A batch, field by field, of samples that are named tuples of one kind.

    Args:
        samples: at least one; a field holds arrays, tensors, numbers, tuples of numbers, or None in all of them.
        axis: where the batch axis of arrays goes.
    """
    return type(samples[0])(*(_joined(values, axis) for values in zip(*samples, strict=True)))


def _joined(values: tuple[Any, ...], axis: int) -> Tensor | None:
    missing = sum(value is None for value in values)
    if missing == len(values):
        return None
    if missing:
        raise ValueError(f"{missing} of {len(values)} samples lack a field that the others have.")
    if isinstance(values[0], Tensor):
        return torch.stack(values, axis)
    if isinstance(values[0], np.ndarray):
        return torch.from_numpy(np.stack(values, axis))
    return torch.from_numpy(np.array(values))


def clip_start(n_frames: int, frames: int, period: int, rng: np.random.Generator) -> int:
    """A start that is uniform over all that `clip_starts` gives."""
    return int(rng.integers(clip_starts(n_frames, frames, period)))


def clip_starts(n_frames: int, frames: int, period: int) -> int:
    """How many starts a video has; one shorter than frames x period counts as that long, as in EchoNet's loader."""
    return max(n_frames, frames * period) - (frames - 1) * period


def cut_clip(data: TrainingData, video: int, start: int, frames: int, period: int) -> tuple[np.ndarray, int]:
    """`frames` frames from `start` on, uint8 (time, height, width[, 3]), and how many of them exist.

    Frames past the end are 0.
    """
    whole = data.frames(video)
    cut = whole[start : start + (frames - 1) * period + 1 : period]
    if len(cut) == frames:
        return np.ascontiguousarray(cut), frames
    clip = np.zeros((frames, *whole.shape[1:]), np.uint8)
    clip[: len(cut)] = cut
    return clip, len(cut)


@dataclass(frozen=True)
class ClipSampler(Sampler):
    """Random clips for regression (the paper: 32 frames at period 2, pad and crop in training)."""

    frames: int = 32
    period: int = 2
    pad: int = 0
    """Pixels of padding at network size; the crop offset is uniform over 0 .. 2 pad - 1 (0 .. 23 in the paper)."""
    masks: bool = False
    labels: bool = True
    traced_frame: bool = False
    """The clip's grid must contain the traced ED or ES frame, drawn at random (the public code's rule)."""
    augment: bool = False
    """Draw a turn, scale and shift for each clip, frames and mask alike."""

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> ClipBatch:
        """One clip of a video, with the axes of a batch of one left out."""
        return self.cut(data, video, self.start(data, video, rng), rng)

    def start(self, data: TrainingData, video: int, rng: np.random.Generator) -> int:
        """The first frame of a clip."""
        n_frames = data.n_frames(video)
        if self.traced_frame:
            return self._start_on_traced(data, video, n_frames, rng)
        return clip_start(n_frames, self.frames, self.period, rng)

    def cut(self, data: TrainingData, video: int, start: int, rng: np.random.Generator, jitter: int = 0) -> ClipBatch:
        """The clip from `start` on; with `jitter` each of its frames is one up to that many frames away."""
        clip, valid = cut_clip(data, video, start, self.frames, self.period)
        numbers = start + self.period * np.arange(valid)
        if jitter:
            numbers = (numbers + rng.integers(-jitter, jitter + 1, valid)).clip(0, data.n_frames(video) - 1)
            clip = np.zeros_like(clip)
            clip[:valid] = data.frames(video)[numbers]
        mask = None
        if self.masks:
            found = data.masks(video, numbers)
            mask = np.zeros((self.frames, *found.shape[1:]), np.uint8)
            mask[:valid] = found
        crop = rng.integers(2 * self.pad, size=2) if self.pad else np.zeros(2, np.int64)
        ef = np.float32(data.ef(video)) if self.labels else None
        warp = rng.uniform(-1, 1, 4).astype(np.float32) * WARP if self.augment else None
        return ClipBatch(clip, mask, valid, crop, ef, video, warp)  # type: ignore[arg-type]

    def _start_on_traced(self, data: TrainingData, video: int, n_frames: int, rng: np.random.Generator) -> int:
        frame = data.traced_frames(video)[int(rng.integers(2))]
        starts = [
            s
            for s in range(clip_starts(n_frames, self.frames, self.period))
            if 0 <= frame - s <= (self.frames - 1) * self.period and (frame - s) % self.period == 0
        ]
        return int(rng.choice(starts)) if starts else clip_start(n_frames, self.frames, self.period, rng)


@dataclass(frozen=True)
class ViewSampler(Sampler):
    """Several views of each clip: the same start, then for each view its own frame jitter or crop.

    A batch of n clips holds all first views, then all second views and so on: `chunk(len(jitter))` parts them.
    """

    clip: ClipSampler
    jitter: tuple[int, ...]
    """For each view how many video frames a frame may lie away from its place."""
    own_crops: bool = False
    """Each view has a crop and an augmentation of its own."""

    def usable(self, data: TrainingData, video: int) -> bool:
        """Every video can give a clip."""
        return self.clip.usable(data, video)

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> tuple[ClipBatch, ...]:
        """The views of one clip of a video."""
        start = self.clip.start(data, video, rng)
        views = [self.clip.cut(data, video, start, rng, jitter) for jitter in self.jitter]
        if not self.own_crops:
            views = [view._replace(crop=views[0].crop, warp=views[0].warp) for view in views]
        return tuple(views)

    def stack(self, samples: Sequence[tuple[ClipBatch, ...]]) -> ClipBatch:
        """A batch of views."""
        views: ClipBatch = self.clip.stack([view for views in zip(*samples, strict=True) for view in views])
        return views


@dataclass(frozen=True)
class TracedFrameSampler(Sampler):
    """The traced ED and ES frames of a labelled video, with their masks."""

    batch_axis = 1  # behind ED and ES
    augment: bool = False
    """Draw a turn, scale and shift for each frame."""

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> TracedBatch:
        """Both traced frames of a video."""
        whole, pair = data.frames(video), data.traced_frames(video)
        frames = np.stack([whole[frame] for frame in pair])
        warp = np.zeros((2, 4), np.float32)
        if self.augment:
            warp = rng.uniform(-1, 1, (2, 4)).astype(np.float32) * WARP
        return TracedBatch(frames, data.traced_masks(video).astype(np.uint8), warp, video)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CycleSampler(Sampler):
    """Clips for the cyclical loss: 40 frames at period 3 from videos longer than 120 frames (the code's rule)."""

    frames: int = 40
    period: int = 3
    starts: int = 11
    """Number of phases p* can take: 0 .. starts - 1."""
    longer_than: int = 120
    """Only videos with more decoded frames give clips."""

    def usable(self, data: TrainingData, video: int) -> bool:
        """Whether the video is long enough."""
        n_frames = data.n_frames(video)
        return n_frames > self.longer_than and n_frames >= (self.frames - 1) * self.period + 1

    def draw(self, data: TrainingData, video: int, rng: np.random.Generator) -> CycleBatch:
        """One clip and its phase."""
        start = clip_start(data.n_frames(video), self.frames, self.period, rng)
        clip, _ = cut_clip(data, video, start, self.frames, self.period)
        return CycleBatch(clip, int(rng.integers(self.starts)), video)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stream:
    """One source of batches in a step: from which videos, cut how, how many."""

    sampler: Sampler
    subset: Subset
    batch: int


# The purposes that random draws are keyed by, so that no two share a generator.
_ORDER, _SAMPLE = 1, 2


class StepData(Dataset[dict[str, Any]]):
    """The batches of step k of a run, by stream; item k is a pure function of k.

    The first stream sets the length of an epoch: its videos once, the last incomplete batch dropped. Every stream
    is shuffled anew in each epoch, and starts again if the epoch outlasts it.
    """

    def __init__(self, data: TrainingData, streams: dict[str, Stream], *, seed: int, rank: int = 0, world: int = 1):
        self.data, self.streams = data, streams
        self.seed, self.rank, self.world = seed, rank, world
        self.videos: dict[str, np.ndarray] = {}
        for name, stream in streams.items():
            videos = data.videos(stream.subset)
            usable = np.array([v for v in videos if stream.sampler.usable(data, int(v))], dtype=np.int64)
            if not usable.size:
                raise EchocycleError(
                    f"Stream {name!r} finds no usable video among {len(videos)} in subset {stream.subset!r}: "
                    f"{stream.sampler}. Take more videos into the budget, or shorter clips."
                )
            self.videos[name] = usable
        first = next(iter(streams))
        self.steps_per_epoch = max(1, len(self.videos[first]) // (streams[first].batch * world))

    def __getitem__(self, step: int) -> dict[str, Any]:
        return {name: self._batch(step, number, name) for number, name in enumerate(self.streams)}

    def _batch(self, step: int, number: int, name: str) -> Any:
        stream, videos = self.streams[name], self.videos[name]
        epoch, place = divmod(step, self.steps_per_epoch)
        first = (place * self.world + self.rank) * stream.batch
        samples = []
        for slot in range(first, first + stream.batch):
            round_, position = divmod(slot, len(videos))
            order = np.random.default_rng([self.seed, _ORDER, number, epoch, round_]).permutation(len(videos))
            rng = np.random.default_rng([self.seed, _SAMPLE, number, epoch, slot])
            samples.append(stream.sampler.draw(self.data, int(videos[order[position]]), rng))
        return stream.sampler.stack(samples)


def passes(data: TrainingData, stream: Stream, *, seed: int, split: Literal["validation"] = "validation") -> Any:
    """Batches that pass once over the videos of a split, the same in every pass with the same seed."""
    videos = [int(v) for v in data.videos(split) if stream.sampler.usable(data, int(v))]
    for first in range(0, len(videos), stream.batch):
        part = videos[first : first + stream.batch]
        rngs = [np.random.default_rng([seed, _SAMPLE, video]) for video in part]
        yield stream.sampler.stack([stream.sampler.draw(data, v, g) for v, g in zip(part, rngs, strict=True)])
