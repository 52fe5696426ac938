"""Regression networks: a clip in, ejection fraction out; torchvision's video ResNets with widths as a setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.video import MC3_18_Weights, R2Plus1D_18_Weights, R3D_18_Weights, VideoResNet
from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, Conv3DNoTemporal, Conv3DSimple

from echocycle.errors import EchocycleError
from echocycle.models.weights import load_matching, read_state, torchvision_state

NETWORKS = {
    "r2plus1d_18": ([Conv2Plus1D] * 4, R2Plus1D_18_Weights.KINETICS400_V1),
    "r3d_18": ([Conv3DSimple] * 4, R3D_18_Weights.KINETICS400_V1),
    "mc3_18": ([Conv3DSimple] + [Conv3DNoTemporal] * 3, MC3_18_Weights.KINETICS400_V1),
}
"""Convolutions of the four stages, and torchvision's weights, by name."""

STEM_MIDDLE = 45
"""Channels between the two convolutions of torchvision's R(2+1)D stem, whose output has 64."""


def _basic_stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _split_stem(channels: int, width: int) -> nn.Sequential:
    middle = STEM_MIDDLE * width // 64
    return nn.Sequential(
        nn.Conv3d(channels, middle, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), stride=1, padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


class Regressor(VideoResNet):
    """R(2+1)D-18, R3D-18 or MC3-18 with one output, EF in percent.

    With widths 64, 128, 256, 512 and three channels the parameters are torchvision's, name for name. The output is
    `target_scale` times the last layer's, so that networks from random weights need not grow it to 55.
    """

    def __init__(
        self,
        network: str = "r2plus1d_18",
        widths: Sequence[int] = (64, 128, 256, 512),
        channels: int = 3,
        target_scale: float = 1.0,
    ):
        if network not in NETWORKS:
            raise EchocycleError(f"There is no regressor {network!r}; choose one of {', '.join(NETWORKS)}.")
        nn.Module.__init__(self)
        self.channels, self.target_scale = channels, target_scale
        makers = NETWORKS[network][0]
        stem = _split_stem if network == "r2plus1d_18" else _basic_stem
        self.stem = stem(channels, widths[0])
        self.inplanes = widths[0]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._make_layer(BasicBlock, maker, width, 2, stride=1 if stage == 0 else 2)
            for stage, (maker, width) in enumerate(zip(makers, widths, strict=True))
        )
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
        self.to(memory_format=torch.channels_last_3d)  # as fast or faster wherever it was tried

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (batch, channels, time, height, width), normalised -> EF (batch,), percent."""
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        return super().forward(clips)[:, 0] * self.target_scale

    def set_bias(self, ef: float) -> None:
        """Let the network's first answer be `ef` percent."""
        nn.init.constant_(self.fc.bias, ef / self.target_scale)


def load_regressor_weights(network: Regressor, name: str, weights: str) -> None:
    """Fill all but `fc` (and a fourth input channel) with `kinetics`, nothing (`none`), or a local file.

    A file with an `fc` of one output (an EF checkpoint) fills that too.
    """
    if weights == "none":
        return
    state = torchvision_state(NETWORKS[name][1], weights) if weights == "kinetics" else read_state(Path(weights))
    stem = state.get("stem.0.weight")
    if stem is not None and network.channels == 4 and stem.shape[1] == 3:
        state["stem.0.weight"] = torch.cat([stem, network.stem[0].weight.detach()[:, 3:]], 1)
    if stem is not None and network.channels == 3 and stem.shape[1] == 4:
        state["stem.0.weight"] = stem[:, :3]
    load_matching(network, state, weights, optional=("fc.",))


def init_mask_channel(network: Regressor, how: Literal["uniform", "zero", "mean"] = "uniform") -> None:
    """Fill the fourth input channel of the first convolution.

    `uniform` over [-1, 1] is the public code's (about 20 times the scale of the others; batch normalisation absorbs
    it); `zero` starts as if there were no mask; `mean` takes the mean of the RGB weights.
    """
    weight = network.stem[0].weight
    with torch.no_grad():
        if how == "uniform":
            nn.init.uniform_(weight[:, 3:], -1.0, 1.0)
        elif how == "zero":
            weight[:, 3:] = 0.0
        else:
            weight[:, 3:] = weight[:, :3].mean(1, keepdim=True)


def copy_without_mask_channel(teacher: Regressor, student: Regressor) -> None:
    """Start the student as the teacher with batch normalisation and `fc`, its mask channel left out."""
    state = teacher.state_dict()
    state["stem.0.weight"] = state["stem.0.weight"][:, :3].clone()
    student.load_state_dict(state)
