"""Clock, memory and arithmetic: what two sides of an operation need, measured in turns in one process.

A first round warms both sides up and watches memory; the rounds after it are timed, and which side goes first
changes from round to round, so that a slow minute of the machine meets both.
"""

import copy
import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psutil
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

REFERENCE, NO_TF32 = "reference", "reference, TF32 off"
OURS, OURS_BF16 = "echocycle", "echocycle, bf16"

Sides = dict[str, Callable[[int], object]]
"""What each side does, by name, given the number of the round."""


@dataclass
class Side:
    """What one side of an operation needed."""

    precision: str
    """`32`, `tf32` (fp32 whose convolutions may round to TF32) or `bf16`."""
    seconds: list[float] = field(default_factory=list)
    """Of each timed round."""
    host_bytes: int = 0
    """The most memory held during the first round, over what was held before it."""
    device_bytes: int = 0
    """The same on the GPU."""


@dataclass
class Operation:
    """One thing that both sides did."""

    name: str
    title: str
    unit: str
    count: int
    """Units in one round."""
    sides: dict[str, Side]
    flops: int | None = None
    """Floating-point operations of a round, counted on torchvision's networks; None where there is no network."""
    checks: dict[str, float] = field(default_factory=dict)
    """How far the results of both sides agree, and what else belongs to the operation."""
    measured: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def speedups(operation: Operation, side: str, against: str = REFERENCE) -> list[float]:
    """How many times as fast a side was as another, round by round."""
    rounds = zip(operation.sides[against].seconds, operation.sides[side].seconds, strict=True)
    return [slow / fast for slow, fast in rounds]


class Peak:
    """The most memory that this process comes to hold in a `with` block, over what it held before, in bytes.

    On Linux private memory alone: the pages of a memory-mapped file are the file's. Looked at every few milliseconds.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.host = self.on_device = 0

    def __enter__(self) -> "Peak":
        gc.collect()
        _give_back_memory()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._device_before = torch.cuda.memory_allocated()
        self._before = _private_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.003):
            self._look()

    def _look(self) -> None:
        self.host = max(self.host, _private_bytes() - self._before)

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            self.on_device = torch.cuda.max_memory_allocated() - self._device_before
        self._done.set()
        self._thread.join()
        self._look()


def _private_bytes() -> int:
    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))


def _give_back_memory() -> None:
    """Let the C library return what is free, or a block would grow into it unseen; only glibc can."""
    if os.name == "posix" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


class Meter:
    """Clock and memory of the sides of one operation."""

    def __init__(self, device: torch.device, precisions: dict[str, str]):
        self.device = device
        self.sides = {name: Side(precision) for name, precision in precisions.items()}

    @contextmanager
    def side(self, name: str, *, first: bool) -> Iterator[None]:
        """Time a side's round; in the first round watch its memory instead."""
        side = self.sides[name]
        if first:
            with Peak(self.device) as peak:
                yield
            side.host_bytes, side.device_bytes = peak.host, peak.on_device
            return
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        side.seconds.append(time.perf_counter() - start)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def take_turns(self, sides: Sides, repeats: int) -> None:
        """All sides in every round, forwards and backwards by turns: the first round and `repeats` timed ones."""
        for number in range(repeats + 1):
            order = list(sides) if number % 2 else list(reversed(sides))
            for name in order:
                with self.side(name, first=number == 0):
                    sides[name](number)


# --------------------------------------------------------------------------------------------- the reference


def references(device: torch.device, call: Callable[[int], object]) -> Sides:
    """The reference's side; on a GPU once as PyTorch comes, with TF32 in convolutions, and once without."""

    def exact(number: int) -> object:
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            return call(number)
        finally:
            torch.backends.cudnn.allow_tf32 = before

    return {REFERENCE: call, NO_TF32: exact} if device.type == "cuda" else {REFERENCE: call}


def precisions(device: torch.device, ours: dict[str, str]) -> dict[str, str]:
    """Precision by side, the references' included."""
    if device.type == "cuda":
        rounded = {side: "tf32" if precision == "32" else precision for side, precision in ours.items()}
        return {REFERENCE: "tf32", NO_TF32: "32", **rounded}
    return {REFERENCE: "32", **ours}


# ---------------------------------------------------------------------------------------------- arithmetic


def count_flops(network: nn.Module, example: Tensor, *, backward: bool = False) -> int:
    """Floating-point operations of a pass, and of its backward pass, counted without content on the `meta` device."""
    twin = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter:
        output = twin(example.to("meta"))
        if backward:
            (output["out"] if isinstance(output, dict) else output).sum().backward()
    return int(counter.get_total_flops())


def matrix_rates(device: torch.device) -> dict[str, float]:
    """Floating-point operations a second of a large matrix product, by precision: what shares of peak are of."""
    names = ("32", "tf32", "bf16") if device.type == "cuda" else ("32", "bf16")
    return {name: _matrix_rate(device, name) for name in names}


def _matrix_rate(device: torch.device, precision: str) -> float:
    size = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    meter = Meter(device, {"product": precision})
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        meter.take_turns({"product": lambda _: left @ right}, 7)
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * size**3 / min(meter.sides["product"].seconds)
