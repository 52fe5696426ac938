"""Folders in the formats of both CAMUS releases are read, and every known oddity is reported or refused.

Small files are written in both formats: sectors of speckle with a half-ellipse for a ventricle. Real files are looked
for in the folder that the environment variable ECHOCYCLE_CAMUS names (it holds `database_nifti` or `original`).
"""

import gzip
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from helpers.chain import regress_settings

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.cardiac.discs import disc_volume
from echocycle.data.store import SIZE
from echocycle.datasets import camus_source
from echocycle.datasets.camus import read_camus
from echocycle.datasets.camus_images import load_sequence, load_still, tip_side, to_network_size
from echocycle.datasets.camus_protocol import acceptance, ef_from_masks, mirror_cycle, paper_selection
from echocycle.datasets.camus_records import CamusFolder, CamusRecord, CamusSettings
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError, Finding
from echocycle.evaluation.tables import read_predictions
from echocycle.files import read_json
from echocycle.settings.stages import EvaluateSettings, PrepareSettings

FRAMES = 7
SQUARE, FLAT = (1.2, 1.2), (0.6, 1.2)  # mm (row, column), as in the nifti and in the original release
ORIGINAL_INFO = {
    "ED": 1,
    "ES": FRAMES,
    "NbFrame": FRAMES,
    "Sex": "F",
    "Age": 56,
    "ImageQuality": "Good",
    "LVedv": 94.0,
    "LVesv": 34.6,
    "LVef": 63.2,
}
NIFTI_INFO = {
    "ED": 1,
    "ES": FRAMES,
    "NbFrame": FRAMES,
    "Sex": "M",
    "Age": 70,
    "ImageQuality": "Medium",
    "EF": 48,
    "FrameRate": 51.5,
}


# --------------------------------------------------------------------------------------------- fake folders


def labels(spacing, shrink=0.0, height_mm=120.0, width_mm=156.0):
    """Labels (height, width): cavity 1 in a wall 2, above an atrium 3. `shrink` makes the cavity smaller, 0 to 1."""
    rows, columns = (
        np.arange(round(mm / step)) * step for mm, step in zip((height_mm, width_mm), spacing, strict=True)
    )
    y, x = rows[:, None] - 80, columns - width_mm / 2 + 6
    scale = 1 - shrink
    cavity = (y <= 0) & ((y / (55 * scale)) ** 2 + (x / (22 * scale)) ** 2 <= 1)
    wall = (y <= 0) & ((y / 63) ** 2 + (x / 30) ** 2 <= 1)
    atrium = (y > 0) & (((y - 15) / 15) ** 2 + (x / 15) ** 2 <= 1)
    return np.select([cavity, wall, atrium], [1, 2, 3], 0).astype(np.uint8)


def picture(spacing, seed=0, height_mm=120.0, width_mm=156.0):
    """A sector of speckle (height, width): tip at the top, 80 degrees wide, black outside; brighter on the right."""
    rows, columns = (
        np.arange(round(mm / step)) * step for mm, step in zip((height_mm, width_mm), spacing, strict=True)
    )
    y, x = rows[:, None], columns - width_mm / 2
    inside = (np.abs(np.arctan2(x, y)) < math.radians(40)) & (np.hypot(x, y) < height_mm - 1)
    speckle = np.random.default_rng(seed).integers(10, 120, inside.shape) + 100 * (x > 0)
    return np.where(inside, speckle, 0).astype(np.uint8)


def write_image(path, array, spacing, extra_axis=False):
    """Write with SimpleITK, which takes spacing as (x, y[, z])."""
    lengths = (spacing[1], spacing[0])
    if array.ndim == 3 or extra_axis:
        array, lengths = array.reshape(-1, *array.shape[-2:]), (*lengths, 1.54)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(lengths)
    SimpleITK.WriteImage(image, str(path))


