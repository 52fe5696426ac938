"""The convex hull of a mask, by SciPy's triangulation."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

HALF = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
"""The middles of a pixel's four sides: a hull goes around the pixels, not through their centres."""


def convex_hull_image(image: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool (rows, columns): the pixels whose centre lies in the hull of all that are set."""
    rows = image.any(1).nonzero()[0]  # the first and last of each row make the same hull as all of them
    first = np.stack([rows, image[rows].argmax(1)], 1)
    last = np.stack([rows, image.shape[1] - 1 - image[rows, ::-1].argmax(1)], 1)
    corners = (np.concatenate([first, last])[:, None] + HALF).reshape(-1, 2)
    grid = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1).reshape(-1, 2)
    inside: NDArray[np.bool_] = (Delaunay(corners).find_simplex(grid, tol=1e-9) >= 0).reshape(image.shape)
    return inside
