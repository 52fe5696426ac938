"""The phantom: the truth is exact, the files are those of EchoNet-Dynamic, and EF cannot be read off one frame."""

import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echocycle.datasets.tracing import trace_mask
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.phantom import write as phantom
from echocycle.phantom.clip import clip_name, make_clip
from echocycle.phantom.heart import plan_clip
from echocycle.phantom.patient import draw_patient
from echocycle.phantom.settings import PHANTOM_VERSION, PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.recordings.video import read_video

SHORT = PhantomSettings(videos=4, val=1, test=1, seed=5, frames_min=40, frames_median=44, frames_max=48)


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "whole"
    write_phantom(folder, SHORT)
    return folder


# --- the truth ---


@pytest.mark.parametrize("index", range(6))
def test_ef_is_that_of_the_volumes(index):
    clip = make_clip(index, SHORT)
    edv, esv = clip.volumes_ml[clip.ed_frame], clip.volumes_ml[clip.es_frame]
    assert clip.ef == 100 * (edv - esv) / edv
    assert (clip.edv_ml, clip.esv_ml) == (edv, esv)
    patient = draw_patient(index, SHORT)
    assert clip.ef == pytest.approx(patient.ef, abs=1e-9)
    assert clip.edv_ml == pytest.approx(patient.edv_ml, rel=1e-9)
    assert clip.esv_ml == pytest.approx(patient.esv_ml, rel=1e-9)
    assert clip.ed_frame < clip.es_frame < len(clip.frames)


@pytest.mark.parametrize("index", range(12))
def test_mask_tracing_and_volume_agree(index):
    """Mask and tracing overlap; either gives the volume by discs, the tracing to 1.5 % and the mask to 4 %."""
    clip = make_clip(index, SHORT)
    row_mm, column_mm = clip.spacing_mm
    assert row_mm == column_mm
    for frame, chords in zip((clip.ed_frame, clip.es_frame), clip.chords, strict=True):
        mask, traced = clip.masks[frame], trace_mask(chords)
        assert 2 * (mask & traced).sum() / (mask.sum() + traced.sum()) > 0.95
        length = np.hypot(*(chords[0, 2:] - chords[0, :2]))
        widths = np.hypot(*(chords[1:, 2:] - chords[1:, :2]).T)
        discs_ml = np.pi / 4 * (widths**2).sum() * length / 20 * row_mm**3 / 1000
        assert discs_ml == pytest.approx(clip.volumes_ml[frame], rel=0.015)
        assert mask_volume_ml(mask, chords[0], row_mm) == pytest.approx(clip.volumes_ml[frame], rel=0.04)


def mask_volume_ml(mask: np.ndarray, axis: np.ndarray, spacing_mm: float) -> float:
    """Volume by 20 discs perpendicular to the axis, whose diameters are the mask's area in each slab."""
    along = (axis[2:] - axis[:2]) / np.hypot(*(axis[2:] - axis[:2]))
    length = np.hypot(*(axis[2:] - axis[:2]))
    grid = np.arange(-0.4, 0.5, 0.2)  # every pixel counts as 5 x 5 points, so that slabs do not alias
    y, x = np.nonzero(mask)
    offsets = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    points = (np.stack([x, y], axis=1)[:, None] + offsets - axis[:2]).reshape(-1, 2) @ along
    counts, _ = np.histogram(np.clip(points, 0, length - 1e-9), bins=20, range=(0, length))
    diameters = counts / len(offsets) / (length / 20)
    return float(np.pi / 4 * (diameters**2).sum() * length / 20 * spacing_mm**3 / 1000)


def test_masks_follow_the_volumes():
    clip = make_clip(2, replace(SHORT, frames_min=100, frames_median=110, frames_max=120))
    areas = clip.masks.sum(axis=(1, 2))
    assert np.corrcoef(areas, clip.volumes_ml)[0, 1] > 0.98
    assert clip.masks[clip.ed_frame].sum() > clip.masks[clip.es_frame].sum()


def test_clip_has_the_documented_types():
    clip = make_clip(0, SHORT)
    count = len(clip.frames)
    assert clip.frames.shape == clip.masks.shape == (count, 112, 112)
    assert (clip.frames.dtype, clip.masks.dtype) == (np.uint8, bool)
    assert clip.volumes_ml.shape == (count,)
    assert clip.chords.shape == (2, 21, 4)
    assert clip.frames[:, 110:].max() == 0  # below the far arc


