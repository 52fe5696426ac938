"""Recordings of every kind get a result; what cannot be read is named and stops nothing."""

import csv
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file

from echocycle.bundle import Bundle, load_bundle, save_bundle
from echocycle.cli import main
from echocycle.data.clips import ClipBatch, clip_starts, cut_clip
from echocycle.data.domain_shift import reference
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.inference import recordings as inference
from echocycle.inference.clips import predict_clips
from echocycle.inference.recordings import predict_recording
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.prediction import DISCLAIMER
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.settings.stages import LabelSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained bundle of a teacher with its segmenter, that knows the phantom's measures."""
    data = TrainingData(store, draw_budget(store, LabelSettings("4"), needs="ef"))
    mean, std = input_statistics(data)
    torch.manual_seed(1)
    segmenter = SegmenterSpec("unet", 4, 56, mean, std, False)
    regressor = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), 4, 10.0, 32, 16, 3, mean, std, False)
    network = regressor.build()
    network.set_bias(55.0)
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    made = Bundle(
        Part(segmenter, segmenter.build()),
        Part(regressor, network),
        {"run": "teacher", "method": "teacher"},
        reference(data, store.phantom_version),
    )
    save_bundle(made, folder / "model")
    return folder


@pytest.fixture(scope="module")
def bundle(model: Path) -> Bundle:
    return load_bundle(model)


def video_of(phantom: Path) -> Path:
    return sorted((phantom / "Videos").glob("*.avi"))[0]


def write_short(phantom: Path, path: Path) -> None:
    """The first 20 frames of a phantom video."""
    write_mjpeg(path, read_video(video_of(phantom)).frames[:20], 50)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ----------------------------------------------------------------------------------------------- one recording


def test_a_phantom_video(phantom_folder: Path, bundle: Bundle) -> None:
    path = video_of(phantom_folder)
    frames = read_video(path).frames
    found = predict_recording(path, bundle, CPU, stride=10)
    assert found.n_frames == len(frames)
    np.testing.assert_array_equal(found.frames, frames)
    assert found.masks is not None
    assert found.masks.shape == frames.shape
    assert found.masks.dtype == np.uint8
    starts = [start for start, _ in found.ef_clips]
    assert starts == list(range(0, clip_starts(len(frames), 16, 3), 10))
    assert found.ef == pytest.approx(np.mean([ef for _, ef in found.ef_clips]))
    assert len(found.mask_area_px) == len(frames)
    assert found.mask_area_px[3] == pytest.approx((found.masks[3] > 127.5).sum())
    assert found.model["id"] == bundle.id
    assert any("synthetic" in note for note in found.notes)
    assert not any("Unlike" in note for note in found.notes)


@pytest.mark.parametrize("n_frames", [30, 46, 47, 90])
def test_ef_of_clips_is_that_of_clips_cut_one_by_one(store: Store, bundle: Bundle, n_frames: int) -> None:
    """The windows of the whole video, its short end included, are what the training loop would cut."""
    regressor = bundle.regressor
    assert regressor is not None
    spec = regressor.spec
    frames = np.array(store.frames(0)[:n_frames])
    masks = store.masks("truth").probabilities(0, np.arange(n_frames))
    starts = list(range(clip_starts(n_frames, spec.frames, spec.period)))
    found = predict_clips(regressor, frames, lambda numbers: masks[numbers], starts, 7, CPU)

    class Alone:
        def frames(self, video: int) -> np.ndarray:
            return frames

    for start, ef in zip(starts, found, strict=True):
        clip, valid = cut_clip(Alone(), 0, start, spec.frames, spec.period)  # type: ignore[arg-type]
        mask = np.zeros((spec.frames, 112, 112), np.uint8)
        mask[:valid] = masks[start :: spec.period][:valid]
        batch = ClipBatch(
            torch.from_numpy(clip)[None],
            torch.from_numpy(mask)[None],
            torch.tensor([valid]),
            torch.zeros(1, 2, dtype=torch.int64),
            None,
            torch.zeros(1),
        )
        with torch.no_grad():
            expected = regressor.network(regressor.preprocess.clips(batch, masks=True))
        assert ef == pytest.approx(float(expected), abs=1e-3)


