"""Two stills of a heart, ED and ES, bent into a beat along the outlines that a reader drew: real grey, known EF.

The motion is the outlines' alone: what is between and around them is bent smoothly and rests further out. Both stills
are bent to each moment and blended, so no speckle moves as it does in a real cine.
"""

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates, zoom

BEAT = (0.0, 0.05, 0.2, 0.45, 0.75, 0.95, 1.0, 0.9, 0.65, 0.42, 0.33, 0.3, 0.27, 0.22, 0.1, 0.02)
"""How far the heart has come from ED to ES, in 16 moments of a beat."""
ANGLES, COARSE, REST = 48, 28, 1.9
"""Points of an outline; cells a side on which the bending is computed; where it has faded, over the outline's size."""


def bent_beat(ed: np.ndarray, es: np.ndarray, ed_mask: np.ndarray, es_mask: np.ndarray) -> np.ndarray:
    """A beat, uint8 (16, height, width), of two grey stills and their masks, each (height, width)."""
    first, last = outline(ed_mask), outline(es_mask)
    moments = []
    for share in BEAT:
        there = first + share * (last - first)
        moments.append((1 - share) * bent(ed, first, there) + share * bent(es, last, there))
    return np.clip(np.round(moments), 0, 255).astype(np.uint8)


def outline(mask: np.ndarray) -> np.ndarray:
    """The mask's farthest points from its centre at equal angles, (ANGLES, 2), row and column."""
    centre = np.argwhere(mask).mean(0)
    angles = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    steps = np.arange(0, max(mask.shape), 0.25)
    points = []
    for ray in np.stack([np.sin(angles), np.cos(angles)], 1):
        line = centre + steps[:, None] * ray
        inside = map_coordinates(mask.astype(float), line.T, order=1) > 0.5
        points.append(line[np.flatnonzero(inside)[-1]])
    return np.array(points)


def bent(image: np.ndarray, points: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The image (height, width), square, with `points` moved to where `there` says, both (n, 2)."""
    size = len(image)
    ends = np.linspace(0, size - 1, 5)
    border = [(row, column) for row in ends for column in ends if {row, column} & {0.0, size - 1.0}]
    rest = np.vstack([points.mean(0) + REST * (points - points.mean(0)), border])
    known, moves = np.vstack([there, rest]), np.vstack([points - there, np.zeros_like(rest)])
    cells = np.linspace(0, size - 1, COARSE)
    grid = np.stack(np.meshgrid(cells, cells, indexing="ij"), -1).reshape(-1, 2)
    field = RBFInterpolator(known, moves, kernel="thin_plate_spline", smoothing=1.0)(grid).reshape(COARSE, COARSE, 2)
    whole = np.stack([zoom(field[..., axis], size / COARSE, order=1) for axis in (0, 1)])
    return np.asarray(map_coordinates(image.astype(float), np.indices(image.shape) + whole, order=1, mode="nearest"))
