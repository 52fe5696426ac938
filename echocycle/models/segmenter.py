"""Segmentation networks: frames in, one logit a pixel and the encoder's features out."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.segmentation.deeplabv3 import DeepLabV3

from echocycle.errors import EchocycleError
from echocycle.models.weights import load_matching, read_state, torchvision_state


class SegmenterOutput(NamedTuple):
    """What a segmenter gives."""

    logits: Tensor
    """(batch, height, width): above 0 is left ventricle."""
    features: Tensor
    """(batch, dim, rows, columns): the encoder's last map, which the cyclical loss compares."""


class DeepLab(DeepLabV3):
    """DeepLabV3-ResNet-50 with one logit; parameter names and values are torchvision's.

    112x112 pixels give 14x14 positions of 2048 features at layer 4.
    """

    def __init__(self) -> None:
        source = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
        super().__init__(source.backbone, source.classifier)

    def forward(self, frames: Tensor) -> SegmenterOutput:  # type: ignore[override]
        """Frames (batch, 3, height, width), normalised."""
        features = self.backbone(frames.contiguous(memory_format=torch.channels_last))["out"]
        logits = self.classifier(features)
        logits = F.interpolate(logits, size=frames.shape[-2:], mode="bilinear", align_corners=False)
        return SegmenterOutput(logits[:, 0], features)


class _Block(nn.Sequential):
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


class UNet(nn.Module):
    """A small U-Net of four levels; its features are the bottleneck at an eighth of the input's size."""

    def __init__(self, width: int = 16):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.encoder = nn.ModuleList(_Block(a, b) for a, b in zip([3, *widths[:-1]], widths, strict=True))
        self.decoder = nn.ModuleList(_Block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, frames: Tensor) -> SegmenterOutput:
        """Frames (batch, 3, height, width), normalised; height and width are multiples of 8."""
        levels = []
        x = frames.contiguous(memory_format=torch.channels_last)
        for depth, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if depth else x)
            levels.append(x)
        features = x
        for block, skip in zip(self.decoder, levels[-2::-1], strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return SegmenterOutput(self.head(x)[:, 0], features)


SEGMENTERS: dict[str, Callable[[int], nn.Module]] = {"deeplabv3_resnet50": lambda width: DeepLab(), "unet": UNet}
"""Networks by name; each is made from `width`."""


def build_segmenter(network: str, width: int = 16) -> nn.Module:
    """A segmenter with random weights."""
    if network not in SEGMENTERS:
        raise EchocycleError(f"There is no segmenter {network!r}; choose one of {', '.join(SEGMENTERS)}.")
    # channels last: half the time of a pass on a CPU, and what matrix units want on a GPU
    return SEGMENTERS[network](width).to(memory_format=torch.channels_last)


def load_segmenter_weights(network: nn.Module, weights: str) -> None:
    """Fill a segmenter with `imagenet` (backbone only), nothing (`none`), or a local file.

    A file may hold the whole segmenter (EchoNet's and the paper's checkpoints) or a ResNet-50 backbone.
    """
    if weights == "none":
        return
    if weights == "imagenet":
        if not isinstance(network, DeepLab):
            raise EchocycleError("weights `imagenet` fits deeplabv3_resnet50 only; use --weights none.")
        state = torchvision_state(ResNet50_Weights.IMAGENET1K_V1, weights)
    else:
        state = read_state(Path(weights))
    if isinstance(network, DeepLab) and "conv1.weight" in state:
        load_matching(network.backbone, state, weights, optional=())
    else:
        load_matching(network, state, weights, optional=())
