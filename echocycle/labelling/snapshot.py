"""What a training reads: a folder of the labels as they are now, which nobody changes afterwards."""

import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.files import write_json, write_text
from echocycle.labelling.desk import Desk
from echocycle.labelling.exports import COLUMNS, Labelled, contour_csv, labelled_videos, plain_row, table_text

FEWEST = {"train": 2, "val": 1}
"""Labelled patients that a training needs; few as they are, they are what makes it run, not what makes it good."""
WORTH = 20
"""Labelled videos below which the result is said to mean little."""


class TooFewLabelsError(EchocycleError):
    """A training needs more labels."""

    status = 409


@dataclass(frozen=True)
class Taken:
    """What a snapshot holds."""

    train: int
    """Labelled training videos."""
    val: int
    """Labelled validation videos: labels spent on choosing and on comparing."""
    test: int
    unlabelled: int

    def sentence(self) -> str:
        """In words."""
        told = f"{self.train} labelled videos to learn from, {self.val} to validate"
        told += f", {self.test} to test" if self.test else ""
        told += f", {self.unlabelled} without a label."
        few = self.train + self.val < WORTH
        return f"{told} With fewer than {WORTH} labels the result says little." if few else told


def take_snapshot(desk: Desk, folder: Path) -> Taken:
    """Write the labels of a project as a folder that `echocycle train` reads; recordings are linked, not copied.

    Patients that have a label and no split yet are given one, which they keep.

    Raises `TooFewLabelsError` where no training can be made of them; nothing is written then.
    """
    videos = [each for each in labelled_videos(desk) if each.ef is not None]
    groups = {each.video.group for each in videos}
    needed = sum(FEWEST.values())
    if len(groups) < needed:
        raise TooFewLabelsError(
            f"{len(groups)} patients have a video with ED and ES traced; a training needs {needed}, better {WORTH}. "
            "Trace more."
        )
    desk.project.draw_splits(groups)
    videos = [each for each in labelled_videos(desk) if each.ef is not None]
    patients = Counter({each.video.group: each.video.split for each in videos}.values())
    for split, fewest in FEWEST.items():
        if patients[split] < fewest:
            raise TooFewLabelsError(
                f"{patients[split]} labelled patients are in split {split}; a training needs {fewest}. Trace videos of "
                "other patients."
            )
    taken, unlabelled = {each.video.id for each in videos}, []
    for video in desk.project.videos.values():
        free = video.split in (None, "train") and video.id not in taken and desk.state(video.id) != "skipped"
        if free:
            unlabelled.append(video)
    rows = []
    for each in videos:
        file = _link(each.video.path, folder / "videos", each.video.id)
        write_text(folder / "contours" / f"{each.video.id}.csv", contour_csv(each.label))
        rows.append(plain_row(each, file, f"contours/{each.video.id}.csv"))
    for video in unlabelled:
        file = _link(video.path, folder / "videos", video.id)
        plain = {"File": file, "Patient": video.patient or "", "Split": "train", "State": "new"}
        rows.append({**dict.fromkeys(COLUMNS), **plain})
    write_text(folder / "videos.csv", table_text(COLUMNS, [[row[column] for column in COLUMNS] for row in rows]))
    splits = Counter(each.video.split for each in videos)
    said = Taken(splits["train"], splits["val"], splits["test"], len(unlabelled))
    truth = [_truth(each) for each in videos if each.video.split == "val"]
    about = {"format": 1, "journal": desk.journal.last, "taken": asdict(said), "validation": truth}
    write_json(folder / "snapshot.json", about)
    return said


def _truth(each: Labelled) -> dict[str, Any]:
    """What two models are compared by, in one validation video."""
    assert each.label.ed is not None
    assert each.label.es is not None
    return {
        "id": each.video.id,
        "name": each.video.name,
        "patient": each.video.group,
        "ef": each.ef,
        "ed": each.label.ed.as_json(),
        "es": each.label.es.as_json(),
    }


def _link(path: Path, folder: Path, video: str) -> str:
    """A name for a recording in a snapshot that leads to it, also when the whole project is moved; the file itself
    where the disk knows no links."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{video}{path.suffix.lower()}"
    if not link.exists():
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(path, folder))
        except (OSError, ValueError, NotImplementedError):
            shutil.copyfile(path, link)
    return f"videos/{link.name}"