def write_info(folder, info, view="4CH"):
    (folder / f"Info_{view}.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()))


def write_patient(parent, name, release, *, view="4CH", info=None, masks=True, from_es=False, dtype=np.uint8):
    """One view of a patient as a release stores it."""
    folder = parent / name
    folder.mkdir(parents=True, exist_ok=True)
    suffix, sequence, spacing = {
        "nifti": (".nii.gz", "half_sequence", SQUARE),
        "original": (".mhd", "sequence", FLAT),
    }[release]
    frames = np.stack([picture(spacing, seed) for seed in range(FRAMES)])
    truth = np.stack([labels(spacing, shrink) for shrink in np.linspace(0, 0.2, FRAMES)])
    arrays = {"ED": frames[0], "ES": frames[-1], "ED_gt": truth[0], "ES_gt": truth[-1]}
    order = slice(None, None, -1 if from_es else 1)
    arrays |= {sequence: frames[order], f"{sequence}_gt": truth[order]}
    for kind, array in arrays.items():
        if masks or not kind.endswith("_gt"):
            write_image(
                folder / f"{name}_{view}_{kind}{suffix}", array.astype(dtype), spacing, extra_axis=release == "original"
            )
    listed = dict(info or (NIFTI_INFO if release == "nifti" else ORIGINAL_INFO))
    if from_es:
        listed |= {"ED": FRAMES, "ES": 1}
    write_info(folder, listed, view)
    return folder


def write_splits(root, **patients):
    """database_split/subgroup_training.txt and so on."""
    folder = root / "database_split"
    folder.mkdir(exist_ok=True)
    for name in ("training", "validation", "testing"):
        (folder / f"subgroup_{name}.txt").write_text("".join(f"{patient}\n" for patient in patients.get(name, ())))


@pytest.fixture
def nifti(tmp_path):
    """Three patients in the layout of the nifti release."""
    root = tmp_path / "CAMUS_public"
    for name in ("patient0001", "patient0002", "patient0451"):
        write_patient(root / "database_nifti", name, "nifti")
    write_splits(root, training=["patient0001"], validation=["patient0002"], testing=["patient0451"])
    return root


@pytest.fixture
def original(tmp_path):
    """Two training patients and one testing patient, who has no label, in the layout of the original release."""
    root = tmp_path / "camus"
    for name in ("patient0001", "patient0002"):
        write_patient(root / "training", name, "original")
    unlabelled = {key: value for key, value in ORIGINAL_INFO.items() if not key.startswith("LV")}
    write_patient(root / "testing", "patient0001", "original", info=unlabelled, masks=False)
    return root


def kinds(folder):
    return [finding.kind for finding in folder.findings]


def finding(folder, kind):
    (found,) = [finding for finding in folder.findings if finding.kind == kind]
    return found


def one_patient(tmp_path, **options):
    """Folder and record of one patient in the nifti layout, without splits."""
    folder = write_patient(tmp_path / "root", "patient0001", options.pop("release", "nifti"), **options)
    return folder, read_camus(folder.parent)


# ------------------------------------------------------------------------------------------- both releases


def test_nifti_release_is_read(nifti):
    folder = read_camus(nifti)
    assert folder.release == "nifti"
    assert folder.findings == ()
    assert [(record.patient, record.split) for record in folder.records] == [
        ("patient0001", "train"),
        ("patient0002", "val"),
        ("patient0451", "test"),
    ]
    record = folder.records[0]
    assert (record.view, record.quality, record.ef, record.fps) == ("4CH", "Medium", 48, 51.5)
    assert math.isnan(record.edv_ml)
    assert (record.ed_frame, record.es_frame, record.listed_frames) == (0, FRAMES - 1, FRAMES)
    assert record.spacing_mm == pytest.approx(SQUARE)
    assert list(record.files) == ["ED", "ED_gt", "ES", "ES_gt", "sequence", "sequence_gt"]


def test_original_release_is_read(original):
    folder = read_camus(original)
    assert folder.release == "original"
    assert kinds(folder) == ["mask-missing", "unlabelled"]
    assert finding(folder, "unlabelled").names == ("testing/patient0001",)
    assert [(record.patient, record.split) for record in folder.records] == [
        ("patient0001", "train"),
        ("patient0002", "train"),
        ("testing/patient0001", "test"),
    ]
    record, _, testing = folder.records
    assert (record.ef, record.edv_ml, record.esv_ml, record.quality) == (63.2, 94.0, 34.6, "Good")
    assert math.isnan(record.fps)
    assert record.spacing_mm == pytest.approx(FLAT)
    assert math.isnan(testing.ef)
    assert load_still(testing, "ED").mask is None
    assert load_sequence(testing).masks is None


def test_patient_folders_alone_are_read(original):
    folder = read_camus(original / "training")
    assert [record.split for record in folder.records] == ["train", "train"]
    (original / "training").rename(original / "mine")
    folder = read_camus(original / "mine")
    assert [record.split for record in folder.records] == [None, None]
    assert kinds(folder) == ["no-splits"]


@pytest.mark.parametrize("release", ["nifti", "original"])
def test_pictures_are_read_as_written(release, request):
    spacing = {"nifti": SQUARE, "original": FLAT}[release]
    record = read_camus(request.getfixturevalue(release)).records[0]
    for phase, seed, shrink in (("ED", 0, 0.0), ("ES", FRAMES - 1, 0.2)):
        still = load_still(record, phase)
        assert (still.phase, still.notes) == (phase, ())
        assert still.frame.dtype == np.uint8
        np.testing.assert_array_equal(still.frame, picture(spacing, seed))
        np.testing.assert_array_equal(still.mask, labels(spacing, shrink) == 1)
        assert still.spacing_mm == pytest.approx(spacing)
    sequence = load_sequence(record)
    assert sequence.frames.dtype == np.uint8
    np.testing.assert_array_equal(sequence.frames, [picture(spacing, seed) for seed in range(FRAMES)])
    np.testing.assert_array_equal(sequence.masks[-1], labels(spacing, 0.2) == 1)
    assert (sequence.ed_frame, sequence.es_frame, sequence.flipped) == (0, FRAMES - 1, False)
    assert sequence.spacing_mm == pytest.approx(spacing)
    assert sequence.notes == ()


def test_reading_a_folder_opens_no_picture(nifti, monkeypatch):
    monkeypatch.setattr(SimpleITK, "ReadImage", lambda *_: pytest.fail("a picture was read"))
    assert len(read_camus(nifti).records) == 3


def test_two_chamber_view(tmp_path):
    folder = write_patient(tmp_path / "root", "patient0001", "nifti", view="2CH", info=NIFTI_INFO | {"EF": 51})
    (record,) = read_camus(folder.parent, CamusSettings(view="2CH")).records
    assert (record.view, record.ef) == ("2CH", 51)
    with pytest.raises(EchocycleError, match="no usable 4CH picture"):
        read_camus(folder.parent)


def test_another_structure(nifti):
    record = read_camus(nifti, CamusSettings(label=2)).records[0]
    np.testing.assert_array_equal(load_still(record, "ED").mask, labels(SQUARE) == 2)
    assert (load_sequence(record).masks[0] == (labels(SQUARE) == 2)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"view": "A4C"}, "4CH, 2CH"),
        ({"label": 0}, "LV cavity"),
        ({"resize": "crop"}, "squeeze"),
        ({"size": 0}, "size"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(EchocycleError, match=message):
        CamusSettings(**wrong)


# ---------------------------------------------------------------------------------------------- wrong folders


def test_missing_folder_and_archive(tmp_path):
    with pytest.raises(EchocycleError, match="does not exist"):
        read_camus(tmp_path / "nowhere")
    (tmp_path / "CAMUS_public.zip").touch()
    with pytest.raises(EchocycleError, match="is a file. Unpack it first"):
        read_camus(tmp_path / "CAMUS_public.zip")


def test_folder_without_patients(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(EchocycleError, match="is not a folder of CAMUS. Give the folder that holds database_nifti/"):
        read_camus(tmp_path / "empty")


@pytest.mark.parametrize("place", ["database_nifti", "database_nifti/patient0001", "database_split"])
def test_one_level_too_deep(nifti, place):
    with pytest.raises(EchocycleError, match=f"It lies inside one; give {nifti} instead"):
        read_camus(nifti / place)


def test_inside_a_patient_of_the_original(original):
    with pytest.raises(EchocycleError, match=f"give {original / 'training'} instead"):
        read_camus(original / "training" / "patient0002")


def test_one_level_too_high(nifti):
    with pytest.raises(EchocycleError, match=f"There is one further down; give {nifti} instead"):
        read_camus(nifti.parent)


def test_both_releases_in_one_folder(nifti):
    write_patient(nifti / "training", "patient0007", "original")
    folder = read_camus(nifti)
    assert folder.release == "nifti"
    assert kinds(folder) == ["two-releases"]


# ----------------------------------------------------------------------------------------------------- splits


def test_odd_splits_are_reported(nifti):
    write_splits(nifti, training=["patient0001", "patient0009", "0002"], validation=["patient0001"], testing=[])
    folder = read_camus(nifti)
    assert kinds(folder) == ["patient-in-several-splits", "patient-missing", "split-line-unclear", "split-unknown"]
    assert finding(folder, "patient-missing").names == ("patient0009",)
    assert finding(folder, "split-unknown").names == ("patient0002", "patient0451")
    assert folder.records[0].split == "train"


# -------------------------------------------------------------------------------------------------------- info


def test_missing_info(tmp_path):
    patient, _ = one_patient(tmp_path)
    (patient / "Info_4CH.cfg").unlink()
    folder = read_camus(patient.parent)
    assert kinds(folder) == ["info-missing", "no-splits"]
    (record,) = folder.records
    assert math.isnan(record.ef)
    assert (record.quality, record.ed_frame, record.es_frame, record.listed_frames) == (None, -1, -1, 0)


def test_either_key_and_odd_spelling(tmp_path):
    patient, _ = one_patient(tmp_path)
    (patient / "Info_4CH.cfg").write_bytes(b"ed : 2\r\nES: 6\r\nNbFrame: 7\r\nimagequality:  poor \r\nEF: 41,5\r\n")
    (record,) = read_camus(patient.parent).records
    assert (record.ef, record.quality, record.ed_frame, record.es_frame) == (41.5, "Poor", 1, 5)


@pytest.mark.parametrize(
    ("wrong", "field", "shown"),
    [
        ({"EF": 480}, "ef", "EF is '480'"),
        ({"EF": "high"}, "ef", "EF is 'high'"),
        ({"FrameRate": -3}, "fps", "FrameRate"),
        ({"LVedv": 30, "LVesv": 60}, "edv_ml", "LVedv is 30 and LVesv 60"),
    ],
)
def test_wrong_numbers_stay_unknown(tmp_path, wrong, field, shown):
    _, folder = one_patient(tmp_path, info=NIFTI_INFO | wrong)
    assert math.isnan(getattr(folder.records[0], field))
    assert shown in finding(folder, "info-wrong").message


@pytest.mark.parametrize("wrong", [{"ES": FRAMES + 1}, {"ED": 0}, {"ED": 1.5}, {"ES": 1}])
def test_wrong_frame_numbers_stay_unknown(tmp_path, wrong):
    _, folder = one_patient(tmp_path, info=NIFTI_INFO | wrong)
    assert (folder.records[0].ed_frame, folder.records[0].es_frame) == (-1, -1)
    assert {"info-wrong", "phases-unlisted"} <= set(kinds(folder))


def test_ef_against_volumes_and_quality(tmp_path):
    _, folder = one_patient(tmp_path, release="original", info=ORIGINAL_INFO | {"LVef": 50.0, "ImageQuality": "Fair"})
    assert kinds(folder) == ["ef-and-volumes-disagree", "quality-unknown", "no-splits"]
    assert folder.records[0].ef == 50
    assert folder.records[0].quality is None


# ------------------------------------------------------------------------------------------------ order in time


def test_sequence_from_es_is_turned_round(tmp_path):
    _, folder = one_patient(tmp_path, from_es=True)
    assert "es-first" in kinds(folder)
    (record,) = folder.records
    assert record.stored_from_es
    sequence = load_sequence(record)
    assert (sequence.ed_frame, sequence.es_frame, sequence.flipped) == (0, FRAMES - 1, True)
    np.testing.assert_array_equal(sequence.frames[0], load_still(record, "ED").frame)
    np.testing.assert_array_equal(sequence.frames[-1], load_still(record, "ES").frame)
    np.testing.assert_array_equal(sequence.masks[0], load_still(record, "ED").mask)


@pytest.mark.parametrize("from_es", [False, True])
def test_order_is_told_from_the_stills(tmp_path, from_es):
    patient, _ = one_patient(tmp_path, from_es=from_es)
    (patient / "Info_4CH.cfg").unlink()
    (record,) = read_camus(patient.parent).records
    sequence = load_sequence(record)
    assert sequence.flipped == from_es
    assert [note.kind for note in sequence.notes] == ["order-from-stills"]
    np.testing.assert_array_equal(sequence.frames[0], picture(SQUARE, 0))


def test_order_without_info_and_stills(tmp_path):
    patient, _ = one_patient(tmp_path)
    (patient / "Info_4CH.cfg").unlink()
    (patient / "patient0001_4CH_ES.nii.gz").unlink()
    (record,) = read_camus(patient.parent).records
    sequence = load_sequence(record)
    assert (sequence.ed_frame, sequence.es_frame, sequence.flipped) == (0, FRAMES - 1, False)
    assert [note.kind for note in sequence.notes] == ["order-assumed"]


def test_fewer_frames_than_listed(tmp_path):
    _, folder = one_patient(tmp_path, info=NIFTI_INFO | {"NbFrame": FRAMES + 2, "ES": FRAMES + 2})
    sequence = load_sequence(folder.records[0])
    assert [note.kind for note in sequence.notes] == ["frames-differ", "order-from-stills"]
    assert (sequence.ed_frame, sequence.es_frame) == (0, FRAMES - 1)


# -------------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize(
    ("turn", "side"),
    [
        (lambda image: image, "top"),
        (np.flipud, "bottom"),
        (np.transpose, "left"),
        (lambda image: np.fliplr(image.T), "right"),
        (np.zeros_like, None),
        (lambda image: np.full_like(image, 80), None),
    ],
)
def test_side_of_the_narrow_end(turn, side):
    assert tip_side(turn(picture(SQUARE))) == side
    assert tip_side(np.stack([turn(picture(SQUARE))] * 2)) == side


def test_exchanged_axes_are_put_right(tmp_path):
    """Arrays written in the order of readers that give (width, height) and (width, height, time)."""
    patient, folder = one_patient(tmp_path)
    (record,) = folder.records
    right = load_sequence(record)
    for kind, path in record.files.items():
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        spacing = (1.5, 1.0)
        if kind.startswith("sequence"):
            image = SimpleITK.GetImageFromArray(array.T)  # x is now time
            image.SetSpacing((1.0, 1.2, 1.5))
            SimpleITK.WriteImage(image, str(path))
        else:
            write_image(path, array.T, spacing)
    (record,) = read_camus(patient.parent).records
    still = load_still(record, "ED")
    assert [note.kind for note in still.notes] == ["transposed"]
    assert "were exchanged" in still.notes[0].message
    np.testing.assert_array_equal(still.frame, right.frames[0])
    np.testing.assert_array_equal(still.mask, right.masks[0])
    assert still.spacing_mm == pytest.approx((1.0, 1.5))
    sequence = load_sequence(record)
    assert [note.kind for note in sequence.notes] == ["time-last", "transposed"]
    np.testing.assert_array_equal(sequence.frames, right.frames)
    np.testing.assert_array_equal(sequence.masks, right.masks)
    assert sequence.spacing_mm == pytest.approx((1.2, 1.5))


@pytest.mark.parametrize(("turn", "side"), [(np.flipud, "bottom"), (lambda image: np.rot90(image, 3), "right")])
def test_turned_pictures_are_refused(tmp_path, turn, side):
    patient, _ = one_patient(tmp_path)
    write_image(patient / "patient0001_4CH_ED.nii.gz", np.ascontiguousarray(turn(picture(SQUARE))), SQUARE)
    (patient / "patient0001_4CH_ED_gt.nii.gz").unlink()
    (record,) = read_camus(patient.parent).records
    with pytest.raises(EchocycleError, match=f"ED.nii.gz has the sector's narrow end at the {side}"):
        load_still(record, "ED")


def test_unclear_sector_is_kept_with_a_note(tmp_path):
    patient, folder = one_patient(tmp_path)
    grey = np.full_like(picture(SQUARE), 90)
    write_image(patient / "patient0001_4CH_ED.nii.gz", grey, SQUARE)
    still = load_still(folder.records[0], "ED")
    assert [note.kind for note in still.notes] == ["orientation-unclear"]
    np.testing.assert_array_equal(still.frame, grey)


# ---------------------------------------------------------------------------------------------- kinds of values


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("release", ["nifti", "original"])
def test_copies_of_other_types(tmp_path, dtype, release):
    _, folder = one_patient(tmp_path, release=release, dtype=dtype)
    spacing = SQUARE if release == "nifti" else FLAT
    still = load_still(folder.records[0], "ED")
    assert still.frame.dtype == np.uint8
    np.testing.assert_array_equal(still.frame, picture(spacing))
    np.testing.assert_array_equal(still.mask, labels(spacing) == 1)
    assert load_sequence(folder.records[0]).frames.dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (picture(SQUARE) / np.float32(255), "holds fractions; grey levels are whole numbers"),
        (picture(SQUARE).astype(np.int16) * 4, "holds values from 0 to"),
        (picture(SQUARE).astype(np.int16) - 40, "holds values from -40 to"),
    ],
)
def test_values_of_another_scale_are_refused(tmp_path, values, message):
    patient, folder = one_patient(tmp_path, masks=False)
    write_image(patient / "patient0001_4CH_ED.nii.gz", values, SQUARE)
    with pytest.raises(EchocycleError, match=message):
        load_still(folder.records[0], "ED")


