"""Clips: from the recording to the device."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from echocycle.benchmarks import reference
from echocycle.benchmarks.ground import PAD, Ground
from echocycle.benchmarks.measure import OURS, REFERENCE, Meter, Operation
from echocycle.data.clips import ClipBatch, ClipSampler, StepData, Stream, cut_clip
from echocycle.data.labels import TrainingData
from echocycle.data.store import SIZE
from echocycle.models.preprocess import Preprocess


def measure_input(ground: Ground) -> Iterator[Operation]:
    """Clips: from the recording to a normalised batch on the device; and the bare cut against decoding."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("all")
    sampler = ClipSampler(plan.frames, pad=PAD)
    steps = StepData(data, {"labelled": Stream(sampler, "labelled", plan.load_batch)}, seed=0)
    preprocess = Preprocess(inputs.mean, inputs.std, SIZE).to(device)
    batches: list[ClipBatch] = [steps[number]["labelled"] for number in range(plan.repeats + 1)]
    starts = [starts_in(batch, data, sampler.period) for batch in batches]

    def plain(number: int) -> Tensor:
        batch = batches[number]
        clips = [
            reference.load_clip(
                ground.path(video), start, inputs.mean, inputs.std, frames=plan.frames, pad=PAD, crop=crop
            )
            for video, start, crop in zip(batch.row.tolist(), starts[number], batch.crop.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(clips)).to(device)

    def ours(number: int) -> Tensor:
        batch: ClipBatch = steps[number]["labelled"]
        moved = batch._replace(video=batch.video.to(device), valid=batch.valid.to(device))
        return preprocess.clips(moved, masks=False, pad=PAD)

    meter = Meter(device, {REFERENCE: "32", OURS: "32"})
    meter.take_turns({REFERENCE: plain, OURS: ours}, plan.repeats)
    made = ours(0)
    shared = made.stride(1) == 0  # grey frames, three times the same memory
    checks = {"largest_difference": (plain(0) - made).abs().max().item(), "shared_channels": float(shared)}
    yield Operation("clips", "clip loading", "clips", plan.load_batch, meter.sides, checks=checks)

    def decode(number: int) -> None:
        for video in batches[number].row.tolist():
            reference.read_video(ground.path(video))

    meter = Meter(device, {REFERENCE: "32", OURS: "32"})
    meter.take_turns({REFERENCE: decode, OURS: lambda number: steps[number]}, plan.repeats)
    yield Operation("cut", "bare cut against decoding", "clips", plan.load_batch, meter.sides)


def starts_in(batch: ClipBatch, data: TrainingData, period: int) -> list[int]:
    """The first frame of each clip of a batch, found in its video."""
    starts = []
    for video, clip in zip(batch.row.tolist(), batch.video.numpy(), strict=True):
        candidates = np.flatnonzero((data.frames(video) == clip[0]).all((1, 2))).tolist()
        same = (s for s in candidates if np.array_equal(cut_clip(data, video, s, len(clip), period)[0], clip))
        starts.append(next(same))
    return starts
