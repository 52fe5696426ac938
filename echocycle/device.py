"""Where and how precisely networks compute."""

import torch

from echocycle.errors import EchocycleError
from echocycle.settings.stages import Precision


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device."""
    if name == "cuda" and not torch.cuda.is_available():
        raise EchocycleError("device is `cuda`, but PyTorch finds no GPU here; use --device cpu or auto.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def usual_preset() -> str:
    """The preset that suits this machine: `paper` wants a GPU, `tiny` trains on any two cores."""
    return "paper" if torch.cuda.is_available() else "tiny"


def choose_precision(name: Precision, device: torch.device) -> Precision:
    """`32`, `bf16` or `auto` as one of the first two; `auto` is bf16 where the device computes in it natively.

    PyTorch's 3D convolutions have wrong bf16 gradients on a CPU (infinite, NaN, or pointing elsewhere); no network
    here computes them as such (`models/regressor.py`).
    """
    if name != "auto":
        return name
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16" if native else "32"
