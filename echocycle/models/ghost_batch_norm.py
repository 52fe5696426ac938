"""Several batches in one pass of a network, each normalised by statistics of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def apart(network: nn.Module, parts: int) -> Iterator[None]:
    """Inside the block, a batch that passes `network` in training counts as `parts` equal batches, one after the other.

    Every batch normalisation takes the mean and the variance of each part alone, and its running statistics see the
    parts in order: what it computes and keeps is what `parts` passes would leave. The rest of the network, which
    looks at every example alone, is given all of them at once.
    """
    normalisations = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for module in normalisations:
        module.forward = _Apart(module, parts)  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in normalisations:
            del module.forward


class _Apart:
    def __init__(self, module: _BatchNorm, parts: int) -> None:
        self.module, self.parts = module, parts

    def __call__(self, x: Tensor) -> Tensor:
        forward = type(self.module).forward
        if not self.module.training:
            return forward(self.module, x)
        return torch.cat([forward(self.module, part) for part in x.tensor_split(self.parts)])
