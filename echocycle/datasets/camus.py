"""First step of the external test: reads a folder of CAMUS, on which nothing is trained, before opening any picture.

CAMUS (Leclerc et al., IEEE TMI 38(9), 2019) holds half a beat, from end diastole (ED) to end systole (ES), in the four-
and two-chamber view of 500 patients, with masks by experts and EF by biplane discs. Two releases exist:

original   training/patient0001/ ... and testing/patient0001/ ..., whose masks and EF were withheld; or the patient
           folders alone. patient0001_4CH_ED.mhd with .raw, _ED_gt, _ES, _ES_gt, _sequence, later also _sequence_gt.
           Pixels are twice as wide as high. Info_4CH.cfg names EF `LVef` and has volumes.
nifti      database_nifti/patient0001/ ... patient0500/ and database_split/subgroup_training.txt (validation, testing).
           patient0001_4CH_ED.nii.gz and so on, _half_sequence, _half_sequence_gt. Pixels are square. Info_4CH.cfg names
           EF `EF` and has the frame rate.

As in the reader of EchoNet-Dynamic, what is odd is not fatal: it becomes a `Finding`. Reading a folder opens text files
and one image header per patient; pictures are read by `load_still` and `load_sequence`. Pixels are not square in the
original release, so every length needs `spacing_mm`, always (row, column): the height and the width of a pixel.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from echocycle.datasets.camus_images import read_header
from echocycle.datasets.camus_info import read_info, read_text
from echocycle.datasets.camus_records import (
    DEFAULT_SETTINGS,
    CamusFolder,
    CamusRecord,
    CamusSettings,
    FileKind,
    Phase,
    Release,
    View,
)
from echocycle.datasets.findings import FindingList
from echocycle.datasets.labels import check_ef
from echocycle.datasets.records import Split
from echocycle.errors import EchocycleError

NIFTI_FOLDER, SPLIT_FOLDER = "database_nifti", "database_split"


SPLIT_OF_FOLDER: dict[str, Split] = {"training": "train", "testing": "test"}


SPLIT_OF_FILE: dict[str, Split] = {
    "subgroup_training.txt": "train",
    "subgroup_validation.txt": "val",
    "subgroup_testing.txt": "test",
}


SUFFIXES = (".nii.gz", ".nii", ".mhd", ".mha")


PATIENT = re.compile(r"patient(\d+)", re.IGNORECASE)


NAMES_OF_KIND: dict[FileKind, tuple[str, ...]] = {
    "ED": ("ED",),
    "ED_gt": ("ED_gt",),
    "ES": ("ES",),
    "ES_gt": ("ES_gt",),
    "sequence": ("half_sequence", "sequence"),
    "sequence_gt": ("half_sequence_gt", "sequence_gt"),
}


DEPTHS_MM = (50.0, 400.0)  # what a cardiac probe can be set to, generously


def read_camus(root: Path, settings: CamusSettings = DEFAULT_SETTINGS) -> CamusFolder:
    """Read which patients a folder of either release holds, and what is listed about them; opens no picture.

    A patient without any picture of the view is left out and reported as a finding of level error. A folder from
    which nothing can be read is an `EchocycleError` that says which folder to give.
    """
    root = Path(root)
    findings = FindingList()
    groups = _locate(root, findings)
    splits = _read_splits(root, findings)
    records = []
    for folder, split_of_folder in groups:
        for patient_folder in _patient_folders(folder):
            patient = patient_folder.name
            split = split_of_folder or splits.get(patient)
            name = f"testing/{patient}" if folder.name.casefold() == "testing" else patient
            record = _read_patient(patient_folder, name, split, settings, findings)
            if record is not None:
                records.append(record)
    if not records:
        first = findings.sorted()[0]
        raise EchocycleError(f"{root} has no usable {settings.view} picture. {first.message}")
    _check_splits(records, splits, [folder for folder, _ in groups], findings)
    ef = check_ef([r.patient for r in records], np.array([r.ef for r in records]), settings.ef_unit, findings)
    records = [replace(record, ef=value) for record, value in zip(records, ef.tolist(), strict=True)]
    first_files = [next(iter(record.files.values())) for record in records]
    release: Release = "nifti" if any(".nii" in path.name for path in first_files) else "original"
    return CamusFolder(root, release, settings.view, tuple(records), findings.sorted())


def _read_patient(
    folder: Path, name: str, split: Split | None, settings: CamusSettings, findings: FindingList
) -> CamusRecord | None:
    """One patient's view, or None with a finding."""
    view = settings.view
    files = _files_of_view(folder, view, name, findings)
    pictures = [path for kind in ("ED", "ES", "sequence") if (path := files.get(kind)) is not None]
    if not pictures:
        findings.add_one(
            "error",
            "view-missing",
            name,
            f"Patients without any {view} picture are left out.",
            f"{folder} has no {folder.name}_{view}_ED, _ES or _sequence that can be read",
        )
        return None
    try:
        spacing, height = read_header(pictures[0])
    except EchocycleError as error:
        findings.add_one(
            "error", "unreadable", name, "Patients with an unreadable picture are left out.", str(error)[:-1]
        )
        return None
    if not DEPTHS_MM[0] <= height * spacing[0] <= DEPTHS_MM[1]:
        findings.add_one(
            "warning",
            "spacing-implausible",
            name,
            "By the header's spacing the picture is as deep as no probe sees, so do not trust volumes in ml. EF is "
            "right as long as the ratio of a pixel's height and width is.",
            f"{pictures[0].name}: {height} rows of {spacing[0]:g} mm",
        )
    _check_files(files, name, findings)
    info = read_info(_entry(folder, f"Info_{view}.cfg"), name, findings)
    return CamusRecord(
        patient=name,
        view=view,
        split=split,
        quality=info.quality,
        ef=info.ef,
        edv_ml=info.edv_ml,
        esv_ml=info.esv_ml,
        fps=info.fps,
        listed_frames=info.frames,
        ed_frame=info.ed - 1,
        es_frame=info.es - 1,
        spacing_mm=spacing,
        label=settings.label,
        files=files,
    )


