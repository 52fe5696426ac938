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

import gzip
import math
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from echocycle.data.echonet import Finding, Level, Split
from echocycle.errors import EchocycleError
from echocycle.evaluation.volumes import disc_volume

View = Literal["4CH", "2CH"]
Phase = Literal["ED", "ES"]
Quality = Literal["Good", "Medium", "Poor"]
Release = Literal["original", "nifti"]
Resize = Literal["squeeze", "pad-to-square"]
Mirror = Literal["symmetric", "forward-backward"]
FileKind = Literal["ED", "ED_gt", "ES", "ES_gt", "sequence", "sequence_gt"]
Side = Literal["top", "bottom", "left", "right"]
Spacing = tuple[float, float]

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

LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "left atrium"}
BLACK = 2  # grey levels; outside the sector there is nothing but black
CLEAR_TIP = 0.05  # of the sector's height; real sectors have 0.10 to 0.13 upwards and 0.00 sidewards
DEPTHS_MM = (50.0, 400.0)  # what a cardiac probe can be set to, generously
EF_TOLERANCE = 1.0  # percentage points between the listed EF and that of the listed volumes; both are rounded

# What the paper states of the patients it tests on (Sec. IV and Table IX), and how the releases number them.
PAPER_PATIENTS = 450
PAPER_QUALITY: dict[Quality, int] = {"Good": 260, "Medium": 148, "Poor": 42}
PAPER_EF_MEAN, PAPER_EF_SD = 52.03, 12.07  # percent
EF_AGREES = 0.05  # percentage points by which mean and sd may differ: the releases round EF differently
LAST_TRAINING_NUMBER = 450  # in the nifti release, 451 to 500 are the patients whose labels were once withheld


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


@dataclass(frozen=True, eq=False)
class CamusStill:
    """The picture of one phase in its own size."""

    frame: NDArray[np.uint8]
    """(height, width), the probe at the top."""
    mask: NDArray[np.bool_] | None
    """(height, width); None where the experts' mask is missing."""
    phase: Phase
    spacing_mm: Spacing
    """(row, column) of this picture as returned."""
    notes: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class CamusSequence:
    """Half a beat in its own size, ED first."""

    frames: NDArray[np.uint8]
    """(time, height, width), the probe at the top."""
    masks: NDArray[np.bool_] | None
    """(time, height, width); None where there are none."""
    ed_frame: int
    """Index from 0 in `frames`."""
    es_frame: int
    flipped: bool
    """Whether the file runs from ES to ED and was turned round in time."""
    fps: float
    """NaN where unknown."""
    spacing_mm: Spacing
    notes: tuple[Finding, ...]


@dataclass(frozen=True)
class CamusFolder:
    """All usable patients of a folder, by name, and what was odd."""

    root: Path
    release: Release
    view: View
    records: tuple[CamusRecord, ...]
    findings: tuple[Finding, ...]


class NetworkImage(NamedTuple):
    """Picture or pictures as the networks take them."""

    image: NDArray[np.uint8]
    """([time,] size, size)"""
    mask: NDArray[np.bool_] | None
    spacing_mm: Spacing
    """(row, column) of the resized pixels; no longer square after `squeeze`."""


class _Findings:
    """Collects findings; those of one kind become one, whose message ends with the first case."""

    def __init__(self) -> None:
        self._all: dict[tuple[Level, str], tuple[str, list[str]]] = {}

    def add(self, level: Level, kind: str, name: str, message: str, case: str = "") -> None:
        """`name` is empty for what concerns the folder itself."""
        text = f"{message} First: {case}." if case else message
        names = self._all.setdefault((level, kind), (text, []))[1]
        if name and name not in names:
            names.append(name)

    def sorted(self) -> tuple[Finding, ...]:
        order = {"error": 0, "warning": 1, "note": 2}
        found = (Finding(level, kind, tuple(names), text) for (level, kind), (text, names) in self._all.items())
        return tuple(sorted(found, key=lambda finding: (order[finding.level], finding.kind)))


