"""Start of the flow, before anything is read: files, folders, DICOMDIR and zip in, one recording after the other out.

Folders are walked lazily and in the order of names, so that an archive of a million files starts at once and two runs
agree. Hidden files and folders are passed over. A zip is never unpacked whole: its members lie in a temporary folder
one at a time, and each is gone when the next one is asked for.
"""

import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import is_dicom
from echocycle.recordings.dicom_file import open_dicom
from echocycle.recordings.header import items
from echocycle.recordings.recording import SUPPORTED, may_be_recording

LARGEST_MEMBER = 2 << 30
"""Bytes that one member of a zip may unpack to."""
LARGEST_RATIO = 200
"""How many times its own size a zip may unpack to; what unpacks to less than `ALWAYS_FINE` may exceed it."""
ALWAYS_FINE = 1 << 30
MOST_MEMBERS = 100_000
LARGEST_DIRECTORY = 256 << 20
"""Bytes of a DICOMDIR; one of a hundred thousand pictures has fewer."""
DIRECTORY_CLASS = "1.2.840.10008.1.3.10"  # Media Storage Directory Storage
DOCUMENT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{family}." for family in ("88", "11", "9", "104"))
"""Structured reports, presentation states, waveforms, encapsulated documents."""


@dataclass(frozen=True)
class Found:
    """A recording to read, or a sentence about one that cannot be reached."""

    path: Path | None
    """What to read. A member of a zip lies there only until the next one is asked for. None if there is a problem."""
    origin: str
    """Where it comes from, in words for people and files: an absolute path, or `/folder/study.zip!/inner/IM_0001`."""
    problem: str | None = None
    """Why it cannot be read, one sentence that names it; None if all is well."""


def find_recordings(inputs: Iterable[Path | str], *, exclude: Iterable[Path | str] = ()) -> Iterator[Found]:
    """Find recordings in files, folders, DICOMDIR files and zip archives.

    A file that is named is always given out, whatever it is: reading it will say what is wrong. In folders and
    archives only what may be a recording is. Each file comes once, however often it is named or linked to.

    Args:
        inputs: files and folders. A missing one is a problem, not an exception.
        exclude: files and folders that are passed over, such as the folder of results.

    Raises:
        EchocycleError: `inputs` is empty, or not one recording and not one problem was found in them.
    """
    named = [Path(path).absolute() for path in inputs]
    if not named:
        raise EchocycleError(f"Name at least one recording or folder; supported are {SUPPORTED}.")
    walk = _Walk(named, {Path(path).resolve() for path in exclude})
    found_any = False
    for path in named:
        for found in walk.named(path):
            found_any = True
            yield found
    if not found_any:
        names = ", ".join(str(path) for path in named[:3]) + (" and others" if len(named) > 3 else "")
        raise EchocycleError(f"No recording was found in {names}; supported are {SUPPORTED}.")


class _Walk:
    """What was seen so far: real folders and files, so that nothing comes twice."""

    def __init__(self, inputs: list[Path], excluded: set[Path]) -> None:
        self.roots = [path.resolve() for path in inputs if path.is_dir()]
        self.excluded = excluded
        self.seen: set[Path] = set()

    def named(self, path: Path) -> Iterator[Found]:
        """What one of the inputs holds."""
        if path.is_dir():
            yield from self.folder(path, above=())
        elif self._is_new(path):
            if is_directory_file(path):
                yield from self.directory_file(path)
            elif _is_zip(path):
                yield from members(path)
            else:
                yield Found(path, str(path))

    def folder(self, folder: Path, above: tuple[Path, ...]) -> Iterator[Found]:
        """Everything below a folder; `above` are the real folders on the way to it."""
        real = folder.resolve()
        if real in above:
            yield _problem(folder, "is a link to a folder that holds it; it is not followed")
            return
        if real in self.seen or real in self.excluded:
            return
        self.seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield _problem(folder, f"cannot be opened ({error.strerror})")
            return
        for entry in entries:
            if not entry.name.startswith("."):
                yield from self._entry(Path(entry.path), (*above, real))

    def _entry(self, path: Path, above: tuple[Path, ...]) -> Iterator[Found]:
        try:
            if path.is_dir():
                real = path.resolve()
                # a link to what is walked anyway is passed over, so that files keep the name of their real place
                inside = any(root == real or root in real.parents for root in self.roots)
                if real in above or not (path.is_symlink() and inside):
                    yield from self.folder(path, above)
            elif path.is_symlink() and not path.exists():
                yield _problem(path, "is a link to something that is gone")
            elif path.is_file() and self._is_new(path):
                if _is_zip(path):
                    yield from members(path)
                elif is_document(path):
                    pass
                elif is_directory_file(path):
                    # the files it lists are met on the walk; what it lists and is not there would pass unnoticed
                    yield from (found for found in listed_files(path) if found.problem)
                elif may_be_recording(path):
                    yield Found(path, str(path))
        except OSError as error:
            yield _problem(path, f"cannot be read ({error.strerror or type(error).__name__})")

    def directory_file(self, path: Path) -> Iterator[Found]:
        """The images that a DICOMDIR lists."""
        lists_any = False
        for found in listed_files(path):
            lists_any = True
            if found.path is None or self._is_new(found.path):
                yield found
        if not lists_any:
            yield _problem(path, "is a DICOMDIR that lists no picture; give the folder instead")

    def _is_new(self, path: Path) -> bool:
        real = path.resolve()
        if real in self.seen or real in self.excluded or any(parent in self.excluded for parent in real.parents):
            return False
        self.seen.add(real)
        return True


