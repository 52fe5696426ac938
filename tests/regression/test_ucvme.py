"""UCVME: two networks with dropout agree on EF and on its uncertainty; unlabelled targets are means of many passes."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.training import (
    FULL,
    SMALL,
    count,
    data_of,
    first_batches,
    kept_is_validated,
    killed_and_resumed,
    losses_of,
    made,
    paper_size,
    reaches,
    ten_steps,
    the_unlabelled_loss_counts,
)

from echocycle.bundle import load_bundle
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.regressor import NETWORKS, Regressor
from echocycle.regression.ucvme import UCVMEOptions, heteroscedastic_loss
from echocycle.settings.convert import from_dict
from echocycle.settings.presets import preset

OPTION = {"unlabelled_batch": "2", "passes": "2", "standardised": "true"}
SCALED = replace(SMALL, target_scale=10.0, fc_bias=None)


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


def method_of(data: TrainingData, **options: Any) -> Any:
    method = made("ucvme", data, SCALED, **{"unlabelled_batch": 3, "standardised": True, **options})
    torch.manual_seed(9)  # two networks that differ, and variances that are not 1
    with torch.no_grad():
        method.second.fc.bias += 0.7
        for head in method.log_variances:
            head.bias.uniform_(-1.5, 1.5)
    return method


@pytest.fixture(scope="module")
def batches(data: TrainingData) -> dict[str, Any]:
    return first_batches(method_of(data), data)


# -------------------------------------------------------------------------------------------------- the loss


def test_the_loss_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    y, z, target = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)), rng.normal(size=5)
    found = heteroscedastic_loss(torch.from_numpy(y), torch.from_numpy(z), torch.from_numpy(target))
    assert found.item() == pytest.approx(formulas.heteroscedastic(y, z, target.tolist()))
    shared = heteroscedastic_loss(torch.from_numpy(y), torch.from_numpy(z[0]), torch.from_numpy(target))
    assert shared.item() == pytest.approx(formulas.heteroscedastic(y, np.stack([z[0], z[0]]), target.tolist()))


def test_known_answers() -> None:
    """Variance 1 gives half the squared error; the best variance is the squared error itself."""
    y, target = torch.tensor([[3.0], [1.0]]), torch.tensor([1.0])
    assert heteroscedastic_loss(y, torch.zeros(2, 1), target).item() == pytest.approx(2.0)
    z = torch.tensor([[math.log(4.0)], [0.0]], requires_grad=True)
    heteroscedastic_loss(y, z, target).backward()
    assert z.grad is not None
    assert z.grad[0].item() == pytest.approx(0.0, abs=1e-7)
    assert z.grad[1].item() == pytest.approx(0.5)


def test_the_loss_is_in_ef_points() -> None:
    """As the paper's supplement has it. Errors of 2 points with variances 4 and 1: (4/8 + ln 4 / 2) + 4/2."""
    y, z = torch.tensor([[57.0], [53.0]]), torch.tensor([[math.log(4.0)], [0.0]])
    assert heteroscedastic_loss(y, z, torch.tensor([55.0])).item() == pytest.approx(0.5 + math.log(2) + 2, rel=1e-6)
    method = made("ucvme", settings=replace(SMALL, target_scale=12.4))
    assert method.unit == 1.0
    features = [torch.zeros(3, 8)] * 2
    for network in method.networks:
        network.set_bias(55.0)
    found, _ = method.read(features)
    assert found.tolist() == [[pytest.approx(55.0)] * 3] * 2
    assert made("ucvme", settings=replace(SMALL, target_scale=12.4), standardised=True).unit == 12.4


def test_standardised_needs_a_scale() -> None:
    with pytest.raises(EchocycleError, match="standardised .* target_scale, which is 1.* --target-scale 12.4"):
        made("ucvme", standardised=True)


def test_the_small_presets_are_as_they_were() -> None:
    """What the committed table was made with: errors in units of 10 points."""
    for name in ("tiny", "phantom"):
        settings = preset(name).regression("ucvme")
        assert from_dict(UCVMEOptions, settings.option).standardised
        assert settings.target_scale == 10.0


