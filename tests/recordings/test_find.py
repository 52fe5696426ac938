"""Where recordings are found: folders and links, names without suffix, DICOMDIR, zip; and tricks of all of these."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, cine, directory, save, without_preamble
from pydicom import uid

from echocycle.errors import EchocycleError
from echocycle.recordings import archive as archive_of_members
from echocycle.recordings.decline import DeclinedError
from echocycle.recordings.find import Found, find_recordings, is_directory_file
from echocycle.recordings.recording import read_recording
from echocycle.recordings.video import write_mjpeg


def clip(path: Path, seed: int = 0) -> Path:
    write_mjpeg(path, beating_fan(8, 48, 64, seed), 50)
    return path


def dicom(path: Path) -> Path:
    return save(cine(beating_fan(8, 48, 64)), path)


def names(found: list[Found], root: Path) -> list[str]:
    """Origins below `root`; a problem begins with an exclamation mark."""
    return [("!" if item.problem else "") + os.path.relpath(item.origin, root) for item in found]


def test_a_folder_in_order(tmp_path: Path) -> None:
    clip(tmp_path / "b.avi")
    clip(tmp_path / "a" / "2.AVI")
    dicom(tmp_path / "a" / "1.dcm")
    dicom(tmp_path / "c" / "IM_0001")
    (tmp_path / "c" / "IM_0002").write_bytes(without_preamble(cine(beating_fan(8, 48, 64))))
    clip(tmp_path / "a" / "film.avi").rename(tmp_path / "a" / "film")
    clip(tmp_path / ".hidden" / "x.avi")
    clip(tmp_path / ".x.avi")
    for name in ("notes.txt", "FileList.csv", "empty", "a/Thumbs.db"):
        (tmp_path / name).write_text("text, and nothing but text" if name != "empty" else "")
    found = list(find_recordings([tmp_path]))
    assert names(found, tmp_path) == ["a/1.dcm", "a/2.AVI", "a/film", "b.avi", "c/IM_0001", "c/IM_0002"]
    assert all(item.path is not None and str(item.path) == item.origin for item in found)
    assert all(read_recording(item.path) for item in found if item.path)
    excluded = find_recordings([tmp_path], exclude=[tmp_path / "a", tmp_path / "b.avi"])
    assert names(list(excluded), tmp_path) == ["c/IM_0001", "c/IM_0002"]


def test_named_files_come_whatever_they_are_and_once(tmp_path: Path) -> None:
    first, text = clip(tmp_path / "a.avi"), tmp_path / "notes.txt"
    text.write_text("text")
    clip(tmp_path / ".hidden.avi")
    given = [first, text, tmp_path / "gone.avi", tmp_path, first, tmp_path / ".hidden.avi"]
    found = list(find_recordings(given))
    assert names(found, tmp_path) == ["a.avi", "notes.txt", "gone.avi", ".hidden.avi"]
    with pytest.raises(EchocycleError, match="is missing"):
        read_recording(found[2].path)  # type: ignore[arg-type]


def test_nothing(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="Name at least one recording or folder"):
        next(find_recordings([]))
    with pytest.raises(EchocycleError, match="holds no recording"):
        list(find_recordings([tmp_path]))


def test_it_is_lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        clip(tmp_path / folder / "clip.avi")
    opened = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(Path(path).name) or scan(path))
    assert next(find_recordings([tmp_path])).origin.endswith("a/clip.avi")
    assert "b" not in opened


def test_links(tmp_path: Path) -> None:
    """Linked folders are walked once, and loops end."""
    clip(tmp_path / "data" / "real.avi")
    clip(tmp_path / "elsewhere" / "linked.avi")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "file.avi").symlink_to(tmp_path / "elsewhere" / "linked.avi")
    (tmp_path / "data" / "gone.avi").symlink_to(tmp_path / "nowhere.avi")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "zz").mkdir()
    (tmp_path / "data" / "inner").symlink_to(tmp_path / "data" / "zz")
    clip(tmp_path / "data" / "zz" / "last.avi")
    found = list(find_recordings([tmp_path / "data"]))
    assert names(found, tmp_path / "data") == [
        "again/linked.avi", "!gone.avi", "real.avi", "zz/last.avi",
    ]  # fmt: skip
    problems = {os.path.relpath(item.origin, tmp_path / "data"): item.problem for item in found if item.problem}
    assert "link to something that is gone" in str(problems["gone.avi"])


def test_a_folder_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(tmp_path / "a" / "clip.avi")
    clip(tmp_path / "b" / "clip.avi")
    scan = os.scandir

    def refusing(path: Path):
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = list(find_recordings([tmp_path]))
    assert names(found, tmp_path) == ["!a", "b/clip.avi"]
    assert "cannot be opened (Permission denied)" in str(found[0].problem)


@pytest.mark.filterwarnings("ignore:.*VR CS")
def test_dicomdir(tmp_path: Path) -> None:
    dicom(tmp_path / "IMAGES" / "IM_0001")
    dicom(tmp_path / "images2" / "im_0002")
    dicom(tmp_path / "unlisted.dcm")
    dicom(tmp_path.parent / f"{tmp_path.name}-outside.dcm")
    listed = [
        ["IMAGES", "IM_0001"], ["IMAGES2", "IM_0002"], ["IMAGES", "GONE"], ["..", f"{tmp_path.name}-outside.dcm"], "IMAGES",
    ]  # fmt: skip
    path = directory(tmp_path / "DICOMDIR", *listed)
    assert is_directory_file(path)
    found = list(find_recordings([path]))
    assert [item.path for item in found if item.path] == [tmp_path / "IMAGES/IM_0001", tmp_path / "images2/im_0002"]
    problems = " ".join(str(item.problem) for item in found)
    assert "lists IMAGES/GONE, which is not there" in problems
    assert "leads out of its folder" in problems
    whole = list(find_recordings([tmp_path]))
    assert [item.origin for item in whole if not item.problem] == [
        str(tmp_path / name) for name in ("IMAGES/IM_0001", "images2/im_0002", "unlisted.dcm")
    ]
    assert any("IMAGES/GONE" in str(item.problem) for item in whole)
    with pytest.raises(EchocycleError, match="is a DICOMDIR"):
        read_recording(path)


def test_a_damaged_dicomdir(tmp_path: Path) -> None:
    path = directory(tmp_path / "DICOMDIR", ["A", "B"])
    path.write_bytes(path.read_bytes()[:-30])
    found = list(find_recordings([path]))
    assert found
    assert all(item.problem for item in found)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return path


def test_zip(tmp_path: Path) -> None:
    """A member is a file while it is opened, elsewhere, and gone afterwards."""
    avi = clip(tmp_path / "a.avi").read_bytes()
    dcm = dicom(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.avi").unlink()
    (tmp_path / "a.dcm").unlink()
    path = archive(
        tmp_path / "study.zip",
        **{
            "B__clip.avi": avi,
            "A__IM_0001": dcm,
            "notes.txt": b"text",
            ".DS_Store": b"x" * 300,
            "__MACOSX/._clip.avi": avi,
        },
    )
    for given in (path, tmp_path):
        seen = []
        for found in find_recordings([given]):
            assert found.problem is None
            assert found.path is not None
            recording = read_recording(found.path)
            assert (recording.frames.shape, recording.source) == ((8, 48, 64), found.path)
            with archive_of_members.opened(found.path) as file:
                assert tmp_path not in file.parents
                assert file.stat().st_size == archive_of_members.size_of(found.path)
            seen.append(file)
        assert len(seen) == 2
        assert not any(earlier.exists() or earlier.parent.exists() for earlier in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["study.zip"]
    assert [item.origin for item in find_recordings([path])] == [f"{path}!/A/IM_0001", f"{path}!/B/clip.avi"]


def test_an_error_in_a_member_names_the_member(tmp_path: Path) -> None:
    path = archive(tmp_path / "study.zip", **{"p__a.avi": b"RIFF....AVI torn"})
    with pytest.raises(EchocycleError, match=r"study\.zip!/p/a\.avi cannot be opened as a video"):
        read_recording(tmp_path / "study.zip!" / "p" / "a.avi")
    with pytest.raises(EchocycleError, match=r"holds no p/b\.avi"):
        read_recording(Path(f"{path}!") / "p" / "b.avi")


def test_zips_with_tricks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    avi = clip(tmp_path / "a.avi").read_bytes()
    inner = archive(tmp_path / "inner.zip", **{"a.avi": avi}).read_bytes()
    path = archive(
        tmp_path / "study.zip",
        **{"../../evil.avi": avi, "/tmp/evil.avi": avi, "C:\\evil.avi": avi, "inner.zip": inner, "ok.avi": avi},
    )
    before = set(tmp_path.parent.rglob("*"))
    found = list(find_recordings([path]))
    assert [item.origin.rpartition("!/")[2] for item in found if not item.problem] == ["ok.avi"]
    problems = [str(item.problem) for item in found if item.problem]
    assert len(problems) == 4
    assert sum("leads out of the archive" in problem for problem in problems) == 3
    assert sum("archive in an archive" in problem for problem in problems) == 1
    assert set(tmp_path.parent.rglob("*")) == before
    archive_of_members._read_list.cache_clear()
    monkeypatch.setattr(archive_of_members, "LARGEST_MEMBER", len(avi) - 1)
    assert "unpack it yourself" in str(next(find_recordings([path])).problem)
    monkeypatch.undo()
    archive_of_members._read_list.cache_clear()
    monkeypatch.setattr(archive_of_members, "MOST_MEMBERS", 3)
    assert "holds 5 files, more than 3" in str(next(find_recordings([path])).problem)
    monkeypatch.undo()
    archive_of_members._read_list.cache_clear()
    monkeypatch.setattr(archive_of_members, "ALWAYS_FINE", 1000)
    bomb = archive(tmp_path / "bomb.zip", **{"a.avi": bytes(10 << 20)})
    assert "far more than its size" in str(next(find_recordings([bomb])).problem)


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """A member unpacks to more than the list says: no more than that is written."""
    path = archive(tmp_path / "study.zip", **{"a.avi": bytes(3 << 20)})
    data = bytearray(path.read_bytes())
    real = (3 << 20).to_bytes(4, "little")
    for _ in range(2):  # in the member's head and in the list
        at = data.index(real)
        data[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    (found,) = find_recordings([path])
    assert "cannot be unpacked" in str(found.problem)
    with pytest.raises(EchocycleError, match="cannot be unpacked"):
        read_recording(Path(f"{path}!") / "a.avi")


@pytest.mark.parametrize("damage", ["cut", "garbled", "locked"])
def test_damaged_and_locked_zips(tmp_path: Path, damage: str) -> None:
    path = archive(tmp_path / "study.zip", **{"a.avi": clip(tmp_path / "a.avi").read_bytes()})
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-40]
    elif damage == "garbled":
        data[200:400] = np.random.default_rng(0).bytes(200)
    else:
        for head in (b"PK\x03\x04", b"PK\x01\x02"):
            at = data.index(head) + (6 if head[2] == 3 else 8)
            data[at] |= 1
    path.write_bytes(data)
    words = {"cut": "cannot be read as a zip", "garbled": "cannot be unpacked", "locked": "locked with a password"}
    (found,) = find_recordings([path])
    problem = found.problem
    if problem is None:
        with pytest.raises(EchocycleError) as caught:
            read_recording(Path(found.origin))
        problem = str(caught.value)
    assert words[damage] in problem


def test_reports_beside_the_pictures_of_a_study_are_passed_over(tmp_path: Path) -> None:
    clip(tmp_path / "clip.avi")
    for number, kind in enumerate((uid.ComprehensiveSRStorage, uid.GrayscaleSoftcopyPresentationStateStorage)):
        document = cine(beating_fan(2, 8, 8), PixelData=None, SOPClassUID=kind, Modality="SR")
        document.file_meta.MediaStorageSOPClassUID = kind
        save(document, tmp_path / f"report{number}.dcm")
    directory(tmp_path / "DICOMDIR")
    assert names(list(find_recordings([tmp_path])), tmp_path) == ["clip.avi"]
    with pytest.raises(DeclinedError, match="is a report"):
        read_recording(next(find_recordings([tmp_path / "report0.dcm"])).path)  # type: ignore[arg-type]


def test_a_folder_is_not_stopped_by_what_is_bad_in_it(tmp_path: Path) -> None:
    clip(tmp_path / "z.avi")
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04" + bytes(50))
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(100))
    (tmp_path / "x.dcm").write_bytes(b"<html>")
    found = list(find_recordings([tmp_path]))
    assert names(found, tmp_path)[-1] == "z.avi"
    assert "!bad.zip" in names(found, tmp_path)
    shutil.rmtree(tmp_path / "none", ignore_errors=True)


def test_a_list_that_names_a_place_before_the_archive(tmp_path: Path) -> None:
    """Ten bytes that are gone from the middle bring the first member's place below zero, where no file can be read."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(clip(tmp_path / "a.avi"), "a.avi")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data[:1000] + data[1010:])
    with pytest.raises(EchocycleError, match="a.avi cannot be unpacked"):
        read_recording(archive_of_members.member_path(tmp_path / "a.zip", "a.avi"))
