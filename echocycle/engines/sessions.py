"""Running an ONNX file: ONNX Runtime or OpenVINO, with the precision and the threads that were asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Run = Callable[..., np.ndarray]
"""Arrays in, the one output out."""


class Engine(NamedTuple):
    """What computes, and how precisely."""

    name: str
    """`torch`, `onnxruntime` or `openvino`."""
    precision: str
    """`float32` or `bfloat16`."""

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"


TORCH = Engine("torch", "float32")
ONNX = Engine("onnxruntime", "float32")
OPENVINO = Engine("openvino", "float32")
OPENVINO_BF16 = Engine("openvino", "bfloat16")
ENGINES = (TORCH, ONNX, OPENVINO, OPENVINO_BF16)


def installed() -> list[Engine]:
    """The engines that can be tried here, PyTorch first."""
    from importlib.util import find_spec

    found = [TORCH]
    if find_spec("onnxscript") is None:  # writes the graphs that the others run
        return found
    if find_spec("onnxruntime") is not None:
        found.append(ONNX)
    if find_spec("openvino") is not None:
        found.append(OPENVINO)
        if "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            found.append(OPENVINO_BF16)
    return found


def engine_named(text: str) -> Engine:
    """An engine by its `str`; `KeyError` for none."""
    return {str(engine): engine for engine in ENGINES}[text]


def open_session(file: Path, engine: Engine, threads: int) -> Run:
    """What runs the graph of an ONNX file."""
    return (
        _onnxruntime_session(file, threads)
        if engine.name == "onnxruntime"
        else _openvino_session(file, engine, threads)
    )


def _onnxruntime_session(file: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see `threads.py`
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*arrays: np.ndarray) -> np.ndarray:
        found: np.ndarray = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        return found

    return run


def _openvino_session(file: Path, engine: Engine, threads: int) -> Run:
    openvino = _openvino()
    core = openvino.Core()
    hint = {"float32": "f32", "bfloat16": "bf16"}[engine.precision]  # by default it is bf16 where the CPU knows it
    asked = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(str(file)), "CPU", asked)
    request = compiled.create_infer_request()

    def run(*arrays: np.ndarray) -> np.ndarray:
        return np.array(request.infer(list(arrays))[0])

    return run


def as_openvino(onnx: Path, file: Path) -> None:
    """Write an ONNX file as OpenVINO's pair `.xml` and `.bin`, weights in 32 bits."""
    openvino = _openvino()
    openvino.save_model(openvino.Core().read_model(str(onnx)), str(file), compress_to_fp16=False)


def _openvino() -> Any:
    """The package, without its telemetry, which else makes an id in the home folder and reports each import."""
    if "openvino" not in sys.modules:
        missing = object()
        before = sys.modules.get("openvino_telemetry", missing)
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if before is missing:
                del sys.modules["openvino_telemetry"]
            else:
                sys.modules["openvino_telemetry"] = before  # type: ignore[assignment]
    import openvino

    return openvino
