"""Start of the flow, beside `video.py`: a DICOM cine in, the same `Recording` out.

The header is read with `dicom_file`, judged with `decline`, its pixel data decoded one frame at a time with `pixels`.
What is kept of the header is what measuring needs: frame times, pixel size, where the picture lies. Nothing that names
a patient leaves this file, so pydicom's warnings, which quote header values, are counted and not repeated.

Frame rate, in this order, the first usable one wins (FrameTimeVector first where FrameIncrementPointer says so):
    1. FrameTime (milliseconds between frames)
    2. FrameTimeVector (the intervals; uneven ones are put onto an even grid)
    3. CineRate (frames per second)
    4. RecommendedDisplayFrameRate (frames per second)
    5. the rate of the video inside, where there is one
RWaveTimeVector and HeartRate tell of the heart, not of the frames, and are not used.
"""

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.recordings.budget import FrameStack, check_budget
from echocycle.recordings.colour import FlowWatch, looks_like_rgb, looks_like_ybr
from echocycle.recordings.decline import NEEDED, DeclinedError, notes_on_kind, refusal, says_colour
from echocycle.recordings.dicom_file import DamagedDicomError, DicomFile, open_dicom, starts_like_dicom
from echocycle.recordings.grey import eight_bits
from echocycle.recordings.header import numbers, value, whole
from echocycle.recordings.pixels import (
    FrameDecoder,
    PixelLayout,
    encoded_frames,
    frames_held,
    matching_layout,
    palette,
    pixel_layout,
    to_luma,
    to_rgb,
    video_stream,
)
from echocycle.recordings.regions import UNKNOWN_SPACING, pixel_aspect, pixel_spacing, tissue_box
from echocycle.recordings.timing import HIGHEST_FPS, Timing, intervals_of_vector, timing_of_intervals
from echocycle.recordings.video import (
    DamagedVideoError,
    Recording,
    check_is_a_file_with_content,
    decode,
    notes_on_frames,
    put_on_grid,
)

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["frame_rate", "is_dicom", "pixel_spacing", "read_dicom"]

SUFFIXES = (".dcm", ".dicom", ".ima")
FRAME_TIME_VECTOR = 0x00181065
LITTLE_COLOUR = 0.0005
"""Share of the picture that must turn red or blue for a header's word that there is colour Doppler to be believed."""