def test_values_that_are_no_numbers_are_refused(original):
    record = read_camus(original).records[0]
    write_image(record.files["ED"], np.full(picture(FLAT).shape, np.nan, np.float32), FLAT)
    with pytest.raises(EchocycleError, match="holds values from nan to nan"):
        load_still(record, "ED")


def test_masks_with_other_labels_are_refused(tmp_path):
    patient, folder = one_patient(tmp_path)
    write_image(patient / "patient0001_4CH_ED_gt.nii.gz", (labels(SQUARE) == 1) * np.uint8(255), SQUARE)
    with pytest.raises(EchocycleError, match="ED_gt.nii.gz holds values from 0 to 255; labels are"):
        load_still(folder.records[0], "ED")


def test_mask_without_the_structure(tmp_path):
    patient, folder = one_patient(tmp_path)
    write_image(patient / "patient0001_4CH_ED_gt.nii.gz", labels(SQUARE) * 0, SQUARE)
    still = load_still(folder.records[0], "ED")
    assert not still.mask.any()
    assert [note.kind for note in still.notes] == ["empty-mask"]


# ------------------------------------------------------------------------------------------ missing and damaged


@pytest.mark.parametrize("kind", ["ED", "sequence"])
def test_mask_of_another_size(tmp_path, kind):
    _, folder = one_patient(tmp_path)
    (record,) = folder.records
    path = record.files[f"{kind}_gt"]
    array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    write_image(path, array[..., :-1], SQUARE)
    with pytest.raises(EchocycleError, match=rf"{path.name} is .*100 x 129 and its picture .*100 x 130"):
        load_still(record, "ED") if kind == "ED" else load_sequence(record)


