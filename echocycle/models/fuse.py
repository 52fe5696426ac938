"""Batch normalisation folded into the convolution before it: the same sums in fewer passes over memory."""

import copy
from itertools import chain, pairwise
from typing import Self

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode in which convolutions do the work of the batch normalisations that follow them.

    A normalisation follows a convolution where it is registered right behind it, or behind a sequence that ends in
    one, as in torchvision's ResNets.
    """
    twin = copy.deepcopy(network).eval()
    for parent in list(twin.modules()):
        for (_, before), (name, module) in pairwise(list(parent.named_children())):
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d) and (conv := _last_convolution(before)):
                fused = fuse_conv_bn_eval(conv, module)
                conv.weight, conv.bias = fused.weight, fused.bias
                setattr(parent, name, nn.Identity())
    return twin


def _last_convolution(module: nn.Module) -> nn.Conv2d | nn.Conv3d | None:
    if isinstance(module, nn.Sequential) and len(module):
        return _last_convolution(module[-1])
    return module if isinstance(module, nn.Conv2d | nn.Conv3d) else None


class Folding(nn.Module):
    """A network that has a folded twin for inference.

    The twin follows every change of the weights that autograd counts; one made through `.data` it does not see.
    """

    _twin: Self | None = None
    _twin_of: object = None

    def in_use(self) -> Self:
        """The network itself in training and where gradients are wanted; else its twin, made anew for new weights."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self
        weights = [(t.data_ptr(), t._version) for t in chain(self.parameters(), self.buffers())]
        if weights != self._twin_of:
            object.__setattr__(self, "_twin", None)
            object.__setattr__(self, "_twin", fold_batch_norms(self))  # not a submodule: it has no weights of its own
            self._twin_of = weights
        assert self._twin is not None
        return self._twin
