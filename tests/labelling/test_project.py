"""A project's recordings: known by content, found again, split by patient once and for ever."""

import json
import shutil

import pytest
from helpers.labelling import fake_videos, opened
from helpers.recording_files import beating_fan, cine, save

from echocycle.bundle_description import PACKAGED
from echocycle.errors import EchocycleError, Finding
from echocycle.files import sha256
from echocycle.labelling import commands, project
from echocycle.labelling.journal import Journal
from echocycle.labelling.project import Project
from echocycle.labelling.relinked import find_again


def ids(found: Project) -> dict[str, str]:
    return {video.name: video.id for video in found.videos.values()}


def test_recordings_are_known_by_content(tmp_path):
    folder = fake_videos(tmp_path / "clinic" / "a", 3).parent
    found = Project(folder)
    assert found.name == "clinic"
    assert sorted(ids(found)) == [f"a/clip_0000{n}.avi" for n in range(3)]
    for video in found.videos.values():
        assert video.id == sha256(video.path)[:16]


def test_own_folders_hidden_files_and_tables_are_no_recordings(tmp_path):
    folder = fake_videos(tmp_path, 1)
    for own in ("labels", "runs", "results", "cache", ".hidden"):
        fake_videos(folder / own, 2)
    (folder / "notes.csv").write_text("file\nx\n")
    assert len(Project(folder).videos) == 1


def test_a_folder_called_zero_is_not_taken_for_the_model(tmp_path):
    folder = fake_videos(tmp_path / "clinic" / "zero", 1).parent
    with opened(folder) as parts:
        assert parts.proposals.model == "zero"
        assert parts.desk.project.model_path() == PACKAGED["zero"]


def test_a_folder_without_recordings_is_told(tmp_path):
    with pytest.raises(EchocycleError, match="holds no recording"):
        Project(tmp_path)
    with pytest.raises(EchocycleError, match="is no folder"):
        Project(tmp_path / "absent")


def test_each_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    folder = fake_videos(tmp_path, 3)
    first = ids(Project(folder))
    hashed = []
    monkeypatch.setattr(project, "sha256", lambda path: hashed.append(path.name) or sha256(path))
    assert ids(Project(folder)) == first
    assert hashed == []
    (folder / "clip_00001.avi").write_bytes(b"RIFF\0\0\0\0AVI another one")
    assert ids(Project(folder)) != first
    assert hashed == ["clip_00001.avi"]
    (folder / "cache" / "index.json").write_text("{broken")
    assert len(Project(folder).videos) == 3
    assert len(hashed) == 4


def test_a_moved_folder_and_renamed_files_stay_the_same_videos(tmp_path):
    folder = fake_videos(tmp_path / "one", 3)
    before = Project(folder)
    before.draw_splits({video.group for video in before.videos.values()})
    splits = {video.id: video.split for video in before.videos.values()}
    moved = folder.rename(tmp_path / "two")
    (moved / "clip_00000.avi").rename(moved / "renamed.avi")
    after = Project(moved)
    assert {video.id: video.split for video in after.videos.values()} == splits


def test_files_named_in_a_list_belong_to_it(tmp_path):
    folder = fake_videos(tmp_path / "clinic", 1)
    elsewhere = fake_videos(tmp_path / "archive", 3)
    (elsewhere / "clip_00000.avi").unlink()
    (folder / "videos.txt").write_text(f"# two more\n../archive/clip_00001.avi\n\n{elsewhere}\nabsent.avi\n")
    found = Project(folder)
    assert len(found.videos) == 3
    assert any("absent.avi, which is not there" in warning for warning in found.warnings)


def test_copies_count_once(tmp_path):
    folder = fake_videos(tmp_path, 2)
    shutil.copy(folder / "clip_00000.avi", folder / "copy.avi")
    found = Project(folder)
    assert len(found.videos) == 2
    assert any("same content" in warning and "copy.avi" in warning for warning in found.warnings)


def test_patients_splits_and_ef_come_from_the_list(tmp_path):
    folder = fake_videos(tmp_path, 3)
    (folder / "videos.csv").write_text(
        "file;patient;LVEF (%);split\nclip_00000.avi;p1;55,5;val\nclip_00001.avi;p1;;val\nclip_00002.avi;p2;40;\n"
    )
    found = {video.name: video for video in Project(folder).videos.values()}
    assert [found[f"clip_0000{n}.avi"].patient for n in range(3)] == ["p1", "p1", "p2"]
    assert [found[f"clip_0000{n}.avi"].ef for n in range(3)] == [55.5, None, 40.0]
    assert [found[f"clip_0000{n}.avi"].split for n in range(3)] == ["val", "val", None]


