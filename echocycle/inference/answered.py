"""Stage `predict`: what a model's networks say of one recording, before anybody judges it."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from echocycle.bundle import Bundle
from echocycle.data.clips import clip_starts
from echocycle.inference.clips import THRESHOLD, at_store_size, ef_of_clips, longest, precision_of
from echocycle.inference.masks import probabilities
from echocycle.inference.measured import RATE_UNKNOWN, Measured, with_clips, with_masks
from echocycle.inference.quality import unusable_masks
from echocycle.inference.signs import sureness, turned
from echocycle.prediction import Prediction
from echocycle.recordings.sector import CutRecording

FRAMES_AT_ONCE = 64


class Answer(NamedTuple):
    """A result before it is judged."""

    result: Prediction
    measured: Measured | None = None
    sure: tuple[float, float] = (math.nan, math.nan)


def answered(
    result: Prediction,
    cut: CutRecording,
    bundle: Bundle,
    device: torch.device,
    stride: int,
    protocol: str = "strided",
) -> Answer:
    """What the networks say of a recording that may have an answer."""
    frames, notes = cut.frames, result.notes
    if not math.isfinite(cut.fps):
        notes.append(RATE_UNKNOWN)
    precision = precision_of(bundle.reference, device)
    networks_input, more = _as_trained(cut, bundle)
    notes += more
    small: np.ndarray | None = None
    measured: Measured | None = None
    sure = (math.nan, math.nan)
    if bundle.segmenter is not None:
        blocks = list(probabilities(bundle.segmenter, networks_input, FRAMES_AT_ONCE, device, precision))
        small = np.concatenate(blocks)
        masks = np.concatenate([at_store_size(block) for block in blocks])
        del blocks
        other_way = list(probabilities(bundle.segmenter, turned(networks_input), FRAMES_AT_ONCE, device, precision))
        sure = sureness(small), sureness(np.concatenate(other_way))
        reason = unusable_masks(masks > THRESHOLD, frames)
        result, measured = with_masks(result, masks, usable=reason is None)
        if reason is not None:
            return Answer(without_ef(result, reason), measured, sure)
    if bundle.regressor is None:
        notes.append("The model has no EF network; EF is by discs from the masks.")
        only = _with_ef(result, result.ef_by_discs, "No beat could be measured in the masks.")
        return Answer(only, measured, sure)
    spec = longest(bundle.regressors)
    if len(frames) < spec.span:
        told = f"The recording has {len(frames)} frames; a clip of the model needs {spec.span}."
        return Answer(without_ef(result, told), measured, sure)
    starts = _starts(protocol, clip_starts(len(frames), spec.frames, spec.period), stride, result.ed_frames)
    if not starts:
        told = f"No beat begins early enough for a clip of {spec.span} frames; try another protocol."
        return Answer(without_ef(result, told), measured, sure)
    found = np.stack(
        [ef_of_clips(part, networks_input, small, starts, device, precision) for part in bundle.regressors]
    )
    clips = [(start, float(ef)) for start, ef in zip(starts, found.mean(0), strict=True)]
    members = [float(ef) for ef in found.mean(1)] if len(found) > 1 else []
    result = with_clips(replace(result, ef_clips=clips, ef_members=members), spec.span)
    return Answer(_with_ef(result, float(found.mean()), "The model gave no number."), measured, sure)


def _starts(protocol: str, count: int, stride: int, ed_frames: list[int]) -> list[int]:
    """First frames of the clips whose EF are averaged, of `count` that are possible; ascending."""
    if protocol == "beats":
        return sorted({ed for ed in ed_frames if ed < count})
    if protocol == "one-clip":
        return [(count - 1) // 2]
    return list(range(0, count, stride if protocol == "strided" else 1))


def _with_ef(result: Prediction, ef: float | None, otherwise: str) -> Prediction:
    """The result with an EF that can be one, else with the reason why it is not."""
    if ef is None or not math.isfinite(ef):
        return without_ef(result, otherwise)
    if not 0 <= ef <= 100:
        return without_ef(result, f"The model answered {ef:.0f} %, which is not a possible EF.")
    return replace(result, ef=ef)


def without_ef(result: Prediction, reason: str) -> Prediction:
    result.notes.append(f"EF not measured: {reason}")
    return replace(result, ef=None, not_measured=reason)


def takes_color(bundle: Bundle) -> bool:
    """Whether the model was trained on RGB."""
    return any(part.spec.color for part in bundle.parts().values())


def _as_trained(cut: CutRecording, bundle: Bundle) -> tuple[np.ndarray, list[str]]:
    """Frames as the model's networks take them, as `prepare` gave them for training; notes.

    A model that was trained on RGB gets RGB, or grey three times where the picture was cut.
    """
    if not takes_color(bundle):
        return cut.frames, []
    if cut.colours is not None:
        return cut.colours, []
    if cut.sector is None:
        raise ValueError("the model was trained on RGB, so the recording must be read with color=True")
    note = "The picture was cut and is given in grey; the model was trained on RGB."
    return np.broadcast_to(cut.frames[..., None], (*cut.frames.shape, 3)), [note]
