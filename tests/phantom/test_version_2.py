"""The phantom's second version: the old one is kept, disease and rhythm leave the truth exact, no shortcut to EF."""

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from echocycle.datasets.tracing import trace_mask
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.phantom.clip import make_clip
from echocycle.phantom.heart import draw_look, plan_clip
from echocycle.phantom.look import Look, Ranges
from echocycle.phantom.patient import draw_patient
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.convert import from_dict

SHORT = PhantomSettings(videos=4, val=1, test=1, seed=5, frames_min=40, frames_median=44, frames_max=48)

# Means of the 16 x 16 blocks in the middle of frame 3, rows 24 to 87, columns 40 to 71, as version 1 was published.
PUBLISHED = {
    0: [[63.3, 76.8], [41.2, 26.5], [66.2, 11.4], [130.1, 23.9]],
    1: [[49.5, 29.1], [64.4, 9.7], [90.8, 14.5], [99.0, 54.2]],
}


@pytest.mark.parametrize("index", PUBLISHED)
def test_version_1_is_drawn_as_it_was_published(index):
    clip = make_clip(index, replace(SHORT, version=1))
    blocks = clip.frames[3, 24:88, 40:72].reshape(4, 16, 2, 16).mean(axis=(1, 3))
    assert np.abs(blocks.round(1) - PUBLISHED[index]).max() < 0.5


def test_versions_differ_and_are_recorded(tmp_path):
    write_phantom(tmp_path / "old", replace(SHORT, version=1))
    write_phantom(tmp_path / "new", SHORT)
    assert read_json(tmp_path / "old" / "phantom.json")["phantom_version"] == 1
    assert read_json(tmp_path / "new" / "phantom.json")["phantom_version"] == 2
    with pytest.raises(EchocycleError, match="phantom version 1 there, 2 now"):
        write_phantom(tmp_path / "old", SHORT)


def test_settings_come_back_from_their_record():
    for settings in (SHORT, replace(SHORT, version=1), replace(SHORT, hospital="second", randomise=True)):
        assert from_dict(PhantomSettings, asdict(settings)) == settings


def test_version_1_takes_no_new_settings():
    for changes in ({"hospital": "second"}, {"randomise": True}, {"half_cycles": True}):
        with pytest.raises(EchocycleError, match="version 1 has one hospital"):
            replace(SHORT, version=1, **changes)


def find(settings, wanted, count=400):
    """Plans of the first patients of whom `wanted` is true."""
    plans = (plan_clip(index, settings) for index in range(count))
    return [plan for plan in plans if wanted(plan.patient)]


@pytest.mark.parametrize("pathology", ["dilated", "hypertrophic", "regional"])
def test_diseased_hearts_keep_their_volumes(pathology):
    """Disease changes the shape; EDV, ESV and EF are the patient's to the last digit, and the mask follows."""
    found = find(SHORT, lambda patient: patient.pathology == pathology)
    assert len(found) >= 8
    for plan in found[:8]:
        volumes, motion = plan.volumes_ml, plan.motion
        edv, esv = volumes[motion.ed_frame], volumes[motion.es_frame]
        assert edv == pytest.approx(plan.patient.edv_ml, rel=1e-9)
        assert 100 * (edv - esv) / edv == pytest.approx(plan.patient.ef, abs=1e-9)
        widths = np.hypot(*(plan.chords[:, 1:, 2:] - plan.chords[:, 1:, :2]).transpose(2, 0, 1))
        length = np.hypot(*(plan.chords[:, 0, 2:] - plan.chords[:, 0, :2]).T)
        discs = np.pi / 4 * (widths**2).sum(axis=1) * length / 20 * plan.heart.spacing_mm**3 / 1000
        assert discs == pytest.approx([edv, esv], rel=0.02)


