"""What counts as a recording, and what its results are called."""

import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import cine, directory, save

from echocycle.errors import EchocycleError
from echocycle.inference.inputs import LONGEST_NAME, find_inputs
from echocycle.recordings import find

AVI = b"RIFF....AVI LIST"


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(AVI)


def names(inputs: list[Path], out: Path) -> list[str]:
    found, failures = find_inputs(inputs, out)
    assert failures == []
    return [each.name for each in found]


def test_results_mirror_the_folders(tmp_path: Path) -> None:
    make(tmp_path / "in", "clip.avi", "b/clip.avi", "a/deep/clip.avi", "a/no suffix")
    (tmp_path / "in" / "a" / "notes.txt").write_text("text")
    found, _ = find_inputs([tmp_path / "in"], tmp_path / "out")
    assert [each.name for each in found] == ["a/deep/clip.avi", "a/no suffix", "b/clip.avi", "clip.avi"]
    assert [each.path for each in found] == [tmp_path / "in" / each.name for each in found]
    assert names([tmp_path / "in" / "b" / "clip.avi"], tmp_path / "out") == ["clip.avi"]


def test_names_that_would_be_the_same_get_the_folders_above(tmp_path: Path) -> None:
    make(tmp_path, "p/1/clip.avi", "p/2/clip.avi", "q/2/clip.avi", "q/2/other.avi")
    inputs = [tmp_path / "p" / "1", tmp_path / "p" / "2", tmp_path / "q" / "2"]
    assert names(inputs, tmp_path / "out") == ["1/clip.avi", "p/2/clip.avi", "q/2/clip.avi", "other.avi"]
    files = [tmp_path / "p" / "1" / "clip.avi", tmp_path / "p" / "2" / "clip.avi"]
    assert names(files, tmp_path / "out") == ["1/clip.avi", "2/clip.avi"]
    assert names([files[0], files[0], tmp_path / "p" / "1"], tmp_path / "out") == ["clip.avi"]  # once, of one file
    make(tmp_path / "case", "A/x.avi", "a/X.AVI")
    assert len({name.casefold() for name in names([tmp_path / "case"], tmp_path / "out")}) == 2


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.avi", ".b.avi", ".trash/c.avi", "deeper/.hidden/d/e.avi")
    assert names([tmp_path / "in"], tmp_path / "out") == ["a.avi"]
    make(tmp_path, ".archive/in/a.avi")  # what is hidden above the folder that was named is the user's business
    assert names([tmp_path / ".archive" / "in"], tmp_path / "out") == ["a.avi"]


def test_what_lies_in_the_output_folder_is_no_input(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make(folder, "a.avi", "results/a.avi.overlay.mp4", "results/left.avi", "old/a.avi.overlay.mp4", "mine.overlay.mp4")
    (folder / "old" / "a.avi.json").write_text("{}")
    make(folder, "run/clip.avi", "store/clip.avi")  # what training left is no input
    (folder / "run" / "run.json").touch()
    (folder / "store" / "store.json").touch()
    assert names([folder], folder / "results") == ["a.avi", "mine.overlay.mp4"]
    (folder / "link").symlink_to(folder / "results")
    assert names([folder], folder / "results") == ["a.avi", "mine.overlay.mp4"]
    assert names([folder], tmp_path / "in" / "old" / ".." / "results") == ["a.avi", "mine.overlay.mp4"]
    # results beside the recordings: the folder is both
    (folder / "a.avi.json").write_text("{}")
    make(folder, "a.avi.overlay.mp4")
    assert names([folder / "a.avi"], folder) == ["a.avi"]
    assert names([folder], folder) == ["a.avi", "mine.overlay.mp4", "results/a.avi.overlay.mp4", "results/left.avi"]
    found, [failure] = find_inputs([folder / "a.avi.overlay.mp4"], folder)
    assert found == []
    assert "name the recording itself" in failure.message


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "in", "real.avi", "z/inside.avi")
    make(tmp_path / "elsewhere", "linked.avi")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "a link").symlink_to(tmp_path / "in" / "z")  # the real folder gives the name
    (tmp_path / "in" / "z" / "up").symlink_to(tmp_path / "in")  # a loop
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    assert names([tmp_path / "in"], tmp_path / "out") == ["again/linked.avi", "real.avi", "z/inside.avi"]
    both = [tmp_path / "in", tmp_path / "elsewhere"]
    assert names(both, tmp_path / "out") == ["real.avi", "z/inside.avi", "linked.avi"]  # as above


