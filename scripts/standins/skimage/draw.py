"""Filling a polygon as scikit-image does: a pixel belongs to it when its centre lies inside or on the outline."""

import numpy as np
from numpy.typing import NDArray


def polygon(
    r: NDArray[np.float64], c: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels in a polygon, cut to `shape`; even-odd where it crosses itself."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
    right, left, corner = (np.zeros(shape, dtype=bool) for _ in range(3))
    for r0, c0, r1, c1 in zip(r, c, np.roll(r, -1), np.roll(c, -1), strict=True):
        side = ((c1 - c0) * (rows - r0) - (r1 - r0) * (columns - c0)) * np.sign(r1 - r0)
        right ^= ((r0 > rows) != (r1 > rows)) & (side > 0)  # rays to the right and to the left that meet this side
        left ^= ((r0 < rows) != (r1 < rows)) & (side < 0)
        corner |= (rows == r0) & (columns == c0)
    # the two rays disagree on the outline only
    found = np.nonzero(right | (right != left) | corner)
    return found[0], found[1]
