"""`echocycle info`: what is installed here, and what a trained model is made of."""

from pathlib import Path
from typing import Any

from echocycle.runs import versions


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
        "segmentation": {name: to_dict(kind.Options()) for name, kind in segmentation.METHODS.items()},
        "regression": {name: to_dict(kind.Options()) for name, kind in regression.METHODS.items()},
        "segmenters": list(SEGMENTERS),
        "regressors": list(NETWORKS),
        "presets": list(PRESETS),
        "note": "Research software, not a medical device.",
    }


def describe_bundle(path: Path) -> dict[str, Any]:
    """Parts, sizes and origin of a trained model."""
    from echocycle.bundle import load_bundle
    from echocycle.settings.convert import to_dict

    bundle = load_bundle(path)
    parts = {
        name: {
            **to_dict(part.spec),
            "parameters": sum(p.numel() for p in part.network.parameters()),
            "sha256": part.hash,
        }
        for name, part in bundle.parts().items()
    }
    facts = {"id": bundle.id, "parts": parts, "provenance": bundle.provenance, "reference": bundle.reference}
    return facts if bundle.card is None else {**facts, "card": bundle.card}


def info(bundle: Path | None = None, *, json: bool = False) -> dict[str, Any]:
    """Versions, devices, methods and presets; or what a trained model is made of."""
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
