"""A run that cannot fit is refused before it starts, and the batch that the refusal names does fit."""

import re

import pytest
import torch
from torch import Tensor, nn

from echocycle.errors import EchocycleError
from echocycle.models.build import build_segmenter
from echocycle.models.regressor import Regressor
from echocycle.training import memory
from echocycle.training.memory import WORKSPACE, available_bytes, check_fits, saved_bytes

CPU = torch.device("cpu")


def need(network: nn.Module, batch: int, others: int, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 10**15)
    return fits(network, batch, others)


def fits(network: nn.Module, batch: int, others: int) -> int:
    example = torch.empty(2, 3, 8, 32, 32)
    return check_fits(network, [(example, batch), (example, others)], CPU, setting="batch", batch=batch)


@pytest.mark.parametrize("others", [0, 3])
def test_the_largest_batch_that_is_named_fits_and_no_larger_one(monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    network = Regressor("r2plus1d_18", (4, 8, 8, 8))
    least = need(network, 1, others, monkeypatch)
    room = int(least * 3.3)
    monkeypatch.setattr(memory, "available_bytes", lambda device: room)
    with pytest.raises(EchocycleError) as caught:
        fits(network, 100, others)
    largest = int(re.search(r"largest `batch` that fits is (\d+)", str(caught.value))[1])  # type: ignore[index]
    assert 1 < largest < 100
    assert fits(network, largest, others) <= room
    with pytest.raises(EchocycleError, match="that fits is"):
        fits(network, largest + 1, others)


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1000)
    with pytest.raises(EchocycleError, match="No batch fits; use a smaller network"):
        fits(Regressor("mc3_18", (4, 8, 8, 8)), 4, 0)


def test_memory_grows_with_the_batch_and_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Regressor("r2plus1d_18", (4, 8, 8, 8))
    one, two, three = (need(network, batch, 0, monkeypatch) for batch in (1, 2, 3))
    assert three - two == pytest.approx(two - one, abs=2)
    assert two > one
    small, large = (saved_bytes(network, torch.empty(2, 3, 8, size, size)) for size in (16, 32))
    assert 3 < large / small < 5


class _Squares(nn.Module):
    """Keeps exactly its input, twice looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).square().sum()


def test_what_is_kept_is_counted_in_bytes() -> None:
    """`x` for the gradient of the weight, and the product for that of the square; not the weight itself."""
    assert saved_bytes(_Squares(), torch.empty(5, 4)) == 2 * 5 * 4 * 4


def test_counting_leaves_the_network_alone() -> None:
    network = build_segmenter("unet", 4).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    saved_bytes(network, torch.empty(2, 3, 16, 16))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert next(network.parameters()).device == CPU


def test_there_is_memory() -> None:
    assert available_bytes(CPU) > 10**6
    assert WORKSPACE > 1
