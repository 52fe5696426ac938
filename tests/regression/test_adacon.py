"""AdaCon: two crops of a clip lie together, clips of other ranks apart; EF is asked of the first crop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import formulas
from helpers.training import (
    FULL,
    SMALL,
    count,
    data_of,
    first_batches,
    kept_is_validated,
    killed_and_resumed,
    made,
    paper_size,
    reaches,
    ten_steps,
)

from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.regressor import NETWORKS
from echocycle.regression.adacon import AdaConOptions, contrastive_loss, ef_bin, rank_of_bins


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


def points(count: int, dim: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


# -------------------------------------------------------------------------------------------------- the loss


def test_ranks_are_the_distribution_at_the_middle_of_a_bin() -> None:
    efs = [60.0, 35.21, 35.24, 60.01, 12.0, 60.02, 99.99, 100.0]
    ef = torch.tensor(efs)
    found = rank_of_bins(ef)[ef_bin(ef)]
    assert found.tolist() == formulas.adacon_ranks(efs)
    assert found.tolist() == [4.5, 2.0, 2.0, 4.5, 0.5, 4.5, 6.5, 7.5]  # 1 below, then 2 alike: 1 + 2 / 2 and so on
    assert ef_bin(torch.tensor([0.0, 0.04, 0.06, 100.0])).tolist() == [0, 0, 1, 2000]


@pytest.mark.parametrize("scale", [150.0, 3.0])
def test_the_loss_is_the_formula(scale: float) -> None:
    labelled = [30.0, 41.0, 41.02, 55.5, 62.0, 70.0, 71.0]
    efs = [41.0, 62.0, 41.02, 30.0] * 2
    features = points(8)
    ef = torch.tensor(efs)
    ranks = rank_of_bins(torch.tensor(labelled))[ef_bin(ef)]
    found = contrastive_loss(features, ef_bin(ef), ranks, len(labelled), scale)
    assert found.item() == pytest.approx(formulas.adacon(features.numpy(), efs, labelled, scale), rel=1e-6)


def test_known_answers() -> None:
    """Two clips a whole distribution apart on one point: margin 2; the margin never grows beyond that."""
    features = torch.tensor([[1.0, 0.0]] * 4)
    bins = torch.tensor([0, 1, 0, 1])
    for spread in (10.0, 25.0):
        ranks = torch.tensor([0.0, spread, 0.0, spread])
        found = contrastive_loss(features, bins, ranks, 10, scale=1.0)
        assert found.item() == pytest.approx(np.log(1 + 2 * np.exp(2.0)), rel=1e-6)
    together = contrastive_loss(features, torch.zeros(4, dtype=torch.int64), torch.zeros(4), 10, scale=150.0)
    assert together.item() == pytest.approx(np.log(3), rel=1e-4)


def test_crops_together_and_strangers_apart_is_better() -> None:
    bins, ranks = torch.tensor([0, 1, 0, 1]), torch.tensor([0.0, 4.0, 0.0, 4.0])
    good = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    bad = good[[0, 1, 1, 0]]
    assert contrastive_loss(good, bins, ranks, 8) < 1e-3 < 100 < contrastive_loss(bad, bins, ranks, 8)


def test_the_order_of_clips_does_not_matter() -> None:
    features, bins = points(6), torch.tensor([3, 8, 9, 3, 8, 9])
    ranks = bins.double() / 2
    order = torch.tensor([4, 0, 3, 5, 1, 2])
    one = contrastive_loss(features, bins, ranks, 6)
    assert contrastive_loss(features[order], bins[order], ranks[order], 6).item() == pytest.approx(one.item())


# ------------------------------------------------------------------------------------------------- the method


def test_a_step_by_hand(data: TrainingData) -> None:
    method = made("adacon", data)
    batch = first_batches(method, data)["labelled"]
    losses = method({"labelled": batch}, 0).losses
    again = made("adacon", data)
    clips = again.preprocess.clips(batch, masks=False, pad=SMALL.pad)
    features = again.regressor.features(clips)
    efs = [data.ef(int(video)) for video in batch.row]
    assert losses["labelled"].item() == pytest.approx(
        formulas.squared_error(again.regressor.answer(features)[:2].tolist(), efs[:2]), rel=1e-4
    )
    sphere = F.normalize(again.projection(features), dim=1).detach().double().numpy()
    every = [data.ef(int(video)) for video in data.videos("labelled")]
    assert losses["contrastive"].item() == pytest.approx(0.75 * formulas.adacon(sphere, efs, every), rel=1e-3)
    assert int(method.videos) == len(every) == 4


def test_two_crops_of_the_same_frames(data: TrainingData) -> None:
    method = made("adacon", data)
    offsets = []
    for step in range(4):
        batch = first_batches(method, data, step)["labelled"]
        assert batch.video.shape == (4, 4, 112, 112)
        first, second = batch.video.chunk(2)
        assert torch.equal(first, second)
        assert torch.equal(*batch.row.chunk(2))
        assert torch.equal(*batch.ef.chunk(2))
        offsets += (batch.crop[:2] - batch.crop[2:]).flatten().tolist()
        assert set(batch.row.tolist()) <= set(data.videos("labelled").tolist())
    assert len(set(offsets)) > 5
    assert set(method.streams()) == {"labelled"}
    assert method.validation().stream.subset == "validation"


def test_where_the_gradients_go(data: TrainingData) -> None:
    """EF teaches `fc` and the trunk by the first crop alone; the contrast teaches the trunk and the projection."""
    method = made("adacon", data)
    batch = first_batches(method, data)["labelled"]
    losses = method({"labelled": batch}, 0).losses
    trunk = method.regressor.layer3
    assert reaches(losses["labelled"], trunk)
    assert reaches(losses["labelled"], method.regressor.fc)
    assert not reaches(losses["labelled"], method.projection)
    assert reaches(losses["contrastive"], trunk)
    assert reaches(losses["contrastive"], method.projection)
    assert not reaches(losses["contrastive"], method.regressor.fc)
    other = batch._replace(video=torch.cat([batch.video[:2], 255 - batch.video[2:]]))
    method.eval()  # statistics of the batch would tell
    assert method({"labelled": other}, 0).losses["labelled"] == method({"labelled": batch}, 0).losses["labelled"]


def test_the_projection_is_left_behind(data: TrainingData) -> None:
    method = made("adacon", data)
    assert count(method.parts()["regressor"].network) == count(method.regressor)
    optimiser = method.optimiser(SMALL.optimiser)
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert trained == {id(p) for p in [*method.regressor.parameters(), *method.projection.parameters()]}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    from dataclasses import replace

    method = made("adacon", data, replace(SMALL, network=network))
    losses = method(first_batches(method, data), 0).losses
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in method.parameters())


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: TrainingData) -> None:
    """With a weight that the contrast can be followed by so early: from EF 20, the other gradient is far larger."""
    option = {"weight": "75"}
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, store.path, tmp_path / "ten", "adacon", option=option):
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "adacon")
    kept_is_validated(run, data)


@pytest.mark.parametrize("network", NETWORKS)
def test_at_the_papers_size(network: str) -> None:
    method = paper_size("adacon", network)
    assert count(method.regressor) == FULL[network]
    shapes = [tuple(p.shape) for p in method.projection.parameters()]
    assert shapes == [(512, 512), (512,), (128, 512), (128,)]
    sampler = method.streams()["labelled"].sampler
    assert (method.streams()["labelled"].batch, sampler.clip.frames, sampler.clip.pad) == (20, 32, 12)
    _, [(example, passed)] = method.step_examples()
    assert (tuple(example.shape), passed) == ((2, 3, 32, 112, 112), 40)
    assert method.regressor.features(example.to("meta")).shape == (2, 512)
    assert method.settings.loop.epochs == 45


@pytest.mark.parametrize("option", [{"weight": -1.0}, {"scale": 0.0}, {"projection": 0}])
def test_bad_settings_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=f"option.{next(iter(option))}"):
        AdaConOptions(**option)
