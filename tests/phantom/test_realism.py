"""How like real clips the phantom is: measures of made-up pictures with known answers."""

import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from echocycle.phantom.realism import ventricle
from echocycle.phantom.realism.__main__ import main
from echocycle.phantom.realism.clips import Clip, drawn_clips, read_clips, read_settings, sampled
from echocycle.phantom.realism.file_list import PATIENTS, measure_naive, measure_relations, shares_between
from echocycle.phantom.realism.grey import (
    EDGE_DISTANCES,
    PERCENTILES,
    edge_profile,
    find_regions,
    measure_grey,
    measure_profiles,
    stack_regions,
)
from echocycle.phantom.realism.measure import measure_clip
from echocycle.phantom.realism.sector import Fan, fit_fan, measure_sector, visible_angles
from echocycle.phantom.realism.speckle import half_height_lag, high_passed, whitened
from echocycle.phantom.realism.table import judge, report
from echocycle.phantom.realism.targets import TARGETS, Target
from echocycle.phantom.realism.time import LAGS, measure_time
from echocycle.phantom.realism.ventricle import find_beats, long_axis, measure_beats, measure_shape

SHAPE = (112, 112)
FAN = Fan(apex_x=60.4, apex_y=5.2, left=44.0, right=42.0, near=8.0, far=103.0)
EVERYWHERE = np.ones(SHAPE, bool)


def ellipse(x: float, y: float, half_length: float, half_width: float, angle: float) -> np.ndarray:
    """A filled ellipse whose long axis leans by `angle` degrees; negative: its upper end is to the left."""
    row, column = np.indices(SHAPE)
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    along = -(column - x) * sine + (row - y) * cosine
    across = (column - x) * cosine + (row - y) * sine
    return (along / half_length) ** 2 + (across / half_width) ** 2 <= 1


def heart_clip(*, beats: float = 4.0, rr_s: float = 0.8, fps: float = 50.0) -> Clip:
    """A grey fan with a black ellipse whose area follows a cosine; ED at frame 40, ES at frame 60."""
    seconds = np.arange(round(beats * rr_s * fps)) / fps
    size = 1 + 0.2 * (np.cos(2 * np.pi * seconds / rr_s) - 1) / 2
    masks = np.stack([ellipse(62, 52, 31 * s, 17 * s, -12) for s in size])
    frames = np.where(masks, 0, np.where(FAN.mask(SHAPE), 80, 0)).astype(np.uint8)
    volumes = 100 * size**3
    return Clip(frames, masks, volumes, 100 * (1 - volumes[60] / volumes[40]), 40, 60, fps, 1.0)


@pytest.mark.parametrize("with_ruler", [False, True])
def test_fan_is_fitted_past_overlays(with_ruler: bool) -> None:
    brightest = np.where(FAN.mask(SHAPE), 90, 0).astype(np.uint8)
    if with_ruler:
        for row in range(16, 50, 6):
            brightest[row, int(FAN.apex_x + (row - FAN.apex_y) * math.tan(math.radians(42))) + 3] = 110
    fitted = fit_fan(brightest)
    assert fitted.apex_x == pytest.approx(60.4, abs=0.4)
    assert fitted.apex_y == pytest.approx(5.2, abs=0.4)
    assert fitted.left == pytest.approx(44, abs=0.6)
    assert fitted.right == pytest.approx(42, abs=0.6)
    assert fitted.near == pytest.approx(8, abs=0.6)
    assert fitted.far == pytest.approx(103, abs=0.6)
    measures = measure_sector(np.stack([brightest] * 3), fitted)
    assert measures["clips with a ruler along the right edge"] == (100 if with_ruler else 0)
    assert measures["clips with a probe mark"] == 0
    assert measures["outside the fan, 95th percentile"] == 0
    assert measures["fan cut by the left border from row"] == pytest.approx(
        5.2 + 60.4 / math.tan(math.radians(44)), abs=2
    )


def test_dark_flank_is_seen() -> None:
    _, angle = FAN.polar(SHAPE)
    mean = np.where(FAN.mask(SHAPE) & (angle < 25), 60.0, 0.0)
    left, right = visible_angles(mean, FAN.mask(SHAPE), angle)
    assert (left, right) == (pytest.approx(44, abs=1), pytest.approx(25, abs=1))


@pytest.mark.parametrize(("blur_y", "blur_x"), [(0.8, 1.2), (1.3, 0.9)])
def test_half_height_lag_of_blurred_noise(blur_y: float, blur_x: float) -> None:
    noise = np.random.default_rng(0).standard_normal((4, *SHAPE))
    noise = 100 + 30 * ndimage.gaussian_filter(noise, (0, blur_y, blur_x)) / 0.3
    images = whitened(noise, EVERYWHERE)
    region = np.ones(images.shape, bool)
    for axis, blur in ((-1, blur_x), (-2, blur_y)):
        expected = 2 * blur * math.sqrt(math.log(2))  # of exp(-lag² / (4 blur²))
        assert half_height_lag(images, region, axis) == pytest.approx(expected, rel=0.15)
    alone = np.random.default_rng(1).standard_normal((2, *SHAPE))
    assert half_height_lag(alone, region[:2], -1) == pytest.approx(0.5, abs=0.05)