def is_directory_file(path: Path) -> bool:
    """Whether a file is a DICOMDIR: the list of what lies on a medium, without pictures of its own."""
    return _storage_class(path) == DIRECTORY_CLASS


def is_document(path: Path) -> bool:
    """Whether a file is DICOM without pictures, as lie beside the pictures of a study: reports, presentation states."""
    return _storage_class(path).startswith(DOCUMENT_CLASSES)


def _storage_class(path: Path) -> str:
    """MediaStorageSOPClassUID of a DICOM file; empty if it has none."""
    from pydicom.filereader import read_file_meta_info

    if not path.is_file() or not is_dicom(path):
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes header values in its warnings
            return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", ""))
    except Exception:  # no preamble, or a damaged header in one of pydicom's many ways: reading the file will say so
        return ""


def listed_files(path: Path) -> Iterator[Found]:
    """The image files that a DICOMDIR lists, in its order; a problem for each that is not there."""
    if path.stat().st_size > LARGEST_DIRECTORY:
        yield _problem(path, f"is larger than {LARGEST_DIRECTORY >> 20} MB; give the folder instead")
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
        yield _problem(path, f"is a damaged DICOMDIR ({type(error).__name__}); give the folder instead")
        return
    for parts in listed:
        names = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        name = "/".join(names)
        if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in names):
            yield _problem(path, f"lists {name!r}, which leads out of its folder; it is not followed")
            continue
        here = _as_on_disk(path.parent, names)
        if here is None:
            yield _problem(path, f"lists {name}, which is not there; copy the medium again")
        else:
            yield Found(here, str(here))


def members(path: Path) -> Iterator[Found]:
    """The recordings in a zip, each unpacked to a temporary folder while it is looked at."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = sorted((info for info in archive.infolist() if not info.is_dir()), key=lambda info: info.filename)
            refusal = _refusal(path, listed)
            if refusal:
                yield refusal
                return
            for info in listed:
                name = PurePosixPath(info.filename.replace("\\", "/"))
                if any(part.startswith(".") and part != ".." for part in name.parts) or name.parts[:1] == ("__MACOSX",):
                    continue
                yield from _member(archive, info, name, path)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        yield _problem(path, f"cannot be read as a zip ({type(error).__name__}); copy it again, or unpack it yourself")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: PurePosixPath, path: Path) -> Iterator[Found]:
    origin = f"{path}!/{name}"
    if name.is_absolute() or ".." in name.parts or ":" in (name.parts or ("",))[0]:
        yield Found(None, origin, f"{path} holds {str(name)!r}, whose name leads out of the archive; it is left out.")
        return
    if info.flag_bits & 1:
        yield Found(None, origin, f"{origin} is locked with a password. Unpack it first.")
        return
    with tempfile.TemporaryDirectory(prefix="echocycle-") as folder:
        # the name on disk is ours, only its end is kept, so no name in an archive can reach beyond this folder
        unpacked = Path(folder) / f"member{name.suffix[:12]}"
        try:
            with archive.open(info) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(_Limited(source, info.file_size), target, 1 << 20)
        except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
            yield Found(None, origin, f"{origin} cannot be unpacked ({type(error).__name__}). Copy the archive again.")
            return
        except Exception as error:  # zlib, lzma and bz2 each have an error of their own
            yield Found(None, origin, f"{origin} cannot be unpacked ({type(error).__name__}). Copy the archive again.")
            return
        if zipfile.is_zipfile(unpacked):
            yield Found(None, origin, f"{origin} is an archive in an archive. Unpack it first.")
        elif (
            not is_directory_file(unpacked)
            and not is_document(unpacked)
            and unpacked.stat().st_size
            and may_be_recording(unpacked)
        ):
            yield Found(unpacked, origin)


class _Limited:
    """A stream that refuses to give more than was promised: a zip's list may lie about what a member unpacks to."""

    def __init__(self, source: object, promised: int) -> None:
        self.source, self.left = source, promised

    def read(self, size: int = -1) -> bytes:
        data: bytes = self.source.read(size)  # type: ignore[attr-defined]
        self.left -= len(data)
        if self.left < 0:
            raise ValueError("more than the archive's list says")
        return data


def _refusal(path: Path, listed: list[zipfile.ZipInfo]) -> Found | None:
    """Why an archive is not opened at all."""
    if len(listed) > MOST_MEMBERS:
        return _problem(path, f"holds {len(listed)} files, more than {MOST_MEMBERS}; unpack it yourself")
    largest = max((info.file_size for info in listed), default=0)
    if largest > LARGEST_MEMBER:
        return _problem(
            path, f"holds a file of {largest >> 20} MB, more than {LARGEST_MEMBER >> 20}; unpack it yourself"
        )
    total = sum(info.file_size for info in listed)
    if total > max(ALWAYS_FINE, LARGEST_RATIO * path.stat().st_size):
        return _problem(path, f"would unpack to {total >> 20} MB, far more than its size; it is not opened")
    return None


def _is_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _as_on_disk(folder: Path, names: list[str]) -> Path | None:
    """A listed file as it is called on disk: media in upper case are often copied in lower case, or with `;1`."""
    for name in names:
        spellings = [name, name.lower(), name.upper(), f"{name};1", f"{name.lower()};1"]
        folder_or_none = next((folder / spelling for spelling in spellings if (folder / spelling).exists()), None)
        if folder_or_none is None:
            return None
        folder = folder_or_none
    return folder if folder.is_file() else None


def _problem(path: Path, words: str) -> Found:
    return Found(None, str(path), f"{path} {words}.")
