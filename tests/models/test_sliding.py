"""Clips that overlap get the answers that each would get alone."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from echocycle.models import sliding
from echocycle.models.regressor import NETWORKS, Ensemble, Regressor
from echocycle.models.sliding import answers


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> Regressor:
    """A slim network whose answers depend on the clip."""
    torch.manual_seed(0)
    made = Regressor(request.param, (4, 8, 8, 8), channels=4)
    with torch.no_grad():
        for _ in range(3):
            made.train()(torch.randn(2, 4, 16, 24, 24) + 0.3)
        made.fc.weight.mul_(20)
    return made.eval()


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


VIDEO = torch.randn(4, 90, 24, 24, generator=torch.Generator().manual_seed(1))


def one_by_one(network: nn.Module, starts: list[int], frames: int, period: int) -> Tensor:
    return torch.cat([network(VIDEO[None, :, s : s + (frames - 1) * period + 1 : period]) for s in starts])


@pytest.mark.parametrize(
    ("starts", "frames", "period"),
    [
        (list(range(20)), 16, 2),
        (list(range(9, 30)), 12, 3),
        ([0, 4, 8, 12, 16, 20, 24], 32, 2),
        ([3, 2, 1, 0, 7, 7, 5], 14, 1),
        (list(range(6)), 11, 1),
        (list(range(12)), 10, 1),
        (list(range(12)), 4, 1),
        ([5], 32, 2),
    ],
    ids=["all", "later", "strided", "any-order", "hardly-room", "no-room", "short", "one"],
)
def test_every_clip_has_its_own_answer(network: Regressor, starts: list[int], frames: int, period: int) -> None:
    expected = one_by_one(network, starts, frames, period)
    assert len(starts) == 1 or expected.std() > 0.1
    found = answers(network, VIDEO, starts, frames, period)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_first_stage_sees_the_video_once(network: Regressor, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 clips of 32 frames: a fourth of the frames that a pass of each clip would take through the first stage."""
    seen: list[int] = []
    twin = network.in_use()
    last = twin.layer1[1].conv1  # type: ignore[index, union-attr]
    hook = next(m for m in last.modules() if isinstance(m, nn.Conv3d)).register_forward_hook(  # type: ignore[union-attr]
        lambda _, given, __: seen.append(given[0].shape[0] * given[0].shape[2])
    )
    answers(network, VIDEO, list(range(20)), 32, 2)
    hook.remove()
    assert 0 < sum(seen) < 0.5 * 20 * 32
    monkeypatch.setattr(sliding, "_run", lambda *_: pytest.fail("too few clips to share anything"))
    answers(network, VIDEO, [0, 1], 32, 2)


def test_networks_with_answers_of_their_own() -> None:
    """Several members, or dropout in use: the clips one by one."""
    torch.manual_seed(0)
    members = [Regressor(widths=(4, 4, 4, 4), channels=4).eval() for _ in range(2)]
    dropping = Regressor(widths=(4, 4, 4, 4), channels=4, dropout=0.3, passes=2).eval()
    for network in (Ensemble(members), dropping):
        expected = one_by_one(network, list(range(12)), 12, 1)
        torch.testing.assert_close(answers(network, VIDEO, list(range(12)), 12, 1), expected, rtol=1e-5, atol=1e-5)
