"""Whose recording it is, and what is known of it before anybody labels: from the list of the folder, or the header."""

import hashlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import is_dicom

NOBODY = ("", "anon", "anonymous", "anonymized", "anonymised", "unknown", "none", "patient", "0")
"""What a header holds where the patient was taken out."""


@dataclass(frozen=True)
class Listed:
    """What a list says of one recording."""

    patient: str = ""
    split: str = ""
    ef: float | None = None


def listed_in(folder: Path, paths: Sequence[Path]) -> tuple[dict[Path, Listed], list[str]]:
    """What videos.csv (or FileList.csv) of a folder says of its recordings, and sentences about what it does not."""
    from echocycle.datasets.videos import LISTS

    names = {name.casefold() for name in LISTS}
    if not any(path.name.casefold() in names for path in folder.iterdir() if path.is_file()):
        return {}, []  # before pandas is imported
    from echocycle.datasets.findings import FindingList
    from echocycle.datasets.listing import parse_listing
    from echocycle.datasets.lookup import Lookup
    from echocycle.datasets.records import EchonetSettings
    from echocycle.datasets.videos import find_list

    table = find_list(folder)
    assert table is not None
    lookup = Lookup(folder, paths)
    try:
        listing, _ = parse_listing(table, EchonetSettings(), FindingList())
    except EchocycleError as error:
        return {}, [f"{error} Patients and EF of {table.name} are not used."]
    found: dict[Path, Listed] = {}
    for row in listing.itertuples():
        path = lookup.find(str(row.name) + str(row.suffix)).path
        if path is None or path in found:
            continue
        patient, name = str(row.patient), str(row.name)
        patient = "" if patient == name else patient
        split = str(row.split) if row.split in ("train", "val", "test") else ""
        ef = float(row.ef)  # type: ignore[arg-type]
        found[path] = Listed(patient, split, ef if not math.isnan(ef) and 0 <= ef <= 100 else None)
    return found, []


def dicom_patient(path: Path, salt: str) -> str:
    """The patient whom a DICOM header names, as a number that does not lead back; "" where there is none."""
    if not is_dicom(path):
        return ""
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes header values in its warnings
            header = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID", "PatientName"])
            named = [str(header.get(key) or "").strip() for key in ("PatientID", "PatientName")]
            who = next((name for name in named if name.casefold() not in NOBODY), "")
    except Exception:  # a damaged header: reading the recording will say so
        return ""
    return f"patient-{hashlib.sha256(f'{salt}{who}'.encode()).hexdigest()[:12]}" if who else ""
