"""What is exported is read again by the readers of the project itself, and is what was traced."""

import csv
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from helpers.labelling import act, opened, phantom_project, trace, true_contours

from echocycle.datasets.contours.read import contour_pair, read_contours
from echocycle.datasets.contours.traced import Wanted
from echocycle.datasets.echonet import read_echonet
from echocycle.datasets.echonet_tracings import traced_pair
from echocycle.datasets.records import EchonetSettings
from echocycle.datasets.videos import read_videos
from echocycle.labelling.exports import chords_of, export, labelled_videos, write_plain


@pytest.fixture(scope="module")
def exported(phantom_folder, store, tmp_path_factory):
    """A project with two traced videos of three, its labels in files, and the zip unpacked beside it."""
    root = tmp_path_factory.mktemp("exports")
    folder = phantom_project(phantom_folder, root / "clinic", 3)
    with opened(folder) as parts:
        desk = parts.desk
        videos = sorted(desk.project.videos.values(), key=lambda each: each.name)
        pairs = {}
        for video in videos[:2]:
            pairs[video.id] = true_contours(store, video.path.stem)
            trace(desk, video.id, *pairs[video.id])
        act(desk, videos[0].id, "ef", value=58.5)
        act(desk, videos[0].id, "note", text="good picture")
        desk.project.draw_splits({video.group for video in videos})
        write_plain(desk, {})
        labelled = labelled_videos(desk)
        with zipfile.ZipFile(io.BytesIO(export(desk))) as archive:
            archive.extractall(root / "zip")
    return folder, root / "zip", labelled, pairs


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def check_pair(found, pair, facts, least):
    assert (found.ed_frame, found.es_frame) == (pair[0].frame, pair[1].frame)
    for mask, contour in zip(found.masks, pair, strict=True):
        assert dice(mask, contour.mask(facts.height, facts.width)) > least


@pytest.mark.parametrize("source", ["project", "zip"])
def test_plain_labels_are_the_layout_videos(exported, tmp_path, source):
    folder, unpacked, labelled, pairs = exported
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("labels", "cache") if source == "zip" else None)
    if source == "zip":
        shutil.copytree(unpacked / "videos", copy, dirs_exist_ok=True)
    else:
        shutil.copy(copy / "labels" / "labels.csv", copy / "videos.csv")
    read = read_videos(copy, EchonetSettings())
    records = {record.file: record for record in read.records}
    assert len(records) == 3
    assert not [finding for finding in read.findings if finding.level == "error"]
    for each in labelled:
        record = records[each.video.name]
        assert record.ef == pytest.approx(each.ef, abs=0.01)
        assert record.split == each.video.split
        found = contour_pair(record, *each.facts.shape)
        check_pair(found, pairs[each.video.id], each.facts, 0.9999)
    assert records[labelled[0].video.name].ef == 58.5


def test_echonet_lists_are_read_by_its_reader(exported, tmp_path):
    folder, unpacked, labelled, pairs = exported
    made = tmp_path / "echonet"
    shutil.copytree(unpacked / "echonet", made)
    (made / "Videos").mkdir()
    with (made / "FileList.csv").open(newline="") as file:
        names = [row["FileName"] for row in csv.DictReader(file)]
    for each, name in zip(labelled, names, strict=True):
        shutil.copy(folder / each.video.name, made / "Videos" / name)
    read = read_echonet(made, EchonetSettings())
    assert len(read.records) == 2
    assert not [finding for finding in read.findings if finding.level == "error"]
    for each, record in zip(labelled, read.records, strict=True):
        assert record.ef == pytest.approx(each.ef, abs=0.01)
        assert (record.height, record.width, record.listed_frames) == (
            each.facts.height,
            each.facts.width,
            each.facts.n_frames,
        )
        found = traced_pair(record, *each.facts.shape)
        check_pair(found, pairs[each.video.id], each.facts, 0.95)


def test_chords_are_those_of_echonet(exported):
    contour = next(iter(exported[3].values()))[0]
    chords = chords_of(contour)
    assert chords.shape == (21, 4)
    lengths = np.hypot(chords[:, 2] - chords[:, 0], chords[:, 3] - chords[:, 1])
    assert lengths[0] == pytest.approx(contour.volume()[1])
    assert lengths[0] > lengths[1:].max()
    middles = (chords[1:, :2] + chords[1:, 2:]) / 2
    assert (np.diff(middles[:, 1]) > 0).all()  # from apex to base


def test_coco_is_read_by_its_reader(exported):
    _, unpacked, labelled, pairs = exported
    for each in labelled:
        stem = each.video.name.replace("/", "-").removesuffix(".avi")
        found = read_contours(unpacked / "coco.json", Wanted(stem, *each.facts.shape))
        traced = {one.phase: one for one in found}
        assert sorted(traced) == ["ED", "ES"]
        for phase, contour in zip(("ED", "ES"), pairs[each.video.id], strict=True):
            assert traced[phase].frame == contour.frame
            assert dice(traced[phase].mask, contour.mask(each.facts.height, each.facts.width)) > 0.9999


def test_json_holds_everything_that_readers_did(exported):
    _, unpacked, labelled, pairs = exported
    content = json.loads((unpacked / "labels.json").read_text())
    videos = {video["id"]: video for video in content["videos"]}
    assert set(videos) == set(pairs)
    anna = videos[labelled[0].video.id]["readers"]["anna"]
    assert anna["ef_known"] == 58.5
    assert anna["note"] == "good picture"
    assert anna["ed"] == pairs[labelled[0].video.id][0].as_json()


def test_labels_that_are_taken_back_leave_no_file(phantom_folder, store, tmp_path):
    folder = phantom_project(phantom_folder, tmp_path / "clinic", 1)
    with opened(folder) as parts:
        (video,) = parts.desk.project.videos.values()
        written: dict[str, int] = {}
        trace(parts.desk, video.id, *true_contours(store, video.path.stem))
        write_plain(parts.desk, written)
        assert (folder / "labels" / "contours" / f"{video.id}.csv").exists()
        act(parts.desk, video.id, "state", state="skipped", reason="poor")
        write_plain(parts.desk, written)
        assert not list((folder / "labels" / "contours").iterdir())
        assert (folder / "labels" / "labels.csv").read_text().count("\n") == 1
        act(parts.desk, video.id, "state", state="new")
        write_plain(parts.desk, written)
        assert (folder / "labels" / "contours" / f"{video.id}.csv").exists()


def test_a_labelled_recording_that_was_damaged_since_is_told_and_left_out(phantom_folder, store, tmp_path):
    folder = phantom_project(phantom_folder, tmp_path / "clinic", 2)
    with opened(folder) as parts:
        desk = parts.desk
        for video in desk.project.videos.values():
            trace(desk, video.id, *true_contours(store, video.path.stem))
        broken = next(iter(desk.project.videos.values()))
        broken.path.write_bytes(b"RIFF\0\0\0\0AVI nothing any more")
        desk.frames._facts.pop(broken.id)
        write_plain(desk, {})
        assert (folder / "labels" / "labels.csv").read_text().count("\n") == 2
        assert any("1 labelled recordings cannot be read" in warning for warning in desk.about()["warnings"])
