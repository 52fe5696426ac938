"""What every reader of a data set gives: a listing, and a function that decodes one of its videos."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.datasets.findings import Finding
from echocycle.datasets.mixed import mixed_sources
from echocycle.errors import EchocycleError
from echocycle.settings.stages import PrepareSettings

TRACE_BYTES = SIZE * SIZE // 8


IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Row:
    """One video's line in the store's index (see `COLUMNS`), without what only the store knows."""

    name: str
    file: str
    patient: str
    split: str
    annotation: str
    fps: float | None
    frames: int
    listed_frames: int
    ef: float | None
    edv_ml: float | None
    esv_ml: float | None
    ed_frame: int
    es_frame: int
    affine: str
    spacing_row_mm: float | None
    spacing_column_mm: float | None
    sha256: str


@dataclass(frozen=True)
class Decoded:
    """One video as it goes into the store, or why it does not."""

    name: str
    frames: np.ndarray | None
    """uint8 (time, SIZE, SIZE[, 3]); None where the video could not be read."""
    row: Row | None
    """None where the video could not be read."""
    traces: bytes
    """ED and ES mask, bit-packed."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Listed:
    """What a list says of one video, whatever the layout."""

    name: str
    split: str
    has_ef: bool
    is_traced: bool
    frames: int
    """0 where not listed."""


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
    """Hash of the listing: a store that was begun from another is not resumed."""
    ranks: dict[str, int]
    """Place of each training video in the order that labelled subsets are shuffled from."""
    report: dict[str, Any]
    """The data report as plain values for JSON, without the findings."""
    findings: tuple[Finding, ...]
    """What was wrong with the listing."""
    listed: tuple[Listed, ...]
    """One for each record."""
    page: Any
    """Report and findings for a terminal: something that rich can print."""

    def check_may_be_prepared(self) -> None:
        """Raise what stands against making a store of this folder, such as labels that cannot be what they seem."""
        for finding in self.findings:
            if finding.stops:
                raise EchocycleError(f"{self.root}: {finding.message}")

    def mixture(self, videos: Iterable[tuple[str, Iterable[Finding]]]) -> Finding | None:
        """An error where recordings of one's own, each with its findings, come from two sources."""
        return mixed_sources(videos) if self.release == "videos" else None

    def refuse_mixture(self, videos: Iterable[tuple[str, Iterable[Finding]]]) -> None:
        """Raise it."""
        mixed = self.mixture(videos)
        if mixed is not None:
            raise EchocycleError(f"{self.root}: {mixed.message} What was decoded is kept for that.")


def number_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or missing."""
    return None if value is None or math.isnan(value) else float(value)


def annotation_of(has_ef: bool, traced: bool) -> str:
    """The word of the store's column `annotation`."""
    return {(True, True): "traced", (True, False): "ef", (False, True): "tracing", (False, False): "none"}[
        has_ef, traced
    ]


def affine_text(affine: tuple[float, ...]) -> str:
    """The six numbers of the store's column `affine`."""
    return " ".join(f"{value:.9g}" for value in affine)
