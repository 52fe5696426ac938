"""What a training will take: every method can be measured without data, and the memory is that of the check."""

import math
from dataclasses import replace

import pytest
import torch

from echocycle import regression, segmentation
from echocycle.forecast.cost import Timer, built, steps_of
from echocycle.settings.presets import preset
from echocycle.settings.stages import LabelSettings, LoopSettings
from echocycle.training.memory import check_fits

DEBUG = preset("debug")


@pytest.fixture(scope="module")
def timer() -> Timer:
    return Timer("cpu")


@pytest.mark.parametrize("name", segmentation.METHODS)
def test_every_segmentation_method(timer: Timer, name: str) -> None:
    cost = timer.step(DEBUG.segmentation(name))
    assert 0 < cost.item < cost.seconds < math.inf
    assert 0 < cost.weights < cost.bytes


@pytest.mark.parametrize("name", regression.METHODS)
def test_every_regression_method(timer: Timer, name: str) -> None:
    settings = DEBUG.regression(name)
    cost = timer.step(settings)
    assert 0 < cost.item < cost.seconds < math.inf
    network, examples = built(settings).step_examples()
    assert cost.bytes == check_fits(network, examples, torch.device("cpu"), setting="batch", batch=settings.batch)


def test_twice_the_batch_takes_twice_as_long(timer: Timer) -> None:
    """A network is timed once, so that the ratio is exact."""
    one, two = (timer.step(replace(DEBUG.regression("supervised"), batch=batch)).seconds for batch in (2, 4))
    assert two == pytest.approx(2 * one)


@pytest.mark.parametrize(
    ("labelled", "pool", "expected"), [("all", "all", 50), ("1/2", "all", 20), ("1/2", "20", 10), ("3", "all", 10)]
)
def test_steps(labelled: str, pool: str, expected: int) -> None:
    """Epochs times the whole batches of the labelled videos, one at least."""
    settings = replace(DEBUG.segment, batch=8, labels=LabelSettings(labelled, pool=pool), loop=LoopSettings(epochs=10))
    assert steps_of(settings, 40) == expected
    assert steps_of(replace(settings, loop=LoopSettings(steps=7)), 40) == 7
