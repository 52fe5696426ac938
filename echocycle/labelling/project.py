"""A project: a folder of recordings that becomes labels, and what is kept in it.

FOLDER/
  ...                    recordings at any depth; or named in videos.txt, one file or folder a line
  videos.csv             optional, as layout `videos` has it: patients, splits, EF that are known
  project.json           format, splits by patient, the model in use
  labels/journal.jsonl   every action; labels/labels.csv and labels/contours/ are made from it
  labels/snapshots/      what each training read
  runs/  results/        trainings; what `predict` left
  cache/                 can be deleted at any time

A recording is known by its content, the first 16 digits of its SHA-256: a folder may be moved, files renamed.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echocycle.bundle_description import PACKAGED
from echocycle.checked import check_kinds
from echocycle.datasets.folders import recordings_below
from echocycle.datasets.lookup import is_recording
from echocycle.errors import EchocycleError
from echocycle.files import printable, read_json, sha256, write_json
from echocycle.labelling.patients import Listed, dicom_patient, listed_in

OWN = ("labels", "runs", "results", "cache")
"""Folders of a project that hold no recordings."""
PATHS = "videos.txt"
ID = 16
"""Digits of a SHA-256 that stand for a recording."""
FORMAT = 1


@dataclass(frozen=True)
class Video:
    """One recording of a project."""

    id: str
    path: Path
    name: str
    """The path below the folder; for one that lies elsewhere its path."""
    patient: str | None
    """None where nothing tells."""
    split: str | None
    """As listed, or as drawn for its patient; None while its patient has no label."""
    ef: float | None
    """As listed in videos.csv, percent."""

    @property
    def group(self) -> str:
        """What must not be torn apart by splits: the patient, or the video where no patient is known."""
        return self.patient or f"video {self.id}"


class Project:
    """A folder that is labelled."""

    def __init__(
        self, folder: Path, progress: Callable[[int, int], None] | None = None, *, may_be_empty: bool = False
    ) -> None:
        """Read what lies in a folder; every recording that is new is read once for its hash.

        Raises `EchocycleError`: no folder, no recording, a project of another format.
        """
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise EchocycleError(f"{folder} is no folder. Name the folder that holds the recordings.")
        self.warnings: list[str] = []
        self._kept = _Kept(self.folder / "project.json")
        self.videos: dict[str, Video] = {}
        self._scan(progress, may_be_empty)

    @property
    def name(self) -> str:
        """The folder's name."""
        return printable(self.folder.name)

    # ---------------------------------------------------------------------------------------- recordings

    def _scan(self, progress: Callable[[int, int], None] | None, may_be_empty: bool) -> None:
        paths = list(dict.fromkeys(self._recordings()))
        if not paths and not may_be_empty:
            raise EchocycleError(
                f"{self.folder} holds no recording. Put DICOM cines or video files there, or name them in {PATHS}, "
                "one a line."
            )
        listed, said = listed_in(self.folder, [path for path in paths if path.is_relative_to(self.folder)])
        self.warnings += said
        digests = _Digests(self.folder / "cache" / "index.json")
        twice: list[str] = []
        for number, path in enumerate(paths, 1):
            try:
                digest, patient = digests.of(path, self._key(path), self._kept.salt)
            except OSError as error:
                self.warnings.append(f"{printable(self._key(path))} cannot be read ({error.strerror}).")
                continue
            name = printable(self._key(path))
            if digest[:ID] in self.videos:
                twice.append(name)
                continue
            said_of = listed.get(path, Listed())
            video = Video(digest[:ID], path, name, said_of.patient or patient or None, None, said_of.ef)
            split = said_of.split or self._kept.splits.get(video.group)
            self.videos[video.id] = replace(video, split=split)
            if progress is not None:
                progress(number, len(paths))
        digests.save()
        if twice:
            self.warnings.append(
                f"{len(twice)} files have the same content as another one and are left out (first: {twice[0]})."
            )
        unknown = sum(video.patient is None for video in self.videos.values())
        if unknown:
            self.warnings.append(
                f"Of {unknown} videos the patient is not known, so each counts as a patient of its own. Where a "
                "patient has several, name the patients in videos.csv (columns file and patient)."
            )

    def _recordings(self) -> Iterator[Path]:
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            path = self.folder / entry.name
            if entry.name.startswith(".") or entry.name in OWN:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(path)
            elif entry.is_file() and path.suffix.lower() not in (".csv", ".txt", ".json") and is_recording(path):
                yield path
        for line in self.path_list():
            path = self.folder / line  # an absolute path stays itself
            if path.is_dir():
                yield from (Path(os.path.abspath(each)) for each in self._below(path))
            elif path.is_file():
                yield Path(os.path.abspath(path))
            else:
                self.warnings.append(
                    f"{PATHS} names {printable(line)}, which is not there. `echocycle relink` finds it."
                )

    def _below(self, folder: Path) -> Iterator[Path]:
        """Recordings that are files of their own; what lies in a zip cannot be linked to by its content."""
        paths, problems = recordings_below(folder)
        self.warnings += [printable(each.problem) for each in problems if each.problem]
        packed = [path for path in paths if not path.is_file()]
        if packed:
            self.warnings.append(
                f"{len(packed)} recordings lie in zip archives (first: {printable(self._key(packed[0]))}). Unpack them "
                "to label them."
            )
        yield from (path for path in paths if path.is_file())

    def path_list(self) -> list[str]:
        """The lines of videos.txt; empty ones and those that begin with # are passed over."""
        file = self.folder / PATHS
        if not file.exists():
            return []
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise EchocycleError(f"{file} is not text in UTF-8. Save it again as UTF-8.") from None
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def _key(self, path: Path) -> str:
        """A recording's path below the folder, or its whole path."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.as_posix()

    # ---------------------------------------------------------------------------------------- what is kept

    def draw_splits(self, groups: set[str], share: float = 0.3) -> None:
        """Give a split to each patient of `groups` that has none, and keep it: once drawn, it stays for ever.

        Patients come in an order that their names decide, and each goes to whichever of train and val is behind.

        Args:
            share: of the labelled patients that go to validation.
        """
        fixed = {video.group: video.split for video in self.videos.values() if video.split is not None}
        taken = [fixed[group] for group in groups if group in fixed]
        drawn = self._kept.splits
        for group in sorted(groups - set(fixed), key=lambda name: hashlib.sha256(name.encode()).digest()):
            behind = share * (len(taken) + 1) - sum(split == "val" for split in taken)
            drawn[group] = "val" if behind >= 0.5 else "train"
            taken.append(drawn[group])
        self._kept.save()
        for video in list(self.videos.values()):
            if video.split is None and video.group in drawn:
                self.videos[video.id] = replace(video, split=drawn[video.group])

    @property
    def model(self) -> str:
        """The model in use: a path below the folder, another path, or the name of a model of the package."""
        return self._kept.model

    def use(self, model: str) -> None:
        """Take a model and keep it."""
        self._kept.model = model
        self._kept.save()

    def model_path(self, model: str | None = None) -> Path:
        """Where a model lies. A name of the package is that also where a folder of this name lies in the project."""
        name = self.model if model is None else model
        if name in PACKAGED:
            return PACKAGED[name]
        inside = self.folder / name
        return inside if inside.exists() else Path(name)

    def inside(self, *parts: str) -> Path:
        """A path below the folder; what leads out of it is an `EchocycleError`."""
        path = self.folder.joinpath(*parts)
        if not path.resolve().is_relative_to(self.folder) or any("\0" in part for part in parts):
            raise EchocycleError("This path leads out of the project.")
        return path


class _Kept:
    """project.json."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.splits: dict[str, str] = {}
        self.model = "zero"
        self.salt = secrets.token_hex(8)
        if not path.exists():
            self.save()  # the salt must stay: patients are known by it
            return
        content = read_json(path)
        remedy = f"Restore {path}, or delete it: labels stay, splits are drawn anew."
        kinds = {"format": int, "splits": dict, "model": str, "salt": str}
        check_kinds(content, kinds, f"{path}: ", remedy)
        if content["format"] != FORMAT:
            raise EchocycleError(f"{path} is a project of format {content['format']}; this version reads {FORMAT}.")
        if not all(split in ("train", "val", "test") for split in content["splits"].values()):
            raise EchocycleError(f"{path}: a split is none of train, val, test. {remedy}")
        self.splits, self.model, self.salt = content["splits"], content["model"], content["salt"]

    def save(self) -> None:
        content: dict[str, Any] = {"format": FORMAT, "model": self.model, "salt": self.salt, "splits": self.splits}
        write_json(self.path, content)


class _Digests:
    """SHA-256 of files, kept by path, size and time of change, so that each is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before: dict[str, list[Any]] = {}
        self.now: dict[str, list[Any]] = {}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(before, dict):
                self.before = before
        except (OSError, ValueError):  # it is a cache: what cannot be read is made again
            pass

    def of(self, path: Path, key: str, salt: str) -> tuple[str, str]:
        """SHA-256 of a file and the patient that its header names, as a number that says nothing; "" where none."""
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns]
        entry = self.before.get(key)
        if not (isinstance(entry, list) and len(entry) == 4 and entry[:2] == state):
            entry = [*state, sha256(path), dicom_patient(path, salt)]
        self.now[key] = entry
        return str(entry[2]), str(entry[3])

    def save(self) -> None:
        if self.now != self.before:
            write_json(self.path, self.now)
