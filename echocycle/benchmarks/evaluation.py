"""EF of clips of whole videos."""

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
from echocycle.evaluation.protocols import starts_of
from echocycle.inference.clips import predict_clips
from echocycle.models.specs import Part
from echocycle.settings.stages import EvaluateSettings


def measure_evaluation(ground: Ground, part: Part, plain: nn.Module) -> Operation:
    """EF of the clips of the validation videos, from every start or from the first few."""
    plan, device, spec, store = ground.plan, ground.device, part.spec, ground.store
    settings = EvaluateSettings()
    starts = {
        int(video): starts_of("all-clips", store.n_frames(video), spec, settings, "")[: plan.starts]
        for video in store.videos("val")
    }
    count = sum(map(len, starts.values()))
    found: dict[str, np.ndarray] = {}

    def theirs(number: int) -> None:
        shape = {"frames": spec.frames, "batch": settings.batch, "size": plan.size}
        videos = [
            reference.evaluate_video(plain, ground.path(video), first, spec.mean, spec.std, device, **shape)
            for video, first in starts.items()
        ]
        found[REFERENCE] = np.concatenate(videos)

    def ours(name: str, precision: str) -> Callable[[int], None]:
        def evaluate(number: int) -> None:
            videos = [
                predict_clips(part, store.frames(video), None, first, settings.batch, device, precision)
                for video, first in starts.items()
            ]
            found[name] = np.concatenate(videos)

        return evaluate

    meter = Meter(device, precisions(device, {OURS: "32", OURS_BF16: "bf16"}))
    sides = {**references(device, theirs), OURS: ours(OURS, "32"), OURS_BF16: ours(OURS_BF16, "bf16")}
    meter.take_turns(sides, plan.repeats)
    checks = {"ef_deviation": float(found[REFERENCE].std())}
    for name in (OURS, OURS_BF16):
        difference = np.abs(found[name] - found[REFERENCE])
        checks[f"ef_largest_difference, {name}"] = float(difference.max())
        checks[f"ef_mean_difference, {name}"] = float(difference.mean())
    flops = count * count_flops(plain, torch.empty(1, 3, plan.frames, plan.size, plan.size))
    return Operation("evaluation", "all-clips evaluation", "clips", count, meter.sides, flops, checks)
