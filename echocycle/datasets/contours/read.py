"""Masks or contours of a listed video: the reader is chosen by the file, ED and ES by list, labels or area."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from echocycle.datasets.contours.dicom_seg import read_seg
from echocycle.datasets.contours.nifti import read_nifti
from echocycle.datasets.contours.pictures import read_picture
from echocycle.datasets.contours.polygons import read_cvat, read_json_contours
from echocycle.datasets.contours.traced import Traced, Wanted
from echocycle.datasets.contours.tracings import read_tracings
from echocycle.datasets.echonet_tracings import TracedPair
from echocycle.datasets.findings import Finding, FindingList
from echocycle.datasets.lookup import nfc, without_suffix
from echocycle.datasets.records import Record
from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import is_dicom

Reader = Callable[[Path, Wanted], list[Traced]]

CONTOURS: dict[str, Reader] = {
    ".png": read_picture,
    ".bmp": read_picture,
    ".tif": read_picture,
    ".tiff": read_picture,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".json": read_json_contours,
    ".xml": read_cvat,
    ".csv": read_tracings,
    ".tsv": read_tracings,
    ".dcm": read_seg,
}
"""Suffix -> reader."""


def read_contours(path: Path, wanted: Wanted) -> list[Traced]:
    """The traced frames of a file, or of all files in a folder that can be read."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name[0] != "." and _reader(file) is not None)
        if not files:
            raise EchocycleError(f"{path} holds no mask or contour. Supported are {', '.join(CONTOURS)}.")
        return [traced for file in files for traced in read_contours(file, wanted)]
    reader = _reader(path)
    if reader is None:
        raise EchocycleError(f"{path} is no mask or contour that can be read. Supported are {', '.join(CONTOURS)}.")
    return reader(path, wanted)


def _reader(path: Path) -> Reader | None:
    suffix = re.search(r"(\.nii\.gz|\.[^.]*)$", path.name.lower())
    known = CONTOURS.get(suffix[1]) if suffix else None
    return read_seg if known is None and path.is_file() and is_dicom(path) else known


def contour_pair(record: Record, n_frames: int, height: int, width: int) -> TracedPair | Finding:
    """ED and ES of a video from its files of masks or contours.

    ED and ES are the frames that the list names; else those that files or labels call so; else the largest mask and the
    smallest. What stands against it is a finding, and the video counts as untraced.
    """
    wanted = Wanted(without_suffix(nfc(record.path.name)), n_frames, height, width)
    try:
        traced = [
            Traced(each.frame, phase or each.phase, each.mask)  # type: ignore[arg-type]
            for phase, path in record.contours
            for each in read_contours(path, wanted)
        ]
    except EchocycleError as error:
        return Finding("error", "contour-unreadable", (record.name,), f"{error} The video counts as untraced.")
    ed = _chosen(traced, "ED", record.ed_frame)
    es = _chosen(traced, "ES", record.es_frame)
    with_frame = sorted((t for t in traced if t.frame is not None), key=lambda t: int(t.mask.sum()))
    if ed is None and es is None and len(with_frame) >= 2:
        ed, es = with_frame[-1], with_frame[0]
    if ed is None or es is None:
        text = (
            f"{len(traced)} masks were found, and no pair of ED and ES among them; segmentation leaves these videos "
            "out. Name the frames in columns `ED frame` and `ES frame`, in the file's name, or by labels ED and ES."
        )
        return Finding("warning", "one-traced-frame", (record.name,), text)
    return _pair(record, ed, es, n_frames)


def _chosen(traced: Sequence[Traced], phase: str, listed: int) -> Traced | None:
    """The mask of a phase: of the listed frame, or called so."""
    for each in traced:
        if listed >= 0 and each.frame == listed:
            return each
    called = [each for each in traced if each.phase == phase]
    if len(called) == 1:
        frame = called[0].frame if listed < 0 else listed
        return Traced(frame, called[0].phase, called[0].mask) if frame is not None else None
    return None


def _pair(record: Record, ed: Traced, es: Traced, n_frames: int) -> TracedPair | Finding:
    assert ed.frame is not None
    assert es.frame is not None
    if ed.frame == es.frame or max(ed.frame, es.frame) >= n_frames:
        text = (
            f"ED is frame {ed.frame} and ES frame {es.frame} of {n_frames} (from 0); two frames of the video are "
            "needed. The video counts as untraced."
        )
        return Finding("error", "contour-frame-wrong", (record.name,), text)
    notes = FindingList()
    if ed.mask.sum() < es.mask.sum():
        notes.add(
            "warning",
            "es-larger-than-ed",
            [record.name],
            f"The mask of ED is smaller than that of ES. Are they exchanged? First: {record.name}: "
            f"{int(ed.mask.sum())} and {int(es.mask.sum())} pixels.",
        )
    return TracedPair(ed.frame, es.frame, np.stack([ed.mask, es.mask]), notes.sorted())
