"""The pictures of CAMUS: MetaImage and NIfTI, upright, at the network's size."""

import gzip
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.camus_records import DEFAULT_SETTINGS, CamusRecord, Phase, Resize, Spacing
from echocycle.datasets.findings import Finding, Level
from echocycle.errors import EchocycleError

Side = Literal["top", "bottom", "left", "right"]


LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "left atrium"}


MOST_PIXELS = 1 << 29  # a broken header may promise terabytes


BLACK = 2  # grey levels; outside the sector there is nothing but black


CLEAR_TIP = 0.05  # of the sector's height; real sectors have 0.10 to 0.13 upwards and 0.00 sidewards


@dataclass(frozen=True, eq=False)
class CamusStill:
    """The picture of one phase in its own size."""

    frame: NDArray[np.uint8]
    """(height, width), the probe at the top."""
    mask: NDArray[np.bool_] | None
    """(height, width); None where the experts' mask is missing."""
    phase: Phase
    spacing_mm: Spacing
    """(row, column) of this picture as returned."""
    notes: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class CamusSequence:
    """Half a beat in its own size, ED first."""

    frames: NDArray[np.uint8]
    """(time, height, width), the probe at the top."""
    masks: NDArray[np.bool_] | None
    """(time, height, width); None where there are none."""
    ed_frame: int
    """Index from 0 in `frames`."""
    es_frame: int
    flipped: bool
    """Whether the file runs from ES to ED and was turned round in time."""
    fps: float
    """NaN where unknown."""
    spacing_mm: Spacing
    notes: tuple[Finding, ...]


class NetworkImage(NamedTuple):
    """Picture or pictures as the networks take them."""

    image: NDArray[np.uint8]
    """([time,] size, size)"""
    mask: NDArray[np.bool_] | None
    spacing_mm: Spacing
    """(row, column) of the resized pixels; no longer square after `squeeze`."""


# ---------------------------------------------------------------------------------------------- image files


class _Raw(NamedTuple):
    """Values of one file, and the length of a pixel along each axis in mm."""

    values: NDArray
    lengths: tuple[float, ...]

    def without_axis(self, axis: int) -> "_Raw":
        return _Raw(self.values.squeeze(axis), self.lengths[:axis] + self.lengths[axis + 1 :])


def _unreadable(path: Path, error: Exception) -> EchocycleError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].rstrip(".") if lines else type(error).__name__
    return EchocycleError(f"{path} cannot be read ({reason}). It may be cut off; copy or unpack it again.")


def read_header(path: Path) -> tuple[Spacing, int]:
    """Spacing (row, column) in mm and number of rows, without reading pixels."""
    if _is_nifti(path):
        image = _load_nifti(path)
        column, row, *_ = _lengths_mm(image)
        return (row, column), int(image.shape[1])
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    column, row, *_ = reader.GetSpacing()  # axes are (x, y, z) here and (z, y, x) in arrays
    return (row, column), reader.GetSize()[1]


def _read_image(path: Path, axes: int) -> _Raw:
    """Values of a file with so many axes, in array order; further axes of length 1, as in the original, are dropped."""
    raw = _read_nifti(path) if _is_nifti(path) else _read_metaimage(path)
    while raw.values.ndim > axes and 1 in raw.values.shape:
        raw = raw.without_axis(raw.values.shape.index(1))
    if raw.values.ndim != axes:
        wanted = "one picture" if axes == 2 else "a sequence of pictures"
        raise EchocycleError(f"{path} holds an array of {_size(raw.values.shape)}, not {wanted}.")
    return raw


def _read_metaimage(path: Path) -> _Raw:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from None
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise EchocycleError(f"{path} is a colour picture; those of CAMUS are grey.")
    return _Raw(SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1])


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith((".nii", ".nii.gz"))


