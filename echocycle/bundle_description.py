"""What a bundle's settings.json says, checked before anything heavy is loaded: PyTorch is not imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.models.packaged import ZERO

FORMAT, SEVERAL_FORMAT = 1, 2
"""Of bundles with one EF network at most, which earlier versions read too, and of those with several."""
PARTS = ("segmenter", "regressor")
CHOICE = "choice.json"
"""What `train` leaves beside its runs: which of them is the model."""
REMEDY = "Copy the bundle again, or train the model again"


@dataclass(frozen=True)
class PartDescription:
    """One part of a bundle as settings.json tells it."""

    file: Path
    """Its weights."""
    sha256: str
    spec: dict[str, Any]
    """The network and its input; `bundle.py` checks each value."""


@dataclass(frozen=True)
class BundleDescription:
    """The content of settings.json."""

    path: Path
    parts: dict[str, PartDescription]
    provenance: dict[str, Any]
    reference: dict[str, Any]

    @property
    def id(self) -> str:
        """Short hash of all weights."""
        return "-".join(part.sha256[:12] for part in self.parts.values())

    @property
    def regressors(self) -> list[str]:
        """Names of the EF networks, whose mean is the answer."""
        return [name for name in self.parts if name != "segmenter"]

    @property
    def color(self) -> bool:
        """Whether the model was trained on RGB."""
        return any(part.spec.get("color") is True for part in self.parts.values())


PACKAGED = {"zero": ZERO}
"""Models that come with the package, by the name that stands for their path."""
UNASKED = "zero"
"""The one of them that is taken where no model is named."""


def regressor_name(number: int) -> str:
    """Name of an EF network of a bundle, counted from 0: regressor, regressor-2, regressor-3 and so on."""
    return "regressor" if number == 0 else f"regressor-{number + 1}"


def bundle_folder(path: Path) -> Path:
    """The bundle's folder, given it, the run that holds it as `model/`, the folder of `train` with its runs, or the
    name of one of `PACKAGED`."""
    path = Path(path)
    if str(path) in PACKAGED and not path.exists():
        return PACKAGED[str(path)]
    if (path / CHOICE).exists():
        content = read_json(path / CHOICE)
        run = str(content.get("run", "")) if isinstance(content, dict) else ""
        _require(
            run not in ("", "..") and Path(run).name == run,
            path / CHOICE,
            "does not name the run whose model was taken",
        )
        return path / "runs" / run / "model"
    return path / "model" if (path / "model" / "settings.json").exists() else path


def read_description(path: Path) -> BundleDescription:
    """Read settings.json of a bundle, given its folder or the run that holds it.

    Raises `EchocycleError` when it is missing, of another format, or lacks something.
    """
    folder = bundle_folder(path)
    file = folder / "settings.json"
    if not file.exists():
        raise EchocycleError(
            f"{path} holds no trained model (no settings.json in it or in its folder `model`). "
            "Name a finished run, or its `model` folder."
        )
    content = read_json(file)
    _require(isinstance(content, dict), file, "is not the description of a model")
    if content.get("format") not in (FORMAT, SEVERAL_FORMAT) or isinstance(content["format"], bool):
        raise EchocycleError(
            f"{folder} is a bundle of format {content.get('format')}; this version reads {FORMAT} and {SEVERAL_FORMAT}."
        )
    for key in ("parts", "provenance", "reference"):
        _require(isinstance(content.get(key), dict), file, f"has no readable entry `{key}`")
    parts = {}
    _require(len(content["parts"]) > 0, file, "names no network in `parts`")
    several = content["format"] == SEVERAL_FORMAT
    known = ["segmenter", *map(regressor_name, range(len(content["parts"]) if several else 1))]
    for name in content["parts"]:
        _require(name in known, file, f"names a part {name!r}; this version knows {' and '.join(PARTS)}")
    for name in known:
        if name in content["parts"]:
            each = content["parts"][name]
            _require(isinstance(each, dict), file, f"has no readable entry `parts.{name}`")
            for key, kind in (("sha256", str), ("spec", dict)):
                _require(isinstance(each.get(key), kind), file, f"has no readable entry `parts.{name}.{key}`")
            parts[name] = PartDescription(folder / f"{name}.safetensors", each["sha256"], each["spec"])
    _require(
        list(parts)[-1] in ("segmenter", regressor_name(len(parts) - 1 - ("segmenter" in parts))),
        file,
        "names a further EF network without those before it",
    )
    return BundleDescription(folder, parts, content["provenance"], content["reference"])


def check_weights(part: PartDescription) -> None:
    """Refuse weights that are missing, or are not the file that settings.json names."""
    if not part.file.exists():
        raise EchocycleError(f"{part.file} is missing; the bundle {part.file.parent} is incomplete. {REMEDY}.")
    if sha256(part.file) != part.sha256:
        raise EchocycleError(
            f"{part.file} is not the file that settings.json names (SHA-256 differs): it was changed or damaged. "
            "Copy the bundle again."
        )


def _require(condition: bool, file: Path, what: str) -> None:
    if not condition:
        raise EchocycleError(f"{file} {what}. {REMEDY}.")


def shareable(provenance: dict[str, Any]) -> dict[str, Any]:
    """What a bundle says of how it was made, without what may name a patient or a person: bundles are passed on.

    The command and the folder's name stay in the run and the store. Where weights are named by a path, as with
    `--weights FILE`, their name stays; their SHA-256 stands beside it.
    """
    kept = {key: value for key, value in provenance.items() if key != "command"}
    kept["data"] = {key: value for key, value in provenance["data"].items() if key != "source"}
    settings = dict(provenance["settings"])
    if "weights" in settings:
        settings["weights"] = Path(str(settings["weights"]).replace("\\", "/")).name
    return {**kept, "settings": settings}
