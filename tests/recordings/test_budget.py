"""Large and lying headers are refused before memory is taken; what is below the limits needs less than 2 GB."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.recording_files import beating_fan, cine, encode, jpeg, save, smooth
from pydicom import dcmread, uid

from echocycle.errors import EchocycleError
from echocycle.recordings import budget, dicom_file, pixels
from echocycle.recordings.budget import FrameStack, check_budget
from echocycle.recordings.recording import read_recording


def peak_mb(code: str, path: Path) -> float:
    """Peak memory in MB of a process that runs `code` with the name `path`."""
    measured = (
        "import sys\nfrom pathlib import Path\npath = Path(sys.argv[1])\n"
        # not getrusage: its peak counts what the process was before it became this program
        f"{code}\nstatus = Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", measured, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


REFUSED = """
from echocycle.recordings.recording import read_recording
from echocycle.errors import EchocycleError
try:
    read_recording(path)
except EchocycleError as error:
    assert "memory" in str(error) or "pixels, more than" in str(error) or "unpack to more" in str(error), error
else:
    raise SystemExit("read")
"""


def sparse(path: Path, rows: int, columns: int, frames: int) -> Path:
    """An uncompressed cine of zeros whose pixel data take no room on the disk."""
    dataset = cine(np.zeros((1, 4, 4), np.uint8), Rows=rows, Columns=columns, NumberOfFrames=frames)
    save(dataset, path)
    data = path.read_bytes()
    head = data[:-16]
    size = rows * columns * frames
    path.write_bytes(head[:-4] + struct.pack("<L", size))
    with path.open("r+b") as file:
        file.truncate(len(head) + size)
    return path


@pytest.mark.slow
def test_the_largest_recording_stays_below_2_gb(tmp_path: Path) -> None:
    path = sparse(tmp_path / "large.dcm", 480, 640, budget.LARGEST_RECORDING // (480 * 640))
    code = (
        "from echocycle.recordings.recording import read_recording\nfrom echocycle.recordings.sector import cut_sector\n"
        "from echocycle.recordings.quality import unanswerable\nrecording = read_recording(path)\n"
        "assert recording.frames.nbytes > 700 << 20\ncut_sector(recording)\nunanswerable(recording.frames)"
    )
    assert 700 < peak_mb(code, path) < 2000


@pytest.mark.slow
def test_a_larger_one_is_refused_without_being_loaded(tmp_path: Path) -> None:
    path = sparse(tmp_path / "larger.dcm", 480, 640, 8000)
    assert peak_mb(REFUSED, path) < 400
    with pytest.raises(EchocycleError, match=r"larger\.dcm: 8,000 frames of 640 x 480 pixels would take 2,344 MB"):
        read_recording(path)


@pytest.mark.parametrize(
    ("rows", "columns", "frames", "words"),
    [(65535, 65535, 1, "frames of 65535 x 65535 pixels"), (4000, 4000, 2, "frames of 4000 x 4000 pixels")],
)
def test_headers_that_lie_about_sizes(tmp_path: Path, rows: int, columns: int, frames: int, words: str) -> None:
    dataset = cine([jpeg(frame) for frame in smooth(3)], smooth(3).shape, syntax=uid.JPEGBaseline8Bit)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, columns, frames
    with pytest.raises(EchocycleError, match=words):
        read_recording(save(dataset, tmp_path / "clip.dcm"))


def test_a_listed_number_alone_takes_no_memory(tmp_path: Path) -> None:
    path = save(cine(smooth(6), NumberOfFrames=2**31 - 1), tmp_path / "clip.dcm")
    with pytest.raises(EchocycleError, match="frame 6 of 2147483647 is damaged"):
        read_recording(path)
    assert len(read_recording(path, damaged="cut").frames) == 6


def test_deflated_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(
        cine(np.zeros((40, 120, 160), np.uint8), syntax=uid.DeflatedExplicitVRLittleEndian), tmp_path / "clip.dcm"
    )
    assert path.stat().st_size < 10_000
    assert read_recording(path).frames.shape == (40, 120, 160)
    monkeypatch.setattr(dicom_file, "LARGEST_INFLATED", 100_000)
    with pytest.raises(EchocycleError, match=r"clip\.dcm would unpack to more than"):
        read_recording(path)


@pytest.mark.slow
def test_a_deflated_bomb_of_gigabytes(tmp_path: Path) -> None:
    path = save(cine(smooth(4), syntax=uid.DeflatedExplicitVRLittleEndian), tmp_path / "clip.dcm")
    data = path.read_bytes()
    head = data[: dicom_file._meta(data)[0]]
    inflated = zlib.decompress(data[len(head) :], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(head + deflater.compress(inflated))
        for _ in range(300):
            file.write(deflater.compress(bytes(2 << 20)))
        file.write(deflater.flush())
    assert path.stat().st_size < 8 << 20
    assert peak_mb(REFUSED, path) < 1400


def test_videos_are_judged_by_their_header_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip.mp4", smooth(40))
    decoded = []
    monkeypatch.setattr(budget, "LARGEST_RECORDING", 30 * 48 * 64)
    monkeypatch.setattr(FrameStack, "append", lambda self, frame: decoded.append(frame))
    with pytest.raises(EchocycleError, match=r"clip\.mp4: 40 frames of 64 x 48 pixels would take"):
        read_recording(path)
    assert decoded == []


def test_videos_whose_header_is_silent_are_stopped_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "clip.h264", smooth(60))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert len(read_recording(path.rename(tmp_path / "clip.mp4")).frames) == 60
    monkeypatch.setattr(budget, "LARGEST_RECORDING", 30 * 48 * 64)
    with pytest.raises(EchocycleError, match="would take"):
        read_recording(tmp_path / "clip.mp4")


def test_a_video_inside_dicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = encode(tmp_path / "inside.mp4", smooth(20)).read_bytes()
    path = save(cine([stream], smooth(20).shape, syntax=uid.MPEG4HP41), tmp_path / "clip.dcm")
    monkeypatch.setattr(pixels, "LARGEST_STREAM", len(stream) // 2)
    with pytest.raises(EchocycleError, match="holds more than"):
        read_recording(path)


def test_a_large_private_element_stays_in_the_file(tmp_path: Path) -> None:
    """Some machines keep raw data of hundreds of megabytes before the picture."""
    dataset = cine(beating_fan(8))
    dataset.private_block(0x0019, "RAW", create=True).add_new(1, "OB", bytes(64 << 20))
    path = save(dataset, tmp_path / "clip.dcm")
    code = "from echocycle.recordings.recording import read_recording\nassert len(read_recording(path).frames) == 8"
    small = peak_mb(code, save(cine(beating_fan(8)), tmp_path / "small.dcm"))
    assert peak_mb(code, path) < small + 20
    assert len(dcmread(path).private_block(0x0019, "RAW")[1].value) == 64 << 20


def test_frame_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = FrameStack(Path("clip"))
    for value in range(100):
        assert stack.append(np.full((4, 5, 3), value, np.uint8))
    assert not stack.append(np.zeros((5, 4, 3), np.uint8))
    frames = stack.stacked()
    assert frames.shape == (100, 4, 5, 3)
    assert frames[:, 0, 0, 0].tolist() == list(range(100))
    monkeypatch.setattr(budget, "LARGEST_RECORDING", 1000)
    check_budget(Path("clip"), 10, 10, 10)
    with pytest.raises(EchocycleError, match="would take"):
        check_budget(Path("clip"), 10, 10, 10, bytes_per_pixel=3)
