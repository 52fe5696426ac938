"""Mask sets of a frame store: the probability of the left ventricle for every frame, 8 bits, compressed.

A frame is cut to the box of its non-zero pixels, each pixel is replaced by its difference from what its neighbours
above and to the left foretell, and the result is deflated alone, so that any frame is read by itself. Probabilities
of a network with a coarse last map are smooth, which makes most differences small: about 1.5 kB a frame of 112 x 112,
where float32 logits take 50 kB. Nothing is lost but what 8 bits lose.
"""

import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import empty_unless_begun, read_json, write_json

FORMAT = 2
READABLE = (1, 2)
"""Format 1 holds the pixels themselves."""


class MaskSet:
    """Masks of the videos of a store, read frame by frame.

    `probabilities(video, frames)` gives uint8 (time, height, width), 255 standing for probability 1.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.meta: dict[str, Any] = read_json(self.folder / "masks.json")
        if self.meta["format"] not in READABLE:
            raise EchocycleError(
                f"{folder} holds masks of format {self.meta['format']}; this version reads 1 and {FORMAT}. "
                "Write them again with `echocycle mask`."
            )
        self.size: int = self.meta["size"]
        self._open()

    def _open(self) -> None:
        self._offsets = np.load(self.folder / "offsets.npy", mmap_mode="r")
        self._first = np.load(self.folder / "first.npy")
        blob = self.folder / "blob.bin"
        # an empty file, of masks that are all empty, cannot be mapped
        self._blob = np.memmap(blob, np.uint8, mode="r") if blob.stat().st_size else np.empty(0, np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "meta": self.meta, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @property
    def id(self) -> str:
        """The run id of the segmenter that made the masks."""
        return self.folder.name

    def has(self, video: int) -> bool:
        """Whether the video (row of the store's index) has masks."""
        return bool(self._first[video] >= 0)

    def probabilities(self, video: int, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        """Probabilities of the frames of a video, uint8 (time, height, width)."""
        first = int(self._first[video])
        if first < 0:
            raise EchocycleError(
                f"The masks {self.id} do not cover video {video}; run `echocycle mask` with its split."
            )
        masks = np.zeros((len(frames), self.size, self.size), np.uint8)
        offsets, blob = self._offsets, self._blob
        for mask, frame in zip(masks, frames, strict=True):
            start, end = offsets[first + frame], offsets[first + frame + 1]
            if end > start:
                _unpack(blob[start:end], mask, differences=self.meta["format"] > 1)
        return masks


def _pack(mask: np.ndarray) -> bytes:
    """One uint8 mask as its box (four uint16: top, bottom, left, right) and the deflated differences inside."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return b""
    box = np.array([rows[0], rows[-1] + 1, columns[0], columns[-1] + 1], "<u2")
    inside = np.ascontiguousarray(mask[box[0] : box[1], box[2] : box[3]])
    for axis in (0, 1):
        inside = np.diff(inside, axis=axis, prepend=np.uint8(0))  # modulo 256
    return box.tobytes() + zlib.compress(inside.data, 6)


def _unpack(packed: np.ndarray, into: np.ndarray, *, differences: bool) -> None:
    """Write a packed mask into a mask of zeros."""
    top, bottom, left, right = packed[:8].view("<u2")
    pixels = np.frombuffer(zlib.decompress(packed[8:].data), np.uint8).reshape(bottom - top, right - left)
    if differences:
        for axis in (1, 0):
            pixels = np.cumsum(pixels, axis=axis, dtype=np.uint8)
    into[top:bottom, left:right] = pixels


class MaskWriter:
    """Writes a mask set video by video into `<folder>.partial`; `finish` gives it its name.

    Started again after a kill it goes on after the last whole video (`is_done`), if `meta` is the same.
    """

    def __init__(self, folder: Path, videos: int, meta: dict[str, Any]):
        self.folder = Path(folder)
        self.partial = self.folder.with_name(f"{self.folder.name}.partial")
        self.meta: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **meta}))  # as it is read back
        started = self.partial / "started.json"
        empty_unless_begun(self.partial, self.meta)
        if not started.exists():
            write_json(started, self.meta)
        self._videos = videos
        self._journal = self.partial / "journal.bin"  # per video: its row, then the length of each frame
        self._done: dict[int, np.ndarray] = {}
        self._blob = self.partial / "blob.bin"
        self._blob.touch()
        os.truncate(self._blob, self._read_journal())

    def _read_journal(self) -> int:
        """Take over whole entries; drop the torn end of either file. Gives the blob's length."""
        entries = np.fromfile(self._journal, "<i8") if self._journal.exists() else np.empty(0, "<i8")
        there = self._blob.stat().st_size
        position, end = 0, 0
        while position + 2 <= entries.size and position + 2 + entries[position + 1] <= entries.size:
            video, frames = entries[position : position + 2]
            lengths = entries[position + 2 : position + 2 + frames]
            if end + int(lengths.sum()) > there:
                break
            self._done[int(video)] = lengths
            end += int(lengths.sum())
            position += 2 + int(frames)
        if self._journal.exists():
            os.truncate(self._journal, position * 8)
        return end

    def is_done(self, video: int) -> bool:
        """Whether the video is already written."""
        return video in self._done

    def add(self, video: int, probabilities: np.ndarray) -> None:
        """Append a video's masks, uint8 (time, height, width)."""
        packed = [_pack(mask) for mask in probabilities]
        with open(self._blob, "ab") as blob:
            blob.write(b"".join(packed))
        lengths = np.array([len(p) for p in packed], "<i8")
        with open(self._journal, "ab") as journal:
            journal.write(np.concatenate([np.array([video, len(packed)], "<i8"), lengths]).tobytes())
        self._done[video] = lengths

    def finish(self, **meta: Any) -> MaskSet:
        """Close the set, give it its name and open it."""
        if not self._done:
            raise EchocycleError(f"No video to write masks for in {self.folder}; check the splits asked for.")
        first = np.full(self._videos, -1, "<i8")
        position = 0
        for video, lengths in self._done.items():
            first[video] = position
            position += len(lengths)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(list(self._done.values())))]).astype("<i8")
        # offsets[first + frame + 1] is also the end of a video's last frame: videos follow one another
        np.save(self.partial / "offsets.npy", offsets)
        np.save(self.partial / "first.npy", first)
        write_json(self.partial / "masks.json", {**self.meta, **meta, "videos": len(self._done)})
        self._journal.unlink()
        (self.partial / "started.json").unlink()
        os.replace(self.partial, self.folder)
        return MaskSet(self.folder)