def test_a_lagging_wall_moves_less_than_the_other():
    plans = find(SHORT, lambda patient: patient.pathology == "regional", 800)
    leaning = [plan for plan in plans if plan.heart.lean]
    assert leaning
    assert len(leaning) < len(plans)
    for plan in leaning[:6]:
        upright = replace(plan.heart, tilt=0.0, tilt_change=0.0, apex_x=0.0, apex_y=0.0)
        ed, es = upright.chords(0.0), upright.chords(1.0)
        left, right = es[11, 0] - ed[11, 0], ed[11, 2] - es[11, 2]  # how far each wall comes inwards at mid height
        assert (left < right) == (plan.heart.lean > 0)


def test_mask_of_a_leaning_ventricle_is_that_of_its_tracing():
    index = next(i for i in range(400) if plan_clip(i, SHORT).heart.lean)
    clip = make_clip(index, SHORT)
    for frame, chords in zip((clip.ed_frame, clip.es_frame), clip.chords, strict=True):
        mask, traced = clip.masks[frame], trace_mask(chords)
        assert 2 * (mask & traced).sum() / (mask.sum() + traced.sum()) > 0.95


def test_fibrillating_hearts_fill_more_after_a_longer_pause():
    long = replace(SHORT, irregular_share=1.0, frames_min=900, frames_median=900, frames_max=1002)
    assert plan_clip(0, long).patient.fibrillation
    pauses, volumes = [], []
    for index in range(12):
        plan = plan_clip(index, long)
        curve, fps = plan.volumes_ml, plan.patient.fps
        smallest = np.flatnonzero((curve[1:-1] < curve[:-2]) & (curve[1:-1] <= curve[2:])) + 1
        smallest = smallest[curve[smallest] < np.percentile(curve, 30)]
        for before, after in pairwise(smallest):
            if after - before > 0.4 * fps:
                pauses.append((after - before) / fps / plan.patient.rr_s)
                volumes.append(curve[before:after].max() / plan.patient.edv_ml)
    assert len(pauses) > 60
    assert np.corrcoef(pauses, volumes)[0, 1] > 0.4


def test_second_hospital_has_half_cycles_and_all_qualities():
    second = replace(SHORT, hospital="second")
    plans = find(second, lambda patient: True)
    for plan in plans[:20]:
        assert (plan.motion.ed_frame, plan.motion.es_frame) == (0, plan.patient.frames - 1)
    names = [plan.patient.quality_name for plan in plans]
    shares = [names.count(name) / len(names) for name in ("good", "medium", "poor")]
    assert shares == pytest.approx([0.35, 0.46, 0.19], abs=0.08)
    assert np.mean([plan.patient.ef for plan in plans]) == pytest.approx(52, abs=2.5)
    whole = plan_clip(0, replace(second, half_cycles=False))
    assert whole.patient.frames >= 40
    clip, usual = make_clip(0, second), make_clip(0, SHORT)

    def contrast(one):
        frame, mask = one.frames[0].astype(float), one.masks[0]
        return frame[(frame > 0) & ~mask].mean() / max(frame[mask].mean(), 1)

    assert contrast(clip) < contrast(usual)


def test_every_clip_has_its_own_look_within_the_ranges():
    settings = replace(SHORT, randomise=True)
    looks = [draw_look(index, settings) for index in range(50)]
    assert looks == [draw_look(index, settings) for index in range(50)]
    for name, (low, high) in asdict(settings.ranges).items():
        values = [getattr(look, name) for look in looks]
        assert low <= min(values) <= max(values) <= high, name
        assert (min(values) < max(values)) == (low < high), name
    assert draw_look(3, SHORT) == SHORT.look
    fixed = replace(settings, ranges=Ranges(cavity_level=(10.0, 10.0)))
    assert draw_look(0, fixed).cavity_level == 10
    with pytest.raises(EchocycleError, match=r"ranges\.blur is 2\.0 to 1\.0"):
        Ranges(blur=(2.0, 1.0))


