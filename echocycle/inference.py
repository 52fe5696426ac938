"""Stage `predict`: one recording of any kind in, a `Prediction` out."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from echocycle import __version__
from echocycle.bundle import Bundle, choose_device, load_bundle
from echocycle.console import console, track
from echocycle.data.clips import clip_starts
from echocycle.data.likeness import unlike
from echocycle.data.recording import SUPPORTED, may_be_recording, read_recording
from echocycle.data.sector import cut_sector
from echocycle.data.store import SIZE
from echocycle.errors import EchocycleError, Finding
from echocycle.evaluation.predictions import THRESHOLD, USUAL_FPS, at_store_size, predict_clips
from echocycle.evaluation.volumes import ef_by_discs
from echocycle.masks import probabilities
from echocycle.prediction import Prediction
from echocycle.writers import WRITERS

FRAMES_AT_ONCE = 64


def predict_all(
    inputs: list[Path], out: Path, model: Path, *, device: Literal["auto", "cpu", "cuda"] = "auto", stride: int = 4
) -> list[Prediction]:
    """Predict recordings and write each as soon as it is done; one that cannot be read is reported and skipped.

    Raises:
        EchocycleError: no input, or the model cannot be read.
        Finding: at least one recording could not be read; the others are written.
    """
    if stride < 1:
        raise EchocycleError(f"stride is {stride}; it must be above 0.")
    recordings = _find(inputs)
    where = choose_device(device)
    bundle = load_bundle(model, where)
    out.mkdir(parents=True, exist_ok=True)
    predictions, failed = [], []
    with track("Predicting") as progress:
        for number, path in enumerate(recordings, 1):
            try:
                prediction = predict_recording(path, bundle, where, stride)
                for write in WRITERS.values():
                    if write is not WRITERS["masks"] or prediction.masks is not None:
                        write(prediction, out)
            except EchocycleError as error:
                failed.append(path)
                console.print(str(error), style="red", soft_wrap=True, highlight=False)
            else:
                predictions.append(prediction)
                ef = "none" if prediction.ef is None else f"{prediction.ef:.1f} %"
                console.print(f"{path.name}: EF {ef}", highlight=False)
                for note in prediction.notes:
                    console.print(f"  {note}", soft_wrap=True, highlight=False)
            progress(number, len(recordings))
    if failed:
        raise Finding(f"{len(failed)} of {len(recordings)} recordings could not be read; see above.")
    return predictions


def _find(inputs: list[Path]) -> list[Path]:
    """Files named, and in folders every file that may be a recording."""
    if not inputs:
        raise EchocycleError(f"Name at least one recording or folder; supported are {SUPPORTED}.")
    found = []
    for path in inputs:
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
        protocol=f"clips every {stride} frames, mean",
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
