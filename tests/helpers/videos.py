"""Folders of a few phantom videos in EchoNet-Dynamic's layout, to alter and to prepare."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echocycle.datasets.prepare import prepare_store
from echocycle.settings.stages import PrepareSettings


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def some_videos(phantom: Path, folder: Path, count: int = 5, *, truth: bool = False) -> Path:
    """A folder with the first few videos of the phantom; without `truth` nothing tells that they are synthetic."""
    listed = rows_of(phantom / "FileList.csv")[:count]
    names = {row["FileName"] for row in listed}
    traced = [row for row in rows_of(phantom / "VolumeTracings.csv") if row["FileName"].removesuffix(".avi") in names]
    (folder / "Videos").mkdir(parents=True)
    write_rows(folder / "FileList.csv", listed)
    write_rows(folder / "VolumeTracings.csv", traced)
    for name in names:
        shutil.copy(phantom / "Videos" / f"{name}.avi", folder / "Videos")
    if truth:
        shutil.copy(phantom / "phantom.json", folder)
        shutil.copytree(phantom / "Truth", folder / "Truth")
    return folder


def change_rows(path: Path, change: Callable[[dict[str, str]], dict[str, Any]]) -> None:
    write_rows(path, [change(row) for row in rows_of(path)])


def content(store: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(file.relative_to(store)): file.read_bytes() for file in sorted(store.rglob("*")) if file.is_file()}


def names_in(phantom: Path) -> list[str]:
    return [row["FileName"] for row in rows_of(phantom / "FileList.csv")]


def damage(path: Path) -> None:
    """Cut the last quarter off."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])


def few_videos(phantom: Path, root: Path) -> tuple[Path, dict[str, bytes]]:
    """A folder of four phantom videos, one of them damaged, and the content of its store."""
    folder = some_videos(phantom, root / "videos", 4, truth=True)
    damage(folder / "Videos" / f"{names_in(folder)[2]}.avi")
    return folder, content(prepare_store(folder, root / "store", PrepareSettings(workers=0)).path)
