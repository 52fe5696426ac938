"""The fan is found and cut as EchoNet does: on drawn fans whose geometry is known, and on a real clip."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from echocycle.recordings.dicom import read_dicom
from echocycle.recordings.sector import ECHONET_APEX, ECHONET_DEPTH, CutRecording, cut_sector, find_sector, to_grey
from echocycle.recordings.video import Recording


def fan_mask(
    shape: tuple[int, int], apex: tuple[float, float], angles: tuple[float, float], depth: float, start: float = 0.07
) -> np.ndarray:
    """bool (height, width); `start` is where the fan begins, as a share of its depth."""
    row, column = np.indices(shape)
    angle = np.degrees(np.arctan2(column - apex[0], row - apex[1]))
    radius = np.hypot(column - apex[0], row - apex[1])
    return (angle > -angles[0]) & (angle < angles[1]) & (radius < depth) & (radius > start * depth)


def fan_clip(
    shape: tuple[int, int] = (480, 640),
    apex: tuple[float, float] = (320.0, 30.0),
    angles: tuple[float, float] = (42.0, 42.0),
    depth: float = 380.0,
    n_frames: int = 24,
) -> np.ndarray:
    """uint8 (time, height, width): moving speckle in a fan, a quiet dark hole in it."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(n_frames, *shape)), (1, 1, 1.5))
    mask = fan_mask(shape, apex, angles, depth)
    row, column = np.indices(shape)
    hole = np.hypot(column - apex[0], row - apex[1] - depth * 0.5) < depth * 0.12
    grey = (noise * 160 + 50).clip(0, 255) * mask * np.where(hole, 0.02, 1)
    return grey.astype(np.uint8)


def decorate(frames: np.ndarray, over_the_fan: bool = False) -> np.ndarray:
    """Add what scanners write: texts, a ruler, a logo, a running clock and a running electrocardiogram."""
    height, width = frames.shape[1:]
    trace_row = height - (110 if over_the_fan else 30)
    decorated = []
    for time, frame in enumerate(frames):
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        draw.text((8, 8), "St. Elsewhere  DOE^JANE", fill=255)
        draw.text((width - 110, 20), f"12:00:{time % 60:02d}", fill=230)
        draw.rectangle([8, 40, 40, 70], fill=180)
        for row in range(30, height - 60, 20):
            draw.line([(width - 12, row), (width - 4, row)], fill=220)
        beat = [(x, trace_row - 25 * math.exp(-(((x + 9 * time) % 160 - 80) ** 2) / 30)) for x in range(0, width, 2)]
        draw.line(beat, fill=200, width=2)
        decorated.append(np.asarray(picture))
    return np.stack(decorated)


def recording(frames: np.ndarray, spacing_mm: tuple[float, float] = (0.5, 0.5)) -> Recording:
    return Recording(frames, 30.0, None, (), spacing_mm, Path("drawn"))


def to_source(cut: CutRecording, column: float, row: float) -> tuple[float, float]:
    x, y = cut.affine @ [column, row, 1]
    return float(x), float(y)


@pytest.mark.parametrize(
    ("apex", "angles", "depth"),
    [
        ((320.0, 30.0), (42.0, 42.0), 380.0),
        ((250.5, 12.0), (36.0, 45.0), 430.0),
        ((320.0, -15.0), (30.0, 30.0), 450.0),
        ((400.0, 60.0), (44.0, 44.0), 300.0),
    ],
)
def test_geometry_of_a_decorated_fan(apex, angles, depth) -> None:
    sector = find_sector(decorate(fan_clip(apex=apex, angles=angles, depth=depth)))
    assert sector.confidence > 0.8
    assert sector.apex == pytest.approx(apex, abs=5)
    assert (sector.left_angle, sector.right_angle) == pytest.approx(angles, abs=1.5)
    assert sector.radii[1] == pytest.approx(depth, rel=0.015)
    truth = fan_mask((480, 640), apex, angles, depth)
    assert (sector.mask & truth).sum() / (sector.mask | truth).sum() > 0.97


def test_a_trace_over_the_fan_does_not_mislead() -> None:
    sector = find_sector(decorate(fan_clip(), over_the_fan=True))
    assert sector.confidence > 0.6
    truth = fan_mask((480, 640), (320, 30), (42, 42), 380)
    assert (sector.mask & truth).sum() / (sector.mask | truth).sum() > 0.95