@pytest.mark.parametrize("phase", ["ED", "ES"])
def test_missing_half(tmp_path, phase):
    patient, _ = one_patient(tmp_path)
    (patient / f"patient0001_4CH_{phase}.nii.gz").unlink()
    folder = read_camus(patient.parent)
    assert f"has no {phase}" in finding(folder, "still-missing").message
    with pytest.raises(EchocycleError, match=rf"patient0001 has no 4CH picture of {phase} \(it has:"):
        load_still(folder.records[0], phase)
    assert len(load_sequence(folder.records[0]).frames) == FRAMES


def test_missing_sequence(tmp_path):
    patient, _ = one_patient(tmp_path)
    for name in ("half_sequence", "half_sequence_gt"):
        (patient / f"patient0001_4CH_{name}.nii.gz").unlink()
    folder = read_camus(patient.parent)
    assert kinds(folder) == ["no-splits", "sequence-missing"]
    assert folder.records[0].spacing_mm == pytest.approx(SQUARE)
    with pytest.raises(EchocycleError, match="patient0001 has no 4CH sequence"):
        load_sequence(folder.records[0])


def test_header_without_its_pixels(original):
    raw = original / "training" / "patient0001" / "patient0001_4CH_ED.raw"
    raw.unlink()
    folder = read_camus(original)
    found = finding(folder, "pixels-missing")
    assert found.level == "error"
    assert raw.name in found.message
    assert "ED" not in folder.records[0].files