def test_a_link_whose_file_was_not_fetched_is_not_passed_over(tmp_path: Path) -> None:
    make(tmp_path / "in", "a.avi")
    (tmp_path / "in" / "b.avi").symlink_to(tmp_path / "annex" / "object")
    (tmp_path / "in" / "README").symlink_to(tmp_path / "annex" / "text")
    found, [failure] = find_inputs([tmp_path / "in"], tmp_path / "out")
    assert [each.name for each in found] == ["a.avi"]
    assert "b.avi is a link to something that is gone" in failure.message


def test_what_cannot_be_opened_or_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "in", "a.avi", "locked", "closed/b.avi")

    def refusing(path: Path) -> bool:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return path.suffix == ".avi"

    original = os.scandir

    def refusing_to_list(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(find, "may_be_recording", refusing)
    monkeypatch.setattr(os, "scandir", refusing_to_list)
    found, failures = find_inputs([tmp_path / "in"], tmp_path / "out")
    assert [each.name for each in found] == ["a.avi"]
    assert [failure.kind for failure in failures] == ["refused", "refused"]
    assert "closed cannot be opened (Permission denied)" in failures[0].message
    assert "locked cannot be read (Permission denied)" in failures[1].message


def test_nothing_to_predict(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make(tmp_path / "in", "a.avi")
    with pytest.raises(EchocycleError, match="Name at least one recording"):
        find_inputs([], tmp_path / "out")
    with pytest.raises(EchocycleError, match="holds no recording"):
        find_inputs([tmp_path / "empty"], tmp_path / "out")
    found, [failure] = find_inputs([tmp_path / "empty", tmp_path / "in"], tmp_path / "out")
    assert [each.name for each in found] == ["a.avi"]  # one empty folder among others stops nothing
    assert "empty holds no recording" in failure.message


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="their file systems take Unicode names only")
def test_names_are_short_and_readable(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/in"
    os.mkdir(folder)
    for name in (b"Z\xfcrich.avi", b"x" * 250, b"x" * 249 + b"y", b"line\nend.avi"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(AVI)
    found, _ = find_inputs([tmp_path / "in"], tmp_path / "out")
    made = [each.name for each in found]
    assert sorted(made)[0] == r"Z\udcfcrich.avi"
    assert r"line\nend.avi" in made
    assert len(set(made)) == 4
    assert all(len(name.encode()) <= LONGEST_NAME for name in made)
    assert all(each.source.isprintable() for each in found)


def test_members_of_zips_and_files_of_a_dicomdir(tmp_path: Path) -> None:
    """Results are named by archive and member; recordings of the same name in two archives stay apart."""
    for folder in ("p1", "p2"):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "study.zip", "w") as archive:
            archive.writestr("A/IM_0001.avi", AVI)
    assert names([tmp_path], tmp_path / "out") == ["p1/study.zip!/A/IM_0001.avi", "p2/study.zip!/A/IM_0001.avi"]
    both = [tmp_path / "p1" / "study.zip", tmp_path / "p2" / "study.zip"]
    assert names(both, tmp_path / "out") == ["p1/study.zip!/A/IM_0001.avi", "p2/study.zip!/A/IM_0001.avi"]
    assert names(both[:1], tmp_path / "out") == ["study.zip!/A/IM_0001.avi"]


@pytest.mark.filterwarnings("ignore:.*VR CS")
def test_files_that_a_dicomdir_lists(tmp_path: Path) -> None:
    """Named by their place on the medium; a listed file that is not there is told."""
    save(cine(np.zeros((8, 32, 40), np.uint8)), tmp_path / "IMAGES" / "IM_0001")
    path = directory(tmp_path / "DICOMDIR", ["IMAGES", "IM_0001"], ["IMAGES", "GONE"])
    for given in (path, tmp_path):
        found, [failure] = find_inputs([given], tmp_path / "out")
        assert [each.name for each in found] == ["IMAGES/IM_0001"]
        assert "lists IMAGES/GONE, which is not there" in failure.message
