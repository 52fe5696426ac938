"""`echocycle.predict`: one recording, a file or an array, in Python. Nothing is written."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echocycle.bundle_description import PACKAGED, UNASKED
from echocycle.errors import EchocycleError
from echocycle.inference.choices import Device, Protocol, Time, choose
from echocycle.recordings.colour import FlowWatch
from echocycle.recordings.decline import NEEDED, DeclinedError
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.recordings.video import Recording

if TYPE_CHECKING:
    import torch

    from echocycle.bundle import Bundle
    from echocycle.prediction import Prediction
    from echocycle.verdict import Verdict

ARRAY = "array"
"""The `source` of a result of frames that are in no file."""


def predict_one(
    video: str | Path | np.ndarray,
    model: str | Path | Bundle | None = None,
    *,
    fps: float | None = None,
    spacing: tuple[float, float] | float | None = None,
    device: Device = "auto",
    protocol: Protocol = "strided",
    stride: int | None = None,
    fast: bool = False,
    time: Time = "auto",
) -> Prediction:
    """`echocycle.predict`; see there."""
    asked = choose(device=device, protocol=protocol, stride=stride, fast=fast, time=time)
    bundle, verdict, where = _model(model, device)
    color = any(part.spec.color for part in bundle.parts().values())
    file = Path(video) if isinstance(video, str | Path) else None
    recording = _of_array(video) if file is None else read_recording(file, color=color)
    recording = _with_known(recording, fps, spacing)
    if protocol == "beats" and bundle.segmenter is None:
        raise EchocycleError("The model has no segmenter, so no beats can be found; choose another protocol.")
    if color and recording.frames.ndim == 3:
        raise EchocycleError("The model was trained on RGB; give an array of the shape (time, height, width, 3).")

    from echocycle.calibration import read_calibration
    from echocycle.inference.recordings import predict_cut

    source = ARRAY if file is None else str(video)
    calibration = None if bundle.path is None else read_calibration(bundle.path)
    cut = cut_sector(recording)
    found = predict_cut(
        cut,
        source,
        bundle,
        verdict,
        where,
        asked.stride,
        asked.time,
        calibration=calibration,
        protocol=asked.protocol,
    )
    return found if file is None else replace(found, file=file.absolute())


def _model(model: Any, device: Device) -> tuple[Bundle, Verdict | None, torch.device]:
    """The networks, what they are worth, and where they compute. The model in the package is loaded once a process."""
    from echocycle.bundle import Bundle, check_parts, load_bundle
    from echocycle.device import choose_device
    from echocycle.verdict import read_verdict

    where = choose_device(device)
    if isinstance(model, Bundle):
        bundle = model
    elif model is None:
        bundle = _packaged(where)
    else:
        bundle = load_bundle(Path(model), where)
    check_parts(bundle)
    return bundle, None if bundle.path is None else read_verdict(bundle.path), where


@lru_cache(maxsize=1)
def _packaged(where: torch.device) -> Bundle:
    from echocycle.bundle import load_bundle

    return load_bundle(PACKAGED[UNASKED], where)


def _of_array(video: Any) -> Recording:
    """Frames that are in memory, as a recording.

    Raises:
        EchocycleError: they have another shape or type.
    """
    frames = np.asarray(video)
    if frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[-1] != 3) or 0 in frames.shape:
        raise EchocycleError(
            f"The array has the shape {frames.shape}; it must be (time, height, width), or (time, height, width, 3) "
            "for RGB."
        )
    if frames.dtype != np.uint8:
        raise EchocycleError(
            f"The array holds {frames.dtype}; give uint8, grey levels from 0 to 255 (of values from 0 to 1: "
            "`(255 * video).round().astype('uint8')`)."
        )
    if frames.ndim == 4:
        watch = FlowWatch()
        for index, frame in enumerate(frames):
            if watch.wants(index):
                watch.see(frame)
        if watch.flows():
            raise DeclinedError(f"The array is a colour Doppler recording. {NEEDED}.")
    unknown = (math.nan, math.nan)
    return Recording(np.ascontiguousarray(frames), math.nan, None, (), unknown, Path(ARRAY))


def _with_known(recording: Recording, fps: float | None, spacing: tuple[float, float] | float | None) -> Recording:
    """The recording with what the caller knows of it, in place of what its file says."""
    notes = [*recording.notes]
    if fps is not None:
        if not 0 < fps < math.inf:
            raise EchocycleError(f"fps is {fps}; it must be above 0.")
        notes.append(f"the frame rate of {fps:g} per second was given by the caller")
        recording = replace(recording, fps=float(fps))
    if spacing is not None:
        pair = (spacing, spacing) if isinstance(spacing, int | float) else tuple(spacing)
        if len(pair) != 2 or not all(0 < value < math.inf for value in pair):
            raise EchocycleError(f"spacing is {spacing}; give millimetres per pixel, (row, column), above 0.")
        notes.append(f"the pixel size of {pair[0]:g} x {pair[1]:g} mm was given by the caller")
        row, column = map(float, pair)
        recording = replace(recording, spacing_mm=(row, column), pixel_aspect=column / row)
    return replace(recording, notes=tuple(notes))
