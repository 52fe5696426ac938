"""Masks as NIfTI: one frame, or one for every frame of the video."""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.contours.pictures import inside
from echocycle.datasets.contours.traced import Traced, Wanted, frame_after, phase_of
from echocycle.errors import EchocycleError


def read_nifti(path: Path, wanted: Wanted) -> list[Traced]:
    """Masks of a NIfTI file, whose axes are (column, row[, frame]); frames without a pixel inside are unlabelled."""
    values = _values(path)
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3):
        raise EchocycleError(f"{path} has {values.ndim} axes; a mask has two, or three with time.")
    size = (wanted.height, wanted.width)
    if values.shape[:2] == size[::-1]:
        values = values.swapaxes(0, 1)
    elif values.shape[:2] != size:
        raise EchocycleError(
            f"{path} is {values.shape[1]}x{values.shape[0]}, the video {size[0]}x{size[1]} pixels (height x width). "
            "Export it at the video's size."
        )
    mask = inside(path, values)
    if mask.ndim == 2:
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        return [Traced(frame_after(f"{name}.nii", wanted), phase_of(name), mask)] if mask.any() else []
    if mask.shape[2] != wanted.frames:
        raise EchocycleError(f"{path} has {mask.shape[2]} frames, the video {wanted.frames}. Export all frames or one.")
    return [Traced(int(frame), "", mask[..., frame]) for frame in np.flatnonzero(mask.any(axis=(0, 1)))]


def _values(path: Path) -> NDArray:
    import nibabel

    try:
        return np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise EchocycleError(f"{path} is not a NIfTI file ({error}). Export it again.") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise EchocycleError(f"{path} is cut off or damaged ({error}). Copy it again.") from None