def _read_nifti(path: Path) -> _Raw:
    """By nibabel, which refuses a file that is cut off; SimpleITK fills it up with black without a word."""
    image = _load_nifti(path)
    if math.prod(image.shape) > MOST_PIXELS:
        raise _unreadable(path, ValueError(f"its header promises {_size(image.shape)} pixels"))
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as file:  # to the end: only then is the check sum compared
                while file.read(1 << 20):
                    pass
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if values.dtype.names is not None:
        raise EchocycleError(f"{path} is a colour picture; those of CAMUS are grey.")
    return _Raw(values.T, _lengths_mm(image)[::-1])  # (x, y, time) in the file, (time, row, column) in arrays


def _load_nifti(path: Path) -> Any:
    import nibabel

    try:
        return nibabel.load(path)  # type: ignore[attr-defined]
    except nibabel.filebasedimages.ImageFileError as error:
        raise _unreadable(path, error) from None
    except (OSError, EOFError, ValueError, zlib.error, nibabel.spatialimages.HeaderDataError) as error:
        raise _unreadable(path, error) from None


def _lengths_mm(image: Any) -> tuple[float, ...]:
    """Length of a pixel along each axis; the header may count metres or micrometres."""
    unit = {"meter": 1000.0, "micron": 0.001}.get(image.header.get_xyzt_units()[0], 1.0)
    return tuple(float(length) * (unit if axis < 3 else 1.0) for axis, length in enumerate(image.header.get_zooms()))


def _whole_numbers(values: NDArray, path: Path, highest: int, what: str) -> NDArray[np.uint8]:
    """8-bit values; other types, such as the float32 of some copies, must hold whole numbers up to `highest`."""
    rounded = values if np.issubdtype(values.dtype, np.integer) else np.rint(values)
    if not (np.isfinite(values).all() and rounded.min() >= 0 and rounded.max() <= highest):
        raise EchocycleError(
            f"{path} holds values from {values.min():g} to {values.max():g}; "
            f"{what} are whole numbers from 0 to {highest}."
        )
    if np.abs(values - rounded).max() > 1e-3:
        raise EchocycleError(f"{path} holds fractions; {what} are whole numbers from 0 to {highest}. Was it resampled?")
    return rounded.astype(np.uint8)


def _read_frames(path: Path, axes: int) -> tuple[NDArray[np.uint8], tuple[float, ...]]:
    raw = _read_image(path, axes)
    return _whole_numbers(raw.values, path, 255, "grey levels"), raw.lengths


def _read_mask(path: Path | None, picture: Path, shape: tuple[int, ...], label: int) -> NDArray[np.bool_] | None:
    """The mask of a structure, of the same shape as the stored picture; None where the file is missing."""
    if path is None:
        return None
    values = _read_image(path, len(shape)).values
    if values.shape != shape:
        raise EchocycleError(
            f"{path} is {_size(values.shape)} and its picture {picture.name} {_size(shape)}. "
            "A mask must have its picture's size; take both from the same release."
        )
    return _whole_numbers(values, path, max(LABELS), "labels") == label


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


# ------------------------------------------------------------------------------------------------ orientation


def tip_side(frames: NDArray) -> Side | None:
    """On which side the sector's narrow end, the probe, lies in frames ([time,] height, width); None if unclear.

    Seen from the middle of its bounding box, a sector's area lies away from its tip.
    """
    brightest = frames.max(axis=0) if frames.ndim == 3 else frames
    rows, columns = np.nonzero(brightest > BLACK)
    if not rows.size:
        return None
    down, right = (
        float((place.mean() - (place.min() + place.max()) / 2) / (np.ptp(place) + 1)) for place in (rows, columns)
    )
    if max(abs(down), abs(right)) < CLEAR_TIP:
        return None
    if abs(down) >= abs(right):
        return "top" if down > 0 else "bottom"
    return "left" if right > 0 else "right"


class _Upright(NamedTuple):
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None
    spacing_mm: Spacing
    notes: tuple[Finding, ...]


