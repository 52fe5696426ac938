"""Typed rows of EchoNet-Dynamic's layout: what its reader gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.findings import Finding
from echocycle.datasets.tracing import MultiTrace
from echocycle.errors import EchocycleError

Split = Literal["train", "val", "test"]


Release = Literal["older", "newer", "own", "videos"]


EdEsNaming = Literal["area", "code"]


SplitBy = Literal["balance", "name"]


EfUnit = Literal["percent", "share"]


FILE_LIST = "FileList.csv"


TRACINGS = "VolumeTracings.csv"


VIDEOS = "Videos"


# --------------------------------------------------------------------------------------- settings and results


@dataclass(frozen=True)
class EchonetSettings:
    """How tracings become masks and how missing splits are drawn. The defaults suit the public releases."""

    multi_trace: MultiTrace = "first"
    """What becomes of a frame with several contours; see `trace_mask`."""
    round_vertices: bool = True
    """Move contour vertices to whole pixels before filling, as EchoNet does."""
    ed_es_naming: EdEsNaming = "area"
    """`area`: the larger mask is ED. `code`: the last listed frame is ED, as the public code names them."""
    assign_splits: tuple[float, float, float] | None = None
    """Shares of train, val and test to draw where no split is listed; without them that is refused."""
    split_seed: int = 0
    """Another number draws another split."""
    split_by: SplitBy = "balance"
    """`balance`: exact counts, EF and tracings shared out. `name`: from the shares and the patient's name alone."""
    ef_unit: EfUnit | None = None
    """Unit of EF in the list; without it percent is expected and a list of shares refused."""

    def __post_init__(self) -> None:
        for name, kind in (("multi_trace", MultiTrace), ("ed_es_naming", EdEsNaming), ("split_by", SplitBy)):
            if getattr(self, name) not in get_args(kind):
                allowed = ", ".join(get_args(kind))
                raise EchocycleError(f"{name} is {getattr(self, name)!r}; it must be one of {allowed}.")
        shares = self.assign_splits
        if shares is not None and (len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
            raise EchocycleError(f"assign_splits is {shares}; three shares that add up to 1 are needed.")


@dataclass(frozen=True, eq=False)
class Tracing:
    """The chords (n, 4) of one traced frame, (x1, y1, x2, y2) in pixels, with all its contours."""

    frame: int
    """Index from 0 as listed; it may lie past the end of the video."""
    chords: NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """One listed video that exists on disk."""

    name: str
    """File name without suffix."""
    path: Path
    patient: str
    """The name again where the list has no column of patients, as in EchoNet-Dynamic."""
    split: Split
    ef: float
    """Percent; NaN where the video has no label."""
    edv_ml: float
    esv_ml: float
    fps: float
    """NaN where not listed."""
    listed_frames: int
    """As listed, 0 where not listed. Trust the decoded count instead."""
    height: int
    """Pixels as listed, 0 where not listed."""
    width: int
    tracings: tuple[Tracing, ...]
    """In listing order."""
    file: str = ""
    """Path below the folder of videos, with `/`; empty where it is the file's name."""
    ed_frame: int = -1
    """Index from 0 as listed; -1 where not listed."""
    es_frame: int = -1
    contours: tuple[tuple[str, Path], ...] = ()
    """Files of masks or contours, each with what it shows: `ED`, `ES`, or "" where the file says itself."""

    @property
    def is_traced(self) -> bool:
        """Whether anything is listed from which masks of ED and ES may come."""
        return len(self.tracings) >= 2 or bool(self.contours)


@dataclass(frozen=True)
class EchonetFolder:
    """All usable videos of a folder, in the order of FileList.csv, and what was odd."""

    root: Path
    release: Release
    records: tuple[Record, ...]
    findings: tuple[Finding, ...]


# ------------------------------------------------------------------------------------------------- the reader

DEFAULT_SETTINGS = EchonetSettings()
