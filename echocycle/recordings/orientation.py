"""Which way up a picture is, and how places in a turned, stretched and cut picture lie in the stored one."""

from dataclasses import dataclass

import numpy as np

from echocycle.recordings.regions import Box
from echocycle.recordings.streams import UPRIGHT, Turn

APEX_DOWN = Turn(flips_rows=True)
"""Scanners turn a picture upside down by flipping it: left and right stay where they are."""
APEX_LEFT = Turn(transposed=True, flips_columns=True)
APEX_RIGHT = Turn(transposed=True, flips_rows=True)
"""A picture lies on its side because somebody turned it."""
TURNS = {"at the top": UPRIGHT, "at the bottom": APEX_DOWN, "on the left": APEX_LEFT, "on the right": APEX_RIGHT}


@dataclass(frozen=True)
class View:
    """How a stored picture is seen: with square pixels, then turned upright."""

    stored: tuple[int, int]
    """Height, width of the stored picture."""
    aspect: float = 1.0
    """Width of a stored pixel over its height."""
    turn: Turn = UPRIGHT

    @property
    def square(self) -> tuple[int, int]:
        """Height, width with square pixels, before turning. Pixels are made smaller, never larger."""
        height, width = self.stored
        return (height, round(width * self.aspect)) if self.aspect >= 1 else (round(height / self.aspect), width)

    def squared(self, frames: np.ndarray) -> np.ndarray:
        """Stored uint8 or bool frames (time, height, width) with square pixels; not turned."""
        if self.square == self.stored:
            return frames
        from PIL import Image

        height, width = self.square
        method = Image.Resampling.NEAREST if frames.dtype == bool else Image.Resampling.BILINEAR
        return np.stack([np.asarray(Image.fromarray(frame).resize((width, height), method)) for frame in frames])

    def stored_mask(self, mask: np.ndarray) -> np.ndarray:
        """A bool mask of the upright picture, in the stored one."""
        flipped = mask[:: -1 if self.turn.flips_rows else 1, :: -1 if self.turn.flips_columns else 1]
        unturned = flipped.T if self.turn.transposed else flipped
        rows, columns = (
            ((np.arange(size) + 0.5) * square / size).astype(int)
            for size, square in zip(self.stored, self.square, strict=True)
        )
        return unturned[np.ix_(rows, columns)]

    def affine(self) -> np.ndarray:
        """float64 (2, 3): stored (column, row) = affine @ (column, row, 1) of the upright picture; pixel centres."""
        height, width = self.square
        upright_height, upright_width = (width, height) if self.turn.transposed else (height, width)
        # upright -> before the flips, which are done last
        flips = np.eye(3)
        if self.turn.flips_columns:
            flips[0] = [-1, 0, upright_width - 1]
        if self.turn.flips_rows:
            flips[1] = [0, -1, upright_height - 1]
        swap = np.eye(3)[[1, 0, 2]] if self.turn.transposed else np.eye(3)
        across, down = self.stored[1] / width, self.stored[0] / height
        stretch = np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1]])
        return (stretch @ swap @ flips)[:2]

    def spacing(self, spacing_mm: tuple[float, float]) -> tuple[float, float]:
        """Millimetres per pixel (row, column) of the upright picture, from those of the stored one."""
        row_mm = spacing_mm[0] * self.stored[0] / self.square[0]
        column_mm = spacing_mm[1] * self.stored[1] / self.square[1]
        return (column_mm, row_mm) if self.turn.transposed else (row_mm, column_mm)


def without_surroundings(frames: np.ndarray, box: Box | None) -> np.ndarray:
    """uint8 frames (time, height, width), black outside `box`; a copy unless `box` is None."""
    if box is None:
        return frames
    left, top, right, bottom = box
    kept = np.zeros_like(frames)
    kept[:, top:bottom, left:right] = frames[:, top:bottom, left:right]
    return kept
