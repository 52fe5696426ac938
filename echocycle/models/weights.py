"""Weights from a file in any layout that is met in the field, without running code from it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echocycle.errors import EchocycleError


def weights_file(path: Path | str) -> Path:
    """The file; raises `EchocycleError` when it is none."""
    path = Path(path)
    if not path.is_file():
        raise EchocycleError(f"The weights {path} are not a file. Give a local .pt, .pth or .safetensors file.")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a pickled checkpoint: tensors, numbers and words, and nothing that could run.

    Read with `weights_only=True`; NumPy scalars, arrays and random states, which the public EchoNet, CSS and AdaCon
    checkpoints carry, are let through by name.

    Raises:
        EchocycleError: it holds other objects, is damaged, or is no dictionary.
    """
    path = weights_file(path)
    dtypes = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint32, np.bool_)]
    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
    allowed = [
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        multiarray.scalar,
        multiarray._reconstruct,
        np.dtype,
        np.ndarray,
        *dtypes,
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EchocycleError(f"The weights {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise EchocycleError(f"{path} holds a {type(content).__name__}, no named tensors; it is not a checkpoint.")
    return content


def named_tensors(content: dict[str, Any], key: str = "state_dict") -> dict[str, Tensor]:
    """The tensors under `key`, or of the whole where there is no such key, without DataParallel's `module.`."""
    inner = content.get(key, content)
    named = inner.items() if isinstance(inner, dict) else ()
    return {str(name).removeprefix("module."): value for name, value in named if isinstance(value, Tensor)}


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint: safetensors, a bare state dictionary, or one under `state_dict`."""
    path = weights_file(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except Exception as error:
            raise EchocycleError(f"The weights {path} cannot be read: {error}") from error
    state = named_tensors(read_checkpoint(path))
    if not state:
        raise EchocycleError(f"{path} holds no named tensors; it is not a checkpoint.")
    return state


def load_matching(network: nn.Module, state: dict[str, Tensor], source: str, *, optional: tuple[str, ...]) -> None:
    """Load `state` into `network`; only names that start with one of `optional` may be missing or misshapen.

    Raises `EchocycleError` that lists what does not fit.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    missing = [
        name
        for name in own
        if name not in fitting and not name.startswith(optional) and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise EchocycleError(
            f"The weights {source} do not fit this network: {len(missing)} of {len(own)} tensors are missing or of "
            f"another shape, such as {', '.join(missing[:3])}. Check `network` and `widths`, or use --weights none."
        )
    network.load_state_dict(fitting, strict=False)


def torchvision_state(weights: Any, setting: str) -> dict[str, Tensor]:
    """Torchvision's own weights from its cache, or downloaded; offline, a sentence that says what to do."""
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except Exception as error:
        file = weights.url.rsplit("/", 1)[-1]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise EchocycleError(
            f"The weights `{setting}` ({file}) are not in {folder}, and {weights.url} cannot be fetched ({error}). Put "
            f"the file there, name a local file with --weights FILE, or train from random weights with --weights none."
        ) from error
