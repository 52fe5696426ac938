"""Whatever happens to a file or its header, reading it gives a recording or one clear sentence, and nothing else."""

import io
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, cine, encode, jpeg, region, save, smooth
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from echocycle.errors import EchocycleError
from echocycle.recordings.decline import notes_on_kind, refusal, says_colour
from echocycle.recordings.dicom import frame_timing
from echocycle.recordings.header import items, number, numbers, text, value, whole
from echocycle.recordings.recording import read_recording
from echocycle.recordings.regions import pictures, pixel_aspect, pixel_spacing, tissue_box
from echocycle.recordings.timing import intervals_of_vector, timing_of_intervals, timing_of_stamps
from echocycle.recordings.video import Recording

SHAPE = (8, 32, 40)
CLIP = smooth(*SHAPE)
WORDS = (
    "damaged", "cannot be", "is not a", "is empty", "holds no", "without frames", "cut off", "header", "memory", "web page",
    "differ in size", "still image", "not ultrasound", "encoded as", "unpack", "hundred", "stored as", "Doppler",
)  # fmt: skip
"""One of these stands in every sentence about a damaged file."""


def gif(path: Path) -> Path:
    pictures = [Image.fromarray(frame) for frame in CLIP]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    return path


def rle(path: Path) -> Path:
    dataset = cine(CLIP)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    return save(dataset, path)


def j2k(path: Path) -> Path:
    encoded = []
    for frame in CLIP:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
        encoded.append(buffer.getvalue())
    return save(cine(encoded, SHAPE, syntax=uid.JPEG2000Lossless), path)


FORMATS: dict[str, Callable[[Path], Path]] = {
    "native.dcm": lambda path: save(cine(CLIP, SequenceOfUltrasoundRegions=[region()]), path),
    "big.dcm": lambda path: save(cine(CLIP, syntax=uid.ExplicitVRBigEndian), path),
    "deflated.dcm": lambda path: save(cine(CLIP, syntax=uid.DeflatedExplicitVRLittleEndian), path),
    "jpeg.dcm": lambda path: save(cine([jpeg(frame) for frame in CLIP], SHAPE, syntax=uid.JPEGBaseline8Bit), path),
    "rle.dcm": rle,
    "j2k.dcm": j2k,
    "clip.avi": lambda path: encode(path, CLIP, codec="mjpeg", pixels="yuvj420p", options={}),
    "clip.mp4": lambda path: encode(path, CLIP),
    "clip.mkv": lambda path: encode(path, CLIP),
    "clip.webm": lambda path: encode(path, CLIP, codec="libvpx", options={"b": "1M"}),
    "clip.mpg": lambda path: encode(path, CLIP, codec="mpeg2video", options={}),
    "clip.gif": gif,
}