@pytest.mark.parametrize("phase", [0, 1])
def test_mask_of_an_oblique_ventricle_is_that_of_its_tracing(phase):
    look = replace(SHORT.look, heart_oblique=0.3, heart_bend=2.0, drift=0.0)
    clip, usual = make_clip(1, replace(SHORT, look=look)), make_clip(1, SHORT)
    mask = clip.masks[(clip.ed_frame, clip.es_frame)[phase]]
    traced = trace_mask(clip.chords[phase])
    assert 2 * (mask & traced).sum() / (mask.sum() + traced.sum()) > 0.96
    assert clip.ef == usual.ef  # neither changes volumes
    rise = np.diff(clip.chords[phase, -1, [1, 3]]) - np.diff(usual.chords[phase, -1, [1, 3]])
    assert rise < -3  # the lateral hinge lies higher


def test_a_reader_who_leaves_out_tip_and_base_traces_the_same_in_a_larger_cavity():
    wide = replace(SHORT, look=replace(SHORT.look, reader_apex=5.0, reader_base=4.0))
    clip, usual = make_clip(2, wide), make_clip(2, SHORT)
    assert np.array_equal(clip.masks, usual.masks)
    assert np.array_equal(clip.chords, usual.chords)
    frame = clip.ed_frame
    top, bottom = np.flatnonzero(clip.masks[frame].any(1))[[0, -1]]
    columns = np.flatnonzero(clip.masks[frame][bottom - 4])
    below = np.s_[bottom - 1 : bottom + 3, columns[2] : columns[-2]]
    assert top > 5
    assert clip.frames[frame][below].mean() != usual.frames[frame][below].mean()


def test_every_ef_is_as_frequent_where_asked():
    settings = replace(SHORT, uniform_ef=(10.0, 80.0))
    efs = np.array([draw_patient(index, settings).ef for index in range(400)])
    assert efs.min() < 13
    assert efs.max() > 77
    assert np.histogram(efs, bins=7, range=(10, 80))[0].min() > 30
    with pytest.raises(EchocycleError, match="uniform_ef is 50"):
        replace(SHORT, uniform_ef=(50.0, 20.0))


def test_a_folder_of_before_a_setting_existed_is_still_known(tmp_path):
    out = tmp_path / "ph"
    write_phantom(out, SHORT)
    record = read_json(out / "phantom.json")
    del record["settings"]["uniform_ef"], record["settings"]["look"]["heart_bend"]
    del record["settings"]["ranges"]["reader_apex"]
    write_json(out / "phantom.json", record)
    write_phantom(out, SHORT)  # goes on with it
    with pytest.raises(EchocycleError, match="other settings"):
        write_phantom(out, replace(SHORT, uniform_ef=(10.0, 80.0)))


def test_randomised_hearts_stay_in_their_fans():
    settings = replace(SHORT, randomise=True)
    for index in range(12):
        clip = make_clip(index, settings)
        fan = clip.frames.max(axis=0) > 0
        assert clip.masks.any(axis=0)[~fan].mean() < 0.02


def test_own_look_survives_the_hospital():
    chosen = PhantomSettings(hospital="second", look=Look(cavity_level=5.0))
    assert chosen.look.cavity_level == 5
    assert chosen.look.fan_half_angle < Look().fan_half_angle


def cross_validated_r2(features: np.ndarray, true: np.ndarray, width: float, penalty: float) -> float:
    """R2 of kernel ridge regression with a Gaussian kernel, or a linear one for width 0, over ten folds."""
    z = (features - features.mean(0)) / (features.std(0) + 1e-9)
    products = z @ z.T / z.shape[1]
    squares = np.diag(products)
    kernel = np.exp(-(squares[:, None] + squares - 2 * products) / width) if width else products
    found, fold = np.zeros(len(true)), np.arange(len(true)) % 10
    for part in range(10):
        fit, rest = fold != part, fold == part
        mean = true[fit].mean()
        weights = np.linalg.solve(kernel[np.ix_(fit, fit)] + penalty * np.eye(fit.sum()), true[fit] - mean)
        found[rest] = mean + kernel[np.ix_(rest, fit)] @ weights
    return float(1 - ((true - found) ** 2).sum() / ((true - true.mean()) ** 2).sum())