def test_patient_without_the_view_is_left_out(nifti):
    (nifti / "database_nifti" / "patient0003").mkdir()
    folder = read_camus(nifti)
    assert len(folder.records) == 3
    assert finding(folder, "view-missing").names == ("patient0003",)


def test_unreadable_header_is_named_and_left_out(nifti):
    path = nifti / "database_nifti" / "patient0002" / "patient0002_4CH_ED.nii.gz"
    path.write_bytes(b"<html>not found</html>")
    folder = read_camus(nifti)
    assert [record.patient for record in folder.records] == ["patient0001", "patient0451"]
    assert str(path) in finding(folder, "unreadable").message


def cut_off(path, share=3):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // share])


@pytest.mark.parametrize("release", ["nifti", "original"])
def test_cut_off_file_is_named(request, release):
    record = read_camus(request.getfixturevalue(release)).records[0]
    path = record.files["sequence"]
    cut_off(path.with_suffix(".raw") if release == "original" else path)
    with pytest.raises(EchocycleError, match=rf"{path.name} cannot be read"):
        load_sequence(record)


@pytest.mark.parametrize(
    ("share", "message"), [(1, None), (3, "Expected .* bytes, got|cannot be read"), (60, "cannot be read")]
)
def test_cut_off_file_without_compression(tmp_path, share, message):
    patient, _ = one_patient(tmp_path, masks=False)
    path = patient / "patient0001_4CH_ED.nii"
    write_image(path, picture(SQUARE), SQUARE)
    path.with_name("patient0001_4CH_ED.nii.gz").unlink()
    (record,) = read_camus(patient.parent).records
    assert record.files["ED"] == path
    cut_off(path, share)
    if message is None:
        np.testing.assert_array_equal(load_still(record, "ED").frame, picture(SQUARE))
        return
    with pytest.raises(EchocycleError, match=message):
        load_still(record, "ED")


def test_damaged_compression_is_noticed(nifti):
    record = read_camus(nifti).records[0]
    content = bytearray(record.files["ED"].read_bytes())
    content[-6] ^= 1  # within the check sum
    record.files["ED"].write_bytes(content)
    with pytest.raises(EchocycleError, match=r"ED.nii.gz cannot be read \(CRC check failed"):
        load_still(record, "ED")


def test_a_sequence_is_no_still(tmp_path):
    _, folder = one_patient(tmp_path, masks=False)
    (record,) = folder.records
    record.files["sequence"].replace(record.files["ED"])
    with pytest.raises(EchocycleError, match="holds an array of 7 x 100 x 130, not one picture"):
        load_still(record, "ED")
    record.files["ES"].replace(record.files["sequence"])
    with pytest.raises(EchocycleError, match="holds an array of 100 x 130, not a sequence"):
        load_sequence(record)


def test_implausible_spacing(tmp_path):
    patient, _ = one_patient(tmp_path)
    write_image(patient / "patient0001_4CH_ED.nii.gz", picture(SQUARE), (12.0, 12.0))
    folder = read_camus(patient.parent)
    assert "100 rows of 12 mm" in finding(folder, "spacing-implausible").message


# ---------------------------------------------------------------------------------------------- network's size


def test_squeeze_to_network_size():
    resized = to_network_size(picture(FLAT), labels(FLAT) == 1, FLAT)
    assert resized.image.shape == resized.mask.shape == (112, 112)
    assert (resized.image.dtype, resized.mask.dtype) == (np.uint8, bool)
    assert resized.spacing_mm == pytest.approx((120 / 112, 156 / 112))
    assert tip_side(resized.image) == "top"
    area_mm2 = (labels(FLAT) == 1).sum() * FLAT[0] * FLAT[1]
    assert resized.mask.sum() * math.prod(resized.spacing_mm) == pytest.approx(area_mm2, rel=0.02)


@pytest.mark.parametrize("spacing", [SQUARE, FLAT])
def test_pad_to_square_keeps_shapes(spacing):
    resized = to_network_size(picture(spacing), labels(spacing) == 1, spacing, how="pad-to-square")
    assert resized.image.shape == (112, 112)
    assert resized.spacing_mm == pytest.approx((156 / 112, 156 / 112))
    assert resized.image[0, 50:62].any()
    assert not resized.image[-20:].any()
    tall = to_network_size(picture(spacing)[:, ::2], None, spacing, how="pad-to-square")
    assert tall.mask is None
    assert tall.spacing_mm == pytest.approx((120 / 112, 120 / 112), rel=0.01)
    assert not tall.image[:, :15].any()
    assert not tall.image[:, -15:].any()


