"""What is no grey two-dimensional ultrasound cine is declined with its reason; what only may be is read with a note."""

from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, cine, encode, region, rgb_of, save
from pydicom import uid

from echocycle.errors import EchocycleError
from echocycle.recordings.decline import DeclinedError
from echocycle.recordings.recording import read_recording


def doppler(frames: int = 24, everywhere: bool = False) -> np.ndarray:
    """uint8 RGB: a grey fan with a box of red and blue flow that comes and goes."""
    picture = rgb_of(beating_fan(frames))
    for time, frame in enumerate(picture):
        strength = abs(np.sin(time / 4))
        frame[45:65, 65:80] = (int(255 * strength), 30, 0)
        frame[65:85, 80:95] = (0, 60, int(255 * (1 - strength)))
    return picture


def grey_in_colour(frames: int = 24) -> np.ndarray:
    """uint8 RGB as scanners make it: a sepia fan, a still colour bar, a blue logo, a running green and yellow trace."""
    picture = (rgb_of(beating_fan(frames)) * np.array([1.0, 0.8, 0.55])).astype(np.uint8)
    for time, frame in enumerate(picture):
        frame[20:60, 2:6] = (255, 0, 0)
        frame[60:100, 2:6] = (0, 0, 255)
        frame[2:10, 150:158] = (30, 60, 250)
        for column in range((7 * time) % 160):
            frame[112 - column % 5, column] = (20, 255, 40)
            frame[116 - column % 3, column] = (255, 250, 0)
            frame[119 - column % 2, column] = (40, 60, 255)
    return picture


def test_colour_doppler_in_video_and_dicom(tmp_path: Path) -> None:
    with pytest.raises(DeclinedError, match="is a colour Doppler recording"):
        read_recording(encode(tmp_path / "clip.mp4", doppler()))
    with pytest.raises(DeclinedError, match="is a colour Doppler recording"):
        read_recording(save(cine(doppler()), tmp_path / "clip.dcm"))
    inside = encode(tmp_path / "inside.mp4", doppler()).read_bytes()
    with pytest.raises(DeclinedError, match="is a colour Doppler recording"):
        read_recording(save(cine([inside], (24, 120, 160, 3), syntax=uid.MPEG4HP41), tmp_path / "video.dcm"))


