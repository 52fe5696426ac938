"""Published checkpoints, told apart by what is in them, as parts of a bundle.

| file | network |
|---|---|
| EchoNet-Dynamic, EF | R(2+1)D-18 (or R3D-18, MC3-18), three channels |
| EchoNet-Dynamic, segmentation | DeepLabV3-ResNet-50, one logit |
| CSS-SemiVideo, segmentation | the same; random states beside the weights |
| CSS-SemiVideo, f_m | R(2+1)D-18, four channels: it needs masks |
| CSS-SemiVideo, f_e | a student of three channels, and its teacher f_m under `state_dict_0` |
| AdaCon | R(2+1)D-18 with a second head `fc_ctr`, which training alone needs |

None of them holds the mean and standard deviation of its input: they must be named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from echocycle.errors import EchocycleError
from echocycle.models.regressor import NETWORKS
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.models.weights import load_matching, named_tensors, read_checkpoint

USUAL_MEAN, USUAL_STD = 33.0, 50.0
"""Grey levels of EchoNet-Dynamic's training clips, roughly; exact values come from a store of them."""

SIZE, FRAMES, PERIOD = 112, 32, 2
"""Pixels and clip of all published networks, where their file does not say otherwise."""


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint that was recognised."""

    path: Path
    name: str
    """What it is, for people."""
    kind: Literal["segmenter", "regressor"]
    network: str
    channels: int
    """Input channels of a regressor: 3, or 4 with masks."""
    state: dict[str, Tensor]
    """The weights that are used, under torchvision's names."""
    frames: int = FRAMES
    period: int = PERIOD


def recognise(path: Path) -> Checkpoint:
    """Read a published checkpoint safely and say which it is.

    Raises:
        EchocycleError: the file cannot be read, or holds something else; the sentence says what is known.
    """
    path = Path(path)
    content = read_checkpoint(path)
    state = named_tensors(content)
    if "classifier.4.weight" in state and any(name.startswith("backbone.") for name in state):
        return _segmenter(path, content, state)
    if "stem.0.weight" in state and "fc.weight" in state:
        return _regressor(path, content, state)
    seen = ", ".join(list(state)[:3]) or ", ".join(map(str, list(content)[:3])) or "nothing"
    raise EchocycleError(
        f"{path} is none of the published checkpoints (it holds {seen} ...). Known are EchoNet-Dynamic's EF and "
        "segmentation networks, CSS-SemiVideo's segmentation, f_m and f_e, and AdaCon's."
    )


def _segmenter(path: Path, content: dict[str, Any], state: dict[str, Tensor]) -> Checkpoint:
    outputs = state["classifier.4.weight"].shape[0]
    if outputs != 1:
        raise EchocycleError(f"{path} is a DeepLabV3 with {outputs} outputs; one logit, the left ventricle's, is used.")
    name = "CSS-SemiVideo segmentation" if "np_rndstate" in content else "EchoNet-Dynamic segmentation"
    kept = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
    return Checkpoint(path, name, "segmenter", "deeplabv3_resnet50", 3, kept)


def _regressor(path: Path, content: dict[str, Any], state: dict[str, Tensor]) -> Checkpoint:
    outputs, channels = state["fc.weight"].shape[0], state["stem.0.weight"].shape[1]
    if outputs != 1:
        raise EchocycleError(f"{path} is a video network with {outputs} outputs, not one EF; use it with --weights.")
    if channels not in (3, 4):
        raise EchocycleError(f"{path} takes {channels} channels; 3 (video) and 4 (video and masks) are known.")
    names = {
        "AdaCon": any(key.startswith("fc_ctr.") for key in state),
        "CSS-SemiVideo f_e": "state_dict_0" in content,
        "CSS-SemiVideo f_m": channels == 4,
    }
    name = next((name for name, holds in names.items() if holds), "EchoNet-Dynamic EF")
    kept = {key: value for key, value in state.items() if not key.startswith("fc_ctr.")}
    return Checkpoint(
        path,
        name,
        "regressor",
        _network_of(path, kept),
        channels,
        kept,
        _count(content, "frames", FRAMES),
        _count(content, "period", PERIOD),
    )


def _network_of(path: Path, state: dict[str, Tensor]) -> str:
    """Which of the three video ResNets has these names and kernels."""
    if "stem.3.weight" in state:
        return "r2plus1d_18"
    kernel = state.get("layer2.0.conv1.0.weight")
    depth = 0 if kernel is None else kernel.shape[2]
    found = {3: "r3d_18", 1: "mc3_18"}.get(depth)
    if found is None:
        raise EchocycleError(f"{path} is none of the networks {', '.join(NETWORKS)}.")
    return found


def _count(content: dict[str, Any], key: str, usual: int) -> int:
    """A whole number that the checkpoint holds, or the usual one where it does not."""
    value = content.get(key)
    return usual if value is None or int(value) < 1 else int(value)


def as_part(checkpoint: Checkpoint, mean: tuple[float, ...], std: tuple[float, ...], hash_: str) -> Part:
    """The network with its weights, ready for a bundle.

    Args:
        mean: of each colour channel of its training clips, in grey levels 0 to 255.
        std: standard deviation of the same.
        hash_: SHA-256 of the file.

    Raises:
        EchocycleError: weights are missing or of another shape.
    """
    if checkpoint.kind == "segmenter":
        spec: Any = SegmenterSpec(checkpoint.network, 16, SIZE, mean, std, color=True)
    else:
        spec = RegressorSpec(
            network=checkpoint.network,
            widths=(64, 128, 256, 512),
            channels=checkpoint.channels,
            target_scale=1.0,
            size=SIZE,
            frames=checkpoint.frames,
            period=checkpoint.period,
            mean=mean,
            std=std,
            color=True,
        )
    network: nn.Module = spec.build()
    load_matching(network, checkpoint.state, str(checkpoint.path), optional=())
    return Part(spec, network, hash_)