def test_the_real_clip_is_unlike_the_phantom(bundle: Bundle) -> None:
    path = Path(str(get_testdata_file("color3d_jpeg_baseline.dcm", download=False)))
    found = predict_recording(path, bundle, CPU, stride=16)
    assert found.ef is not None
    assert math.isfinite(found.ef)
    assert found.frames is not None
    assert found.frames.shape[1:] == (112, 112)
    assert found.affine is not None
    assert found.affine.shape == (2, 3)
    assert any("synthetic clips" in note and "no clinical meaning" in note for note in found.notes)
    assert any(note.startswith("Unlike the training videos") for note in found.notes)


@pytest.mark.parametrize("n_frames", [1, 2, 12, 45])
def test_short_recordings(phantom_folder: Path, tmp_path: Path, bundle: Bundle, n_frames: int) -> None:
    path = tmp_path / "short.avi"
    write_mjpeg(path, read_video(video_of(phantom_folder)).frames[:n_frames], 50)
    found = predict_recording(path, bundle, CPU)
    assert found.n_frames == n_frames
    assert found.ef is not None
    assert math.isfinite(found.ef)
    assert any(f"has {n_frames} frames; a clip needs 46" in note for note in found.notes)


def test_a_segmenter_alone_measures_by_discs(phantom_folder: Path, bundle: Bundle) -> None:
    alone = Bundle(bundle.segmenter, None, bundle.provenance, bundle.reference)
    found = predict_recording(video_of(phantom_folder), alone, CPU)
    assert found.ef == found.ef_by_discs
    assert found.ef_clips == []
    assert any("no EF network" in note for note in found.notes)


def test_a_teacher_without_its_segmenter_is_refused(phantom_folder: Path, bundle: Bundle) -> None:
    with pytest.raises(EchocycleError, match="needs masks but has no segmenter"):
        predict_recording(video_of(phantom_folder), Bundle(None, bundle.regressor), CPU)


def test_a_video_only_network_needs_no_masks(phantom_folder: Path, bundle: Bundle) -> None:
    assert bundle.regressor is not None
    spec = replace(bundle.regressor.spec, channels=3)
    alone = Bundle(None, Part(spec, spec.build()).to(CPU))
    found = predict_recording(video_of(phantom_folder), alone, CPU, stride=30)
    assert found.ef is not None
    assert found.masks is None
    assert found.mask_area_px == []


def test_a_model_of_rgb_frames_takes_grey_ones(phantom_folder: Path, bundle: Bundle) -> None:
    assert bundle.segmenter is not None
    assert bundle.regressor is not None
    colour: dict[str, Any] = {"mean": (30.0,) * 3, "std": (50.0,) * 3, "color": True}
    grey: dict[str, Any] = {"mean": (30.0,), "std": (50.0,), "color": False}
    efs = []
    for change in (colour, grey):
        parts = [
            Part(replace(part.spec, **change), part.network).to(CPU) for part in (bundle.segmenter, bundle.regressor)
        ]
        efs.append(predict_recording(video_of(phantom_folder), Bundle(*parts), CPU, stride=30).ef)
    assert efs[0] == pytest.approx(efs[1], abs=1e-3)


# ---------------------------------------------------------------------------------------------- the command


def test_a_broken_file_among_good_ones(
    phantom_folder: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "with [b] brackets é", tmp_path / "out"
    (folder / "deeper").mkdir(parents=True)
    write_short(phantom_folder, folder / "a.avi")
    write_short(phantom_folder, folder / "deeper" / "z.avi")
    (folder / "broken.avi").write_bytes(b"RIFF....AVI torn")
    (folder / "notes.txt").write_text("no recording, and not meant to be one")
    (folder / ".hidden.avi").write_bytes(b"")
    assert main(["predict", str(folder), "-o", str(out), "--model", str(model), "--stride", "30"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "broken.avi" in said
    assert "[b]" in said
    assert "1 of 3 recordings could not be read" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in out.iterdir()) == [
        "a.avi.json", "a.avi.masks.npz", "a.avi.overlay.mp4", "predictions.csv", "z.avi.json", "z.avi.masks.npz", "z.avi.overlay.mp4",
    ]  # fmt: skip
    rows = rows_of(out / "predictions.csv")
    assert [Path(row["source"]).name for row in rows] == ["a.avi", "z.avi"]
    content = json.loads((out / "a.avi.json").read_text())
    assert content["disclaimer"] == DISCLAIMER
    assert float(rows[0]["ef"]) == pytest.approx(content["ef"], rel=1e-4)
    assert any("synthetic" in note for note in content["notes"])
    assert read_video(out / "a.avi.overlay.mp4").frames.shape[0] == content["n_frames"]


def test_the_same_call_again_gives_the_same(phantom_folder: Path, tmp_path: Path, model: Path) -> None:
    clip, out = tmp_path / "clip.avi", tmp_path / "out"
    write_short(phantom_folder, clip)
    call = ["predict", str(clip), "-o", str(out), "-m", str(model), "--stride", "30"]
    assert main(call) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".json", ".csv")}
    assert main(call) == 0
    assert {name: (out / name).read_bytes() for name in first} == first
    assert len(rows_of(out / "predictions.csv")) == 1


