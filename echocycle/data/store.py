"""The frame store: every video decoded once, as memory-mapped 8-bit frames under one index.

STORE/
  store.json     format, size, colour, where from, phantom version, settings
  index.csv      one row a video, see COLUMNS
  frames.u8      all frames one after the other, (frames, height, width) or (frames, height, width, 3)
  traces.npy     the traced ED and ES masks, (videos, 2, bytes), bit-packed
  report.json    what was found wrong in the data, and what was done about it
  checksums.json SHA-256 of frames.u8 and traces.npy, compared on request (`verify_frames`)
  masks/<id>/    mask sets (data/mask_set.py); `truth` is the phantom's own

Store.json says how many videos and frames there are, and its id is a hash of the index. All that is compared when a
store is opened, so half a copy, or an index that somebody changed, is refused.
"""

import hashlib
import io
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocycle.checked import check_size, checked_array, checked_json
from echocycle.data.mask_set import MaskSet
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256

FORMAT = 1
SIZE = 112
"""Height and width of stored frames in pixels."""
CHECKSUMS = "checksums.json"
SUMMED = ("frames.u8", "traces.npy")
"""Files whose SHA-256 is kept; that of the index is the store's id."""

KINDS = {
    "format": int,
    "id": str,
    "source": str,
    "release": str,
    "phantom_version": (int, type(None)),
    "size": int,
    "color": bool,
    "videos": int,
    "frames": int,
    "job": {"listing": str, "settings": dict},
}
"""What store.json holds."""

COLUMNS = {
    "name": "file name without suffix",
    "file": "path below the source folder",
    "patient": "patient id (EchoNet-Dynamic: one video each, so the name)",
    "split": "train, val or test",
    "annotation": "what the source holds: traced (EF and tracing), ef, tracing, or none",
    "fps": "frames a second; empty where unknown",
    "frames": "decoded frames",
    "listed_frames": "frames the source's list promised",
    "offset": "first frame in frames.u8",
    "ef": "ejection fraction, percent; empty where unlabelled",
    "edv_ml": "end-diastolic volume, ml",
    "esv_ml": "end-systolic volume, ml",
    "ed_frame": "traced end-diastolic frame, 0-based; -1 without tracing",
    "es_frame": "traced end-systolic frame, 0-based; -1 without tracing",
    "affine": "six numbers a b c d e f: source column = a x + b y + c, source row = d x + e y + f",
    "spacing_row_mm": "height of a stored pixel, mm; empty where unknown",
    "spacing_column_mm": "width of a stored pixel, mm; empty where unknown",
    "authors_rank": "place in the order that the labelled subsets are shuffled from; -1 outside train",
    "sha256": "of the source file",
}


