"""Start of the flow, beside `video.py`: a DICOM cine in, the same `Recording` out.

pydicom finds the frames, its plugins decode them, PyAV decodes the video that some scanners put inside. What is
kept of the header is what measuring needs: frame rate and pixel spacing. Nothing that names a patient leaves this
file, so pydicom's warnings, which quote header values, are counted and not repeated.

Frame rate, in this order, the first usable one wins:
    1. FrameTime (milliseconds between frames)
    2. FrameTimeVector (mean of the intervals)
    3. CineRate (frames per second)
    4. RecommendedDisplayFrameRate (frames per second)
    5. the rate of the video inside, where there is one
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.recordings.video import (
    HIGHEST_FPS,
    UNKNOWN_SPACING,
    DamagedVideoError,
    Recording,
    check_is_a_file_with_content,
    decode,
    notes_on_frames,
)

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = (".dcm", ".dicom", ".ima")
CENTIMETRE = 3  # PhysicalUnits code
TWO_DIMENSIONAL = 1  # RegionSpatialFormat code
TISSUE = 1  # RegionDataType code


def is_dicom(path: Path) -> bool:
    """Whether the file starts like DICOM, or at least is called so."""
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(132)[128:] == b"DICM":
                return True
    return path.suffix.lower() in SUFFIXES


def read_dicom(path: Path, *, color: bool = False, damaged: Literal["raise", "cut"] = "raise") -> Recording:
    """Read all frames of a DICOM cine as grey (luma) or RGB; `damaged` as in `read_video`."""
    path = Path(path)
    check_is_a_file_with_content(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = _read_dataset(path)
        recording = _read_frames(dataset, path, color=color, damaged=damaged)
        header_fps, fps_notes = frame_rate(dataset)
        spacing_mm, spacing_notes = pixel_spacing(dataset)
    notes = list(recording.notes)
    if math.isnan(recording.fps) or not math.isnan(header_fps):
        recording = replace(recording, fps=header_fps)
        notes.extend(fps_notes)
    notes.extend(spacing_notes)
    modality = str(dataset.get("Modality") or "missing")
    if modality != "US":
        notes.append(f"modality is {modality[:16]}, not US: this may be no ultrasound recording")
    if caught:
        notes.append(f"pydicom warned {len(caught)} times about the header or the pixel data")
    return replace(recording, notes=tuple(notes), spacing_mm=spacing_mm)


def frame_rate(dataset: "Dataset") -> tuple[float, list[str]]:
    """Frames per second by the order at the top of this file; NaN and a note when the header is silent."""
    stated = {
        "FrameTime": _rate_of_intervals(_numbers(dataset, "FrameTime")),
        # its first entry belongs to the first frame, which nothing precedes
        "FrameTimeVector": _rate_of_intervals(_numbers(dataset, "FrameTimeVector")[1:]),
        "CineRate": next(iter(_numbers(dataset, "CineRate")), math.nan),
        "RecommendedDisplayFrameRate": next(iter(_numbers(dataset, "RecommendedDisplayFrameRate")), math.nan),
    }
    usable = {name: fps for name, fps in stated.items() if 0 < fps <= HIGHEST_FPS}
    if not usable:
        return math.nan, ["frame rate unknown: the DICOM header states no usable one"]
    chosen, fps = next(iter(usable.items()))
    notes = [
        f"frame rate {fps:.4g} per second is from {chosen}; {name} says {other:.4g}"
        for name, other in usable.items()
        if abs(other - fps) > 0.02 * fps + 0.5  # the rates are whole numbers, so half a frame is rounding
    ]
    intervals = _numbers(dataset, "FrameTimeVector")[1:]
    if chosen == "FrameTimeVector" and max(intervals) > 1.1 * min(intervals):
        notes.append(f"frames are {min(intervals):g} to {max(intervals):g} ms apart; their mean is used")
    return fps, notes


def pixel_spacing(dataset: "Dataset") -> tuple[tuple[float, float], list[str]]:
    """Millimetres per pixel (row, column) of the two-dimensional tissue region, or NaN and a note why not.

    The region's bounds tell whether the calibration still belongs to the picture: software that shrinks a clip
    often leaves the old region in the header, and volumes would then be wrong by the cube of the scale.
    """
    regions = [
        region
        for region in dataset.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == TWO_DIMENSIONAL and region.get("RegionDataType") == TISSUE
    ]
    if not regions:
        return _spacing_without_regions(dataset)
    region = max(regions, key=_region_area)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    left, top, right, bottom = _region_bounds(region)
    # some makers give the column and row after the last one
    if not (0 <= left < right <= columns and 0 <= top < bottom <= rows):
        return UNKNOWN_SPACING, [
            f"calibration refused: its region (columns {left} to {right}, rows {top} to {bottom}) does not "
            f"fit the picture of {columns} x {rows} pixels, so the clip was scaled or cut afterwards"
        ]
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    if units != (CENTIMETRE, CENTIMETRE):
        return UNKNOWN_SPACING, ["calibration refused: the tissue region is not measured in centimetres"]
    spacing_mm = (
        10 * abs(float(region.get("PhysicalDeltaY") or math.nan)),
        10 * abs(float(region.get("PhysicalDeltaX") or math.nan)),
    )
    if not all(0 < value < math.inf for value in spacing_mm):
        return UNKNOWN_SPACING, ["calibration refused: the tissue region states no pixel size"]
    return spacing_mm, []


def _spacing_without_regions(dataset: "Dataset") -> tuple[tuple[float, float], list[str]]:
    values = _numbers(dataset, "PixelSpacing")
    if len(values) == 2 and all(0 < value < math.inf for value in values):
        return (values[0], values[1]), ["pixel spacing is from PixelSpacing; no ultrasound region is calibrated"]
    return UNKNOWN_SPACING, ["pixel spacing unknown: the header has no calibrated two-dimensional tissue region"]


def _region_bounds(region: "Dataset") -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels, all inclusive; -1 when missing."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    left, top, right, bottom = (int(region.get(f"RegionLocation{name}", -1)) for name in names)
    return left, top, right, bottom


def _region_area(region: "Dataset") -> int:
    left, top, right, bottom = _region_bounds(region)
    return (right - left) * (bottom - top)


def _read_dataset(path: Path) -> "Dataset":
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ImplicitVRLittleEndian

    try:
        try:
            dataset = dcmread(path)
        except InvalidDicomError:  # old files lack the 128 bytes and "DICM" in front
            dataset = dcmread(path, force=True)
            if "SOPClassUID" not in dataset or "Rows" not in dataset:
                raise
            if "TransferSyntaxUID" not in dataset.file_meta:
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    except InvalidDicomError:
        raise EchocycleError(f"{path} is not a DICOM file. Export the recording again.") from None
    except Exception as error:  # a damaged header fails in many ways inside pydicom
        raise DamagedVideoError(
            f"{path}: its DICOM header is damaged ({type(error).__name__}). Copy it again from its origin."
        ) from None
    return dataset


def _read_frames(dataset: "Dataset", path: Path, *, color: bool, damaged: Literal["raise", "cut"]) -> Recording:
    from pydicom.encaps import generate_frames
    from pydicom.uid import MPEGTransferSyntaxes

    if "PixelData" not in dataset:
        raise EchocycleError(
            f"{path} holds no pixel data: it may be a report or a directory file, or it may be cut off. "
            "Give the DICOM file of a cine."
        )
    listed_frames = int(next(iter(_numbers(dataset, "NumberOfFrames")), 1.0))
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax in MPEGTransferSyntaxes:
        data = b"".join(generate_frames(dataset.PixelData, number_of_frames=1))
        return replace(decode(data, path, color=color, damaged=damaged), listed_frames=listed_frames)
    if listed_frames < 2:
        raise EchocycleError(f"{path} is a still image (1 frame); a cine of at least one heartbeat is needed.")
    frames, notes = _decode_frames(dataset, path, listed_frames, damaged)
    convert = _to_rgb(dataset) if color else _to_grey(dataset)
    stacked = np.stack([convert(frame) for frame in frames])
    return Recording(
        frames=stacked,
        fps=math.nan,
        listed_frames=listed_frames,
        notes=(*notes, *notes_on_frames(stacked)),
        spacing_mm=UNKNOWN_SPACING,
        source=path,
    )


def _decode_frames(
    dataset: "Dataset", path: Path, listed_frames: int, damaged: Literal["raise", "cut"]
) -> tuple[list[np.ndarray], list[str]]:
    """Frames as they are stored, but YBR made RGB, and notes."""
    from pydicom.pixels import iter_pixels

    plugin = _plugin(dataset, path)
    frames: list[np.ndarray] = []
    reason = "it is missing"
    try:
        for frame in iter_pixels(dataset, decoding_plugin=plugin, indices=range(listed_frames)):
            frames.append(frame)
    except Exception as error:  # whatever a decoder throws at bad bytes
        reason = type(error).__name__
    if len(frames) == listed_frames:
        return frames, []
    damage = f"frame {len(frames)} of {listed_frames} is damaged ({reason})"
    if damaged == "raise" or not frames:
        raise DamagedVideoError(f"{path}: {damage}. Copy the file again from its origin, or exclude it.")
    return frames, [f"{damage}; the {len(frames)} frames before it are used"]


def _plugin(dataset: "Dataset", path: Path) -> str:
    """The decoder for the file's transfer syntax: pydicom's own first choice is several times slower."""
    from pydicom import uid
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise EchocycleError(f"{path} does not say how its pixels are encoded. Export the recording again.")
    if not syntax.is_encapsulated:
        return ""
    wanted = {
        uid.JPEGBaseline8Bit: "pillow",
        uid.JPEGLossless: "gdcm",
        uid.JPEGLosslessSV1: "gdcm",
        uid.JPEGLSLossless: "gdcm",
        uid.JPEGLSNearLossless: "gdcm",
    }.get(syntax, "pylibjpeg")
    try:
        available = get_decoder(syntax).available_plugins
    except NotImplementedError:
        available = ()
    if not available:
        raise EchocycleError(
            f"{path} is encoded as {syntax.name}, for which no decoder is installed. "
            "Install pillow, pylibjpeg-openjpeg, pylibjpeg-rle and python-gdcm, or export it uncompressed."
        )
    return wanted if wanted in available else ""


def _to_grey(dataset: "Dataset") -> Callable[[np.ndarray], np.ndarray]:
    """Frame as decoded -> uint8 (height, width), the luma of colour pictures (ITU-R 601, as in JPEG)."""
    if dataset.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
        return lambda frame: _eight_bits(frame, dataset)
    to_rgb = _to_rgb(dataset)
    weights = np.array([19595, 38470, 7471], np.uint32)  # 0.299, 0.587, 0.114 in 1/65536
    return lambda frame: ((to_rgb(frame) @ weights + 32768) >> 16).astype(np.uint8)


def _to_rgb(dataset: "Dataset") -> Callable[[np.ndarray], np.ndarray]:
    """Frame as decoded -> uint8 (height, width, 3)."""
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        every_index = np.arange(1 << int(dataset.BitsStored), dtype=np.uint16).reshape(1, -1)
        colours = apply_color_lut(every_index, dataset)[0]
        if colours.max() > 255:  # sixteen-bit entries, though some files use only the lower eight bits of them
            colours = colours >> 8
        return colours.astype(np.uint8).__getitem__
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        return lambda frame: np.repeat(_eight_bits(frame, dataset)[..., None], 3, axis=-1)
    return lambda frame: _eight_bits(frame, dataset)


def _eight_bits(frame: np.ndarray, dataset: "Dataset") -> np.ndarray:
    """Keep the eight most significant of the stored bits; MONOCHROME1, in which 0 is white, is inverted."""
    if frame.dtype != np.uint8:
        stored = int(dataset.BitsStored)
        lowest = -(1 << (stored - 1)) if dataset.PixelRepresentation else 0
        shifted = frame.astype(np.int64) - lowest
        frame = (shifted >> max(stored - 8, 0)).clip(0, 255).astype(np.uint8)
    return 255 - frame if dataset.PhotometricInterpretation == "MONOCHROME1" else frame


def _rate_of_intervals(milliseconds: list[float]) -> float:
    total = sum(milliseconds)
    return 1000 * len(milliseconds) / total if total > 0 else math.nan


def _numbers(dataset: "Dataset", keyword: str) -> list[float]:
    """The values of an element as floats; empty when it is missing or holds anything else."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, (str, int, float)) else list(value)
        return [float(number) for number in values]
    except (TypeError, ValueError):
        return []
