"""What a training will take: seconds of a step, measured on this machine, and its memory. Needs no data.

A step is as long as its passes: each network is timed once on some clips or frames of its size, forwards and backwards,
and a method's step is that time for each of the clips or frames that go through it. Loading data and the optimiser come
on top, so the truth is a little more.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from echocycle.device import choose_device, choose_precision
from echocycle.methods import options_of
from echocycle.settings.stages import RegressSettings, SegmentSettings, count_of
from echocycle.training.memory import step_bytes
from echocycle.training.method import Inputs, Method

LONG_ENOUGH = 0.5
"""Seconds of a measurement that say enough."""
FORWARD = 1 / 3
"""Share of a pass in training that is its forward half: the backward half computes two gradients of the same size."""


@dataclass(frozen=True)
class StepCost:
    """What one training step takes."""

    seconds: float
    bytes: int
    weights: int
    """Bytes of the trained network's weights."""
    item: float
    """Seconds of one frame or clip through the network in use, without gradients."""


class Timer:
    """Times networks; each kind and size once."""

    def __init__(self, device: str = "auto") -> None:
        self.device = choose_device(device)
        self._seconds: dict[Any, float] = {}

    def step(self, settings: SegmentSettings | RegressSettings) -> StepCost:
        """What a step with these settings takes."""
        network, examples = built(settings).step_examples()
        precision = choose_precision(settings.loop.precision, self.device)
        each = [(self._item(network, example, count, precision), count) for example, count in examples]
        return StepCost(
            seconds=sum(seconds * count for seconds, count in each),
            bytes=step_bytes(network, examples),
            weights=sum(p.numel() * p.element_size() for p in network.parameters()),
            item=each[0][0] * FORWARD,
        )

    def _item(self, network: nn.Module, example: Tensor, count: int, precision: str) -> float:
        """Seconds of one item of a pass in training."""
        size = sum(p.numel() for p in network.parameters())
        key = type(network).__name__, size, tuple(example.shape[1:]), precision
        if key not in self._seconds:
            self._seconds[key] = self._timed(network, example.shape[1:], count, precision)
        return self._seconds[key]

    def _timed(self, network: nn.Module, shape: torch.Size, count: int, precision: str) -> float:
        """The same, measured: with more items at once, up to those of a step, as long as that takes no second."""
        network = network.to_empty(device=self.device).train()
        for value in (*network.parameters(), *network.buffers()):
            if value.is_floating_point():  # numbers of the usual size: a processor is slow with very small ones
                torch.nn.init.normal_(value.data, 1.0 if value.ndim == 1 else 0.0, 0.05)
        number, seconds = 2, 0.0
        while True:
            items = torch.rand((number, *shape), device=self.device)
            if not seconds:
                self._pass(network, items, precision)  # sets things up
            start = time.perf_counter()
            self._pass(network, items, precision)
            seconds = time.perf_counter() - start
            if seconds > LONG_ENOUGH or number >= count:
                break
            number = min(4 * number, count)
        network.to("meta")
        return seconds / number

    def _pass(self, network: nn.Module, items: Tensor, precision: str) -> None:
        """Forwards and backwards, once."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
            found: Any = network(items)
        answers = [found] if isinstance(found, Tensor) else [each for each in found if isinstance(each, Tensor)]
        torch.stack([answer.float().square().mean() for answer in answers]).sum().backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def built(settings: SegmentSettings | RegressSettings) -> Method:
    """The method on tensors without content; a student's teachers are the paper's f_m."""
    from echocycle import regression, segmentation

    methods: Any = segmentation.METHODS if isinstance(settings, SegmentSettings) else regression.METHODS
    kind = methods[settings.method]
    inputs = Inputs((0.0,), (1.0,), color=False)
    with torch.device("meta"):
        if kind.needs_teacher:
            assert isinstance(settings, RegressSettings)
            teacher = built(replace(settings, method="teacher", option={}))
            inputs = replace(
                inputs, teachers=(teacher.parts()["regressor"],) * (2 if settings.method == "committee" else 1)
            )
        made: Method = kind(settings, options_of(settings), inputs)
    return made


def steps_of(settings: SegmentSettings | RegressSettings, training_videos: int) -> int:
    """Steps of a training, with so many training videos that could be labelled."""
    if settings.loop.steps is not None:
        return settings.loop.steps
    pool = min(count_of(settings.labels.pool, training_videos, "labels.pool"), training_videos)
    labelled = min(count_of(settings.labels.labelled, pool, "labels.labelled"), training_videos)
    return settings.loop.epochs * max(1, labelled // settings.batch)
