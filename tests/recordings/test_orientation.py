"""Pictures that lie upside down, on their side or behind writing: how they are turned and what is cut away."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import beating_fan, blurred, cine, region, save
from PIL import Image, ImageDraw

from echocycle.recordings.dicom import read_dicom
from echocycle.recordings.orientation import APEX_DOWN, APEX_LEFT, APEX_RIGHT, View
from echocycle.recordings.overlays import trace_strip
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector, find_sector, locate_sector
from echocycle.recordings.video import Recording, write_mjpeg

LAID = {
    "at the bottom": lambda frames: frames[:, ::-1],
    "on the left": lambda frames: np.rot90(frames, 1, (1, 2)),
    "on the right": lambda frames: np.rot90(frames, -1, (1, 2)),
}


def recording_of(frames: np.ndarray, **changes: object) -> Recording:
    return Recording(np.ascontiguousarray(frames), 50.0, None, (), (0.5, 0.5), Path("drawn"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", LAID)
def test_pictures_are_turned_upright(tmp_path: Path, side: str) -> None:
    frames = beating_fan(24, 240, 320)
    write_mjpeg(tmp_path / "laid.avi", np.ascontiguousarray(LAID[side](frames)), 50)
    upright, laid = cut_sector(recording_of(frames)), cut_sector(read_recording(tmp_path / "laid.avi"))
    assert upright.notes == ()
    assert f"the probe is {side} of the picture" in laid.notes[0]
    assert np.abs(blurred(laid.frames, 3) - blurred(upright.frames, 3)).mean() < 2
    # the affine leads to the same tissue: the middle of the fan's far end
    column, row = laid.affine @ [61.3, 100, 1]
    there = LAID[side](np.indices(frames.shape[1:])[:, None].transpose(1, 0, 2, 3)[0])
    source_row, source_column = there[:, round(row), round(column)]
    expected = upright.affine @ [61.3, 100, 1]
    assert (source_column, source_row) == pytest.approx(tuple(expected), abs=3)


@pytest.mark.parametrize("side", LAID)
def test_pictures_of_the_networks_size_are_turned_too(side: str) -> None:
    frames = beating_fan(24, 112, 112)
    cut = cut_sector(recording_of(LAID[side](frames)))
    assert np.array_equal(cut.frames, frames) or side == "on the left"
    assert cut.frames.shape == frames.shape
    assert f"the probe is {side}" in cut.notes[0]
    assert cut_sector(recording_of(frames)).notes == ()


def test_a_doubtful_picture_is_left_as_it_is() -> None:
    """A disc has no probe side; noise has none either."""
    row, column = np.indices((240, 320))
    disc = np.hypot(row - 120, column - 160) < 100
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320), dtype=np.uint8)
    for frames in (noise * disc, noise):
        cut = cut_sector(recording_of(frames.astype(np.uint8)))
        assert not any("which was" in note for note in cut.notes)


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("turn", [APEX_DOWN, APEX_LEFT, APEX_RIGHT])
def test_views_lead_back_to_stored_pixels(aspect: float, turn) -> None:
    """A bright pixel of the stored picture is found where the affine says, and masks come back in place."""
    stored = np.zeros((1, 24, 30), np.uint8)
    stored[0, 12:14, 20:22] = 255
    view = View((24, 30), aspect, turn)
    upright = turn.apply(view.squared(stored)[0])
    rows, columns = np.nonzero(upright > 127)
    found = view.affine() @ [columns.mean(), rows.mean(), 1]
    assert found == pytest.approx((20.5, 12.5), abs=0.3)
    back = view.stored_mask(upright > 127)
    assert back.shape == (24, 30)
    assert set(zip(*np.nonzero(back), strict=True)) <= {(r, c) for r in range(11, 15) for c in range(19, 23)}
    assert back[12:14, 20:22].all()
    spacing = view.spacing((1.0, aspect))
    assert spacing[0] == pytest.approx(spacing[1])


def with_trace(frames: np.ndarray, row: int, level: int = 40) -> np.ndarray:
    """A still, thin electrocardiogram over the fan, added to what is under it."""
    drawn = []
    for frame in frames:
        picture = Image.new("L", frame.shape[::-1])
        points = [(x, row + round(3 * np.sin(x / 5)) - (9 if x % 60 < 3 else 0)) for x in range(frame.shape[1])]
        ImageDraw.Draw(picture).line(points, fill=level)
        drawn.append(np.clip(frame.astype(int) + np.asarray(picture) * (frame > 0), 0, 255).astype(np.uint8))
    return np.stack(drawn)


def test_a_trace_across_the_fan_is_blackened() -> None:
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(size=(60, 240, 320)), (1.5, 2, 2.5))
    row, column = np.indices((240, 320))
    fan = (np.abs(np.degrees(np.arctan2(column - 160, row - 4))) < 35) & (np.hypot(column - 160, row - 4) < 225)
    frames = ((noise * 350 + 70).clip(20, 200) * fan).astype(np.uint8)
    sector, _, notes = locate_sector(recording_of(frames))
    assert notes == []
    assert trace_strip(frames, sector.mask) is None
    marked, _, notes = locate_sector(recording_of(with_trace(frames, 205)))
    assert "a trace is drawn across the fan" in notes[0]
    assert not marked.mask[195:].any()
    assert marked.mask[:185].sum() == sector.mask[:185].sum()


def real_clip() -> np.ndarray:
    """A four-chamber cine with an electrocardiogram in it, uint8 (73, 307, 304), or a skip that says what is missing."""
    root = Path(os.environ.get("VITAL_CLIPS", Path(__file__).parents[2].parent / "shared/real/vital"))
    path = root / "vital_A4C_subject073.npz"
    if not path.exists():
        pytest.skip("set VITAL_CLIPS to the folder that holds vital_A4C_subject073.npz")
    return np.load(path)["frames"]


@pytest.mark.real
@pytest.mark.parametrize("kind", ["avi", "dicom"])
def test_the_strip_of_a_real_recording(tmp_path: Path, kind: str) -> None:
    """An electrocardiogram lies over rows 276 to 297, at the far end of the fan."""
    frames = real_clip()
    if kind == "avi":
        write_mjpeg(tmp_path / "clip.avi", frames, 25)
        recording = read_recording(tmp_path / "clip.avi")
    else:
        recording = read_recording(save(cine(frames), tmp_path / "clip.dcm"))
    sector, _, notes = locate_sector(recording)
    assert sector.has_edges
    assert sector.confidence > 0.9
    assert not sector.mask[279:298].any()
    assert sector.mask[:268].sum() > 0.85 * sector.mask.sum()
    assert any("a trace is drawn across the fan" in note for note in notes)
    cut = cut_sector(recording)
    strip_row = (278 - cut.affine[1, 2]) / cut.affine[1, 1]
    assert cut.frames[:, round(strip_row) + 1 :].max() == 0
    assert cut.frames[:, 20:80].mean() > 15


def test_the_probe_mark_and_the_writing_of_a_shipped_clip_go() -> None:
    """The green mark near (380, 40) lies inside the region that the header names, the texts outside it."""
    from pydicom.data import get_testdata_file

    recording = read_dicom(Path(get_testdata_file("color3d_jpeg_baseline.dcm", download=False)), color=True)
    assert recording.region == (84, 31, 596, 415)
    mark = recording.frames[:, 30:50, 370:392].astype(int)
    assert ((mark[..., 1] - mark[..., 0]) > 60).any()
    sector, _, notes = locate_sector(recording)
    assert notes == []
    assert not sector.mask[30:50, 368:392].any()
    # nor a mark of the ruler that the fan's right corner touches
    assert not sector.mask[:, 596:].any()
    written = [(20, 20), (20, 70), (75, 600), (405, 580), (470, 300)]
    assert not any(sector.mask[row, column] for row, column in written)


def test_the_headers_region_keeps_other_things_out() -> None:
    """A second moving thing beside the fan, larger than it, is not looked at where the header names the fan's place."""
    fan = beating_fan(24, 240, 320)
    beside = np.random.default_rng(1).integers(0, 256, (24, 240, 420), dtype=np.uint8)
    frames = np.concatenate([fan, beside], axis=2)
    alone = find_sector(fan)
    with_region = cut_sector(recording_of(frames, region=(0, 0, 320, 240)))
    assert with_region.sector is not None
    assert with_region.sector.apex == pytest.approx(alone.apex, abs=2)
    assert not with_region.sector.mask[:, 320:].any()
    assert with_region.notes == ()


def test_a_region_that_is_wrong_is_given_up() -> None:
    frames = beating_fan(24, 240, 320)
    cut = cut_sector(recording_of(frames, region=(0, 0, 40, 30)))
    assert cut.sector is not None
    assert cut.sector.confidence > 0.9
    assert cut.notes == ()


def test_without_a_fan_the_headers_region_is_what_is_used(tmp_path: Path) -> None:
    still = np.zeros((12, 120, 160), np.uint8)
    still[:, 10:110, 20:140] = 120
    bounds = {
        "RegionLocationMinX0": 20,
        "RegionLocationMinY0": 10,
        "RegionLocationMaxX1": 139,
        "RegionLocationMaxY1": 109,
    }
    still[:, :8, :60] = 255  # a name
    cut = cut_sector(
        read_recording(save(cine(still, SequenceOfUltrasoundRegions=[region(**bounds)]), tmp_path / "a.dcm"))
    )
    assert "the region that the header names is used" in cut.notes[-1]
    assert cut.frames.max() <= 121
    assert cut.frames.mean() > 60