# ------------------------------------------------------------------------------------------ files of a folder


def _locate(root: Path, findings: FindingList) -> list[tuple[Path, Split | None]]:
    """Folders that hold the patients, each with its split where the folder tells it; others are refused with advice."""
    what = f"Give the folder that holds {NIFTI_FOLDER}/, or training/, or patient0001/ and so on."
    if not root.exists():
        raise EchocycleError(f"{root} does not exist. {what}")
    if not root.is_dir():
        advice = "Unpack it first. " if root.suffix.lower() in (".zip", ".gz", ".tar") else ""
        raise EchocycleError(f"{root} is a file. {advice}{what}")
    if not _is_root(root):
        raise EchocycleError(f"{root} is not a folder of CAMUS. {_elsewhere(root) or what}")
    nifti = _entry(root, NIFTI_FOLDER)
    originals: list[tuple[Path, Split | None]] = [
        (folder, split)
        for name, split in SPLIT_OF_FOLDER.items()
        if (folder := _entry(root, name)) is not None and _patient_folders(folder)
    ]
    if nifti is not None and _patient_folders(nifti):
        if originals:
            findings.add_one(
                "note",
                "two-releases",
                "",
                f"The folder holds both releases; {NIFTI_FOLDER}/ is read. For the other, give a folder without it.",
            )
        return [(nifti, None)]
    return originals or [(root, SPLIT_OF_FOLDER.get(root.resolve().name.casefold()))]


def is_camus(folder: Path) -> bool:
    """Whether a folder, or one around it, is laid out as CAMUS is; `read_camus` says which to give."""
    folder = Path(folder)
    return folder.is_dir() and (_is_root(folder) or (folder.name.casefold() == NIFTI_FOLDER))


def _is_root(folder: Path) -> bool:
    """Whether patients lie where they should: not in database_nifti/ itself, whose splits lie beside it."""
    if any((entry := _entry(folder, name)) and _patient_folders(entry) for name in (NIFTI_FOLDER, *SPLIT_OF_FOLDER)):
        return True
    return folder.resolve().name.casefold() != NIFTI_FOLDER and bool(_patient_folders(folder))


def _elsewhere(root: Path) -> str:
    """Advice where the patients lie instead: above or one level deeper."""
    above = [parent for parent in list(root.resolve().parents)[:3] if _is_root(parent)]
    if above:
        return f"It lies inside one; give {above[0]} instead."
    deeper = sorted(path for path in root.iterdir() if path.is_dir() and os.access(path, os.R_OK) and _is_root(path))
    return f"There is one further down; give {deeper[0]} instead." if deeper else ""


def _entry(folder: Path, name: str) -> Path | None:
    """The entry called `name`; failing that, one that differs in case only."""
    if (folder / name).exists():
        return folder / name
    if not folder.is_dir() or not os.access(folder, os.R_OK):
        return None
    return next((path for path in sorted(folder.iterdir()) if path.name.casefold() == name.casefold()), None)