# ------------------------------------------------------------------------------------------------- the reader

DEFAULT_SETTINGS = CamusSettings()


def read_camus(root: Path, settings: CamusSettings = DEFAULT_SETTINGS) -> CamusFolder:
    """Read which patients a folder of either release holds, and what is listed about them; opens no picture.

    A patient without any picture of the view is left out and reported as a finding of level error. A folder from
    which nothing can be read is an `EchocycleError` that says which folder to give.
    """
    root = Path(root)
    findings = _Findings()
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
    first_files = [next(iter(record.files.values())) for record in records]
    release: Release = "nifti" if any(".nii" in path.name for path in first_files) else "original"
    return CamusFolder(root, release, settings.view, tuple(records), findings.sorted())


def _read_patient(
    folder: Path, name: str, split: Split | None, settings: CamusSettings, findings: _Findings
) -> CamusRecord | None:
    """One patient's view, or None with a finding."""
    view = settings.view
    files = _files_of_view(folder, view, name, findings)
    pictures = [path for kind in ("ED", "ES", "sequence") if (path := files.get(kind)) is not None]
    if not pictures:
        findings.add(
            "error",
            "view-missing",
            name,
            f"Patients without any {view} picture are left out.",
            f"{folder} has no {folder.name}_{view}_ED, _ES or _sequence that can be read",
        )
        return None
    try:
        spacing, height = _read_header(pictures[0])
    except EchocycleError as error:
        findings.add("error", "unreadable", name, "Patients with an unreadable picture are left out.", str(error)[:-1])
        return None
    if not DEPTHS_MM[0] <= height * spacing[0] <= DEPTHS_MM[1]:
        findings.add(
            "warning",
            "spacing-implausible",
            name,
            "By the header's spacing the picture is as deep as no probe sees, so do not trust volumes in ml. EF is "
            "right as long as the ratio of a pixel's height and width is.",
            f"{pictures[0].name}: {height} rows of {spacing[0]:g} mm",
        )
    _check_files(files, name, findings)
    info = _read_info(_entry(folder, f"Info_{view}.cfg"), name, findings)
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


