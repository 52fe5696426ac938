"""Stage `predict`: one recording of any kind in, a `Prediction` out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from echocycle import __version__
from echocycle.bundle import Bundle, load_bundle
from echocycle.cardiac.beats import USUAL_FPS
from echocycle.cardiac.discs import ef_by_discs
from echocycle.console import console, track
from echocycle.data.clips import clip_starts
from echocycle.data.domain_shift import unlike
from echocycle.data.store import SIZE
from echocycle.device import choose_device
from echocycle.errors import EchocycleError, Finding
from echocycle.inference.clips import THRESHOLD, at_store_size, predict_clips
from echocycle.inference.masks import probabilities
from echocycle.inference.prediction import Prediction
from echocycle.recordings.recording import SUPPORTED, may_be_recording, read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.writers import WRITERS
from echocycle.writers.as_csv import read_rows, write_csv
from echocycle.writers.as_json import json_path, read_prediction

FRAMES_AT_ONCE = 64


def predict_all(
    inputs: list[Path], out: Path, model: Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", stride: int = 4
) -> list[Prediction]:
    """Predict recordings and write each as soon as it is done; one that cannot be read is reported and skipped.

    One whose result lies in `out` already, made by this model with these settings, is not predicted again; its
    prediction comes without frames and masks. The table of all is written at the end, however that comes.

    Raises:
        EchocycleError: no input, the model cannot be read, or `out` holds something else.
        Finding: at least one recording could not be read; the others are written.
    """
    if stride < 1:
        raise EchocycleError(f"stride is {stride}; it must be above 0.")
    recordings = _find(inputs)
    if out.exists() and not out.is_dir():
        raise EchocycleError(f"{out} is a file; name a folder for the results.")
    read_rows(out)  # refuses a table of another kind before the hours of inference
    where = choose_device(device)
    bundle = load_bundle(model, where)
    if bundle.reference.get("notice"):
        console.print(bundle.reference["notice"], soft_wrap=True, highlight=False)
    out.mkdir(parents=True, exist_ok=True)
    predictions: list[Prediction] = []
    failed = []
    try:
        with track("Predicting") as progress:
            for number, path in enumerate(recordings, 1):
                try:
                    predictions.append(_predict_into(out, path, bundle, where, stride))
                except EchocycleError as error:
                    failed.append(path)
                    console.print(str(error), style="red", soft_wrap=True, highlight=False)
                progress(number, len(recordings))
    finally:
        if predictions:
            write_csv(predictions, out)
    if failed:
        raise Finding(f"{len(failed)} of {len(recordings)} recordings could not be read; see above.")
    return predictions


def _predict_into(out: Path, path: Path, bundle: Bundle, device: torch.device, stride: int) -> Prediction:
    """Predict one recording and write its files, or read what was written before."""
    found, before = read_prediction(str(path), out), ""
    if found is not None and _holds(found, path, out, bundle, stride):
        before = f" (predicted before; delete {json_path(str(path), out)} to do it again)"
    else:
        found = predict_recording(path, bundle, device, stride)
        for name, write in WRITERS.items():
            if name != "masks" or found.masks is not None:
                write(found, out)
    ef = "none" if found.ef is None else f"{found.ef:.1f} %"
    for line in (f"{path.name}: EF {ef}{before}", *(f"  {note}" for note in found.notes)):
        console.print(line, soft_wrap=True, highlight=False)
    return found


def _holds(found: Prediction, path: Path, out: Path, bundle: Bundle, stride: int) -> bool:
    """Whether an earlier result is what this model and stride would give of the recording as it is now."""
    same = found.model == _identity(bundle) and found.protocol == _protocol(stride)
    return same and path.exists() and path.stat().st_mtime <= json_path(str(path), out).stat().st_mtime


def _protocol(stride: int) -> str:
    return f"clips every {stride} frames, mean"


def _find(inputs: list[Path]) -> list[Path]:
    """Files named, and in folders every file that may be a recording; absolute, so that a result tells whose it is."""
    if not inputs:
        raise EchocycleError(f"Name at least one recording or folder; supported are {SUPPORTED}.")
    found = []
    for path in map(Path.absolute, inputs):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and may_be_recording(p))
            if not inside:
                raise EchocycleError(f"The folder {path} holds no recording; supported are {SUPPORTED}.")
            found += inside
        else:
            found.append(path)
    return found


def predict_recording(path: Path, bundle: Bundle, device: torch.device, stride: int = 4) -> Prediction:
    """EF, masks and beats of one recording.

    The sector is cut out and resized as the training videos were; EF is the mean over clips that start every
    `stride` frames.
    """
    cut = cut_sector(read_recording(path), SIZE)
    frames: np.ndarray = cut.frames
    notes = [*cut.notes, *unlike(frames, cut.fps, bundle.reference)]
    fps = cut.fps
    if not math.isfinite(fps):
        notes.append(f"The frame rate is unknown; {USUAL_FPS:g} frames a second are taken for beats.")
    result = Prediction(
        source=str(path),
        ef=None,
        protocol=_protocol(stride),
        fps=fps,
        n_frames=len(frames),
        spacing_mm=cut.spacing_mm,
        notes=notes,
        model=_identity(bundle),
        frames=frames,
        affine=cut.affine,
    )
    networks_input = _as_trained(frames, bundle)
    small: np.ndarray | None = None
    if bundle.segmenter is not None:
        small = np.concatenate(list(probabilities(bundle.segmenter, networks_input, FRAMES_AT_ONCE, device)))
        result = _with_masks(result, at_store_size(small), fps)
    if bundle.regressor is not None:
        spec = bundle.regressor.spec
        if spec.takes_masks and small is None:
            raise EchocycleError(f"The model {bundle.path} needs masks but has no segmenter; train it with --masks.")
        starts = list(range(0, clip_starts(len(frames), spec.frames, spec.period), stride))
        reader = (lambda numbers: small[numbers]) if spec.takes_masks and small is not None else None
        found = predict_clips(bundle.regressor, networks_input, reader, starts, 20, device)
        if len(frames) < spec.span:
            notes.append(f"The recording has {len(frames)} frames; a clip needs {spec.span}. The rest was left black.")
        result = replace(
            result, ef=float(found.mean()), ef_clips=[(s, float(ef)) for s, ef in zip(starts, found, strict=True)]
        )
    else:
        notes.append("The model has no EF network; EF is by discs from the masks.")
        result = replace(result, ef=result.ef_by_discs)
    return result


def _with_masks(result: Prediction, masks: np.ndarray, fps: float) -> Prediction:
    """Areas, beats and EF by discs from the masks."""
    spacing = result.spacing_mm if all(map(math.isfinite, result.spacing_mm)) else None
    measured = ef_by_discs(masks > THRESHOLD, fps if math.isfinite(fps) else USUAL_FPS, spacing)
    result.notes.extend(f"Masks: {note}." for note in measured.notes)
    return replace(
        result,
        masks=masks,
        mask_area_px=[float(area) for area in measured.area],
        ef_by_discs=measured.ef if math.isfinite(measured.ef) else None,
        ed_frames=[beat.ed for beat in measured.beats],
        es_frames=[beat.es for beat in measured.beats],
    )


def _as_trained(frames: np.ndarray, bundle: Bundle) -> np.ndarray:
    """Grey frames as the model's networks take them: as they are, or three times where it was trained on RGB."""
    color = any(part.spec.color for part in bundle.parts().values())
    return np.repeat(frames[..., None], 3, axis=-1) if color else frames


def _identity(bundle: Bundle) -> dict[str, Any]:
    return {
        "id": bundle.id,
        "run": bundle.provenance.get("run"),
        "method": bundle.provenance.get("method"),
        "phantom_version": bundle.reference.get("phantom_version"),
        "echocycle": __version__,
        "torch": torch.__version__,
    }
