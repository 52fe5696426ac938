"""Start of the flow: any recording in, one `Recording` out. Chooses between `video.py` and `dicom.py`."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from echocycle.errors import EchocycleError
from echocycle.recordings.archive import opened
from echocycle.recordings.colour import FlowWatch
from echocycle.recordings.decline import NEEDED, DeclinedError
from echocycle.recordings.dicom import is_dicom, read_dicom
from echocycle.recordings.quality import note_on_repeats
from echocycle.recordings.video import Recording, check_is_a_file_with_content, read_video
from echocycle.recordings.zea import is_zea, read_zea

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".gif", ".3gp")
SUPPORTED = f"DICOM cines (.dcm, or any name), video files ({', '.join(VIDEO_SUFFIXES)}) and zea files (.hdf5)"
STARTS = {
    0: (b"GIF87a", b"GIF89a", b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x30\x26\xb2\x75"),
    4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),
}
"""How video files begin, by the byte at which it stands: GIF, Matroska and WebM, MPEG, ASF; MP4 and MOV."""


def read_recording(
    path: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise", even: bool = True
) -> Recording:
    """Read a DICOM cine or a video file, whichever `path` is; see `read_video` and `read_dicom`.

    `path` may stand for a member of a zip (`archive.py`).

    Raises:
        DeclinedError: it is no grey two-dimensional ultrasound cine; the reason is said.
        EchocycleError: it is no recording, it is larger than the budget, or it cannot be opened.
        DamagedVideoError: some of it cannot be decoded.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            check_is_a_file_with_content(file)
            recording = replace(_read(file, color, damaged, even), source=path)
    except OSError as error:
        raise EchocycleError(f"{path} cannot be read ({error.strerror or type(error).__name__}).") from None
    return replace(recording, notes=(*recording.notes, *note_on_repeats(recording.frames, recording.fps)))


def _read(path: Path, color: bool, damaged: Literal["raise", "cut"], even: bool) -> Recording:
    if is_dicom(path):
        return read_dicom(path, color=color, damaged=damaged, even=even)
    if is_zea(path):
        return read_zea(path)
    if path.suffix.lower() not in VIDEO_SUFFIXES and not _starts_like_a_video(path):
        raise EchocycleError(f"{path} is not a recording that can be read. Supported are {SUPPORTED}.")
    watch = FlowWatch()
    recording = read_video(path, color=color, damaged=damaged, even=even, watch=watch)
    if watch.flows():
        raise DeclinedError(f"{path} is a colour Doppler recording. {NEEDED}.")
    return recording


def may_be_recording(path: Path) -> bool:
    """Whether a file found in a folder is meant to be read: by its name, or by how it begins. Hidden ones are not."""
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in VIDEO_SUFFIXES or is_dicom(path) or _starts_like_a_video(path) or is_zea(path)


def _starts_like_a_video(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(16)
    is_avi = start[:4] == b"RIFF" and start[8:12] == b"AVI "
    return is_avi or any(start[at:].startswith(kinds) for at, kinds in STARTS.items())
