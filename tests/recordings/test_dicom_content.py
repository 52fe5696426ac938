"""What a DICOM header says is compared with the pixels: colours, bits, counts. Each input is one that somebody had."""

from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import (
    UNMARKED,
    beating_fan,
    cine,
    encode,
    jpeg,
    region,
    rgb_of,
    save,
    smooth,
    subsampled,
    without_preamble,
    ycbcr,
)
from pydicom import Dataset, uid

from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import frame_rate
from echocycle.recordings.recording import may_be_recording, read_recording
from echocycle.recordings.video import DamagedVideoError, Recording


def read(dataset: Dataset, folder: Path, **options: object) -> Recording:
    return read_recording(save(dataset, folder / "cine.dcm"), **options)  # type: ignore[arg-type]


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_uncompressed_ybr_422(tmp_path: Path) -> None:
    frames = beating_fan(20)
    dataset = cine(rgb_of(frames), PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = subsampled(ycbcr(frames)).tobytes()
    recording = read(dataset, tmp_path)
    assert difference(recording.frames, frames) <= 1
    assert recording.notes == (UNMARKED,)
    assert difference(read(dataset, tmp_path, color=True).frames, rgb_of(frames)) <= 2


@pytest.mark.parametrize("label", ["YBR_FULL_422", "YBR_FULL"])
def test_subsampling_that_the_length_contradicts(tmp_path: Path, label: str) -> None:
    frames = beating_fan(12)
    dataset = cine(rgb_of(frames), PhotometricInterpretation=label)
    ybr = ycbcr(frames)
    dataset.PixelData = ybr.tobytes() if label == "YBR_FULL_422" else subsampled(ybr).tobytes()
    recording = read(dataset, tmp_path)
    assert difference(recording.frames, frames) <= 1
    assert any(f"labelled {label}, but the data have the length of" in note for note in recording.notes)


def test_ybr_that_is_labelled_rgb(tmp_path: Path) -> None:
    frames = beating_fan(12)
    recording = read(cine(ycbcr(frames)), tmp_path)
    assert difference(recording.frames, frames) <= 1
    assert "colours are labelled RGB, but the pixels are YBR" in recording.notes
    assert difference(read(cine(ycbcr(frames)), tmp_path, color=True).frames, rgb_of(frames)) <= 2


def test_rgb_that_is_labelled_ybr(tmp_path: Path) -> None:
    frames = beating_fan(12)
    recording = read(cine(rgb_of(frames), PhotometricInterpretation="YBR_FULL"), tmp_path)
    assert difference(recording.frames, frames) <= 1
    assert "colours are labelled YBR_FULL, but the pixels are RGB" in recording.notes


def test_a_tinted_rgb_picture_keeps_its_label(tmp_path: Path) -> None:
    frames = beating_fan(12)
    tinted = (rgb_of(frames) * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    recording = read(cine(tinted), tmp_path)
    assert recording.notes == (UNMARKED,)
    assert np.abs(recording.frames - tinted @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


@pytest.mark.parametrize(
    ("values", "elements", "expected", "note"),
    [
        (1, {"WindowCenter": "128", "WindowWidth": "256"}, 1, ""),
        (1, {}, 1, "the 8 bits that occur are used"),
        (4, {}, 1, "the 10 bits that occur are used"),
        (4, {"WindowCenter": "512", "WindowWidth": "1024"}, 1, ""),
        (4, {"WindowCenter": ["512", "40"], "WindowWidth": ["1024", "400"]}, 1, ""),
        (256, {}, 1, ""),
        (1, {"WindowCenter": "60000", "WindowWidth": "10"}, 1, "grey window shows nothing"),
        (1, {"WindowCenter": "", "WindowWidth": "0"}, 1, "the 8 bits that occur are used"),
        (2, {"WindowCenter": "128", "WindowWidth": "256", "RescaleSlope": "0.5", "RescaleIntercept": "0"}, 1, ""),
    ],
)
def test_sixteen_bits(tmp_path: Path, values: int, elements: dict, expected: int, note: str) -> None:
    """Grey levels in the low end of 16 bits, in ten of them, in all; with a window, without, with a useless one."""
    frames = beating_fan(12)
    frames[0, 0, 0] = 255
    recording = read(cine(frames.astype("<u2") * values, **elements), tmp_path)
    assert difference(recording.frames, frames) <= expected
    assert note in " ".join(recording.notes)


def test_signed_and_inverted_sixteen_bits(tmp_path: Path) -> None:
    frames = beating_fan(12)
    frames[0, 0, :2] = 0, 255
    signed = read(cine(frames.astype("<i2"), PixelRepresentation=1), tmp_path)
    assert difference(signed.frames, frames) <= 1
    shifted = read(cine(frames.astype("<i2") - 128, PixelRepresentation=1), tmp_path)
    assert difference(shifted.frames, frames) <= 1
    inverted = cine(
        255 - frames.astype("<u2"), PhotometricInterpretation="MONOCHROME1", WindowCenter=128, WindowWidth=256
    )
    assert difference(read(inverted, tmp_path).frames, frames) <= 1


@pytest.mark.parametrize(
    "element", ["RegionLocationMinX0", "PhysicalDeltaX", "PhysicalUnitsYDirection", "RegionDataType"]
)
@pytest.mark.parametrize("value", [None, [1, 2]])
def test_an_odd_region_costs_the_calibration_alone(tmp_path: Path, element: str, value: object) -> None:
    frames = beating_fan(12)
    sound = read(cine(frames, SequenceOfUltrasoundRegions=[region()]), tmp_path)
    assert sound.spacing_mm == pytest.approx((0.6, 0.6))
    assert sound.region == (0, 0, 160, 120)
    value = [float(number) for number in value] if value and element == "PhysicalDeltaX" else value  # type: ignore[union-attr]
    recording = read(cine(frames, SequenceOfUltrasoundRegions=[region(**{element: value})]), tmp_path)
    assert np.array_equal(recording.frames, frames)
    assert np.isnan(recording.spacing_mm).all()
    assert any("calibration refused" in note or "pixel spacing unknown" in note for note in recording.notes)


@pytest.mark.parametrize("listed", [15, 60, None])
@pytest.mark.parametrize("kind", ["native", "jpeg", "rle", "h264"])
def test_the_files_own_number_of_frames_is_used(tmp_path: Path, kind: str, listed: int | None) -> None:
    frames = smooth(24)
    dataset = cine(frames)
    if kind == "jpeg":
        dataset = cine([jpeg(frame) for frame in frames], frames.shape, syntax=uid.JPEGBaseline8Bit)
    elif kind == "rle":
        dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    elif kind == "h264":
        stream = encode(tmp_path / "inside.mp4", frames).read_bytes()
        dataset = cine([stream], frames.shape, syntax=uid.MPEG4HP41)
    if listed is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = listed
    path = save(dataset, tmp_path / "cine.dcm")
    if listed == 60 and kind != "h264":
        with pytest.raises(DamagedVideoError, match=r"frame 24 of 60 is damaged \(it is missing\)"):
            read_recording(path)
        return
    recording = read_recording(path)
    assert recording.frames.shape == frames.shape
    assert np.abs(recording.frames.astype(int) - frames).mean() < 4
    assert recording.listed_frames == listed
    if listed is not None:
        assert any(f"lists {listed} frames" in note and "24" in note for note in recording.notes)
    elif kind != "h264":
        assert any("does not say how many frames" in note for note in recording.notes)


def test_several_fragments_a_frame(tmp_path: Path) -> None:
    """A frame may be cut into several fragments; the count of fragments is not the count of frames."""
    from pydicom.encaps import encapsulate

    frames = smooth(6)
    encoded = [jpeg(frame) for frame in frames]
    dataset = cine(encoded, frames.shape, syntax=uid.JPEGBaseline8Bit)
    whole = read(dataset, tmp_path).frames
    for has_table in (True, False):
        dataset.PixelData = encapsulate(encoded, fragments_per_frame=3, has_bot=has_table)
        assert np.array_equal(read(dataset, tmp_path).frames, whole)


def test_pixels_that_are_stored_otherwise_than_said(tmp_path: Path) -> None:
    path = save(cine(smooth(4)), tmp_path / "cine.dcm")
    native, encoded = uid.ExplicitVRLittleEndian.encode(), uid.JPEGBaseline8Bit.encode()
    data = path.read_bytes()
    head = data.index(native)
    changed = (
        data[: head - 2] + len(encoded).to_bytes(2, "little") + encoded + data[head + len(native) + len(native) % 2 :]
    )
    changed = bytearray(changed)
    changed[140] += len(encoded) - len(native) - len(native) % 2  # length of the file meta information
    path.write_bytes(bytes(changed))
    with pytest.raises(EchocycleError, match="says that pixels are compressed"):
        read_recording(path)


def test_frame_times() -> None:
    vector = [0, 20, 20, 20, 20, 20, 20, 20]
    assert frame_rate(cine(smooth(8), FrameTime=None, FrameTimeVector=vector)) == (50.0, [])
    cumulative = [20 * index for index in range(8)]
    fps, notes = frame_rate(cine(smooth(8), FrameTime=None, FrameTimeVector=cumulative))
    assert fps == pytest.approx(50)
    assert "counts from the first frame" in notes[0]
    pointed = cine(smooth(8), FrameTime=40, FrameTimeVector=vector, FrameIncrementPointer=0x00181065)
    assert frame_rate(pointed)[0] == 50
    heart_only = cine(smooth(8), FrameTime=None, RWaveTimeVector=[0, 900], HeartRate="70")
    assert np.isnan(frame_rate(heart_only)[0])


def test_uneven_frame_times_are_put_onto_a_grid(tmp_path: Path) -> None:
    frames = smooth(10)
    dataset = cine(frames, FrameTime=None, FrameTimeVector=[0, 20, 20, 20, 60, 20, 20, 20, 20, 20])
    recording = read(dataset, tmp_path)
    assert recording.fps == pytest.approx(50)
    assert recording.stored_frames is not None
    assert recording.stored_frames.tolist() == [0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9]
    assert np.array_equal(recording.frames, frames[recording.stored_frames])
    assert any("put onto 50 per second" in note for note in recording.notes)
    as_stored = read(dataset, tmp_path, even=False)
    assert np.array_equal(as_stored.frames, frames)
    assert as_stored.stored_frames is None
    short = read(cine(frames, FrameTime=None, FrameTimeVector=[0, 20, 20, 60, 20, 20]), tmp_path)
    assert np.array_equal(short.frames, frames)
    assert any("times for 6 frames and 10 frames" in note for note in short.notes)


@pytest.mark.parametrize("name", ["cine.dcm", "IM_0001"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_files_without_preamble(tmp_path: Path, name: str, syntax: uid.UID) -> None:
    frames = beating_fan(12)
    path = tmp_path / name
    path.write_bytes(without_preamble(cine(frames, syntax=syntax)))
    assert may_be_recording(path)
    assert np.array_equal(read_recording(path).frames, frames)


@pytest.mark.parametrize(("explicit", "little"), [(True, True), (False, True)])
def test_files_without_file_meta_information(tmp_path: Path, explicit: bool, little: bool) -> None:
    """As written by old archives: nothing but the data set."""
    frames = beating_fan(12)
    dataset = cine(frames)
    path = tmp_path / "IM_0001"
    plain = Dataset()
    plain.update(dataset)
    plain.save_as(path, implicit_vr=not explicit, little_endian=little, enforce_file_format=False)
    assert path.read_bytes()[128:132] != b"DICM"
    assert may_be_recording(path)
    assert np.array_equal(read_recording(path).frames, frames)


def test_texts_and_tables_are_no_dicom(tmp_path: Path) -> None:
    for name, content in (
        ("notes", b"FileName,EF\n" * 20),
        ("store", b"\x08\x00" + bytes(300)),
        ("short", b"\x08"),
        ("zeros", bytes(500)),
        ("numbers", np.arange(500, dtype="<u2").tobytes()),
    ):
        (tmp_path / name).write_bytes(content)
        assert not may_be_recording(tmp_path / name)
        with pytest.raises(EchocycleError, match="is not a recording that can be read"):
            read_recording(tmp_path / name)
