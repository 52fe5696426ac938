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

from echocycle.errors import EchocycleError
from echocycle.files import read_json, replacing, sha256, write_json
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.settings.convert import from_dict, to_dict

FORMAT = 1
PACKAGED = {"zero": Path(__file__).parent / "zero" / "model"}
"""Models that come with the package, by the name that stands for their path."""


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
    def card(self) -> str | None:
        """What the model is, what it was measured on and where it ends, as Markdown; None for an own model."""
        file = self.path / "card.md" if self.path else None
        return file.read_text(encoding="utf-8") if file and file.exists() else None

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
    """The bundle's folder, given it, the run that holds it as `model/`, or the name of one of `PACKAGED`."""
    path = Path(path)
    if str(path) in PACKAGED and not path.exists():
        return PACKAGED[str(path)]
    return path / "model" if (path / "model" / "settings.json").exists() else path


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Read a bundle, given its folder, the run that holds it, or the name of one that comes with the package.

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
