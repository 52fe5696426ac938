"""The frame store: every video decoded once, as memory-mapped 8-bit frames under one index.

STORE/
  store.json     format, size, colour, where from, phantom version, settings
  index.csv      one row a video, see COLUMNS
  frames.u8      all frames one after the other, (frames, height, width) or (frames, height, width, 3)
  traces.npy     the traced ED and ES masks, (videos, 2, bytes), bit-packed
  report.json    what was found wrong in the data, and what was done about it
  masks/<id>/    mask sets (data/masks.py); `truth` is the phantom's own
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocycle.data.mask_set import MaskSet
from echocycle.errors import EchocycleError
from echocycle.files import read_json

FORMAT = 1
SIZE = 112
"""Height and width of stored frames in pixels."""

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
    """A finished frame store. Opens lazily, so it can be sent to worker processes."""

    def __init__(self, path: Path):
        self.path = Path(path)
        if not (self.path / "store.json").exists():
            partial = self.path.with_name(self.path.name + ".partial")
            raise EchocycleError(
                f"{self.path} is not a frame store"
                + (
                    ": its `prepare` was interrupted; run it again and it goes on."
                    if partial.exists()
                    else ". Make one with `echocycle prepare VIDEOS STORE`."
                )
            )
        self.meta: dict[str, Any] = read_json(self.path / "store.json")
        if self.meta["format"] != FORMAT:
            raise EchocycleError(
                f"{self.path} is a store of format {self.meta['format']}; this version reads {FORMAT}. "
                "Prepare it again."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "meta": self.meta}

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a video, with the columns of `COLUMNS`."""
        text = {"name": str, "patient": str, "file": str, "affine": str}
        # a video may be called NA: only empty cells are missing values
        return pd.read_csv(self.path / "index.csv", dtype=text, keep_default_na=False, na_values=[""])

    @cached_property
    def _frames(self) -> np.ndarray:
        shape = (self.meta["frames"], SIZE, SIZE) + ((3,) if self.color else ())
        return np.memmap(self.path / "frames.u8", np.uint8, mode="r", shape=shape)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.index["offset"].to_numpy(), self.index["frames"].to_numpy()

    @cached_property
    def _traces(self) -> np.ndarray:
        return np.load(self.path / "traces.npy", mmap_mode="r")

    @property
    def color(self) -> bool:
        """Whether frames are RGB."""
        return bool(self.meta["color"])

    @property
    def phantom_version(self) -> int | None:
        """Version of the phantom that the videos come from; None for real videos."""
        version: int | None = self.meta.get("phantom_version")
        return version

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
        """The mask set called `name`."""
        folder = self.path / "masks" / name
        if not (folder / "masks.json").exists():
            have = sorted(p.parent.name for p in (self.path / "masks").glob("*/masks.json"))
            raise EchocycleError(
                f"{self.path} has no masks {name!r} (it has: {', '.join(have) or 'none'}). "
                "Make them with `echocycle mask STORE RUN`."
            )
        return MaskSet(folder)

    def has_masks(self, name: str) -> bool:
        """Whether the store has a finished mask set called `name`."""
        return (self.path / "masks" / name / "masks.json").exists()

    def provenance(self) -> dict[str, Any]:
        """What a result must say about its data."""
        keys = ("id", "source", "color", "phantom_version", "videos", "frames")
        return {key: self.meta.get(key) for key in keys}
