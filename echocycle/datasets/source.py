"""What every reader of a data set gives: a listing, and a function that decodes one of its videos."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.settings.stages import PrepareSettings

TRACE_BYTES = SIZE * SIZE // 8


IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Decoded:
    """One video as it goes into the store, or why it does not."""

    frames: np.ndarray | None
    """uint8 (time, SIZE, SIZE[, 3])."""
    row: dict[str, Any]
    """The columns of the store's index; those that only the store knows are added later."""
    traces: bytes
    """ED and ES mask, bit-packed."""
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Source:
    """A folder that can become a store: what is listed in it, and how one of its videos is decoded."""

    root: Path
    release: str
    records: tuple[Any, ...]
    names: tuple[str, ...]
    """The name of each record in the store."""
    decode: Callable[[tuple[Any, PrepareSettings]], Decoded]
    """Reads one record; a function of a module, so that worker processes find it."""
    digest: str
    """Hash of the listing: a store that was begun from another is not gone on with."""
    ranks: dict[str, int]
    """Place of each training video in the order that labelled subsets are shuffled from."""
    report: dict[str, Any]
    """The data report as plain values for JSON; `findings` are what was wrong with the listing."""
    page: Any
    """The same for a terminal: something that rich can print."""


def number_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or missing."""
    return None if value is None or math.isnan(value) else float(value)
