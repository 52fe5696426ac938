"""Masks as pictures (PNG, BMP, TIFF): one frame a file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.contours.traced import Traced, Wanted, check_size, frame_after, phase_of
from echocycle.errors import EchocycleError

LABELS = (0, 1, 2, 3)
"""Values of CAMUS: background, LV cavity, myocardium, left atrium. In a picture of several structures 1 is ours."""


def read_picture(path: Path, wanted: Wanted) -> list[Traced]:
    """One mask. Pixels above 0 are inside; where there are several structures (1, 2, 3, as in CAMUS) those of 1.

    The frame is the last number in the file's name, the phase `ED` or `ES` in it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture if picture.mode in ("1", "L", "P", "I", "I;16") else picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise EchocycleError(f"{path} is not a picture that can be read ({error}). Export it again.") from None
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise EchocycleError(f"{path} is a colour picture. Export the mask in grey: 0 outside, 255 inside.")
        values = values[..., 0]
    check_size(path, values.shape[0], values.shape[1], wanted)
    mask = inside(path, values)
    return [Traced(frame_after(path.name, wanted), phase_of(path.stem), mask)] if mask.any() else []


def inside(path: Path, values: NDArray) -> NDArray[np.bool_]:
    """Where an array of values shows the cavity of the left ventricle."""
    found = np.unique(values)
    above = found[found > 0]
    if len(above) > 1:
        if not set(found.tolist()) <= set(LABELS):
            raise EchocycleError(
                f"{path} holds {len(found)} values ({', '.join(f'{v:g}' for v in found[:6])}, ...). A mask has 0 "
                "outside and one value inside, or 1 for the cavity of the left ventricle, 2 and 3 for others."
            )
        return np.asarray(values == 1)
    return np.asarray(values > 0)
