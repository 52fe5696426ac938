"""Segmentation networks: frames in, one logit a pixel and the encoder's features out."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.segmentation.deeplabv3 import DeepLabV3

from echocycle.errors import EchocycleError
from echocycle.models.fuse import Folding
from echocycle.models.packaged import zero_segmenter, zero_segmenter_network
from echocycle.models.weights import load_matching, read_state, torchvision_state


class SegmenterOutput(NamedTuple):
    """What a segmenter gives."""

    logits: Tensor
    """(batch, height, width): above 0 is left ventricle."""
    features: Tensor
    """(batch, dim, rows, columns): the encoder's last map, which the cyclical loss compares."""


class FrameSegmenter(Folding):
    """A segmenter that looks at each frame alone: an encoder and a decoder."""

    dim: int
    """Features of a position."""

    def encode(self, frames: Tensor) -> list[Tensor]:
        """Frames (batch, 3, height, width), normalised -> the encoder's maps, its features last."""
        raise NotImplementedError

    def decode(self, levels: list[Tensor], size: Sequence[int]) -> Tensor:
        """The encoder's maps -> logits (batch, height, width)."""
        raise NotImplementedError

    def forward(self, frames: Tensor) -> SegmenterOutput:
        """Frames (batch, 3, height, width), normalised."""
        network = self.in_use()
        levels = network.encode(frames)
        return SegmenterOutput(network.decode(levels, frames.shape[-2:]), levels[-1])


class AtrousConv(nn.Conv2d):
    """A 3x3 convolution whose dilation exceeds half its map, computed tap by tap where a tap reaches the map at all.

    The same parameters and sums as `nn.Conv2d`. On the 14x14 map of a frame of 112 pixels, dilations of 24 and 36
    leave the middle tap alone, and 12 the others along the border; PyTorch's gradient of the weights multiplies the
    zeros outside as well, which takes six times as long.
    """

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "AtrousConv":
        """One with the parameters of `conv`, which has no bias."""
        reach = conv.dilation[0]
        with torch.device("meta"):
            own = cls(conv.in_channels, conv.out_channels, 3, padding=reach, dilation=reach, bias=False)
        own.weight = conv.weight
        return own

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, rows, columns)."""
        reach, (height, width) = self.dilation[0], maps.shape[-2:]
        if 2 * reach <= max(height, width):
            return super().forward(maps)
        found = F.conv2d(maps, self.weight[..., 1:2, 1:2], self.bias)
        for (row, from_rows, to_rows), (column, from_columns, to_columns) in product(
            _taps(reach, height), _taps(reach, width)
        ):
            if (row, column) != (1, 1):
                tap = self.weight[..., row : row + 1, column : column + 1]
                found[..., to_rows, to_columns] += F.conv2d(maps[..., from_rows, from_columns], tap)
        return found


def _taps(reach: int, length: int) -> list[tuple[int, slice, slice]]:
    """The taps of three that reach a line of pixels: number, pixels that it reads, pixels that it adds to."""
    offsets = ((tap, (tap - 1) * reach) for tap in range(3))
    return [
        (tap, slice(max(0, o), length + min(0, o)), slice(max(0, -o), length - max(0, o)))
        for tap, o in offsets
        if abs(o) < length
    ]


class WholeMean(nn.Module):
    """The mean over a map; PyTorch's adaptive pooling to one pixel takes 30 times as long in bf16 on a CPU."""

    def forward(self, maps: Tensor) -> Tensor:
        """(batch, channels, rows, columns) -> (batch, channels, 1, 1)."""
        return F.avg_pool2d(maps, maps.shape[-2:])


class DeepLab(FrameSegmenter, DeepLabV3):
    """DeepLabV3-ResNet-50 with one logit; parameter names and values are torchvision's.

    112x112 pixels give 14x14 positions of 2048 features at layer 4.
    """

    dim = 2048
    backbone: nn.Module
    classifier: nn.Module

    def __init__(self) -> None:
        source = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
        super().__init__(source.backbone, source.classifier)
        for branch in source.classifier[0].convs[1:4]:
            branch[0] = AtrousConv.like(branch[0])
        source.classifier[0].convs[4][0] = WholeMean()

    def encode(self, frames: Tensor) -> list[Tensor]:
        """The features alone, at an eighth of the input's size."""
        return [self.backbone(frames.contiguous(memory_format=torch.channels_last))["out"]]

    def decode(self, levels: list[Tensor], size: Sequence[int]) -> Tensor:
        """ASPP and head."""
        logits = self.classifier(levels[-1])
        return F.interpolate(logits, size=list(size), mode="bilinear", align_corners=False)[:, 0]


class ConvBlock(nn.Sequential):
    """Twice: 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(FrameSegmenter):
    """A small U-Net; its features are the bottleneck, each level at half the size of the one before.

    With four levels a pixel's answer hangs on about 90 pixels around it, with six on all of a frame of 112. From the
    fourth level on the channels stay at 8 x `width`.
    """

    def __init__(self, width: int = 16, depth: int = 4):
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.dim = widths[-1]
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.decoder = nn.ModuleList(ConvBlock(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(width, 1, 1)

    def encode(self, frames: Tensor) -> list[Tensor]:
        """The maps of all levels, the finest first."""
        levels = []
        x = frames.contiguous(memory_format=torch.channels_last)
        for depth, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if depth else x)
            levels.append(x)
        return levels

    def decode(self, levels: list[Tensor], size: Sequence[int]) -> Tensor:
        """From the bottleneck up, each level joined with the encoder's."""
        x = levels[-1]
        for block, skip in zip(self.decoder, levels[-2::-1], strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return self.head(x)[:, 0]  # type: ignore[no-any-return]


SEGMENTERS: dict[str, Callable[[int], FrameSegmenter]] = {
    "deeplabv3_resnet50": lambda width: DeepLab(),
    "unet": UNet,
    "unet_deep": partial(UNet, depth=6),
}
"""Networks that look at each frame alone, by name; each is made from `width`."""


def load_segmenter_weights(network: nn.Module, weights: str) -> None:
    """Fill a segmenter with `imagenet` (backbone only), `zero` (the model in the package), nothing (`none`), or a file.

    A file may hold the whole segmenter (EchoNet's and the paper's checkpoints) or a ResNet-50 backbone.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        if not isinstance(network, DeepLab):
            raise EchocycleError("weights `imagenet` fits deeplabv3_resnet50 only; use --weights none.")
        state = torchvision_state(ResNet50_Weights.IMAGENET1K_V1, weights)
    elif weights == "zero":
        name, width = zero_segmenter_network()
        state = read_state(zero_segmenter())
        own = network.state_dict()
        if {key: value.shape for key, value in state.items()} != {key: value.shape for key, value in own.items()}:
            raise EchocycleError(
                f"Weights `zero` are those of {name} of width {width}, and this segmenter is another network. Only "
                f"--method supervised trains that one (--network {name} --width {width}); else use --weights none."
            )
    else:
        state = read_state(Path(weights))
    if isinstance(network, DeepLab) and "conv1.weight" in state:
        load_matching(network.backbone, state, weights, optional=())
    else:
        load_matching(network, state, weights, optional=())
