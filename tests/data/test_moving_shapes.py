"""Moving shapes: drawn again the same, and moving as they say."""

import math

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks

from echocycle.data.moving_shapes import MOTIONS, ShapeBatch, ShapeSampler, draw_shape, wave

FRAMES, SIZE = 24, 56


def drawn(count: int, frames: int = FRAMES) -> list[ShapeBatch]:
    return [draw_shape(np.random.default_rng(seed), frames, SIZE) for seed in range(count)]


@pytest.fixture(scope="module")
def shapes() -> list[ShapeBatch]:
    return drawn(120)


def told(shapes: list[ShapeBatch], name: str) -> np.ndarray:
    return np.array([float(shape.motion[MOTIONS.index(name)]) for shape in shapes])


def test_a_clip_is_a_function_of_its_generator(shapes: list[ShapeBatch]) -> None:
    again, other = (draw_shape(np.random.default_rng(seed), FRAMES, SIZE) for seed in (0, 1))
    for field, same, differs in zip(shapes[0], again, other, strict=True):
        assert torch.equal(field, same)
        assert not torch.equal(field, differs)


def test_what_a_clip_is(shapes: list[ShapeBatch]) -> None:
    for shape in shapes:
        assert shape.video.shape == (FRAMES, SIZE, SIZE)
        assert shape.inside.shape == (FRAMES, SIZE // 4, SIZE // 4)
        assert shape.motion.shape == (len(MOTIONS),)
        assert all(part.dtype == torch.float32 and bool(torch.isfinite(part).all()) for part in shape)
        assert float(shape.video.mean()) == pytest.approx(0, abs=1e-3)
        assert float(shape.video.std()) == pytest.approx(1, abs=1e-3)
        assert 0 <= float(shape.inside.min()) <= float(shape.inside.max()) <= 1
        assert float(shape.inside.amax()) > 0.3  # it is in the picture
    spread = np.stack([shape.motion.numpy() for shape in shapes]).std(0)
    assert ((spread > 0.4) & (spread < 1.3)).all()


def test_the_blob_can_be_seen(shapes: list[ShapeBatch]) -> None:
    """Grey levels inside differ from those around it, more often darker than brighter."""
    contrast = []
    for shape in shapes:
        grey = torch.nn.functional.avg_pool2d(shape.video[:, None], 4)[:, 0]
        contrast.append(float(grey[shape.inside > 0.9].mean() - grey[shape.inside < 0.1].mean()))
    found = np.array([each for each in contrast if not math.isnan(each)])
    assert len(found) > 100
    assert np.median(np.abs(found)) > 0.5
    assert 0.55 < (found < 0).mean() < 0.85


def test_it_moves_as_it_says(shapes: list[ShapeBatch]) -> None:
    """Growth and place, measured where the blob covers the picture's cells; those cut by the border are left out."""
    area = np.stack([shape.inside.sum((1, 2)).numpy() for shape in shapes])
    border = np.array([_at_border(shape.inside) for shape in shapes])
    beats = told(shapes, "rate") * 0.64 + 1.5
    whole = (border < 0.01) & (beats > 1)  # a whole beat shows the whole growth
    assert whole.sum() > 20
    growth = told(shapes, "growth") * 0.4 + 0.64
    seen = np.log(area.max(1) / area.min(1))
    assert np.corrcoef(seen[whole], growth[whole])[0, 1] > 0.97
    np.testing.assert_allclose(seen[whole], growth[whole], atol=0.12)
    size = told(shapes, "size") * 0.5 - 0.7
    assert np.corrcoef(np.log(area.mean(1))[whole], size[whole])[0, 1] > 0.9
    for axis, name in ((2, "shift x"), (1, "shift y")):
        shift = (told(shapes, name) + 0.9) * 0.12
        moved = np.array([_way(shape.inside, axis) for shape in shapes])
        assert np.corrcoef(moved[whole], shift[whole])[0, 1] > 0.8, name


def _at_border(inside: torch.Tensor) -> float:
    edge = torch.cat([inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1]], 1)
    return float(edge.max())


def _way(inside: torch.Tensor, axis: int) -> float:
    """How far the middle of the blob gets along an axis, in halves of the frame."""
    share = inside.sum(3 - axis)
    places = torch.linspace(-1, 1, share.shape[1])
    middle = (share * places).sum(1) / share.sum(1)
    return float(middle.max() - middle.min())


def test_the_rate_is_that_of_the_area() -> None:
    shapes = drawn(80, frames=96)
    rates = told(shapes, "rate") * 0.64 + 1.5
    growth = told(shapes, "growth") * 0.4 + 0.64
    checked = 0
    for shape, rate, grown in zip(shapes, rates, growth, strict=True):
        if grown > 0.3 and _at_border(shape.inside) < 0.01:
            area = shape.inside.sum((1, 2)).numpy()
            tops = len(find_peaks(area, prominence=0.5 * np.ptp(area))[0])
            assert math.floor(rate) - 1 <= tops <= math.ceil(rate)  # those at the ends are none
            checked += 1
    assert checked > 10


def test_a_beat() -> None:
    assert wave(np.array([0.0, 0.3, 1.0, 1.3]), 0.3) == pytest.approx([1, 0, 1, 0])
    assert wave(np.array([0.15, 0.65]), 0.3) == pytest.approx([0.5, 0.5])
    fine = wave(np.linspace(0, 3, 400), 0.42)
    assert fine.min() >= 0
    assert fine.max() <= 1
    assert np.abs(np.diff(fine)).max() < 0.05


def test_a_batch_stacks_them(shapes: list[ShapeBatch]) -> None:
    sampler = ShapeSampler(FRAMES, SIZE)
    batch = sampler.stack([sampler.draw(None, 3, np.random.default_rng(seed)) for seed in (0, 1)])
    for place, shape in enumerate(shapes[:2]):
        assert all(torch.equal(whole[place], one) for whole, one in zip(batch, shape, strict=True))
    assert sampler.usable(None, 0)  # type: ignore[arg-type]
