"""The frame store holds what the videos hold, whatever the release, the interruption or the number of workers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.videos import change_rows, damage, few_videos, names_in, rows_of, some_videos, write_rows

from echocycle import stages
from echocycle.data.store import COLUMNS, SIZE, Store
from echocycle.datasets.check import decode_findings
from echocycle.datasets.echonet import read_echonet
from echocycle.datasets.findings import Finding, finding_of, finding_text, merge_findings
from echocycle.datasets.open import open_source
from echocycle.datasets.prepare import prepare_store
from echocycle.datasets.tracing import trace_mask
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.settings.stages import PrepareSettings

HERE = PrepareSettings(workers=0)


# --------------------------------------------------------------------------------------------------- content


def test_the_store_holds_the_videos_frame_for_frame(store: Store, phantom_folder: Path) -> None:
    assert len(store) == 16
    assert store.meta["frames"] == sum(store.n_frames(video) for video in range(16))
    assert not store.color
    for video in range(len(store)):
        row = store.index.iloc[video]
        direct = read_video(phantom_folder / "Videos" / row["file"])
        np.testing.assert_array_equal(store.frames(video), direct.frames)
        assert row["sha256"] == sha256(phantom_folder / "Videos" / row["file"])
        assert row["fps"] == pytest.approx(direct.fps, abs=0.5)


def test_the_store_holds_the_tracings(store: Store, phantom_folder: Path) -> None:
    folder = read_echonet(phantom_folder)
    for video, record in enumerate(folder.records):
        row = store.index.iloc[video]
        assert row["name"] == record.name
        masks = {tracing.frame: trace_mask(tracing.chords) for tracing in record.tracings}
        ed, es = store.traced_masks(video)
        np.testing.assert_array_equal(ed, masks[row["ed_frame"]])
        np.testing.assert_array_equal(es, masks[row["es_frame"]])
        assert ed.sum() > es.sum() > 0


def test_the_index_is_complete(store: Store, phantom_folder: Path) -> None:
    index = store.index
    assert list(index.columns) == list(COLUMNS)
    listed = rows_of(phantom_folder / "FileList.csv")
    assert index["name"].tolist() == [row["FileName"] for row in listed]
    assert index["ef"].tolist() == [float(row["EF"]) for row in listed]
    assert index["split"].value_counts().to_dict() == {"train": 8, "val": 4, "test": 4}
    assert (index["annotation"] == "traced").all()
    assert index["offset"].tolist() == np.concatenate([[0], np.cumsum(index["frames"])[:-1]]).tolist()
    assert (index["affine"] == "1 0 0 0 1 0").all()
    assert (index["spacing_row_mm"] > 0).all()
    train = index[index["split"] == "train"].sort_values("authors_rank")
    assert train["authors_rank"].tolist() == list(range(8))
    assert train["name"].tolist() == sorted(train["name"])
    assert (index.loc[index["split"] != "train", "authors_rank"] == -1).all()
    assert index.notna().all(axis=None)


def test_the_truth_is_the_phantoms(store: Store, phantom_folder: Path) -> None:
    truth = store.masks("truth")
    assert store.phantom_version is not None
    for video in range(len(store)):
        with np.load(phantom_folder / "Truth" / f"{store.index['name'][video]}.npz") as file:
            shape = tuple(file["masks_shape"])
            expected = np.unpackbits(file["masks"], axis=1, count=shape[1] * shape[2]).reshape(shape)
        np.testing.assert_array_equal(truth.probabilities(video, np.arange(shape[0])), expected * 255)


def test_both_releases_give_the_same_store(phantom_folder: Path, tmp_path: Path) -> None:
    newer = some_videos(phantom_folder, tmp_path / "newer")
    older = some_videos(phantom_folder, tmp_path / "older")
    change_rows(older / "FileList.csv", lambda row: {**row, "FileName": row["FileName"] + ".avi"})
    change_rows(older / "VolumeTracings.csv", lambda row: {**row, "FileName": row["FileName"].removesuffix(".avi")})
    stores = [prepare_store(folder, tmp_path / f"store-{folder.name}", HERE) for folder in (newer, older)]
    assert [store.meta["release"] for store in stores] == ["newer", "older"]
    for name in ("index.csv", "frames.u8", "traces.npy"):
        assert (stores[0].path / name).read_bytes() == (stores[1].path / name).read_bytes()
    assert stores[0].meta["id"] == stores[1].meta["id"]


def test_colour_is_kept_where_asked(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    row, column = np.indices((SIZE, SIZE))
    frames = np.stack([[(column + t) % 256, row * 2, 255 - column] for t in range(6)]).transpose(0, 2, 3, 1)
    (folder / "Videos").mkdir(parents=True)
    write_mjpeg(folder / "Videos" / "A.avi", frames.astype(np.uint8), 50)
    write_rows(folder / "FileList.csv", [{"FileName": "A", "EF": 50, "Split": "TRAIN"}])
    grey = prepare_store(folder, tmp_path / "grey", HERE)
    store = prepare_store(folder, tmp_path / "rgb", replace(HERE, color=True))
    assert store.color
    assert store.frames(0).shape == (6, SIZE, SIZE, 3)
    direct = read_video(folder / "Videos" / "A.avi", color=True)
    np.testing.assert_array_equal(store.frames(0), direct.frames)
    assert store.frames(0).std(axis=-1).max() > 20
    assert grey.meta["id"] != store.meta["id"]


def test_an_own_folder_with_gaps(tmp_path: Path) -> None:
    """No tracing, no frame rate, a missing EF, and names that tables like to take for something else."""
    folder = tmp_path / "own"
    (folder / "Videos").mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 255, (5, SIZE, SIZE), dtype=np.uint8)
    names = ("NA", "1e5", "007", "Zoë 1")
    for name in names:
        write_mjpeg(folder / "Videos" / f"{name}.avi", frames, 30)
    efs = (55, "", 61.5, 40)
    splits = ("TRAIN", "TRAIN", "VAL", "TEST")
    listed = [{"FileName": n, "EF": ef, "Split": split} for n, ef, split in zip(names, efs, splits, strict=True)]
    write_rows(folder / "FileList.csv", listed)
    index = prepare_store(folder, tmp_path / "store", HERE).index
    assert index["name"].tolist() == list(names)
    assert index["patient"].tolist() == list(names)
    assert index["annotation"].tolist() == ["ef", "none", "ef", "ef"]
    assert index["ef"].isna().tolist() == [False, True, False, False]
    assert (index["fps"] == 30).all()
    assert (index[["ed_frame", "es_frame"]] == -1).all(axis=None)
    assert index["spacing_row_mm"].isna().all()


# --------------------------------------------------------------------------------------------- odd and damaged


def test_a_damaged_video_is_left_out_and_reported(phantom_folder: Path, tmp_path: Path) -> None:
    folder = some_videos(phantom_folder, tmp_path / "videos")
    names = names_in(folder)
    damage(folder / "Videos" / f"{names[1]}.avi")
    (folder / "Videos" / f"{names[3]}.avi").write_bytes(b"")
    store = prepare_store(folder, tmp_path / "store", HERE)
    assert store.index["name"].tolist() == [names[0], names[2], names[4]]
    findings = json.loads((store.path / "report.json").read_text())["findings"]
    (unreadable,) = (f for f in findings if f["kind"] == "video-unreadable")
    assert unreadable["level"] == "error"
    assert unreadable["names"] == [names[1], names[3]]
    assert all(name in finding_text(finding_of(unreadable)) for name in (names[1], names[3]))
    np.testing.assert_array_equal(store.frames(2), read_video(folder / "Videos" / f"{names[4]}.avi").frames)
    found = decode_findings(open_source(folder, HERE), HERE)
    assert [f.names for f in found if f.level == "error"] == [(names[1], names[3])]


def test_a_damaged_video_is_cut_where_asked(phantom_folder: Path, tmp_path: Path) -> None:
    folder = some_videos(phantom_folder, tmp_path / "videos", 2)
    name = names_in(folder)[0]
    whole = read_video(folder / "Videos" / f"{name}.avi").frames
    damage(folder / "Videos" / f"{name}.avi")
    store = prepare_store(folder, tmp_path / "store", replace(HERE, damaged="cut"))
    assert store.index["name"].tolist() == names_in(folder)
    kept = store.n_frames(0)
    assert 0 < kept < len(whole)
    np.testing.assert_array_equal(store.frames(0), whole[:kept])
    assert store.index["frames"][0] == kept
    assert store.index["listed_frames"][0] == len(whole)
    findings = json.loads((store.path / "report.json").read_text())["findings"]
    assert any(f["kind"] == "video-note" and name in f["names"] for f in findings)


def test_nothing_readable_is_one_sentence(phantom_folder: Path, tmp_path: Path) -> None:
    folder = some_videos(phantom_folder, tmp_path / "videos", 2)
    for name in names_in(folder):
        (folder / "Videos" / f"{name}.avi").write_bytes(b"no video")
    with pytest.raises(EchocycleError, match="None of the 2 videos"):
        prepare_store(folder, tmp_path / "store", HERE)


def test_a_larger_video_is_cut_to_its_sector(phantom_folder: Path, tmp_path: Path) -> None:
    """Twice as large and beside the middle of a wide picture: the same heart, the same outline, at 112x112."""
    folder = some_videos(phantom_folder, tmp_path / "videos", 2)
    name = names_in(folder)[0]
    small = read_video(folder / "Videos" / f"{name}.avi").frames
    left, top = 60, 24
    large = np.zeros((len(small), 288, 384), np.uint8)
    large[:, top : top + 224, left : left + 224] = small.repeat(2, 1).repeat(2, 2)
    write_mjpeg(folder / "Videos" / f"{name}.avi", large, 50)

    def moved(row: dict[str, str]) -> dict[str, Any]:
        if row["FileName"].removesuffix(".avi") != name:
            return row
        shift = {"X": left, "Y": top}
        return {**row, **{k: 2 * float(row[k]) + shift[k[0]] for k in ("X1", "Y1", "X2", "Y2")}}

    change_rows(folder / "VolumeTracings.csv", moved)
    store = prepare_store(folder, tmp_path / "store", HERE)
    a, b, c, d, e, f = map(float, store.index["affine"][0].split())
    assert (b, d) == (0, 0)
    assert a == e == pytest.approx(2, rel=0.04)
    # a pixel of the store shows the place in the source that the affine names
    frame, source = store.frames(0)[10].astype(float), large[10].astype(float)
    shown, there = [], []
    for y in range(30, 90, 4):
        for x in range(40, 80, 4):
            column, row = a * x + b * y + c, d * x + e * y + f
            shown.append(frame[y, x])
            there.append(source[int(row) : int(row) + 2, int(column) : int(column) + 2].mean())
    assert np.corrcoef(shown, there)[0, 1] > 0.95
    # the tracing moved with it: literally, the source mask seen at each pixel's centre
    row = store.index.iloc[0]
    records = {record.name: record for record in read_echonet(folder).records}
    traced = {t.frame: trace_mask(t.chords, height=288, width=384) for t in records[name].tracings}
    ed = store.traced_masks(0)[0]
    for y in range(SIZE):
        for x in range(SIZE):
            column, line = round(a * x + c), round(e * y + f)
            inside = 0 <= column < 384 and 0 <= line < 288
            assert ed[y, x] == (inside and traced[row["ed_frame"]][line, column])
    original = trace_mask(
        next(t for t in read_echonet(phantom_folder).records[0].tracings if t.frame == row["ed_frame"]).chords
    )
    assert 2 * (ed & original).sum() / (ed.sum() + original.sum()) > 0.93
    findings = json.loads((store.path / "report.json").read_text())["findings"]
    assert any(finding["kind"] == "resized" and finding["names"] == [name] for finding in findings)


def test_findings_of_a_kind_are_put_together() -> None:
    one = Finding("note", "a", ("x",), "m")
    found = merge_findings([one, replace(one, names=("y", "x"))], [replace(one, level="error", kind="z")])
    assert found == [Finding("error", "z", ("x",), "m"), Finding("note", "a", ("x", "y"), "m")]


def test_findings_of_very_many_videos_are_put_together_at_once() -> None:
    """A finding a video: with a search through a list this takes many minutes."""
    found = merge_findings(Finding("note", "a", (f"v{number}",), "m") for number in range(200_000))
    assert len(found) == 1
    assert len(found[0].names) == 200_000


# ------------------------------------------------------------------------------------------ what is refused


@pytest.fixture(scope="module")
def few(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder of four phantom videos, one of them damaged, and the content of its store."""
    return few_videos(phantom_folder, tmp_path_factory.mktemp("few"))