@pytest.mark.parametrize(("standardised", "mode"), [(True, "train"), (False, "train"), (True, "eval")])
def test_a_step_by_hand(data: TrainingData, batches: dict[str, Any], standardised: bool, mode: str) -> None:
    """Without dropout every pass is the same, so the step can be computed again."""
    method = method_of(data, dropout=0.0, standardised=standardised, pseudo_labels=mode)
    twin = copy.deepcopy(method)
    losses = {name: value.item() for name, value in method(batches, 0).losses.items()}
    unit = 10.0 if standardised else 1.0

    def outputs(name: str) -> tuple[np.ndarray, np.ndarray]:
        clips = twin.preprocess.clips(batches[name], masks=False, pad=SMALL.pad)
        with torch.no_grad():
            features = [network.features(clips) for network in (twin.regressor, twin.second)]
            y = [n.answer(x).numpy() / unit for n, x in zip((twin.regressor, twin.second), features, strict=True)]
            z = [head(x)[:, 0].numpy() for head, x in zip(twin.log_variances, features, strict=True)]
        return np.stack(y), np.stack(z)

    twin.train(mode == "train")
    y, z = outputs("unlabelled")
    target_y, target_z = y.mean(0), z.mean(0)
    twin.train()
    y, z = outputs("unlabelled")
    expected = 10 * formulas.heteroscedastic(y, np.stack([target_z, target_z]), target_y.tolist())
    assert losses["unlabelled"] == pytest.approx(expected, rel=1e-4)
    expected = 10 * np.mean([(z[0, i] - t) ** 2 + (z[1, i] - t) ** 2 for i, t in enumerate(target_z)])
    assert losses["unlabelled_uncertainty"] == pytest.approx(expected, rel=1e-4)
    y, z = outputs("labelled")
    truth = [data.ef(int(video)) / unit for video in batches["labelled"].row]
    assert losses["labelled"] == pytest.approx(formulas.heteroscedastic(y, z, truth), rel=1e-4)
    assert losses["uncertainty"] == pytest.approx(np.mean((z[0] - z[1]) ** 2), rel=1e-4)
    assert losses["unlabelled"] != 0
    assert losses["unlabelled_uncertainty"] > 0.01


def test_the_unit_only_shifts_the_variance(data: TrainingData) -> None:
    """In units of s the loss is that in points, less log s for each network, with z less 2 log s."""
    y, z, target = torch.randn(2, 4) * 9 + 55, torch.randn(2, 4) + 3, torch.randn(4) * 9 + 55
    points = heteroscedastic_loss(y, z, target)
    scaled = heteroscedastic_loss(y / 12, z - 2 * math.log(12), target / 12)
    assert scaled.item() == pytest.approx(points.item() - 2 * math.log(12), rel=1e-4)


# --------------------------------------------------------------------------------------------------- dropout


def test_dropout_between_the_stages() -> None:
    torch.manual_seed(0)
    network = Regressor(widths=(8, 8, 8, 8), dropout=0.3)
    zeros: dict[str, float] = {}
    for name in ("stem", "layer1", "layer2", "layer3", "layer4"):
        layer: Any = getattr(network, name)
        layer.register_forward_pre_hook(
            lambda module, given, name=name: zeros.__setitem__(name, (given[0] == 0).float().mean().item())
        )
    clips = torch.randn(2, 3, 4, 32, 32)
    network.train()(clips)
    dropped = dict(zeros)
    network.dropout = 0.0
    network(clips)
    for name in ("stem", "layer1"):
        assert dropped[name] == pytest.approx(zeros[name], abs=1e-3)
    for name in ("layer2", "layer3", "layer4"):  # what the ReLU left is dropped by 0.3
        assert dropped[name] == pytest.approx(zeros[name] + 0.3 * (1 - zeros[name]), abs=0.05)


def test_an_answer_is_the_mean_of_passes_and_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    network = Regressor(widths=(8, 8, 8, 8), dropout=0.2, passes=5).eval()
    clips = torch.randn(4, 3, 4, 32, 32)
    with torch.no_grad():
        whole = network(clips)
        torch.manual_seed(5)
        torch.testing.assert_close(torch.cat([network(clips[:1]), network(clips[1:])]), whole, rtol=1e-4, atol=1e-5)
        each = network.dropout_passes(clips, 5, torch.Generator().manual_seed(0))
        torch.testing.assert_close(whole, network.answer(each).mean(0))
        assert each.shape == (5, 4, 8)
        assert each[:, 0].unique(dim=0).shape[0] == 5  # five thinned networks
        plain = network.features(clips)
        assert not torch.allclose(each.mean(0), plain, rtol=1e-4, atol=1e-5)
        one, other = network.dropout_passes(clips, 200).split(100)
        assert (one.mean(0) - other.mean(0)).abs().mean() < 0.3 * one.std(0).mean()


def test_targets_are_means_over_passes_and_networks(data: TrainingData, batches: dict[str, Any]) -> None:
    method = method_of(data, dropout=0.3, passes=4, pseudo_labels="eval")
    before = copy.deepcopy(method.state_dict())
    clips = method.preprocess.clips(batches["unlabelled"], masks=False)
    torch.manual_seed(3)
    y, z = method.targets(clips)
    assert method.regressor.training
    assert not y.requires_grad
    assert not z.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    method.eval()
    torch.manual_seed(3)
    found_y, found_z = [], []
    with torch.no_grad():
        for network, head in zip((method.regressor, method.second), method.log_variances, strict=True):
            for features in network.dropout_passes(clips, 4):
                found_y.append(network.answer(features) / 10)
                found_z.append(head(features)[:, 0])
    torch.testing.assert_close(y, torch.stack(found_y).mean(0))
    torch.testing.assert_close(z, torch.stack(found_z).mean(0))
    assert torch.stack(found_y).std(0).min() > 0
    torch.manual_seed(4)
    assert not torch.equal(method.targets(clips)[0], y)  # drawn anew in every step