def test_tints_scales_logos_and_traces_are_no_doppler(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.avi", grey_in_colour(), codec="png", pixels="rgb24", options={})
    assert len(read_recording(path).frames) == 24
    assert len(read_recording(save(cine(grey_in_colour()), tmp_path / "clip.dcm")).frames) == 24


@pytest.mark.parametrize(
    "elements",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "TTE", "0011"]},
        {"SequenceOfUltrasoundRegions": [region(), region(RegionDataType=2)]},
    ],
)
def test_a_header_that_tells_of_colour_is_compared_with_the_picture(tmp_path: Path, elements: dict) -> None:
    recording = read_recording(save(cine(rgb_of(beating_fan(24)), **elements), tmp_path / "grey.dcm"))
    assert "the header tells of colour Doppler, but the picture shows none" in recording.notes
    red_alone = rgb_of(beating_fan(24))
    red_alone[::2, 50:60, 70:80] = (250, 10, 10)
    assert len(read_recording(save(cine(red_alone), tmp_path / "red.dcm")).frames) == 24
    with pytest.raises(DeclinedError, match="is a colour Doppler recording"):
        read_recording(save(cine(red_alone, **elements), tmp_path / "red.dcm"))


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "CT"}, "is computed tomography, not ultrasound"),
        ({"Modality": "RTDOSE"}, "is a radiation dose"),
        ({"Modality": "SEG"}, "is a segmentation"),
        ({"Modality": "SR"}, "is a report"),
        ({"Modality": "IVUS"}, "is ultrasound from within a vessel"),
        ({"Modality": "DOE_JANE"}, "is of modality DOEJANE"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.2"}, "is a 3D ultrasound volume"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "is a segmentation"),
        ({"SequenceOfUltrasoundRegions": [region(), region(RegionSpatialFormat=3, RegionDataType=3)]}, "is a spectral"),
        ({"SequenceOfUltrasoundRegions": [region(RegionSpatialFormat=2)]}, "is an M-mode recording"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "0008"]}, "is a spectral Doppler recording"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "0003"]}, "is an M-mode recording"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "0040"]}, "rendered from a 3D volume"),
        (
            {"SequenceOfUltrasoundRegions": [region(RegionLocationMaxX1=79), region(RegionLocationMinX0=80)]},
            "shows two (biplane or a comparison) pictures side by side",
        ),
        (
            {
                "SequenceOfUltrasoundRegions": [
                    region(RegionLocationMaxX1=79, RegionLocationMaxY1=59),
                    region(RegionLocationMinX0=80, RegionLocationMaxY1=59),
                    region(RegionLocationMaxX1=79, RegionLocationMinY0=60),
                ]
            },
            "shows three (triplane) pictures side by side",
        ),
        ({"NumberOfFrames": 1, "PixelData": bytes(120 * 160)}, "is a still image"),
        ({"PixelData": None}, "holds no pixel data"),
    ],
)
def test_declined_by_the_header(tmp_path: Path, elements: dict, reason: str) -> None:
    with pytest.raises(DeclinedError) as caught:
        read_recording(save(cine(beating_fan(12), **elements), tmp_path / "clip.dcm"))
    assert reason in str(caught.value)
    assert "clip.dcm" in str(caught.value)
    assert "^" not in str(caught.value)


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({"Modality": None}, "modality is missing"),
        ({"Modality": "OT"}, "modality is OT"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TEE", "0001"]}, "transesophageal"),
        ({"SeriesDescription": "TEE 4ch"}, "transesophageal"),
        ({"ProtocolName": "Transesophageal Echo"}, "transesophageal"),
    ],
)
def test_read_with_a_note(tmp_path: Path, elements: dict, note: str) -> None:
    recording = read_recording(save(cine(beating_fan(12), **elements), tmp_path / "clip.dcm"))
    assert note in " ".join(recording.notes)


@pytest.mark.parametrize(
    "elements",
    [
        {"SeriesDescription": "Steele volunteer 4ch"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "EPICARDIAL", "0001"]},
        {"ImageType": ["DERIVED"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "00G1"]},
        {"SequenceOfUltrasoundRegions": [region(), region(RegionSpatialFormat=4, RegionDataType=10)]},
        {"SequenceOfUltrasoundRegions": [region(), region(RegionLocationMaxX1=20, RegionLocationMaxY1=20)]},
        {"SequenceOfUltrasoundRegions": [region(), region()]},
    ],
)
def test_read_without_a_note(tmp_path: Path, elements: dict) -> None:
    recording = read_recording(save(cine(beating_fan(12), **elements), tmp_path / "clip.dcm"))
    assert not any("transesoph" in note or "colour" in note or "modality" in note for note in recording.notes)


def test_palette_doppler(tmp_path: Path) -> None:
    """Eight bits with a palette, as some machines store colour."""
    indices = beating_fan(24) // 2  # 0 to 127 are grey, 128 to 191 red, 192 to 255 blue
    for time, frame in enumerate(indices):
        frame[45:65, 65:80] = 128 + round(63 * abs(np.sin(time / 4)))
        frame[65:85, 80:95] = 192 + round(63 * abs(np.cos(time / 4)))
    table = np.zeros((256, 3), np.uint16)
    table[:128] = (np.arange(128) * 514)[:, None]
    table[128:192, 0] = table[192:, 2] = np.arange(64) * 1040
    dataset = cine(indices, PhotometricInterpretation="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", table[:, channel].tobytes())
    with pytest.raises(DeclinedError, match="is a colour Doppler recording"):
        read_recording(save(dataset, tmp_path / "clip.dcm"))
    dataset.RedPaletteColorLookupTableData = b""
    with pytest.raises(EchocycleError, match="its colour palette cannot be used"):
        read_recording(save(dataset, tmp_path / "clip.dcm"))
