"""DICOM cines: real ones that ship with pydicom, and small written ones for every case that real ones lack."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from echocycle.errors import EchocycleError
from echocycle.recordings.dicom import frame_rate, is_dicom, read_dicom
from echocycle.recordings.recording import read_recording
from echocycle.recordings.regions import pixel_spacing
from echocycle.recordings.video import DamagedVideoError, write_mjpeg, write_mp4


def shipped(name: str) -> Path:
    """A file of pydicom or pydicom-data; never a download."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def region(**changes: int | float) -> Dataset:
    values = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 2,
        "RegionLocationMinX0": 2,
        "RegionLocationMinY0": 1,
        "RegionLocationMaxX1": 30,
        "RegionLocationMaxY1": 22,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.04,
        "PhysicalDeltaY": 0.04,
    }
    item = Dataset()
    for name, value in {**values, **changes}.items():
        setattr(item, name, value)
    return item


def grey_frames(n_frames: int = 6) -> np.ndarray:
    """uint8 (time, 24, 32)."""
    return np.random.default_rng(0).integers(0, 256, (n_frames, 24, 32), dtype=np.uint8)


def cine(frames: np.ndarray | None = None, **elements) -> Dataset:
    """An uncompressed ultrasound cine; grey or RGB by the shape of `frames`. None as a value leaves an element out."""
    frames = grey_frames() if frames is None else frames
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "424242"
    dataset.Modality = "US"
    dataset.FrameTime = 20
    dataset.SequenceOfUltrasoundRegions = Sequence([region()])
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.SamplesPerPixel = 1 if frames.ndim == 3 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if frames.ndim == 3 else "RGB"
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * frames.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OB" if frames.itemsize == 1 else "OW"
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_real_clip_in_baseline_jpeg() -> None:
    recording = read_dicom(shipped("color3d_jpeg_baseline.dcm"))
    assert recording.frames.shape == (120, 480, 640)
    assert recording.frames.dtype == np.uint8
    assert recording.fps == pytest.approx(30, abs=0.001)
    assert recording.spacing_mm == pytest.approx((0.5105, 0.5105), abs=1e-4)
    assert recording.listed_frames == 120
    assert recording.notes == ()


def test_real_clip_with_a_stale_calibration() -> None:
    recording = read_dicom(shipped("examples_ybr_color.dcm"), color=True)
    assert recording.frames.shape == (30, 240, 320, 3)
    assert np.isnan(recording.spacing_mm).all()
    assert len(recording.notes) == 1
    assert "columns 84 to 595" in recording.notes[0]
    assert "320 x 240" in recording.notes[0]


@pytest.mark.parametrize("name", ["OBXXXX1A_2frame.dcm", "OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_rle_2frame.dcm"])
def test_real_palette_colour(name: str) -> None:
    """The same two frames, little endian, big endian and run-length encoded; the calibrated region may end at 800."""
    recording = read_dicom(shipped(name), color=True)
    reference = read_dicom(shipped("OBXXXX1A_2frame.dcm"), color=True)
    assert recording.frames.shape == (2, 600, 800, 3)
    assert np.array_equal(recording.frames, reference.frames)
    assert recording.frames.max() > 200
    assert not np.isnan(recording.spacing_mm).any()
    assert any("frame rate unknown" in note for note in recording.notes)


@pytest.mark.parametrize(
    "name",
    ["JPGLosslessP14SV1_1s_1f_8b.dcm", "US1_J2KI.dcm", "US1_J2KR.dcm", "examples_jpeg2k.dcm", "ExplVR_BigEnd.dcm"],
)
def test_real_still_images_are_decodable_but_refused(name: str, tmp_path: Path) -> None:
    path = shipped(name)
    with pytest.raises(EchocycleError, match="is a still image"):
        read_dicom(path)
    # the same picture twice is a cine, which shows that the transfer syntax can be read
    dataset = dcmread(path)
    frame = dataset.PixelData
    dataset.NumberOfFrames = 2
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        from pydicom.encaps import generate_frames

        stored = next(iter(generate_frames(frame, number_of_frames=1)))
        dataset.PixelData = encapsulate([stored, stored])
    else:
        dataset.PixelData = frame * 2
    recording = read_dicom(save(dataset, tmp_path / "twice.dcm"))
    assert recording.frames.shape == (2, dataset.Rows, dataset.Columns)
    assert recording.frames.std() > 5