class Store:
    """A finished frame store. Opens lazily, so it can be sent to worker processes.

    Raises `EchocycleError` where its files do not belong together.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        if not (self.path / "store.json").exists():
            partial = self.path.with_name(self.path.name + ".partial")
            raise EchocycleError(
                f"{self.path} is not a frame store"
                + (
                    ": its `prepare` was interrupted; run it again to resume it."
                    if partial.exists()
                    else ". Make one with `echocycle prepare VIDEOS STORE`."
                )
            )
        found = read_json(self.path / "store.json")
        if isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] != FORMAT:
            raise EchocycleError(
                f"{self.path} is a store of format {found['format']}; this version reads {FORMAT}. Prepare it again."
            )
        self.meta: dict[str, Any] = checked_json(self.path / "store.json", KINDS, self._remedy)
        self._check()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "meta": self.meta}

    @property
    def _remedy(self) -> str:
        return f"The store {self.path} is not whole, or was changed: copy it again, or delete it and prepare it again."

    def _check(self) -> None:
        """Compare store.json, the index and the sizes of the large files; reads no frame."""
        text = self._index_text()
        if self.meta["id"] not in _ids(text, self.meta["job"]["settings"]):
            raise EchocycleError(
                f"{self.path / 'index.csv'} is not the index that store.json names (its hash is not "
                f"{self.meta['id']}). {self._remedy}"
            )
        index, path, remedy = self.index, self.path / "index.csv", self._remedy
        if missing := [column for column in COLUMNS if column not in index]:
            raise EchocycleError(f"{path} has no column {missing[0]}. {remedy}")
        if len(index) != self.meta["videos"]:
            raise EchocycleError(f"{path} has {len(index)} videos; store.json says {self.meta['videos']}. {remedy}")
        frames = index["frames"].to_numpy()
        if frames.sum() != self.meta["frames"]:
            raise EchocycleError(f"{path} has {frames.sum()} frames; store.json says {self.meta['frames']}. {remedy}")
        if (index["offset"].to_numpy() != np.cumsum(frames) - frames).any() or (frames < 1).any():
            raise EchocycleError(f"{path}: the videos do not follow one another in frames.u8. {remedy}")
        if len(twice := index["name"][index["name"].duplicated()]):
            raise EchocycleError(f"{path} has two videos called {twice.iloc[0]}. {remedy}")
        if self.meta["size"] != SIZE:
            raise EchocycleError(f"{self.path / 'store.json'}: size is {self.meta['size']}, not {SIZE}. {remedy}")
        check_size(
            self.path / "frames.u8", frame_bytes(self.meta["frames"], self.color), "its frames take", self._remedy
        )
        expected = (len(index), 2, SIZE * SIZE // 8)
        if self._traces.shape != expected:
            raise EchocycleError(
                f"{self.path / 'traces.npy'} holds {self._traces.shape}; {expected} belong to the index. {remedy}"
            )

    def verify_frames(self) -> bool:
        """Read the large files and compare them with the checksums that `prepare` left.

        Returns:
            False for a store of an earlier version, which has none.

        Raises:
            EchocycleError: a file is not the one that was written.
        """
        if not (self.path / CHECKSUMS).exists():
            return False
        known = checked_json(self.path / CHECKSUMS, dict.fromkeys(SUMMED, str), self._remedy)
        for name, found in checksums(self.path).items():
            if found != known[name]:
                raise EchocycleError(
                    f"{self.path / name} is not the file that {CHECKSUMS} names (SHA-256 differs). {self._remedy}"
                )
        return True

    def _index_text(self) -> str:
        try:
            return (self.path / "index.csv").read_bytes().decode("utf-8")
        except FileNotFoundError:
            raise EchocycleError(f"{self.path / 'index.csv'} is missing. {self._remedy}") from None
        except UnicodeDecodeError as error:
            raise EchocycleError(f"{self.path / 'index.csv'} is damaged ({error}). {self._remedy}") from None

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a video, with the columns of `COLUMNS`."""
        text = {"name": str, "patient": str, "file": str, "affine": str}
        # a video may be called NA: only empty cells are missing values
        return pd.read_csv(io.StringIO(self._index_text()), dtype=text, keep_default_na=False, na_values=[""])

    @cached_property
    def _frames(self) -> np.ndarray:
        shape = (self.meta["frames"], SIZE, SIZE) + ((3,) if self.color else ())
        return np.memmap(self.path / "frames.u8", np.uint8, mode="r", shape=shape)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.index["offset"].to_numpy(), self.index["frames"].to_numpy()

    @cached_property
    def _traces(self) -> np.ndarray:
        return checked_array(self.path / "traces.npy", self._remedy, mapped=True)

    @property
    def color(self) -> bool:
        """Whether frames are RGB."""
        return bool(self.meta["color"])

    @property
    def phantom_version(self) -> int | None:
        """Version of the phantom that the videos come from; None for real videos."""
        version: int | None = self.meta.get("phantom_version")
        return version

    @property
    def time(self) -> str:
        """`frames`: every frame is there, whatever its rate; `seconds`: all videos were brought to one rate."""
        return str(self.meta["job"]["settings"].get("time", "frames"))

    def __len__(self) -> int:
        return len(self.index)

    def videos(self, split: str) -> np.ndarray:
        """Rows of the index that belong to a split."""
        return np.flatnonzero(self.index["split"] == split)

    def n_frames(self, video: int) -> int:
        """Decoded frames of a video."""
        return int(self._bounds[1][video])

    def frames(self, video: int) -> np.ndarray:
        """All frames of a video, uint8 (time, height, width[, 3]), memory-mapped."""
        start, length = self._bounds[0][video], self._bounds[1][video]
        return self._frames[start : start + length]

    def traced_masks(self, video: int) -> np.ndarray:
        """The traced ED and ES masks of a video, bool (2, height, width)."""
        bits = np.unpackbits(self._traces[video], axis=-1, count=SIZE * SIZE)
        return bits.reshape(2, SIZE, SIZE).astype(bool)

    def masks(self, name: str) -> MaskSet:
        """The mask set called `name`; those of a segmenter are found by `masks_of`.

        Raises `EchocycleError` where there is none, or where it is of another store.
        """
        folder = self.path / "masks" / name
        if not (folder / "masks.json").exists():
            have = mask_names(self.path)
            raise EchocycleError(
                f"{self.path} has no masks {name!r} (it has: {', '.join(have) or 'none'}). "
                "Make them with `echocycle mask STORE RUN`."
            )
        found = MaskSet(folder)
        found.check_store(self.meta["id"], self.index["frames"].to_numpy())
        return found

    def has_masks(self, name: str) -> bool:
        """Whether the store has a finished mask set called `name`."""
        return (self.path / "masks" / name / "masks.json").exists()

    def masks_of(self, segmenter: str) -> MaskSet | None:
        """The masks of the segmenter whose weights have this hash, whatever its run is called; None if there are none.

        Of several sets, as two copies of a run can leave, it is the one of most videos.
        """
        found = mask_sets(self.path, segmenter)
        return self.masks(found[0].name) if found else None

    def provenance(self) -> dict[str, Any]:
        """What a result must say about its data."""
        keys = ("id", "source", "color", "phantom_version", "videos", "frames")
        found = {key: self.meta.get(key) for key in keys}
        # runs of before there was a choice stay the same runs: frames are not named
        return found if self.time == "frames" else {**found, "time": self.time}


