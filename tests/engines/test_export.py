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
from echocycle.engines.graphs import inner_graph, plain, why_not
from echocycle.engines.sessions import ENGINES, as_openvino, open_session
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


def regressor(channels: int = 3, **more: Any) -> Part:
    torch.manual_seed(2)
    spec = RegressorSpec("r2plus1d_18", (2, 4, 4, 4), channels, 10.0, 32, 8, 2, (40.0,), (50.0,), False, **more)
    network = spec.build_one()
    network.set_bias(55.0)
    return Part(spec, network).to(CPU)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a segmenter that sees frames together and two EF networks, one of masks alone."""
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(Bundle(segmenter("beat_unet"), regressor(1), further=(regressor(3),)), folder)
    return folder


@pytest.fixture(scope="module")
def exported(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That model as ONNX, checked on a recording as well."""
    return export_bundle(bundle, "onnx", tmp_path_factory.mktemp("onnx"), [("heart", drawn_heart(16, seed=3))])


def test_exported_networks_answer_as_predict_does(bundle: Path, exported: Path, tmp_path: Path) -> None:
    heart = drawn_heart(16, seed=3)
    described, model = read_json(exported), load_bundle(bundle)
    assert list(described["parts"]) == ["segmenter", "regressor", "regressor-2"]
    assert "mean" in described["answer"]
    for name, told in described["parts"].items():
        file, part = exported.parent / told["file"], model.parts()[name]
        assert sha256(file) == told["sha256"]
        assert [each["input"] for each in told["checks"]] == ["noise", "drawn heart", "heart"]
        assert all(each["largest_difference"] <= told["tolerance"]["largest_difference"] for each in told["checks"])
        as_openvino(file, tmp_path / f"{name}.xml")
        for run in (
            exporting._session(file, "onnx"),
            exporting._session(tmp_path / f"{name}.xml", "openvino"),
        ):
            if name == "segmenter":
                expected = np.concatenate(list(probabilities(part, heart, 64, CPU)))
                assert np.abs(run(heart) * 255 - expected).max() <= 0.51
                continue
            masks = drawn_masks(heart, 32)
            given = [heart[None, :15:2], masks[None, :15:2]][: 1 + part.spec.takes_masks]
            assert run(*given)[0] == pytest.approx(ef_of_clips(part, heart, masks, [0], CPU)[0], abs=1e-2)


def test_a_program_of_pytorch(tmp_path: Path) -> None:
    save_bundle(Bundle(segmenter("unet", standardise=True)), tmp_path / "bundle")
    told = read_json(export_bundle(tmp_path / "bundle", "torch", tmp_path / "out"))["parts"]["segmenter"]
    heart = drawn_heart(5)
    with torch.no_grad():
        found = torch.export.load(tmp_path / "out" / told["file"]).module()(torch.from_numpy(heart)).numpy()
    expected = np.concatenate(list(probabilities(load_bundle(tmp_path / "bundle").segmenter, heart, 64, CPU)))  # type: ignore[arg-type]
    assert np.abs(found * 255 - expected).max() <= 0.51


def test_plain_layers_give_the_same() -> None:
    """DeepLabV3 loses the taps that lie off its map: in it nothing but the sums' order may change."""
    part, images = segmenter("deeplabv3_resnet50", size=64), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected, found = part.network(images).logits, inner_graph(part)(images)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    middle = [m for m in plain(part.network, 64).modules() if getattr(m, "dilation", None) == (12, 12)]
    assert not middle


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
    monkeypatch.setattr(exporting, "_write_torch", lambda graph, inputs, file: file.write_text("a file"))
    with pytest.raises(EchocycleError, match="gives another answer than the model on noise"):
        export_bundle(bundle, "torch", tmp_path)
    assert not list(tmp_path.iterdir())


def test_openvino_is_loaded_without_its_telemetry(exported: Path) -> None:
    import sys

    open_session(exported.parent / "regressor-2.onnx", ENGINES[2], 1)
    assert "openvino.tools.ovc.telemetry_stub" in sys.modules
    assert "openvino_telemetry" not in sys.modules