@pytest.mark.parametrize("name", ["emri_small_jpeg_2k_lossless.dcm", "emri_small_jpeg_ls_lossless.dcm"])
def test_other_modalities_are_declined(name: str, tmp_path: Path) -> None:
    """Sixteen-bit magnetic resonance, of use here for its transfer syntaxes only."""
    with pytest.raises(EchocycleError, match="is magnetic resonance, not ultrasound"):
        read_dicom(shipped(name))
    dataset = dcmread(shipped(name))
    dataset.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    for modality, note in (("OT", "modality is OT"), (None, "modality is missing")):
        dataset.Modality = modality
        recording = read_dicom(save(dataset, tmp_path / "grey.dcm"))
        assert recording.frames.shape == (10, 64, 64)
        assert recording.frames.std() > 5
        assert any(note in text for text in recording.notes)


def test_uncompressed_grey_is_exact(tmp_path: Path) -> None:
    recording = read_dicom(save(cine(), tmp_path / "cine.dcm"))
    assert np.array_equal(recording.frames, grey_frames())
    assert recording.fps == 50
    assert recording.spacing_mm == pytest.approx((0.4, 0.4))
    assert recording.notes == ()
    rgb = read_dicom(tmp_path / "cine.dcm", color=True)
    assert np.array_equal(rgb.frames, np.repeat(grey_frames()[..., None], 3, axis=-1))


def test_run_length_encoding_is_exact(tmp_path: Path) -> None:
    dataset = cine()
    dataset.compress(uid.RLELossless)
    assert np.array_equal(read_dicom(save(dataset, tmp_path / "rle.dcm")).frames, grey_frames())


def test_colour_becomes_luma(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
    path = save(cine(rgb), tmp_path / "rgb.dcm")
    assert np.array_equal(read_dicom(path, color=True).frames, rgb)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_dicom(path).frames - luma).max() <= 0.51


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = save(cine(PhotometricInterpretation="MONOCHROME1"), tmp_path / "inverted.dcm")
    assert np.array_equal(read_dicom(path).frames, 255 - grey_frames())


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    deep = grey_frames().astype(np.uint16) * 16 + 5
    path = save(cine(deep, BitsStored=12, HighBit=11), tmp_path / "deep.dcm")
    assert np.array_equal(read_dicom(path).frames, grey_frames())


def test_h264_inside_dicom(tmp_path: Path) -> None:
    row, column = np.indices((48, 64))
    frames = np.stack([(row * 2 + column + 3 * time) % 200 for time in range(20)]).astype(np.uint8)
    write_mp4(tmp_path / "inside.mp4", frames, 25)
    dataset = cine(frames)
    dataset.file_meta.TransferSyntaxUID = uid.MPEG4HP41
    dataset.PixelData = encapsulate([(tmp_path / "inside.mp4").read_bytes()])
    dataset["PixelData"].is_undefined_length = True
    recording = read_dicom(save(dataset, tmp_path / "h264.dcm"))
    assert recording.frames.shape == (20, 48, 64)
    assert np.abs(recording.frames.astype(int) - frames).mean() < 4
    assert recording.fps == 50
    del dataset.FrameTime
    assert read_dicom(save(dataset, tmp_path / "h264.dcm")).fps == 25


@pytest.mark.parametrize(
    ("elements", "fps"),
    [
        ({"FrameTime": 25, "CineRate": 40}, 40),
        ({"FrameTime": 0, "CineRate": 50}, 50),
        ({"FrameTime": None, "FrameTimeVector": [0, 20, 20, 20, 20, 20], "CineRate": 50}, 50),
        ({"FrameTime": None, "CineRate": 45, "RecommendedDisplayFrameRate": 45}, 45),
        ({"FrameTime": None, "RecommendedDisplayFrameRate": 33}, 33),
    ],
)
def test_frame_rate_order(elements: dict, fps: float) -> None:
    found, notes = frame_rate(cine(**elements))
    assert found == pytest.approx(fps)
    assert notes == []


def test_frame_rate_doubts() -> None:
    fps, notes = frame_rate(cine(FrameTime=20, CineRate=30))
    assert fps == 50
    assert "CineRate says 30" in notes[0]
    fps, notes = frame_rate(cine(FrameTime=None, FrameTimeVector=[0, 20, 20, 60, 20, 20]))
    assert fps == 50
    assert "20 to 60 ms apart; they were put onto 50 per second" in notes[0]
    for elements in ({"FrameTime": None}, {"FrameTime": 0.0001}):
        fps, notes = frame_rate(cine(**elements))
        assert np.isnan(fps)
        assert "frame rate unknown" in notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RegionLocationMaxX1": 33}, "calibration refused"),
        ({"RegionLocationMinX0": 31}, "calibration refused"),
        ({"RegionLocationMaxY1": 300}, "calibration refused"),
        ({"PhysicalUnitsXDirection": 4}, "not measured in centimetres"),
        ({"PhysicalDeltaX": 0.0}, "no pixel size"),
        ({"RegionSpatialFormat": 3}, "pixel spacing unknown"),
        ({"RegionDataType": 0x0A}, "pixel spacing unknown"),
    ],
)
def test_calibration_is_refused_when_in_doubt(change: dict, message: str) -> None:
    spacing_mm, notes = pixel_spacing(cine(SequenceOfUltrasoundRegions=Sequence([region(**change)])))
    assert np.isnan(spacing_mm).all()
    assert message in notes[0]


