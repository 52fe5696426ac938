"""The picture of moving shapes in docs/data.md: `python scripts/shapes_sheet.py docs/images/shapes.png`.

A clip a row: every third frame, and last where the shape is in the last of them.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from echocycle.data.moving_shapes import draw_shape

ROWS, FRAMES, SIZE, EVERY, GAP = 6, 16, 56, 3, 4


def sheet() -> np.ndarray:
    """uint8 (height, width)."""
    rows = []
    for seed in range(ROWS):
        clip = draw_shape(np.random.default_rng([1, seed]), FRAMES, SIZE)
        frames = list(np.clip(clip.video[::EVERY].numpy() * 50 + 110, 0, 255))
        place = cv2.resize(clip.inside[15].numpy() * 255, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
        padded = [np.pad(each, GAP // 2, constant_values=255) for each in (*frames, place)]
        rows.append(np.concatenate(padded, 1))
    return np.concatenate(rows).astype(np.uint8)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    picture = cv2.resize(sheet(), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    ok, content = cv2.imencode(".png", picture)
    Path(sys.argv[1]).write_bytes(content.tobytes())
