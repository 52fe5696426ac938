"""Exported networks: they answer as the originals do, in each format, and say what goes in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echocycle.bundle import Bundle, load_bundle, save_bundle
from echocycle.engines import export as exporting
from echocycle.engines.checking import drawn_heart, drawn_masks
from echocycle.engines.export import export_bundle
from echocycle.engines.graphs import inner_graph, why_not
from echocycle.engines.sessions import ONNX, OPENVINO, open_session
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.inference.clips import ef_of_clips
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec

CPU = torch.device("cpu")


def segmenter(network: str, width: int = 2, size: int = 32, **more: Any) -> Part:
    torch.manual_seed(1)
    spec = SegmenterSpec(network, width, size, (40.0,), (50.0,), False, **more)
    return Part(spec, spec.build()).to(CPU)


def regressor(channels: int = 3, widths: tuple[int, ...] = (2, 4, 4, 4), **more: Any) -> Part:
    torch.manual_seed(2)
    spec = RegressorSpec("r2plus1d_18", widths, channels, 10.0, 32, 8, 2, (40.0,), (50.0,), False, **more)
    network = spec.build()
    for each in [network] if spec.members == 1 else network:  # type: ignore[union-attr]
        each.set_bias(55.0)  # type: ignore[operator]
    return Part(spec, network).to(CPU)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a segmenter that sees frames together and two EF networks, one of masks alone."""
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(Bundle(segmenter("beat_unet"), regressor(1), further=(regressor(3),)), folder)
    return folder


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch"])
def test_exported_networks_answer_as_predict_does(bundle: Path, tmp_path: Path, to: Any) -> None:
    heart = drawn_heart(16, seed=3)
    described = read_json(export_bundle(bundle, to, tmp_path / "out", [("heart", heart)]))
    model = load_bundle(bundle)
    assert list(described["parts"]) == ["segmenter", "regressor", "regressor-2"]
    assert "mean" in described["answer"]
    for name, told in described["parts"].items():
        file = tmp_path / "out" / told["file"]
        assert sha256(file) == told["sha256"]
        assert [each["input"] for each in told["checks"]] == ["noise", "drawn heart", "heart"]
        assert all(each["largest_difference"] <= told["tolerance"]["largest_difference"] for each in told["checks"])
        run = exporting._session(file, to)
        part = model.parts()[name]
        if name == "segmenter":
            expected = np.concatenate(list(probabilities(part, heart, 64, CPU)))
            assert np.abs(run(heart) * 255 - expected).max() <= 0.51
            continue
        masks = drawn_masks(heart, 32)
        given = [heart[None, :15:2], masks[None, :15:2]][: 1 + part.spec.takes_masks]
        assert run(*given)[0] == pytest.approx(ef_of_clips(part, heart, masks, [0], CPU)[0], abs=1e-2)


@pytest.mark.parametrize(
    ("part", "shape"),
    [(segmenter("unet", standardise=True), (3, 3, 32, 32)), (segmenter("deeplabv3_resnet50", size=64), (1, 3, 64, 64)),
     (regressor(4, members=2), (3, 4, 8, 32, 32))],
)  # fmt: skip
def test_other_networks_in_other_engines(part: Part, shape: tuple[int, ...], tmp_path: Path) -> None:
    file = tmp_path / "a.onnx"
    from echocycle.engines.graphs import inner_input, write_onnx

    write_onnx(inner_graph(part), (inner_input(part),), file)
    given = torch.rand(shape)
    with torch.no_grad():
        found = part.network(given)
    expected = (found if isinstance(part.spec, RegressorSpec) else found.logits).numpy()
    for engine in (ONNX, OPENVINO):
        assert open_session(file, engine, 1)(given.numpy()) == pytest.approx(expected, abs=1e-3)


def test_what_only_pytorch_runs_is_refused(tmp_path: Path) -> None:
    part = regressor(dropout=0.5, passes=2)
    assert why_not(part) is not None
    save_bundle(Bundle(None, part), tmp_path / "bundle")
    with pytest.raises(EchocycleError, match="random numbers"):
        export_bundle(tmp_path / "bundle", "onnx", tmp_path / "out")
    with pytest.raises(EchocycleError, match="onnx, openvino, torch"):
        export_bundle(tmp_path / "bundle", "tflite", tmp_path / "out")  # type: ignore[arg-type]


def test_an_export_that_answers_otherwise_is_removed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_session", lambda file, to: lambda *arrays: np.float32(2.0))
    with pytest.raises(EchocycleError, match="gives another answer than the model on noise"):
        export_bundle(bundle, "torch", tmp_path)
    assert not list(tmp_path.iterdir())
