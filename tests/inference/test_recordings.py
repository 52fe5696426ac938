"""One recording and a model in, a prediction out; where no EF can be told there is none, and a reason."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.predicting import FRAMES, PERIOD, SPAN, video_of, write_short
from pydicom.data import get_testdata_file

from echocycle.bundle import Bundle, load_bundle
from echocycle.data.clips import ClipBatch, clip_starts, cut_clip
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.inference import clips
from echocycle.inference.clips import predict_clips
from echocycle.inference.recordings import predict_recording
from echocycle.models.specs import Part
from echocycle.prediction import Prediction
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.verdict import Verdict, write_verdict
from echocycle.writers.as_json import read_prediction, write_json

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle(model: Path) -> Bundle:
    return load_bundle(model)


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
    assert starts == list(range(0, clip_starts(len(frames), FRAMES, PERIOD), 10))
    assert found.ef == pytest.approx(np.mean([ef for _, ef in found.ef_clips]))
    assert len(found.mask_area_px) == len(frames)
    assert found.mask_area_px[3] == pytest.approx((found.masks[3] > 127.5).sum())
    assert found.model["id"] == bundle.id
    assert any("synthetic" in note for note in found.notes)
    assert not any("Unlike" in note for note in found.notes)
    assert found.not_measured is None
    assert found.warnings == ["The model has seen synthetic clips only: no clinical meaning."]


def test_ef_is_the_mean_of_all_ef_networks_and_each_is_kept(
    phantom_folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """One sees masks and one the video alone, in longer clips: then clips begin where those fit."""
    assert bundle.regressor is not None
    spec = replace(bundle.regressor.spec, channels=3, period=3)
    network = spec.build()
    network.set_bias(35.0)
    other = Part(spec, network).to(CPU)
    path = video_of(phantom_folder)
    both = predict_recording(path, replace(bundle, further=(other,)), CPU, stride=10)
    alone = [
        predict_recording(path, replace(bundle, regressor=part), CPU, stride=10) for part in (bundle.regressor, other)
    ]
    assert [start for start, _ in both.ef_clips] == [start for start, _ in alone[1].ef_clips]
    efs = [dict(each.ef_clips) for each in alone]
    for start, ef in both.ef_clips:
        assert ef == pytest.approx((efs[0][start] + efs[1][start]) / 2, abs=1e-4)
    expected = [np.mean([each[start] for start, _ in both.ef_clips]) for each in efs]
    assert both.ef_members == pytest.approx(expected, abs=1e-4)
    assert both.ef == pytest.approx(np.mean(expected), abs=1e-4)
    assert alone[0].ef_members == []
    assert read_prediction(write_json(both, tmp_path)).ef_members == pytest.approx(both.ef_members)


def test_a_model_computes_in_bf16_where_its_reference_says_so(phantom_folder: Path, bundle: Bundle) -> None:
    path = video_of(phantom_folder)
    exact, rough = (
        predict_recording(path, replace(bundle, reference=bundle.reference | more), CPU, stride=30)
        for more in ({}, {"precision": "bf16"})
    )
    assert exact.ef != rough.ef
    assert exact.ef == pytest.approx(rough.ef, abs=0.5)


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
    assert (found.ef is None) == (found.not_measured is not None)  # its masks may be good or bad
    assert found.frames is not None
    assert found.frames.shape[1:] == (112, 112)
    assert found.affine is not None
    assert found.affine.shape == (2, 3)
    assert any("synthetic clips" in note and "no clinical meaning" in note for note in found.notes)
    assert any(note.startswith("Unlike the training videos") for note in found.notes)


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
    network = spec.build()
    network.set_bias(55.0)  # random weights alone may answer less than 0 %, which is no EF
    alone = Bundle(None, Part(spec, network).to(CPU))
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


def test_a_long_recording_in_pieces_gives_the_same(
    phantom_folder: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The EF network sees so many frames at once, however long the recording is; no clip is lost between two pieces."""
    path = video_of(phantom_folder)
    whole = predict_recording(path, bundle, CPU, stride=3)
    monkeypatch.setattr(clips, "STARTS_AT_ONCE", 10)
    pieces = predict_recording(path, bundle, CPU, stride=3)
    assert [start for start, _ in pieces.ef_clips] == [start for start, _ in whole.ef_clips]
    np.testing.assert_allclose([ef for _, ef in pieces.ef_clips], [ef for _, ef in whole.ef_clips], atol=1e-3)


# ------------------------------------------------------------------------------------------------- no answer