# ---------------------------------------------------------------------------------------------------- method


def test_where_the_gradients_go(data: TrainingData, batches: dict[str, Any]) -> None:
    """Every loss reaches both networks; EF losses reach `fc`, uncertainty ones the other head alone."""
    method = method_of(data)
    losses = method(batches, 0).losses
    for network, head in zip((method.regressor, method.second), method.log_variances, strict=True):
        for loss in losses.values():
            assert reaches(loss, network.layer3)
        assert reaches(losses["labelled"], network.fc)
        assert reaches(losses["labelled"], head)
        assert reaches(losses["uncertainty"], head)
        assert reaches(losses["unlabelled_uncertainty"], head)
        assert reaches(losses["unlabelled"], network.fc)
        assert not reaches(losses["unlabelled"], head)  # the variance there is the target's
        assert not reaches(losses["uncertainty"], network.fc)
        assert not reaches(losses["unlabelled_uncertainty"], network.fc)


def test_what_is_drawn_from_where(data: TrainingData, batches: dict[str, Any]) -> None:
    assert batches["unlabelled"].ef is None
    assert len(batches["unlabelled"].row) == 3
    assert set(batches["unlabelled"].row.tolist()) <= set(data.videos("unlabelled").tolist())
    assert set(batches["labelled"].row.tolist()) <= set(data.videos("labelled").tolist())
    assert set(method_of(data).streams()) == {"labelled", "unlabelled"}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    method = made("ucvme", data, replace(SCALED, network=network), unlabelled_batch=2)
    torch.stack(list(method(first_batches(method, data), 0).losses.values())).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.parameters())


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: TrainingData) -> None:
    """So early the networks still run after the labels, and their own targets move with them."""
    with monkeypatch.context() as patch:
        steps = ten_steps(patch, store.path, tmp_path / "ten", "ucvme", option=OPTION)
        found = {loss: (first, last) for loss, first, last in steps}
    assert set(found) == {"labelled", "uncertainty", "unlabelled", "unlabelled_uncertainty"}
    assert found["labelled"][1] < 0.97 * found["labelled"][0]
    first, last = (sum(pair[place] for pair in found.values()) for place in (0, 1))
    assert last < 0.97 * first
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "ucvme", option=OPTION)
    kept_is_validated(run, data)
    assert all(row["gradient/unlabelled"] > 0 for row in losses_of(run)[::2])
    kept = load_bundle(run).regressor
    assert kept is not None
    assert (kept.spec.members, kept.spec.dropout, kept.spec.passes) == (2, 0.05, 2)


def test_the_unlabelled_losses_change_the_model(store: Store, tmp_path: Path) -> None:
    the_unlabelled_loss_counts(store.path, tmp_path, "ucvme", **OPTION)


def test_bf16_loses_no_gradient(data: TrainingData, batches: dict[str, Any]) -> None:
    """Weights that targets have used under autocast, which keeps its copies of them, still learn in the same step."""
    method = method_of(data)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(batches, 0).losses
    for network in (method.regressor, method.second):
        assert reaches(losses["unlabelled"], network)
        assert reaches(losses["labelled"], network)


@pytest.mark.parametrize("network", NETWORKS)
def test_at_the_papers_size(network: str) -> None:
    """Two networks with two outputs each."""
    method = paper_size("ucvme", network)
    assert count(method) == 2 * (FULL[network] + 513)
    both, examples = method.step_examples()
    assert [(tuple(example.shape), passed) for example, passed in examples] == [
        ((2, 3, 32, 112, 112), 10),
        ((2, 3, 32, 112, 112), 10),
    ]
    assert both(examples[0][0].to("meta")).shape == (2,)
    rule = method.settings.optimiser
    assert (rule.lr, rule.momentum, rule.step_epochs, method.settings.loop.epochs) == (1e-4, 0.9, 15, 25)
    assert (method.unit, method.settings.target_scale) == (1.0, 1.0)  # EF labels are not normalised


@pytest.mark.parametrize(
    "option", [{"weight": -1.0}, {"dropout": 1.0}, {"unlabelled_batch": 0}, {"passes": 0}, {"dropout": -0.1}]
)
def test_bad_settings_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=next(iter(option))):
        UCVMEOptions(**option)
