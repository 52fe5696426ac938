"""Outlines of a mask, by contourpy, which matplotlib brings."""

import contourpy
import numpy as np
from numpy.typing import NDArray


def find_contours(image: NDArray[np.generic], level: float) -> list[NDArray[np.float64]]:
    """Closed outlines (points, 2) as (row, column), between the pixels above and below `level`."""
    lines = contourpy.contour_generator(z=np.asarray(image, dtype=float)).lines(level)
    return [np.asarray(line, dtype=float)[:, ::-1] for line in lines]