def _block(data: bytes, rng: np.random.Generator, fill: Callable[[int], bytes]) -> bytes:
    at, size = int(rng.integers(0, len(data))), int(rng.integers(1, max(2, len(data) // 8)))
    return data[:at] + fill(len(data[at : at + size])) + data[at + size :]


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(0, len(data), 8):
        changed[at] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "half": lambda data, rng: data[: len(data) // 2],
    "nine tenths": lambda data, rng: data[: len(data) * 9 // 10],
    "head alone": lambda data, rng: data[:160],
    "last byte gone": lambda data, rng: data[:-1],
    "zeros": lambda data, rng: _block(data, rng, bytes),
    "noise": lambda data, rng: _block(data, rng, rng.bytes),
    "ones": lambda data, rng: _block(data, rng, lambda size: b"\xff" * size),
    "piece gone": lambda data, rng: _block(data, rng, lambda size: b""),
    "piece twice": lambda data, rng: _block(data, rng, lambda size: rng.bytes(size) * 2),
    "bits flipped": _flipped,
    "head zeroed": lambda data, rng: bytes(200) + data[200:],
    "rubbish behind": lambda data, rng: data + rng.bytes(5000),
    "rubbish before": lambda data, rng: rng.bytes(100) + data,
    "halves exchanged": lambda data, rng: data[len(data) // 2 :] + data[: len(data) // 2],
    "as text": lambda data, rng: data.replace(b"\n", b"\r\n"),
    "web page": lambda data, rng: b"<!DOCTYPE html><html>" + data[:500],
    "empty": lambda data, rng: b"",
}


DRAWN = ("zeros", "noise", "ones", "piece gone", "piece twice", "bits flipped", "rubbish before")
"""Damage that is drawn, at three places of each file."""


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    """Each kind of damage, the ones that are drawn three times."""
    sound = FORMATS[name](tmp_path / name).read_bytes()
    assert read_recording(tmp_path / name).frames.shape == SHAPE
    rng = np.random.default_rng(1)
    outcome: Counter[str] = Counter()
    before = set(tmp_path.rglob("*"))
    for kind, damage in DAMAGE.items():
        for _ in range(3 if kind in DRAWN else 1):
            (tmp_path / name).write_bytes(damage(sound, rng))
            try:
                recording = read_recording(tmp_path / name)
            except EchocycleError as error:
                assert name in str(error)
                assert "\n" not in str(error)
                assert any(word in str(error) for word in WORDS), error
                outcome["refused"] += 1
            else:
                check(recording)
                outcome["read"] += 1
    with capsys.disabled():
        print(f"\n{name}: {dict(outcome)}", end="")
    assert sum(outcome.values()) == 31
    assert outcome["refused"] >= 6
    assert set(tmp_path.rglob("*")) == before


def check(recording: Recording) -> None:
    """What every recording promises."""
    assert recording.frames.dtype == np.uint8
    assert recording.frames.ndim == 3
    assert len(recording.frames) >= 1
    assert np.isnan(recording.fps) or 0 < recording.fps < 1000
    assert all(np.isnan(side) or 0 < side < np.inf for side in recording.spacing_mm)
    assert 0.25 <= recording.pixel_aspect <= 4
    height, width = recording.frames.shape[1:]
    if recording.region is not None:
        left, top, right, bottom = recording.region
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    assert all(isinstance(note, str) and "\n" not in note for note in recording.notes)


KEYWORDS = (
    "NumberOfFrames", "FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate", "FrameIncrementPointer",
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelAspectRatio", "PixelSpacing", "WindowCenter", "WindowWidth", "RescaleSlope",
    "RescaleIntercept", "Modality", "ImageType", "SOPClassUID", "SequenceOfUltrasoundRegions", "SpecificCharacterSet",
    "SeriesDescription", "PatientName", "SmallestImagePixelValue", "UltrasoundColorDataPresent",
)  # fmt: skip
REGION_KEYWORDS = tuple(element.keyword for element in region())
odd_bytes = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\0", b"  ", b"nan", b"inf", b"-1", b"1e400", b"0", b"1\\2\\3", b"\\", b"20 ", b"\xff" * 8]),
    st.integers(-(2**40), 2**40).map(lambda number: str(number).encode()),
    st.floats().map(lambda number: repr(number).encode()),
    st.integers(0, 2**16 - 1).map(lambda number: number.to_bytes(2, "little")),
    st.floats(width=64).map(lambda number: np.float64(number).tobytes()),
)


LONG = ("OB", "UN", "SQ", "OW")


def element(keyword: str, content: bytes, vr: str) -> bytes:
    """An element as it stands in an explicit little-endian file, whatever its content."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)[:2] if vr == "its own" else vr
    content += b"\0" * (len(content) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode()
    size = struct.pack("<HL", 0, len(content)) if vr in LONG else struct.pack("<H", len(content))
    return head + size + content


def spliced(data: bytes, begins: int, piece: bytes) -> bytes:
    """Elements in order of their tags, from `begins` on, with `piece` put in or in place of the one it has the tag of."""
    wanted = struct.unpack("<HH", piece[:4])
    at = begins
    while at + 8 <= len(data):
        tag = struct.unpack("<HH", data[at : at + 4])
        if data[at + 4 : at + 6].decode("ascii") in LONG:
            after = at + 12 + int.from_bytes(data[at + 8 : at + 12], "little")
        else:
            after = at + 8 + int.from_bytes(data[at + 6 : at + 8], "little")
        if tag >= wanted:
            return data[:at] + piece + data[after if tag == wanted else at :]
        at = after
    return data + piece


def elements_of(dataset: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keyword=st.sampled_from(KEYWORDS), content=odd_bytes, vr=st.sampled_from(["UN", "OB", "its own"]))
@example(keyword="NumberOfFrames", content=b"", vr="UN")
@example(keyword="Rows", content=b"\x01", vr="UN")
@example(keyword="BitsStored", content=b"\x00\x00", vr="UN")
def test_any_value_of_an_element(tmp_path: Path, keyword: str, content: bytes, vr: str) -> None:
    """Written as bytes of an unknown kind, which is how a wrong value and a wrong type look alike."""
    dataset = cine(CLIP, SequenceOfUltrasoundRegions=[region(RegionLocationMaxX1=39, RegionLocationMaxY1=31)])
    path = save(dataset, tmp_path / "clip.dcm")
    data = path.read_bytes()
    path.write_bytes(spliced(data, 144 + int.from_bytes(data[140:144], "little"), element(keyword, content, vr)))
    try:
        check(read_recording(path))
    except EchocycleError as error:
        assert "clip.dcm" in str(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keyword=st.sampled_from(REGION_KEYWORDS), content=odd_bytes, vr=st.sampled_from(["UN", "OB", "its own"]))
def test_any_value_in_a_region(tmp_path: Path, keyword: str, content: bytes, vr: str) -> None:
    """A region is worth a note at most, unless it says that the picture is of another kind."""
    sound = elements_of(region(RegionLocationMaxX1=39, RegionLocationMaxY1=31))
    inner = spliced(sound, 0, element(keyword, content, vr))
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    path = save(cine(CLIP), tmp_path / "clip.dcm")
    data = path.read_bytes()
    sequence = element("SequenceOfUltrasoundRegions", item, "SQ")
    path.write_bytes(spliced(data, 144 + int.from_bytes(data[140:144], "little"), sequence))
    try:
        recording = read_recording(path)
    except EchocycleError as error:
        assert keyword == "RegionSpatialFormat"
        assert "M-mode" in str(error) or "Doppler" in str(error)
    else:
        check(recording)
        assert np.array_equal(recording.frames, CLIP)


anything = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.floats(), st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=3)), max_size=5)
)  # fmt: skip


class _Header(dict):
    """A header whose values are of any type, as `header` asks it."""

    def get(self, keyword: str, default: object = None) -> object:
        found = super().get(keyword, default)
        if found == "boom":
            raise NotImplementedError("a value representation that nobody knows")
        return found

    file_meta = None


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYWORDS), st.one_of(anything, st.just("boom")), max_size=6))
def test_header_values_of_any_type(values: dict) -> None:
    header: Dataset = _Header(values)  # type: ignore[assignment]
    for keyword in KEYWORDS:
        value(header, keyword)
        assert all(np.isfinite(numbers(header, keyword)))
        assert isinstance(number(header, keyword), float)
        assert whole(header, keyword) is None or isinstance(whole(header, keyword), int)
        assert isinstance(text(header, keyword), str)
        assert isinstance(items(header, keyword), list)
    timing = frame_timing(header)
    assert np.isnan(timing.fps) or 0 < timing.fps < 1000
    spacing, notes = pixel_spacing(header)
    assert all(np.isnan(side) or 0 < side < np.inf for side in spacing)
    aspect, more = pixel_aspect(header, spacing)
    assert 0.25 <= aspect <= 4
    assert all(isinstance(note, str) for note in [*notes, *more, *notes_on_kind(header)])
    assert refusal(header) is None or isinstance(refusal(header), str)
    assert isinstance(says_colour(header), bool)
    assert pictures(header) >= 1
    assert tissue_box(header) is None


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1e4), st.floats()), max_size=30))
@example([-4503599627370496.0, 0.0, 0.5])
@example([0.0, 1.0, 2.0, 2.1])
def test_time_stamps_of_any_kind(seconds: list[float]) -> None:
    with np.errstate(all="ignore"):
        timing = timing_of_stamps(np.array(seconds))
    assert np.isnan(timing.fps) or 0 < timing.fps < 1000
    if timing.places is not None:
        assert timing.places[0] == 0
        assert timing.places[-1] == len(seconds) - 1
        assert (np.diff(timing.places) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(5, 200), min_size=4, max_size=40), st.booleans())
def test_vectors_of_intervals_and_of_times_mean_the_same(intervals: list[float], cumulative: bool) -> None:
    even = [20.0] * len(intervals)
    vector = np.concatenate([[0], np.cumsum(even)]).tolist() if cumulative else [0.0, *even]
    found, notes = intervals_of_vector(vector)
    assert found == pytest.approx(even)
    assert bool(notes) == cumulative
    timing = timing_of_intervals(intervals)
    assert timing.places is None or len(timing.places) * 1000 / timing.fps >= sum(intervals) * 0.9


def test_beating_fans_are_read(tmp_path: Path) -> None:
    check(read_recording(save(cine(beating_fan(8)), tmp_path / "clip.dcm")))
