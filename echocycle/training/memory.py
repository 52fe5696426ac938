"""Will it fit? The memory of a training step, counted on tensors without content before anything is started."""

import psutil
import torch
from torch import Tensor, nn

from echocycle.errors import EchocycleError

WORKSPACE = 1.3
"""What libraries and fragmentation add, as a factor."""


def saved_bytes(network: nn.Module, example: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, for one example, counted on the `meta` device."""
    import copy

    counted: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            counted[id(tensor)] = tensor.numel() * tensor.element_size()
            kept.append(tensor)
        return tensor

    kept: list[Tensor] = []
    twin = copy.deepcopy(network).to("meta").train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        twin(example.to("meta"))
    return sum(counted.values())


def available_bytes(device: torch.device) -> int:
    """Free memory of a device now."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return int(psutil.virtual_memory().available)


def step_bytes(network: nn.Module, examples: list[tuple[Tensor, int]]) -> int:
    """About how many bytes a training step needs; `examples` as in `check_fits`."""
    fixed, per_example = _parts(network, examples)
    return int((fixed + sum(per_example)) * WORKSPACE)


def _parts(network: nn.Module, examples: list[tuple[Tensor, int]]) -> tuple[int, list[float]]:
    """Bytes of the weights with gradients and two moments, and of each pass."""
    fixed = 4 * sum(p.numel() * p.element_size() for p in network.parameters())
    return fixed, [saved_bytes(network, example) / len(example) * count for example, count in examples]


def check_fits(
    network: nn.Module, examples: list[tuple[Tensor, int]], device: torch.device, *, setting: str, batch: int
) -> int:
    """Refuse a run whose step cannot fit, naming the largest batch that does.

    Args:
        examples: for each pass that is kept until the backward pass, an example with two items and its count.
        setting: the setting that the user can lower; its present value is `batch`.

    Returns:
        The estimate in bytes.
    """
    fixed, per_example = _parts(network, examples)
    need = int((fixed + sum(per_example)) * WORKSPACE)
    have = available_bytes(device)
    if need > have:
        adjustable, others = per_example[0], sum(per_example[1:])
        room = have / WORKSPACE - fixed - others
        largest = int(batch * room / adjustable) if room > 0 else 0
        advice = (
            f"The largest `{setting}` that fits is {largest}."
            if largest
            else ("No batch fits; use a smaller network or size.")
        )
        raise EchocycleError(
            f"A step needs about {need / 2**30:.1f} GiB and {device} has {have / 2**30:.1f} GiB free. {advice}"
        )
    return need
