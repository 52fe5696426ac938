"""`echocycle info`: what is installed here, and what a trained model is made of."""

import json
import math
from pathlib import Path
from typing import Any

from echocycle.bundle_description import REMEDY, check_weights, read_description
from echocycle.errors import EchocycleError
from echocycle.runs import versions
from echocycle.verdict import read_verdict


def describe_installation() -> dict[str, Any]:
    """Versions, devices, methods with their settings, networks and presets."""
    import psutil
    import torch

    from echocycle import regression, segmentation
    from echocycle.models.regressor import NETWORKS
    from echocycle.models.segmenter import SEGMENTERS
    from echocycle.settings.convert import to_dict
    from echocycle.settings.presets import PRESETS

    facts = versions()
    return {
        "versions": facts["versions"],
        "machine": facts["machine"],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "segmentation": {name: to_dict(kind.Options(), whole=True) for name, kind in segmentation.METHODS.items()},
        "regression": {name: to_dict(kind.Options(), whole=True) for name, kind in regression.METHODS.items()},
        "segmenters": list(SEGMENTERS),
        "regressors": list(NETWORKS),
        "presets": list(PRESETS),
        "note": "Research software, not a medical device.",
    }


def describe_bundle(path: Path) -> dict[str, Any]:
    """Parts, sizes and origin of a trained model."""
    bundle = read_description(path)
    parts = {}
    for name, part in bundle.parts.items():
        check_weights(part)
        parts[name] = {**part.spec, "parameters": parameters(part.file), "sha256": part.sha256}
    verdict = read_verdict(bundle.path)
    card = bundle.path / "card.md"
    return {
        **({"card": card.read_text(encoding="utf-8")} if card.exists() else {}),
        "id": bundle.id,
        "parts": parts,
        "ef_networks": [name for name in parts if name != "segmenter"],
        "verdict": None if verdict is None else verdict.sentence(),
        "provenance": bundle.provenance,
        "reference": bundle.reference,
    }


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What batch normalisation keeps besides its parameters."""


def parameters(file: Path) -> int:
    """Parameters in a file of weights, from its heading alone: no network is built, PyTorch is not imported.

    A safetensors file begins with the length of its heading (8 bytes, little-endian) and the heading, JSON that gives
    each tensor's shape.
    """
    try:
        with file.open("rb") as opened:
            heading = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        shapes = {name: entry["shape"] for name, entry in heading.items() if name != "__metadata__"}
        return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(STATISTICS))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        raise EchocycleError(f"{file} is no readable file of weights. {REMEDY}.") from None


def info(bundle: Path | None = None, *, json: bool = False) -> dict[str, Any]:
    """Versions, devices, methods and presets; or what a trained model is made of.

    Args:
        bundle: A bundle, or the run that holds it.
        json: Print JSON.
    """
    import json as json_module

    from echocycle.console import output

    facts = describe_bundle(Path(bundle)) if bundle else describe_installation()
    if json:
        output.print_json(json_module.dumps(facts))
    else:
        from rich.pretty import Pretty

        if card := facts.get("card"):
            output.print(card, markup=False, highlight=False, soft_wrap=True)
        output.print(Pretty({key: value for key, value in facts.items() if key != "card"}, expand_all=True))
    return facts