def test_ef_does_not_depend_on_the_resizing():
    ed, es = labels(FLAT) == 1, labels(FLAT, 0.2) == 1
    truth = ef_from_masks(ed, es, FLAT)
    assert truth == pytest.approx(100 * (1 - 0.8**3), abs=1)
    for how in ("squeeze", "pad-to-square"):
        pair = [to_network_size(picture(FLAT), mask, FLAT, how=how) for mask in (ed, es)]
        assert ef_from_masks(pair[0].mask, pair[1].mask, pair[0].spacing_mm) == pytest.approx(truth, abs=1.5)


def test_sequences_are_resized_frame_by_frame():
    frames = np.stack([picture(SQUARE, seed) for seed in range(3)])
    masks = np.stack([labels(SQUARE, shrink) == 1 for shrink in (0, 0.1, 0.2)])
    for how in ("squeeze", "pad-to-square"):
        resized = to_network_size(frames, masks, SQUARE, how=how)
        single = to_network_size(frames[1], masks[1], SQUARE, how=how)
        assert resized.image.shape == (3, 112, 112)
        np.testing.assert_array_equal(resized.image[1], single.image)
        np.testing.assert_array_equal(resized.mask[1], single.mask)
        assert resized.spacing_mm == single.spacing_mm


def test_resizing_without_spacing_and_with_wrong_arrays():
    unknown = to_network_size(picture(SQUARE), None, (math.nan, math.nan), size=64, how="pad-to-square")
    assert unknown.image.shape == (64, 64)
    assert math.isnan(unknown.spacing_mm[0])
    with pytest.raises(EchocycleError, match="they must be equal"):
        to_network_size(picture(SQUARE), labels(FLAT) == 1, SQUARE)
    with pytest.raises(EchocycleError, match="give 8 bits"):
        to_network_size(picture(SQUARE) / 255, None, SQUARE)
    with pytest.raises(EchocycleError, match="squeeze, pad-to-square"):
        to_network_size(picture(SQUARE), None, SQUARE, how="crop")


