"""Which engine predicts: the fastest that agrees; what does not agree, fails or is not there is told and recorded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echocycle.bundle import Bundle, load_bundle
from echocycle.engines import adapters
from echocycle.engines.kept import Kept, known_by
from echocycle.engines.sessions import ONNX, OPENVINO, OPENVINO_BF16, TORCH, Engine
from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.inference import backend
from echocycle.inference.backend import VARIABLE, choose_engines
from echocycle.inference.batch import predict_all

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE)


class Fake:
    """Engines that are PyTorch in disguise: how far off each is, and what its try costs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, off: dict[Engine, float], seconds: dict[Engine, float]):
        self.tried: list[str] = []
        self.fails = False
        engines = [TORCH, *off]
        monkeypatch.setattr(backend, "installed", lambda: engines)
        monkeypatch.setattr(backend, "write_onnx", lambda graph, inputs, file: torch.save(graph, file))
        monkeypatch.setattr(backend, "open_session", self.open)
        self.off, self.seconds = off, seconds
        self.now = TORCH
        timed = backend._timed

        def with_price(part: Any, inputs: Any) -> Any:
            found = timed(part, inputs)[0]
            return found, self.seconds[self.now if isinstance(part.network, adapters._Run) else TORCH]

        monkeypatch.setattr(backend, "_timed", with_price)

    def open(self, file: Path, engine: Engine, threads: int) -> Any:
        self.tried.append(f"{file.stem} {engine}")
        self.now = engine
        graph = torch.load(file, weights_only=False)

        def run(array: np.ndarray) -> np.ndarray:
            if self.fails:
                raise RuntimeError("no memory")
            with torch.no_grad():
                return np.asarray(graph(torch.from_numpy(array)).numpy() + self.off[engine])

        return run


def only_ef(model: Path) -> Bundle:
    bundle = load_bundle(model)
    return Bundle(regressor=bundle.regressor)


def test_the_fastest_that_agrees_is_taken_and_remembered(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    off = {ONNX: 0.05, OPENVINO: 0.01, OPENVINO_BF16: 0.2}
    fake = Fake(monkeypatch, off, {TORCH: 9.0, ONNX: 3.0, OPENVINO: 2.0, OPENVINO_BF16: 1.0})
    bundle = only_ef(model)
    assert choose_engines(bundle, "auto", CPU).engines == {"regressor": "openvino float32"}
    kept = Kept(known_by(bundle.id, torch.get_num_threads())).trials()["regressor"]
    assert not kept[str(OPENVINO_BF16)]["agrees"]
    assert kept[str(OPENVINO_BF16)]["difference"] == pytest.approx(0.2, abs=0.01)
    fake.tried.clear()
    fake.off = dict.fromkeys(off, 9.0)  # nobody asks again
    assert choose_engines(bundle, "auto", CPU).engines == {"regressor": "openvino float32"}
    assert fake.tried == ["regressor openvino float32"]
    assert choose_engines(bundle, "onnxruntime", CPU).engines == {"regressor": "onnxruntime float32"}
    assert choose_engines(bundle, "torch", CPU).bundle is bundle


def test_one_that_gains_nothing_is_not_worth_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, {ONNX: 0.0}, {TORCH: 1.0, ONNX: 0.95})
    assert choose_engines(only_ef(model), "auto", CPU).engines == {"regressor": "torch float32"}


def test_a_named_engine_that_disagrees_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, {ONNX: 0.5}, {TORCH: 1.0, ONNX: 0.1})
    chosen = choose_engines(only_ef(model), "onnxruntime", CPU)
    assert chosen.engines == {"regressor": "torch float32"}
    assert "onnxruntime float32 differs by 0.5 EF points" in chosen.notes[0]


def test_an_engine_that_fails_while_it_predicts_is_told_and_recorded(
    model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(monkeypatch, {ONNX: 0.0}, {TORCH: 1.0, ONNX: 0.1})
    predict_all([clip], tmp_path / "torch", model, backend="torch", formats="json")
    predict_all([clip], tmp_path / "ours", model, backend="auto", formats="json")
    both = [read_json(tmp_path / name / f"{clip.name}.json") for name in ("torch", "ours")]
    assert both[0]["engines"] == dict.fromkeys(("segmenter", "regressor"), "torch float32")
    assert both[1]["engines"] == dict.fromkeys(("segmenter", "regressor"), "onnxruntime float32")
    assert both[1]["ef"] == pytest.approx(both[0]["ef"], abs=1e-3)
    fake.fails = True
    predict_all([clip], tmp_path / "failed", model, backend="auto", formats="json")
    assert read_json(tmp_path / "failed" / f"{clip.name}.json") == both[0]
    assert "onnxruntime float32 failed: no memory" in " ".join(capsys.readouterr().err.split())
    (call,) = read_json(tmp_path / "failed" / "manifest.json")["calls"]
    assert call["computing"]["engines"] == both[0]["engines"]
    assert "no memory" in call["computing"]["notes"][0]


def test_wrong_asks(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, {}, {TORCH: 1.0})
    with pytest.raises(EchocycleError, match="not installed"):
        choose_engines(only_ef(model), "openvino", CPU)
    with pytest.raises(EchocycleError, match="computes on the CPU"):
        choose_engines(only_ef(model), "openvino", torch.device("cuda"))
    monkeypatch.setenv(VARIABLE, "fastest")
    with pytest.raises(EchocycleError, match=f"{VARIABLE} is 'fastest'"):
        choose_engines(only_ef(model), "auto", CPU)


def test_a_damaged_cache_or_none_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept({"a": 1})
    kept.keep({"x": {}})
    assert Kept({"a": 1}).trials() == {"x": {}}
    (kept.folder / "trials.json").write_text("{")
    assert Kept({"a": 1}).trials() == {}
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "cannot be kept" in str(Kept({"a": 1}).told)


def test_an_engine_that_fails_says_which(model: Path) -> None:
    def run(array: np.ndarray) -> np.ndarray:
        raise ValueError("a shape")

    part = load_bundle(model).regressor
    assert part is not None
    with pytest.raises(adapters.EngineFailedError, match="it failed: a shape"):
        adapters.on_engine(part, run, "it").network(torch.zeros(1, 4, 8, 32, 32))