def _upright(
    frames: NDArray[np.uint8], masks: NDArray[np.bool_] | None, spacing: Spacing, path: Path, patient: str
) -> _Upright:
    """Pictures ([time,] height, width) with the probe at the top.

    A tip on the left is the mark of arrays whose axes were exchanged (other readers give (width, height)), and is
    put right. Any other place is refused, because then left and right cannot be told either.
    """
    tip = tip_side(frames)
    if tip == "top":
        return _Upright(frames, masks, spacing, ())
    if tip is None:
        text = f"{path.name}: the sector's narrow end cannot be made out; the picture is taken as it is."
        return _Upright(frames, masks, spacing, (Finding("warning", "orientation-unclear", (patient,), text),))
    if tip != "left":
        raise EchocycleError(
            f"{path} has the sector's narrow end at the {tip}, where CAMUS has it at the top. Somebody turned or "
            "mirrored the picture; take the file from the release."
        )
    text = (
        f"{path.name}: rows and columns were exchanged (the sector's narrow end was on the left); they are put right."
    )
    note = Finding("warning", "transposed", (patient,), text)
    turned = None if masks is None else np.ascontiguousarray(masks.swapaxes(-1, -2))
    return _Upright(np.ascontiguousarray(frames.swapaxes(-1, -2)), turned, spacing[::-1], (note,))


# --------------------------------------------------------------------------------------------------- pictures


def load_still(record: CamusRecord, phase: Phase) -> CamusStill:
    """Read the picture of ED or ES, with the experts' mask where there is one, in its own size."""
    path = record.files.get(phase)
    if path is None:
        have = ", ".join(record.files)
        raise EchocycleError(f"{record.patient} has no {record.view} picture of {phase} (it has: {have}).")
    frame, (row, column) = _read_frames(path, axes=2)
    mask = _read_mask(record.files.get("ED_gt" if phase == "ED" else "ES_gt"), path, frame.shape, record.label)
    still = _upright(frame, mask, (row, column), path, record.patient)
    notes = list(still.notes)
    if mask is not None and not mask.any():
        text = f"The mask of {path.name} has no pixel of label {record.label} ({LABELS[record.label]})."
        notes.append(Finding("warning", "empty-mask", (record.patient,), text))
    return CamusStill(still.frames, still.masks, phase, still.spacing_mm, tuple(notes))


def load_sequence(record: CamusRecord) -> CamusSequence:
    """Read the half sequence with the experts' masks where there are any, in its own size, ED first."""
    path = record.files.get("sequence")
    if path is None:
        have = ", ".join(record.files)
        raise EchocycleError(f"{record.patient} has no {record.view} sequence (it has: {have}).")
    frames, lengths = _read_frames(path, axes=3)
    masks = _read_mask(record.files.get("sequence_gt"), path, frames.shape, record.label)
    notes: list[Finding] = []

    def note(level: Level, kind: str, text: str) -> None:
        notes.append(Finding(level, kind, (record.patient,), f"{path.name}: {text}"))

    if _time_is_last(frames.shape, record.listed_frames):
        note("warning", "time-last", "time was the last axis; it is put first.")
        frames, lengths = np.moveaxis(frames, -1, 0), (lengths[2], lengths[0], lengths[1])
        masks = None if masks is None else np.moveaxis(masks, -1, 0)
    upright = _upright(frames, masks, (lengths[1], lengths[2]), path, record.patient)
    notes += upright.notes
    frames, masks = upright.frames, upright.masks
    if record.listed_frames not in (0, len(frames)):
        note("warning", "frames-differ", f"{len(frames)} frames, where Info_*.cfg lists {record.listed_frames}.")
    if min(record.ed_frame, record.es_frame) >= 0 and max(record.ed_frame, record.es_frame) < len(frames):
        ed, es = record.ed_frame, record.es_frame
    else:
        ed, es = _phases_by_stills(record, frames, note)
    flipped = ed > es
    if flipped:
        frames, ed, es = frames[::-1], len(frames) - 1 - ed, len(frames) - 1 - es
        masks = None if masks is None else masks[::-1]
    return CamusSequence(
        frames=np.ascontiguousarray(frames),
        masks=None if masks is None else np.ascontiguousarray(masks),
        ed_frame=ed,
        es_frame=es,
        flipped=flipped,
        fps=record.fps,
        spacing_mm=upright.spacing_mm,
        notes=tuple(notes),
    )