def test_a_dark_flank() -> None:
    """Half of one flank shows nothing; the fan is still found, at most narrower."""
    frames = fan_clip()
    row, column = np.indices(frames.shape[1:])
    dark = (np.degrees(np.arctan2(column - 320, row - 30)) > 25) & (row > 180)
    sector = find_sector(decorate(np.where(dark, 0, frames)))
    assert sector.confidence > 0.6
    assert sector.left_angle == pytest.approx(42, abs=2)
    assert sector.apex == pytest.approx((320, 30), abs=15)


def test_cut_has_the_geometry_of_echonet() -> None:
    cut = cut_sector(recording(decorate(fan_clip())))
    assert cut.frames.shape == (24, 112, 112)
    assert cut.frames.dtype == np.uint8
    assert to_source(cut, *ECHONET_APEX) == pytest.approx((320, 30), abs=5)
    assert to_source(cut, ECHONET_APEX[0], ECHONET_APEX[1] + ECHONET_DEPTH) == pytest.approx((320, 410), abs=5)
    scale = cut.affine[0, 0]
    assert cut.affine[1, 1] == scale
    assert cut.spacing_mm == pytest.approx((0.5 * scale, 0.5 * scale))
    inside = fan_mask((112, 112), ECHONET_APEX, (45, 45), ECHONET_DEPTH + 2, start=0)
    assert cut.frames[:, ~inside].max() == 0
    assert cut.frames[:, inside].mean() > 20
    assert cut.notes == ()


def test_affine_points_at_the_same_tissue() -> None:
    """A bright spot is found in the cut where the affine says that it is."""
    frames = fan_clip()
    frames[:, 198:203, 338:343] = 255
    frames[:, 180:198, 320:360] = frames[:, 203:221, 320:360] = 0
    frames[:, 198:203, 320:338] = frames[:, 198:203, 343:361] = 0
    cut = cut_sector(recording(frames))
    column, row = (np.array([340, 200]) - cut.affine[:, 2]) / cut.affine[0, 0]
    near = cut.frames.mean(axis=0)[round(row) - 3 : round(row) + 4, round(column) - 3 : round(column) + 4]
    rows, columns = np.indices(near.shape)
    bright = np.where(near > 30, near, 0)
    centre = np.array([(columns * bright).sum(), (rows * bright).sum()]) / bright.sum()
    found = centre + [round(column) - 3, round(row) - 3]
    assert found == pytest.approx((column, row), abs=0.4)


def test_parts_beyond_the_picture_are_black() -> None:
    cut = cut_sector(recording(fan_clip(shape=(400, 300), apex=(150.0, 5.0), depth=380.0)))
    left_in_source = to_source(cut, 0, 0)[0]
    assert left_in_source < -20
    outside = int(-left_in_source / cut.affine[0, 0]) - 1
    assert cut.frames[:, :, :outside].max() == 0


def test_a_picture_of_the_networks_size_is_left_alone() -> None:
    frames = fan_clip(shape=(112, 112), apex=ECHONET_APEX, angles=(44.9, 43.6), depth=ECHONET_DEPTH)
    cut = cut_sector(recording(frames, spacing_mm=(0.9, 0.8)))
    assert np.array_equal(cut.frames, frames)
    assert np.array_equal(cut.affine, [[1, 0, 0], [0, 1, 0]])
    assert cut.spacing_mm == (0.9, 0.8)
    assert cut.sector is None
    assert cut.notes == ()
    sector = find_sector(frames)
    assert sector.apex == pytest.approx(ECHONET_APEX, abs=3)


def test_an_enlarged_echonet_fan_comes_back_in_place() -> None:
    """Cutting a fan that is EchoNet's, three times as large, changes nothing but the size."""
    apex = tuple((value + 0.5) * 3 - 0.5 for value in ECHONET_APEX)
    frames = fan_clip((336, 336), apex, (44.9, 43.6), ECHONET_DEPTH * 3)
    cut = cut_sector(recording(frames))
    assert cut.affine[0, 0] == pytest.approx(3, rel=0.02)
    assert to_source(cut, *ECHONET_APEX) == pytest.approx(apex, abs=5)


