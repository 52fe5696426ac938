"""What a call of `predict` asks for, checked before anything is read. PyTorch is not imported here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from echocycle.data.rate import Time
from echocycle.errors import EchocycleError
from echocycle.prediction import protocol_of
from echocycle.writers import USUAL, WRITERS
from echocycle.writers.folder import TABLES

Device = Literal["auto", "cpu", "cuda"]
Backend = Literal["auto", "torch", "onnxruntime", "openvino"]
Protocol = Literal["one-clip", "all-clips", "strided", "beats"]

STRIDE = 4
"""Frames between two clips, where nothing else is asked."""
FAST_STRIDE = 16
"""The same with `fast`: a quarter of the clips."""


@dataclass(frozen=True)
class Choices:
    """What decides over results and files of a call."""

    device: Device = "auto"
    protocol: Protocol = "strided"
    stride: int = STRIDE
    """Frames between two clips of `strided`."""
    formats: tuple[str, ...] = (*USUAL, TABLES)

    time: Time = "auto"
    """Whether a recording is brought to the frame rate of the training videos (`data/rate.py`)."""
    backend: Backend = "torch"
    """What runs the networks (`inference/backend.py`)."""

    def protocol_in_words(self, time: str) -> str:
        """How a result of this call, in `frames` or `seconds`, says which clips were averaged."""
        return protocol_of(self.stride, time, self.protocol)


def choose(
    *,
    device: Device = "auto",
    protocol: Protocol = "strided",
    stride: int | None = None,
    fast: bool = False,
    formats: str | Sequence[str] | None = None,
    time: Time = "auto",
    backend: Backend = "torch",
) -> Choices:
    """The choices, or an `EchocycleError` that names the one that cannot be, or the two that contradict each other.

    Args:
        stride: frames between two clips; 4, or 16 with `fast`.
        formats: names of formats, or one text with commas; `json` always belongs to them, since the next call reads it.
    """
    if protocol not in get_args(Protocol):
        raise EchocycleError(f"protocol is {protocol!r}; it must be one of {', '.join(get_args(Protocol))}.")
    if backend not in get_args(Backend):
        raise EchocycleError(f"backend is {backend!r}; it must be one of {', '.join(get_args(Backend))}.")
    if protocol != "strided" and (fast or stride is not None):
        named = "--fast" if fast else "--stride"
        raise EchocycleError(f"{named} belongs to --protocol strided; leave one of the two out.")
    if fast and stride is not None:
        raise EchocycleError(f"--fast means --stride {FAST_STRIDE}; leave one of the two out.")
    if stride is not None and stride < 1:
        raise EchocycleError(f"stride is {stride}; it must be above 0.")
    steps = stride or (FAST_STRIDE if fast else STRIDE)
    return Choices(device, protocol, steps, _formats(formats), time, backend)


def _formats(asked: str | Sequence[str] | None) -> tuple[str, ...]:
    """The formats, in the order in which they are written."""
    if asked is None:
        return (*USUAL, TABLES)
    words = [word.strip() for each in ([asked] if isinstance(asked, str) else asked) for word in each.split(",")]
    known = (*WRITERS, TABLES)
    wrong = [word for word in words if word not in known]
    if wrong:
        raise EchocycleError(f"There is no format {wrong[0]!r}; --formats takes {','.join(known)}, with commas.")
    return tuple(name for name in known if name in words or name == "json")