def test_local_mean_ignores_what_lies_outside() -> None:
    inside = FAN.mask(SHAPE)
    frames = np.where(inside, 70, 0)[None]
    assert np.abs(high_passed(frames, inside)).max() < 1e-6


def test_correlation_of_an_ar1_texture() -> None:
    rng, keep = np.random.default_rng(0), 0.9
    texture = [rng.standard_normal(SHAPE)]
    for _ in range(60):
        texture.append(keep * texture[-1] + math.sqrt(1 - keep**2) * rng.standard_normal(SHAPE))
    frames = np.clip(128 + 30 * np.array(texture), 0, 255).astype(np.uint8)
    clip = heart_clip()._replace(frames=frames, masks=np.broadcast_to(ellipse(62, 52, 31, 17, -12), frames.shape))
    starts = sampled(np.arange(len(frames)), after=25)
    assert starts[-1] == len(frames) - 26
    regions = stack_regions([find_regions(mask, EVERYWHERE) for mask in clip.masks[starts]])
    measures = measure_time(clip, starts, regions, EVERYWHERE)
    for lag in LAGS:
        for region in ("fan", "wall", "cavity"):
            assert measures[f"{region}, correlation {lag} frames later"] == pytest.approx(keep**lag, abs=0.05)
    difference = 30 * math.sqrt(2 * (1 - keep)) * math.sqrt(2 / math.pi)  # mean of |normal|
    assert measures["whole frame, frame difference"] == pytest.approx(difference, rel=0.05)


@pytest.mark.parametrize("angle", [-25.0, 0.0, 14.0])
def test_long_axis_of_an_ellipse(angle: float) -> None:
    axis = long_axis(ellipse(61.3, 52.7, 30, 17, angle))
    assert (axis.x, axis.y) == (pytest.approx(61.3, abs=0.1), pytest.approx(52.7, abs=0.1))
    assert axis.angle == pytest.approx(angle, abs=0.5)
    assert axis.length == pytest.approx(60, abs=1)
    along, across = axis.along(SHAPE)
    assert along[53, 61] == pytest.approx(30, abs=1)
    assert across[53, 61] == pytest.approx(0, abs=0.6)


def test_shape_at_both_phases() -> None:
    measures = measure_shape(heart_clip())
    assert measures["ED area"] == pytest.approx(math.pi * 31 * 17, rel=0.01)
    assert measures["area change"] == pytest.approx(1 - 0.8**2, abs=0.01)
    assert measures["long axis shortens by"] == pytest.approx(20, abs=1.5)
    assert measures["width shrinks by"] == pytest.approx(20, abs=3)
    assert measures["centroid moves by"] == pytest.approx(0, abs=0.1)
    assert measures["ED area in cm2, CAMUS"] == pytest.approx(measures["ED area"] / 100)
    assert measures["EF against 100 (1 - ESV/EDV), worst difference"] < 1e-9


def test_beats_of_a_known_area_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    shaken = measure_beats(heart_clip(beats=5.0, rr_s=0.8))
    monkeypatch.setattr(ventricle, "JITTER", 0.0)
    measures = measure_beats(heart_clip(beats=5.0, rr_s=0.8))
    assert shaken["fastest ejection"] > measures["fastest ejection"]
    assert measures["R-R"] == pytest.approx(0.8, abs=0.02)
    assert measures["sd of R-R, regular clips"] < 0.03
    assert "sd of R-R, irregular clips" not in measures
    assert measures["ED to ES"] == pytest.approx(0.4)
    expected = [(1 + math.cos(2 * math.pi * place / 20)) / 2 for place in range(21)]
    found = [measures[f"area at {5 * place} % of the beat"] for place in range(21)]
    assert found == pytest.approx(expected, abs=0.07)
    # area is 1 - 0.36 (1 - cos) / 2 in good approximation, so its fastest change is 0.36 pi / R-R
    assert measures["fastest ejection"] == pytest.approx(0.36 * math.pi / 0.8, rel=0.1)
    assert measures["fastest filling"] == pytest.approx(0.36 * math.pi / 0.8, rel=0.1)


def test_irregular_beats() -> None:
    lengths = [40, 60, 30, 55, 35]
    shares = np.concatenate([np.arange(n) / n for n in lengths])
    area = 1000 + 400 * np.cos(2 * np.pi * shares)
    assert np.diff(find_beats(area, 50.0)).tolist() == pytest.approx([60, 30, 55], abs=2)
    assert len(find_beats(np.full(100, 900.0), 50.0)) == 0


