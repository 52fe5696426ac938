"""Stage `predict`, its middle: one recording and a trained model in, a `Prediction` out."""

from pathlib import Path

import torch

from echocycle.bundle import Bundle, check_parts
from echocycle.calibration import Calibration, read_calibration
from echocycle.data.domain_shift import unlike_ranges, unlikeness
from echocycle.inference.answered import Answer, answered, takes_color, without_ef
from echocycle.inference.judge import judged
from echocycle.inference.rates import Time, seen_as_trained
from echocycle.prediction import Prediction, label_provenance, model_identity, model_warnings, protocol_of
from echocycle.recordings.decline import HINTS
from echocycle.recordings.quality import unanswerable
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import CutRecording, cut_sector
from echocycle.verdict import Verdict, read_verdict

FRAMES_AT_ONCE = 64


def predict_recording(
    path: Path, bundle: Bundle, device: torch.device, stride: int = 4, time: Time = "auto"
) -> Prediction:
    """EF, masks and beats of one recording; `time` as `rate_for` takes it.

    The sector is cut out and resized as the training videos were; EF is the mean over clips that start every
    `stride` frames, and over the model's EF networks. Where no EF can be told it is None, and `not_measured` says why.
    """
    verdict = None if bundle.path is None else read_verdict(bundle.path)
    calibration = None if bundle.path is None else read_calibration(bundle.path)
    cut = cut_sector(read_recording(path, color=takes_color(bundle)))
    return predict_cut(cut, str(path), bundle, verdict, device, stride, time, calibration)


def predict_cut(
    cut: CutRecording,
    source: str,
    bundle: Bundle,
    verdict: Verdict | None,
    device: torch.device,
    stride: int = 4,
    time: Time = "auto",
    calibration: Calibration | None = None,
    protocol: str = "strided",
) -> Prediction:
    """`predict_recording` of what was read and cut already; `source` is the recording's name in the result.

    For a model that was trained on RGB it must have been read in colour. `protocol` is one of `choices.Protocol`;
    `beats` needs a model with a segmenter.
    """
    check_parts(bundle)
    reason = unanswerable(cut.frames)  # before frames are repeated
    cut, recorded = seen_as_trained(cut, time, bundle.reference)
    used = "frames" if recorded is None else "seconds"
    frames = cut.frames
    differs = unlike_ranges(frames, cut.fps, bundle.reference)
    notes = list(cut.notes)
    if verdict is not None and verdict.bad:
        notes.append(verdict.sentence())
    result = Prediction(
        source=source,
        ef=None,
        protocol=protocol_of(stride, used, protocol),
        fps=cut.fps,
        n_frames=len(frames),
        spacing_mm=cut.spacing_mm,
        notes=notes,
        model=model_identity(bundle, verdict, None if calibration is None else calibration.id),
        warnings=model_warnings(bundle, verdict),
        label_provenance=label_provenance(bundle),
        frames=frames,
        affine=cut.affine,
        stored_frames=None if cut.stored_frames is None else cut.stored_frames.tolist(),
        time=used,
        recorded_fps=recorded,
    )
    if reason is not None:
        found = Answer(without_ef(result, reason))
    else:
        found = answered(result, cut, bundle, device, stride, protocol)
    return judged(
        found.result,
        found.measured,
        calibration,
        unlike=differs,
        unlikeness=unlikeness(frames, cut.fps, bundle.reference),
        header=[note for note in cut.notes if note in HINTS],
        sure=found.sure,
    )
