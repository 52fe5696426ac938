"""Typed rows of a CAMUS folder: what its reader gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from echocycle.datasets.findings import Finding
from echocycle.datasets.records import EfUnit, Split
from echocycle.errors import EchocycleError

View = Literal["4CH", "2CH"]


Phase = Literal["ED", "ES"]


Quality = Literal["Good", "Medium", "Poor"]


Release = Literal["original", "nifti"]


Resize = Literal["squeeze", "pad-to-square"]


FileKind = Literal["ED", "ED_gt", "ES", "ES_gt", "sequence", "sequence_gt"]


Spacing = tuple[float, float]


# --------------------------------------------------------------------------------------- settings and results


@dataclass(frozen=True)
class CamusSettings:
    """What to read of each patient and how pictures reach the network's size."""

    view: View = "4CH"
    """Apical view: `4CH` (four-chamber, as in EchoNet-Dynamic and in the paper) or `2CH` (two-chamber)."""
    label: int = 1
    """Structure whose mask is returned: 1 left-ventricular cavity, 2 myocardium, 3 left atrium."""
    resize: Resize = "squeeze"
    """`squeeze`: both sides to `size`, as the paper does. `pad-to-square`: black is added first, shapes stay true."""
    size: int = 112
    """Height and width in pixels that the networks take."""
    ef_unit: EfUnit | None = None
    """Unit of the listed EF; without it percent is expected and shares are refused."""

    def __post_init__(self) -> None:
        for name, kind in (("view", View), ("resize", Resize)):
            if getattr(self, name) not in get_args(kind):
                raise EchocycleError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(get_args(kind))}."
                )
        if self.label not in (1, 2, 3):
            raise EchocycleError(
                f"label is {self.label!r}; it must be 1 (LV cavity), 2 (myocardium) or 3 (left atrium)."
            )
        if self.size < 1:
            raise EchocycleError(f"size is {self.size}; it must be at least 1 pixel.")


@dataclass(frozen=True)
class CamusRecord:
    """One view of one patient. Holds paths only; `load_still` and `load_sequence` read pictures."""

    patient: str
    """Name of the patient's folder; `testing/patient0001` in the original release, which numbers twice from 1."""
    view: View
    split: Split | None
    """None where the folder names none."""
    quality: Quality | None
    """Of the picture, by the experts; None where not listed."""
    ef: float
    """Percent, from both views; NaN where the patient has no label."""
    edv_ml: float
    """NaN where not listed, as in the nifti release."""
    esv_ml: float
    fps: float
    """NaN where not listed, as in the original release."""
    listed_frames: int
    """Frames of the half sequence as listed, 0 where not listed."""
    ed_frame: int
    """Index from 0 in the sequence as it is stored; -1 where not listed. Files count from 1."""
    es_frame: int
    spacing_mm: Spacing
    """Height and width of a pixel (row, column), from the header of the first file."""
    label: int
    """Structure whose mask is returned; see `CamusSettings`."""
    files: Mapping[FileKind, Path]
    """What exists of ED, ES, sequence and their masks (`_gt`)."""

    @property
    def stored_from_es(self) -> bool:
        """Whether the stored sequence runs from ES to ED; False where that is not listed."""
        return self.ed_frame > self.es_frame


@dataclass(frozen=True)
class CamusFolder:
    """All usable patients of a folder, by name, and what was odd."""

    root: Path
    release: Release
    view: View
    records: tuple[CamusRecord, ...]
    findings: tuple[Finding, ...]


# ------------------------------------------------------------------------------------------------- the reader

DEFAULT_SETTINGS = CamusSettings()