def test_without_a_fan_the_whole_picture_is_padded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 100, 160), dtype=np.uint8)
    for frames in (noise, np.zeros_like(noise), np.repeat(noise[:1], 12, axis=0)):
        cut = cut_sector(recording(frames))
        assert cut.frames.shape == (12, 112, 112)
        assert "no ultrasound fan was found" in cut.notes[-1]
        assert cut.sector is not None
        assert cut.sector.confidence < 0.4
        assert to_source(cut, -0.5, 55.5) == pytest.approx((-0.5, 49.5))
        assert to_source(cut, 111.5, 55.5) == pytest.approx((159.5, 49.5))
        assert cut.frames[:, :20].max() == 0
        assert cut.spacing_mm == pytest.approx((0.5 * 160 / 112,) * 2)


def test_a_shape_without_straight_edges_is_kept_whole() -> None:
    row, column = np.indices((300, 400))
    disc = np.hypot(row - 150, column - 200) < 120
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(12, 300, 400)), (0, 1, 1)) * 160 + 60
    cut = cut_sector(recording((noise.clip(0, 255) * disc).astype(np.uint8)))
    assert cut.frames.shape == (12, 112, 112)
    assert cut.frames.mean() > 20


def test_colour_and_unknown_spacing() -> None:
    grey = fan_clip()
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    assert np.array_equal(to_grey(rgb), grey)
    cut = cut_sector(replace(recording(rgb), spacing_mm=(math.nan, math.nan)))
    assert np.array_equal(cut.frames, cut_sector(recording(grey)).frames)
    assert np.isnan(cut.spacing_mm).all()


@pytest.mark.parametrize("flipped", [False, True])
def test_a_picture_that_is_not_cut_keeps_its_colours(flipped: bool) -> None:
    """Turned as the grey frames are; one that is cut, or has other than square pixels, or is grey has none."""
    grey = fan_clip(shape=(112, 112), apex=(61.0, 5.0), depth=104.0)[:, :: -1 if flipped else 1]
    rgb = np.stack([grey, grey // 2, grey // 3], axis=-1)
    cut = cut_sector(recording(rgb))
    assert any("flipped" in note for note in cut.notes) == flipped
    assert cut.colours is not None
    np.testing.assert_array_equal(cut.colours, rgb[:, :: -1 if flipped else 1])
    np.testing.assert_array_equal(to_grey(cut.colours), cut.frames)
    assert cut_sector(recording(grey)).colours is None
    assert cut_sector(replace(recording(rgb), pixel_aspect=1.2)).colours is None
    assert cut_sector(recording(rgb[:, 8:])).colours is None


@pytest.mark.parametrize(("name", "shrunk"), [("color3d_jpeg_baseline.dcm", 1), ("examples_ybr_color.dcm", 2)])
def test_real_clip(name: str, shrunk: int) -> None:
    """A SonoSite clip with texts, a ruler and a probe mark; the second file is the first at half the size."""
    from pydicom.data import get_testdata_file

    clip = read_dicom(Path(get_testdata_file(name, download=False)))
    sector = find_sector(clip.frames)
    assert sector.confidence > 0.9
    assert sector.apex[0] * shrunk == pytest.approx(339, abs=4)
    assert sector.apex[1] * shrunk == pytest.approx(18, abs=6)
    assert (sector.left_angle, sector.right_angle) == pytest.approx((42.7, 42.7), abs=1)
    assert sector.radii[1] * shrunk == pytest.approx(384, abs=4)
    cut = cut_sector(clip, sector=sector)
    # texts on the left and right, frame number and menu: (row, column) in the larger clip
    written = [(20, 20), (20, 70), (75, 600), (405, 580), (470, 300)]
    assert not any(sector.mask[row // shrunk, column // shrunk] for row, column in written)
    outside = ~fan_mask((112, 112), ECHONET_APEX, (45, 45), ECHONET_DEPTH + 1.5, start=0)
    assert cut.frames[:, outside].max() <= 1
    assert cut.frames[:, ~outside].mean() > 8
    # the fan's depth fills the height
    assert cut.frames[:, 100:108, 40:80].mean() > 8
    assert cut.frames[:, 110:].max() == 0
    assert cut.spacing_mm[0] == pytest.approx(clip.spacing_mm[0] * cut.affine[1, 1], nan_ok=True)
