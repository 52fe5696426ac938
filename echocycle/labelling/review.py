"""What `predict` left below results/: one row a recording, and of one the contours of every beat, to be looked at."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.files import printable
from echocycle.labelling.curve import contour_of_mask
from echocycle.labelling.desk import Desk
from echocycle.labelling.project import ID
from echocycle.prediction import Prediction
from echocycle.writers.as_csv import NAME as TABLE
from echocycle.writers.as_json import as_dictionary, read_prediction


class NoResultError(EchocycleError):
    """There is no such result."""

    status = 404


class Reviews:
    """The results of a project."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._folder = desk.project.folder / "results"
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[int, dict[str, Any] | None]] = {}

    def all(self) -> list[dict[str, Any]]:
        """Folders of results, by name."""
        return [{"result": folder.name, "predictions": len(self._paths(folder))} for folder in self._folders()]

    def rows(self, result: str, offset: int, limit: int) -> dict[str, Any]:
        """Rows of one result, in the order of names."""
        folder = self._folder_of(result)
        paths = self._paths(folder)
        rows = [row for path in paths if (row := self._row(folder, path)) is not None]
        return {"total": len(rows), "offset": offset, "rows": rows[offset : offset + limit]}

    def has(self, result: str, stem: str) -> bool:
        """Whether there is such a prediction."""
        return any(folder.name == result and self._path(folder, stem) is not None for folder in self._folders())

    def details(self, result: str, stem: str) -> dict[str, Any]:
        """The JSON of `predict`, the video's id, and the contours of ED and ES of each beat in pixels of the recording.

        Raises `NoResultError`.
        """
        folder = self._folder_of(result)
        path = self._path(folder, stem)
        found = None if path is None else read_prediction(path)
        if path is None or found is None:
            raise NoResultError("There is no such prediction in this result.")
        return {
            **as_dictionary(found),
            "stem": stem,
            "id": self._id(found.sha256),
            "reviewed": self._desk.labels.reviewed.get((result, stem)),
            "contours": _contours(found, path.with_name(f"{path.name.removesuffix('.json')}.masks.npz")),
        }

    # ---------------------------------------------------------------------------------------------- the files

    def _folders(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(each for each in self._folder.iterdir() if (each / TABLE).exists() and each.name[0] != ".")

    def _folder_of(self, result: str) -> Path:
        for folder in self._folders():
            if folder.name == result:
                return folder
        raise NoResultError("There is no such result below results/.")

    def _paths(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*.json") if not path.name.startswith("."))

    def _path(self, folder: Path, stem: str) -> Path | None:
        """The JSON of a recording; only what is listed is opened, so no stem leads out of the folder."""
        wanted = f"{stem}.json"
        return next((path for path in self._paths(folder) if path.relative_to(folder).as_posix() == wanted), None)

    def _row(self, folder: Path, path: Path) -> dict[str, Any] | None:
        changed = path.stat().st_mtime_ns
        with self._lock:
            kept = self._read.get(path)
        if kept is None or kept[0] != changed:
            kept = changed, _short(path)
            with self._lock:
                self._read[path] = kept
        if kept[1] is None:
            return None
        row = {key: value for key, value in kept[1].items() if key != "sha256"}
        stem = path.relative_to(folder).as_posix().removesuffix(".json")
        reviewed = self._desk.labels.reviewed.get((folder.name, stem))
        return {**row, "stem": stem, "id": self._id(kept[1]["sha256"]), "reviewed": reviewed}

    def _id(self, digest: str | None) -> str | None:
        """The video of the project that was predicted, if it is one."""
        return digest[:ID] if digest is not None and digest[:ID] in self._desk.project.videos else None


def _short(path: Path) -> dict[str, Any] | None:
    """A prediction's row; None where the file is none."""
    try:
        found = read_prediction(path)
    except EchocycleError:
        return None
    if found is None:
        return None
    flags = [*([found.not_measured] if found.not_measured else []), *found.warnings, *found.notes]
    return {
        "source": printable(found.source),
        "ef": found.ef,
        "ef_by_discs": found.ef_by_discs,
        "flags": list(dict.fromkeys(flags)),
        "sha256": found.sha256,
    }


def _contours(found: Prediction, masks: Path) -> list[dict[str, Any]]:
    """ED and ES of each beat; None where the mask is empty. An empty list without masks."""
    try:
        with masks.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            stack, affine = kept["masks"], kept["affine"]
    except Exception:  # there is none, or it is damaged in one of numpy's many ways: the numbers are shown alone
        return []

    def contour(frame: int) -> dict[str, Any] | None:
        made = contour_of_mask(stack[frame].astype(np.float32) / 255, frame) if 0 <= frame < len(stack) else None
        return None if made is None else made.moved(affine).as_json()

    beats = zip(found.ed_frames, found.es_frames, strict=False)
    return [{"ed": contour(ed), "es": contour(es)} for ed, es in beats]