def _locate(root: Path, findings: _Findings) -> list[tuple[Path, Split | None]]:
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
            findings.add(
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


def _read_splits(root: Path, findings: _Findings) -> dict[str, Split]:
    """Patient -> split, of the files in database_split/; empty where there are none."""
    folder, splits = root / SPLIT_FOLDER, dict[str, Split]()
    for file, split in SPLIT_OF_FILE.items():
        path = _entry(folder, file)
        if path is None:
            continue
        for line in filter(None, map(str.strip, _read_text(path).splitlines())):
            if not PATIENT.fullmatch(line):
                findings.add(
                    "warning", "split-line-unclear", line, f"Lines of {SPLIT_FOLDER}/ name no patient.", path.name
                )
            elif splits.setdefault(line, split) != split:
                findings.add(
                    "error",
                    "patient-in-several-splits",
                    line,
                    f"Patients are listed in several files of {SPLIT_FOLDER}/; the first counts. Correct the lists.",
                    f"{line} is in {splits[line]} and {split}",
                )
    return splits


def _check_splits(
    records: Sequence[CamusRecord], splits: Mapping[str, Split], folders: Sequence[Path], findings: _Findings
) -> None:
    unknown = [record.patient for record in records if record.split is None]
    if not splits and unknown:
        findings.add(
            "note",
            "no-splits",
            "",
            "No split is listed, neither in database_split/ nor by folders training/ and testing/. A test on all "
            "patients needs none.",
        )
    elif unknown:
        for name in unknown:
            findings.add("warning", "split-unknown", name, f"Patients are in no file of {SPLIT_FOLDER}/.")
    present = {path.name for folder in folders for path in _patient_folders(folder)}
    for name in sorted(splits.keys() - present):
        findings.add("error", "patient-missing", name, f"Patients listed in {SPLIT_FOLDER}/ have no folder.")


def _files_of_view(folder: Path, view: View, name: str, findings: _Findings) -> dict[FileKind, Path]:
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
            findings.add(
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
    match = re.search(r"^\s*ElementDataFile\s*=\s*(\S.*?)\s*$", _read_text(path), re.MULTILINE)
    if match is None or match[1].upper() == "LOCAL" or (path.parent / match[1]).exists():
        return None
    return match[1]


def _check_files(files: Mapping[FileKind, Path], name: str, findings: _Findings) -> None:
    for phase in get_args(Phase):
        if phase not in files:
            findings.add(
                "warning",
                "still-missing",
                name,
                "The picture of ED or ES is missing; the other one is kept.",
                f"{name} has no {phase}",
            )
        elif f"{phase}_gt" not in files:
            findings.add(
                "note", "mask-missing", name, "Pictures of ED or ES have no mask by experts.", f"{name}, {phase}"
            )
    if "sequence" not in files:
        findings.add("note", "sequence-missing", name, "There is no half sequence, so EF cannot be told from video.")


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


def _read_info(path: Path | None, name: str, findings: _Findings) -> _Info:
    """Lines `key: value` of Info_4CH.cfg. What is missing or cannot be right stays unknown."""
    if path is None:
        findings.add(
            "warning",
            "info-missing",
            name,
            "There is no Info_*.cfg: EF, quality and the frames of ED and ES are unknown.",
        )
        return _Info()
    pairs = (line.partition(":") for line in _read_text(path).splitlines())
    listed = {key.strip().casefold(): value.strip() for key, _, value in pairs}

    def wrong(what: str) -> None:
        message = "Entries of Info_*.cfg cannot be right; they are taken as unknown. Correct them."
        findings.add("error", "info-wrong", name, message, f"{path}: {what}")

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
        findings.add("warning", "phases-unlisted", name, message)
    elif info.ed > info.es:
        findings.add("note", "es-first", name, "The sequence is stored from ES to ED; `load_sequence` turns it round.")
    if info.edv_ml < info.esv_ml:
        wrong(f"LVedv is {info.edv_ml:g} and LVesv {info.esv_ml:g}")
        info.edv_ml = info.esv_ml = math.nan
    elif info.edv_ml > 0 and abs(100 * (1 - info.esv_ml / info.edv_ml) - info.ef) > EF_TOLERANCE:
        message = f"EF differs by more than {EF_TOLERANCE} from 100 (EDV - ESV) / EDV; the listed EF is used."
        findings.add("warning", "ef-and-volumes-disagree", name, message)
    if math.isnan(info.ef):
        findings.add("note", "unlabelled", name, "No EF is listed, as for the patients once kept for testing.")
    info.quality = next(
        (q for q in get_args(Quality) if q.casefold() == listed.get("imagequality", "").casefold()), None
    )
    if info.quality is None:
        message = "ImageQuality is none of Good, Medium, Poor; it is taken as unknown."
        findings.add("warning", "quality-unknown", name, message)
    return info


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise EchocycleError(f"{path} cannot be read ({error.strerror}).") from None


# ---------------------------------------------------------------------------------------------- image files


class _Raw(NamedTuple):
    """Values of one file, and the length of a pixel along each axis in mm."""

    values: NDArray
    lengths: tuple[float, ...]

    def without_axis(self, axis: int) -> "_Raw":
        return _Raw(self.values.squeeze(axis), self.lengths[:axis] + self.lengths[axis + 1 :])


def _unreadable(path: Path, error: Exception) -> EchocycleError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].rstrip(".") if lines else type(error).__name__
    return EchocycleError(f"{path} cannot be read ({reason}). It may be cut off; copy or unpack it again.")


def _read_header(path: Path) -> tuple[Spacing, int]:
    """Spacing (row, column) in mm and number of rows, without reading pixels."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    column, row, *_ = reader.GetSpacing()  # axes are (x, y, z) here and (z, y, x) in arrays
    return (row, column), reader.GetSize()[1]


def _read_image(path: Path, axes: int) -> _Raw:
    """Values of a file with so many axes, in array order; further axes of length 1, as in the original, are dropped."""
    import SimpleITK

    _check_nifti_is_whole(path)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise EchocycleError(f"{path} is a colour picture; those of CAMUS are grey.")
    raw = _Raw(SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1])
    while raw.values.ndim > axes and 1 in raw.values.shape:
        raw = raw.without_axis(raw.values.shape.index(1))
    if raw.values.ndim != axes:
        wanted = "one picture" if axes == 2 else "a sequence of pictures"
        raise EchocycleError(f"{path} holds an array of {_size(raw.values.shape)}, not {wanted}.")
    return raw


def _check_nifti_is_whole(path: Path) -> None:
    """Refuse a NIfTI file that is cut off or damaged, which SimpleITK would fill up with black without a word."""
    if path.name.lower().endswith(".nii.gz"):
        try:
            with gzip.open(path) as file:  # reading to the end also compares the check sum
                content = file.read()
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(path, error) from None
    elif path.suffix.lower() == ".nii":
        content = path.read_bytes()
    else:
        return
    if len(content) < 352:  # the shortest header
        raise _unreadable(path, ValueError("it ends within its header"))
    order = "<" if struct.unpack_from("<h", content, 40)[0] in range(1, 8) else ">"
    axes, *lengths = struct.unpack_from(f"{order}8h", content, 40)
    (bits,), (start,) = struct.unpack_from(f"{order}h", content, 72), struct.unpack_from(f"{order}f", content, 108)
    if len(content) < start + math.prod(lengths[: max(0, axes)]) * bits / 8:
        raise _unreadable(path, ValueError("it ends before its last pixel"))


def _whole_numbers(values: NDArray, path: Path, highest: int, what: str) -> NDArray[np.uint8]:
    """8-bit values; other types, such as the float32 of some copies, must hold whole numbers up to `highest`."""
    rounded = values if np.issubdtype(values.dtype, np.integer) else np.rint(values)
    if not (np.isfinite(values).all() and rounded.min() >= 0 and rounded.max() <= highest):
        raise EchocycleError(
            f"{path} holds values from {values.min():g} to {values.max():g}; "
            f"{what} are whole numbers from 0 to {highest}."
        )
    if np.abs(values - rounded).max() > 1e-3:
        raise EchocycleError(f"{path} holds fractions; {what} are whole numbers from 0 to {highest}. Was it resampled?")
    return rounded.astype(np.uint8)


def _read_frames(path: Path, axes: int) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    raw = _read_image(path, axes)
    return _whole_numbers(raw.values, path, 255, "grey levels"), raw.lengths


def _read_mask(path: Path | None, picture: Path, shape: tuple[int, ...], label: int) -> NDArray[np.bool_] | None:
    """The mask of a structure, of the same shape as the stored picture; None where the file is missing."""
    if path is None:
        return None
    values = _read_image(path, len(shape)).values
    if values.shape != shape:
        raise EchocycleError(
            f"{path} is {_size(values.shape)} and its picture {picture.name} {_size(shape)}. "
            "A mask must have its picture's size; take both from the same release."
        )
    return _whole_numbers(values, path, max(LABELS), "labels") == label


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


# ------------------------------------------------------------------------------------------------ orientation


def tip_side(frames: NDArray) -> Side | None:
    """On which side the sector's narrow end, the probe, lies in frames ([time,] height, width); None if unclear.

    Seen from the middle of its bounding box, a sector's area lies away from its tip.
    """
    brightest = frames.max(axis=0) if frames.ndim == 3 else frames
    rows, columns = np.nonzero(brightest > BLACK)
    if not rows.size:
        return None
    down, right = (
        float((place.mean() - (place.min() + place.max()) / 2) / (np.ptp(place) + 1)) for place in (rows, columns)
    )
    if max(abs(down), abs(right)) < CLEAR_TIP:
        return None
    if abs(down) >= abs(right):
        return "top" if down > 0 else "bottom"
    return "left" if right > 0 else "right"


class _Upright(NamedTuple):
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None
    spacing_mm: Spacing
    notes: tuple[Finding, ...]


def _upright(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_] | None, spacing: Spacing, path: Path, patient: str
) -> _Upright:
    """Pictures ([time,] height, width) with the probe at the top.

    A tip on the left is the mark of arrays whose axes were exchanged (other readers give (width, height)), and is
    put right. Any other place is refused, because then left and right cannot be told either.
    """
    tip = tip_side(frames)
    if tip == "top":
        return _Upright(frames, masks, spacing, ())
    if tip is None:
        text = f"{path.name}: the sector's narrow end cannot be made out; the picture is taken as it is."
        return _Upright(frames, masks, spacing, (Finding("warning", "orientation-unclear", (patient,), text),))
    if tip != "left":
        raise EchocycleError(
            f"{path} has the sector's narrow end at the {tip}, where CAMUS has it at the top. Somebody turned or "
            "mirrored the picture; take the file from the release."
        )
    text = (
        f"{path.name}: rows and columns were exchanged (the sector's narrow end was on the left); they are put right."
    )
    note = Finding("warning", "transposed", (patient,), text)
    turned = None if masks is None else np.ascontiguousarray(masks.swapaxes(-1, -2))
    return _Upright(np.ascontiguousarray(frames.swapaxes(-1, -2)), turned, spacing[::-1], (note,))


# --------------------------------------------------------------------------------------------------- pictures


def load_still(record: CamusRecord, phase: Phase) -> CamusStill:
    """Read the picture of ED or ES, with the experts' mask where there is one, in its own size."""
    path = record.files.get(phase)
    if path is None:
        have = ", ".join(record.files)
        raise EchocycleError(f"{record.patient} has no {record.view} picture of {phase} (it has: {have}).")
    frame, (row, column) = _read_frames(path, axes=2)
    mask = _read_mask(record.files.get("ED_gt" if phase == "ED" else "ES_gt"), path, frame.shape, record.label)
    still = _upright(frame, mask, (row, column), path, record.patient)
    notes = list(still.notes)
    if mask is not None and not mask.any():
        text = f"The mask of {path.name} has no pixel of label {record.label} ({LABELS[record.label]})."
        notes.append(Finding("warning", "empty-mask", (record.patient,), text))
    return CamusStill(still.frames, still.masks, phase, still.spacing_mm, tuple(notes))


def load_sequence(record: CamusRecord) -> CamusSequence:
    """Read the half sequence with the experts' masks where there are any, in its own size, ED first."""
    path = record.files.get("sequence")
    if path is None:
        have = ", ".join(record.files)
        raise EchocycleError(f"{record.patient} has no {record.view} sequence (it has: {have}).")
    frames, lengths = _read_frames(path, axes=3)
    masks = _read_mask(record.files.get("sequence_gt"), path, frames.shape, record.label)
    notes: list[Finding] = []

    def note(level: Level, kind: str, text: str) -> None:
        notes.append(Finding(level, kind, (record.patient,), f"{path.name}: {text}"))

    if _time_is_last(frames.shape, record.listed_frames):
        note("warning", "time-last", "time was the last axis; it is put first.")
        frames, lengths = np.moveaxis(frames, -1, 0), (lengths[2], lengths[0], lengths[1])
        masks = None if masks is None else np.moveaxis(masks, -1, 0)
    upright = _upright(frames, masks, (lengths[1], lengths[2]), path, record.patient)
    notes += upright.notes
    frames, masks = upright.frames, upright.masks
    if record.listed_frames not in (0, len(frames)):
        note("warning", "frames-differ", f"{len(frames)} frames, where Info_*.cfg lists {record.listed_frames}.")
    if min(record.ed_frame, record.es_frame) >= 0 and max(record.ed_frame, record.es_frame) < len(frames):
        ed, es = record.ed_frame, record.es_frame
    else:
        ed, es = _phases_by_stills(record, frames, note)
    flipped = ed > es
    if flipped:
        frames, ed, es = frames[::-1], len(frames) - 1 - ed, len(frames) - 1 - es
        masks = None if masks is None else masks[::-1]
    return CamusSequence(
        frames=np.ascontiguousarray(frames),
        masks=None if masks is None else np.ascontiguousarray(masks),
        ed_frame=ed,
        es_frame=es,
        flipped=flipped,
        fps=record.fps,
        spacing_mm=upright.spacing_mm,
        notes=tuple(notes),
    )


def _time_is_last(shape: tuple[int, ...], listed_frames: int) -> bool:
    """Whether a sequence's axes were reversed or its time axis moved: half a beat has fewer frames than rows."""
    first, _, last = shape
    if listed_frames and (first == listed_frames) != (last == listed_frames):
        return last == listed_frames
    return last < first


def _phases_by_stills(record: CamusRecord, frames: NDArray[np.uint8], note: Any) -> tuple[int, int]:
    """Indices of ED and ES where they are not listed: the frames most like the two stills, which are copies of them."""
    places = []
    for phase in get_args(Phase):
        frame = load_still(record, phase).frame if phase in record.files else None
        if frame is None or frame.shape != frames.shape[1:]:
            note(
                "warning", "order-assumed", "ED and ES are not listed and stills do not tell; ED is taken as the first."
            )
            return 0, len(frames) - 1
        distance = [float(np.abs(other - frame.astype(np.int16)).mean()) for other in frames]
        places.append(int(np.argmin(distance)))
    if places[0] == places[1]:
        note("warning", "order-assumed", "ED and ES are not listed and stills do not tell; ED is taken as the first.")
        return 0, len(frames) - 1
    note("note", "order-from-stills", "ED and ES are not listed; the frames most like the stills were taken.")
    return places[0], places[1]


# ------------------------------------------------------------------------------------------- to the networks


def to_network_size(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    spacing_mm: Spacing,
    size: int = DEFAULT_SETTINGS.size,
    how: Resize = DEFAULT_SETTINGS.resize,
) -> NetworkImage:
    """Pictures ([time,] height, width) and masks of that shape, resized to `size` x `size` pixels.

    Bilinear over the area that an output pixel covers, so that speckle does not alias. A mask's pixel is inside where
    half of it is. `pad-to-square` makes the picture a square of millimetres: black columns are added on both sides, or
    black rows below, so that the probe stays at the top. Where the spacing is NaN, pixels are taken as square.
    """
    if how not in get_args(Resize):
        raise EchocycleError(f"how is {how!r}; it must be one of {', '.join(get_args(Resize))}.")
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise EchocycleError(
            f"The picture is {image.dtype} of {_size(image.shape)}; give 8 bits, ([time,] height, width)."
        )
    if mask is not None and mask.shape != image.shape:
        raise EchocycleError(f"The mask is {_size(mask.shape)}, its picture {_size(image.shape)}; they must be equal.")
    row, column = spacing_mm
    if how == "pad-to-square":
        known = math.isfinite(row) and math.isfinite(column)
        padding = _padding_to_square(image.shape[-2:], (row, column) if known else (1.0, 1.0))
        before = [(0, 0)] * (image.ndim - 2)
        image = np.pad(image, before + padding)
        mask = None if mask is None else np.pad(mask, before + padding)
    height, width = image.shape[-2:]
    resized_mask = None if mask is None else _resized(mask.astype(np.uint8) * np.uint8(255), size) >= 128
    return NetworkImage(_resized(image, size), resized_mask, (row * height / size, column * width / size))


def _padding_to_square(shape: tuple[int, ...], spacing: Spacing) -> list[tuple[int, int]]:
    """Rows to add (above, below) and columns (left, right), so that height and width are as many millimetres."""
    side = max(shape[0] * spacing[0], shape[1] * spacing[1])
    rows, columns = (max(0, round(side / length) - count) for length, count in zip(spacing, shape, strict=True))
    return [(0, rows), (columns // 2, columns - columns // 2)]


def _resized(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image

    if frames.ndim == 3:
        return np.stack([_resized(frame, size) for frame in frames])
    picture = Image.fromarray(np.ascontiguousarray(frames))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


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
