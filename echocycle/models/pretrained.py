"""First weights by name: where they lie, whether they are there, and what to do where they are not."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torchvision.models import ResNet50_Weights

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.models.regressor import NETWORKS
from echocycle.settings.stages import RegressSettings, SegmentSettings


@dataclass(frozen=True)
class FirstWeights:
    """Where the first weights of a stage lie."""

    setting: str
    """The setting that names them, such as `segment.weights`."""
    name: str
    """`imagenet`, `kinetics`, or a file as it was named."""
    file: Path
    """In torchvision's cache, or the file named."""
    url: str
    """Where torchvision fetches them; empty for a file that was named."""
    kind: Any
    """Torchvision's own entry, or None."""

    @property
    def found(self) -> bool:
        """Whether the file is there."""
        return self.file.is_file()

    def described(self) -> str:
        """One line: which, where, and whether they are there."""
        where = f"found: {self.file}" if self.found else f"missing: {self.file}"
        return f"{self.setting} = {self.name}, {where}" + ("" if self.found or not self.url else f", from {self.url}")


def first_weights(settings: SegmentSettings | RegressSettings) -> FirstWeights | None:
    """Where a stage's first weights lie; None where they are random, or come with or are made by this package."""
    stage = "segment" if isinstance(settings, SegmentSettings) else "regress"
    name, setting = settings.weights, f"{stage}.weights"
    if name in ("none", "zero") or (stage == "regress" and name == "shapes"):
        return None
    if name in ("imagenet", "kinetics"):
        kind = ResNet50_Weights.IMAGENET1K_V1 if name == "imagenet" else NETWORKS[settings.network][1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        return FirstWeights(setting, name, folder / kind.url.rsplit("/", 1)[-1], kind.url, kind)
    return FirstWeights(setting, name, Path(name), "", None)


def require_weights(stages: Iterable[SegmentSettings | RegressSettings]) -> None:
    """Look for the first weights of several stages, and fetch what is not there, before anything else is done.

    Raises `EchocycleError` that names each missing file, where it comes from and where it belongs.
    """
    wanted = {each.file: each for each in map(first_weights, stages) if each is not None}
    lines = []
    for weights in wanted.values():
        if weights.found:
            continue
        if weights.kind is None:
            lines.append(f"{weights.file}, named by `{weights.setting}`, is not a file.")
            continue
        console.print(f"Fetching {weights.url} into {weights.file.parent}.", soft_wrap=True, highlight=False)
        try:
            weights.kind.get_state_dict(progress=False, check_hash=True)
        except Exception as error:
            lines.append(
                f"{weights.file.name} (`{weights.setting}` is {weights.name}) is not in {weights.file.parent}, and "
                f"{weights.url} cannot be fetched ({error})."
            )
    if lines:
        raise EchocycleError(
            "First weights are missing; nothing was done.\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nPut a file into that folder, or name it where it lies with --set segment.weights=FILE or --set "
            "regress.weights=FILE. Without such weights, --preset tiny trains small networks."
        )