def is_dicom(path: Path) -> bool:
    """Whether the file starts like DICOM, with or without preamble, or at least is called so."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return True
    return path.is_file() and starts_like_dicom(path)


def read_dicom(
    path: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise", even: bool = True
) -> Recording:
    """Read all frames of a DICOM cine as grey (luma) or RGB; `damaged` and `even` as in `read_video`.

    Raises:
        EchocycleError: the file is no two-dimensional grey ultrasound cine, or it is larger than the budget.
        DamagedVideoError: some of it cannot be decoded.
    """
    path = Path(path)
    check_is_a_file_with_content(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            file = open_dicom(path)
            dataset = file.dataset
            reason = refusal(dataset)
            if reason:
                raise DeclinedError(f"{path} {reason}")
            recording = _read_frames(file, path, color=color, damaged=damaged)
        except DamagedDicomError as error:
            raise DamagedVideoError(f"{path}: {error}. Copy it again from its origin.") from None
        timing = frame_timing(dataset)
        spacing_mm, spacing_notes = pixel_spacing(dataset)
        aspect, aspect_notes = pixel_aspect(dataset, spacing_mm)
        kind_notes = notes_on_kind(dataset)
    notes = [*recording.notes]
    if math.isnan(recording.fps) or not math.isnan(timing.fps):
        recording = replace(recording, fps=timing.fps)
        notes += timing.notes
    notes += spacing_notes + aspect_notes + kind_notes
    if caught:
        notes.append(f"pydicom warned {len(caught)} times about the header or the pixel data")
    if aspect == 1 and not aspect_notes:
        aspect = recording.pixel_aspect  # of the video inside, whose own note stands already
    read = replace(
        recording, notes=tuple(notes), spacing_mm=spacing_mm, pixel_aspect=aspect, region=tissue_box(dataset)
    )
    return put_on_grid(read, timing) if even else read


def frame_rate(dataset: "Dataset") -> tuple[float, list[str]]:
    """Frames per second by the order at the top of this file; NaN and a note when the header is silent."""
    timing = frame_timing(dataset)
    return timing.fps, list(timing.notes)


def frame_timing(dataset: "Dataset") -> Timing:
    """Frame rate and evenness by the order at the top of this file."""
    vector, vector_notes = intervals_of_vector(numbers(dataset, "FrameTimeVector"))
    spaced = timing_of_intervals(vector) if len(vector) > 1 else Timing(_rate_of(vector), True, None, ())
    stated = {
        "FrameTime": _rate_of(numbers(dataset, "FrameTime")),
        "FrameTimeVector": spaced.fps,
        "CineRate": next(iter(numbers(dataset, "CineRate")), math.nan),
        "RecommendedDisplayFrameRate": next(iter(numbers(dataset, "RecommendedDisplayFrameRate")), math.nan),
    }
    if _points_at_the_vector(dataset):
        stated = {"FrameTimeVector": spaced.fps, **stated}
    usable = {name: fps for name, fps in stated.items() if 0 < fps < HIGHEST_FPS}
    if not usable:
        return Timing(math.nan, True, None, ("frame rate unknown: the DICOM header states no usable one",))
    chosen, fps = next(iter(usable.items()))
    notes = [
        f"frame rate {fps:.4g} per second is from {chosen}; {name} says {other:.4g}"
        for name, other in usable.items()
        if abs(other - fps) > 0.02 * fps + 0.5  # the rates are whole numbers, so half a frame is rounding
    ]
    if chosen != "FrameTimeVector":
        return Timing(fps, True, None, tuple(notes))
    return Timing(fps, spaced.even, spaced.places, (*notes, *vector_notes, *spaced.notes))


def _points_at_the_vector(dataset: "Dataset") -> bool:
    try:
        return int(value(dataset, "FrameIncrementPointer") or 0) == FRAME_TIME_VECTOR
    except (TypeError, ValueError):
        return False


def _rate_of(milliseconds: list[float]) -> float:
    total = sum(milliseconds)
    return 1000 * len(milliseconds) / total if total > 0 else math.nan


def _read_frames(file: DicomFile, path: Path, *, color: bool, damaged: Literal["raise", "cut"]) -> Recording:
    from pydicom.uid import MPEGTransferSyntaxes

    dataset = file.dataset
    if file.start is None:
        raise DeclinedError(
            f"{path} holds no pixel data: it may be a report or a directory file, or it may be cut off. "
            "Give the DICOM file of a cine."
        )
    listed = whole(dataset, "NumberOfFrames")
    if dataset.file_meta.get("TransferSyntaxUID") in MPEGTransferSyntaxes:
        return _read_video_inside(file, path, listed, color=color, damaged=damaged)
    layout, layout_notes = matching_layout(file, pixel_layout(file, path), listed)
    check_budget(path, layout.rows, layout.columns, 1)
    held = frames_held(file, layout)
    count_notes = _count_notes(listed, held)
    wanted = held if listed is None or listed < 1 else max(listed, held)
    if wanted < 2:
        raise DeclinedError(f"{path} is a still image (1 frame); a cine of at least one heartbeat is needed.")
    # pixels of more than eight bits are kept as they are until all are there, since their range decides
    channels = 3 if color else 1
    check_budget(path, layout.rows, layout.columns, held, channels * (1 if layout.allocated == 8 else 3))
    frames, watch, notes = _decode_frames(file, layout, path, wanted, damaged, color)
    frames, level_notes = eight_bits(frames, dataset, layout.stored)
    if layout.photometric == "MONOCHROME1":
        np.subtract(255, frames, out=frames)
    _check_flow(dataset, watch, path)
    if color and frames.ndim == 3:
        frames = np.repeat(frames[..., None], 3, axis=-1)
    if says_colour(dataset):
        notes.append("the header tells of colour Doppler, but the picture shows none")
    return Recording(
        frames=frames,
        fps=math.nan,
        listed_frames=listed,
        notes=(*layout_notes, *count_notes, *notes, *level_notes, *notes_on_frames(frames)),
        spacing_mm=UNKNOWN_SPACING,
        source=path,
    )


def _count_notes(listed: int | None, held: int) -> list[str]:
    if listed is None or listed < 1:
        return [f"the header does not say how many frames there are; the file holds {held}"] if held > 1 else []
    return [f"the header lists {listed} frames, the file holds {held}, which are used"] if held > listed else []


def _read_video_inside(
    file: DicomFile, path: Path, listed: int | None, *, color: bool, damaged: Literal["raise", "cut"]
) -> Recording:
    watch = FlowWatch()
    try:
        data = video_stream(file, path)
    except ValueError:
        raise DamagedVideoError(f"{path}: its video is cut off. Copy the file again from its origin.") from None
    recording = decode(data, path, color=color, damaged=damaged, watch=watch)
    _check_flow(file.dataset, watch, path)
    notes = list(recording.notes)
    if listed is not None and listed != len(recording.frames):
        notes.append(f"the DICOM header lists {listed} frames, the video holds {len(recording.frames)}, which are used")
    return replace(recording, listed_frames=listed, notes=tuple(notes))


def _check_flow(dataset: "Dataset", watch: FlowWatch, path: Path) -> None:
    if watch.flows() or (says_colour(dataset) and max(watch.shares()) > LITTLE_COLOUR):
        raise DeclinedError(f"{path} is a colour Doppler recording. {NEEDED}.")


def _decode_frames(
    file: DicomFile, layout: PixelLayout, path: Path, wanted: int, damaged: Literal["raise", "cut"], color: bool
) -> tuple[np.ndarray, FlowWatch, list[str]]:
    """All frames stacked, grey or RGB, still with all their bits, and what was noticed."""
    decoder, stack, watch = FrameDecoder(layout, path), FrameStack(path), FlowWatch()
    to_picture: _Pictures | None = None
    reason = "it is missing"
    try:
        for stored in encoded_frames(file, layout):
            pixels = decoder.decode(stored)
            if to_picture is None:
                to_picture = _Pictures(file.dataset, layout, decoder.photometric, pixels, path)
            if layout.photometric not in ("MONOCHROME1", "MONOCHROME2") and watch.wants(len(stack)):
                watch.see(to_picture.rgb(pixels))
            stack.append(to_picture.rgb(pixels) if color else to_picture.grey(pixels))
    except EchocycleError:
        raise
    except Exception as error:  # whatever a decoder throws at bad bytes
        reason = type(error).__name__
    finally:
        decoder.close()
    notes = to_picture.notes if to_picture else []
    if len(stack) >= wanted:
        return stack.stacked(), watch, notes
    damage = f"frame {len(stack)} of {wanted} is damaged ({reason})"
    if damaged == "raise" or not len(stack):
        raise DamagedVideoError(f"{path}: {damage}. Copy the file again from its origin, or exclude it.")
    kept = len(stack)
    return stack.stacked(), watch, [*notes, f"{damage}; the {kept} frames before it are used"]


class _Pictures:
    """Decoded pixels -> grey or RGB, by their label or, where the first frame contradicts it, them."""

    def __init__(
        self, dataset: "Dataset", layout: PixelLayout, photometric: str, first: np.ndarray, path: Path
    ) -> None:
        self.notes: list[str] = []
        self.photometric = photometric
        self.lookup: np.ndarray | None = None
        if photometric == "PALETTE COLOR":
            try:
                self.lookup = palette(dataset, layout.stored)
            except Exception as error:  # an odd palette fails in many ways inside pydicom
                raise EchocycleError(
                    f"{path}: its colour palette cannot be used ({type(error).__name__}). Export it again."
                ) from None
            luma = to_luma(self.lookup[:, None], "RGB")[:, 0]
            self.grey_lookup = luma
        elif layout.samples == 3 and first.dtype == np.uint8:
            if photometric.startswith("YBR") and looks_like_rgb(first):
                self.photometric = "RGB"
                self.notes = [f"colours are labelled {photometric}, but the pixels are RGB"]
            elif photometric == "RGB" and looks_like_ybr(first):
                self.photometric = "YBR_FULL"
                self.notes = ["colours are labelled RGB, but the pixels are YBR"]

    def grey(self, pixels: np.ndarray) -> np.ndarray:
        if self.lookup is not None:
            return self.grey_lookup[pixels]
        return pixels if pixels.ndim == 2 else to_luma(pixels, self.photometric)

    def rgb(self, pixels: np.ndarray) -> np.ndarray:
        if self.lookup is not None:
            return self.lookup[pixels]
        return pixels if pixels.ndim == 2 else to_rgb(pixels, self.photometric)
