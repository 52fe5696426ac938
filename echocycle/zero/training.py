"""The loop that trains the networks of the model in the package: one cycle of the learning rate, averaged weights.

It is not the loop of the stages: there is no store and no label here, and clips are drawn while the network learns.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Say = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, and what is kept."""

    steps: int
    lr: float
    weight_decay: float = 1e-2
    average: float = 0.998
    """Decay of the averaged weights, which are what is kept."""
    clip_norm: float = 5.0
    stop: int = 0
    """Step after which to end early; 0: none."""


def fit(network: nn.Module, loss_of: Callable[[int], Tensor], schedule: Schedule, out: Path, say: Say) -> nn.Module:
    """Train `network` on the loss of each step; gives its averaged twin, and leaves that in `out` now and then."""
    out.mkdir(parents=True, exist_ok=True)
    network.train()
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    begun, values = time.monotonic(), []
    last = schedule.stop or schedule.steps
    for step in range(last):
        rate = rate_at(step, schedule.steps, schedule.lr)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(step)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        blend(average, network, min(schedule.average, (1 + step) / (10 + step)))
        values.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == last:
            say(f"{step + 1} loss {np.mean(values):.4f} lr {rate:.2g} {time.monotonic() - begun:.0f} s")
            values.clear()
        if (step + 1) % 250 == 0 or step + 1 == last:
            torch.save(average.state_dict(), out / "average.partial")
            (out / "average.partial").replace(out / "average.pt")
    return average.eval()


def rate_at(step: int, steps: int, highest: float) -> float:
    """One cycle: up over a twelfth of the steps, then down along a cosine."""
    rise = max(1, steps // 12)
    if step < rise:
        return highest * (0.04 + 0.96 * step / rise)
    return highest * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


@torch.no_grad()
def blend(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the averaged weights towards the network's."""
    for mean, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, 1 - keep)
        else:
            mean.copy_(new)
