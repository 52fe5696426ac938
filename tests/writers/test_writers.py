"""Writers: what they write can be read again and holds what the prediction says."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echocycle.errors import EchocycleError
from echocycle.prediction import Prediction
from echocycle.recordings.video import read_video
from echocycle.writers import WRITERS
from echocycle.writers.as_csv import as_row, write_csv
from echocycle.writers.as_json import read_prediction, write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.overlay import FOOTER, HEADER, HEIGHT, OUTLINE, PICTURE, write_overlay


@pytest.fixture
def prediction() -> Prediction:
    """A ventricle of 24 frames: an ellipse that beats once, its end systole in frame 12."""
    time = np.arange(24)
    row, column = np.indices((112, 112))
    size = 1 + 0.15 * np.cos(2 * np.pi * time / 24)
    distance = np.hypot((column - 56) / 14, (row - 48) / 25)
    masks = np.stack([255 / (1 + np.exp(8 * (distance / s - 1))) for s in size]).astype(np.uint8)
    rng = np.random.default_rng(0)
    return Prediction(
        source="/archive/clip 1.dcm",
        ef=57.6,
        protocol="all",
        fps=30.0,
        n_frames=24,
        spacing_mm=(1.5, 1.5),
        ef_clips=[(0, 57.0), (1, 58.2)],
        mask_area_px=(masks > 127).sum(axis=(1, 2)).astype(float).tolist(),
        ef_by_discs=55.1,
        ed_frames=[0],
        es_frames=[12],
        notes=["frame rate is low"],
        model={"id": "small", "run": "teacher", "torch": "2"},
        masks=masks,
        frames=rng.integers(0, 90, (24, 112, 112), dtype=np.uint8),
        affine=np.array([[2.0, 0, 10], [0, 2.0, 20]]),
    )


def test_all_writers_write_their_file(prediction: Prediction, tmp_path: Path) -> None:
    paths = {name: write(prediction, tmp_path / "out") for name, write in WRITERS.items()}
    assert {name: path.name for name, path in paths.items()} == {
        "overlay": "clip 1.dcm.overlay.mp4",
        "masks": "clip 1.dcm.masks.npz",
        "json": "clip 1.dcm.json",
    }
    assert list(WRITERS)[-1] == "json"  # which says that the others are there
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths.values())


def test_json_round_trip(prediction: Prediction, tmp_path: Path) -> None:
    content = json.loads(write_json(prediction, tmp_path).read_text(encoding="utf-8"))
    assert content.pop("schema_version") == 1
    assert content.pop("disclaimer") == "Research use only; not a medical device."
    assert "masks" not in content
    assert "frames" not in content
    content["spacing_mm"] = tuple(content["spacing_mm"])
    content["ef_clips"] = [tuple(clip) for clip in content["ef_clips"]]
    assert content.pop("affine") == [[2, 0, 10], [0, 2, 20]]
    assert Prediction(**content) == prediction


def test_json_of_a_failed_measurement(tmp_path: Path) -> None:
    failed = Prediction("clip.avi", None, "all", math.nan, 0, ef_clips=[(np.int64(3), np.float32("nan"))])
    content = json.loads(write_json(failed, tmp_path).read_text())
    assert content["ef"] is None
    assert content["fps"] is None
    assert content["spacing_mm"] == [None, None]
    assert content["ef_clips"] == [[3, None]]


def test_what_was_written_is_read_again(prediction: Prediction, tmp_path: Path) -> None:
    assert read_prediction(prediction.source, tmp_path) is None
    write_json(prediction, tmp_path)
    found = read_prediction(prediction.source, tmp_path)
    assert found is not None
    assert np.array_equal(found.affine, prediction.affine)  # type: ignore[arg-type]
    assert replace(found, affine=None) == replace(prediction, affine=None)
    assert found.frames is found.masks is None
    assert as_row(found) == as_row(prediction)
    unknown = replace(prediction, ef=None, fps=math.nan, spacing_mm=(math.nan, 1.5), affine=None)
    write_json(unknown, tmp_path)
    found = read_prediction(unknown.source, tmp_path)
    assert found is not None
    assert as_row(found) == as_row(unknown)
    assert math.isnan(found.fps)
    with pytest.raises(EchocycleError, match="holds the result of /archive/clip 1"):
        read_prediction("/elsewhere/clip 1.dcm", tmp_path)
    path = tmp_path / "clip 1.dcm.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    assert read_prediction(unknown.source, tmp_path) is None


def test_json_of_another_recording_is_not_overwritten(prediction: Prediction, tmp_path: Path) -> None:
    write_json(prediction, tmp_path)
    write_json(replace(prediction, ef=50.0), tmp_path)
    with pytest.raises(EchocycleError, match="holds the result of /archive/clip 1"):
        write_json(replace(prediction, source="/elsewhere/clip 1.dcm"), tmp_path)
    assert json.loads((tmp_path / "clip 1.dcm.json").read_text())["ef"] == 50


def test_csv_collects_and_replaces_rows(prediction: Prediction, tmp_path: Path) -> None:
    write_csv([prediction, replace(prediction, source='b, "Ä".avi', ef=None, fps=math.nan)], tmp_path)
    path = write_csv([replace(prediction, ef=44.0), replace(prediction, source="c.avi")], tmp_path)
    assert b"\r" not in path.read_bytes()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["/archive/clip 1.dcm", 'b, "Ä".avi', "c.avi"]
    assert rows[1]["ef"] == rows[1]["fps"] == ""
    assert rows[0]["ef"] == "44"
    assert rows[0]["es_frames"] == "12"
    assert rows[0]["spacing_row_mm"] == "1.5"
    assert rows[0]["notes"] == "frame rate is low"
    assert all(any(row[column] for row in rows) for column in rows[0])  # no column that is always empty


def test_csv_of_another_kind_is_left_alone(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("FileName,EF\na,50\n")
    with pytest.raises(EchocycleError, match="another kind of table"):
        write_csv([prediction], tmp_path)
    assert (tmp_path / "predictions.csv").read_text() == "FileName,EF\na,50\n"


def test_masks_round_trip(prediction: Prediction, tmp_path: Path) -> None:
    with np.load(write_masks(prediction, tmp_path)) as content:
        assert np.array_equal(content["masks"], prediction.masks)
        assert np.array_equal(content["affine"], prediction.affine)
        assert content["fps"] == 30
        assert tuple(content["spacing_mm"]) == (1.5, 1.5)
    with pytest.raises(EchocycleError, match="no masks"):
        write_masks(replace(prediction, masks=None), tmp_path)


def test_overlay_plays(prediction: Prediction, tmp_path: Path) -> None:
    recording = read_video(write_overlay(prediction, tmp_path), color=True)
    assert recording.frames.shape == (24, HEIGHT, PICTURE, 3)
    assert recording.fps == 30
    assert recording.notes == ()
    # the outline: leftmost point of the ellipse in frame 0 and in end systole
    picture = recording.frames[:, HEADER : HEADER + PICTURE].astype(int)
    colour = np.abs(picture - OUTLINE).sum(axis=-1) < 200
    leftmost = [int(np.flatnonzero(frame.any(axis=0))[0]) for frame in colour]
    assert leftmost[0] == pytest.approx((56.5 - 14 * 1.15) * 4, abs=4)
    assert leftmost[12] == pytest.approx((56.5 - 14 * 0.85) * 4, abs=4)
    # the cursor moves along the curve, and something is written above and below
    below = recording.frames[:, HEADER + PICTURE : HEIGHT - FOOTER]
    assert np.abs(below[0].astype(int) - below[12]).max() > 60
    assert recording.frames[0, :HEADER].max() > 180
    assert recording.frames[0, HEIGHT - FOOTER :].max() > 100


def test_overlay_without_masks_rate_or_result(prediction: Prediction, tmp_path: Path) -> None:
    bare = Prediction("clip.avi", None, "all", math.nan, 24, frames=prediction.frames)
    recording = read_video(write_overlay(bare, tmp_path), color=True)
    assert len(recording.frames) == 24
    assert recording.fps == 30
    empty = replace(prediction, masks=np.zeros_like(prediction.masks), mask_area_px=[0.0] * 24)
    assert len(read_video(write_overlay(empty, tmp_path)).frames) == 24
    with pytest.raises(EchocycleError, match="no frames"):
        write_overlay(replace(prediction, frames=None), tmp_path)
