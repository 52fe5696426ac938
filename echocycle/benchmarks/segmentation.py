"""The step of CSS, and then masks."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from echocycle.benchmarks import reference
from echocycle.benchmarks.ground import Ground
from echocycle.benchmarks.masks import measure_masks
from echocycle.benchmarks.measure import OURS, Meter, Operation, count_flops, precisions, references
from echocycle.benchmarks.steps import train_beside
from echocycle.benchmarks.trained import trained_segmenter
from echocycle.data.clips import CycleBatch, StepData, TracedBatch
from echocycle.models.preprocess import Preprocess, resize
from echocycle.segmentation.css import CSS
from echocycle.settings.stages import SegmentSettings


def measure_segmentation(ground: Ground) -> Iterator[Operation]:
    """A step of CSS; then masks, by a segmenter that is trained for a moment."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("1/2")
    settings = SegmentSettings(method="css", weights="none", size=plan.size, batch=plan.pairs)
    torch.manual_seed(0)
    method = CSS(settings, plan.css, inputs)
    steps = StepData(data, method.streams(), seed=0)
    preprocess = Preprocess(inputs.mean, inputs.std, plan.size)
    plain = reference.segmenter().to(device)
    optim = reference.optimiser(plain, settings.optimiser.lr)

    def rivals(step: int) -> dict[str, Callable[[int], Any]]:
        if step == 0:
            plain.load_state_dict(method.segmenter.state_dict())
        traced: TracedBatch = steps[step]["labelled"]
        cycle: CycleBatch = steps[step]["cycles"]
        frames = preprocess.frames(traced.frames.flatten(0, 1)).contiguous().unflatten(0, (2, -1))
        loaded = frames, resize(traced.masks.float(), plan.size), preprocess.frames(cycle.video[0]).contiguous()
        start = int(cycle.start[0])

        def take(_: int) -> float:
            frames, masks, clip = (tensor.to(device) for tensor in loaded)
            return reference.css_step(plain, optim, frames, masks, clip, start, plan.css)

        return references(device, take)

    meter = Meter(device, precisions(device, {OURS: ground.precision}))
    loop = ground.loop(plan.repeats + 1)
    checks = train_beside(method, data, ground.folder / "css", loop, settings.optimiser, meter, rivals)
    frames = torch.empty(2 * plan.pairs, 3, plan.size, plan.size)
    clip = torch.empty(plan.css.frames, 3, plan.size, plan.size)
    flops = count_flops(plain, frames, backward=True) + count_flops(plain.backbone, clip, backward=True)  # type: ignore[arg-type]
    yield Operation("css", "CSS step", "steps", 1, meter.sides, flops, checks)
    yield measure_masks(ground, *trained_segmenter(ground, data, inputs))
