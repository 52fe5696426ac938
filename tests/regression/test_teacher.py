"""The teacher: a fourth channel of masks, and how it starts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.training import FULL, Ground, count, kept_is_validated, paper_size, ten_steps, trained

from echocycle.data.clips import StepData
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.regression.teacher import Teacher, TeacherOptions
from echocycle.settings.stages import LabelSettings, RegressSettings
from echocycle.training.method import Inputs

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)


def made(mask_channel: Any = "uniform", network: str = "r2plus1d_18", **settings: Any) -> Teacher:
    torch.manual_seed(0)
    chosen = {"weights": "none", "frames": 4, "pad": 6, "batch": 2, "size": 112, **settings}
    return Teacher(RegressSettings(network=network, method="teacher", **chosen), TeacherOptions(mask_channel), GREY)


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    budget = draw_budget(store, LabelSettings(labelled="4"), needs="ef")
    return TrainingData(store, budget, store.masks("truth"))


@pytest.mark.parametrize(
    ("network", "shape"),
    [("r2plus1d_18", (45, 4, 1, 7, 7)), ("r3d_18", (64, 4, 3, 7, 7)), ("mc3_18", (64, 4, 3, 7, 7))],
)
def test_the_mask_channel_starts_uniform(data: TrainingData, network: str, shape: tuple[int, ...]) -> None:
    method = made(network=network)
    stem = method.regressor.stem[0].weight
    assert tuple(stem.shape) == shape
    colour = stem[:, :3].detach().clone()
    method.prepare_start(data)
    torch.testing.assert_close(stem[:, :3], colour, rtol=0, atol=0)
    mask = stem[:, 3]
    assert mask.min() < -0.98
    assert mask.max() > 0.98
    assert mask.abs().max() <= 1
    assert mask.std().item() == pytest.approx(3**-0.5, rel=0.05)
    assert mask.mean().abs() < 0.05


def test_other_starts_of_the_mask_channel(data: TrainingData) -> None:
    zero, mean = made("zero", widths=(16, 8, 8, 8)), made("mean", widths=(16, 8, 8, 8))
    for method in (zero, mean):
        method.prepare_start(data)
    assert not zero.regressor.stem[0].weight[:, 3].any()
    weight = mean.regressor.stem[0].weight
    torch.testing.assert_close(weight[:, 3], (weight[:, 0] + weight[:, 1] + weight[:, 2]) / 3)
    # with zeros the mask does not matter yet
    clips = torch.randn(2, 4, 4, 32, 32)
    other = torch.cat([clips[:, :3], torch.randn(2, 1, 4, 32, 32)], 1)
    with torch.no_grad():
        torch.testing.assert_close(zero.eval().regressor(clips), zero.regressor(other))
        assert not torch.allclose(mean.eval().regressor(clips), mean.regressor(other), rtol=0, atol=1e-5)


def test_the_teacher_sees_the_masks_of_its_clip(data: TrainingData) -> None:
    method = made(widths=(4, 8, 8, 8))
    batch = StepData(data, method.streams(), seed=0)[0]["labelled"]
    for video, frames, mask in zip(batch.row.tolist(), batch.video, batch.mask, strict=True):
        whole = torch.from_numpy(data.frames(video).copy())
        start = next(s for s in range(len(whole)) if torch.equal(whole[s], frames[0]))
        expected = data.masks(video, [start + 2 * place for place in range(4)])
        assert torch.equal(mask, torch.from_numpy(expected))
        assert expected.any()
    clips = method.preprocess.clips(batch, masks=True)
    assert clips.shape == (2, 4, 4, 112, 112)
    torch.testing.assert_close(clips[:, 3], 2 * batch.mask.float() / 255 - 1)
    loss = method.train()({"labelled": batch}, 0).losses["labelled"]
    loss.backward()
    assert method.regressor.stem[0].weight.grad[:, 3].abs().max() > 0
    assert method.validation().passes == 3


@pytest.mark.parametrize(("network", "stem"), [("r2plus1d_18", 45 * 49), ("r3d_18", 64 * 147), ("mc3_18", 64 * 147)])
def test_at_the_papers_size(network: str, stem: int) -> None:
    """One input channel more than RGB, 25 epochs, the best of three validation passes."""
    method = paper_size("teacher", network)
    assert count(method) == FULL[network] + stem
    if network == "r2plus1d_18":
        assert count(method) == 31_302_843
    _, [(example, passed)] = method.step_examples()
    assert (tuple(example.shape), passed) == ((2, 4, 32, 112, 112), 20)
    assert method.regressor(example.to("meta")).shape == (2,)
    settings, rule = method.settings, method.settings.optimiser
    assert (rule.name, rule.lr, rule.momentum, rule.weight_decay) == ("sgd", 1e-4, 0.9, 1e-4)
    assert (rule.schedule, rule.step_epochs, rule.gamma) == ("step", 15, 0.1)
    assert (settings.loop.epochs, settings.fc_bias, settings.pad) == (25, 55.6, 12)
    assert method.options.mask_channel == "uniform"
    assert method.validation().passes == 3


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), store)


def test_through_the_loop(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it survives a kill is seen in test_train.py."""
    needs = {"masks": ground.masks}
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, ground.store.path, tmp_path / "ten", "teacher", needs=needs):
            assert last < 0.97 * first, loss
    kept_is_validated(trained(ground.store.path, tmp_path / "run", "teacher", needs), ground.data)
