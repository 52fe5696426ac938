"""Info_4CH.cfg of CAMUS: frame numbers, EF, image quality."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from echocycle.datasets.camus_records import Quality
from echocycle.datasets.findings import FindingList
from echocycle.errors import EchocycleError

EF_TOLERANCE = 1.0  # percentage points between the listed EF and that of the listed volumes; both are rounded


# --------------------------------------------------------------------------------------------- Info_4CH.cfg


@dataclass
class _Info:
    """What is listed about one view of a patient."""

    quality: Quality | None = None
    ef: float = math.nan
    edv_ml: float = math.nan
    esv_ml: float = math.nan
    fps: float = math.nan
    frames: int = 0
    ed: int = 0
    """From 1, as listed; 0 where not listed."""
    es: int = 0


def read_info(path: Path | None, name: str, findings: FindingList) -> _Info:
    """Lines `key: value` of Info_4CH.cfg. What is missing or cannot be right stays unknown."""
    if path is None:
        findings.add_one(
            "warning",
            "info-missing",
            name,
            "There is no Info_*.cfg: EF, quality and the frames of ED and ES are unknown.",
        )
        return _Info()
    pairs = (line.partition(":") for line in read_text(path).splitlines())
    listed = {key.strip().casefold(): value.strip() for key, _, value in pairs}

    def wrong(what: str) -> None:
        message = "Entries of Info_*.cfg cannot be right; they are taken as unknown. Correct them."
        findings.add_one("error", "info-wrong", name, message, f"{path}: {what}")

    def number(*keys: str, low: float, high: float) -> float:
        for key in keys:
            text = listed.get(key.casefold(), "")
            if text.casefold() in ("", "na", "n/a", "nan", "none"):
                continue
            try:
                value = float(text.replace(",", "."))
            except ValueError:
                value = math.nan
            if low <= value <= high:
                return value
            wrong(f"{key} is {text!r}")
        return math.nan

    def whole(key: str, highest: float) -> int:
        value = number(key, low=1, high=highest)
        if not math.isnan(value) and value % 1:
            wrong(f"{key} is {value:g}")
            return 0
        return 0 if math.isnan(value) else int(value)

    info = _Info(
        ef=number("LVef", "EF", low=0, high=100),
        edv_ml=number("LVedv", low=0, high=2000),
        esv_ml=number("LVesv", low=0, high=2000),
        fps=number("FrameRate", low=1e-6, high=1000),
        frames=whole("NbFrame", 10_000),
    )
    info.ed, info.es = (whole(key, info.frames or math.inf) for key in ("ED", "ES"))
    if info.ed == info.es:
        if info.ed:
            wrong(f"ED and ES are both frame {info.ed}")
        info.ed = info.es = 0
    if not (info.ed and info.es):
        info.ed = info.es = 0
        message = "The frames of ED and ES are not both listed; they are told from the stills."
        findings.add_one("warning", "phases-unlisted", name, message)
    elif info.ed > info.es:
        findings.add_one(
            "note", "es-first", name, "The sequence is stored from ES to ED; `load_sequence` turns it round."
        )
    if info.edv_ml < info.esv_ml:
        wrong(f"LVedv is {info.edv_ml:g} and LVesv {info.esv_ml:g}")
        info.edv_ml = info.esv_ml = math.nan
    elif info.edv_ml > 0 and abs(100 * (1 - info.esv_ml / info.edv_ml) - info.ef) > EF_TOLERANCE:
        message = f"EF differs by more than {EF_TOLERANCE} from 100 (EDV - ESV) / EDV; the listed EF is used."
        findings.add_one("warning", "ef-and-volumes-disagree", name, message)
    if math.isnan(info.ef):
        findings.add_one("note", "unlabelled", name, "No EF is listed, as for the patients once kept for testing.")
    info.quality = next(
        (q for q in get_args(Quality) if q.casefold() == listed.get("imagequality", "").casefold()), None
    )
    if info.quality is None:
        message = "ImageQuality is none of Good, Medium, Poor; it is taken as unknown."
        findings.add_one("warning", "quality-unknown", name, message)
    return info


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise EchocycleError(f"{path} cannot be read ({error.strerror}).") from None
