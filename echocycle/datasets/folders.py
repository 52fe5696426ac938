"""What lies in a folder: recordings at any depth, and what they are called in a store."""

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from echocycle.datasets.lookup import is_recording, nfc, without_suffix

RESULTS = ("run.json", "store.json", "predictions.csv")
"""Files by which a folder of results is known."""


def walk_recordings(folder: Path) -> Iterator[Path]:
    """Recordings below a folder, by name; hidden files and folders are passed over, links to folders not followed, and
    neither is what echocycle wrote itself: runs, stores and predictions with their videos."""
    if any((folder / name).exists() for name in RESULTS):
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from walk_recordings(path)
        elif entry.is_file() and is_recording(path) and not is_other_dicom(path):
            yield path


def is_other_dicom(path: Path) -> bool:
    """Whether a file is a DICOM object that is no picture: a directory, a report, a segmentation, a presentation."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    if path.suffix.lower() not in ("", ".dcm", ".dicom") and path.name.upper() != "DICOMDIR":
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
    except (InvalidDicomError, OSError):
        return False
    except Exception:  # a damaged header: reading the recording will say so
        return False
    return path.name.upper() == "DICOMDIR" or header.get("Modality") in ("SEG", "SR", "PR", "KO", "RTSTRUCT", "RTDOSE")


def store_name(root: Path, path: Path) -> str:
    """A recording's name in the store: its path without suffix, folders joined by `-`."""
    parts = path.relative_to(root).parts
    text = "-".join((*parts[:-1], without_suffix(parts[-1])))
    return nfc(os.fsencode(text).decode("utf-8", "backslashreplace"))


def distinct_names(root: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Names in the store; where two would be alike, suffix and number are added."""
    plain = {path: store_name(root, path) for path in paths}
    count = Counter(plain.values())
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path, name in plain.items():
        if count[name] > 1:
            name += path.suffix.lower() or "-file"
        number, base = 2, name
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        names[path] = name
        taken.add(name)
    return names