def test_calibration_of_the_tissue_region_among_several() -> None:
    doppler = region(RegionSpatialFormat=3, RegionDataType=3, PhysicalDeltaX=0.001)
    regions = Sequence([doppler, region(PhysicalDeltaX=0.05, PhysicalDeltaY=-0.04)])
    assert pixel_spacing(cine(SequenceOfUltrasoundRegions=regions))[0] == pytest.approx((0.4, 0.5))
    without = cine(SequenceOfUltrasoundRegions=None)
    assert "unknown" in pixel_spacing(without)[1][0]
    without.PixelSpacing = [0.3, 0.2]
    assert pixel_spacing(without)[0] == (0.3, 0.2)


def test_a_single_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match=r"still\.dcm is a still image"):
        read_dicom(save(cine(grey_frames(1)), tmp_path / "still.dcm"))
    with pytest.raises(EchocycleError, match="is a still image"):
        read_dicom(save(cine(grey_frames(1), NumberOfFrames=None), tmp_path / "still.dcm"))


def test_no_pixels(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match=r"report\.dcm holds no pixel data"):
        read_dicom(save(cine(PixelData=None), tmp_path / "report.dcm"))


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_files(tmp_path: Path, compressed: bool) -> None:
    dataset = cine()
    if compressed:
        dataset.compress(uid.RLELossless)
    path = save(dataset, tmp_path / "cut.dcm")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 1500])
    with pytest.raises(EchocycleError, match=r"cut\.dcm"):
        read_dicom(path)


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    dataset = dcmread(shipped("examples_ybr_color.dcm"))
    from pydicom.encaps import generate_frames

    stored = list(generate_frames(dataset.PixelData, number_of_frames=30))
    stored[11] = stored[11][:40] + b"\x00" * (len(stored[11]) - 40)
    dataset.PixelData = encapsulate(stored)
    path = save(dataset, tmp_path / "damaged.dcm")
    with pytest.raises(DamagedVideoError, match=r"damaged\.dcm: frame 11 of 30 is damaged"):
        read_dicom(path)
    cut = read_dicom(path, damaged="cut")
    assert len(cut.frames) == 11
    assert "frame 11 of 30 is damaged" in cut.notes[0]


def test_fewer_frames_than_listed(tmp_path: Path) -> None:
    dataset = cine()
    dataset.compress(uid.RLELossless)
    dataset.NumberOfFrames = 9
    path = save(dataset, tmp_path / "short.dcm")
    with pytest.raises(DamagedVideoError, match="short"):
        read_dicom(path)


def test_files_that_are_no_dicom(tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_bytes(b"<html>" * 100)
    with pytest.raises(EchocycleError, match="is not a DICOM file"):
        read_dicom(tmp_path / "page.dcm")
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(EchocycleError, match="is empty"):
        read_dicom(tmp_path / "empty.dcm")


def test_nothing_about_the_patient_leaves(tmp_path: Path) -> None:
    """Not even through a warning: a malformed header value is counted, never quoted."""
    dataset = cine()
    path = save(dataset, tmp_path / "a.dcm")
    data = path.read_bytes().replace(b"\x18\x00\x63\x10DS\x02\x0020", b"\x18\x00\x63\x10DS\x02\x00Jx")
    path.write_bytes(data)
    recording = read_dicom(path)
    assert "Doe" not in repr(recording)
    assert "Jane" not in repr(recording)
    assert "424242" not in repr(recording)
    assert "Jx" not in repr(recording.notes)


def test_read_recording_chooses_by_content(tmp_path: Path) -> None:
    save(cine(), tmp_path / "IM_0001")
    assert is_dicom(tmp_path / "IM_0001")
    assert read_recording(tmp_path / "IM_0001").fps == 50
    write_mjpeg(tmp_path / "clip.AVI", grey_frames(), 40)
    assert read_recording(tmp_path / "clip.AVI").fps == 40
    (tmp_path / "clip.AVI").rename(tmp_path / "clip")
    assert read_recording(tmp_path / "clip").fps == 40
    write_mp4(tmp_path / "clip.mov", grey_frames(), 30)
    assert read_recording(tmp_path / "clip.mov").fps == 30
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(EchocycleError, match=r"notes\.txt is not a recording.*DICOM.*\.avi.*\.mp4.*\.mov"):
        read_recording(tmp_path / "notes.txt")
    with pytest.raises(EchocycleError, match="is missing"):
        read_recording(tmp_path / "gone.dcm")
    with pytest.raises(EchocycleError, match="is a folder"):
        read_recording(tmp_path)
