"""SmoothGrad against what it must be where the answer is known, and the Dice of its largest values by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.attention import (
    attention_dice,
    attention_of_video,
    largest,
    smooth_gradients,
    start_with,
)
from echocycle.models.specs import Part, RegressorSpec
from echocycle.settings.analyses import AnalyseSettings

SHAPE = (3, 4, 6, 6)


class Linear(nn.Module):
    """EF as a weighted sum of the pixels."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, clips: Tensor) -> Tensor:
        return (clips * self.weights).flatten(1).sum(1)


@pytest.mark.parametrize("sigma", [0.0, 0.15, 2.0])
def test_of_a_linear_model_it_is_its_weights(sigma: float) -> None:
    weights = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    clip = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    found = smooth_gradients(Linear(weights), clip, samples=7, sigma=sigma, batch=3)
    torch.testing.assert_close(found, weights.abs())


def test_of_a_square_it_is_the_mean_over_the_noise() -> None:
    """d x^2 / dx is 2 |x + e|: with the noise drawn again, the formula gives the same numbers."""
    clip = torch.linspace(-1, 1, 144).reshape(3, 3, 4, 4)
    found = smooth_gradients(lambda x: x.square().flatten(1).sum(1), clip, samples=6, sigma=0.25, seed=3, batch=6)
    torch.manual_seed(3)
    noise = torch.normal(0.0, 0.25 * 2.0, (6, *clip.shape))
    torch.testing.assert_close(found, (2 * (clip + noise)).abs().mean(0))


def test_noise_is_that_of_the_seed_and_leaves_other_random_numbers_alone() -> None:
    clip, square = torch.rand(SHAPE), lambda x: x.square().flatten(1).sum(1)
    torch.manual_seed(5)
    one = smooth_gradients(square, clip, samples=3, sigma=0.2, seed=1)
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(one, smooth_gradients(square, clip, samples=3, sigma=0.2, seed=1))
    assert not torch.equal(one, smooth_gradients(square, clip, samples=3, sigma=0.2, seed=2))


def test_exactly_the_share_is_taken_also_of_equal_values() -> None:
    assert largest(np.zeros((10, 10)), 0.05).sum() == 5
    values = np.arange(40.0).reshape(2, 20)
    assert np.flatnonzero(largest(values, 0.05)).tolist() == [38, 39]
    assert largest(np.array([3.0, 9.0]), 0.01).tolist() == [False, True]  # one at least


@pytest.mark.parametrize(
    ("frame", "frames_of_video", "expected"),
    [(50, 100, 18), (0, 100, 0), (1, 100, 1), (99, 100, 37), (63, 64, 1), (20, 20, 0)],
)
def test_the_clip_holds_the_traced_frame(frame: int, frames_of_video: int, expected: int) -> None:
    start = start_with(frame, frames_of_video, 32, 2)
    assert start == expected
    assert (frame - start) % 2 == 0
    assert 0 <= (frame - start) // 2 < 32


def test_every_frame_lies_on_the_grid_of_some_clip() -> None:
    for frames_of_video in (3, 20, 63, 64, 65, 100):
        for frame in range(frames_of_video):
            start = start_with(frame, frames_of_video, 32, 2)
            assert (frame - start) % 2 == 0
            assert 0 <= frame - start <= 62


def test_pooled_dice_by_hand() -> None:
    """Two videos; intersections, ventricle, looked at: by clip 10, 40, 20 and 0, 20, 20 at ED; half of that at ES."""
    ed, es = np.array([[10, 40, 20], [0, 20, 20]]), np.array([[5, 20, 10], [5, 10, 10]])
    counts = np.stack([np.stack([ed, es], 1), np.stack([es, ed], 1)], 1)
    found = attention_dice(counts, 0, 0.05, 20)
    assert found.per == "clip"
    assert found.ed.value == pytest.approx(2 * 10 / (60 + 40))
    assert found.es.value == pytest.approx(2 * 10 / (30 + 20))
    assert found.overall.value == pytest.approx(2 * 20 / (90 + 60))
    inside = 90 / (4 * 400)
    assert found.chance == pytest.approx(2 * 0.05 * inside / (0.05 + inside))
    assert found.ed.low <= found.ed.value <= found.ed.high
    assert attention_dice(counts, 1, 0.05, 20).ed.value == found.es.value


def part_of(weights: Tensor, **values: Any) -> Part:
    """A model whose EF is a weighted sum of its clip."""
    spec = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), 3, 1.0, 56, 8, 3, (30.0,), (40.0,), False, **values)
    return Part(spec, Linear(weights)).to(torch.device("cpu"))


def test_a_network_that_looks_at_the_ventricle_alone(store: Store) -> None:
    """Its weights are ones inside a square; the Dice with the traced mask is that of the square itself."""
    square = torch.zeros(56, 56)
    square[20:32, 20:33] = 1  # 156 pixels, just under 5 % of 3136
    video = int(store.videos("test")[0])
    settings = AnalyseSettings(samples=2, share=156 / 3136)
    found = attention_of_video(part_of(square.expand(3, 8, 56, 56)), store, video, None, settings, draw=True)
    assert found is not None
    assert found["counts"].shape == (2, 2, 3)
    assert (found["counts"][..., 2] == 156).all()
    for place in range(2):
        expected = (found["mask"][place] & (square.numpy() > 0)).sum()
        assert found["counts"][:, place, 0].tolist() == [expected, expected]
    assert np.array_equal(found["heat"][0] > 0, square.numpy() > 0)
    assert found["heat"].max() == 1


def test_what_cannot_be_looked_at(store: Store) -> None:
    video = int(store.videos("test")[0])
    masks_alone = SimpleNamespace(spec=SimpleNamespace(takes_video=False))
    with pytest.raises(EchocycleError, match="sees masks alone"):
        attention_of_video(masks_alone, store, video, None, AnalyseSettings(), draw=False)  # type: ignore[arg-type]
