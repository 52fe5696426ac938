"""Masks as NIfTI: one frame, or one for every frame of the video."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.datasets.contours.pictures import inside
from echocycle.datasets.contours.traced import Traced, Wanted, frame_after, phase_of
from echocycle.errors import EchocycleError


def read_nifti(path: Path, wanted: Wanted) -> list[Traced]:
    """Masks of a NIfTI file, whose axes are (column, row[, frame]); frames without a pixel inside are unlabelled."""
    image = _read(path, lambda nibabel: nibabel.load(path))
    shape = tuple(image.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (2, 3):
        raise EchocycleError(f"{path} has {len(shape)} axes; a mask has two, or three with time.")
    size = (wanted.height, wanted.width)
    if size not in (shape[:2], shape[1::-1]):
        raise EchocycleError(
            f"{path} is {shape[1]}x{shape[0]}, the video {size[0]}x{size[1]} pixels (height x width). "
            "Export it at the video's size."
        )
    if len(shape) == 3 and shape[2] != wanted.frames:
        raise EchocycleError(f"{path} has {shape[2]} frames, the video {wanted.frames}. Export all frames or one.")
    # the sizes are known to be the video's before any pixel is read: a broken header may promise terabytes
    values = _read(path, lambda _: np.asarray(image.dataobj)).reshape(shape)
    mask = inside(path, values if shape[:2] == size and size[0] != size[1] else values.swapaxes(0, 1))
    if mask.ndim == 2:
        name = path.name.removesuffix(".gz").removesuffix(".nii")
        return [Traced(frame_after(f"{name}.nii", wanted), phase_of(name), mask)] if mask.any() else []
    return [Traced(int(frame), "", mask[..., frame]) for frame in np.flatnonzero(mask.any(axis=(0, 1)))]


def _read(path: Path, how: Callable[[Any], Any]) -> Any:
    import nibabel

    try:
        return how(nibabel)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise EchocycleError(f"{path} is not a NIfTI file ({error}). Export it again.") from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise EchocycleError(f"{path} is cut off or damaged ({error}). Copy it again.") from None
