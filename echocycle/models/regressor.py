"""Regression networks: a clip in, ejection fraction out; torchvision's video ResNets with widths as a setting."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import MC3_18_Weights, R2Plus1D_18_Weights, R3D_18_Weights, VideoResNet
from torchvision.models.video.resnet import BasicBlock

from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.models.convolutions import FrameConv, SpatialConv, SplitConv, TemporalConv, ThreeConv, WholeConv
from echocycle.models.fuse import Folding
from echocycle.models.packaged import zero_regressor
from echocycle.models.weights import load_matching, read_state, torchvision_state

NETWORKS: dict[str, tuple[list[Any], Any]] = {
    "r2plus1d_18": ([SplitConv] * 4, R2Plus1D_18_Weights.KINETICS400_V1),
    "r3d_18": ([ThreeConv] * 4, R3D_18_Weights.KINETICS400_V1),
    "mc3_18": ([ThreeConv] + [FrameConv] * 3, MC3_18_Weights.KINETICS400_V1),
}
"""Convolutions of the four stages, and torchvision's weights, by name."""


SHAPES = Path(__file__).parent / "shapes"
"""Weights of small networks that have seen moving shapes (`regression/shapes.py`), in half precision, without `fc`."""


STEM_MIDDLE = 45
"""Channels between the two convolutions of torchvision's R(2+1)D stem, whose output has 64."""