def test_a_call_that_was_cut_short_is_gone_on_with(
    phantom_folder: Path,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was done is in the table, is not done again, and that is said; what changed is done again."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        write_short(phantom_folder, folder / f"{name}.avi")
    original, seen = inference.predict_recording, list[str]()

    def noting(path: Path, *rest: Any) -> Any:
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append(path.name)
        return original(path, *rest)

    monkeypatch.setattr(inference, "predict_recording", noting)

    def predicted(stride: int) -> list[str]:
        seen.clear()
        inference.predict_all([folder], out, model, device="cpu", stride=stride)
        return list(seen)

    stop = 2
    with pytest.raises(KeyboardInterrupt):
        predicted(30)
    assert [Path(row["source"]).name for row in rows_of(out / "predictions.csv")] == ["a.avi", "b.avi"]
    stop = 99
    capsys.readouterr()
    assert predicted(30) == ["c.avi"]
    assert " ".join(capsys.readouterr().err.split()).count("predicted before; delete") == 2
    table = (out / "predictions.csv").read_bytes()
    assert [Path(row["source"]).name for row in rows_of(out / "predictions.csv")] == ["a.avi", "b.avi", "c.avi"]
    (out / "predictions.csv").unlink()  # as after a kill that left no time for it
    assert predicted(30) == []
    assert (out / "predictions.csv").read_bytes() == table
    os.utime(folder / "b.avi", (time.time() + 10, time.time() + 10))
    assert predicted(30) == ["b.avi"]
    assert predicted(20) == ["a.avi", "b.avi", "c.avi"]
    (out / "a.avi.json").unlink()
    other = load_bundle(model)
    assert other.regressor is not None
    os.utime(folder / "b.avi", (0, 0))
    save_bundle(replace(other, provenance={"run": "another"}), tmp_path / "other" / "model")
    assert predicted(20) == ["a.avi"]
    inference.predict_all([folder], out, tmp_path / "other", device="cpu", stride=20)
    assert seen == ["a.avi", "a.avi", "b.avi", "c.avi"]


def test_a_file_of_that_name_elsewhere_is_another_recording(
    phantom_folder: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where both are named by the same relative path."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_short(phantom_folder, tmp_path / name / "a.avi")
    call = ["predict", "a.avi", "-o", str(tmp_path / "out"), "-m", str(model), "--stride", "30"]
    monkeypatch.chdir(tmp_path / "here")
    assert main(call) == 0
    monkeypatch.chdir(tmp_path / "there")
    monkeypatch.setattr(inference, "predict_recording", lambda *_: pytest.fail("was predicted"))
    assert main(call) == 1


def test_the_output_folder_is_looked_at_first(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "load_bundle", lambda *_: pytest.fail("went on"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "predictions.csv").write_text("FileName,EF\na,50\n")
    (tmp_path / "file").write_text("text")
    for out, message in (("out", "another kind of table"), ("file", "is a file; name a folder")):
        with pytest.raises(EchocycleError, match=message):
            inference.predict_all([tmp_path / "a.avi"], tmp_path / out, model)


def test_what_cannot_be_predicted_is_refused(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    out = ["-o", str(tmp_path / "out"), "--model", str(model)]
    for inputs, code, message in (
        ([], 2, "Name at least one recording"),
        ([str(tmp_path / "empty")], 2, "holds no recording"),
        ([str(tmp_path / "texts")], 2, "holds no recording"),
        ([str(tmp_path / "nowhere.avi")], 1, "is missing"),
        ([str(tmp_path / "texts" / "a.txt")], 1, "not a recording"),
    ):
        assert main(["predict", *inputs, *out]) == code, inputs
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["predict", "x.avi", "-o", str(tmp_path / "out"), "--model", str(tmp_path)]) == 2
    assert main(["predict", "x.avi", *out, "--stride", "0"]) == 2
