"""`echocycle.predict`: a file or an array in, a result out; the name always means the function."""

import importlib
import inspect
import math
import pkgutil
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.predicting import video_of
from pydicom.data import get_testdata_file

import echocycle
from echocycle.bundle import load_bundle
from echocycle.errors import EchocycleError
from echocycle.inference.recordings import predict_recording
from echocycle.recordings.video import read_video

PAGE = Path(__file__).resolve().parents[2] / "docs" / "predict.md"


def test_the_name_is_the_function_whatever_is_imported() -> None:
    function = echocycle.predict
    for module in pkgutil.walk_packages(echocycle.__path__, "echocycle."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert echocycle.predict is function
    assert inspect.isfunction(function)
    assert "predict" not in {module.name for module in pkgutil.iter_modules(echocycle.__path__)}


def test_a_file_and_its_frames_give_the_same(phantom_folder: Path, model: Path) -> None:
    path = video_of(phantom_folder)
    recording = read_video(path)
    bundle = load_bundle(model)
    expected = predict_recording(path, bundle, next(bundle.regressor.network.parameters()).device, stride=30)  # type: ignore[union-attr]
    of_file = echocycle.predict(path, model, stride=30, device="cpu")
    assert (of_file.source, of_file.file) == (str(path), path)
    assert of_file.ef == expected.ef
    grey = echocycle.predict(recording.frames, bundle, fps=recording.fps, stride=30, device="cpu")
    assert (grey.source, grey.file, grey.fps) == ("array", None, recording.fps)
    assert grey.ef == expected.ef
    np.testing.assert_array_equal(grey.masks, expected.masks)
    colour = echocycle.predict(np.repeat(recording.frames[..., None], 3, -1), bundle, stride=30, device="cpu")
    assert colour.ef == expected.ef
    assert math.isnan(colour.fps)


def test_the_pixel_size_makes_volumes_of_ml(phantom_folder: Path, model: Path) -> None:
    frames = read_video(video_of(phantom_folder)).frames
    known = echocycle.predict(frames, model, fps=50, spacing=(1.5, 1.5), stride=60, device="cpu")
    assert known.spacing_mm == (1.5, 1.5)
    assert any("given by the caller" in note for note in known.notes)
    assert echocycle.predict(frames, model, fps=50, spacing=2, stride=60, device="cpu").spacing_mm == (2.0, 2.0)


@pytest.mark.parametrize(
    ("frames", "known", "message"),
    [
        (np.zeros((9, 9), np.uint8), {}, r"shape \(9, 9\)"),
        (np.zeros((9, 9, 9, 4), np.uint8), {}, "for RGB"),
        (np.zeros((0, 9, 9), np.uint8), {}, "shape"),
        (np.zeros((9, 9, 9)), {}, "holds float64; give uint8"),
        (np.zeros((9, 9, 9), np.uint8), {"fps": 0}, "fps is 0"),
        (np.zeros((9, 9, 9), np.uint8), {"spacing": (1.0, -1.0)}, "spacing is"),
        (np.zeros((9, 9, 9), np.uint8), {"spacing": (1.0, 1.0, 1.0)}, "spacing is"),
    ],
)
def test_an_array_that_is_no_video_is_refused(model: Path, frames: np.ndarray, known: dict, message: str) -> None:
    with pytest.raises(EchocycleError, match=message):
        echocycle.predict(frames, model, **known)


def test_flow_in_colours_is_declined(model: Path) -> None:
    frames = np.zeros((20, 112, 112, 3), np.uint8)
    frames[::2, 30:60, 30:60, 0] = frames[1::2, 30:60, 30:60, 2] = 200
    frames[::2, 70:90, 30:60, 2] = frames[1::2, 70:90, 30:60, 0] = 200
    with pytest.raises(EchocycleError, match="colour Doppler"):
        echocycle.predict(frames, model)


def test_the_lines_of_the_page_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real cine as the file that they name."""
    (lines,) = re.findall(r"^```python\n(import echocycle\n.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len([line for line in lines.splitlines() if line.strip()]) == 3
    monkeypatch.chdir(tmp_path)
    shutil.copy(str(get_testdata_file("examples_ybr_color.dcm", download=False)), tmp_path / "clip.dcm")
    exec(compile(lines, "docs/predict.md", "exec"), {"__name__": "lines"})
    assert re.match(r"EF .*\d", capsys.readouterr().out)