def mask_sets(store: Path, segmenter: str) -> list[Path]:
    """The folders of a segmenter's finished mask sets in a store, that of most videos first. No set is opened."""
    found = [(folder, meta) for folder, meta in _mask_sets(store) if meta.get("segmenter") == segmenter]
    return [folder for folder, _ in sorted(found, key=lambda each: (-int(each[1].get("videos") or 0), each[0].name))]


def _mask_sets(store: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every finished mask set and what its masks.json says."""
    for file in _mask_files(store):
        try:
            meta = read_json(file)
        except EchocycleError:
            if not file.exists():  # an experiment deletes the masks that it does not need any more
                continue
            raise
        if isinstance(meta, dict):
            yield file.parent, meta


def mask_names(store: Path) -> list[str]:
    """The names of a store's finished mask sets."""
    return [file.parent.name for file in _mask_files(store)]


def _mask_files(store: Path) -> list[Path]:
    """masks.json of every finished mask set."""
    return [file for file in sorted((store / "masks").glob("*/masks.json")) if file.parent.suffix != ".partial"]


def frame_bytes(frames: int, color: bool) -> int:
    """Bytes of so many frames."""
    return frames * SIZE * SIZE * (3 if color else 1)


def store_id(index: str, settings: dict[str, Any]) -> str:
    """A store's id: a hash of its index.csv and of the settings that it was prepared with."""
    return hashlib.sha256(f"{index}{settings}".encode()).hexdigest()[:12]


def _ids(index: str, settings: dict[str, Any]) -> set[str]:
    """The ids that a store may have; the first versions hashed the index alone, or settings with their tuples."""
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return {store_id(index, settings), store_id(index, tuples), hashlib.sha256(index.encode()).hexdigest()[:12]}


def checksums(store: Path) -> dict[str, str]:
    """SHA-256 of a store's large files."""
    return {name: sha256(store / name) for name in SUMMED}
