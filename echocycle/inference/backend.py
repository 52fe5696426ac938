"""Which engine runs a model's networks: the fastest one here that answers as eager PyTorch in 32 bits does.

Each engine is tried once a model and machine, on a drawn heart and on noise, along the way that `predict` takes; what
came of it is kept in the user's cache folder (`engines/kept.py`).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import torch
from filelock import FileLock

from echocycle.bundle import Bundle
from echocycle.console import console
from echocycle.engines.adapters import on_engine
from echocycle.engines.checking import drawn_heart, drawn_masks, noise, with_colour
from echocycle.engines.graphs import inner_graph, inner_input, why_not, write_onnx
from echocycle.engines.kept import Kept, known_by
from echocycle.engines.sessions import ENGINES, TORCH, Engine, engine_named, installed, open_session
from echocycle.errors import EchocycleError
from echocycle.inference.choices import Backend
from echocycle.inference.clips import ef_of_clips
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part, RegressorSpec

VARIABLE = "ECHOCYCLE_PREDICT_BACKEND"
"""What `auto` means, where this variable of the environment is set: in Python what it is on the command line."""
EF_AGREES = 0.1
"""EF points by which a clip's answer may differ from eager PyTorch's."""
MASKS_AGREE = 1e-3
"""Share of the pixels that may be on another side."""
WORTH = 0.9
"""An engine must take less than this share of PyTorch's time, so that noise of the clock decides nothing."""
CLIPS, FRAMES = 9, 48
"""Clips and frames of a try."""


@dataclass
class Chosen:
    """A model with its engines."""

    bundle: Bundle
    engines: dict[str, str]
    """Engine and precision by part: what a result records."""
    notes: list[str] = field(default_factory=list)
    """Why a part is not run by what was asked for, sentences."""


def meaning(backend: str) -> Backend:
    """What is asked for, after the environment was heard.

    Raises:
        EchocycleError: no such backend.
    """
    found = os.environ.get(VARIABLE, backend) if backend == "auto" else backend
    if found not in get_args(Backend):
        where = f"The variable {VARIABLE}" if backend == "auto" else "--backend"
        raise EchocycleError(f"{where} is {found!r}; it must be one of {', '.join(get_args(Backend))}.")
    return found  # type: ignore[return-value]


def on_torch(bundle: Bundle, notes: list[str] | None = None) -> Chosen:
    """The model as it is."""
    return Chosen(bundle, dict.fromkeys(bundle.parts(), str(TORCH)), notes or [])


def choose_engines(bundle: Bundle, backend: str, device: torch.device) -> Chosen:
    """The model on the engines that were asked for, or the fastest that agree.

    Raises:
        EchocycleError: an engine was named that is not installed, or a GPU is to compute.
    """
    asked = meaning(backend)
    if asked == "torch" or (asked == "auto" and device.type != "cpu"):
        return on_torch(bundle)
    if device.type != "cpu":
        raise EchocycleError(f"--backend {asked} computes on the CPU; add --device cpu, or use --backend torch.")
    candidates = installed()
    if asked != "auto":
        # what was named in one word computes in 32 bits; bfloat16 is `auto`'s to find out
        candidates = [each for each in candidates if each.name == asked and each.precision == "float32"]
        if not candidates:
            raise EchocycleError(f"--backend {asked}: its package or onnxscript is not installed; use --backend torch.")
    kept = Kept(known_by(bundle.id, torch.get_num_threads()))
    trials = kept.trials()
    notes = [kept.told] if kept.told else []
    parts, engines = {}, {}
    for name, part in bundle.parts().items():
        known = trials.setdefault(name, {})
        missing = [each for each in candidates if str(each) not in known]
        reason = why_not(part)
        if reason is None and missing:
            with FileLock(kept.folder / "lock"):  # of several processes one tries, and the others read what it found
                known |= kept.trials().get(name, {})
                if any(str(each) not in known for each in candidates):
                    told = f"Trying engines for the {name} (once for this model on this machine)."
                    console.print(told, highlight=False)
                    _try_all(part, name, kept, candidates, known, bundle)
                    kept.keep({**kept.trials(), name: known})
        best = TORCH if reason is not None else _best(known, candidates, asked == "auto")
        if reason is not None and asked != "auto":
            notes.append(f"{reason} It runs in PyTorch.")
        elif best == TORCH and asked != "auto":
            told = known[str(candidates[0])]
            notes.append(f"The {name} runs in PyTorch: {candidates[0]} {told['error'] or _disagrees(told)}.")
        engines[name] = str(best)
        if best == TORCH:
            parts[name] = part
            continue
        try:
            graph = _graph(part, name, kept)
            parts[name] = on_engine(part, open_session(graph, best, torch.get_num_threads()), str(best))
        except Exception as error:
            notes.append(f"The {name} runs in PyTorch: {best} could not be loaded ({_line(error)}).")
            parts[name], engines[name] = part, str(TORCH)
    return Chosen(_bundle_of(bundle, parts), engines, notes)


def _bundle_of(bundle: Bundle, parts: dict[str, Part]) -> Bundle:
    regressors = [part for name, part in parts.items() if name != "segmenter"]
    first = regressors[0] if regressors else None
    return replace(bundle, segmenter=parts.get("segmenter"), regressor=first, further=tuple(regressors[1:]))


