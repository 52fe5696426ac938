"""Every ultrasound file of pydicom and pydicom-data, and one of each other kind: read, or declined with its reason."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from echocycle.errors import EchocycleError
from echocycle.recordings.recording import read_recording

READ = {
    "color3d_jpeg_baseline.dcm": ((120, 480, 640), "7 of 120 frames repeat"),
    "examples_ybr_color.dcm": ((30, 240, 320), "columns 84 to 595, rows 31 to 414"),
    "OBXXXX1A_2frame.dcm": ((2, 600, 800), "frame rate unknown"),
    "OBXXXX1A_expb_2frame.dcm": ((2, 600, 800), "frame rate unknown"),
    "OBXXXX1A_rle_2frame.dcm": ((2, 600, 800), "frame rate unknown"),
}
DECLINED = {
    "ExplVR_BigEnd.dcm": "is a still image",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "is a still image",
    "OBXXXX1A.dcm": "is a still image",
    "OBXXXX1A_expb.dcm": "is a still image",
    "OBXXXX1A_rle.dcm": "is a still image",
    "US1_J2KI.dcm": "is a still image",
    "US1_J2KR.dcm": "is a still image",
    "US1_UNCI.dcm": "is a still image",
    "US1_UNCR.dcm": "is a still image",
    "color-pl.dcm": "is a still image",
    "color-px.dcm": "is a still image",
    "examples_jpeg2k.dcm": "is a still image",
    "examples_palette.dcm": "is a still image",
    "examples_rgb_color.dcm": "is a still image",
    "gdcm-US-ALOKA-16.dcm": "two (biplane or a comparison) pictures side by side",
    "gdcm-US-ALOKA-16_big.dcm": "two (biplane or a comparison) pictures side by side",
}
OF_ANOTHER_KIND = {
    "CT_small.dcm": "is computed tomography",
    "MR_small.dcm": "is magnetic resonance",
    "emri_small.dcm": "is magnetic resonance",
    "rtdose.dcm": "is a radiation dose",
    "rtplan.dcm": "is a radiation plan",
    "liver.dcm": "is a segmentation",
    "reportsi.dcm": "is a report",
    "test-SR.dcm": "is a report",
    "JPEG2000.dcm": "is nuclear medicine",
    "DICOMDIR": "is a DICOMDIR",
    "waveform_ecg.dcm": "is an electrocardiogram",
}


def shipped_files() -> list[Path]:
    """All files that pydicom and pydicom-data bring."""
    import data_store
    import pydicom

    roots = [Path(str(module.__file__)).parent for module in (pydicom, data_store)]
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file() and path.suffix != ".py")


def shipped(name: str) -> Path:
    return next(path for path in shipped_files() if path.name == name)


def ultrasound_files() -> set[str]:
    """Names of the files whose header says ultrasound."""
    found = set()
    for path in shipped_files():
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
        except Exception:  # not DICOM, or damaged on purpose
            continue
        if header.get("Modality") == "US":
            found.add(path.name)
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_complete() -> None:
    assert ultrasound_files() == READ.keys() | DECLINED.keys()


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    shape, note = READ[name]
    recording = read_recording(shipped(name))
    assert recording.frames.shape == shape
    assert recording.frames.std() > 5
    assert note in " ".join(recording.notes)


@pytest.mark.parametrize("name", [*DECLINED, *OF_ANOTHER_KIND])
def test_declined(name: str) -> None:
    reason = {**DECLINED, **OF_ANOTHER_KIND}[name]
    with pytest.raises(EchocycleError) as caught:
        read_recording(shipped(name))
    assert reason in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_no_file_of_all_ends_in_another_error() -> None:
    """Among them damaged and incomplete ones, reports, tables and texts."""
    answers = {"read": 0, "declined": 0}
    for path in shipped_files():
        if path.stat().st_size > 4 << 20:
            continue
        try:
            recording = read_recording(path)
        except EchocycleError as error:
            assert path.name in str(error)
            answers["declined"] += 1
        else:
            assert recording.frames.dtype == np.uint8
            answers["read"] += 1
    assert answers["read"] >= 4
    assert answers["declined"] > 100


def test_palette_against_pillow() -> None:
    """The two-frame palette file through the palette applied by hand."""
    path = shipped("OBXXXX1A_2frame.dcm")
    dataset = dcmread(path)
    indices = np.frombuffer(dataset.PixelData, np.uint8)[: 2 * 600 * 800].reshape(2, 600, 800)
    tables = [
        np.frombuffer(getattr(dataset, f"{colour}PaletteColorLookupTableData"), "<u2")
        for colour in ("Red", "Green", "Blue")
    ]
    by_hand = np.stack([table[indices] for table in tables], axis=-1)
    by_hand = by_hand >> 8 if by_hand.max() > 255 else by_hand
    assert np.array_equal(read_recording(path, color=True).frames, by_hand)
