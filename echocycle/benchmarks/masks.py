"""Masks of a video: from its recording or the store to files."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from echocycle.benchmarks import reference
from echocycle.benchmarks.ground import Ground
from echocycle.benchmarks.measure import (
    OURS,
    OURS_BF16,
    REFERENCE,
    Meter,
    Operation,
    count_flops,
    precisions,
    references,
)
from echocycle.data.mask_set import MaskSet, MaskWriter
from echocycle.inference.clips import THRESHOLD
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part


def measure_masks(ground: Ground, part: Part, plain: nn.Module) -> Operation:
    """Masks of a video's frames, from its recording or the store to files."""
    plan, device = ground.plan, ground.device
    mean, std = part.spec.mean, part.spec.std
    video = int(ground.store.videos("val")[0])
    frames = ground.store.frames(video)[: plan.mask_frames]
    logits = ground.folder / "logits.npy"

    def theirs(number: int) -> None:
        reference.write_logits(
            plain,
            ground.path(video),
            logits,
            mean,
            std,
            device,
            batch=plan.mask_batch,
            size=plan.size,
            frames=plan.mask_frames,
        )

    def ours(precision: str) -> Callable[[int], MaskSet]:
        def write(number: int) -> MaskSet:
            folder = ground.folder / f"masks-{precision}-{number}"
            writer = MaskWriter(folder, len(ground.store), {"size": plan.size})
            blocks = probabilities(part, frames, plan.mask_batch, device, precision)
            writer.add(video, np.concatenate(list(blocks)))
            return writer.finish()

        return write

    meter = Meter(device, precisions(device, {OURS: "32", OURS_BF16: "bf16"}))
    sides = {**references(device, theirs), OURS: ours("32"), OURS_BF16: ours("bf16")}
    meter.take_turns(sides, plan.repeats)
    true = np.load(logits) > 0
    checks = {"masked_share": float(true.mean()), f"bytes, {REFERENCE}": logits.stat().st_size}
    for name, precision in ((OURS, "32"), (OURS_BF16, "bf16")):
        made = MaskSet(ground.folder / f"masks-{precision}-0")
        found = made.probabilities(video, np.arange(len(frames))) > THRESHOLD
        checks[f"pixels_changed, {name}"] = float((found != true).mean())
        checks[f"bytes, {name}"] = sum(file.stat().st_size for file in made.folder.iterdir())
    flops = len(frames) * count_flops(plain, torch.empty(1, 3, plan.size, plan.size))
    return Operation("masks", "mask inference", "frames", len(frames), meter.sides, flops, checks)