def _basic_stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        WholeConv(channels, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _split_stem(channels: int, width: int) -> nn.Sequential:
    middle = STEM_MIDDLE * width // 64
    return nn.Sequential(
        SpatialConv(channels, middle, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        TemporalConv(middle, width, (3, 1, 1), stride=1, padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


class Regressor(Folding, VideoResNet):
    """R(2+1)D-18, R3D-18 or MC3-18 with one output, EF in percent.

    With widths 64, 128, 256, 512 and three channels the parameters are torchvision's, name for name. The output is
    `target_scale` times the last layer's, so that networks from random weights need not grow it to 55. With `dropout`
    above 0 that share of values is dropped between the four stages, in use too: the answer is then the mean of
    `passes` passes.
    """

    def __init__(
        self,
        network: str = "r2plus1d_18",
        widths: Sequence[int] = (64, 128, 256, 512),
        channels: int = 3,
        target_scale: float = 1.0,
        dropout: float = 0.0,
        passes: int = 1,
    ):
        if network not in NETWORKS:
            raise EchocycleError(f"There is no regressor {network!r}; choose one of {', '.join(NETWORKS)}.")
        nn.Module.__init__(self)
        self.channels, self.target_scale, self.widths = channels, target_scale, tuple(widths)
        self.dropout, self.passes = dropout, passes
        makers = NETWORKS[network][0]
        stem = _split_stem if network == "r2plus1d_18" else _basic_stem
        self.stem = stem(channels, widths[0])
        self.inplanes = widths[0]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._make_layer(BasicBlock, maker, width, 2, stride=1 if stage == 0 else 2)  # type: ignore[operator]
            for stage, (maker, width) in enumerate(zip(makers, widths, strict=True))
        )
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last_3d)  # as fast or faster wherever it was tried

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (batch, channels, time, height, width), normalised -> EF (batch,), percent.

        With dropout and in evaluation mode it is the mean of `passes` passes that drop the same values every time (on a
        GPU others than on a CPU) and of every clip, so that a clip's answer does not depend on those beside it.
        """
        if self.dropout and not self.training:
            generator = torch.Generator(clips.device).manual_seed(0)
            return self.answer(self.in_use().dropout_passes(clips, self.passes, generator)).mean(0)
        return self.answer(self.in_use().features(clips))

    def features(self, clips: Tensor) -> Tensor:
        """Clips -> what the last layer sees, (batch, dim)."""
        return self._late(self._early(clips), lambda x: F.dropout(x, self.dropout, self.training))

    def answer(self, features: Tensor) -> Tensor:
        """Features (..., dim) -> EF (...), percent."""
        return unrounded(self.fc, features)[..., 0] * self.target_scale

    def dropout_passes(self, clips: Tensor, passes: int, generator: torch.Generator | None = None) -> Tensor:
        """Features of several passes with dropout in any mode, (passes, batch, dim).

        Args:
            generator: draws what is dropped, the same of every clip; without it each clip loses values of its own.
        """

        def drop(x: Tensor) -> Tensor:
            if generator is None:
                return F.dropout(x, self.dropout)
            kept = torch.rand(x.shape[1:], generator=generator, device=x.device) >= self.dropout
            return x * kept / (1 - self.dropout)

        early = self._early(clips)
        return torch.stack([self._late(early, drop) for _ in range(passes)])

    def _early(self, clips: Tensor) -> Tensor:
        """Stem and first stage, which no dropout precedes."""
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
        return self.layer1(self.stem(clips))  # type: ignore[no-any-return]

    def _late(self, x: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """The other stages, each with `drop` before it, and the mean over time and positions."""
        for stage in (self.layer2, self.layer3, self.layer4):
            x = stage(drop(x))
        return self.avgpool(x).flatten(1)

    @property
    def first_weight(self) -> nn.Parameter:
        """The first convolution's weights, (outputs, channels, time, height, width)."""
        weight: nn.Parameter = self.stem[0].weight  # type: ignore[index, assignment, union-attr]
        return weight

    def set_bias(self, ef: float) -> None:
        """Let the network's first answer be `ef` percent."""
        nn.init.constant_(self.fc.bias, ef / self.target_scale)


def unrounded(layer: nn.Module, features: Tensor) -> Tensor:
    """A last layer in its weights' own precision, also under autocast: in bf16 an EF of 53.1 % would be 53.0 %."""
    device = features.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        return layer(features.to(next(layer.parameters()).dtype))  # type: ignore[no-any-return]


class Ensemble(nn.ModuleList):
    """The mean answer of several regressors."""

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (batch, channels, time, height, width), normalised -> EF (batch,), percent."""
        return torch.stack([network(clips) for network in self]).mean(0)


def load_regressor_weights(network: Regressor, name: str, weights: str) -> set[str]:
    """Fill all but `fc` (and a fourth input channel) with `kinetics`, `shapes`, `zero`, nothing (`none`), or a file.

    `zero` is the first EF network of the model in the package; its last layer is taken too.

    A network that takes masks alone gets the sum of a file's weights for RGB: the mask then acts as given three times.
    A last layer of zeros, as method `shapes` leaves it, has learnt nothing and is not taken.

    Returns:
        Which of `fc` and `mask` (the fourth input channel) were filled too, as an EF checkpoint does.
    """
    if weights == "none":
        return set()
    if weights == "kinetics":
        state = torchvision_state(NETWORKS[name][1], weights)
    elif weights == "shapes":
        state = read_state(shapes_file(name, network.widths))
    else:
        file = zero_regressor(name, network.widths) if weights == "zero" else Path(weights)
        state = _rescaled(read_state(file), _scale_of(file), network.target_scale)
    stem, fc = state.get("stem.0.weight"), state.get("fc.weight")
    if fc is not None and not bool(fc.any()):
        state = {key: value for key, value in state.items() if not key.startswith("fc.")}
        fc = None
    filled = {"fc"} if fc is not None and fc.shape == network.fc.weight.shape else set()
    if stem is not None and network.channels == 4 and stem.shape[1] == 4:
        filled.add("mask")
    if stem is not None and network.channels == 4 and stem.shape[1] == 3:
        state["stem.0.weight"] = torch.cat([stem, network.first_weight.detach()[:, 3:]], 1)
    if stem is not None and network.channels == 3 and stem.shape[1] == 4:
        state["stem.0.weight"] = stem[:, :3]
    if stem is not None and network.channels == 1 and stem.shape[1] == 4:
        state["stem.0.weight"] = stem[:, 3:]
    if stem is not None and network.channels == 1 and stem.shape[1] == 3:
        state["stem.0.weight"] = stem.sum(1, keepdim=True)
    load_matching(network, state, weights, optional=("fc.",))
    return filled


def _rescaled(state: dict[str, Tensor], scale: float, wanted: float) -> dict[str, Tensor]:
    """The tensors with a last layer that gives the same EF at another `target_scale`."""
    return {key: value.float() * (scale / wanted) if key.startswith("fc.") else value for key, value in state.items()}


def _scale_of(file: Path) -> float:
    """The `target_scale` that a bundle's settings name for its file; 1 for other files: EF checkpoints give EF."""
    settings = file.parent / "settings.json"
    parts = read_json(settings).get("parts", {}) if settings.exists() else {}
    return float(parts.get(file.stem, {}).get("spec", {}).get("target_scale", 1.0))


def find_shapes(name: str, widths: Sequence[int]) -> Path | None:
    """The weights of `--weights shapes` for a network, if they come with the package."""
    found = SHAPES / f"{name}-{'-'.join(map(str, widths))}.safetensors"
    return found if found.exists() else None


def shapes_file(name: str, widths: Sequence[int]) -> Path:
    """The weights of `--weights shapes` for a network, which come with the package.

    Raises `EchocycleError` for a network that they do not exist for, saying how to make them.
    """
    found = find_shapes(name, widths)
    if found is None:
        known = ", ".join(sorted(file.stem for file in SHAPES.glob("*.safetensors")))
        raise EchocycleError(
            f"Weights `shapes` exist for {known}, not for {name} of widths {' '.join(map(str, widths))}. Use --weights "
            "none, or make them: `echocycle regress STORE RUN --preset tiny --method shapes` (for full-size networks "
            "--preset phantom) with this --network and --widths, then --weights RUN/model/regressor.safetensors."
        )
    return found


def init_mask_channel(network: Regressor, how: Literal["uniform", "zero", "mean"] = "uniform") -> None:
    """Fill the fourth input channel of the first convolution.

    `uniform` over [-1, 1] is the public code's (about 20 times the scale of the others; batch normalisation absorbs
    it); `zero` starts as if there were no mask; `mean` takes the mean of the RGB weights.
    """
    weight = network.first_weight
    with torch.no_grad():
        if how == "uniform":
            nn.init.uniform_(weight[:, 3:], -1.0, 1.0)
        elif how == "zero":
            weight[:, 3:] = 0.0
        else:
            weight[:, 3:] = weight[:, :3].mean(1, keepdim=True)


def copy_without_mask_channel(teacher: Regressor, student: Regressor) -> None:
    """Start the student as the teacher with batch normalisation and `fc`, its mask channel left out."""
    state = _rescaled(teacher.state_dict(), teacher.target_scale, student.target_scale)
    state["stem.0.weight"] = state["stem.0.weight"][:, :3].clone()
    student.load_state_dict(state)
