"""The bundle: a trained model as a folder that evaluate, mask, predict and export read; nothing else is needed.

model/
  settings.json            format, parts with their settings and hashes, where the model comes from
  segmenter.safetensors    frames -> left-ventricle mask (if the model has one)
  regressor.safetensors    clip (and masks) -> EF (if the model has one)
  regressor-2.safetensors  a further EF network, and so on; the mean of all is the answer (bundles of format 2)
  verdict.json             how it did on held-out videos (once it is evaluated)
"""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import torch
from torch import nn

from echocycle.bundle_description import (
    FORMAT,
    REMEDY,
    SEVERAL_FORMAT,
    check_weights,
    read_description,
    regressor_name,
)
from echocycle.errors import EchocycleError
from echocycle.files import replacing, sha256, write_json
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.settings.convert import from_dict, to_dict


@dataclass
class Bundle:
    """A trained model: a segmenter, EF networks (mostly one), or both."""

    segmenter: Part | None = None
    regressor: Part | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    """Run, method, seed, versions, data, label budget."""
    reference: dict[str, Any] = field(default_factory=dict)
    """What the training videos measure like, to notice a recording that is unlike them."""
    path: Path | None = None
    further: tuple[Part, ...] = ()
    """EF networks besides `regressor`; the mean of all is the answer."""

    @property
    def regressors(self) -> list[Part]:
        """All EF networks."""
        return [] if self.regressor is None else [self.regressor, *self.further]

    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name."""
        parts = {} if self.segmenter is None else {"segmenter": self.segmenter}
        return parts | {regressor_name(number): part for number, part in enumerate(self.regressors)}

    @property
    def id(self) -> str:
        """Short hash of all weights."""
        return "-".join(part.hash[:12] for part in self.parts().values())


def save_bundle(bundle: Bundle, folder: Path, *, regressors: Sequence[Part] | None = None) -> None:
    """Write a bundle; each file is replaced whole, settings.json last, and it names the weights' hashes.

    Args:
        regressors: EF networks whose mean is the answer, in place of the bundle's own; one of them is as good as none
            that was named.
    """
    from safetensors.torch import save_file

    if regressors is not None:
        bundle.regressor, bundle.further = next(iter(regressors), None), tuple(regressors[1:])
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
            "format": SEVERAL_FORMAT if bundle.further else FORMAT,
            "note": "Research software, not a medical device.",
            "parts": parts,
            "provenance": bundle.provenance,
            "reference": bundle.reference,
        },
    )


def load_bundle(path: Path, device: torch.device | str = "cpu") -> Bundle:
    """Read a bundle, given its folder or the run that holds it.

    Raises `EchocycleError` when a file is missing, of another format, not the one settings.json names, or holds what
    cannot be a model: a value of another type, weights that are no numbers, a deviation of zero.
    """
    described = read_description(path)
    settings = described.path / "settings.json"
    _check_reference(described.reference, settings)
    bundle = Bundle(provenance=described.provenance, reference=described.reference, path=described.path)
    regressors: list[Part] = []
    for name, part in described.parts.items():
        check_weights(part)
        kind = SegmenterSpec if name == "segmenter" else RegressorSpec
        spec = _checked_spec(kind, part.spec, f"parts.{name}.spec.", settings)
        made = Part(spec, _network(spec, part.file, settings), part.sha256).to(torch.device(device))
        if name == "segmenter":
            bundle.segmenter = made
        else:
            regressors.append(made)
    if regressors:
        bundle.regressor, bundle.further = regressors[0], tuple(regressors[1:])
    return bundle


def _checked_spec(kind: type[Any], values: dict[str, Any], where: str, file: Path) -> Any:
    """The spec from settings.json; every value of its type, finite, and possible."""
    hints = get_type_hints(kind)
    for each in fields(kind):
        if each.name not in values:
            if each.default is MISSING and each.default_factory is MISSING:
                raise EchocycleError(f"{file} lacks the entry `{where}{each.name}`. {REMEDY}.")
        elif not _fits(hints[each.name], values[each.name]):
            told = repr(values[each.name])[:60]
            raise EchocycleError(f"{file}: `{where}{each.name}` is {told}, which it cannot be. {REMEDY}.")
    try:
        spec = from_dict(kind, values, where)
    except EchocycleError as error:
        raise EchocycleError(f"{file}: {error} {REMEDY}.") from None
    if problem := _impossible(spec):
        raise EchocycleError(f"{file}: `{where}{problem}. {REMEDY}.")
    return spec


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value of JSON has the type of a setting; numbers must be finite."""
    if kind is bool or kind is str:
        return isinstance(value, kind)
    if kind is int or kind is float:
        number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_fits(get_args(kind)[0], item) for item in value)
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _impossible(spec: SegmenterSpec | RegressorSpec) -> str | None:
    """The first value that no trained model has, as `name` and what is wrong."""
    channels = 3 if spec.color else 1
    for name in ("mean", "std"):
        if len(getattr(spec, name)) != channels:
            return f"{name}` has {len(getattr(spec, name))} values, and the frames have {channels} channels"
    if min(spec.std) <= 0:
        return f"std` is {list(spec.std)}; a standard deviation is above 0"
    counts = {"size": spec.size}
    if isinstance(spec, RegressorSpec):
        if spec.channels not in (1, 3, 4):
            return f"channels` is {spec.channels}; choose 1, 3 or 4"
        if len(spec.widths) != 4:
            return f"widths` has {len(spec.widths)} values; a network has 4 stages"
        if spec.target_scale <= 0:
            return f"target_scale` is {spec.target_scale}; it is above 0"
        if not 0 <= spec.dropout < 1:
            return f"dropout` is {spec.dropout}; it is at least 0 and under 1"
        counts |= {"frames": spec.frames, "period": spec.period, "members": spec.members, "passes": spec.passes}
        counts |= {"widths": min(spec.widths)}
    else:
        counts |= {"width": spec.width}
    wrong = next((name for name, count in counts.items() if count < 1), None)
    return None if wrong is None else f"{wrong}` is {getattr(spec, wrong)}; it is at least 1"


