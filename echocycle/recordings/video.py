"""Start of the flow: video files in, arrays out (and back). The only file that knows video codecs.

Reading is strict: a recording that other readers pass without complaint may hold a garbled frame, and an ejection
fraction is worth as much as its frames at end diastole and end systole. So a damaged frame is an error, unless
the caller asks to keep what came before it.

PyAV is imported where it is used, so that this module needs nothing but numpy to be imported.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import replacing

UNKNOWN_SPACING = (math.nan, math.nan)
HIGHEST_FPS = 1000.0  # no ultrasound scanner is faster; a larger number is a broken header

# FFmpeg also opens play lists, which name other files or hosts; only containers that hold video are allowed.
CONTAINERS = "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,asf,h264,hevc,mpegvideo"


class DamagedVideoError(EchocycleError):
    """The file is a video, but some of it cannot be decoded."""


@dataclass(frozen=True)
class Recording:
    """One ultrasound recording as it was stored, before anything is cut or scaled."""

    frames: np.ndarray
    """uint8, grey (time, height, width) or RGB (time, height, width, 3)."""
    fps: float
    """Frames per second; NaN when unknown."""
    listed_frames: int | None
    """How many frames the container's header promises; None when it does not say. Never trusted."""
    notes: tuple[str, ...]
    """Sentences about what is unusual. They never hold anything about the patient."""
    spacing_mm: tuple[float, float]
    """Millimetres per pixel, (row, column); NaN when unknown."""
    source: Path


def read_video(path: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise") -> Recording:
    """Read all frames of an AVI, MP4 or MOV file as grey (luma) or RGB.

    A frame that cannot be decoded raises `DamagedVideoError` with its index; `damaged="cut"` keeps the frames
    before it and adds a note. Fewer frames than the header lists is a note: headers are often wrong by a few.
    """
    path = Path(path)
    check_is_a_file_with_content(path)
    with path.open("rb") as file:
        if _is_web_page(file.read(1024)):
            raise EchocycleError(f"{path} is a web page, not a video: the download failed. Download it again.")
        if hasattr(_pyav(), "STANDS_IN"):
            return _read_phantom(path, color)
        file.seek(0)
        return decode(file, path, color=color, damaged=damaged)


def decode(
    data: bytes | BinaryIO, source: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise"
) -> Recording:
    """Decode a video that is in memory or in an open file; `source` is its name in messages."""
    av = _pyav()
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        container = av.open(file, options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, ValueError) as error:
        raise EchocycleError(
            f"{source} cannot be opened as a video ({_reason(error)}). It may be cut off, or of another format."
        ) from None
    with container:
        if not container.streams.video:
            raise EchocycleError(f"{source} holds no video stream.")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # frame threads would report a damaged frame late, at another frame
        stream.codec_context.options = {"err_detect": "explode"}
        frames: list[np.ndarray] = []
        notes: list[str] = []
        for item in _frames_then_damage(container, stream, color):
            if isinstance(item, np.ndarray):
                frames.append(item)
                continue
            damage = f"frame {len(frames)} is damaged ({item})"
            if damaged == "raise" or not frames:
                raise DamagedVideoError(f"{source}: {damage}. Copy the file again from its origin, or exclude it.")
            notes.append(f"{damage}; the {len(frames)} frames before it are used")
        listed_frames = stream.frames or None
        fps, fps_notes = checked_fps(stream.average_rate)
    if not frames:
        raise EchocycleError(f"{source} is a video without frames.")
    if any(frame.shape != frames[0].shape for frame in frames):
        raise DamagedVideoError(f"{source}: its frames differ in size. Export the recording as one clip.")
    if listed_frames is not None and listed_frames > len(frames) and not notes:
        notes.append(f"the header lists {listed_frames} frames, {len(frames)} could be read")
    stacked = np.stack(frames)
    notes.extend(notes_on_frames(stacked))
    return Recording(
        frames=stacked,
        fps=fps,
        listed_frames=listed_frames,
        notes=(*notes, *fps_notes),
        spacing_mm=UNKNOWN_SPACING,
        source=Path(source),
    )


def _read_phantom(path: Path, color: bool) -> Recording:
    """A phantom's video on a machine without PyAV (see `scripts/standins/`); the note says so."""
    av = _pyav()
    try:
        frames, rate, listed = av.read_mjpeg(path, color)
    except OSError as error:
        raise EchocycleError(str(error)) from None
    fps, fps_notes = checked_fps(rate)
    return Recording(frames, fps, listed, (av.STANDS_IN, *fps_notes), UNKNOWN_SPACING, path)


def notes_on_frames(frames: np.ndarray) -> list[str]:
    """One note for each frame that decodes and yet may be damaged."""
    return [
        f"frame {index} is unlike both its neighbours, which are like each other; it may be damaged"
        for index in frames_that_stand_out(frames)
    ]


def frames_that_stand_out(frames: np.ndarray, times: float = 1.5) -> list[int]:
    """Indices of single frames that are unlike both neighbours, while the neighbours are alike.

    About a third of garbled JPEG data happens to be valid JPEG data and decodes without an error; the pictures
    that this spoils worst are found here. The heart does not jump away and back within one frame: the ratio below
    stays under 1 in sound clips.
    """
    step = max(1, min(frames.shape[1:3]) // 112)
    thumbnails = frames[:, ::step, ::step].astype(np.int16)
    if len(thumbnails) < 3:
        return []
    pixels = tuple(range(1, thumbnails.ndim))
    change = np.abs(np.diff(thumbnails, axis=0)).mean(axis=pixels)
    change_over_two = np.abs(thumbnails[2:] - thumbnails[:-2]).mean(axis=pixels)
    usual = np.maximum(change_over_two, np.median(change))
    jump = np.minimum(change[:-1], change[1:])
    return [int(index) + 1 for index in np.flatnonzero((jump > times * usual) & (jump > 2))]


def checked_fps(rate: float | Fraction | None) -> tuple[float, tuple[str, ...]]:
    """Frames per second as a float with no note, or NaN with a note if the rate is missing or absurd."""
    fps = math.nan if rate is None else float(rate)
    if 0 < fps <= HIGHEST_FPS:
        return fps, ()
    stated = "does not say" if math.isnan(fps) else f"says {fps:g} frames per second instead of"
    return math.nan, (f"frame rate unknown: the header {stated} how many frames make a second",)


def check_is_a_file_with_content(path: Path) -> None:
    """One clear sentence for a missing file, a folder and an empty file."""
    if path.is_dir():
        raise EchocycleError(f"{path} is a folder; give one recording.")
    if not path.exists():
        raise EchocycleError(f"{path} is missing.")
    if path.stat().st_size == 0:
        raise EchocycleError(f"{path} is empty (0 bytes). Copy or download it again.")


def write_mjpeg(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write uint8 `frames`, grey (time, height, width) or RGB (time, height, width, 3), as an MJPEG AVI.

    This is the format of EchoNet-Dynamic. Full range at the best JPEG quality: on pure speckle, grey levels
    move by less than one on average and by about six at most. The same frames give the same bytes.
    """
    av = _pyav()
    if hasattr(av, "STANDS_IN"):  # a machine without PyAV, see `scripts/standins/`
        _check_frames(frames)
        with replacing(path) as temporary:
            av.write_mjpeg(temporary, frames, fps)
        return
    quality = {"qmin": "1", "qmax": "1"}
    _write(path, frames, fps, codec="mjpeg", pixels="yuvj420p", options=quality, container={})


def write_mp4(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write uint8 `frames`, grey or RGB as in `write_mjpeg`, as an H.264 MP4 that browsers play.

    H.264 with 4:2:0 colour needs even sizes: an odd height or width grows by one repeated line.
    """
    _check_frames(frames)
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2)] + [(0, 0)] * (frames.ndim - 3)
    _write(
        path,
        np.pad(frames, odd, mode="edge"),
        fps,
        codec="libx264",
        pixels="yuv420p",
        options={"crf": "16", "preset": "medium"},
        container={"movflags": "+faststart"},
    )


def _write(
    path: Path,
    frames: np.ndarray,
    fps: float,
    *,
    codec: str,
    pixels: str,
    options: dict[str, str],
    container: dict[str, str],
) -> None:
    _check_frames(frames)
    if not 0 < fps <= HIGHEST_FPS:
        raise EchocycleError(f"{path} cannot be written with {fps} frames per second.")
    av = _pyav()
    path = Path(path)
    file_type = path.suffix[1:].lower()
    layout = "gray" if frames.ndim == 3 else "rgb24"
    with (
        replacing(path) as temporary,
        # bitexact leaves the library's version out of the file
        temporary.open("wb") as file,
        av.open(file, "w", format=file_type, options={"fflags": "+bitexact", **container}) as output,
    ):
        stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1  # the bytes must not depend on the number of cores
        stream.codec_context.options = {**options, "flags": "+bitexact"}
        if pixels == "yuvj420p":
            stream.codec_context.color_range = av.video.reformatter.ColorRange.JPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=layout)
            output.mux(stream.encode(picture))
        output.mux(stream.encode())


