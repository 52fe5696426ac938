"""Start of the flow: any recording in, one `Recording` out. Chooses between `video.py` and `dicom.py`."""

from pathlib import Path
from typing import Literal

from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import is_dicom, read_dicom
from echocycle.recordings.video import Recording, check_is_a_file_with_content, read_video

VIDEO_SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
SUPPORTED = f"DICOM cines (.dcm, or any name) and video files ({', '.join(VIDEO_SUFFIXES)})"


def read_recording(path: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise") -> Recording:
    """Read a DICOM cine or a video file, whichever `path` is; see `read_video` and `read_dicom`."""
    path = Path(path)
    check_is_a_file_with_content(path)
    if is_dicom(path):
        return read_dicom(path, color=color, damaged=damaged)
    if path.suffix.lower() in VIDEO_SUFFIXES or _starts_like_a_video(path):
        return read_video(path, color=color, damaged=damaged)
    raise EchocycleError(f"{path} is not a recording that can be read. Supported are {SUPPORTED}.")


def may_be_recording(path: Path) -> bool:
    """Whether a file found in a folder is meant to be read: by its name, or by how it begins. Hidden ones are not."""
    if path.name.startswith("."):
        return False
    return path.suffix.lower() in (".dcm", *VIDEO_SUFFIXES) or is_dicom(path) or _starts_like_a_video(path)


def _starts_like_a_video(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(16)
    is_avi = start[:4] == b"RIFF" and start[8:12] == b"AVI "
    is_mp4_or_mov = start[4:8] in (b"ftyp", b"moov", b"mdat")
    return is_avi or is_mp4_or_mov
