"""Start of the flow: video files in, arrays out (and back). The only file that knows video codecs.

Reading is strict: a recording that other readers pass without complaint may hold a garbled frame, and an ejection
fraction is worth as much as its frames at end diastole and end systole. So a damaged frame is an error, unless
the caller asks to keep what came before it.

PyAV is imported where it is used, so that this module needs nothing but numpy to be imported.
"""

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.recordings.budget import LARGEST_PICTURE, FrameStack, check_budget
from echocycle.recordings.colour import FlowWatch
from echocycle.recordings.film import remembering
from echocycle.recordings.regions import UNKNOWN_SPACING, Box, checked_aspect
from echocycle.recordings.streams import UPRIGHT, Turn, choose_stream, frames_promised, seconds_of, turn_of
from echocycle.recordings.timing import HIGHEST_FPS, Timing, compared, timing_of_stamps

# FFmpeg also opens play lists, which name other files or hosts; only containers that hold video are allowed.
CONTAINERS = "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,asf,gif,h264,hevc,mpegvideo"


@dataclass(frozen=True)
class Backend:
    """What reads and writes motion JPEG in place of PyAV; see `use_backend`."""

    note: str
    """A sentence for the notes of every recording that it read."""
    read_mjpeg: Callable[[Path, bool], tuple[np.ndarray, float, int]]
    """Of a file, in colour or not: frames as in `Recording`, frames a second, frames that the header lists. Raises
    `OSError` where nothing can be read."""
    write_mjpeg: Callable[[Path, np.ndarray, float], None]
    """Writes what `write_mjpeg` of this module is given."""


_backend: Backend | None = None


def use_backend(backend: Backend | None) -> None:
    """From now on, in this process, let `backend` read and write motion JPEG files; None: PyAV again.

    A module that takes PyAV's place may call this when it is imported as `av`, so that it holds in started processes.
    """
    global _backend
    _backend = backend


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
    pixel_aspect: float = 1.0
    """Width of a pixel over its height. `cut_sector` makes the picture square; `frames` are as stored."""
    region: Box | None = None
    """Left, top, right, bottom of the ultrasound picture by the header, the last two exclusive; None when unknown."""
    stored_frames: np.ndarray | None = None
    """int (time): which stored frame each frame is, where they were put onto an even grid; None: all, in order."""


def read_video(
    path: Path,
    *,
    color: bool = False,
    damaged: Literal["raise", "cut"] = "raise",
    even: bool = False,
    watch: FlowWatch | None = None,
) -> Recording:
    """Read all frames of an AVI, MP4, MOV, MKV, WebM, MPEG or GIF file as grey (luma) or RGB.

    A frame that cannot be decoded raises `DamagedVideoError` with its index; `damaged="cut"` keeps the frames
    before it and adds a note. Fewer frames than the header lists is a note: headers are often wrong by a few.

    Args:
        even: put frames that are not evenly spaced in time onto an even grid. Frame numbers that somebody listed
            for the file no longer hold then; `Recording.stored_frames` has the old ones.
        watch: is shown some frames in colour.

    Raises:
        EchocycleError: no video, or larger than the budget.
        DamagedVideoError: some of it cannot be decoded.
    """
    path = Path(path)
    check_is_a_file_with_content(path)
    with path.open("rb") as file:
        if _is_web_page(file.read(1024)):
            raise EchocycleError(f"{path} is a web page, not a video: the download failed. Download it again.")
        backend = _handed_in()
        if backend is not None:
            return _read_with(backend, path, color)
        file.seek(0)
        return decode(file, path, color=color, damaged=damaged, even=even, watch=watch)


def decode(
    data: bytes | BinaryIO,
    source: Path,
    *,
    color: bool = False,
    damaged: Literal["raise", "cut"] = "raise",
    even: bool = False,
    watch: FlowWatch | None = None,
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
        try:
            stream, notes = choose_stream(container)
        except av.FFmpegError as error:
            raise DamagedVideoError(f"{source} cannot be read through ({_reason(error)}). Copy it again.") from None
        if stream.codec_context is None:
            raise EchocycleError(f"{source} is encoded in a way that cannot be decoded here. Export it as MP4 (H.264).")
        stream.thread_type = "NONE"  # frame threads would report a damaged frame late, at another frame
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(LARGEST_PICTURE)}
        promised = frames_promised(container, stream)
        check_budget(Path(source), stream.height or 0, stream.width or 0, promised, 3 if color else 1)
        frames = FrameStack(Path(source))
        seconds: list[float] = []
        damage, turn = "", UPRIGHT
        for item in _frames_then_damage(container, stream):
            if isinstance(item, str):
                damage = f"frame {len(frames)} is damaged ({item})"
                break
            if not seconds:
                turn, turn_notes = turn_of(item)
                notes += turn_notes
            if watch is not None and watch.wants(len(seconds)) and not item.format.name.startswith("gray"):
                watch.see(item.to_ndarray(format="rgb24"))
            # Converted by FFmpeg, which knows the colour range: a raw luma plane of H.264 runs from 16 to 235 only.
            if not frames.append(turn.apply(item.to_ndarray(format="rgb24" if color else "gray"))):
                raise DamagedVideoError(f"{source}: its frames differ in size. Export the recording as one clip.")
            seconds.append(seconds_of(item))
        listed_frames = stream.frames or None
        timing, fps_notes = _timing(stream, seconds)
        aspect, aspect_notes = _aspect(stream, turn)
    if damage and (damaged == "raise" or not len(frames)):
        raise DamagedVideoError(f"{source}: {damage}. Copy the file again from its origin, or exclude it.")
    if not len(frames):
        raise EchocycleError(f"{source} is a video without frames.")
    if damage:
        notes.append(f"{damage}; the {len(frames)} frames before it are used")
    elif listed_frames is not None and listed_frames > len(frames):
        notes.append(f"the header lists {listed_frames} frames, {len(frames)} could be read")
    elif listed_frames is not None and listed_frames < len(frames):
        notes.append(f"the header lists {listed_frames} frames, the file holds {len(frames)}, which are used")
    stacked = frames.stacked()
    recording = Recording(
        frames=stacked,
        fps=timing.fps,
        listed_frames=listed_frames,
        notes=(*notes, *notes_on_frames(stacked), *fps_notes, *aspect_notes),
        spacing_mm=UNKNOWN_SPACING,
        source=Path(source),
        pixel_aspect=aspect,
    )
    return put_on_grid(recording, timing) if even else recording