def test_a_finished_store_is_opened_again_and_others_are_refused(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    folder, expected = few
    copied = tmp_path / "videos"
    shutil.copytree(folder, copied)
    store = tmp_path / "store"
    prepare_store(copied, store, HERE)
    assert (
        prepare_store(copied, store, PrepareSettings(workers=3)).meta["id"] == json.loads(expected["store.json"])["id"]
    )
    for change in ({"color": True}, {"multi_trace": "union"}, {"damaged": "cut"}):
        with pytest.raises(EchocycleError, match="other settings"):
            prepare_store(copied, store, replace(HERE, **change))
    change_rows(copied / "VolumeTracings.csv", lambda row: {**row, "X1": float(row["X1"]) + 1})
    with pytest.raises(EchocycleError, match="another list"):
        prepare_store(copied, store, HERE)
    change_rows(copied / "FileList.csv", lambda row: {**row, "Split": "TRAIN"})
    with pytest.raises(EchocycleError, match="another list"):
        prepare_store(copied, store, HERE)


def test_check_takes_the_list_that_prepare_takes(phantom_folder: Path, tmp_path: Path) -> None:
    """One without splits, which are drawn; without being told to, both refuse it."""
    folder = some_videos(phantom_folder, tmp_path / "videos", 6)
    rows = [{key: value for key, value in row.items() if key != "Split"} for row in rows_of(folder / "FileList.csv")]
    write_rows(folder / "FileList.csv", rows)
    settings = replace(HERE, assign_splits=(0.5, 0.25, 0.25))
    told = stages.check(folder, settings, decode=True)
    index = prepare_store(folder, tmp_path / "store", settings).index
    listed = {split: summary["videos"] for split, summary in told["splits"].items() if summary["videos"]}
    assert index["split"].value_counts().to_dict() == listed
    with pytest.raises(EchocycleError, match="no column Split"):
        stages.check(folder)


def test_a_folder_that_is_no_store_is_not_written_into(few: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EchocycleError, match="not a frame store. Choose another folder"):
        prepare_store(few[0], tmp_path, HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda root: root / "nowhere", "does not exist"),
        (lambda root: root, "has no FileList.csv"),
        (lambda root: (root / "Videos").mkdir() or root / "Videos", "has no FileList.csv"),
        (
            lambda root: (root / "FileList.csv").write_text("FileName,EF,Split\nA,50,TRAIN\n") and root,
            "no folder Videos",
        ),
    ],
)
def test_a_wrong_folder_is_one_sentence(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    with pytest.raises(EchocycleError, match=sentence):
        prepare_store(make(tmp_path), tmp_path / "store", HERE)
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "store.partial").exists()


def test_another_format_is_refused(few: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    meta = json.loads(few[1]["store.json"])
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(EchocycleError, match="format 99"):
        Store(tmp_path / "store")


def test_a_mask_set_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(EchocycleError, match="no masks 'css' \\(it has: truth\\)"):
        store.masks("css")
    assert not store.has_masks("css")
    assert store.has_masks("truth")