def _network(spec: SegmenterSpec | RegressorSpec, file: Path, settings: Path) -> nn.Module:
    """The network of a spec with the weights of a file."""
    from safetensors.torch import load_file

    try:
        network = spec.build()
    except Exception as error:  # what a network makes of settings that no network has
        raise EchocycleError(
            f"{settings} describes a network that cannot be built ({_line(error)}). {REMEDY}."
        ) from None
    try:
        weights = load_file(file)
        network.load_state_dict(weights)
    except OSError:
        raise
    except Exception as error:  # damaged in one of many ways, or another network's
        raise EchocycleError(
            f"{file} does not hold the weights of the network that {settings} describes ({_line(error)}). {REMEDY}."
        ) from None
    broken = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise EchocycleError(
            f"{file} holds weights that are no finite numbers ({', '.join(broken[:3])}): the training failed or the "
            "file is damaged. Train the model again, with a lower learning rate if it happens again."
        )
    return network


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _check_reference(reference: dict[str, Any], file: Path) -> None:
    """Refuse measures of the training videos that `data/likeness.py` could not compare."""
    from echocycle.data.domain_shift import WORDS

    version, ranges = reference.get("phantom_version"), reference.get("ranges", {})
    precision = reference.get("precision", "32")
    readable = (version is None or _fits(int, version)) and isinstance(ranges, dict)
    if not readable or precision not in ("32", "bf16", "auto"):
        raise EchocycleError(f"{file} has no readable entry `reference`. {REMEDY}.")
    for name, ends in ranges.items():
        if name not in WORDS or not _fits(tuple[float, ...], ends) or len(ends) != 2:
            raise EchocycleError(f"{file}: `reference.ranges.{name}` is not the range of a known measure. {REMEDY}.")


def check_parts(bundle: Bundle) -> None:
    """Refuse a model whose EF network needs masks that nothing makes."""
    if bundle.segmenter is None and any(part.spec.takes_masks for part in bundle.regressors):
        raise EchocycleError(f"The model {bundle.path} needs masks but has no segmenter; train it with --masks.")
