"""How much memory one recording may take, decided from its header before any of it is decoded.

A file of a few kilobytes can claim a million frames. What exceeds these limits is refused with a sentence; what stays
below them, together with the copies that cutting makes, needs less than 2 GB.
"""

from pathlib import Path
from typing import Any

import numpy as np

from echocycle.errors import EchocycleError

LARGEST_RECORDING = 768 << 20
"""Bytes of all decoded frames together: 2,621 grey frames of 640 x 480, or 388 of 1920 x 1080."""
LARGEST_PICTURE = 4096 * 2304
"""Pixels of one frame; more than 4K video has."""
LARGEST_INFLATED = 512 << 20
"""Bytes that a deflated DICOM file may unpack to."""
LARGEST_STREAM = 512 << 20
"""Bytes of a video inside DICOM, still encoded."""


def check_budget(source: Path, height: int, width: int, frames: float, bytes_per_pixel: int = 1) -> None:
    """Refuse a picture or a recording above the limits, by what its header says.

    Raises:
        EchocycleError: with the numbers and what to do.
    """
    if height * width > LARGEST_PICTURE:
        raise EchocycleError(
            f"{source}: its header says frames of {width} x {height} pixels, more than {LARGEST_PICTURE:,}. "
            "The file is damaged, or it is no ultrasound recording."
        )
    needed = height * width * frames * bytes_per_pixel
    if needed > LARGEST_RECORDING:
        raise EchocycleError(
            f"{source}: {frames:,.0f} frames of {width} x {height} pixels would take {needed / 2**20:,.0f} MB of "
            f"memory, more than {LARGEST_RECORDING >> 20:,}. Cut the recording to a few heartbeats, or make it smaller."
        )


class FrameStack:
    """Frames of one size and type, stacked as they come, without ever being held twice."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.frames: np.ndarray | None = None
        self.count = 0

    def append(self, frame: np.ndarray) -> bool:
        """Add a frame; False, and nothing is added, if it has another size than those before.

        Raises:
            EchocycleError: all frames together exceed `LARGEST_RECORDING`.
        """
        if self.frames is None:
            self.frames = np.empty((16, *frame.shape), frame.dtype)
        elif frame.shape != self.frames.shape[1:]:
            return False
        if self.count == len(self.frames):
            check_budget(self.source, frame.shape[0], frame.shape[1], self.count + 1, frame[0, 0].nbytes)
            # `resize` grows in place, where a list of frames and `np.stack` would hold everything twice
            self._grow(min(2 * self.count, self.count + max(16, (64 << 20) // frame.nbytes)))
        self.frames[self.count] = frame
        self.count += 1
        return True

    def _grow(self, count: int) -> None:
        assert self.frames is not None
        self.frames.resize((count, *self.frames.shape[1:]), refcheck=False)

    def stacked(self) -> np.ndarray:
        """(time, height, width) or (time, height, width, 3); at least one frame must have been added."""
        assert self.frames is not None
        if self.count < len(self.frames):
            self._grow(self.count)
        frames, self.frames = self.frames, None
        return frames

    def __len__(self) -> int:
        return self.count


def samples(frames: np.ndarray, most: int = 33) -> Any:
    """At most `most` frames, spread evenly over all; fewer of very large ones."""
    most = min(most, max(9, (192 << 20) // frames[0].nbytes))
    return frames[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]