# --------------------------------------------------------------------------------------------------- mirroring


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [0, 0]),
        (2, [0, 0, 1, 1]),
        (4, [1, 0, 0, 1, 2, 3, 3, 2]),
        (5, [1, 0, 0, 1, 2, 3, 4, 4, 3, 2]),
    ],
)
def test_symmetric_mirroring(length, expected):
    frames = np.arange(length, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    mirrored = mirror_cycle(frames)
    assert mirrored.shape == (2 * length, 2, 3)
    assert mirrored.dtype == np.uint8
    assert mirrored[:, 0, 0].tolist() == expected


def test_forward_and_backward():
    frames = np.arange(3)
    assert mirror_cycle(frames, "forward-backward").tolist() == [0, 1, 2, 2, 1, 0]
    with pytest.raises(EchocycleError, match="symmetric, forward-backward"):
        mirror_cycle(frames, "loop")
    with pytest.raises(EchocycleError, match="no frame"):
        mirror_cycle(frames[:0])


@pytest.mark.parametrize("length", [4, 5])
def test_mirrored_cycle_has_no_jump_when_repeated(length):
    mirrored = mirror_cycle(np.arange(length))
    assert np.abs(np.diff(np.concatenate([mirrored, mirrored]))).max() <= 1


# --------------------------------------------------------------------------------------------- EF and acceptance


def test_ef_needs_the_spacing_of_flat_pixels():
    square = ef_from_masks(labels(SQUARE) == 1, labels(SQUARE, 0.2) == 1, SQUARE)
    flat = ef_from_masks(labels(FLAT) == 1, labels(FLAT, 0.2) == 1, FLAT)
    assert flat == pytest.approx(square, abs=1.5)
    assert math.isnan(ef_from_masks(labels(SQUARE) == 9, labels(SQUARE) == 1))
    assert ef_from_masks(labels(SQUARE) == 1, labels(SQUARE) == 1) == 0


def folder_of(records, release="original", view="4CH"):
    return CamusFolder(Path("CAMUS"), release, view, tuple(records), ())


def patients(count=450, quality=(260, 148, 42), mean=52.03, sd=12.07):
    """Records with exactly these numbers."""
    template = CamusRecord(
        "patient0001", "4CH", "train", "Good", 50.0, math.nan, math.nan, math.nan, 20, 0, 19, SQUARE, 1, {}
    )
    efs = np.random.default_rng(0).normal(size=count)
    efs = mean + sd * (efs - efs.mean()) / efs.std(ddof=1)
    names = [name for name, n in zip(("Good", "Medium", "Poor"), quality, strict=True) for _ in range(n)]
    return [
        replace(template, patient=f"patient{number:04d}", quality=name, ef=ef)
        for number, (name, ef) in enumerate(zip(names, efs, strict=True), 1)
    ]


@pytest.mark.parametrize("release", ["original", "nifti"])
def test_acceptance_of_the_papers_selection(release):
    selected = patients()
    if release == "nifti":  # which rounds EF
        selected = [replace(record, ef=float(round(record.ef))) for record in selected]
    later = [replace(selected[0], patient=f"patient{number:04d}", split="test") for number in range(451, 501)]
    folder = folder_of(selected + later, release)
    assert paper_selection(folder) == tuple(selected)
    result = acceptance(folder)
    assert result["agrees"], result
    assert result["differs"] == []
    assert result["found"]["quality Good"] == 260


@pytest.mark.parametrize(
    ("records", "differs"),
    [
        (patients(quality=(259, 149, 42)), ["quality Good", "quality Medium"]),
        (patients(mean=52.1), ["ef mean"]),
        (patients(sd=12.0), ["ef sd"]),
        (patients(count=449, quality=(260, 148, 41)), ["patients", "quality Poor"]),
        ([], ["patients", "quality Good", "quality Medium", "quality Poor", "ef mean", "ef sd"]),
    ],
)
def test_acceptance_says_what_differs(records, differs):
    result = acceptance(folder_of(records))
    assert not result["agrees"]
    assert result["differs"] == differs


def test_acceptance_leaves_out_testing_patients(original):
    folder = read_camus(original)
    assert acceptance(folder)["found"]["patients"] == 2
    with pytest.raises(EchocycleError, match="four-chamber"):
        acceptance(replace(folder, view="2CH"))


# ---------------------------------------------------------------------------------------------------- real files

real = pytest.mark.real


def real_folder(name):
    """The release below ECHOCYCLE_CAMUS, or a skip that says what is missing."""
    root = os.environ.get("ECHOCYCLE_CAMUS")
    if not root:
        pytest.skip("set ECHOCYCLE_CAMUS to the folder that holds CAMUS's database_nifti/ or original/")
    if not (Path(root) / name).is_dir():
        pytest.skip(f"ECHOCYCLE_CAMUS has no {name}/")
    return Path(root) if name == "database_nifti" else Path(root) / name


@real
@pytest.mark.parametrize("release", ["database_nifti", "original"])
def test_real_stills(release):
    """Tips at the top, plausible sizes, cavities darker than walls and smaller at ES, above the atrium."""
    folder = read_camus(real_folder(release))
    assert not [finding for finding in folder.findings if finding.level == "error"]
    structures = {label: read_camus(folder.root, CamusSettings(label=label)).records for label in (2, 3)}
    cavity_grey, wall_grey, change = [], [], []
    for index, record in enumerate(folder.records):
        ed, es = load_still(record, "ED"), load_still(record, "ES")
        assert ed.notes == es.notes == ()
        assert 0.2 <= ed.frame.shape[0] / 1000 <= 2.5
        wall, atrium = (load_still(structures[label][index], "ED").mask for label in (2, 3))
        assert np.nonzero(atrium)[0].mean() > np.nonzero(ed.mask)[0].mean()
        cavity_grey.append(np.median(ed.frame[ed.mask]))
        wall_grey.append(np.median(ed.frame[wall]))
        change.append(1 - es.mask.sum() / ed.mask.sum())
    assert np.median(wall_grey) > 1.2 * np.median(cavity_grey)
    assert 0.25 < np.median(change) < 0.45
    assert np.mean(np.array(change) > 0) > 0.98


@real
def test_real_ef_by_discs():
    """One view's EF from experts' masks lies near the listed one; where pixels are flat, only with the spacing."""
    folder = read_camus(real_folder("original"))
    checked = 0
    for record in folder.records:
        if math.isnan(record.ef):
            continue
        ed, es = load_still(record, "ED"), load_still(record, "ES")
        assert record.spacing_mm[1] == pytest.approx(2 * record.spacing_mm[0])
        assert abs(ef_from_masks(ed.mask, es.mask, ed.spacing_mm) - record.ef) < 15
        assert disc_volume(ed.mask, ed.spacing_mm).volume == pytest.approx(record.edv_ml, rel=0.35)
        checked += 1
    assert checked


@real
def test_real_selection_is_the_papers():
    """Needs all patients with their Info_4CH.cfg."""
    names = ("database_nifti", "original")
    folders = [
        read_camus(real_folder(name)) for name in names if (Path(os.environ.get("ECHOCYCLE_CAMUS", "")) / name).is_dir()
    ]
    if not folders:
        real_folder("database_nifti")
    whole = [folder for folder in folders if len(paper_selection(folder)) >= 450]
    if not whole:
        pytest.skip("ECHOCYCLE_CAMUS holds a part of CAMUS only (fewer than 450 patients with an EF)")
    for folder in whole:
        assert acceptance(folder)["agrees"], acceptance(folder)


# ---------------------------------------------------------------------------------------------------- the store


@pytest.mark.parametrize("release", ["nifti", "original"])
def test_prepare_makes_a_store(release, request, tmp_path):
    """Half a beat from ED to ES for each patient, squeezed, with the experts' masks as tracing."""
    root = request.getfixturevalue(release)
    folder = read_camus(root)
    store = prepare_store(root, tmp_path / "store", PrepareSettings(workers=0))
    assert store.meta["release"] == f"camus-{release}"
    assert [name.replace("-", "/") for name in store.index["name"]] == [r.patient for r in folder.records]
    for video, record in enumerate(folder.records):
        row, sequence = store.index.iloc[video], load_sequence(record)
        assert row["split"] == (record.split or "train")
        assert (row["ef"] == record.ef) or (math.isnan(row["ef"]) and math.isnan(record.ef))
        expected = to_network_size(sequence.frames, None, sequence.spacing_mm, SIZE)
        assert np.array_equal(store.frames(video), expected.image)
        spacing = (row["spacing_row_mm"], row["spacing_column_mm"])
        assert spacing == pytest.approx(expected.spacing_mm)
        if "ED_gt" not in record.files:
            assert (row["ed_frame"], row["es_frame"]) == (-1, -1)
            continue
        assert (row["ed_frame"], row["es_frame"]) == (0, FRAMES - 1)
        for phase, mask in zip(("ED", "ES"), store.traced_masks(video), strict=True):
            still = load_still(record, phase)
            truth = to_network_size(still.frame, still.mask, still.spacing_mm, SIZE).mask
            assert np.array_equal(mask, truth)


def test_prepare_takes_stills_where_there_is_no_sequence(nifti, tmp_path):
    for path in nifti.rglob("*half_sequence*"):
        path.unlink()
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    assert set(store.index["frames"]) == {2}
    assert (store.index["ed_frame"] == 0).all()
    assert (store.index["es_frame"] == 1).all()


def test_affine_leads_back_to_the_source(nifti, tmp_path):
    """The middle of the ventricle in the store lies at its middle in the picture."""
    record = read_camus(nifti).records[0]
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    a, b, c, d, e, f = map(float, store.index["affine"][0].split())
    rows, columns = np.nonzero(store.traced_masks(0)[0])
    x, y = columns.mean(), rows.mean()
    source_rows, source_columns = np.nonzero(load_still(record, "ED").mask)
    assert a * x + b * y + c == pytest.approx(source_columns.mean(), abs=0.5)
    assert d * x + e * y + f == pytest.approx(source_rows.mean(), abs=0.5)


def test_padding_keeps_shapes_and_the_affine_leads_back(original, tmp_path):
    record = read_camus(original).records[0]
    settings = PrepareSettings(workers=0, camus_resize="pad-to-square")
    store = prepare_store(original, tmp_path / "store", settings)
    row = store.index.iloc[0]
    assert row["spacing_row_mm"] == pytest.approx(row["spacing_column_mm"], rel=0.01)
    a, b, c, d, e, f = map(float, row["affine"].split())
    rows, columns = np.nonzero(store.traced_masks(0)[0])
    source_rows, source_columns = np.nonzero(load_still(record, "ED").mask)
    assert a * columns.mean() + b * rows.mean() + c == pytest.approx(source_columns.mean(), abs=0.7)
    assert d * columns.mean() + e * rows.mean() + f == pytest.approx(source_rows.mean(), abs=0.7)


@pytest.mark.parametrize("release", ["nifti", "original"])
def test_the_store_knows_image_quality_and_the_papers_patients(release, request, tmp_path):
    root = request.getfixturevalue(release)
    store = prepare_store(root, tmp_path / "store", PrepareSettings(workers=0))
    told = {"nifti": ("Medium", "patient0451"), "original": ("Good", "testing-patient0001")}[release]
    assert set(store.details["quality"]) == {told[0]}
    assert {name for name in store.details.index if store.detail(name, "paper") == "0"} == {told[1]}
    report = read_json(store.path / "report.json")["paper"]
    assert report["agrees"] is False
    assert report["expected"]["patients"] == 450
    assert report["found"]["patients"] == 2


def test_a_network_sees_whole_beats_of_camus(nifti, store, tmp_path):
    """The paper's protocol from end to end on files as CAMUS has them: mirrored, its patients alone, by quality."""
    camus = prepare_store(nifti, tmp_path / "camus-store", PrepareSettings(workers=0))
    run = tmp_path / "run"
    stages.regress(store.path, run, regress_settings("supervised"))
    settings = EvaluateSettings(splits=("train", "val", "test"), half_beats="symmetric", patients="paper")
    folder = stages.evaluate(run, settings, external=camus.path)
    table = read_predictions(folder / "predictions.csv")
    assert set(table["video"]) == {"patient0001", "patient0002"}
    assert set(table["quality"]) == {"Medium"}
    spec = load_bundle(run).regressor.spec
    starts = table.groupby("video")["clip_start"].max()
    assert starts.tolist() == [2 * FRAMES - spec.span] * 2  # of half a beat there would be fewer


@pytest.mark.parametrize("both", [False, True])
def test_a_missing_mask_is_said(nifti, tmp_path, both):
    """One of two is a copy that went wrong; both are missing for patients whose masks were withheld."""
    for phase in ("ED", "ES") if both else ("ES",):
        (nifti / "database_nifti" / "patient0002" / f"patient0002_4CH_{phase}_gt.nii.gz").unlink()
    folder = read_camus(nifti)
    kind = "mask-missing" if both else "one-mask-missing"
    assert kinds(folder) == [kind]
    assert finding(folder, kind).level == ("note" if both else "warning")
    assert finding(folder, kind).names == ("patient0002",)
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    assert store.index.set_index("name")["annotation"]["patient0002"] == "ef"


def test_ef_as_a_share_is_refused_or_converted(nifti, tmp_path):
    for info in nifti.rglob("Info_4CH.cfg"):
        info.write_text(info.read_text().replace("EF: 48", "EF: 0.48"))
    assert finding(read_camus(nifti), "ef-looks-like-fraction").level == "error"
    with pytest.raises(EchocycleError, match="--ef-unit share"):
        prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0, ef_unit="share"))
    assert store.index["ef"].tolist() == pytest.approx([48, 48, 48])


