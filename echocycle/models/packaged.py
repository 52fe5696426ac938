"""First weights from the model in the package, `zero`, which was trained on synthetic clips alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.files import read_json

ZERO = Path(__file__).parents[1] / "zero" / "model"


def zero_regressor(network: str, widths: Sequence[int]) -> Path:
    """The weights of zero's first EF network.

    Raises `EchocycleError` where the network to fill is of another kind or of other widths.
    """
    spec = _spec("regressor")
    if (spec["network"], tuple(spec["widths"])) != (network, tuple(widths)):
        raise EchocycleError(
            f"Weights `zero` are those of {spec['network']} of widths {_words(spec['widths'])}, and this network is "
            f"{network} of widths {_words(widths)}. Use --widths {_words(spec['widths'])} (as --preset tiny does), or "
            "--weights shapes, kinetics or none."
        )
    return ZERO / "regressor.safetensors"


def zero_segmenter() -> Path:
    """The weights of zero's segmenter."""
    return ZERO / "segmenter.safetensors"


def _spec(part: str) -> dict[str, Any]:
    """What settings.json says of a part's network."""
    found: dict[str, Any] = read_json(ZERO / "settings.json")["parts"][part]["spec"]
    return found


def zero_segmenter_network() -> tuple[str, int]:
    """Network and width of zero's segmenter."""
    spec = _spec("segmenter")
    return str(spec["network"]), int(spec["width"])


def _words(widths: Any) -> str:
    return " ".join(map(str, widths))