def test_patients_of_dicom_files_are_known_and_not_named(tmp_path):
    for number, patient in enumerate(["Doe-1", "Doe-1", "Doe-2", "ANONYMOUS", ""]):
        pixels = beating_fan(8, seed=number)
        save(cine(pixels, PatientID=patient, PatientName=""), tmp_path / f"{number}.dcm")
    found = {video.name: video.patient for video in Project(tmp_path).videos.values()}
    assert found["0.dcm"] == found["1.dcm"]
    assert found["0.dcm"] != found["2.dcm"]
    assert found["3.dcm"] is None
    assert found["4.dcm"] is None
    assert "Doe" not in json.dumps(found) + (tmp_path / "cache" / "index.json").read_text()
    again = {video.name: video.patient for video in Project(tmp_path).videos.values()}
    shutil.rmtree(tmp_path / "cache")
    assert {video.name: video.patient for video in Project(tmp_path).videos.values()} == again == found


def test_splits_are_kept_from_round_to_round(tmp_path):
    folder = fake_videos(tmp_path, 40)
    found = Project(folder)
    groups = sorted(video.group for video in found.videos.values())
    found.draw_splits(set(groups[:20]))
    first = {video.group: video.split for video in found.videos.values() if video.split}
    assert sorted(first) == groups[:20]
    assert list(first.values()).count("val") == 6
    again = Project(folder)
    again.draw_splits(set(groups))
    second = {video.group: video.split for video in again.videos.values()}
    assert {group: second[group] for group in first} == first
    assert list(second.values()).count("val") == 12


def test_the_smallest_project_that_can_be_trained_has_a_validation_video(tmp_path):
    found = Project(fake_videos(tmp_path, 3))
    found.draw_splits({video.group for video in found.videos.values()})
    assert sorted(str(video.split) for video in found.videos.values()) == ["train", "train", "val"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not readable JSON"),
        ('{"format": 9, "splits": {}, "model": "zero", "salt": ""}', "format 9"),
        ('{"format": 1, "splits": {"a": "both"}, "model": "zero", "salt": ""}', "none of train, val, test"),
        ('{"format": 1, "splits": {}, "salt": ""}', "model is missing"),
    ],
)
def test_a_damaged_project_file_is_told(tmp_path, content, said):
    folder = fake_videos(tmp_path, 1)
    (folder / "project.json").write_text(content)
    with pytest.raises(EchocycleError, match=said):
        Project(folder)


@pytest.mark.parametrize("parts", [("..", "x"), ("/etc/passwd",), ("labels", "..", "..", "x"), ("a\0b",)])
def test_paths_stay_inside(tmp_path, parts):
    found = Project(fake_videos(tmp_path, 1))
    with pytest.raises((EchocycleError, ValueError)):
        found.inside(*parts)


# -------------------------------------------------------------------------------------------------- relink


def labelled(folder, video):
    journal = Journal(folder / "labels" / "journal.jsonl")
    found = Project(folder).videos[video]
    entry = {"id": video, "file": found.name, "reader": "anna", "action": "note", "text": "seen"}
    journal.append("c", journal.last, entry)
    journal.close()


def test_moved_recordings_are_found_by_content(tmp_path, capsys):
    folder = fake_videos(tmp_path / "clinic", 4)
    before = ids(Project(folder))
    for name in ("clip_00001.avi", "clip_00002.avi"):
        labelled(folder, before[name])
    archive = tmp_path / "archive"
    archive.mkdir()
    (folder / "clip_00001.avi").rename(archive / "other name.avi")
    (folder / "clip_00002.avi").rename(tmp_path / "gone.avi")
    (folder / "videos.txt").write_text("nowhere.avi\n")
    with pytest.raises(Finding, match=r"1 labelled recordings are still missing \(clip_00002.avi\)"):
        commands.relink(folder, archive)
    assert (folder / "videos.txt").read_text() == "# gone: nowhere.avi\n../archive/other name.avi\n"
    assert before["clip_00001.avi"] in Project(folder).videos
    assert find_again(folder, [tmp_path / "gone.avi"]).missing == {}
    assert set(before.values()) == set(Project(folder).videos)
    commands.relink(folder)
    assert "No labelled recording is missing" in capsys.readouterr().err


def test_a_place_that_is_not_there_is_told(tmp_path):
    with pytest.raises(EchocycleError, match="does not exist"):
        find_again(fake_videos(tmp_path, 1), [tmp_path / "absent"])