# --- what the clips are like ---


def test_drawn_patients_follow_the_real_distribution():
    settings = PhantomSettings(seed=1)
    patients = [draw_patient(index, settings) for index in range(1500)]
    ef = np.array([patient.ef for patient in patients])
    edv = np.array([patient.edv_ml for patient in patients])
    assert ef.mean() == pytest.approx(55.8, abs=1.5)
    assert ef.std() == pytest.approx(12.4, abs=1.5)
    assert ((ef - ef.mean()) ** 3).mean() / ef.std() ** 3 == pytest.approx(-1.3, abs=0.4)
    shares, _ = np.histogram(ef, [0, 30, 40, 50, 55, 60, 65, 70, 100])
    wanted = [0.062, 0.064, 0.098, 0.082, 0.246, 0.258, 0.158, 0.032]
    assert np.abs(shares / len(ef) - wanted).max() < 0.04
    assert np.median(edv) == pytest.approx(82, abs=5)
    assert -0.65 < np.corrcoef(ef, edv)[0, 1] < -0.4
    assert np.mean([patient.fps == 50 for patient in patients]) == pytest.approx(0.79, abs=0.04)
    assert np.median([patient.frames for patient in patients]) == pytest.approx(171, abs=6)


def test_ef_shows_neither_in_grey_values_nor_in_timing():
    """Over 60 clips a correlation of 0.33 has p = 0.01; EF and EDV alone correlate with -0.5."""
    settings = replace(SHORT, videos=60, seed=2, frames_min=28, frames_median=28, frames_max=30)
    clips = [make_clip(index, settings) for index in range(60)]
    ef = [clip.ef for clip in clips]
    looks = {
        "mean grey": [clip.frames[0].mean() for clip in clips],
        "spread of grey": [clip.frames[0].std() for clip in clips],
        "dark share": [(clip.frames[0] < 4).mean() for clip in clips],
        "frames": [len(clip.frames) for clip in clips],
        "ED frame": [clip.ed_frame for clip in clips],
    }
    for name, values in looks.items():
        assert abs(np.corrcoef(ef, values)[0, 1]) < 0.33, name


def test_cavity_is_dark_and_speckle_neither_frozen_nor_new():
    clip = make_clip(1, SHORT)
    frames = clip.frames.astype(np.float32)
    inside, ever = clip.masks.all(axis=0), clip.masks.any(axis=0)
    shown = frames.max(axis=0) > 20
    assert frames[:, inside].mean() < 0.6 * frames[:, shown & ~ever].mean()
    fine = frames[:, 2:-2, 2:-2] - (frames[:, :-4, 2:-2] + frames[:, 4:, 2:-2]) / 2
    next_frame = np.corrcoef(fine[:-1].ravel(), fine[1:].ravel())[0, 1]
    later = np.corrcoef(fine[:-10].ravel(), fine[10:].ravel())[0, 1]
    assert 0.75 < next_frame < 0.97
    assert 0.2 < later < next_frame - 0.2


# --- the folder ---


def test_layout_is_that_of_echonet_dynamic(written):
    listed = read_table(written / "FileList.csv")
    assert ",".join(listed[0]) == "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
    assert [row["FileName"] for row in listed] == [clip_name(index, SHORT) for index in range(4)]
    assert sorted(row["Split"] for row in listed) == ["TEST", "TRAIN", "TRAIN", "VAL"]
    traced = read_table(written / "VolumeTracings.csv")
    assert ",".join(traced[0]) == "FileName,X1,Y1,X2,Y2,Frame"
    assert len(traced) == 4 * 2 * 21
    for row in listed:
        edv, esv = float(row["EDV"]), float(row["ESV"])
        assert float(row["EF"]) == pytest.approx(100 * (edv - esv) / edv, abs=1e-7)
        recording = read_video(written / "Videos" / f"{row['FileName']}.avi")
        assert recording.frames.shape == (int(row["NumberOfFrames"]), 112, 112)
        assert (row["FrameHeight"], row["FrameWidth"]) == ("112", "112")
        assert recording.fps == float(row["FPS"])
        with np.load(written / "Truth" / f"{row['FileName']}.npz") as truth:
            own = [line for line in traced if line["FileName"] == f"{row['FileName']}.avi"]
            frames = [int(line["Frame"]) for line in own]
            assert frames == [int(truth["ed_frame"])] * 21 + [int(truth["es_frame"])] * 21
            assert truth["volumes_ml"][frames[0]] == edv
            assert truth["spacing_mm"].shape == (2,)