def test_nothing_that_goes_wrong_in_one_patient_ends_the_others(nifti, tmp_path, monkeypatch):
    def failing(record):
        if record.patient == "patient0002":
            raise MemoryError
        return load_sequence(record)

    monkeypatch.setattr(camus_source, "load_sequence", failing)
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    assert store.index["name"].tolist() == ["patient0001", "patient0451"]


def test_a_header_that_promises_terabytes(nifti):
    record = read_camus(nifti).records[0]
    path = record.files["ED"]
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:48] = np.array([3, 32767, 32767, 32767], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(EchocycleError, match="promises 32767 x 32767"):
        load_still(record, "ED")


def test_unreadable_patient_is_left_out_of_the_store(nifti, tmp_path):
    victim = sorted(nifti.rglob("*_4CH_half_sequence.nii.gz"))[0]
    victim.write_bytes(victim.read_bytes()[:-40])
    store = prepare_store(nifti, tmp_path / "store", PrepareSettings(workers=0))
    names = {record.patient for record in read_camus(nifti).records}
    assert set(store.index["name"]) == names - {victim.parent.name}


def test_prepare_keeps_no_colour_of_grey_pictures(nifti, tmp_path):
    with pytest.raises(EchocycleError, match="leave `color` out"):
        prepare_store(nifti, tmp_path / "store", PrepareSettings(color=True))


def test_check_reads_what_prepare_reads(nifti, capsys):
    report = stages.check(nifti, PrepareSettings(workers=0), decode=True)
    assert report["videos"] == 3
    assert "camus-nifti" in capsys.readouterr().err
    victim = sorted(nifti.rglob("*_4CH_half_sequence.nii.gz"))[0]
    victim.write_bytes(victim.read_bytes()[:-40])
    stages.check(nifti)
    with pytest.raises(Finding, match="errors were found"):
        stages.check(nifti, PrepareSettings(workers=0), decode=True)
    assert f"The patient is left out. [{victim.parent.name}]" in " ".join(capsys.readouterr().err.split())