def _time_is_last(shape: tuple[int, ...], listed_frames: int) -> bool:
    """Whether a sequence's axes were reversed or its time axis moved: half a beat has fewer frames than rows."""
    first, _, last = shape
    if listed_frames and (first == listed_frames) != (last == listed_frames):
        return last == listed_frames
    return last < first


def _phases_by_stills(record: CamusRecord, frames: NDArray[np.uint8], note: Any) -> tuple[int, int]:
    """Indices of ED and ES where they are not listed: the frames most like the two stills, which are copies of them."""
    places = []
    for phase in get_args(Phase):
        frame = load_still(record, phase).frame if phase in record.files else None
        if frame is None or frame.shape != frames.shape[1:]:
            note(
                "warning", "order-assumed", "ED and ES are not listed and stills do not tell; ED is taken as the first."
            )
            return 0, len(frames) - 1
        distance = [float(np.abs(other - frame.astype(np.int16)).mean()) for other in frames]
        places.append(int(np.argmin(distance)))
    if places[0] == places[1]:
        note("warning", "order-assumed", "ED and ES are not listed and stills do not tell; ED is taken as the first.")
        return 0, len(frames) - 1
    note("note", "order-from-stills", "ED and ES are not listed; the frames most like the stills were taken.")
    return places[0], places[1]


# ------------------------------------------------------------------------------------------- to the networks


def to_network_size(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    spacing_mm: Spacing,
    size: int = DEFAULT_SETTINGS.size,
    how: Resize = DEFAULT_SETTINGS.resize,
) -> NetworkImage:
    """Pictures ([time,] height, width) and masks of that shape, resized to `size` x `size` pixels.

    Bilinear over the area that an output pixel covers, so that speckle does not alias. A mask's pixel is inside where
    half of it is. `pad-to-square` makes the picture a square of millimetres: black columns are added on both sides, or
    black rows below, so that the probe stays at the top. Where the spacing is NaN, pixels are taken as square.
    """
    if how not in get_args(Resize):
        raise EchocycleError(f"how is {how!r}; it must be one of {', '.join(get_args(Resize))}.")
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise EchocycleError(
            f"The picture is {image.dtype} of {_size(image.shape)}; give 8 bits, ([time,] height, width)."
        )
    if mask is not None and mask.shape != image.shape:
        raise EchocycleError(f"The mask is {_size(mask.shape)}, its picture {_size(image.shape)}; they must be equal.")
    row, column = spacing_mm
    if how == "pad-to-square":
        padding = padding_for(image.shape[-2:], spacing_mm, how)
        before = [(0, 0)] * (image.ndim - 2)
        image = np.pad(image, before + padding)
        mask = None if mask is None else np.pad(mask, before + padding)
    height, width = image.shape[-2:]
    resized_mask = None if mask is None else _resized(mask.astype(np.uint8) * np.uint8(255), size) >= 128
    return NetworkImage(_resized(image, size), resized_mask, (row * height / size, column * width / size))


def padding_for(shape: tuple[int, ...], spacing_mm: Spacing, how: Resize) -> list[tuple[int, int]]:
    """Black rows (above, below) and columns (left, right) that are added to a picture (height, width) before it is
    resized; none for `squeeze`."""
    if how == "squeeze":
        return [(0, 0), (0, 0)]
    known = all(map(math.isfinite, spacing_mm))
    return _padding_to_square(shape, spacing_mm if known else (1.0, 1.0))


def _padding_to_square(shape: tuple[int, ...], spacing: Spacing) -> list[tuple[int, int]]:
    """Rows to add (above, below) and columns (left, right), so that height and width are as many millimetres."""
    side = max(shape[0] * spacing[0], shape[1] * spacing[1])
    rows, columns = (max(0, round(side / length) - count) for length, count in zip(spacing, shape, strict=True))
    return [(0, rows), (columns // 2, columns - columns // 2)]


def _resized(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    from PIL import Image

    if frames.ndim == 3:
        return np.stack([_resized(frame, size) for frame in frames])
    picture = Image.fromarray(np.ascontiguousarray(frames))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