def test_truth_and_video_are_those_of_make_clip(written):
    clip, name = make_clip(3, SHORT), clip_name(3, SHORT)
    with np.load(written / "Truth" / f"{name}.npz") as truth:
        bits = np.unpackbits(truth["masks"], axis=1, count=112 * 112)
        assert np.array_equal(bits.reshape(truth["masks_shape"]).astype(bool), clip.masks)
    stored = read_video(written / "Videos" / f"{name}.avi").frames
    assert np.abs(stored.astype(int) - clip.frames).mean() < 2


def test_record_names_version_and_settings(written):
    record = read_json(written / "phantom.json")
    assert record["phantom_version"] == PHANTOM_VERSION
    assert record["settings"]["seed"] == 5
    assert not list(written.rglob("*unfinished*"))


def test_bytes_do_not_depend_on_workers(written, tmp_path):
    calls = []
    write_phantom(tmp_path / "two", SHORT, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert hashes(tmp_path / "two") == hashes(written)
    assert calls == [(done, 4) for done in range(5)]


def test_resumes_after_a_kill(written, tmp_path, monkeypatch):
    folder = tmp_path / "resumed"
    whole_clip = make_clip

    def killed_at_two(index, settings):
        if index == 2:
            raise KeyboardInterrupt
        return whole_clip(index, settings)

    monkeypatch.setattr(phantom, "make_clip", killed_at_two)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(folder, SHORT)
    assert not (folder / "phantom.json").exists()
    assert not (folder / "FileList.csv").exists()
    with pytest.raises(EchocycleError, match="seed 5 there, 6 now"):
        write_phantom(folder, replace(SHORT, seed=6))
    drawn = []
    monkeypatch.setattr(
        phantom, "make_clip", lambda index, settings: drawn.append(index) or whole_clip(index, settings)
    )
    write_phantom(folder, SHORT)
    assert drawn == [2, 3]
    assert hashes(folder) == hashes(written)


def test_finished_folder_is_left_alone_and_other_settings_are_refused(written):
    before = {path: path.stat().st_mtime_ns for path in (written / "Videos").iterdir()}
    write_phantom(written, SHORT)
    assert {path: path.stat().st_mtime_ns for path in (written / "Videos").iterdir()} == before
    other = replace(SHORT, look=replace(SHORT.look, septum_level=10.0))
    with pytest.raises(EchocycleError, match=r"look\.septum_level"):
        write_phantom(written, other)


def test_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EchocycleError, match="not empty and holds no phantom"):
        write_phantom(tmp_path, SHORT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"videos": 0, "val": 0, "test": 0}, "make at least one"),
        ({"videos": 100}, "leave none of 100 videos for training"),
        ({"val": -1}, "neither is negative"),
        ({"seed": -1}, "seed is -1"),
        ({"frames_min": 10}, "must rise in this order"),
        ({"frames_median": 2000}, "must rise in this order"),
        ({"quality": 1.5}, "quality is 1.5"),
    ],
)
def test_wrong_settings_say_what_to_do(changes, message):
    with pytest.raises(EchocycleError, match=message):
        PhantomSettings(**changes)


def test_wrong_look_says_what_to_do():
    with pytest.raises(EchocycleError, match="parts of one whole"):
        replace(SHORT.look, static_share=0.9, slow_share=0.2)


def test_negative_workers_are_refused(tmp_path):
    with pytest.raises(EchocycleError, match="workers is -1"):
        write_phantom(tmp_path / "none", SHORT, workers=-1)
    assert not (tmp_path / "none").exists()


def test_a_clip_depends_on_seed_and_index_only():
    clip, same = make_clip(1, SHORT), make_clip(1, replace(SHORT, videos=9, val=2))
    assert np.array_equal(clip.frames, same.frames)
    assert make_clip(1, replace(SHORT, seed=6)).ef != clip.ef
    assert plan_clip(2, SHORT).patient.ef != clip.ef


def test_fast_enough(tmp_path):
    """A free core draws and writes about 800 frames a second; the time of this process counts, not the clock's."""
    settings = replace(SHORT, videos=3, val=1, test=1, frames_min=100, frames_median=100, frames_max=100)
    make_clip(0, settings)  # fills the caches
    start = time.process_time()
    write_phantom(tmp_path / "speed", settings)
    assert 300 / (time.process_time() - start) > 60
