"""A guard on speed: ratios to the reference's way on the same batch, never times, with room for a busy machine.

Measured on two free cores in whole size (docs/performance.md): 3.1 times for a step, 3.2 for masks in bf16. Where a
processor does not compute in bf16, ours must still not be slower.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch import Tensor

from echocycle.benchmarks import reference
from echocycle.benchmarks.clip_loading import measure_input
from echocycle.benchmarks.ground import BenchPlan, Ground
from echocycle.benchmarks.measure import OURS, REFERENCE, Meter, Operation, speedups
from echocycle.data.store import Store
from echocycle.device import choose_precision
from echocycle.models.build import build_segmenter
from echocycle.models.regressor import Regressor
from echocycle.models.sliding import answers
from echocycle.phantom.settings import PhantomSettings

CPU = torch.device("cpu")
PRECISION = choose_precision("auto", CPU)
LEAST = 1.25 if PRECISION == "bf16" else 0.8


def in_ours() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=PRECISION == "bf16")


def gain(plain: Callable[[], object], ours: Callable[[], object]) -> float:
    """How many times as fast ours is, in the median of three rounds taken in turns."""
    meter = Meter(CPU, {REFERENCE: "32", OURS: PRECISION})
    meter.take_turns({REFERENCE: lambda _: plain(), OURS: lambda _: ours()}, 3)
    return median(speedups(Operation("", "", "", 1, meter.sides), OURS))


@pytest.mark.slow
def test_clips_are_cut_and_loaded(store: Store, phantom_folder: Path, tmp_path: Path) -> None:
    """In whole size: 127 times for the cut and 68 for loading were measured."""
    plan = BenchPlan("guard", 3, PhantomSettings(), load_batch=8)
    ground = Ground(phantom_folder, store, tmp_path, plan, CPU)
    found = {operation.name: median(speedups(operation, OURS)) for operation in measure_input(ground)}
    assert found["cut"] > 12
    assert found["clips"] > 4


@pytest.mark.slow
def test_a_training_step_of_r2plus1d() -> None:
    torch.manual_seed(0)
    clips, ef = torch.randn(2, 3, 16, 56, 56), torch.tensor([40.0, 60.0])
    theirs, ours = reference.regressor(), Regressor()
    optimisers = [reference.optimiser(network, 1e-4) for network in (theirs, ours)]

    def step() -> None:
        optimisers[1].zero_grad()
        with in_ours():
            loss = (ours.train()(clips).float() - ef).square().mean()
        loss.backward()
        optimisers[1].step()

    assert gain(lambda: reference.regression_step(theirs, optimisers[0], clips, ef), step) > LEAST


@pytest.mark.slow
@torch.no_grad()
def test_masks_of_deeplab() -> None:
    torch.manual_seed(0)
    frames = torch.randn(12, 3, 112, 112)
    theirs, ours = reference.segmenter().eval(), build_segmenter("deeplabv3_resnet50").eval()

    def mark() -> Tensor:
        with in_ours():
            return ours(frames).logits

    assert gain(lambda: theirs(frames)["out"], mark) > LEAST


@pytest.mark.slow
@torch.no_grad()
def test_an_evaluation_shares_what_neighbouring_clips_have_in_common() -> None:
    """In fp32 on both sides, so that nothing but sharing can be faster; the answers are the same."""
    torch.manual_seed(0)
    network = Regressor(widths=(32, 32, 32, 32)).eval()
    video, starts = torch.randn(3, 56, 56, 56), list(range(24))

    def one_by_one() -> Tensor:
        return network(torch.stack([video[:, start : start + 32] for start in starts]))

    def shared() -> Tensor:
        return answers(network, video, starts, 32, 1)

    np.testing.assert_allclose(shared(), one_by_one(), rtol=1e-3, atol=1e-3)
    assert gain(one_by_one, shared) > 1.15
