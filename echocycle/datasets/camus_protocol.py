"""The paper's protocol on CAMUS: mirrored half beats, its 450 patients, EF from masks (Tables IX, X)."""

import math
from collections import Counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from echocycle.cardiac.discs import disc_volume
from echocycle.datasets.camus import _number
from echocycle.datasets.camus_records import CamusFolder, CamusRecord, Quality, Spacing
from echocycle.errors import EchocycleError

Mirror = Literal["symmetric", "forward-backward"]


# What the paper states of the patients it tests on (Sec. IV and Table IX), and how the releases number them.
PAPER_PATIENTS = 450


PAPER_QUALITY: dict[Quality, int] = {"Good": 260, "Medium": 148, "Poor": 42}


PAPER_EF_MEAN, PAPER_EF_SD = 52.03, 12.07  # percent


EF_AGREES = 0.05  # percentage points by which mean and sd may differ: the releases round EF differently


LAST_TRAINING_NUMBER = 450  # in the nifti release, 451 to 500 are the patients whose labels were once withheld


def mirror_cycle(frames: NDArray, how: Mirror = "symmetric") -> NDArray:
    """Double half a beat (time, ...) to a whole one by mirroring in time, as the paper does; (2 time, ...).

    `symmetric`: half of the frames mirrored before the start, the others behind the end, end frames repeated: the one
    reading of "at the start and end" that doubles the length. `forward-backward`: forwards, then backwards.
    """
    if how not in get_args(Mirror):
        raise EchocycleError(f"how is {how!r}; it must be one of {', '.join(get_args(Mirror))}.")
    length = len(frames)
    if length == 0:
        raise EchocycleError("There is no frame to mirror.")
    if how == "forward-backward":
        return np.concatenate([frames, frames[::-1]])
    before = length // 2
    padding = [(before, length - before)] + [(0, 0)] * (frames.ndim - 1)
    return np.pad(frames, padding, mode="symmetric")


# ------------------------------------------------------------------------------------------------- evaluation


def ef_from_masks(ed_mask: NDArray[np.bool_], es_mask: NDArray[np.bool_], spacing_mm: Spacing | None = None) -> float:
    """EF in percent by discs in this one view, from masks (height, width) of ED and ES; NaN without an ED mask.

    The listed EF is by discs in both views, so the two agree only roughly. Without `spacing_mm` pixels are taken as
    square, which those of the original release are not.
    """
    ed, es = (disc_volume(mask, spacing_mm).volume for mask in (ed_mask, es_mask))
    return 100 * (ed - es) / ed if ed > 0 else math.nan


def paper_selection(folder: CamusFolder) -> tuple[CamusRecord, ...]:
    """The patients that the paper tests on: those whose EF was published at the time.

    In the original release that is every patient with an EF outside testing/. The nifti release gives the EF of all
    500; the first 450 should be those, which `acceptance` checks.
    """
    labelled = [record for record in folder.records if not math.isnan(record.ef)]
    if folder.release == "original":
        return tuple(record for record in labelled if record.split != "test")
    return tuple(record for record in labelled if _number(record.patient) <= LAST_TRAINING_NUMBER)


def acceptance(folder: CamusFolder) -> dict[str, Any]:
    """Whether `paper_selection` has the paper's numbers: patients, their four-chamber quality, mean and sd of EF.

    Returns `agrees`, `differs` (names of the parts that do not agree), `expected` and `found` (part -> value). Mean and
    standard deviation of EF may differ by `EF_AGREES`.
    """
    if folder.view != "4CH":
        raise EchocycleError("The paper's counts are those of the four-chamber view; read the folder with view 4CH.")
    records = paper_selection(folder)
    efs = np.array([record.ef for record in records])
    quality = Counter(record.quality for record in records)
    expected: dict[str, float] = {
        "patients": PAPER_PATIENTS,
        **{f"quality {name}": count for name, count in PAPER_QUALITY.items()},
        "ef mean": PAPER_EF_MEAN,
        "ef sd": PAPER_EF_SD,
    }
    found: dict[str, float] = {
        "patients": len(records),
        **{f"quality {name}": quality[name] for name in PAPER_QUALITY},
        "ef mean": float(efs.mean()) if len(efs) else math.nan,
        "ef sd": float(efs.std(ddof=1)) if len(efs) > 1 else math.nan,
    }
    tolerance = {"ef mean": EF_AGREES, "ef sd": EF_AGREES}
    differs = [part for part in expected if not abs(found[part] - expected[part]) <= tolerance.get(part, 0)]
    return {"agrees": not differs, "differs": differs, "expected": expected, "found": found}