def _mask_size(bundle: Bundle) -> int:
    return 112 if bundle.segmenter is None else int(bundle.segmenter.spec.size)


def _best(known: dict[str, Any], candidates: list[Engine], among_torch: bool) -> Engine:
    """The fastest that agrees."""
    agreeing = {engine_named(name): trial for name, trial in known.items() if trial["agrees"]}
    usable = [each for each in candidates if each in agreeing]
    if not usable:
        return TORCH
    best = min(usable, key=lambda each: agreeing[each]["seconds"])
    if not among_torch:
        return best
    return best if agreeing[best]["seconds"] < WORTH * agreeing[TORCH]["seconds"] else TORCH


def _disagrees(trial: dict[str, Any]) -> str:
    return f"differs by {trial['difference']:.2g} {trial['unit']}"


def _graph(part: Part, name: str, kept: Kept) -> Any:
    file = kept.graph(name)
    if not file.exists():
        write_onnx(inner_graph(part), (inner_input(part),), file)
    return file


def _try_all(
    part: Part, name: str, kept: Kept, candidates: list[Engine], known: dict[str, Any], bundle: Bundle
) -> None:
    """Fill in how each engine does."""
    inputs = _inputs(part, _mask_size(bundle))
    readers = [each for each in bundle.regressors if each.spec.takes_masks and part is bundle.segmenter]
    unit, limit = ("EF points", EF_AGREES) if isinstance(part.spec, RegressorSpec) else ("of the pixels", MASKS_AGREE)
    reference, seconds = _timed(part, inputs)
    known[str(TORCH)] = {"seconds": seconds, "difference": 0.0, "unit": unit, "agrees": True, "error": ""}
    for engine in (each for each in ENGINES if each in candidates and each != TORCH):
        trial: dict[str, Any] = {"seconds": None, "difference": None, "unit": unit, "agrees": False, "error": ""}
        known[str(engine)] = trial
        try:
            run = open_session(_graph(part, name, kept), engine, torch.get_num_threads())
            found, trial["seconds"] = _timed(on_engine(part, run, str(engine)), inputs)
        except Exception as error:  # whatever an engine cannot do, another can
            trial["error"] = f"failed: {_line(error)}"
            continue
        difference = max(_difference(a, b, unit) for a, b in zip(found, reference, strict=True))
        if not np.isfinite(difference):
            trial["error"] = "gave no numbers"
            continue
        trial |= {"difference": difference, "agrees": difference <= limit}
        if readers:  # a pixel more or less counts by what the EF networks make of it
            off = max(_ef_apart(reader, found[1], reference[1], inputs[1][0]) for reader in readers)
            trial |= {"ef_difference": off, "agrees": trial["agrees"] and off <= EF_AGREES}


def _difference(found: np.ndarray, expected: np.ndarray, unit: str) -> float:
    if unit == "EF points":
        return float(np.abs(found - expected).max())
    return float(((found > 127.5) != (expected > 127.5)).mean())


def _ef_apart(reader: Part, masks: np.ndarray, expected: np.ndarray, frames: np.ndarray) -> float:
    """EF points by which an EF network's answers to two segmenters' masks differ at most; 0 where no clip fits."""
    cpu, starts = torch.device("cpu"), list(range(0, len(frames) - reader.spec.span + 1, 8))
    if not starts:
        return 0.0
    found = [ef_of_clips(reader, frames, each, starts, cpu) for each in (masks, expected)]
    return float(np.abs(found[0] - found[1]).max())


def _inputs(part: Part, mask_size: int) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Frames, and masks where the part takes them: a drawn heart, which is timed; another one, and noise."""
    spec = part.spec
    if isinstance(spec, RegressorSpec):
        count = spec.span + 4 * (CLIPS - 1)
        heart, other = drawn_heart(count), noise(count - 4 * (CLIPS - 3))
    else:
        heart, other = drawn_heart(FRAMES), np.concatenate([drawn_heart(2 * FRAMES, seed=1), noise(8)])
    takes_masks = isinstance(spec, RegressorSpec) and spec.takes_masks
    masks = [drawn_masks(each, mask_size) if takes_masks else None for each in (heart, other)]
    return list(zip((with_colour(each, spec.color) for each in (heart, other)), masks, strict=True))


def _timed(part: Part, inputs: list[tuple[np.ndarray, np.ndarray | None]]) -> tuple[list[np.ndarray], float]:
    """Answers to all inputs, and the least seconds of the processor that the first took."""
    answers = [_answer(part, *each) for each in inputs]  # which warms up, too
    least = np.inf
    for _ in range(2):
        begun = time.process_time()  # of all threads; what other programs take meanwhile does not count
        _answer(part, *inputs[0])
        least = min(least, time.process_time() - begun)
    return answers, float(least)


def _answer(part: Part, frames: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    cpu = torch.device("cpu")
    if not isinstance(part.spec, RegressorSpec):
        return np.concatenate(list(probabilities(part, frames, 64, cpu)))
    return ef_of_clips(part, frames, masks, list(range(0, len(frames) - part.spec.span + 1, 4)), cpu)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
