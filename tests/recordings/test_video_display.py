"""Video as players show it: turned, stretched, at the times of its frames; every container against OpenCV."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from helpers.recording_files import beating_fan, blurred, cine, encode, region, rgb_of, save, smooth
from PIL import Image

from echocycle.recordings.recording import may_be_recording, read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.recordings.video import read_video, write_mjpeg, write_mp4

ONE = 1 << 16


def with_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """Put a display matrix of 2 x 2 signs into an MP4's track header."""
    a, b, c, d = (value * ONE for value in matrix)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def by_opencv(path: Path) -> np.ndarray:
    """uint8 RGB (time, height, width, 3)."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(answer[1][..., ::-1])
    capture.release()
    return np.stack(frames)


@pytest.mark.parametrize(
    ("matrix", "stored", "words"),
    [
        ((0, 1, -1, 0), lambda frames: np.rot90(frames, 1, (1, 2)), "turned by 90 degrees clockwise"),
        ((0, -1, 1, 0), lambda frames: np.rot90(frames, -1, (1, 2)), "turned by 90 degrees counterclockwise"),
        ((-1, 0, 0, -1), lambda frames: frames[:, ::-1, ::-1], "turned by 180 degrees"),
        ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1], "mirrored"),
        ((1, 0, 0, -1), lambda frames: frames[:, ::-1], "mirrored"),
        ((0, 1, 1, 0), lambda frames: frames.swapaxes(1, 2), "mirrored"),
        ((1, 0, 0, 1), lambda frames: frames, ""),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_display_matrices(tmp_path: Path, matrix: tuple, stored, words: str, suffix: str) -> None:
    """The eight ways in which a picture can lie, but for one."""
    frames = smooth(6)
    upright = read_recording(encode(tmp_path / f"upright.{suffix}", frames)).frames
    path = with_matrix(encode(tmp_path / f"clip.{suffix}", stored(frames)), matrix)
    recording = read_recording(path)
    assert recording.frames.shape == frames.shape
    assert np.abs(recording.frames.astype(int) - upright).mean() < 3
    assert words in " ".join(recording.notes)
    assert bool(words) == bool(recording.notes)
    if "turned" in words:  # OpenCV turns pictures as well, but does not mirror them
        assert np.abs(recording.frames.astype(int) - by_opencv(path)[..., 0]).max() <= 3


def test_an_odd_angle_is_left_alone(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(6))
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    half = int(0.7071 * ONE)
    data[at : at + 36] = struct.pack(">9i", half, half, 0, -half, half, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    recording = read_recording(path)
    assert recording.frames.shape == (6, 48, 64)
    assert "odd angle" in recording.notes[0]


@pytest.mark.parametrize("kind", ["mp4", "PixelAspectRatio", "calibration", "PixelSpacing", "tall"])
def test_pixels_that_are_not_square(tmp_path: Path, kind: str) -> None:
    """Every second column, or row, left out: the cut looks as that of the whole picture does, and lies where it does."""
    frames = beating_fan(24, 240, 320)
    squeezed = np.ascontiguousarray(frames[:, ::2] if kind == "tall" else frames[:, :, ::2])
    if kind == "mp4":
        path = encode(tmp_path / "clip.mp4", squeezed, aspect=Fraction(2, 1))
    else:
        bounds = {"RegionLocationMaxX1": squeezed.shape[2] - 1, "RegionLocationMaxY1": squeezed.shape[1] - 1}
        elements: dict = {
            "PixelAspectRatio": {"PixelAspectRatio": [1, 2]},
            "calibration": {"SequenceOfUltrasoundRegions": [region(PhysicalDeltaX=0.1, PhysicalDeltaY=0.05, **bounds)]},
            "PixelSpacing": {"PixelSpacing": [0.5, 1.0]},
            "tall": {"SequenceOfUltrasoundRegions": [region(PhysicalDeltaX=0.05, PhysicalDeltaY=0.1, **bounds)]},
        }[kind]
        path = save(cine(squeezed, **elements), tmp_path / "clip.dcm")
    recording = read_recording(path)
    assert recording.frames.shape == squeezed.shape
    assert recording.pixel_aspect == (0.5 if kind == "tall" else 2)
    assert any("times as wide as high" in note for note in recording.notes)
    cut, whole = cut_sector(recording), cut_sector(read_recording(save(cine(frames), tmp_path / "whole.dcm")))
    assert cut.sector is not None
    assert whole.sector is not None
    assert cut.sector.apex == pytest.approx(whole.sector.apex, abs=3)
    assert cut.sector.radii[1] == pytest.approx(whole.sector.radii[1], rel=0.02)
    assert np.abs(blurred(cut.frames) - blurred(whole.frames)).mean() < 2.5
    # a place in the cut is the same place in both pictures
    stretch = np.array([1, 0.5]) if kind == "tall" else np.array([0.5, 1])
    there, here = whole.affine @ [70, 60, 1], cut.affine @ [70, 60, 1]
    assert here == pytest.approx((there + 0.5) * stretch - 0.5, abs=3)
    if kind not in ("mp4", "PixelAspectRatio"):
        assert cut.spacing_mm[0] == pytest.approx(cut.spacing_mm[1])
        assert cut.spacing_mm[0] == pytest.approx(0.5 * cut.affine[0, 0] * (1 if kind == "tall" else 2), rel=1e-6)


def test_aspects_that_make_no_sense(tmp_path: Path) -> None:
    for value in ([1, 40], [0, 1], [1, 1]):
        recording = read_recording(save(cine(smooth(4), PixelAspectRatio=value), tmp_path / "clip.dcm"))
        assert recording.pixel_aspect == 1
        assert any("not believed" in note for note in recording.notes) == (value == [1, 40])
    conflicting = cine(beating_fan(4), SequenceOfUltrasoundRegions=[region()], PixelAspectRatio=[1, 2])
    recording = read_recording(save(conflicting, tmp_path / "clip.dcm"))
    assert recording.pixel_aspect == 1
    assert "PixelAspectRatio says that pixels are 2 times as wide" in " ".join(recording.notes)


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "webm"])
def test_the_frames_times_are_believed_over_the_header(tmp_path: Path, suffix: str) -> None:
    """A screen recorder's header counts milliseconds as frames."""
    codec = {"codec": "libvpx", "options": {"b": "2M"}} if suffix == "webm" else {}
    path = encode(tmp_path / f"clip.{suffix}", smooth(20), fps=1000, milliseconds=[20 * i for i in range(20)], **codec)
    recording = read_recording(path)
    assert recording.fps == pytest.approx(50, rel=1e-3)
    assert recording.frames.shape == (20, 48, 64)
    with av.open(str(path)) as container:
        stated = container.streams.video[0].average_rate
    if stated is not None and abs(stated - 50) > 2:
        assert any(f"the header says {float(stated):.4g} frames per second" in note for note in recording.notes)


