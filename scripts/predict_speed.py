"""How long a 175-frame video takes with full-size networks, the plain way and ours: `python scripts/predict_speed.py`.

The plain way, all in eager fp32: OpenCV decodes, torchvision's DeepLabV3 sees the frames in batches, its R(2+1)D-18
every clip of 32 frames at period 2. Ours: `probabilities` and `ef_of_clips` on each engine. Weights are random. A
sample of frames and clips is timed, and what a whole video takes is reckoned from it. Seconds are those of the
processor, all threads: a busy machine changes them little. Elapsed seconds stand beside.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.video import r2plus1d_18

from echocycle.engines.adapters import on_engine
from echocycle.engines.checking import drawn_heart
from echocycle.engines.graphs import inner_graph, inner_input, write_onnx
from echocycle.engines.sessions import TORCH, installed, open_session
from echocycle.inference.clips import ef_of_clips
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.recordings.video import write_mjpeg

FRAMES, SPAN = 175, 63
ALL = FRAMES - SPAN + 1
CPU = torch.device("cpu")


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and elapsed seconds, the second of two calls."""
    function()
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16, help="frames of the sample")
    parser.add_argument("--clips", type=int, default=4, help="clips of the sample")
    parser.add_argument("--beats", type=int, default=5, help="clips of an EF over beats")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    mean, std = (40.0,), (50.0,)
    segmenter = SegmenterSpec("deeplabv3_resnet50", 16, 112, mean, std, False)
    regressor = RegressorSpec("r2plus1d_18", (64, 128, 256, 512), 3, 1.0, 112, 32, 2, mean, std, False)
    parts = {"masks": Part(segmenter, segmenter.build()).to(CPU), "EF": Part(regressor, regressor.build()).to(CPU)}
    plain_segmenter = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1).eval()
    plain_regressor = r2plus1d_18(weights=None, num_classes=1).eval()
    heart = drawn_heart(FRAMES)
    starts = [2 * place for place in range(asked.clips)]
    rows: list[tuple[str, tuple[float, float], tuple[float, float], tuple[float, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.avi"
        write_mjpeg(video, heart, 50)

        def normalised(frames: np.ndarray) -> torch.Tensor:
            return (torch.from_numpy(frames).float() - mean[0]) / std[0]

        @torch.no_grad()
        def plain_masks() -> None:
            plain_segmenter(normalised(heart[: asked.frames])[:, None].expand(-1, 3, -1, -1))["out"]

        @torch.no_grad()
        def plain_ef() -> None:
            for start in starts:
                plain_regressor(normalised(heart[start : start + SPAN : 2])[None, None].expand(-1, 3, -1, -1, -1))

        rows.append(("plain", timed(lambda: plain_decode(video)), timed(plain_masks), timed(plain_ef)))
        print(rows[-1], flush=True)
        decode = timed(lambda: cut_sector(read_recording(video)))
        files = {name: Path(folder) / f"{name}.onnx" for name in parts}
        for name, part in parts.items():
            write_onnx(inner_graph(part), (inner_input(part),), files[name])
        for engine in installed():
            used = dict(parts)
            if engine != TORCH:
                for name, part in parts.items():
                    used[name] = on_engine(part, open_session(files[name], engine, asked.threads), str(engine))
            masks = timed(lambda used=used: list(probabilities(used["masks"], heart[: asked.frames], 64, CPU)))
            ef = timed(lambda used=used: ef_of_clips(used["EF"], heart, None, starts, CPU))
            rows.append((str(engine), decode, masks, ef))
            print(rows[-1], flush=True)
    frames, clips = FRAMES / asked.frames, 1 / asked.clips
    print(
        f"\nProcessor seconds (elapsed) of {FRAMES} frames, {ALL} clips, {asked.threads} threads, from {asked.frames} "
        f"frames and {asked.clips} clips\n\n| | decode | masks | EF, all clips | in all | times faster, same work | "
        f"EF over {asked.beats} beats | in all | times faster again, less work | together |\n|---|" + "---:|" * 9
    )
    plain = None
    for name, *times in rows:
        whole = [
            [each[k] * factor for k in (0, 1)] for each, factor in zip(times, (1, frames, ALL * clips), strict=True)
        ]
        beats = [times[2][k] * clips * asked.beats for k in (0, 1)]
        both = [sum(each[k] for each in whole) for k in (0, 1)]
        less = [whole[0][k] + whole[1][k] + beats[k] for k in (0, 1)]
        plain = plain or both
        cells = [*map(told, whole), told(both), f"{plain[0] / both[0]:.1f} ({plain[1] / both[1]:.1f})", told(beats)]
        cells += [told(less), *(f"{a[0] / b[0]:.1f} ({a[1] / b[1]:.1f})" for a, b in ((both, less), (plain, less)))]
        print(f"| {name} | " + " | ".join(cells) + " |")


def told(seconds: list[float]) -> str:
    """Processor seconds, and elapsed ones in brackets."""
    return f"{seconds[0]:.2f} ({seconds[1]:.2f})"


def plain_decode(file: Path) -> np.ndarray:
    """Frames as OpenCV gives them, grey."""
    import cv2

    capture, frames = cv2.VideoCapture(str(file)), []
    while True:
        there, frame = capture.read()
        if not there:
            return np.stack(frames)
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))


if __name__ == "__main__":
    main()
