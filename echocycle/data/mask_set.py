"""Mask sets of a frame store: the probability of the left ventricle for every frame, 8 bits, compressed.

A frame is cut to the box of its non-zero pixels, each pixel is replaced by its difference from what its neighbours
above and to the left foretell, and the result is deflated alone, so that any frame is read by itself. Probabilities
of a network with a coarse last map are smooth, which makes most differences small: about 1.5 kB a frame of 112 x 112,
where float32 logits take 50 kB. Nothing is lost but what 8 bits lose.
"""

import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.checked import check_size, checked_array, checked_json
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.partial import Journal, PartialFolder, append, cut, file_size

FORMAT = 2
READABLE = (1, 2)
"""Format 1 holds the pixels themselves."""
SUMMED = ("blob.bin", "first.npy", "offsets.npy")
"""Files whose SHA-256 is kept in masks.json, and compared on request."""


def mask_set_name(run: Path, segmenter: str) -> str:
    """The name that a run's mask set is given: the run's folder and the beginning of the segmenter's hash.

    For people; what finds a set is the whole hash (`Store.masks_of`), since folders are renamed and copied.
    """
    folder = Path(run).resolve()
    return f"{folder.parent.name if folder.name == 'model' else folder.name}-{segmenter[:8]}"


class MaskSet:
    """Masks of the videos of a store, read frame by frame.

    `probabilities(video, frames)` gives uint8 (time, height, width), 255 standing for probability 1.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.meta: dict[str, Any] = checked_json(
            self.folder / "masks.json", {"format": int, "size": int, "videos": int}, self._remedy
        )
        if self.meta["format"] not in READABLE:
            raise EchocycleError(
                f"{folder} holds masks of format {self.meta['format']}; this version reads 1 and {FORMAT}. "
                "Write them again with `echocycle mask`."
            )
        self.size: int = self.meta["size"]
        self._check()
        self._open()

    @property
    def _remedy(self) -> str:
        return f"The masks are not whole, or were changed: delete {self.folder} and run `echocycle mask` again."

    def _check(self) -> None:
        """Compare the sizes of the files with one another; reads no mask."""
        offsets, first = (checked_array(self.folder / f"{name}.npy", self._remedy) for name in ("offsets", "first"))
        for name, array in (("offsets", offsets), ("first", first)):
            if array.ndim != 1 or array.dtype != np.dtype("<i8"):
                raise EchocycleError(f"{self.folder / name}.npy is not a row of whole numbers. {self._remedy}")
        there = first[first >= 0]
        wrong = not len(offsets) or offsets[0] != 0 or (np.diff(offsets) < 0).any()
        wrong |= len(there) != self.meta["videos"] or (there >= len(offsets)).any() or len(set(there)) != len(there)
        if wrong:
            raise EchocycleError(f"{self.folder}: its offsets and its videos do not agree. {self._remedy}")
        check_size(self.folder / "blob.bin", int(offsets[-1]), "its masks take", self._remedy)

    def check_store(self, store: str, frames: np.ndarray) -> None:
        """Refuse another store than that which the masks were made of.

        Args:
            store: its id.
            frames: its number of frames, of each video.
        """
        made = self.meta.get("store", store)
        if made != store:
            raise EchocycleError(
                f"The masks {self.folder} are of another store (id {made}, not {store}). Delete them and run "
                "`echocycle mask` again."
            )
        if len(self._first) == len(frames):
            done = np.flatnonzero(self._first >= 0)
            order = done[np.argsort(self._first[done])]
            ends = np.append(self._first[order][1:], len(self._offsets) - 1)
            if not (ends - self._first[order] != frames[order]).any():
                return
        raise EchocycleError(f"{self.folder} has not one mask for every frame of the store. {self._remedy}")

    def verify(self) -> bool:
        """Read every byte and compare it with the checksums in masks.json; False where an earlier version left none.

        Raises `EchocycleError` where a file is not the one that was written.
        """
        if "sha256" not in self.meta:
            return False
        known = checked_json(self.folder / "masks.json", {"sha256": dict.fromkeys(SUMMED, str)}, self._remedy)["sha256"]
        for name in SUMMED:
            if sha256(self.folder / name) != known[name]:
                raise EchocycleError(
                    f"{self.folder / name} is not the file that masks.json names (SHA-256 differs). {self._remedy}"
                )
        return True

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
                try:
                    _unpack(blob[start:end], mask, differences=self.meta["format"] > 1)
                except (zlib.error, ValueError) as error:  # each packed mask ends with a checksum of its own
                    raise EchocycleError(
                        f"{self.folder / 'blob.bin'}: frame {frame} of video {video} is damaged ({error}). "
                        + self._remedy
                    ) from None
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


def _journal_entry(entry: tuple[int, np.ndarray]) -> bytes:
    """A video's row, how many frames it has, and the length of each packed mask, as int64."""
    video, lengths = entry
    return np.concatenate([np.array([video, len(lengths)], "<i8"), lengths]).tobytes()


