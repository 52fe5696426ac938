"""The segmenter's convolutions of large dilation are PyTorch's, values and gradients."""

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from echocycle.models.segmenter import AtrousConv, DeepLab


@pytest.mark.parametrize(
    ("dilation", "height", "width"),
    [(12, 14, 14), (24, 14, 14), (36, 14, 14), (12, 7, 7), (12, 14, 20), (12, 13, 25), (3, 5, 5), (3, 2, 5), (5, 5, 9)],
)
def test_far_taps(dilation: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 5, 3, padding=dilation, dilation=dilation, bias=False).double()
    own = AtrousConv.like(plain)
    assert own.weight is plain.weight
    maps = torch.randn(2, 6, height, width, dtype=torch.float64, requires_grad=True)
    expected, found = plain(maps), own(maps)
    torch.testing.assert_close(found, expected)
    seed = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (maps, plain.weight), seed)
    for got, want in zip(torch.autograd.grad(found, (maps, own.weight), seed), wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_a_bias_is_added_once() -> None:
    """Folding a batch normalisation gives it one."""
    own = AtrousConv.like(nn.Conv2d(2, 3, 3, padding=12, dilation=12, bias=False))
    bias = torch.tensor([1.0, -2.0, 3.0])
    maps = torch.randn(1, 2, 14, 14)
    without = own(maps)
    own.bias = nn.Parameter(bias)
    torch.testing.assert_close(own(maps), without + bias[:, None, None])


def test_the_seeded_weights_are_torchvisions() -> None:
    torch.manual_seed(3)
    reference = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
    torch.manual_seed(3)
    own = DeepLab()
    assert [module.dilation[0] for module in own.modules() if isinstance(module, AtrousConv)] == [12, 24, 36]
    for (name, value), (other, wanted) in zip(own.state_dict().items(), reference.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(value, wanted), name
