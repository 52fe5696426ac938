"""The same video twice is found, whatever it is called and however it was exported."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.fan import fan

from echocycle.datasets.duplicates import NEAR, find_identical_files, find_near_duplicates, fingerprint
from echocycle.datasets.findings import FindingList
from echocycle.datasets.open import open_source
from echocycle.recordings.video import read_video, write_mp4
from echocycle.settings.stages import PrepareSettings


def test_identical_files_are_an_error_across_splits_and_a_warning_within(tmp_path: Path) -> None:
    contents = {"a": b"one", "b": b"two", "c": b"one", "d": b"three", "e": b"three", "f": b"", "g": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    findings = FindingList()
    splits = ["train", "train", "test", "val", "val", "train", "test"]
    find_identical_files(list(contents), [tmp_path / name for name in contents], splits, findings)
    found = [(finding.level, finding.kind, finding.names) for finding in findings.sorted()]
    assert found == [
        ("error", "identical-files-in-splits", ("a", "c")),
        ("warning", "identical-files", ("d", "e")),
    ]


def test_a_folder_with_one_video_under_two_names(phantom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "Videos").mkdir()
    video = sorted((phantom_folder / "Videos").iterdir())[0]
    for name in ("a", "b"):
        shutil.copy(video, tmp_path / "Videos" / f"{name}.avi")
    (tmp_path / "FileList.csv").write_text("FileName,EF,Split\na,50,TRAIN\nb,50,TEST\n")
    source = open_source(tmp_path, PrepareSettings())
    assert "identical-files-in-splits" in [finding.kind for finding in source.findings if finding.level == "error"]


def phantom_clips(folder: Path, count: int = 8) -> list[np.ndarray]:
    return [read_video(path).frames for path in sorted((folder / "Videos").iterdir())[:count]]


def test_copies_are_near_and_patients_far(phantom_folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    clips = phantom_clips(phantom_folder)
    prints = [fingerprint(clip) for clip in clips]
    nearest = min(float(np.linalg.norm(a - b)) for i, a in enumerate(prints) for b in prints[:i])
    assert nearest > 2 * NEAR
    frames = clips[0]
    write_mp4(tmp_path / "a.mp4", frames, 50)
    copies = {
        "encoded again": read_video(tmp_path / "a.mp4").frames,
        "brighter": np.clip(frames * 1.2 + 10, 0, 255).astype(np.uint8),
        "begins later": frames[8:],
        "every second frame": frames[::2],
        "in colour": frames[..., None].repeat(3, axis=-1),
        "smaller": np.stack([np.asarray(Image.fromarray(frame).resize((96, 96))) for frame in frames]),
    }
    for what, copy in copies.items():
        assert np.linalg.norm(fingerprint(copy) - prints[0]) < NEAR, what


def test_near_duplicates_count_across_splits_only(phantom_folder: Path) -> None:
    clips = phantom_clips(phantom_folder, 3)
    prints = [*map(fingerprint, clips), fingerprint(clips[0][5:]), fingerprint(clips[1][5:])]
    names = ["a", "b", "c", "a2", "b2"]
    (found,) = find_near_duplicates(names, ["train", "train", "val", "test", "train"], prints)
    assert (found.level, found.kind, found.names) == ("warning", "near-duplicates-in-splits", ("a", "a2"))
    assert "First: a (train) and a2 (test)" in found.message
    assert find_near_duplicates(names[:3], ["train", "val", "test"], prints[:3]) == []
    assert find_near_duplicates(["a"], ["train"], prints[:1]) == []


@pytest.mark.parametrize("shape", [(3, 8, 9), (1, 112, 112), (5, 300, 40)])
def test_pictures_of_any_size_and_black_ones_have_a_fingerprint(shape: tuple[int, int, int]) -> None:
    assert np.isfinite(fingerprint(np.zeros(shape, np.uint8))).all()
    assert np.isfinite(fingerprint(fan(*shape)[0])).all()
