"""CMPL: each network learns the other's answer for the clip as it is, from the perturbed one."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    made,
    paper_size,
    reaches,
    ten_steps,
    the_unlabelled_loss_counts,
    trained,
)

from echocycle.bundle import load_bundle
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.regressor import NETWORKS, Regressor
from echocycle.regression.cross_model import CrossModelOptions, cross_loss

OPTION = {"unlabelled_batch": "2"}


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


def method_of(data: TrainingData, **options: Any) -> Any:
    return made("cross_model", data, **{"unlabelled_batch": 3, **options})


@pytest.fixture(scope="module")
def batches(data: TrainingData) -> dict[str, Any]:
    return first_batches(method_of(data), data)


def test_the_loss_is_the_formula() -> None:
    guesses = torch.tensor([50.0, 60.0, 41.0]), torch.tensor([55.0, 48.0, 40.0])
    labels = torch.tensor([52.0, 59.0, 47.0]), torch.tensor([51.0, 62.5, 43.0])
    for each in (*guesses, *labels):
        each.requires_grad_()
    found = cross_loss(guesses, labels)
    expected = formulas.cross_model(tuple(g.tolist() for g in guesses), tuple(p.tolist() for p in labels))  # type: ignore[arg-type]
    assert found.item() == pytest.approx(expected)
    assert cross_loss(guesses, (guesses[1], guesses[0])) == 0  # each agrees with the other
    found.backward()
    assert all(bool(guess.grad.any()) for guess in guesses)  # type: ignore[union-attr]
    assert all(label.grad is None for label in labels)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_step_by_hand(data: TrainingData, batches: dict[str, Any], mode: str) -> None:
    method = method_of(data, pseudo_labels=mode, noise_size=0.0)
    with torch.no_grad():
        method.second.fc.bias += 9.0
    twin = copy.deepcopy(method)
    losses = method(batches, 0).losses
    weak, strong = twin.preprocess.clips(batches["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    assert not torch.equal(weak, strong)
    networks = twin.regressor, twin.second
    with torch.no_grad():
        labels = [network.train(mode == "train")(weak).tolist() for network in networks]
        guesses = [network.train()(strong).tolist() for network in networks]
    expected = 5 * formulas.cross_model((guesses[0], guesses[1]), (labels[0], labels[1]))
    assert losses["unlabelled"].item() == pytest.approx(expected, rel=1e-4)
    assert losses["unlabelled"].item() > 10
    for name, network in (("labelled", twin.regressor), ("labelled_second", twin.second)):
        clips = twin.preprocess.clips(batches[name], masks=False, pad=SMALL.pad)
        truth = [data.ef(int(video)) for video in batches[name].row]
        expected = formulas.squared_error(network(clips).tolist(), truth)
        assert losses[name].item() == pytest.approx(expected, rel=1e-4)
    assert method.training
    assert method.regressor.layer3.training
    assert method.second.layer3.training


def test_pseudo_labels_leave_the_statistics_alone(data: TrainingData, batches: dict[str, Any]) -> None:
    method = method_of(data)
    before = copy.deepcopy(method.state_dict())
    method.pseudo_labels(method.preprocess.clips(batches["labelled"], masks=False))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_where_the_gradients_go(data: TrainingData, batches: dict[str, Any]) -> None:
    """Each labelled loss teaches its own network alone, the unlabelled one both, and no pseudo-label."""
    method = method_of(data)
    losses = method(batches, 0).losses
    networks = {"labelled": method.regressor, "labelled_second": method.second}
    for loss in networks:
        for name, network in networks.items():
            assert reaches(losses[loss], network) == (loss == name)
    assert all(reaches(losses["unlabelled"], network) for network in networks.values())
    # were the first one's pseudo-labels to carry a gradient, it would be in this sum too
    twin = method_of(data, noise_size=0.0)
    weak, strong = twin.preprocess.clips(batches["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    by_hand = (twin.regressor(strong) - twin.second.eval()(weak).detach()).square().mean()
    by_hand.backward()
    again = method_of(data, noise_size=0.0, weight=1.0)
    again(batches, 0).losses["unlabelled"].backward()
    torch.testing.assert_close(again.regressor.fc.weight.grad, twin.regressor.fc.weight.grad, rtol=1e-4, atol=1e-5)


def test_only_the_strong_view_is_perturbed(data: TrainingData) -> None:
    method = method_of(data, jitter=0)
    views = first_batches(method, data)
    seen: list[torch.Tensor] = []
    method.regressor.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    method(views, 0)
    weak, strong, labelled = seen
    plain, same = method.preprocess.clips(views["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    assert torch.equal(plain, same)
    assert torch.equal(weak, plain)
    assert (strong - plain).std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(labelled, method.preprocess.clips(views["labelled"], masks=False, pad=SMALL.pad))
    jittered = first_batches(method_of(data, jitter=1), data)["unlabelled"]
    assert not torch.equal(*jittered.video.chunk(2))
    assert torch.equal(*jittered.crop.chunk(2))


def test_what_is_drawn_from_where(data: TrainingData, batches: dict[str, Any]) -> None:
    labelled, unlabelled = set(data.videos("labelled").tolist()), set(data.videos("unlabelled").tolist())
    assert batches["unlabelled"].ef is None
    assert set(batches["unlabelled"].row.tolist()) <= unlabelled
    orders = {"labelled": [], "labelled_second": []}
    method = method_of(data)
    for step in range(6):
        found = first_batches(method, data, step)
        for name, order in orders.items():
            order += found[name].row.tolist()
            assert set(found[name].row.tolist()) <= labelled
    assert orders["labelled"] != orders["labelled_second"]  # shuffles of their own
    assert method.validation().stream.subset == "validation"


def test_both_start_from_the_same_weights_but_for_the_last_layer(data: TrainingData, tmp_path: Path) -> None:
    torch.manual_seed(3)
    given = Regressor(widths=SMALL.widths)
    state = {name: value for name, value in given.state_dict().items() if not name.startswith("fc.")}
    torch.save(state, tmp_path / "trunk.pt")
    method = made("cross_model", data, replace(SMALL, weights=str(tmp_path / "trunk.pt")))
    first, second = method.regressor.state_dict(), method.second.state_dict()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == ["fc.weight"]
    assert first["fc.bias"].item() == pytest.approx(55.6)
    random = method_of(data)
    assert not torch.equal(random.regressor.first_weight, random.second.first_weight)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    method = made("cross_model", data, replace(SMALL, network=network), unlabelled_batch=2)
    torch.stack(list(method(first_batches(method, data), 0).losses.values())).sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.parameters())


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: TrainingData) -> None:
    """With what pseudo-labels need from random weights: statistics of the batch, and a weight that labels can bear."""
    option = {**OPTION, "pseudo_labels": "train", "weight": "1"}
    with monkeypatch.context() as patch:
        steps = ten_steps(patch, store.path, tmp_path / "ten", "cross_model", option=option)
        found = {loss: (first, last) for loss, first, last in steps}
    assert set(found) == {"labelled", "labelled_second", "unlabelled"}
    for loss, (first, last) in found.items():
        assert last < 0.97 * first, f"{loss}: {found}"
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "cross_model", option=OPTION)
    kept_is_validated(run, data)
    kept = load_bundle(run).regressor
    assert kept is not None
    assert isinstance(kept.network, Regressor)


def test_the_unlabelled_loss_changes_the_model(store: Store, tmp_path: Path) -> None:
    the_unlabelled_loss_counts(store.path, tmp_path, "cross_model")


def test_the_mean_of_both_can_be_kept(store: Store, tmp_path: Path, data: TrainingData) -> None:
    run = trained(store.path, tmp_path / "run", "cross_model", option={**OPTION, "model": "mean"})
    kept_is_validated(run, data)
    kept = load_bundle(run).regressor
    assert kept is not None
    assert kept.spec.members == 2
    clips = torch.randn(2, 3, 4, 32, 32)
    one, other = kept.network
    assert torch.equal(kept.network(clips), torch.stack([one(clips), other(clips)]).mean(0))
    assert not torch.allclose(one(clips), other(clips))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_bf16_loses_no_gradient(data: TrainingData, batches: dict[str, Any], mode: str) -> None:
    """Weights that pseudo-labels have used under autocast, which keeps its copies of them, still learn in the same step."""
    method = method_of(data, pseudo_labels=mode)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(batches, 0).losses
    assert reaches(losses["unlabelled"], method.regressor)
    assert reaches(losses["unlabelled"], method.second)
    assert reaches(losses["labelled"], method.regressor)
    assert reaches(losses["labelled_second"], method.second)


@pytest.mark.parametrize("network", NETWORKS)
def test_at_the_papers_size(network: str) -> None:
    method = paper_size("cross_model", network)
    assert count(method) == 2 * FULL[network]
    both, examples = method.step_examples()
    assert count(both) == 2 * FULL[network]
    assert [passed for _, passed in examples] == [20, 10]
    assert both(examples[0][0].to("meta")).shape == (2,)
    assert (method.options.weight, method.settings.loop.epochs) == (5.0, 25)


@pytest.mark.parametrize("option", [{"weight": -1.0}, {"unlabelled_batch": 0}, {"jitter": -1}, {"noise_size": -0.1}])
def test_bad_settings_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=f"option.{next(iter(option))}"):
        CrossModelOptions(**option)