def test_variable_rates_are_put_onto_a_grid(tmp_path: Path) -> None:
    """Three places at which a phone dropped frames; each stored frame keeps its moment."""
    frames = smooth(20)
    times = [33 * i for i in range(30) if i not in (4, 5, 9, 15, 16, 17, 21, 22, 23, 24)]
    path = encode(tmp_path / "clip.mkv", frames, milliseconds=times)
    recording = read_recording(path)
    assert recording.fps == pytest.approx(1000 / 33, rel=1e-3)
    assert len(recording.frames) == 30
    assert recording.stored_frames is not None
    kept = [times[place] for place in recording.stored_frames]
    assert max(abs(33 * i - moment) for i, moment in enumerate(kept)) <= 66
    assert any("33 to 165 ms apart; they were put onto 30.3 per second" in note for note in recording.notes)
    as_stored = read_video(path)
    assert len(as_stored.frames) == 20
    assert np.array_equal(as_stored.frames[recording.stored_frames], recording.frames)
    even = read_recording(encode(tmp_path / "even.mkv", frames, milliseconds=[round(33.4 * i) for i in range(20)]))
    assert even.stored_frames is None
    assert even.fps == pytest.approx(1000 / 33.4, rel=5e-3)


def test_a_jump_in_the_times_is_not_filled(tmp_path: Path) -> None:
    times = [20 * i + (5000 if i > 9 else 0) for i in range(20)]
    recording = read_recording(encode(tmp_path / "clip.mkv", smooth(20), milliseconds=times))
    assert len(recording.frames) == 20
    assert recording.fps == pytest.approx(50)
    assert "the longest after frame 9" in " ".join(recording.notes)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options", "tolerance"),
    [
        ("clip.avi", "mjpeg", "yuvj420p", {"qmin": "1", "qmax": "2"}, 2),
        ("clip.avi", "rawvideo", "bgr24", {}, 1),
        ("clip.avi", "huffyuv", "bgra", {}, 1),
        ("clip.avi", "mpeg4", "yuv420p", {"b": "4M"}, 3),
        ("clip.avi", "ffv1", "gray", {}, 0),
        ("clip.mp4", "libx264", "yuv420p", {"crf": "12"}, 3),
        ("clip.mp4", "libx264", "yuvj420p", {"crf": "12"}, 3),
        ("clip.mov", "png", "rgb24", {}, 1),
        ("clip.mkv", "libx264", "yuv444p", {"crf": "12"}, 3),
        ("clip.webm", "libvpx-vp9", "yuv420p", {"b": "2M"}, 3),
        ("clip.mpg", "mpeg2video", "yuv420p", {"b": "4M"}, 3),
        ("clip.wmv", "wmv2", "yuv420p", {"b": "4M"}, 3),
    ],
)
def test_containers_and_codecs_against_opencv(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict, tolerance: int
) -> None:
    frames = smooth(12) if pixels == "gray" else rgb_of(smooth(12))
    path = encode(tmp_path / name, frames, codec=codec, pixels=pixels, options=options)
    recording = read_recording(path)
    assert recording.fps == pytest.approx(50, rel=1e-2)
    assert recording.frames.shape == (12, 48, 64)
    assert np.abs(recording.frames.astype(int) - smooth(12)).mean() < 3
    seen = by_opencv(path)[: len(recording.frames)].mean(axis=-1)
    assert np.abs(recording.frames - seen).max() <= tolerance
    path.rename(tmp_path / "without_suffix")
    assert may_be_recording(tmp_path / "without_suffix")
    assert np.array_equal(read_recording(tmp_path / "without_suffix").frames, recording.frames)