def test_regions_and_their_grey_levels() -> None:
    mask, fan = ellipse(62, 52, 31, 17, 0), EVERYWHERE
    regions = find_regions(mask, fan)
    assert not (regions.wall & mask).any()
    assert not (regions.cavity & ~mask).any()
    assert regions.septum[60, 42]
    assert regions.lateral[60, 82]
    assert regions.apical[18, 62]
    assert not regions.wall[86:, 62].any()  # the base
    assert not np.isfinite(regions.distance[87, 62])
    assert not np.isfinite(regions.distance[80, 62])
    assert [int(third.sum()) for third in regions.thirds] == pytest.approx([380, 680, 380], rel=0.15)
    frame = np.full(SHAPE, 30, np.uint8)
    frame[regions.cavity], frame[regions.septum], frame[regions.lateral], frame[regions.apical] = 2, 120, 60, 90
    measures = measure_grey(frame[None], stack_regions([regions]), fan)
    assert measures["septum, mean"] == 120
    assert measures["septum over lateral wall"] == 2
    assert measures["apical wall, mean"] == 90
    assert [measures[f"cavity, {share} %"] for share in PERCENTILES] == [2] * 5
    assert measures["fan below 4, share"] == pytest.approx(100 * regions.cavity.mean())


def test_edge_profile_is_the_level_at_each_distance() -> None:
    distance = find_regions(ellipse(62, 52, 31, 17, 0), EVERYWHERE).distance
    frame = 100 + 5 * np.nan_to_num(np.rint(distance))
    found = edge_profile(frame, distance)
    assert {place: found[place] for place in EDGE_DISTANCES} == {place: 100 + 5 * place for place in EDGE_DISTANCES}


def test_profiles_by_radius_and_angle() -> None:
    radius, angle = FAN.polar(SHAPE)
    rings = measure_profiles(np.floor((radius - 5) / 10)[None], FAN)
    assert [rings[f"radius {5 + 10 * n}-{15 + 10 * n} px"] for n in range(10)] == list(range(10))
    beams = measure_profiles(np.floor((angle + 50) / 10)[None], FAN)
    assert [beams[f"angle {-50 + 10 * n} to {-40 + 10 * n} deg"] for n in range(10)] == list(range(10))


def test_shares_and_naive_errors() -> None:
    assert shares_between(np.array([10.0, 30, 35, 80]), (30, 70)) == [25, 50, 25]
    ef = np.full(sum(PATIENTS), 60.0)
    ef[-PATIENTS[2] :] = 50
    measures = measure_naive(ef)
    assert measures["naive MAE on TEST, TRAIN median"] == 10
    assert measures["naive MAE on VAL, TRAIN median"] == 0
    assert measures["naive RMSE on TEST, TRAIN mean"] == 10


def test_judgement_and_table() -> None:
    target = Target("x", 2.0, 1.0, 3.0, "px", "made up")
    assert judge(target, np.array([1.0, 2.0, 9.0, np.nan])).passed is True
    assert judge(target, np.array([4.0])).passed is False
    assert judge(target, np.array([])).passed is None
    informs = target._replace(low=None, high=None)
    assert judge(informs, np.array([4.0])).passed is None
    text = report({"Part": [judge(target, np.array([4.0])), judge(informs, np.ones(3))]}, 2, "about")
    assert "| x | 4 |  | 2 | 1 to 3 | px | made up | **fail** |" in text
    assert "1 of 1 rows with a range fail" in text
    assert "- x: 4 px, range 1 to 3" in text


def test_every_target_is_measured_and_named_once() -> None:
    targets = [target for section in TARGETS.values() for target in section]
    names = {target.name for target in targets}
    assert len(names) == len(targets)
    assert all((target.low is None) == (target.high is None) for target in targets)
    assert all(target.low <= target.high for target in targets if target.low is not None)
    shares = np.linspace(0.1, 1, 200)
    of_list = measure_relations(70 * shares, 100 * shares, 50 * shares)
    measured = measure_clip(heart_clip()).keys() | of_list.keys()
    unmeasured = {name for name in names - measured if "irregular" not in name and "naive" not in name}
    columns = ("EF,", "EDV,", "ESV,", "fps", "frames,", "seconds,", "fewer than")
    assert {name for name in unmeasured if not name.startswith(columns)} == set()


def test_folder_is_read_as_it_was_drawn(phantom_folder: Path) -> None:
    settings = read_settings(phantom_folder)
    drawn = next(drawn_clips(settings))
    read = next(read_clips(phantom_folder, settings))
    np.testing.assert_array_equal(read.masks, drawn.masks)
    assert read.frames.shape == drawn.frames.shape
    assert np.abs(read.frames.astype(int) - drawn.frames).mean() < 3
    for name in ("ef", "ed_frame", "es_frame", "fps", "spacing_mm"):
        assert getattr(read, name) == pytest.approx(getattr(drawn, name), rel=0.02)
    np.testing.assert_allclose(read.volumes_ml, drawn.volumes_ml)


def test_the_command_prints_the_table(tmp_path: Path, phantom_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Small phantoms fail more rows than may: exit code 1, and the file holds what was printed."""
    out = tmp_path / "table.md"
    assert main(["--folder", str(phantom_folder), "--out", str(out)]) == 1
    text = capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == text
    assert text.startswith("# Likeness of phantom version 2 to real clips\n\n16 clips read from a folder, seed 0; ")
    assert all(f"| {target.name} |" in text for section in TARGETS.values() for target in section)


SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "phantom_likeness.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="a source distribution has no scripts")
def test_the_script_is_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    assert "How much the phantom looks like real clips" in capsys.readouterr().out
