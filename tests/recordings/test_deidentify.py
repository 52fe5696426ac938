"""A cleaned clip: the fan and nothing else, a name that is a hash, no word of the old header anywhere in the file."""

from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, blurred, cine, encode, region, rgb_of, save
from PIL import Image, ImageDraw
from pydicom import dcmread, uid
from pydicom.datadict import dictionary_VR, keyword_dict

from echocycle.cli import main
from echocycle.errors import EchocycleError
from echocycle.recordings.deidentify import deidentify
from echocycle.recordings.recording import read_recording
from echocycle.recordings.video import write_mjpeg

SALT = "a secret of this test"
PLANTED = "Zyzzyva"
BOUNDS = {"RegionLocationMaxX1": 319, "RegionLocationMaxY1": 239}


def written_over(frames: np.ndarray) -> np.ndarray:
    """Names in the corners, a running clock, a ruler."""
    marked = []
    for time, frame in enumerate(frames):
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        draw.text((4, 4), f"{PLANTED} 1970-01-01", fill=255)
        draw.text((250, 4), f"12:00:{time % 60:02d}", fill=230)
        draw.rectangle([4, 200, 24, 220], fill=180)
        for row in range(20, 230, 10):
            draw.line([(310, row), (316, row)], fill=220)
        marked.append(np.asarray(picture))
    return np.stack(marked)


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A cine with the planted word in the picture and in every text element that a patient module may hold."""
    dataset = cine(written_over(beating_fan(20, 240, 320)), SequenceOfUltrasoundRegions=[region(**BOUNDS)])
    for tag in (
        "PatientName", "PatientID", "OtherPatientIDs", "PatientAddress", "InstitutionName", "ReferringPhysicianName",
        "OperatorsName", "StudyDescription", "SeriesDescription", "AccessionNumber", "ImageComments", "StationName",
        "PatientComments", "PerformedProcedureStepDescription", "StudyID", "ContentCreatorName",
    ):  # fmt: skip
        setattr(dataset, tag, PLANTED)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.777.1", "1.2.777.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.777.3"
    dataset.PatientBirthDate, dataset.StudyDate = "19700101", "20200202"
    block = dataset.private_block(0x0019, f"{PLANTED} PRIVATE", create=True)
    block.add_new(1, "LO", PLANTED)
    return save(dataset, tmp_path / PLANTED / f"{PLANTED}.dcm")


@pytest.mark.parametrize("format", ["mp4", "dicom"])
def test_nothing_of_the_patient_is_left(planted: Path, tmp_path: Path, format) -> None:
    written = deidentify(planted, tmp_path / "out", salt=SALT, format=format)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [written.name]
    content = written.read_bytes()
    for word in (PLANTED, PLANTED.upper(), "424242", "19700101", "20200202", "1.2.777", "PRIVATE"):
        assert word.encode() not in content
        assert word not in written.name
    recording = read_recording(written)
    assert recording.fps == pytest.approx(50, rel=1e-3)
    assert len(recording.frames) == 20
    # only the fan is left: as much brightness as the drawn fan has, none in the corners
    height, width = recording.frames.shape[1:]
    assert height < 240
    assert width < 300
    assert recording.frames[:, : height // 4, : width // 4].max() < 12
    assert recording.frames[:, : height // 4, -width // 4 :].max() < 12
    assert recording.frames.mean() == pytest.approx(beating_fan(20, 240, 320).sum() / recording.frames.size, rel=0.03)
    if format == "dicom":
        assert recording.spacing_mm == pytest.approx((0.6, 0.6))
        assert recording.notes == ()


def test_the_header_is_a_new_one(planted: Path, tmp_path: Path) -> None:
    written = dcmread(deidentify(planted, tmp_path / "out", salt=SALT, format="dicom"))
    old = dcmread(planted)
    assert written.PatientIdentityRemoved == "YES"
    assert str(written.PatientName) == written.PatientID != PLANTED
    for element in written:
        if element.VR == "UI" and element.keyword.endswith("InstanceUID"):
            assert element.value.startswith("2.25.")
            assert element.value != old.get(element.keyword)
            assert len(element.value) <= 64
        if element.VR in ("DA", "TM", "DT"):
            assert not element.value
    assert not any(element.tag.is_private for element in written)
    assert all(dictionary_VR(keyword_dict[element.keyword]) for element in written)
    assert written.file_meta.TransferSyntaxUID == uid.RLELossless


def test_names_depend_on_content_and_salt(planted: Path, tmp_path: Path) -> None:
    first = deidentify(planted, tmp_path / "a", salt=SALT, format="dicom")
    moved = planted.rename(tmp_path / "elsewhere.dcm")
    again = deidentify(moved, tmp_path / "b", salt=SALT, format="dicom")
    assert first.name == again.name
    assert first.read_bytes() == again.read_bytes()
    other = deidentify(moved, tmp_path / "a", salt="another secret", format="dicom")
    assert other.name != first.name
    assert dcmread(other).PatientID != dcmread(first).PatientID
    # two clips of one patient stay together; a clip of nobody is a patient of its own
    second = cine(beating_fan(20, 240, 320, seed=3), PatientID=PLANTED)
    third = cine(beating_fan(20, 240, 320, seed=4), PatientID="")
    people = [
        dcmread(deidentify(save(dataset, tmp_path / "x.dcm"), tmp_path / "a", salt=SALT, format="dicom")).PatientID
        for dataset in (second, third)
    ]
    assert people[0] == dcmread(first).PatientID
    assert people[1] not in (people[0], "")


def test_a_fan_that_lies_and_is_stretched_comes_out_upright(tmp_path: Path) -> None:
    frames = beating_fan(20, 240, 320)
    upright = read_recording(
        deidentify(save(cine(frames), tmp_path / "a.dcm"), tmp_path / "out", salt=SALT, format="dicom")
    ).frames
    squeezed = cine(np.ascontiguousarray(frames[:, ::-1, ::2]), PixelAspectRatio=[1, 2])
    other = read_recording(deidentify(save(squeezed, tmp_path / "b.dcm"), tmp_path / "out", salt=SALT, format="dicom"))
    assert other.pixel_aspect == 1
    assert np.abs(np.subtract(other.frames.shape, upright.shape)).max() <= 4
    height, width = np.minimum(other.frames.shape, upright.shape)[1:]
    difference = blurred(other.frames[:, :height, :width], 15) - blurred(upright[:, :height, :width], 15)
    assert np.abs(difference).mean() < 5


def test_colour_video_in(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", rgb_of(written_over(beating_fan(20, 240, 320))))
    written = deidentify(path, tmp_path / "out", salt=SALT)
    assert written.suffix == ".mp4"
    assert read_recording(written).frames.shape[0] == 20


@pytest.mark.parametrize("format", ["mp4", "dicom"])
def test_without_a_fan_nothing_is_written(tmp_path: Path, format) -> None:
    still = written_over(np.full((20, 240, 320), 60, np.uint8))
    disc = np.hypot(*(np.indices((240, 320)) - np.array([120, 160])[:, None, None])) < 90
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320), dtype=np.uint8) * disc
    for frames in (still, noise.astype(np.uint8)):
        path = save(cine(frames, SequenceOfUltrasoundRegions=[region(**BOUNDS)]), tmp_path / "clip.dcm")
        with pytest.raises(EchocycleError, match=r"clip\.dcm: no fan with straight edges was found"):
            deidentify(path, tmp_path / "out", salt=SALT, format=format)
    assert not (tmp_path / "out").exists()


def test_wrong_usage(tmp_path: Path) -> None:
    write_mjpeg(tmp_path / "clip.avi", beating_fan(20, 240, 320), 50)
    with pytest.raises(EchocycleError, match="at least 8"):
        deidentify(tmp_path / "clip.avi", tmp_path / "out", salt="short")
    with pytest.raises(EchocycleError, match="it must be mp4 or dicom"):
        deidentify(tmp_path / "clip.avi", tmp_path / "out", salt=SALT, format="avi")  # type: ignore[arg-type]
    unknown = save(cine(beating_fan(20, 240, 320), FrameTime=None), tmp_path / "unknown.dcm")
    with pytest.raises(EchocycleError, match="does not say its frame rate"):
        deidentify(unknown, tmp_path / "out", salt=SALT)
    assert np.isnan(read_recording(deidentify(unknown, tmp_path / "out", salt=SALT, format="dicom")).fps)


def test_the_command_makes_a_secret_and_goes_on_after_a_bad_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "MUSTERMANN^ERIKA"
    folder.mkdir()
    save(cine(beating_fan(), PatientName="MUSTERMANN^ERIKA", PatientID="4711-geheim"), folder / "a.dcm")
    (folder / "b.avi").write_bytes(b"no video")
    call = ["deidentify", str(folder), "-o", str(tmp_path / "clips"), "--salt-file", str(tmp_path / "salt")]
    assert main(call) == 1
    assert "1 of 2 recordings could not be written" in capsys.readouterr().err
    (clip,) = (tmp_path / "clips").iterdir()
    assert b"MUSTERMANN" not in clip.read_bytes()
    assert len((tmp_path / "salt").read_text().strip()) == 32
    assert (tmp_path / "salt").stat().st_mode & 0o777 == 0o600
    main(call)
    assert [path.name for path in (tmp_path / "clips").iterdir()] == [clip.name]  # the same secret, the same name
    assert main([*call[:-1], str(tmp_path / "clips" / "salt")]) == 2
