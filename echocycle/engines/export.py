"""A bundle's networks as files for other programs: 8-bit frames in, probabilities or EF out, nothing to normalise."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from echocycle.bundle import Bundle, check_parts, load_bundle
from echocycle.data.clips import ClipBatch
from echocycle.engines.checking import drawn_heart, drawn_masks, noise, with_colour
from echocycle.engines.graphs import OPSET, whole_graph, whole_inputs, why_not, write_onnx
from echocycle.engines.sessions import ONNX, OPENVINO, Run, as_openvino, open_session
from echocycle.errors import EchocycleError
from echocycle.files import replacing, sha256, write_json
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.specs import Part, RegressorSpec

Target = Literal["onnx", "openvino", "torch"]
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
TOLERANCE = {"probability": 1e-3, "EF points": 1e-2}
"""Largest difference from the network in PyTorch that an export may have."""
MASK_SIZE = 112


def export_bundle(model: Path, to: Target, out: Path, recordings: Sequence[tuple[str, np.ndarray]] = ()) -> Path:
    """Write each network of a bundle, check it against the original, and describe both in `export.json`.

    Args:
        model: a bundle, or the run that holds it.
        recordings: name and frames uint8 (time, 112, 112[, 3]) of recordings, as `predict` cuts them, on which it is
            checked besides noise and a drawn heart.

    Raises:
        EchocycleError: a network that can run in PyTorch alone, one that came out otherwise, or no such target.
    """
    if to not in get_args(Target):
        raise EchocycleError(f"--to is {to!r}; it must be one of {', '.join(get_args(Target))}.")
    bundle = load_bundle(model)
    check_parts(bundle)
    for name, part in bundle.parts().items():
        if (reason := why_not(part)) is not None:
            raise EchocycleError(f"The {name} of {model} cannot be exported. {reason}")
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise EchocycleError(f"{out} is a file; name a folder for the export.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "export.json").unlink(missing_ok=True)  # it closes the folder: without it the files are not checked
    described = {name: _export(name, part, to, out, bundle, recordings) for name, part in bundle.parts().items()}
    several = len(bundle.regressors) > 1
    packages = ("echocycle", "torch", *({"onnx": ("onnx",), "openvino": ("onnx", "openvino")}.get(to, ())))
    write_json(
        out / "export.json",
        {
            "note": "Research software, not a medical device.",
            "model": {"id": bundle.id, "provenance": bundle.provenance, "notice": bundle.reference.get("notice")},
            "target": to,
            "answer": "The EF is the mean of all EF networks." if several else "The EF is the EF network's.",
            "parts": described,
            "versions": {name: version(name) for name in packages},
        },
    )
    return out / "export.json"


def _export(
    name: str, part: Part, to: Target, out: Path, bundle: Bundle, recordings: Sequence[tuple[str, np.ndarray]]
) -> dict[str, Any]:
    """Write one network; what `export.json` says of it."""
    mask_size = MASK_SIZE if bundle.segmenter is None else bundle.segmenter.spec.size
    inputs = whole_inputs(part, mask_size)
    file = out / f"{name}{SUFFIX[to]}"
    graph = whole_graph(part)
    if to == "torch":
        _write_torch(graph, inputs, file)
    elif to == "onnx":
        write_onnx(graph, inputs, file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            onnx = Path(folder) / f"{name}.onnx"
            write_onnx(graph, inputs, onnx)
            as_openvino(onnx, file)
    run = _session(file, to)
    unit = "EF points" if isinstance(part.spec, RegressorSpec) else "probability"
    checks = []
    for told, frames in [("noise", noise(_length(part))), ("drawn heart", drawn_heart(_length(part))), *recordings]:
        difference = _difference(part, run, with_colour(frames, part.spec.color and frames.ndim == 3), mask_size)
        if difference is None:
            continue
        checks.append({"input": told, "largest_difference": difference})
        if not difference <= TOLERANCE[unit]:
            file.unlink()
            raise EchocycleError(
                f"{file} gives another answer than the model on {told}: they differ by {difference:.2g} {unit}, and "
                f"{TOLERANCE[unit]:g} are allowed. It was removed; export to another target."
            )
    return {
        "file": file.name,
        "sha256": sha256(file),
        "weights_sha256": part.hash,
        "inputs": _told_inputs(part, mask_size),
        "output": "EF, percent, float32 (clips,)" if unit == "EF points" else _told_masks(part),
        "opset": OPSET if to != "torch" else None,
        "precision": "float32",
        "tolerance": {"largest_difference": TOLERANCE[unit], "unit": unit},
        "checks": checks,
    }


def _write_torch(graph: torch.nn.Module, inputs: tuple[torch.Tensor, ...], file: Path) -> None:
    """Write a program of `torch.export`, which PyTorch runs without this package."""
    count = torch.export.Dim("count", min=1)
    with warnings.catch_warnings(), torch.no_grad(), replacing(file) as temporary:
        warnings.simplefilter("ignore")  # of parts of a weight that two layers share
        program = torch.export.export(graph, inputs, dynamic_shapes=tuple({0: count} for _ in inputs))
        torch.export.save(program, temporary)


def _told_inputs(part: Part, mask_size: int) -> list[str]:
    spec, color = part.spec, ", 3" if part.spec.color else ""
    if not isinstance(spec, RegressorSpec):
        together = "; all frames of a call are seen together" if isinstance(part.network, BeatSegmenter) else ""
        return [f"uint8 (frames, 112, 112{color}), grey levels{together}"]
    told = [f"uint8 (clips, {spec.frames}, 112, 112{color}), every {spec.period}. frame of a video, grey levels"]
    masks = f"uint8 (clips, {spec.frames}, {mask_size}, {mask_size}), 255 times the segmenter's probability"
    return told + [masks] * spec.takes_masks


def _told_masks(part: Part) -> str:
    return f"probability of the left ventricle, float32 (frames, {part.spec.size}, {part.spec.size})"


def _session(file: Path, to: Target) -> Run:
    threads = torch.get_num_threads()
    if to != "torch":
        return open_session(file, ONNX if to == "onnx" else OPENVINO, threads)
    module = torch.export.load(file).module()

    def run(*arrays: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(*map(torch.from_numpy, arrays)).numpy()
        return found

    return run


def _length(part: Part) -> int:
    """Frames of a check: two clips, or a few frames."""
    return part.spec.span + 4 if isinstance(part.spec, RegressorSpec) else 12


@torch.no_grad()
def _difference(part: Part, run: Run, frames: np.ndarray, mask_size: int) -> float | None:
    """By how much an export differs from the network at most; None where the recording is too short for a clip."""
    spec = part.spec
    if not isinstance(spec, RegressorSpec):
        frames = np.ascontiguousarray(frames[:24])
        images = part.preprocess.frames(torch.from_numpy(frames), spec.color)
        logits = part.network(images[None])[0] if isinstance(part.network, BeatSegmenter) else part.network(images)[0]
        return float(np.abs(run(frames) - torch.sigmoid(logits).numpy()).max())
    if len(frames) < spec.span:
        return None
    starts = [0, len(frames) - spec.span]
    numbers = np.array(starts)[:, None] + np.arange(spec.frames) * spec.period
    clips = frames[numbers]
    masks = drawn_masks(frames, mask_size)[numbers] if spec.takes_masks else None
    batch = ClipBatch(
        torch.from_numpy(clips),
        None if masks is None else torch.from_numpy(masks),
        torch.full((2,), spec.frames),
        torch.zeros(2, 2, dtype=torch.int64),
        None,
        torch.zeros(2),
    )
    expected = part.network(spec.visible(part.preprocess.clips(batch, masks=masks is not None)))
    return float(np.abs(run(*[clips] if masks is None else [clips, masks]) - expected.numpy()).max())