def put_on_grid(recording: Recording, timing: Timing) -> Recording:
    """The recording with its frames on the even grid of `timing`, if that has one that suits it."""
    places = timing.places
    if places is None:
        return recording
    count = len(recording.frames)
    if places[-1] != count - 1:
        note = f"there are times for {places[-1] + 1} frames and {count} frames; they are used as they are"
        return replace(recording, notes=(*recording.notes, note))
    height, width = recording.frames.shape[1:3]
    check_budget(recording.source, height, width, len(places), recording.frames[0, 0, 0].nbytes)
    return replace(recording, frames=recording.frames[places], stored_frames=places)


def _timing(stream: Any, seconds: list[float]) -> tuple[Timing, tuple[str, ...]]:
    """Frame rate and evenness: the header's rate where time stamps agree with it or are missing, else theirs."""
    stated, notes = checked_fps(stream.average_rate)
    timing = timing_of_stamps(np.array(seconds))
    if math.isnan(timing.fps):
        return Timing(stated, True, None, ()), notes
    if not timing.even:
        return timing, timing.notes
    differs = compared(float(stream.average_rate or math.nan), "the header", timing.fps)
    if differs or math.isnan(stated):
        return timing, (*differs,)
    return replace(timing, fps=stated), ()


def _aspect(stream: Any, turn: Turn) -> tuple[float, list[str]]:
    """Width over height of a pixel as shown."""
    stated = float(stream.sample_aspect_ratio or 0)
    if stated <= 0:
        return 1.0, []
    return checked_aspect(1 / stated if turn.transposed else stated)


def _read_with(backend: Backend, path: Path, color: bool) -> Recording:
    """A video as a backend that was handed in reads it; the note says so."""
    try:
        frames, rate, listed = backend.read_mjpeg(path, color)
    except OSError as error:
        raise EchocycleError(str(error)) from None
    fps, fps_notes = checked_fps(rate)
    return Recording(frames, fps, listed, (backend.note, *fps_notes), UNKNOWN_SPACING, path)


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
    if 0 < fps < HIGHEST_FPS:
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
    backend = _handed_in()
    if backend is not None:
        _check_frames(frames)
        with replacing(path) as temporary:
            backend.write_mjpeg(temporary, frames, fps)
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
        remembering(file) as sink,
        av.open(sink, "w", format=file_type, options={"fflags": "+bitexact", **container}) as output,
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
            sink.check()
        output.mux(stream.encode())


def _check_frames(frames: np.ndarray) -> None:
    is_grey, is_rgb = frames.ndim == 3, frames.ndim == 4 and frames.shape[-1] == 3
    if frames.dtype != np.uint8 or not (is_grey or is_rgb) or frames.size == 0:
        raise ValueError(
            "frames must be uint8, (time, height, width) or (time, height, width, 3), "
            f"not {frames.dtype} {frames.shape}"
        )


def _frames_then_damage(container: Any, stream: Any) -> Iterator[Any]:
    """The decoded frames and, if decoding fails, last of all a string that says why."""
    av = _pyav()
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                yield "the file ends inside it"
                return
            for frame in packet.decode():
                if frame.is_corrupt:
                    yield "the decoder marks it as corrupt"
                    return
                yield frame
    except (av.FFmpegError, MemoryError) as error:
        yield _reason(error)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".").lower()


def _is_web_page(start: bytes) -> bool:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml"))


def _handed_in() -> Backend | None:
    """What `use_backend` was given, if anything."""
    _pyav()  # a module in its place hands its backend in when it is imported
    return _backend


def _pyav() -> ModuleType:
    """PyAV, or a clear error. No other decoder is tried, since none rejects a damaged frame."""
    try:
        import av
    except ImportError:
        raise EchocycleError(
            "Reading and writing video needs PyAV (pip install av). "
            "OpenCV does not replace it, because it passes damaged frames without a word."
        ) from None
    return av
