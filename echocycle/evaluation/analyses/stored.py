"""The arrays that an analysis leaves beside a run: a file for each video, so that a killed analysis is resumed.

RUN/analyses/NAME/
  job.json       settings, model, store: another job begins anew
  000012.npz     what was found of the video in row 12 of the store's index
  summary.npz    what is made of all videos together (where an analysis has that)
  analysis.json  written last: the job, the videos in order
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.checked import checked_json
from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import read_json, replacing, sweep, write_json
from echocycle.locks import alone_in
from echocycle.partial import as_json
from echocycle.progress import track

Arrays = dict[str, np.ndarray]
SEAL = "analysis.json"


class Analysed:
    """A finished analysis, read piece by piece."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        remedy = f"Delete {self.folder} and run `echocycle analyse` again."
        self.meta: dict[str, Any] = checked_json(self.folder / SEAL, {"job": dict, "videos": list, "name": str}, remedy)
        self._remedy = remedy

    @property
    def name(self) -> str:
        """Which analysis it is."""
        return str(self.meta["name"])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that it was made with."""
        found: dict[str, Any] = self.meta["job"].get("settings", {})
        return found

    def pieces(self) -> Iterator[tuple[str, Arrays]]:
        """Each video's name and arrays, in order."""
        for row, name in self.meta["videos"]:
            yield str(name), self._read(piece_name(row))

    def summary(self) -> Arrays:
        """What was made of all videos together; empty where there is nothing of the kind."""
        return self._read("summary.npz") if (self.folder / "summary.npz").exists() else {}

    def _read(self, name: str) -> Arrays:
        try:
            with np.load(self.folder / name, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (OSError, ValueError, EOFError) as error:
            raise EchocycleError(f"{self.folder / name} cannot be read ({error}). {self._remedy}") from None


def piece_name(row: int) -> str:
    """The file of the video in this row of the index."""
    return f"{int(row):06d}.npz"


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Arrays as one compressed file, whole or not at all."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def make(
    folder: Path,
    name: str,
    job: dict[str, Any],
    videos: Sequence[tuple[int, str]],
    piece: Callable[[int], Arrays | None],
    summary: Callable[[Analysed], Arrays] | None = None,
) -> Analysed:
    """Make an analysis, or resume it; one that is finished is only opened.

    Args:
        folder: where it goes.
        job: what its result depends on, as JSON takes it.
        videos: rows and names of the videos to look at, in order.
        piece: makes one video's arrays; None where the video has nothing to look at.
        summary: makes what belongs to all videos, once they are there.
    """
    job = as_json({"name": name, "videos": [row for row, _ in videos], **job})
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        if _is_of(folder / SEAL, job):
            console.print(f"{folder} is already done.", soft_wrap=True)
            return Analysed(folder)
        if not _is_of(folder / "job.json", job):
            _empty(folder)
            write_json(folder / "job.json", {"job": job})
        sweep(folder)
        kept: list[tuple[int, str]] = []
        with track(f"Analysing: {name}") as progress:
            for number, (row, video) in enumerate(videos, 1):
                file, nothing = folder / piece_name(row), folder / f"{int(row):06d}.none"
                if not file.exists() and not nothing.exists():
                    arrays = piece(row)
                    nothing.touch() if arrays is None else write_arrays(file, arrays)
                if file.exists():
                    kept.append((int(row), video))
                progress(number, len(videos))
        if not kept:
            raise EchocycleError(
                f"None of the {len(videos)} videos has what the analysis `{name}` looks at (traced frames, or frames "
                "enough). Choose another --split."
            )
        meta = {"job": job, "name": name, "videos": kept, "left_out": len(videos) - len(kept)}
        if summary is not None:
            write_json(folder / SEAL, meta)  # so that it can be read; without the summary it is not whole
            write_arrays(folder / "summary.npz", summary(Analysed(folder)))
        write_json(folder / SEAL, {**meta, "whole": True})
    return Analysed(folder)


def _is_of(file: Path, job: dict[str, Any]) -> bool:
    """Whether a file names this very job (and, where it closes an analysis, that it is whole)."""
    if not file.exists():
        return False
    content = read_json(file)
    return content.get("job") == job and (file.name != SEAL or content.get("whole") is True)


def _empty(folder: Path) -> None:
    """Drop what another job left."""
    left = [item for item in folder.glob("*") if item.suffix in (".npz", ".json", ".none")]
    if left:
        console.print(f"{folder} is of another model, store or settings; it is made again.", soft_wrap=True)
    for item in left:
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def analyses_of(folder: Path) -> dict[str, Analysed]:
    """The finished analyses in RUN/analyses, by name."""
    found = {}
    for seal in sorted(Path(folder).glob(f"*/{SEAL}")):
        if read_json(seal).get("whole") is True:
            found[seal.parent.name] = Analysed(seal.parent)
    return found
