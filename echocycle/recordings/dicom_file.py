"""A DICOM file opened: its header, and where its pixel data lie. These stay in the file until size was judged."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from echocycle.errors import EchocycleError
from echocycle.recordings.budget import LARGEST_INFLATED
from echocycle.recordings.header import text

if TYPE_CHECKING:
    from pydicom import Dataset

PIXEL_DATA = (0x7FE0, 0x0010)
UNDEFINED = 0xFFFFFFFF
LATER = 1 << 20  # bytes from which on pydicom leaves a value in the file until it is asked for


class DamagedDicomError(Exception):
    """Some of the file cannot be parsed; the text is what a user may be told."""


@dataclass(frozen=True)
class DicomFile:
    """Header and place of the pixel data."""

    dataset: "Dataset"
    """Everything before the pixel data."""
    content: Path | bytes
    """The file that `start` counts in, or its bytes after inflating."""
    start: int | None
    """Where the value of PixelData begins; None if there is none."""
    length: int
    """Its length in bytes, but never beyond the end of the file."""
    missing: int
    """How many bytes of it the file lacks."""
    encapsulated: bool
    """Whether the pixel data are a list of fragments, by how they are stored."""

    def open(self) -> BinaryIO:
        """The content, positioned at the start of the pixel data."""
        file: BinaryIO = io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")
        file.seek(self.start or 0)
        return file


def starts_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: with its preamble, or, as old files do, with the first elements at once."""
    with Path(path).open("rb") as file:
        start = file.read(1024)
    if start[128:132] == b"DICM" or start[:4] == b"DICM":
        return True
    return any(_two_elements(start, order, explicit) for order in "<>" for explicit in (True, False))


def _two_elements(start: bytes, order: str, explicit: bool) -> bool:
    """Whether two elements of the groups 0002 or 0008 stand at the beginning, in order."""
    at, before = 0, (0, -1)
    for _ in range(2):
        if at + 12 > len(start):
            return False
        group, element = struct.unpack(f"{order}HH", start[at : at + 4])
        if group not in (2, 8) or not before < (group, element):
            return False
        if not explicit:
            length = struct.unpack(f"{order}L", start[at + 4 : at + 8])[0]
            at += 8 + length
        elif start[at + 4 : at + 6] in (b"OB", b"SQ", b"UN", b"UT", b"OW"):
            length = struct.unpack(f"{order}L", start[at + 8 : at + 12])[0]
            at += 12 + length
        elif start[at + 4 : at + 6].isalpha() and start[at + 4 : at + 6].isupper():
            length = struct.unpack(f"{order}H", start[at + 6 : at + 8])[0]
            at += 8 + length
        else:
            return False
        if length % 2 or length > 512:
            return False
        before = (group, element)
    return True


def open_dicom(path: Path, later: int | None = LATER) -> DicomFile:
    """Read the header of a DICOM file; values of more than `later` bytes stay in it until they are asked for.

    Raises:
        EchocycleError: the file is no DICOM, or would inflate beyond `LARGEST_INFLATED`.
        DamagedDicomError: its header cannot be parsed.
    """
    from pydicom import dcmread, uid
    from pydicom.errors import InvalidDicomError

    try:
        with Path(path).open("rb") as file:
            begins, syntax = _meta(file.read(LATER))
            if syntax == uid.DeflatedExplicitVRLittleEndian:
                return _deflated(Path(path), begins)  # pydicom would inflate it whole, whatever its size
            file.seek(0)
            try:
                dataset = dcmread(file, stop_before_pixels=True, defer_size=later)
            except InvalidDicomError:  # old files lack the 128 bytes and "DICM" in front
                file.seek(4 if file.seek(0) == 0 and file.read(4) == b"DICM" else 0)
                dataset = dcmread(file, stop_before_pixels=True, defer_size=later, force=True)
                if not {"SOPClassUID", "Rows", "Modality"} & {element.keyword for element in dataset}:
                    raise
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = uid.UID(_syntax_as_parsed(dataset))
            return _place(dataset, Path(path), file, os.fstat(file.fileno()).st_size)
    except InvalidDicomError:
        raise EchocycleError(f"{path} is not a DICOM file. Export the recording again.") from None
    except EchocycleError:
        raise
    except Exception as error:  # a damaged header fails in many ways inside pydicom
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        raise DamagedDicomError(f"its DICOM header is damaged ({type(error).__name__})") from None


def _syntax_as_parsed(dataset: "Dataset") -> str:
    """The transfer syntax of a file that does not state it, by how pydicom could parse it."""
    from pydicom import uid

    implicit, little = dataset.original_encoding
    if implicit or implicit is None:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _place(dataset: "Dataset", content: Path | bytes, file: BinaryIO, size: int) -> DicomFile:
    """Parse the head of the PixelData element, before which pydicom stopped."""
    at = file.tell()
    head = file.read(12)
    order = ">" if text(dataset.file_meta, "TransferSyntaxUID") == "1.2.840.10008.1.2.2" else "<"
    if len(head) < 12 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_DATA:
        return DicomFile(dataset, content, None, 0, 0, False)
    if head[4:6] in (b"OB", b"OW", b"UN"):
        start, length = at + 12, struct.unpack(f"{order}L", head[8:])[0]
    else:
        start, length = at + 8, struct.unpack(f"{order}L", head[4:8])[0]
    left = max(0, size - start)
    if length == UNDEFINED:
        return DicomFile(dataset, content, start, left, 0, True)
    return DicomFile(dataset, content, start, min(length, left), max(0, length - left), False)


def _deflated(path: Path, begins: int) -> DicomFile:
    """A deflated file, inflated in memory up to a limit; `begins` is where its meta information ends."""
    from pydicom import dcmread, uid
    from pydicom.dataset import FileMetaDataset

    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        file.seek(begins)
        while data := inflater.unconsumed_tail or file.read(1 << 20):
            parts.append(inflater.decompress(data, 16 << 20))
            size += len(parts[-1])
            if size > LARGEST_INFLATED:
                raise EchocycleError(
                    f"{path} would unpack to more than {LARGEST_INFLATED >> 20} MB. Export it without compression."
                )
    inflated = b"".join(parts)
    del parts
    buffer = io.BytesIO(inflated)
    dataset = dcmread(buffer, stop_before_pixels=True, force=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return _place(dataset, inflated, buffer, len(inflated))


def _meta(data: bytes) -> tuple[int, str]:
    """Where the file meta information ends, which is always explicit little endian, and the transfer syntax in it."""
    at = 132 if data[128:132] == b"DICM" else 4 if data[:4] == b"DICM" else 0
    syntax = ""
    while at + 12 <= len(data) and data[at : at + 2] == b"\x02\x00":
        if data[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
            start, length = at + 12, int.from_bytes(data[at + 8 : at + 12], "little")
        else:
            start, length = at + 8, int.from_bytes(data[at + 6 : at + 8], "little")
        if data[at + 2 : at + 4] == b"\x10\x00":
            syntax = data[start : start + length].decode("ascii", "replace").rstrip("\0 ")
        at = start + length
    return at, syntax
