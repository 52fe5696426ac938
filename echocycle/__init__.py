"""echocycle: left-ventricular ejection fraction from echocardiogram video when few videos are labelled.

Research software, not a medical device.
"""

from typing import TYPE_CHECKING, Literal

from echocycle.threads import wait_passively

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from echocycle.bundle import Bundle
    from echocycle.prediction import Prediction

__version__ = "0.1.0"

wait_passively()  # before PyTorch is loaded, which reads it then


def predict(
    video: "str | Path | np.ndarray",
    model: "str | Path | Bundle | None" = None,
    *,
    fps: float | None = None,
    spacing: tuple[float, float] | float | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    protocol: Literal["one-clip", "all-clips", "strided", "beats"] = "strided",
    stride: int | None = None,
    fast: bool = False,
    time: Literal["auto", "frames", "seconds"] = "auto",
) -> "Prediction":
    """EF, masks, beats and volumes of one recording. Nothing is written; `echocycle predict` writes files.

    Args:
        video: a file (DICOM, AVI, MP4, ...), or uint8 frames (time, height, width), grey, or (time, height, width, 3),
            RGB, with the probe at the top.
        model: a bundle's folder, the run that holds it, or a `Bundle` that is loaded already; the model in the package
            (`zero`, trained on synthetic clips only) where none is named.
        fps: frames a second, where the file does not say it or says it wrongly; arrays say nothing.
        spacing: millimetres per pixel of `video`, one number or (row, column), in the same way. Without it volumes are
            relative.
        device, protocol, stride, fast, time: as in `echocycle predict`.

    Returns:
        The result with `frames` and `masks` as arrays; `docs/predict.md` has every field with its unit.

    Raises:
        EchocycleError: the video or the model cannot be read; the message says what to do.
    """
    from echocycle.inference.direct import predict_one

    return predict_one(
        video,
        model,
        fps=fps,
        spacing=spacing,
        device=device,
        protocol=protocol,
        stride=stride,
        fast=fast,
        time=time,
    )
