"""Frames of recordings for the page: decoded once and kept in memory, given out as lossless grey PNG."""

import io
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.partial import append

if TYPE_CHECKING:
    from echocycle.recordings.video import Recording

MEMORY = 1 << 30
"""Bytes of decoded frames that are kept; at least the last recording is."""
MOST_IN_STRIP = 64
THUMBNAIL = 160
"""Pixels of the longer side of a thumbnail."""


@dataclass(frozen=True)
class Facts:
    """What is known of a recording once it was read."""

    n_frames: int
    height: int
    width: int
    fps: float | None
    """None where unknown."""
    spacing_mm: tuple[float, float] | None
    """(row, column); None where unknown."""
    pixel_aspect: float
    """Width of a pixel over its height."""
    notes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, height, width)."""
        return self.n_frames, self.height, self.width


class Frames:
    """Decoded recordings, the last used ones in memory; their facts and thumbnails in the project's cache."""

    def __init__(self, cache: Path, path_of: Callable[[str], Path]) -> None:
        """`path_of` gives a video's file by its id, or raises an `EchocycleError`."""
        self._path_of = path_of
        self._cache = Path(cache)
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()
        self._facts_file = self._cache / "facts.jsonl"
        self._facts = _read_facts(self._facts_file)

    def known(self, video: str) -> Facts | None:
        """The facts of a recording, if it was read before."""
        return self._facts.get(video)

    def facts(self, video: str) -> Facts:
        """The facts of a recording, which is read if it never was."""
        return self._facts.get(video) or self._read(video)[1]

    def frames(self, video: str) -> NDArray[np.uint8]:
        """All frames, grey (time, height, width)."""
        with self._lock:
            if video in self._kept:
                self._kept.move_to_end(video)
                return self._kept[video]
        return self._read(video)[0]

    def learn(self, video: str, facts: Facts) -> None:
        """Keep facts that another process has found."""
        with self._lock:
            if self._facts.get(video) == facts:
                return
            self._facts[video] = facts
            line = json.dumps({"id": video, **asdict(facts)}) + "\n"
            self._cache.mkdir(parents=True, exist_ok=True)
            append(self._facts_file, line.encode())

    def _read(self, video: str) -> tuple[NDArray[np.uint8], Facts]:
        with self._lock:
            mine = self._reading.setdefault(video, threading.Lock())
        with mine:  # two that ask for one recording wait for one reading
            with self._lock:
                if video in self._kept and video in self._facts:
                    return self._kept[video], self._facts[video]
            frames, facts = read_frames(self._path_of(video))
            self.learn(video, facts)
            with self._lock:
                self._kept[video] = frames
                self._kept.move_to_end(video)
                while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > MEMORY:
                    self._kept.popitem(last=False)
                self._reading.pop(video, None)
            return frames, facts

    def strip(self, video: str, first: int, last: int) -> bytes:
        """PNG of frames one below the other, `first` and `last` among them."""
        frames = self.frames(video)
        if not 0 <= first <= last < len(frames):
            raise EchocycleError(f"The recording has frames 0 to {len(frames) - 1}; {first} to {last} were asked for.")
        if last - first >= MOST_IN_STRIP:
            raise EchocycleError(f"At most {MOST_IN_STRIP} frames can be had at once.")
        return png(frames[first : last + 1].reshape(-1, frames.shape[2]))

    def thumbnail(self, video: str) -> bytes:
        """PNG of the middle frame, small; kept on disk."""
        path = self._cache / "thumbnails" / f"{video}.png"
        if path.exists():
            return path.read_bytes()
        frames = self.frames(video)
        content = small(frames[len(frames) // 2])
        keep_thumbnail(path, content)
        return content


def read_frames(path: Path) -> tuple[NDArray[np.uint8], Facts]:
    """A recording's frames as the file holds them, grey, and its facts: labels count the frames of the file, as lists
    do, and not those of an even grid in time."""
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import to_grey

    recording = read_recording(path, even=False)
    frames = to_grey(recording.frames)
    return frames, facts_of(recording, frames)


def facts_of(recording: "Recording", frames: NDArray[np.uint8]) -> Facts:
    """What is known of a recording that was read."""
    known = all(map(math.isfinite, recording.spacing_mm))
    return Facts(
        n_frames=len(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        fps=float(recording.fps) if math.isfinite(recording.fps) else None,
        spacing_mm=(float(recording.spacing_mm[0]), float(recording.spacing_mm[1])) if known else None,
        pixel_aspect=float(recording.pixel_aspect),
        notes=tuple(recording.notes),
    )


def small(frame: NDArray[np.uint8]) -> bytes:
    """PNG of one frame (height, width), at most `THUMBNAIL` pixels to a side."""
    from PIL import Image

    picture = Image.fromarray(frame)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return _saved(picture, 6)


def keep_thumbnail(path: Path, content: bytes) -> None:
    """Write a thumbnail, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of a grey picture, packed for speed: it travels within one machine."""
    from PIL import Image

    return _saved(Image.fromarray(picture), 1)


def _saved(picture: object, level: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=level)  # type: ignore[attr-defined]
    return buffer.getvalue()


def facts_from(content: dict[str, Any]) -> Facts:
    """Facts of their JSON."""
    spacing = content["spacing_mm"]
    pair = None if spacing is None else (float(spacing[0]), float(spacing[1]))
    return Facts(**{**content, "spacing_mm": pair, "notes": tuple(content["notes"])})


def _read_facts(file: Path) -> dict[str, Facts]:
    found: dict[str, Facts] = {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return found
    for line in lines:
        try:
            content = json.loads(line)
            video = content.pop("id")
            found[video] = facts_from(content)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):  # a cache: what is damaged is made again
            continue
    return found
