"""What a video container says besides pixels: which stream is the recording, how it is turned, and frame times."""

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Turn:
    """How a stored picture must be turned to be seen as its maker meant: first transposed, then flipped."""

    transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Turn (height, width) or (height, width, 3)."""
        if self.transposed:
            frame = frame.swapaxes(0, 1)
        return frame[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places, which no rotation does."""
        return (self.transposed + self.flips_rows + self.flips_columns) % 2 == 1

    @property
    def words(self) -> str:
        """What is done, for a note."""
        if self.mirrored:
            return "mirrored"
        if self.transposed:
            return f"turned by 90 degrees {'clockwise' if self.flips_columns else 'counterclockwise'}"
        return "turned by 180 degrees"


UPRIGHT = Turn()


def turn_of(frame: Any) -> tuple[Turn, list[str]]:
    """The turn that a decoded frame's display matrix asks for, and notes."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return UPRIGHT, []
    across, down, other_across, other_down = matrix[0], matrix[1], matrix[3], matrix[4]
    straight, crossed = min(abs(across), abs(other_down)), min(abs(down), abs(other_across))
    if straight > 10 * max(abs(down), abs(other_across)):
        turn = Turn(False, other_down < 0, across < 0)
    elif crossed > 10 * max(abs(across), abs(other_down)):
        turn = Turn(True, down < 0, other_across < 0)
    else:
        return UPRIGHT, ["the video's header turns the picture by an odd angle; it is left as it is"]
    if turn == UPRIGHT:
        return turn, []
    return turn, [f"the video's header wants the picture {turn.words}, which was done"]


def choose_stream(container: Any) -> tuple[Any, list[str]]:
    """The video stream that is the recording, and a note if there are several.

    A cover picture is none, nor is a stream of one frame beside one of many; of the rest the largest picture is taken.
    """
    streams = list(container.streams.video)
    if len(streams) == 1:
        return streams[0], []
    frames = _packets(container, streams)
    most = max(frames.values())
    moving = [stream for stream in streams if not _is_cover(stream) and (frames[stream.index] > 1 or most < 2)]
    chosen = max(moving or streams, key=lambda stream: (stream.width or 0) * (stream.height or 0))
    place = streams.index(chosen) + 1
    return chosen, [
        f"the file holds {len(streams)} video streams; number {place} of {chosen.width} x {chosen.height} pixels and "
        f"{frames[chosen.index]} frames is used"
    ]


def frames_promised(container: Any, stream: Any) -> float:
    """How many frames the container's header tells of, by count or by duration; 0 if it does not say."""
    if stream.frames:
        return float(stream.frames)
    rate = float(stream.average_rate or 0)
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base) * rate
    return container.duration / 1e6 * rate if container.duration else 0.0


def seconds_of(frame: Any) -> float:
    """When a decoded frame is shown, in seconds; NaN if it has no time stamp."""
    if frame.pts is None or frame.time_base is None:
        return math.nan
    return float(frame.pts * frame.time_base)


def _display_matrix(frame: Any) -> tuple[int, ...] | None:
    """Nine numbers in row order, as in a track header; None if the frame has none."""
    for item in frame.side_data:
        if item.type.name == "DISPLAYMATRIX":
            data = bytes(item)
            return struct.unpack("=9i", data[:36]) if len(data) >= 36 else None
    return None


def _packets(container: Any, streams: list[Any]) -> dict[int, int]:
    """How many packets each stream has; the container stands at its start afterwards."""
    counted = dict.fromkeys((stream.index for stream in streams), 0)
    for packet in container.demux(*streams):
        if packet.size:
            counted[packet.stream_index if hasattr(packet, "stream_index") else packet.stream.index] += 1
    container.seek(0)
    return counted


def _is_cover(stream: Any) -> bool:
    return "attached_pic" in str(stream.disposition)