def _journal_entries(content: bytes) -> Iterator[tuple[tuple[int, np.ndarray], int]]:
    """The whole entries of a journal, each with the byte at which it ends."""
    numbers = np.frombuffer(content[: len(content) // 8 * 8], "<i8")
    place = 0
    while place + 2 <= numbers.size and 0 <= numbers[place + 1] <= numbers.size - place - 2:
        video, frames = map(int, numbers[place : place + 2])
        lengths = numbers[place + 2 : place + 2 + frames]
        place += 2 + frames
        yield (video, lengths), 8 * place


class MaskWriter:
    """Writes a mask set video by video into `<folder>.partial`; `finish` gives it its name.

    Started again after a kill it goes on after the last whole video (`is_done`), if `meta` is the same.
    """

    def __init__(self, folder: Path, videos: int, meta: dict[str, Any]):
        self.folder = Path(folder)
        self._made = PartialFolder(self.folder, {"format": FORMAT, **meta}, seal="masks.json", private=("journal.bin",))
        self.partial, self.meta = self._made.path, self._made.job
        self._videos = videos
        self._done: dict[int, np.ndarray] = {}
        self._blob = self.partial / "blob.bin"
        self._journal = Journal(self.partial / "journal.bin", _journal_entry, _journal_entries)
        self._whole: MaskSet | None = None
        if not self._made.begin(check=MaskSet):
            self._whole = MaskSet(self.partial)
            return
        there, end = file_size(self._blob), 0

        def is_whole(entry: tuple[int, np.ndarray]) -> bool:
            nonlocal end
            if end + int(entry[1].sum()) > there:
                return False
            end += int(entry[1].sum())
            return True

        self._done = dict(self._journal.read(is_whole))
        cut(self._blob, end)

    def is_done(self, video: int) -> bool:
        """Whether the video is already written."""
        return self._whole.has(video) if self._whole else video in self._done

    def add(self, video: int, probabilities: np.ndarray) -> None:
        """Append a video's masks, uint8 (time, height, width)."""
        packed = [_pack(mask) for mask in probabilities]
        append(self._blob, b"".join(packed))
        lengths = np.array([len(p) for p in packed], "<i8")
        self._journal.add((video, lengths))
        self._done[video] = lengths

    def finish(self, **meta: Any) -> MaskSet:
        """Close the set, give it its name and open it."""
        if self._whole is None:
            self._seal(meta)
        if self.folder.exists() and not (self.folder / "masks.json").exists():
            shutil.rmtree(self.folder)  # what a kill left of a set that was being deleted
        self._made.close()
        return MaskSet(self.folder)

    def _seal(self, meta: dict[str, Any]) -> None:
        if not self._done:
            raise EchocycleError(f"No video to write masks for in {self.folder}; check the splits asked for.")
        first = np.full(self._videos, -1, "<i8")
        position = 0
        for video, lengths in self._done.items():
            first[video] = position
            position += len(lengths)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(list(self._done.values())))]).astype("<i8")
        if file_size(self._blob) != offsets[-1]:
            raise EchocycleError(
                f"{self._blob} holds what this process did not write: two processes were at work on it. Delete "
                f"{self.partial} and run the command again."
            )
        # offsets[first + frame + 1] is also the end of a video's last frame: videos follow one another
        np.save(self.partial / "offsets.npy", offsets)
        np.save(self.partial / "first.npy", first)
        sums = {name: sha256(self.partial / name) for name in SUMMED}
        self._made.seal({**self.meta, **meta, "videos": len(self._done), "sha256": sums})
        MaskSet(self.partial)  # refuses what does not belong together, before it has the name of a set
