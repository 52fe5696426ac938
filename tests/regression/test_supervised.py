"""Supervised regression: loss, clips and crop are their formulas, and the first answer is the mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.training import FULL, count, kept_is_validated, killed_and_resumed, paper_size, ten_steps
from helpers.training import data_of as few_labels

from echocycle.data.clips import ClipBatch, ClipSampler, StepData
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import UnlabelledAnnotationError
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import NETWORKS
from echocycle.regression.supervised import SupervisedOptions, SupervisedRegression, regression_loss
from echocycle.settings.stages import LabelSettings, RegressSettings
from echocycle.training.method import Inputs

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
SMALL: dict[str, Any] = {"widths": (4, 8, 8, 8), "weights": "none", "size": 112, "frames": 4, "pad": 6, "batch": 2}


def made(**settings: Any) -> SupervisedRegression:
    torch.manual_seed(0)
    return SupervisedRegression(RegressSettings(**{**SMALL, **settings}), SupervisedOptions(), GREY)


def data_of(store: Store, labelled: str = "4") -> TrainingData:
    return TrainingData(store, draw_budget(store, LabelSettings(labelled=labelled), needs="ef"))


def test_the_loss_is_the_mean_squared_error() -> None:
    predicted, ef = torch.tensor([50.0, 61.5, 30.25]), torch.tensor([55.0, 60.0, 35.0])
    assert regression_loss(predicted, ef).item() == pytest.approx(
        formulas.squared_error(predicted.tolist(), ef.tolist())
    )


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("start", [0, 5])
def test_clips_are_padded_and_cropped_as_written(masks: bool, start: int) -> None:
    """Zeros after normalisation past the end, -1 in the mask there, 0 in the border of every channel."""
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (9, 8, 8), dtype=np.uint8)
    probabilities = rng.integers(0, 256, (9, 8, 8), dtype=np.uint8)
    frames, period, pad = 5, 2, 3
    numbers = start + period * np.arange(frames)
    there = numbers < 9
    cut, mask = np.zeros((frames, 8, 8), np.uint8), np.zeros((frames, 8, 8), np.uint8)
    cut[there], mask[there] = video[numbers[there]], probabilities[numbers[there]]
    for crop in ((3, 3), (0, 5), (4, 0), (2, 3)):
        batch = ClipBatch(
            torch.from_numpy(cut)[None],
            torch.from_numpy(mask)[None] if masks else None,
            torch.tensor([int(there.sum())]),
            torch.tensor([crop]),
            None,
            torch.tensor([0]),
        )
        found = Preprocess((30.0,), (40.0,), 8).clips(batch, masks=masks, pad=pad)[0]
        literal = formulas.clip(
            video,
            probabilities if masks else None,
            start,
            frames=frames,
            period=period,
            mean=30.0,
            std=40.0,
            pad=pad,
            crop=crop,
        )
        np.testing.assert_allclose(found.numpy(), literal, atol=1e-5)


def test_starts_and_crops_cover_their_range(store: Store) -> None:
    """Starts are uniform over 0 .. T - span; the crop runs over 0 .. 2 pad - 1, so 24 never occurs for 12."""
    data = data_of(store)
    video = int(data.videos("labelled")[0])
    length = data.n_frames(video)
    sampler = ClipSampler(frames=40, period=2, pad=12)
    samples = [sampler.draw(data, video, np.random.default_rng([seed])) for seed in range(400)]
    crops = np.array([sample.crop for sample in samples])
    assert (crops.min(), crops.max()) == (0, 23)
    whole = data.frames(video)
    first = [next(s for s in range(length) if np.array_equal(whole[s], sample.video[0])) for sample in samples]
    assert set(first) == set(range(length - 78))
    long = ClipSampler(frames=64, period=2)  # longer than the video: as if it had 128 frames
    valid = {int(long.draw(data, video, np.random.default_rng([seed])).valid) for seed in range(20)}
    assert valid == {(length + 1) // 2, length // 2}


def test_the_loss_of_a_step_by_hand(store: Store) -> None:
    data, method = data_of(store), made().train()
    batch = StepData(data, method.streams(), seed=3)[0]["labelled"]
    loss = method({"labelled": batch}, 0).losses["labelled"]
    clips = np.stack(
        [
            np.pad((video.numpy().astype(float) - 30) / 40, ((0, 0), (6, 6), (6, 6)))[
                :, row : row + 112, column : column + 112
            ]
            for video, (row, column) in zip(batch.video, batch.crop.tolist(), strict=True)
        ]
    )
    images = torch.from_numpy(np.repeat(clips[:, None], 3, axis=1)).float()
    predicted = made().train().regressor(images)
    truth = [data.ef(int(video)) for video in batch.row]
    assert loss.item() == pytest.approx(formulas.squared_error(predicted.tolist(), truth), rel=1e-4)


def test_the_first_answer(store: Store) -> None:
    data = data_of(store)
    assert made(fc_bias=None).settings.fc_bias is None
    for bias, scale, expected in ((55.6, 1.0, 55.6), (None, 1.0, data.mean_ef()), (None, 10.0, data.mean_ef())):
        method = made(fc_bias=bias, target_scale=scale)
        method.prepare_start(data)
        assert method.regressor.fc.bias.item() * scale == pytest.approx(expected, rel=1e-6)
        with torch.no_grad():
            method.regressor.fc.weight.zero_()
            answer = method.eval().regressor(torch.randn(2, 3, 4, 32, 32))
        assert answer.tolist() == pytest.approx([expected] * 2, rel=1e-5)


def test_only_labels_of_the_budget_are_read(store: Store) -> None:
    data = data_of(store, labelled="3")
    assert data.mean_ef() == pytest.approx(np.mean(store.index["ef"][data.videos("labelled")]))
    steps = StepData(data, made().streams(), seed=0)
    seen = {int(video) for step in range(6) for video in steps[step]["labelled"].row}
    assert seen == set(data.videos("labelled").tolist())
    with pytest.raises(UnlabelledAnnotationError):
        data.ef(int(data.videos("unlabelled")[0]))


def test_score_sums_errors(store: Store) -> None:
    data, method = data_of(store), made().eval()
    batch = StepData(data, method.streams(), seed=0)[0]["labelled"]
    with torch.no_grad():
        score = method.score(batch)
        found = method.regressor(method.preprocess.clips(batch, masks=False))
    errors = [float(a) - float(b) for a, b in zip(found, batch.ef, strict=True)]
    assert score["mse"] == (pytest.approx(sum(error**2 for error in errors), rel=1e-5), 2)
    assert score["mae"] == (pytest.approx(sum(map(abs, errors)), rel=1e-5), 2)


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, store.path, tmp_path / "ten", "supervised"):
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "supervised")
    kept_is_validated(run, few_labels(store))


@pytest.mark.parametrize("network", NETWORKS)
def test_at_the_papers_size(network: str) -> None:
    """EchoNet-Dynamic's recipe: 20 clips of 32 frames at period 2, 45 epochs, one validation pass."""
    method = paper_size("supervised", network)
    assert count(method) == FULL[network]
    stream = method.streams()["labelled"]
    assert (stream.batch, stream.sampler) == (20, ClipSampler(frames=32, period=2, pad=12))
    _, [(example, passed)] = method.step_examples()
    assert (tuple(example.shape), passed) == ((2, 3, 32, 112, 112), 20)
    assert method.regressor(example.to("meta")).shape == (2,)
    assert method.validation().passes == 1
    settings, rule = method.settings, method.settings.optimiser
    assert (rule.name, rule.lr, rule.momentum, rule.weight_decay) == ("sgd", 1e-4, 0.9, 1e-4)
    assert (rule.schedule, rule.step_epochs, rule.gamma) == ("step", 15, 0.1)
    assert (settings.loop.epochs, settings.fc_bias, settings.weights) == (45, 55.6, "kinetics")
