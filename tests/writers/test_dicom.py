"""DICOM out: a segmentation and a report that are read again, refer to the recording, and pass dciodvfy."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from helpers.results import full_result
from pydicom.data import get_testdata_file
from pydicom.pixels import pack_bits

from echocycle.errors import EchocycleError
from echocycle.prediction import DISCLAIMER, Prediction
from echocycle.writers import WRITERS
from echocycle.writers.as_segmentation import _Packed, stored_mask, write_segmentation
from echocycle.writers.as_structured_report import write_report

CINE = Path(str(get_testdata_file("examples_ybr_color.dcm", download=False)))
"""A real apical cine: 30 frames of 240 x 320."""


@pytest.fixture
def result() -> Prediction:
    return full_result(30, source=str(CINE), file=CINE)


def complaints(path: Path) -> list[str]:
    """The errors that dciodvfy finds, where it is installed."""
    if shutil.which("dciodvfy") is None:
        return []
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60)
    assert "SegmentationStorage" in done.stderr + done.stdout or done.stderr
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]


def test_a_segmentation_lies_on_the_recording(result: Prediction, tmp_path: Path) -> None:
    path = write_segmentation(result, tmp_path)
    assert complaints(path) == []
    found, source = pydicom.dcmread(path), pydicom.dcmread(CINE)
    assert found.NumberOfFrames == 30
    pixels = found.pixel_array
    assert pixels.shape == (30, 240, 320)
    # an ellipse about column 56 and row 48 of the cut, of 14 x 25 pixels; two of the recording's pixels each
    rows, columns = np.nonzero(pixels[10])  # end systole: 0.85 times as large
    assert (columns.mean(), rows.mean()) == (pytest.approx(2 * 56 + 10, abs=0.1), pytest.approx(2 * 48 + 20, abs=0.1))
    assert np.ptp(columns) == pytest.approx(4 * 14 * 0.85, abs=2)
    assert pixels[0].sum() > 1.5 * pixels[10].sum()
    numbers = [
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for frame in found.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == list(range(1, 31))
    first = found.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert first.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert (found.PatientID, found.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert found.SeriesInstanceUID != source.SeriesInstanceUID
    segment = found.SegmentSequence[0]
    assert (segment.SegmentedPropertyTypeCodeSequence[0].CodeValue, segment.SegmentAlgorithmType) == (
        "87878005",
        "AUTOMATIC",
    )
    read = hd.seg.segread(path)  # another reader's view
    assert read.number_of_segments == 1
    assert read.segmented_property_types[0].meaning == "Left ventricle"


def test_frames_without_a_ventricle_are_left_out_and_grid_frames_named_once(result: Prediction, tmp_path: Path) -> None:
    masks = np.array(result.masks)
    masks[3:5] = 0
    stored = [0, 0, *range(1, 29)]  # the first stored frame is shown twice
    path = write_segmentation(replace(result, masks=masks, stored_frames=stored), tmp_path)
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    numbers = [each.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for each in frames]
    assert numbers == [1, 2, *range(5, 30)]
    assert complaints(path) == []


def test_a_picture_that_was_turned_is_turned_back() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:6, 10:18] = 255  # rows 2 to 5, columns 10 to 17
    mask[15, 3] = 255  # a speck is not measured, so it is not written
    quarter = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 19.0]])  # stored column = row, stored row = 19 - column
    found = stored_mask(mask, quarter, (20, 20))
    expected = np.zeros((20, 20), bool)
    expected[2:10, 2:6] = True
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(stored_mask(mask, None, (20, 20))[2:6, 10:18], True)


def test_bits_run_on_from_frame_to_frame() -> None:
    rng = np.random.default_rng(0)
    frames = rng.random((5, 7, 3)) > 0.5  # 21 bits a frame
    packed = _Packed()
    for frame in frames:
        packed.add(frame)
    assert packed.bytes() == pack_bits(frames.astype(np.uint8))


def items(node: Any, code: str) -> list[Any]:
    """All content items whose concept has a code."""
    found = []
    for item in node.get("ContentSequence", []):
        names = item.get("ConceptNameCodeSequence")
        if names and names[0].get("CodeValue", "") == code:
            found.append(item)
        found += items(item, code)
    return found


def number(item: Any) -> tuple[float, str]:
    """Value and unit."""
    measured = item.MeasuredValueSequence[0]
    return float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue


def test_a_report_holds_the_numbers_with_their_codes(result: Prediction, tmp_path: Path) -> None:
    path = write_report(result, tmp_path)
    assert complaints(path) == []
    found, source = hd.sr.srread(path), pydicom.dcmread(CINE)
    assert (found.PatientID, found.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
    assert found.VerificationFlag == "UNVERIFIED"
    assert [number(item) for item in items(found, "18043-0")] == [(57.6, "%")]
    assert [number(item) for item in items(found, "79993-2")] == [(55.1, "%")]
    assert [number(item) for item in items(found, "79999-9")] == [(120.0, "mL")] * 2  # the recording's, the beat's
    assert [number(item) for item in items(found, "80004-5")] == [(54.0, "mL")] * 2
    assert [number(item) for item in items(found, "8867-4")] == [(75.0, "{H.B.}/min")]
    said = [item.TextValue for item in items(found, "121106")]
    assert said[0] == "Flagged (review): The apex lies at the edge of the fan in 12 frames."
    assert {DISCLAIMER, *result.warnings} <= set(said)
    assert "10230-1" not in str(found)  # no summary of two EF


def test_a_report_draws_the_outlines_on_the_frames(result: Prediction, tmp_path: Path) -> None:
    found = hd.sr.srread(write_report(replace(result, stored_frames=list(range(2, 32))), tmp_path))
    regions = items(found, "111030")
    assert len(regions) == 2
    frames = [region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber for region in regions]
    assert frames == [3, 13]  # frame 0 and 10, stored as the third and the thirteenth
    points = np.array(regions[0].GraphicData).reshape(-1, 2)
    assert points[:, 0].max() - points[:, 0].min() == pytest.approx(4 * 14 * 1.15, abs=2)
    assert points.mean(0) == pytest.approx([2 * 56 + 10.5, 2 * 48 + 20.5], abs=1.5)


def test_without_calibration_there_are_no_volumes(result: Prediction, tmp_path: Path) -> None:
    found = hd.sr.srread(write_report(replace(result, volume_unit="px3"), tmp_path))
    assert items(found, "79999-9") == items(found, "80004-5") == []
    assert len(items(found, "79993-2")) == 1


def test_what_is_no_dicom_or_has_no_beat_is_said(result: Prediction, tmp_path: Path) -> None:
    video = tmp_path / "a.avi"
    video.write_bytes(b"RIFF")
    for name in ("seg", "sr"):
        assert WRITERS[name].lacks(result) is None
        assert "only a recording that is DICOM holds" in (WRITERS[name].lacks(replace(result, file=video)) or "")
        assert "only a recording that is DICOM holds" in (WRITERS[name].lacks(replace(result, file=None)) or "")
    assert "no beat was found" in (WRITERS["seg"].lacks(replace(result, ed_frames=[])) or "")
    assert "no EF was measured" in (WRITERS["sr"].lacks(replace(result, ef=None, ef_by_discs=None)) or "")


def test_a_header_that_names_no_study_is_refused(result: Prediction, tmp_path: Path) -> None:
    header = pydicom.dcmread(CINE)
    del header.StudyInstanceUID
    header.save_as(tmp_path / "a.dcm")
    nameless = replace(result, source="a.dcm", file=tmp_path / "a.dcm")
    for write in (write_segmentation, write_report):
        with pytest.raises(EchocycleError, match="does not say its study"):
            write(nameless, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


def test_missing_patient_fields_are_empty(result: Prediction, tmp_path: Path) -> None:
    header = pydicom.dcmread(CINE)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        delattr(header, keyword)
    header.save_as(tmp_path / "a.dcm")
    bare = replace(result, file=tmp_path / "a.dcm")
    assert complaints(write_segmentation(bare, tmp_path)) == []
    assert complaints(write_report(bare, tmp_path)) == []