def test_ef_cannot_be_read_off_one_frame_or_the_list():
    """What needs no motion explains less than 40 % of EF: the list, and grey statistics of one frame at random."""
    settings = PhantomSettings(videos=300, val=1, test=1, seed=3, frames_min=40, frames_median=44, frames_max=60)
    rng = np.random.default_rng(0)
    rows, true, known = [], [], []
    for index in range(240):
        clip = make_clip(index, settings)
        frame = clip.frames[rng.integers(len(clip.frames))].astype(float)
        blocks = frame.reshape(7, 16, 7, 16)
        statistics = [frame.mean(), frame.std(), *np.percentile(frame, (50, 75, 90, 95, 99))]
        rows.append(
            [clip.fps, len(clip.frames), *statistics, *blocks.mean((1, 3)).ravel(), *blocks.std((1, 3)).ravel()]
        )
        true.append(clip.ef)
        known.append([clip.edv_ml, clip.esv_ml])
    best = max(
        cross_validated_r2(np.array(rows), np.array(true), width, penalty)
        for width in (0, 1.0, 4.0)
        for penalty in (0.03, 0.3, 3.0)
    )
    assert best < 0.4
    # the same machinery finds EF where it can be found
    assert cross_validated_r2(np.log(known), np.array(true), 1.0, 0.03) > 0.8


def test_patients_are_listed(tmp_path):
    write_phantom(tmp_path / "all", SHORT)
    lines = Path(tmp_path / "all" / "Patients.csv").read_text().splitlines()
    assert lines[0] == "FileName,Quality,QualityName,Pathology,Foreshortened,Fibrillation"
    assert len(lines) == 1 + SHORT.videos


def test_a_reader_who_follows_the_tip_more_than_the_eye_traces_the_same():
    tight = replace(SHORT, look=replace(SHORT.look, reader_apex_tightness=0.6))
    clip, usual = make_clip(2, tight), make_clip(2, SHORT)
    assert np.array_equal(clip.masks, usual.masks)
    ed, es = clip.ed_frame, clip.es_frame
    assert np.abs(clip.frames[ed].astype(int) - usual.frames[ed]).mean() < 0.5  # nothing has moved yet
    assert np.abs(clip.frames[es].astype(int) - usual.frames[es]).mean() > 1


def test_failing_hearts_are_large_round_and_thin_walled_and_keep_their_ef():
    usual = replace(SHORT, uniform_ef=(10.0, 80.0))
    failing = replace(usual, remodelled_share=1.0)
    pairs = [(plan_clip(index, usual), plan_clip(index, failing)) for index in range(150)]
    poor = [pair for pair in pairs if pair[0].patient.ef < 25]
    assert len(poor) > 20

    def mean(number, plans):
        return np.mean([number(plan) for plan in plans])

    before, after = zip(*poor, strict=True)
    for number, factor in (
        (lambda plan: plan.heart.half_width / plan.heart.length, 1.05),
        (lambda plan: plan.heart.half_width, 1.05),
        (lambda plan: plan.heart.bluntness, 1.03),
        (lambda plan: plan.patient.systole_s, 1.03),
    ):
        assert mean(number, after) > factor * mean(number, before)
    for number, factor in (
        (lambda plan: plan.heart.wall, 0.9),
        (lambda plan: plan.heart.shortening, 0.85),
        (lambda plan: plan.motion.valve.max(), 0.8),
    ):
        assert mean(number, after) < factor * mean(number, before)
    for _, plan in pairs:
        volumes = plan.volumes_ml
        ef = 100 * (1 - volumes[plan.motion.es_frame] / volumes[plan.motion.ed_frame])
        assert ef == pytest.approx(plan.patient.ef)
    healthy = [pair for pair in pairs if pair[0].patient.ef >= 50]
    assert healthy
    assert all(one.heart == other.heart for one, other in healthy)


def test_without_remodelling_patients_are_as_they_were():
    for index in range(20):
        assert plan_clip(index, replace(SHORT, remodelled_share=0.0)).patient.remodelled == 0.0
    with pytest.raises(EchocycleError, match="remodelled_share is 1.5"):
        replace(SHORT, remodelled_share=1.5)
