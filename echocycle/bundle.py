"""The bundle: a trained model as a folder that evaluate, mask, predict and export read; nothing else is needed.

model/
  settings.json            format, parts with their settings and hashes, where the model comes from
  segmenter.safetensors    frames -> left-ventricle mask (if the model has one)
  regressor.safetensors    clip (and masks) -> EF (if the model has one)
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from echocycle.errors import EchocycleError
from echocycle.files import read_json, replacing, sha256, write_json
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import Ensemble, Regressor
from echocycle.models.segmenter import build_segmenter
from echocycle.settings import Precision, from_dict, to_dict

FORMAT = 1


@dataclass(frozen=True)
class SegmenterSpec:
    """What is needed to build a segmenter and its input."""

    network: str
    width: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: bool
    standardise: bool = False
    """Each frame is brought to mean 0 and standard deviation 1 of its own instead of the training videos'."""
    option: dict[str, str] = field(default_factory=dict)
    """Further settings of a network that looks at more than one frame at once."""

    def build(self) -> nn.Module:
        """The network with random weights."""
        return build_segmenter(self.network, self.width, self.option)


@dataclass(frozen=True)
class RegressorSpec:
    """What is needed to build a regressor and its input."""

    network: str
    widths: tuple[int, ...]
    channels: int
    """What goes in: 3 is the video, 4 the video and its masks, 1 the masks alone."""
    target_scale: float
    size: int
    frames: int
    period: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: bool
    members: int = 1
    """Networks whose mean is the answer."""
    dropout: float = 0.0
    """Share of values dropped between the stages."""
    passes: int = 1
    """Passes with dropout whose mean is a network's answer."""

    @property
    def span(self) -> int:
        """Video frames from a clip's first to its last, both counted."""
        return (self.frames - 1) * self.period + 1

    @property
    def takes_video(self) -> bool:
        """Whether the network sees the video's frames."""
        return self.channels != 1

    @property
    def takes_masks(self) -> bool:
        """Whether the network sees masks."""
        return self.channels != 3

    def visible(self, clips: Tensor) -> Tensor:
        """The channels that the network takes of clips (batch, 3 or 4, time, height, width), masks last."""
        return clips[:, -self.channels :] if self.takes_masks else clips[:, :3]

    def build_one(self) -> Regressor:
        """One network with random weights."""
        return Regressor(self.network, self.widths, self.channels, self.target_scale, self.dropout, self.passes)

    def build(self) -> nn.Module:
        """The network, or all members, with random weights."""
        return self.build_one() if self.members == 1 else Ensemble(self.build_one() for _ in range(self.members))


@dataclass
class Part:
    """A network ready to use, with its input preparation."""

    spec: Any
    network: nn.Module
    hash: str = ""

    def __post_init__(self) -> None:
        standardise = getattr(self.spec, "standardise", False)
        self.preprocess = Preprocess(self.spec.mean, self.spec.std, self.spec.size, standardise)

    def to(self, device: torch.device) -> "Part":
        """Move to a device, in evaluation mode and without gradients."""
        self.network.to(device).eval().requires_grad_(False)
        self.preprocess.to(device)
        return self


@dataclass
class Bundle:
    """A trained model: a segmenter, a regressor, or both."""

    segmenter: Part | None = None
    regressor: Part | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    """Run, method, seed, versions, data, label budget."""
    reference: dict[str, Any] = field(default_factory=dict)
    """What the training videos measure like, to notice a recording that is unlike them."""
    path: Path | None = None

    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name."""
        parts = {"segmenter": self.segmenter, "regressor": self.regressor}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def id(self) -> str:
        """Short hash of all weights."""
        return "-".join(part.hash[:12] for part in self.parts().values())


_SPECS: dict[str, Any] = {"segmenter": SegmenterSpec, "regressor": RegressorSpec}


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle; each file is replaced whole, settings.json last, and it names the weights' hashes."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Any] = {}
    for name, part in bundle.parts().items():
        tensors = {key: value.detach().cpu().contiguous() for key, value in part.network.state_dict().items()}
        with replacing(folder / f"{name}.safetensors") as temporary:
            save_file(tensors, temporary)
        parts[name] = {"sha256": sha256(folder / f"{name}.safetensors"), "spec": to_dict(part.spec)}
        part.hash = parts[name]["sha256"]
    write_json(
        folder / "settings.json",
        {
            "format": FORMAT,
            "note": "Research software, not a medical device.",
            "parts": parts,
            "provenance": bundle.provenance,
            "reference": bundle.reference,
        },
    )


def bundle_folder(path: Path) -> Path:
    """The bundle's folder, given it or the run that holds it as `model/`."""
    path = Path(path)
    return path / "model" if (path / "model" / "settings.json").exists() else path


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Read a bundle, given its folder or the run that holds it.

    Raises `EchocycleError` when a file is missing, of another format, or not the one settings.json names.
    """
    from safetensors.torch import load_file

    folder = bundle_folder(path)
    if not (folder / "settings.json").exists():
        raise EchocycleError(
            f"{path} holds no trained model (no settings.json in it or in its folder `model`). "
            "Name a finished run, or its `model` folder."
        )
    content = read_json(folder / "settings.json")
    if content.get("format") != FORMAT:
        raise EchocycleError(f"{folder} is a bundle of format {content.get('format')}; this version reads {FORMAT}.")
    bundle = Bundle(provenance=content["provenance"], reference=content["reference"], path=folder)
    for name, description in content["parts"].items():
        file = folder / f"{name}.safetensors"
        if not file.exists():
            raise EchocycleError(f"{file} is missing; the bundle {folder} is incomplete.")
        found = sha256(file)
        if found != description["sha256"]:
            raise EchocycleError(
                f"{file} is not the file that settings.json names (SHA-256 differs): it was changed or damaged. "
                "Copy the bundle again."
            )
        spec = from_dict(_SPECS[name], description["spec"], f"{name}.")
        network = spec.build()
        network.load_state_dict(load_file(file))
        setattr(bundle, name, Part(spec, network, found).to(torch.device(device)))
    return bundle


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise EchocycleError("device is `cuda`, but PyTorch finds no GPU here; use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(name: Precision, device: torch.device) -> Precision:
    """`32`, `bf16` or `auto` as one of the first two; `auto` is bf16 where the device computes in it natively.

    PyTorch's 3D convolutions have wrong bf16 gradients on a CPU (infinite, NaN, or pointing elsewhere); no network
    here computes them as such (`models/regressor.py`).
    """
    if name != "auto":
        return name
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "32"