def _patient_folders(folder: Path) -> list[Path]:
    """Folders called patient and a number, by number; none where `folder` is no readable folder."""
    if not folder.is_dir() or not os.access(folder, os.R_OK):
        return []
    found = [path for path in folder.iterdir() if PATIENT.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (_number(path.name), path.name))


def _number(patient: str) -> int:
    """The number in a patient's name."""
    match = PATIENT.search(patient)
    return int(match[1]) if match else 0


def _read_splits(root: Path, findings: FindingList) -> dict[str, Split]:
    """Patient -> split, of the files in database_split/; empty where there are none."""
    folder, splits = root / SPLIT_FOLDER, dict[str, Split]()
    for file, split in SPLIT_OF_FILE.items():
        path = _entry(folder, file)
        if path is None:
            continue
        for line in filter(None, map(str.strip, read_text(path).splitlines())):
            if not PATIENT.fullmatch(line):
                findings.add_one(
                    "warning", "split-line-unclear", line, f"Lines of {SPLIT_FOLDER}/ name no patient.", path.name
                )
            elif splits.setdefault(line, split) != split:
                findings.add_one(
                    "error",
                    "patient-in-several-splits",
                    line,
                    f"Patients are listed in several files of {SPLIT_FOLDER}/; the first counts. Correct the lists.",
                    f"{line} is in {splits[line]} and {split}",
                )
    return splits


def _check_splits(
    records: Sequence[CamusRecord], splits: Mapping[str, Split], folders: Sequence[Path], findings: FindingList
) -> None:
    unknown = [record.patient for record in records if record.split is None]
    if not splits and unknown:
        findings.add_one(
            "note",
            "no-splits",
            "",
            "No split is listed, neither in database_split/ nor by folders training/ and testing/. A test on all "
            "patients needs none.",
        )
    elif unknown:
        for name in unknown:
            findings.add_one("warning", "split-unknown", name, f"Patients are in no file of {SPLIT_FOLDER}/.")
    present = {path.name for folder in folders for path in _patient_folders(folder)}
    for name in sorted(splits.keys() - present):
        findings.add_one("error", "patient-missing", name, f"Patients listed in {SPLIT_FOLDER}/ have no folder.")


def _files_of_view(folder: Path, view: View, name: str, findings: FindingList) -> dict[FileKind, Path]:
    """What exists of a view. An .mhd whose pixels, the .raw file, are missing does not count."""
    by_name = {path.name.casefold(): path for path in sorted(folder.iterdir())}
    files: dict[FileKind, Path] = {}
    for kind, words in NAMES_OF_KIND.items():
        candidates = (f"{folder.name}_{view}_{word}{suffix}".casefold() for suffix in SUFFIXES for word in words)
        for path in filter(None, map(by_name.get, candidates)):
            missing = _missing_pixels(path)
            if missing is None:
                files[kind] = path
                break
            findings.add_one(
                "error",
                "pixels-missing",
                name,
                "Headers (.mhd) without their file of pixels (.raw) are left out. Copy both.",
                f"{path} names {missing}, which does not exist",
            )
    return files


def _missing_pixels(path: Path) -> str | None:
    """Name of the file of pixels that an .mhd asks for, if that is missing."""
    if path.suffix.lower() != ".mhd":
        return None
    match = re.search(r"^\s*ElementDataFile\s*=\s*(\S.*?)\s*$", read_text(path), re.MULTILINE)
    if match is None or match[1].upper() == "LOCAL" or (path.parent / match[1]).exists():
        return None
    return match[1]


def _check_files(files: Mapping[FileKind, Path], name: str, findings: FindingList) -> None:
    for phase in get_args(Phase):
        if phase not in files:
            findings.add_one(
                "warning",
                "still-missing",
                name,
                "The picture of ED or ES is missing; the other one is kept.",
                f"{name} has no {phase}",
            )
    without = [phase for phase in get_args(Phase) if phase in files and f"{phase}_gt" not in files]
    if len(without) == 1 and "ED" in files and "ES" in files:
        findings.add_one(
            "warning",
            "one-mask-missing",
            name,
            "Of ED and ES one has no mask by experts (file `_gt`), so these patients count as untraced. Copy the file.",
            f"{name} has no {without[0]}_gt",
        )
    elif without:
        findings.add_one(
            "note", "mask-missing", name, "Pictures of ED or ES have no mask by experts.", f"{name}, {without[0]}"
        )
    if "sequence" not in files:
        findings.add_one(
            "note", "sequence-missing", name, "There is no half sequence, so EF cannot be told from video."
        )
