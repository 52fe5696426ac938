"""Stage `predict`, its middle: one recording and a trained model in, a `Prediction` out."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from echocycle.bundle import Bundle, check_parts
from echocycle.data.clips import clip_starts
from echocycle.data.domain_shift import unlike
from echocycle.inference.clips import THRESHOLD, at_store_size, ef_of_clips, longest, precision_of
from echocycle.inference.masks import probabilities
from echocycle.inference.measured import RATE_UNKNOWN, with_masks
from echocycle.inference.quality import unusable_masks
from echocycle.prediction import Prediction, model_identity, model_warnings, protocol_of
from echocycle.recordings.quality import unanswerable
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import CutRecording, cut_sector
from echocycle.verdict import Verdict, read_verdict

FRAMES_AT_ONCE = 64


def predict_recording(path: Path, bundle: Bundle, device: torch.device, stride: int = 4) -> Prediction:
    """EF, masks and beats of one recording.

    The sector is cut out and resized as the training videos were; EF is the mean over clips that start every
    `stride` frames, and over the model's EF networks. Where no EF can be told it is None, and `not_measured` says why.
    """
    verdict = None if bundle.path is None else read_verdict(bundle.path)
    cut = cut_sector(read_recording(path, color=_takes_color(bundle)))
    return predict_cut(cut, str(path), bundle, verdict, device, stride)


def predict_cut(
    cut: CutRecording, source: str, bundle: Bundle, verdict: Verdict | None, device: torch.device, stride: int = 4
) -> Prediction:
    """`predict_recording` of what was read and cut already; `source` is the recording's name in the result.

    For a model that was trained on RGB it must have been read in colour.
    """
    check_parts(bundle)
    frames = cut.frames
    warnings = model_warnings(bundle, verdict)
    notes = [*cut.notes, *unlike(frames, cut.fps, bundle.reference)]
    if verdict is not None and verdict.bad:
        notes.append(verdict.sentence())
    result = Prediction(
        source=source,
        ef=None,
        protocol=protocol_of(stride),
        fps=cut.fps,
        n_frames=len(frames),
        spacing_mm=cut.spacing_mm,
        notes=notes,
        model=model_identity(bundle, verdict),
        warnings=warnings,
        frames=frames,
        affine=cut.affine,
    )
    reason = unanswerable(frames)
    if reason is not None:
        return _without_ef(result, reason)
    if not math.isfinite(cut.fps):
        notes.append(RATE_UNKNOWN)
    precision = precision_of(bundle.reference, device)
    networks_input, more = _as_trained(cut, bundle)
    notes += more
    small: np.ndarray | None = None
    if bundle.segmenter is not None:
        blocks = list(probabilities(bundle.segmenter, networks_input, FRAMES_AT_ONCE, device, precision))
        small = np.concatenate(blocks)
        masks = np.concatenate([at_store_size(block) for block in blocks])
        del blocks
        reason = unusable_masks(masks > THRESHOLD, frames)
        result = with_masks(result, masks, usable=reason is None)
        if reason is not None:
            return _without_ef(result, reason)
    if bundle.regressor is None:
        notes.append("The model has no EF network; EF is by discs from the masks.")
        return _with_ef(result, result.ef_by_discs, "No beat could be measured in the masks.")
    spec = longest(bundle.regressors)
    if len(frames) < spec.span:
        return _without_ef(result, f"The recording has {len(frames)} frames; a clip of the model needs {spec.span}.")
    starts = list(range(0, clip_starts(len(frames), spec.frames, spec.period), stride))
    found = np.stack(
        [ef_of_clips(part, networks_input, small, starts, device, precision) for part in bundle.regressors]
    )
    clips = [(start, float(ef)) for start, ef in zip(starts, found.mean(0), strict=True)]
    members = [float(ef) for ef in found.mean(1)] if len(found) > 1 else []
    result = replace(result, ef_clips=clips, ef_members=members)
    return _with_ef(result, float(found.mean()), "The model gave no number.")


def _with_ef(result: Prediction, ef: float | None, otherwise: str) -> Prediction:
    """The result with an EF that can be one, else with the reason why it is not."""
    if ef is None or not math.isfinite(ef):
        return _without_ef(result, otherwise)
    if not 0 <= ef <= 100:
        return _without_ef(result, f"The model answered {ef:.0f} %, which is not a possible EF.")
    return replace(result, ef=ef)


def _without_ef(result: Prediction, reason: str) -> Prediction:
    result.notes.append(f"EF not measured: {reason}")
    return replace(result, ef=None, not_measured=reason)


def _takes_color(bundle: Bundle) -> bool:
    """Whether the model was trained on RGB."""
    return any(part.spec.color for part in bundle.parts().values())


def _as_trained(cut: CutRecording, bundle: Bundle) -> tuple[np.ndarray, list[str]]:
    """Frames as the model's networks take them, as `prepare` gave them for training; notes.

    A model that was trained on RGB gets RGB, or grey three times where the picture was cut.
    """
    if not _takes_color(bundle):
        return cut.frames, []
    if cut.colours is not None:
        return cut.colours, []
    if cut.sector is None:
        raise ValueError("the model was trained on RGB, so the recording must be read with color=True")
    note = "The picture was cut and is given in grey; the model was trained on RGB."
    return np.broadcast_to(cut.frames[..., None], (*cut.frames.shape, 3)), [note]
