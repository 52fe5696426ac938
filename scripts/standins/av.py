"""In place of PyAV: motion-JPEG AVI by OpenCV, for phantoms alone, since OpenCV passes damaged frames without a word.

It has not PyAV's names but two functions, which it hands to `echocycle.recordings.video` when it is imported as `av`.
"""

from pathlib import Path

import cv2
import numpy as np

from echocycle.recordings.video import Backend, use_backend

NOTE = "read with OpenCV in place of PyAV, which passes damaged frames without a word"


def write_mjpeg(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write uint8 frames, grey (time, height, width) or RGB (time, height, width, 3), at the best JPEG quality."""
    height, width = frames.shape[1:3]
    options = [cv2.VIDEOWRITER_PROP_QUALITY, 100]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, fourcc, float(fps), (width, height), options)
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write {path}.")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR if frame.ndim == 3 else cv2.COLOR_GRAY2BGR))
    writer.release()


def read_mjpeg(path: Path, color: bool) -> tuple[np.ndarray, float, int]:
    """Frames as in `write_mjpeg`, frames a second, and how many frames the header lists.

    Raises `OSError` where nothing can be read.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_OPENCV_MJPEG)
    fps, listed = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = []
    while True:
        good, frame = capture.read()
        if not good:
            break
        frames.append(frame[..., ::-1] if color else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    capture.release()
    if not frames:
        raise OSError(f"OpenCV reads no frame of {path}.")
    return np.stack(frames), fps, listed


if __name__ == "av":  # in PyAV's place, in a started process too; a test loads this file by another name, beside PyAV
    use_backend(Backend(NOTE, read_mjpeg, write_mjpeg))