def not_measured(found: Prediction, reason: str) -> None:
    """No EF, and the reason in every place where it is looked for."""
    assert found.ef is None
    assert found.not_measured is not None
    assert reason in found.not_measured
    assert found.notes[-1] == f"EF not measured: {found.not_measured}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("black", "is black"), ("frozen", "stands still"), ("one", "is 1 frame"), ("written on", "is black")],
)
def test_where_nothing_is_seen_there_is_no_ef(
    phantom_folder: Path, tmp_path: Path, bundle: Bundle, name: str, reason: str
) -> None:
    sound = read_video(video_of(phantom_folder)).frames[:30]
    written_on = np.zeros_like(sound)
    written_on[:, 4:8, 10:14] = 255
    frames = {
        "black": np.zeros_like(sound),
        "frozen": np.repeat(sound[:1], 30, axis=0),
        "one": sound[:1],
        "written on": written_on,
    }
    write_mjpeg(tmp_path / "clip.avi", frames[name], 50)
    found = predict_recording(tmp_path / "clip.avi", bundle, CPU)
    not_measured(found, reason)
    assert found.masks is None
    assert found.ef_by_discs is None
    assert found.ef_clips == []
    assert found.frames is not None


@pytest.mark.parametrize("frames", [9, SPAN - 1])
def test_shorter_than_a_clip_there_is_no_ef(phantom_folder: Path, tmp_path: Path, bundle: Bundle, frames: int) -> None:
    found = predict_recording(write_short(phantom_folder, tmp_path / "a.avi", frames), bundle, CPU)
    not_measured(found, f"has {frames} frames; a clip of the model needs {SPAN}")
    assert found.masks is not None
    one_more = predict_recording(write_short(phantom_folder, tmp_path / "b.avi", SPAN), bundle, CPU)
    assert one_more.ef is not None
    assert one_more.ef_clips == [(0, pytest.approx(one_more.ef))]


@pytest.mark.parametrize(
    ("ef", "reason"), [(122.0, "answered 122 %"), (-7.0, "answered -7 %"), (math.nan, "no number")]
)
def test_an_ef_that_cannot_be_is_none(phantom_folder: Path, model: Path, ef: float, reason: str) -> None:
    bundle = load_bundle(model)
    assert bundle.regressor is not None
    torch.nn.init.zeros_(bundle.regressor.network.fc.weight)
    bundle.regressor.network.set_bias(ef)
    not_measured(predict_recording(video_of(phantom_folder), bundle, CPU, stride=30), reason)


@pytest.mark.parametrize(("marked", "reason"), [("few", "in 7 of 84 frames only"), ("black", "outside the ultrasound")])
def test_masks_that_fail_give_no_ef(
    phantom_folder: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, marked: str, reason: str
) -> None:
    """Also for a network that does not see them: what they show is no apical view."""
    path = write_short(phantom_folder, tmp_path / "a.avi", 84)
    masks = np.zeros((84, 112, 112), np.uint8)
    if marked == "few":
        masks[:7, 40:70, 45:65] = 255
    else:
        masks[:, 80:111, :20] = 255  # a corner below the fan
    monkeypatch.setattr("echocycle.inference.answered.probabilities", lambda *_: iter([masks[:50], masks[50:]]))
    assert bundle.regressor is not None
    spec = replace(bundle.regressor.spec, channels=3)
    video_only = Bundle(bundle.segmenter, Part(spec, spec.build()).to(CPU))
    for each in (bundle, video_only):
        found = predict_recording(path, each, CPU)
        not_measured(found, reason)
        assert found.ef_by_discs is None
        assert found.ed_frames == []
        assert len(found.mask_area_px) == 84  # they are kept, to be looked at


def test_a_segmenter_alone_that_finds_no_beat_gives_no_ef(
    phantom_folder: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_short(phantom_folder, tmp_path / "a.avi", 40)
    masks = np.zeros((40, 112, 112), np.uint8)
    masks[:, 40:70, 45:65] = 255
    monkeypatch.setattr("echocycle.inference.answered.probabilities", lambda *_: iter([masks]))
    found = predict_recording(path, Bundle(bundle.segmenter), CPU)
    not_measured(found, "No beat could be measured")


def test_a_bad_verdict_is_said_with_every_result(phantom_folder: Path, model: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(model, tmp_path / "run"))
    path = write_short(phantom_folder, tmp_path / "a.avi")
    bad = Verdict("test", 6, 15.3, 11.0, 19.0, 50.2, 10.4, "all-clips")
    write_verdict(run, bad)
    found = predict_recording(path, load_bundle(run), CPU)
    assert bad.sentence() in found.notes
    assert bad.sentence() in found.warnings
    assert found.model["verdict"] == bad.sentence()
    good = replace(bad, error=4.0, low=3.0, high=5.0)
    write_verdict(run, good)
    found = predict_recording(path, load_bundle(run), CPU)
    assert found.model["verdict"] == good.sentence()
    assert good.sentence() not in [*found.notes, *found.warnings]