def _check_frames(frames: np.ndarray) -> None:
    is_grey, is_rgb = frames.ndim == 3, frames.ndim == 4 and frames.shape[-1] == 3
    if frames.dtype != np.uint8 or not (is_grey or is_rgb) or frames.size == 0:
        raise ValueError(
            "frames must be uint8, (time, height, width) or (time, height, width, 3), "
            f"not {frames.dtype} {frames.shape}"
        )


def _frames_then_damage(container: Any, stream: Any, color: bool) -> Iterator[np.ndarray | str]:
    """The frames as arrays and, if decoding fails, last of all a string that says why."""
    av = _pyav()
    # Converted by FFmpeg, which knows the colour range: a raw luma plane of H.264 runs from 16 to 235 only.
    layout = "rgb24" if color else "gray"
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                yield "the file ends inside it"
                return
            for frame in packet.decode():
                if frame.is_corrupt:
                    yield "the decoder marks it as corrupt"
                    return
                yield frame.to_ndarray(format=layout)
    except av.FFmpegError as error:
        yield _reason(error)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".").lower()


def _is_web_page(start: bytes) -> bool:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def _pyav() -> ModuleType:
    """PyAV, or a clear error. No other decoder stands in for it, since none rejects a damaged frame."""
    try:
        import av
    except ImportError:
        raise EchocycleError(
            "Reading and writing video needs PyAV (pip install av). "
            "OpenCV does not replace it, because it passes damaged frames without a word."
        ) from None
    return av
