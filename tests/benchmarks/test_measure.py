"""Clock and memory measure what they say; arithmetic is counted right."""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from torch import nn

from echocycle.benchmarks import measure
from echocycle.benchmarks.measure import (
    NO_TF32,
    OURS,
    OURS_BF16,
    REFERENCE,
    Meter,
    Operation,
    Peak,
    Side,
    count_flops,
    matrix_rates,
    precisions,
    references,
    speedups,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda")
MIB = 2**20


def test_the_peak_is_what_a_block_holds_at_most() -> None:
    kept = []
    with Peak(CPU) as peak:
        first = np.ones(48 * MIB, np.uint8)
        second = np.ones(32 * MIB, np.uint8)
        time.sleep(0.05)
        del second
        kept.append(first)
        time.sleep(0.02)
    assert 80 * MIB <= peak.host < 96 * MIB
    with Peak(CPU) as nothing:
        time.sleep(0.02)
    assert nothing.host < 8 * MIB


def test_a_mapped_file_is_nobodys_memory(tmp_path: Path) -> None:
    np.ones(64 * MIB, np.uint8).tofile(tmp_path / "file")
    with Peak(CPU) as peak:
        total = int(np.memmap(tmp_path / "file", np.uint8, mode="r").sum(dtype=np.int64))
        time.sleep(0.02)
    assert total == 64 * MIB
    assert peak.host < 16 * MIB


def test_sides_take_turns() -> None:
    """Each side in every round, not always the same one first; the first round is not timed."""
    seen: list[tuple[str, int]] = []
    meter = Meter(CPU, {"a": "32", "b": "32"})
    meter.take_turns({name: lambda number, name=name: seen.append((name, number)) for name in "ab"}, 3)  # type: ignore[misc]
    assert seen == [("b", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2), ("a", 3), ("b", 3)]
    assert [len(side.seconds) for side in meter.sides.values()] == [3, 3]


def test_seconds_are_seconds() -> None:
    meter = Meter(CPU, {"slow": "32", "quick": "32"})
    meter.take_turns({"slow": lambda _: time.sleep(0.06), "quick": lambda _: time.sleep(0.01)}, 3)
    assert 0.06 <= min(meter.sides["slow"].seconds) < 0.2
    assert 0.01 <= min(meter.sides["quick"].seconds) < 0.06


def test_speedups_are_round_by_round() -> None:
    sides = {REFERENCE: Side("32", [4.0, 9.0]), OURS: Side("bf16", [2.0, 3.0])}
    assert speedups(Operation("f_m", "f_m step", "steps", 1, sides), OURS) == [2.0, 3.0]


def test_on_a_gpu_the_reference_runs_with_and_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(references(CPU, lambda _: None)) == [REFERENCE]
    assert precisions(CPU, {OURS: "32", OURS_BF16: "bf16"}) == {REFERENCE: "32", OURS: "32", OURS_BF16: "bf16"}
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen = {name: call(0) for name, call in references(GPU, lambda _: torch.backends.cudnn.allow_tf32).items()}
    assert seen == {REFERENCE: True, NO_TF32: False}
    assert torch.backends.cudnn.allow_tf32
    found = precisions(GPU, {OURS: "32", OURS_BF16: "bf16"})
    assert found == {REFERENCE: "tf32", NO_TF32: "32", OURS: "tf32", OURS_BF16: "bf16"}


def test_operations_are_counted() -> None:
    """Two for each multiplication and addition; the gradients of weights and of input cost as much again, each."""
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.Conv2d(5, 2, 1, bias=False))
    first, second = 2 * 5 * 3 * 9 * 64, 2 * 2 * 5 * 64
    example = torch.empty(4, 3, 8, 8)
    assert count_flops(network, example) == 4 * (first + second)
    # the input needs no gradient
    assert count_flops(network, example, backward=True) == 4 * (2 * first + 3 * second)
    assert all(p.device == CPU for p in network.parameters())


def test_the_rate_of_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = matrix_rates(CPU)
    assert list(rates) == ["32", "bf16"]
    assert all(1e9 < rate < 1e15 for rate in rates.values())
    assert torch.get_float32_matmul_precision() == "highest"


def test_private_memory_grows_with_what_is_touched() -> None:
    before = measure._private_bytes()
    block = np.ones(32 * MIB, np.uint8)
    assert measure._private_bytes() - before >= 30 * MIB
    assert median(block[:3]) == 1
