"""Video files: what is written comes back, OpenCV sees the same, and damage is found and named."""

import builtins
import errno
import resource
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from echocycle.errors import EchocycleError
from echocycle.recordings import video
from echocycle.recordings.video import DamagedVideoError, frames_that_stand_out, read_video, write_mjpeg, write_mp4


def speckle(n_frames: int = 30, size: int = 112) -> np.ndarray:
    """uint8 (time, size, size): drifting speckle inside a fan, black outside."""
    noise = np.random.default_rng(0).normal(size=(n_frames, size, size))
    row, column = np.indices((size, size))
    inside = (abs(column - size / 2) < row) & (np.hypot(column - size / 2, row) < 0.93 * size)
    grey = gaussian_filter(noise, (1.5, 0.8, 1)) * 180 + 60 + 40 * np.sin(column / 9) * np.cos(row / 11)
    return (grey.clip(0, 255) * inside).astype(np.uint8)


def colours(n_frames: int = 5, size: int = 112) -> np.ndarray:
    row, column = np.indices((size, size))
    picture = np.stack([column * 2, row * 2, 255 - column], axis=-1).astype(np.uint8)
    return np.repeat(picture[None], n_frames, axis=0)


def read_with_opencv(path: Path) -> np.ndarray:
    """uint8 RGB (time, height, width, 3)."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (answer := capture.read())[0]:
        frames.append(answer[1][..., ::-1])
    capture.release()
    return np.stack(frames)


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def frame_positions(avi: bytes) -> list[tuple[int, int]]:
    """(start, length) of the JPEG data of each frame in an AVI file."""
    at = avi.index(b"movi") + 4
    found = []
    while avi[at : at + 4] == b"00dc":
        length = int.from_bytes(avi[at + 4 : at + 8], "little")
        found.append((at + 8, length))
        at += 8 + length + length % 2
    return found


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_mjpeg(tmp_path / "clip.avi", speckle(), 50)
    return tmp_path / "clip.avi"


def test_mjpeg_is_nearly_lossless(clip: Path) -> None:
    recording = read_video(clip)
    assert recording.frames.dtype == np.uint8
    assert recording.frames.shape == (30, 112, 112)
    assert largest_difference(recording.frames, speckle()) <= 8
    assert mean_difference(recording.frames, speckle()) < 1
    assert recording.fps == 50
    assert recording.listed_frames == 30
    assert recording.notes == ()
    assert np.isnan(recording.spacing_mm).all()
    assert recording.source == clip


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_mp4_comes_close(tmp_path: Path, name: str) -> None:
    write_mp4(tmp_path / name, speckle(), 51.0638)
    recording = read_video(tmp_path / name)
    assert recording.frames.shape == (30, 112, 112)
    assert mean_difference(recording.frames, speckle()) < 3
    assert recording.fps == pytest.approx(51.0638, abs=1e-3)
    # full range: black and white of the source come back, not 16 and 235
    assert recording.frames.min() <= 1
    assert abs(int(recording.frames.max()) - int(speckle().max())) < 10


@pytest.mark.parametrize(("write", "name"), [(write_mjpeg, "clip.avi"), (write_mp4, "clip.mp4")])
def test_opencv_reads_the_same_pixels(tmp_path: Path, write, name: str) -> None:
    write(tmp_path / "grey" / name, speckle(), 50)
    grey = read_with_opencv(tmp_path / "grey" / name)
    assert largest_difference(grey.mean(axis=-1).round(), read_video(tmp_path / "grey" / name).frames) <= 1
    write(tmp_path / "colour" / name, colours(), 50)
    colour = read_video(tmp_path / "colour" / name, color=True).frames
    assert largest_difference(read_with_opencv(tmp_path / "colour" / name), colour) <= 1
    assert mean_difference(colour, colours()) < 2


@pytest.mark.parametrize(("write", "name"), [(write_mjpeg, "clip.avi"), (write_mp4, "clip.mp4")])
def test_same_frames_give_same_bytes(tmp_path: Path, write, name: str) -> None:
    write(tmp_path / "a" / name, speckle(), 50)
    write(tmp_path / "b" / name, speckle(), 50)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_odd_sizes(tmp_path: Path) -> None:
    frames = np.ascontiguousarray(speckle()[:, :111, :109])
    write_mjpeg(tmp_path / "odd.avi", frames, 25)
    assert read_video(tmp_path / "odd.avi").frames.shape == frames.shape
    write_mp4(tmp_path / "odd.mp4", frames, 25)
    assert read_video(tmp_path / "odd.mp4").frames.shape == (30, 112, 110)


@pytest.mark.parametrize("name", ["four chamber view.avi", "Büro Ä 心.avi", "a:b%03d.avi"])
def test_unusual_names(tmp_path: Path, name: str) -> None:
    write_mjpeg(tmp_path / name, speckle(3), 50)
    assert len(read_video(tmp_path / name).frames) == 3


def test_a_corrupted_frame_is_named(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start, length = frame_positions(data)[17]
    data[start + length // 2 : start + length // 2 + 200] = b"\xff\x00" * 100
    clip.write_bytes(data)
    with pytest.raises(DamagedVideoError, match=r"clip\.avi: frame 17 is damaged"):
        read_video(clip)
    cut = read_video(clip, damaged="cut")
    assert len(cut.frames) == 17
    assert "frame 17 is damaged" in cut.notes[0]
    assert "17 frames before it are used" in cut.notes[0]


def test_random_damage_rarely_passes(clip: Path) -> None:
    """Garbled JPEG data may be valid by chance; then only a bad picture can tell. No bad picture may pass unseen."""
    data, sound = clip.read_bytes(), read_video(clip).frames
    start, length = frame_positions(data)[17]
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(40):
        broken = bytearray(data)
        at = start + int(rng.integers(length // 3, length - 60))
        broken[at : at + 40] = rng.bytes(40)
        try:
            recording = video.decode(bytes(broken), clip)
        except DamagedVideoError as error:
            assert "frame 17" in str(error)
            seen += 1
        else:
            seen += any("frame 17" in note for note in recording.notes)
            assert mean_difference(recording.frames[17], sound[17]) < 20 or recording.notes
    assert seen >= 24


def test_a_frame_that_stands_out_is_found() -> None:
    frames = speckle()
    assert frames_that_stand_out(frames) == []
    frames[11, 40:] = frames[11, 40:][::-1]
    assert frames_that_stand_out(frames) == [11]
    assert frames_that_stand_out(frames[:2]) == []


def test_a_truncated_file(clip: Path) -> None:
    data = clip.read_bytes()
    positions = frame_positions(data)
    clip.write_bytes(data[: positions[12][0] + 300])
    with pytest.raises(DamagedVideoError, match="frame 12 is damaged"):
        read_video(clip)
    assert len(read_video(clip, damaged="cut").frames) == 12
    # cut exactly between two frames: only the header still knows
    clip.write_bytes(data[: positions[12][0] - 8])
    recording = read_video(clip)
    assert len(recording.frames) == 12
    assert recording.notes == ("the header lists 30 frames, 12 could be read",)


def test_a_truncated_mp4(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, speckle(), 50)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    try:
        recording = read_video(path)
    except DamagedVideoError as error:
        assert "clip.mp4: frame" in str(error)
    else:
        assert "the header lists 30 frames" in recording.notes[0]
    path.write_bytes(data[:200])
    with pytest.raises(EchocycleError, match=r"clip\.mp4"):
        read_video(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "is a web page"),
        (b"\n <HTML>", "is a web page"),
        (b"just some text", "cannot be opened as a video"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://example.com/a.ts\n", "cannot be opened as a video"),
    ],
)
def test_files_that_are_no_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(EchocycleError, match=message) as caught:
        read_video(path)
    assert "clip.avi" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="is missing"):
        read_video(tmp_path / "nothing.avi")
    with pytest.raises(EchocycleError, match="is a folder"):
        read_video(tmp_path)


def test_a_video_without_frames(clip: Path) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: frame_positions(data)[0][0] - 8])
    with pytest.raises(EchocycleError, match=r"clip\.avi"):
        read_video(clip)


@pytest.mark.parametrize("rate", [None, 0, -5, 1001, float("nan"), float("inf")])
def test_absurd_frame_rates_become_nan(rate: float | None) -> None:
    fps, notes = video.checked_fps(rate)
    assert np.isnan(fps)
    assert notes[0].startswith("frame rate unknown")
    assert video.checked_fps(50) == (50.0, ())


def test_writing_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        write_mjpeg(tmp_path / "a.avi", speckle().astype(float), 50)
    with pytest.raises(ValueError, match="uint8"):
        write_mp4(tmp_path / "a.mp4", speckle()[:0], 50)
    with pytest.raises(EchocycleError, match="frames per second"):
        write_mjpeg(tmp_path / "a.avi", speckle(2), float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_is_handed_in_is_used(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For reading and writing motion JPEG, with its note; what it cannot read is a clear error; then PyAV again."""
    monkeypatch.setattr(video, "_backend", None)
    frames = colours(3)

    def read(path: Path, color: bool) -> tuple[np.ndarray, float, int]:
        if path.name != "clip.avi":
            raise OSError(f"no frame of {path}")
        return (frames if color else frames[..., 0]), 25.0, 4

    def write(path: Path, given: np.ndarray, fps: float) -> None:
        path.write_bytes(b"%d frames" % len(given))

    (tmp_path / "other.avi").write_bytes(b"other")
    whole = read_video(clip)
    video.use_backend(video.Backend("read by another hand", read, write))
    found = read_video(clip, color=True)
    np.testing.assert_array_equal(found.frames, frames)
    assert (found.fps, found.listed_frames, found.notes) == (25.0, 4, ("read by another hand",))
    assert read_video(clip).frames.shape == (3, 112, 112)
    with pytest.raises(EchocycleError, match=r"no frame of .*other\.avi"):
        read_video(tmp_path / "other.avi")
    write_mjpeg(tmp_path / "new.avi", frames, 50)
    assert (tmp_path / "new.avi").read_bytes() == b"3 frames"
    with pytest.raises(ValueError, match="must be uint8"):
        write_mjpeg(tmp_path / "new.avi", frames.astype(float), 50)
    video.use_backend(None)
    np.testing.assert_array_equal(read_video(clip).frames, whole.frames)


def test_without_pyav_the_error_says_so(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_pyav(name: str, *args, **kwargs):
        if name == "av":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pyav)
    with pytest.raises(EchocycleError, match="PyAV"):
        read_video(clip)
    with pytest.raises(EchocycleError, match="PyAV"):
        write_mjpeg(clip, speckle(2), 50)


@pytest.mark.parametrize("write", [write_mjpeg, write_mp4])
@pytest.mark.parametrize("limit", [0, 10_000])
def test_what_the_system_refuses_is_told_as_it_is(tmp_path: Path, write: Callable[..., None], limit: int) -> None:
    """PyAV tells only that a callback failed; the command line would take that for a fault of its own."""
    path, frames = tmp_path / ("a.avi" if write is write_mjpeg else "a.mp4"), speckle(20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(path, frames, 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