def test_gif(tmp_path: Path) -> None:
    frames = smooth(8)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=40, loop=0)
    recording = read_recording(tmp_path / "clip.gif")
    assert recording.frames.shape == frames.shape
    assert np.abs(recording.frames.astype(int) - frames).max() <= 1
    assert recording.fps == pytest.approx(25, rel=0.05)


def test_the_right_one_of_several_streams(tmp_path: Path) -> None:
    """A cover picture and a small preview stand before the recording."""
    path = tmp_path / "clip.mkv"
    large, small = smooth(12, 96, 128), smooth(12, 32, 40)
    with av.open(str(path), "w") as container:
        streams = []
        for frames in (np.full((1, 480, 640), 90, np.uint8), small, large):
            stream = container.add_stream("libx264", rate=50)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt, stream.codec_context.options = "yuv420p", {"crf": "12"}
            streams.append((stream, frames))
        for stream, frames in streams:
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
            container.mux(stream.encode())
    recording = read_recording(path)
    assert recording.frames.shape == large.shape
    assert np.abs(recording.frames.astype(int) - large).mean() < 3
    assert "3 video streams; number 3 of 128 x 96 pixels and 12 frames is used" in recording.notes[0]


def test_what_is_written_is_read_without_a_word(tmp_path: Path) -> None:
    for write, name in ((write_mjpeg, "a.avi"), (write_mp4, "a.mp4")):
        write(tmp_path / name, smooth(12), 51.0638)
        recording = read_recording(tmp_path / name)
        assert recording.notes == ()
        assert recording.fps == pytest.approx(51.0638, abs=1e-3)


def test_a_recording_made_slower_than_it_was_exported(tmp_path: Path) -> None:
    doubled = np.repeat(smooth(10), 2, axis=0)
    note = read_recording(save(cine(doubled), tmp_path / "clip.dcm")).notes[-1]
    assert note.startswith("10 of 20 frames repeat the one before: the scanner took about 23.7 pictures a second")
