"""Folded networks give what the unfolded ones give, and never what they gave with earlier weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from echocycle.models.build import build_segmenter
from echocycle.models.fuse import fold_batch_norms
from echocycle.models.regressor import NETWORKS, Regressor
from echocycle.models.segmenter import SEGMENTERS


def experienced(network: nn.Module, example: Tensor) -> nn.Module:
    """With running statistics of what passes, so that the outputs depend on the input."""
    with torch.no_grad():
        for _ in range(3):
            network.train()(example + 0.3 * torch.randn_like(example))
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) for module in network.modules())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_folded_regressors(name: str) -> None:
    torch.manual_seed(0)
    clips = torch.randn(2, 3, 8, 32, 32)
    network = experienced(Regressor(name, (8, 8, 16, 16)), clips)
    network.fc.weight.data.mul_(30)  # type: ignore[operator, union-attr]
    expected = network(clips).detach()  # with gradients, so not folded
    assert expected.std() > 0.1
    assert norms(network) > 15
    assert norms(fold_batch_norms(network)) == 0
    with torch.no_grad():
        torch.testing.assert_close(network(clips), expected, rtol=1e-5, atol=1e-5)
        assert norms(network.in_use()) == 0  # type: ignore[operator]


@pytest.mark.parametrize("name", list(SEGMENTERS))
def test_folded_segmenters(name: str) -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 3, 32, 32)
    network = experienced(build_segmenter(name, 4), frames)
    expected = network(frames)
    with torch.no_grad():
        for found, wanted in zip(network(frames), expected, strict=True):
            assert wanted.std() > 1e-3
            torch.testing.assert_close(found, wanted.detach(), rtol=1e-5, atol=1e-5)
        assert norms(network.in_use()) == 0  # type: ignore[operator]


@pytest.fixture
def network() -> Regressor:
    torch.manual_seed(0)
    clips = torch.randn(2, 3, 4, 16, 16)
    made = experienced(Regressor(widths=(4, 4, 8, 8)), clips)
    assert isinstance(made, Regressor)
    return made


CLIPS = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def unfolded(network: Regressor) -> Tensor:
    return network(CLIPS).detach()


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.layer1[0].conv1[0][0].weight.mul_(1.5),
        lambda n: torch.optim.SGD(n.parameters(), 0.1).step(),
        lambda n: n.load_state_dict({k: v * 1.1 if v.is_floating_point() else v for k, v in n.state_dict().items()}),
        lambda n: n.stem[1].running_mean.add_(0.5),
        lambda n: n.train()(CLIPS) * 0 + (n.eval() is None),
        lambda n: n.double().float().layer2[0].conv1[1].weight.mul_(2),
    ],
    ids=["weight", "optimiser", "load", "running-mean", "training", "moved"],
)
def test_a_change_of_weights_is_noticed(network: Regressor, change: object) -> None:
    with torch.no_grad():
        network(CLIPS)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        change(network)  # type: ignore[operator]
        network.eval()
        found = network(CLIPS)
    torch.testing.assert_close(found, unfolded(network), rtol=1e-5, atol=1e-5)


def test_the_twin_is_made_once(network: Regressor) -> None:
    with torch.no_grad():
        network(CLIPS)
        twin = network.in_use()
        network(CLIPS)
        assert network.in_use() is twin
        assert twin is not network
    assert network.in_use() is network  # where gradients are wanted
    with torch.no_grad():
        assert network.train().in_use() is network


def test_the_twin_is_nobodys_weights(network: Regressor) -> None:
    names = list(network.state_dict())
    with torch.no_grad():
        network(CLIPS)
    assert list(network.state_dict()) == names
    assert len(list(network.modules())) == len(list(Regressor(widths=(4, 4, 8, 8)).modules()))
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.fc.bias.add_(7)
        assert not torch.equal(other(CLIPS), network(CLIPS))
        torch.testing.assert_close(other(CLIPS), unfolded(network) + 7)


def test_gradients_see_the_network_itself(network: Regressor) -> None:
    with torch.no_grad():
        network(CLIPS)
    clips = CLIPS.clone().requires_grad_()
    network(clips).sum().backward()
    assert clips.grad is not None
    assert clips.grad.abs().max() > 0
    assert all(p.grad is not None for p in network.parameters())
