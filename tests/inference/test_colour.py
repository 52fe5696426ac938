"""A model trained on RGB is given by `predict` what `prepare` gave it for training: colours, or grey where it was cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.predicting import FRAMES, PERIOD, video_of
from helpers.videos import write_rows

from echocycle.bundle import Bundle, save_bundle
from echocycle.bundle_description import read_description
from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.inference.batch import predict_batch
from echocycle.inference.clips import predict_clips
from echocycle.inference.recordings import predict_cut, predict_recording
from echocycle.models.specs import Part, RegressorSpec
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.settings.stages import PrepareSettings

CPU = torch.device("cpu")
CUT = "The picture was cut and is given in grey; the model was trained on RGB."
STRIDE = 8


def bundle_of(*, color: bool) -> Bundle:
    """An EF network that sees no masks, with random weights that tell red from blue."""
    mean, std = ((60.0, 30.0, 10.0), (20.0, 40.0, 80.0)) if color else ((30.0,), (40.0,))
    spec = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), 3, 10.0, 32, FRAMES, PERIOD, mean, std, color)
    torch.manual_seed(1)
    network = spec.build()
    network.set_bias(55.0)
    return Bundle(None, Part(spec, network).to(CPU), {"run": "rgb", "method": "supervised"})


@pytest.fixture
def folder(tmp_path: Path, phantom_folder: Path, size: int) -> Path:
    """A data set of one tinted video of so many pixels."""
    grey = read_video(video_of(phantom_folder)).frames[:30].repeat(size // 112, 1).repeat(size // 112, 2)
    warm = np.stack([grey, grey * 0.8, grey * 0.6], axis=-1).astype(np.uint8)
    (tmp_path / "data" / "Videos").mkdir(parents=True)
    write_mjpeg(tmp_path / "data" / "Videos" / "A.avi", warm, 50)
    write_rows(tmp_path / "data" / "FileList.csv", [{"FileName": "A", "EF": 50, "Split": "TRAIN"}])
    return tmp_path / "data"


def ef_in(store: Store, bundle: Bundle, starts: list[int]) -> np.ndarray:
    """As the evaluation of a run measures the store's first video."""
    assert bundle.regressor is not None
    return predict_clips(bundle.regressor, store.frames(0), None, starts, 20, CPU)


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize("color", [True, False])
def test_predict_and_evaluate_give_a_network_the_same(folder: Path, tmp_path: Path, size: int, color: bool) -> None:
    store = prepare_store(folder, tmp_path / "store", PrepareSettings(workers=0, color=color))
    path, bundle = folder / "Videos" / "A.avi", bundle_of(color=color)
    found = predict_recording(path, bundle, CPU, stride=STRIDE)
    starts = [start for start, _ in found.ef_clips]
    assert len(starts) > 1
    np.testing.assert_allclose([ef for _, ef in found.ef_clips], ef_in(store, bundle, starts), atol=1e-4)
    assert (CUT in found.notes) == (color and size > 112)
    save_bundle(bundle, tmp_path / "run" / "model")
    assert read_description(tmp_path / "run").color == color
    outcome = predict_batch([path], tmp_path / "out", tmp_path / "run", device="cpu", stride=STRIDE)
    assert not outcome.failures
    assert outcome.results[0].ef == pytest.approx(found.ef, abs=1e-4)
    assert (CUT in outcome.results[0].notes) == (CUT in found.notes)


@pytest.mark.parametrize("size", [112])
def test_the_colours_matter(folder: Path) -> None:
    """Grey three times would give another EF; so a recording that was read in grey is not passed off as one in colour."""
    path, bundle = folder / "Videos" / "A.avi", bundle_of(color=True)
    cut = cut_sector(read_recording(path, color=True))
    found = predict_cut(cut, "A.avi", bundle, None, CPU, STRIDE)
    grey_thrice = replace(cut, colours=np.repeat(cut.frames[..., None], 3, axis=-1))
    other = predict_cut(grey_thrice, "A.avi", bundle, None, CPU, STRIDE)
    assert found.ef is not None
    assert other.ef is not None
    assert abs(found.ef - other.ef) > 0.01
    with pytest.raises(ValueError, match="color=True"):
        predict_cut(cut_sector(read_recording(path)), "A.avi", bundle, None, CPU, STRIDE)


@pytest.mark.parametrize("size", [112])
def test_a_grey_model_gets_the_luma_as_before(folder: Path) -> None:
    path, bundle = folder / "Videos" / "A.avi", bundle_of(color=False)
    found = predict_recording(path, bundle, CPU, stride=STRIDE)
    luma = read_video(path).frames
    assert found.frames is not None
    np.testing.assert_array_equal(found.frames, luma)
    starts = [start for start, _ in found.ef_clips]
    assert bundle.regressor is not None
    expected = predict_clips(bundle.regressor, luma, None, starts, 20, CPU)
    np.testing.assert_array_equal([ef for _, ef in found.ef_clips], expected)
