"""The ventricle's outline in a frame, for the eye and for files: where the probability is one half."""

import numpy as np

HALF = 127.5
"""Of uint8 probabilities."""


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a uint8 probability mask (height, width), each (points, 2), (column, row), integers at pixel
    centres. The longest comes first."""
    from skimage.measure import find_contours

    found = find_contours(np.pad(mask.astype(np.float32), 1), HALF)
    return sorted((contour[:, ::-1] - 1.0 for contour in found), key=len, reverse=True)


def main_outline(mask: np.ndarray) -> np.ndarray | None:
    """The outline of the largest blob, (points, 2), (column, row); None where there is none."""
    found = outlines(largest_blob(mask))
    return found[0] if found and len(found[0]) >= 4 else None


def largest_blob(mask: np.ndarray) -> np.ndarray:
    """A uint8 probability mask (height, width) with 0 in all blobs but the largest, as it is measured."""
    from scipy import ndimage

    labels, count = ndimage.label(mask > HALF)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.where((labels > 0) & (labels != sizes.argmax()), 0, mask).astype(np.uint8)


def to_stored(points: np.ndarray, affine: np.ndarray | None) -> np.ndarray:
    """Points (n, 2), (column, row), of a prediction's frames in the pixels of the recording's file."""
    return points if affine is None else points @ affine[:, :2].T + affine[:, 2]
