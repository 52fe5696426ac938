"""Recordings inside zip archives: which there are, and one of them as a file for as long as it is read.

A member has a path of its own, `study.zip!/inner/IM_0001`, which every stage takes as it takes the path of a file. An
archive is never unpacked whole: a member lies in a temporary folder while it is `opened`, never beside the archive.
"""

import errno
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

from echocycle.errors import EchocycleError
from echocycle.files import sha256

LARGEST_MEMBER = 2 << 30
"""Bytes that one member of a zip may unpack to."""
LARGEST_RATIO = 200
"""How many times its own size a zip may unpack to; what unpacks to less than `ALWAYS_FINE` may exceed it."""
ALWAYS_FINE = 1 << 30
MOST_MEMBERS = 100_000
HEAD = 1 << 16
"""Bytes of a member by which it is known what it is."""
MARK = "!"
"""Stands behind the name of an archive in the path of its member."""
UNREADABLE = (zipfile.BadZipFile, OSError, NotImplementedError, ValueError)


def is_zip(path: Path) -> bool:
    """Whether a file begins as zip archives do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def member_path(archive: Path, name: str) -> Path:
    """The path that stands for a member."""
    return archive.with_name(archive.name + MARK) / name


def archive_of(path: Path) -> tuple[Path, str] | None:
    """The archive and the member that a path stands for; None for the path of a file."""
    path = Path(path)
    if f"{MARK}{os.sep}" not in str(path) or os.path.exists(path):
        return None
    for folder in path.parents:
        archive = folder.with_name(folder.name[:-1]) if folder.name[:-1] and folder.name.endswith(MARK) else None
        if archive is not None and os.path.isfile(archive):
            return archive, path.relative_to(folder).as_posix()
    return None


def members(archive: Path) -> Iterator[tuple[Path, str | None]]:
    """The path of every member in the order of names, each with what stands against reading it, a sentence, or None.

    What is hidden is left out. An archive that is not opened at all gives its own path with the reason.
    """
    try:
        listed = _listed(archive)
    except EchocycleError as error:
        yield archive, str(error)
        return
    for name, info in listed.items():
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") and part != ".." for part in parts) or parts[:1] == ("__MACOSX",):
            continue
        if name.startswith("/") or ".." in parts or ":" in (parts or ("",))[0]:
            yield (
                archive.with_name(f"{archive.name}{MARK}") / name.lstrip("/"),
                f"{archive} holds {name!r}, whose name leads out of the archive; it is left out.",
            )
        else:
            path = member_path(archive, name)
            yield path, _locked(info, path)


@contextmanager
def head(path: Path) -> Iterator[Path]:
    """The beginning of a member as a file that ends as it does, to tell what it is.

    Raises:
        EchocycleError: it cannot be unpacked.
    """
    with _unpacked(path, HEAD) as file:
        yield file


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The file of a recording: the path itself, or of a member of an archive a copy that is gone afterwards.

    An error that names the copy names the member in its place.

    Raises:
        EchocycleError: the member is not there, is locked or damaged, or it or its archive exceeds the limits.
    """
    path = Path(path)
    if archive_of(path) is None:
        yield path
        return
    with _unpacked(path) as file:
        try:
            yield file
        except EchocycleError as error:
            error.args = tuple(str(each).replace(str(file), str(path)) for each in error.args)
            raise


def size_of(path: Path) -> int:
    """Bytes of a recording, in an archive or not."""
    place = archive_of(path)
    return Path(path).stat().st_size if place is None else _listed(place[0])[place[1]].file_size


def digest_of(path: Path) -> str:
    """SHA-256 of a recording, in an archive or not."""
    with opened(path) as file:
        return sha256(file)


@contextmanager
def _unpacked(path: Path, most: int | None = None) -> Iterator[Path]:
    """A member in a temporary folder, whole or its first bytes."""
    place = archive_of(path)
    assert place is not None
    archive, name = place
    info = _listed(archive).get(name)
    if info is None:
        raise EchocycleError(f"{archive} holds no {name}.")
    if locked := _locked(info, path):
        raise EchocycleError(locked)
    with tempfile.TemporaryDirectory(prefix="echocycle-") as folder:
        # the name on disk is ours, only its end is kept, so no name in an archive can reach beyond this folder
        file = Path(folder) / f"member{PurePosixPath(name).suffix[:12]}"
        try:
            with (
                zipfile.ZipFile(archive) as whole,
                whole.open(info) as source,
                file.open("wb") as target,
            ):
                if most is not None:
                    target.write(source.read(min(most, info.file_size)))
                else:
                    shutil.copyfileobj(_Limited(source, info.file_size), target, 1 << 20)
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # EINVAL: the archive's list names a place before its beginning
                raise  # the disk, not the archive
            raise _damaged(path, error) from None
        except Exception as error:  # zlib, lzma and bz2 each have an error of their own
            raise _damaged(path, error) from None
        yield file


def _damaged(path: Path, error: Exception) -> EchocycleError:
    return EchocycleError(f"{path} cannot be unpacked ({type(error).__name__}). Copy the archive again.")


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


def _listed(archive: Path) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by name, in the order of names.

    Raises:
        EchocycleError: it cannot be read, or exceeds the limits.
    """
    try:
        status = archive.stat()
        return _read_list(archive, status.st_mtime_ns, status.st_size)
    except UNREADABLE as error:
        raise EchocycleError(
            f"{archive} cannot be read as a zip ({type(error).__name__}); copy it again, or unpack it yourself."
        ) from None


@lru_cache(maxsize=4)
def _read_list(archive: Path, changed: int, size: int) -> dict[str, zipfile.ZipInfo]:
    """`_listed`, once for each state of an archive. Of members of the same name the last counts."""
    with zipfile.ZipFile(archive) as opened_archive:
        listed = [info for info in opened_archive.infolist() if not info.is_dir()]
    if len(listed) > MOST_MEMBERS:
        raise EchocycleError(f"{archive} holds {len(listed)} files, more than {MOST_MEMBERS}; unpack it yourself.")
    largest = max((info.file_size for info in listed), default=0)
    if largest > LARGEST_MEMBER:
        raise EchocycleError(
            f"{archive} holds a file of {largest >> 20} MB, more than {LARGEST_MEMBER >> 20}; unpack it yourself."
        )
    total = sum(info.file_size for info in listed)
    if total > max(ALWAYS_FINE, LARGEST_RATIO * size):
        raise EchocycleError(f"{archive} would unpack to {total >> 20} MB, far more than its size; it is not opened.")
    return dict(sorted((str(PurePosixPath(info.filename.replace("\\", "/"))), info) for info in listed))


def _locked(info: zipfile.ZipInfo, path: Path) -> str | None:
    return f"{path} is locked with a password. Unpack it first." if info.flag_bits & 1 else None
