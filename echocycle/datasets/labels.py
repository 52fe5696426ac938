"""EF as it is listed: percent or a share, and values that no heart has."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.findings import FindingList
from echocycle.datasets.records import EfUnit

LOWEST_LIKELY = 5.0
"""EF in percent below which a label is doubted: 0 may stand for "unknown", 0.55 for 55 %."""


def check_ef(
    names: Sequence[str], listed: NDArray[np.float64], unit: EfUnit | None, findings: FindingList
) -> NDArray[np.float64]:
    """EF in percent (video,), NaN where unknown; what cannot be right becomes a finding.

    A list in which no EF is above 1 holds shares. It stops `prepare` unless `unit` says what it is; nothing is
    converted without being asked for.
    """
    ef = listed * 100 if unit == "share" else listed
    known = ef[(ef >= 0) & ~np.isnan(ef)]
    if unit is None and len(known) and known.max() <= 1 and known.max() > 0:
        findings.add(
            "error",
            "ef-looks-like-fraction",
            [name for name, value in zip(names, ef, strict=True) if 0 <= value <= 1],
            f"No EF is above 1 (the largest is {known.max():g}). EF is expected in percent: multiply by 100, or say "
            "--ef-unit share (`--set prepare.ef_unit=share` for `train`) and it is done here.",
            stops=True,
        )
        return ef
    low = [(name, value) for name, value in zip(names, ef, strict=True) if 0 <= value < LOWEST_LIKELY]
    if low:
        name, value = low[0]
        findings.add(
            "warning",
            "ef-implausible",
            [name for name, _ in low],
            f"EF is below {LOWEST_LIKELY:g} %, which is hardly possible; the values are used all the same. Does 0 "
            f"stand for 'unknown' (then leave the cell empty), or 0.55 for 55 %? First: {name}: {value:g}.",
        )
    return ef
