"""Start of the flow, before anything is read: files, folders, DICOMDIR and zip in, one recording after the other out.

The one finder of all stages: `check`, `prepare`, `train`, `predict` and `deidentify` meet the same recordings. Folders
are walked lazily and in the order of names, so that an archive of a million files starts at once and two runs agree.
Passed over are hidden files and folders, documents that lie beside the pictures of a study, and what echocycle wrote.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from echocycle.errors import EchocycleError
from echocycle.recordings.archive import head, is_zip, members, size_of
from echocycle.recordings.dicom import is_dicom
from echocycle.recordings.dicom_file import open_dicom
from echocycle.recordings.header import items
from echocycle.recordings.recording import SUPPORTED, VIDEO_SUFFIXES, may_be_recording

LARGEST_DIRECTORY = 256 << 20
"""Bytes of a DICOMDIR; one of a hundred thousand pictures has fewer."""
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
DOCUMENT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{family}." for family in ("88", "11", "9", "104", "66", "481"))
"""Structured reports, presentation states, waveforms, encapsulated documents, segmentations, radiotherapy."""
DOCUMENTS = ("SEG", "SR", "PR", "KO", "RTSTRUCT", "RTDOSE")
"""The same by their modality, for files that do not state their class."""
RESULTS = ("run.json", "store.json", "started.json")
"""Files by which a folder of results is known: a run, a store, one of them half made."""
ZARR = ".zarr"
OVERLAY = ".overlay.mp4"
"""How the videos end that `predict` makes; each lies beside a JSON."""


@dataclass(frozen=True)
class Found:
    """A recording to read, or a sentence about one that cannot be reached."""

    path: Path | None
    """What to read; of a member of a zip the path that stands for it (`archive.py`). None if there is a problem."""
    origin: str
    """Where it comes from, in words for people and files: an absolute path, or `/folder/study.zip!/inner/IM_0001`."""
    problem: str | None = None
    """Why it cannot be read, one sentence that names it; None if all is well."""
    top: Path = Path()
    """The folder that was named, or that holds the file that was named."""
    refused: bool = False
    """Whether the system refused to look at it."""


def find_recordings(inputs: Iterable[Path | str], *, exclude: Iterable[Path | str] = ()) -> Iterator[Found]:
    """Find recordings in files, folders, DICOMDIR files and zip archives.

    A file that is named is always given out, whatever it is: reading it will say what is wrong. In folders and
    archives only what may be a recording is. Each file comes once, however often it is named or linked to. Links to
    folders are followed; what is in a folder that is walked anyway keeps the name of its real place.

    Args:
        inputs: files and folders. A missing one is a problem, not an exception.
        exclude: files and folders that are passed over, such as the folder of results, unless they are named.

    Raises:
        EchocycleError: `inputs` is empty, or not one recording and not one problem was found in them.
    """
    named = [Path(path).absolute() for path in inputs]
    if not named:
        raise EchocycleError(f"Name at least one recording or folder; supported are {SUPPORTED}.")
    walk = _Walk(named, {Path(path).resolve() for path in exclude})
    found_any = False
    empty: list[Path] = []
    for path in named:
        walk.met_again = found_here = False
        for found in walk.named(path):
            found_any = found_here = True
            yield found
        if not found_here and not walk.met_again:
            empty.append(path)
    if not found_any:
        names = ", ".join(str(path) for path in named[:3]) + (" and others" if len(named) > 3 else "")
        raise EchocycleError(
            f"{names} {'holds' if len(named) == 1 else 'hold'} no recording; supported are {SUPPORTED}."
        )
    for path in empty:
        yield _problem(path, f"holds no recording; supported are {SUPPORTED}", path)


class _Walk:
    """What was seen so far: real folders and files, so that nothing comes twice."""

    def __init__(self, inputs: list[Path], excluded: set[Path]) -> None:
        self.roots = [path.resolve() for path in inputs if path.is_dir()]
        self.excluded = excluded - set(self.roots)
        self.seen: set[Path] = set()
        self.met_again = False
        """Whether something was passed over that had come before."""

    def named(self, path: Path) -> Iterator[Found]:
        """What one of the inputs holds."""
        if path.is_dir():
            yield from self.folder(path, above=(), top=path)
        elif self._is_new(path, named=True):
            if is_directory_file(path):
                yield from self.directory_file(path)
            elif is_zip(path):
                yield from _recordings_in(path, path.parent)
            else:
                yield Found(path, str(path), top=path.parent)

    def folder(self, folder: Path, above: tuple[Path, ...], top: Path) -> Iterator[Found]:
        """Everything below a folder; `above` are the real folders on the way to it."""
        real = folder.resolve()
        if real in self.seen or real in self.excluded:
            self.met_again |= real in self.seen
            return
        self.seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield _problem(folder, f"cannot be opened ({error.strerror})", top, refused=True)
            return
        if above and any(entry.name in RESULTS for entry in entries):
            return
        for entry in entries:
            if not entry.name.startswith("."):
                yield from self._entry(Path(entry.path), (*above, real), top)

    def _entry(self, path: Path, above: tuple[Path, ...], top: Path) -> Iterator[Found]:
        try:
            if path.is_dir():
                real = path.resolve()
                # a link to what is walked anyway is passed over, so that files keep the name of their real place
                inside = any(root == real or root in real.parents for root in self.roots)
                if path.suffix.lower() == ZARR:
                    words = "is a Zarr store, as EchoXFlow has them, which is not read; give its copy in zea's format"
                    yield _problem(path, words, top)
                elif not (path.is_symlink() and inside):
                    yield from self.folder(path, above, top)
            elif path.is_symlink() and not path.exists():
                if path.suffix.lower() in (".dcm", ".dicom", *VIDEO_SUFFIXES):  # what a data manager has not fetched
                    yield _problem(path, "is a link to something that is gone", top)
            elif path.is_file() and not is_overlay(path) and self._is_new(path):
                yield from self._file(path, top)
        except OSError as error:
            words = f"cannot be read ({error.strerror or type(error).__name__})"
            yield _problem(path, words, top, refused=True)

    def _file(self, path: Path, top: Path) -> Iterator[Found]:
        if is_zip(path):
            yield from _recordings_in(path, top)
        elif is_directory_file(path):
            # the files it lists are met on the walk; what it lists and is not there would pass unnoticed
            yield from (found for found in listed_files(path, top) if found.problem)
        elif may_be_recording(path) and not is_document(path):
            yield Found(path, str(path), top=top)

    def directory_file(self, path: Path) -> Iterator[Found]:
        """The images that a DICOMDIR lists."""
        lists_any = False
        for found in listed_files(path, path.parent):
            lists_any = True
            if found.path is None or self._is_new(found.path):
                yield found
        if not lists_any:
            yield _problem(path, "is a DICOMDIR that lists no picture; give the folder instead", path.parent)

    def _is_new(self, path: Path, *, named: bool = False) -> bool:
        real = path.resolve()
        hidden = real in self.excluded or any(parent in self.excluded for parent in real.parents)
        if real in self.seen or (hidden and not named):
            self.met_again |= real in self.seen
            return False
        self.seen.add(real)
        return True


def is_overlay(path: Path) -> bool:
    """Whether a file is a video that `predict` made of a recording."""
    stem = path.name.removesuffix(OVERLAY)
    return stem != path.name and path.with_name(f"{stem}.json").exists()


def is_directory_file(path: Path) -> bool:
    """Whether a file is a DICOMDIR: the list of what lies on a medium, without pictures of its own."""
    return _class_and_modality(path)[0] == DIRECTORY_CLASS


def is_document(path: Path) -> bool:
    """Whether a file is DICOM without pictures, as lie beside the pictures of a study: reports, presentation states,
    segmentations."""
    kind, modality = _class_and_modality(path)
    return kind.startswith(DOCUMENT_CLASSES) or modality in DOCUMENTS


def _class_and_modality(path: Path) -> tuple[str, str]:
    """MediaStorageSOPClassUID of a DICOM file, or where it has none its modality; empty if not known."""
    if not path.is_file() or not is_dicom(path):
        return "", ""
    from pydicom.filereader import read_file_meta_info

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes header values in its warnings
            try:
                kind = str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
            except Exception:  # without preamble
                kind = ""
            if kind:
                return kind, ""
            return "", str(open_dicom(path).dataset.get("Modality", ""))
    except Exception:  # a damaged header in one of pydicom's many ways: reading the file will say so
        return "", ""


def listed_files(path: Path, top: Path) -> Iterator[Found]:
    """The image files that a DICOMDIR lists, in its order; a problem for each that is not there."""
    if path.stat().st_size > LARGEST_DIRECTORY:
        yield _problem(path, f"is larger than {LARGEST_DIRECTORY >> 20} MB; give the folder instead", top)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes header values in its warnings
            records = items(open_dicom(path, later=None).dataset, "DirectoryRecordSequence")
            listed = [
                record.ReferencedFileID
                for record in records
                if str(record.get("DirectoryRecordType", "")).strip() == "IMAGE" and record.get("ReferencedFileID")
            ]
    except Exception as error:  # a damaged list fails in many ways inside pydicom
        yield _problem(path, f"is a damaged DICOMDIR ({type(error).__name__}); give the folder instead", top)
        return
    for parts in listed:
        names = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        name = "/".join(names)
        if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in names):
            yield _problem(path, f"lists {name!r}, which leads out of its folder; it is not followed", top)
            continue
        here = _as_on_disk(path.parent, names)
        if here is None:
            yield _problem(path, f"lists {name}, which is not there; copy the medium again", top)
        else:
            yield Found(here, str(here), top=top)


def _recordings_in(archive: Path, top: Path) -> Iterator[Found]:
    """The recordings in a zip, each with the path that stands for it; none is unpacked but for its beginning."""
    for path, problem in members(archive):
        if problem is not None:
            yield Found(None, str(path), problem, top)
            continue
        try:
            if not size_of(path):
                continue
            with head(path) as begins:
                if is_zip(begins):
                    yield Found(None, str(path), f"{path} is an archive in an archive. Unpack it first.", top)
                elif not is_directory_file(begins) and not is_document(begins) and may_be_recording(begins):
                    yield Found(path, str(path), top=top)
        except EchocycleError as error:
            yield Found(None, str(path), str(error), top)


def _as_on_disk(folder: Path, names: list[str]) -> Path | None:
    """A listed file as it is called on disk: media in upper case are often copied in lower case, or with `;1`."""
    for name in names:
        spellings = [name, name.lower(), name.upper(), f"{name};1", f"{name.lower()};1"]
        folder_or_none = next((folder / spelling for spelling in spellings if (folder / spelling).exists()), None)
        if folder_or_none is None:
            return None
        folder = folder_or_none
    return folder if folder.is_file() else None


def _problem(path: Path, words: str, top: Path, *, refused: bool = False) -> Found:
    return Found(None, str(path), f"{path} {words}.", top, refused)
