"""Doubts: sound recordings raise none, each kind of trouble raises its own, and two EF that contradict are both shown."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from echocycle.calibration import Calibration, Known
from echocycle.cardiac.beats import Beat
from echocycle.cardiac.discs import ef_by_discs
from echocycle.cardiac.rhythm import rhythm_of
from echocycle.inference.flags import GRAVITY, flags_of_signs
from echocycle.inference.judge import headline_of, judged, no_interval
from echocycle.inference.measured import Measured, with_clips, with_masks
from echocycle.inference.signs import Signs, signs_of, sureness, turned
from echocycle.phantom.clip import make_clip
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.spoilt import KINDS, SOUND, spoilt_recording
from echocycle.prediction import EfInterval, Prediction
from echocycle.recordings.decline import TRANSESOPHAGEAL
from echocycle.writers.overlay import notices

SETTINGS = PhantomSettings(seed=404, frames_min=90, frames_median=100, frames_max=100, irregular_share=0.0)


def signs(frames: np.ndarray, masks: np.ndarray, fps: float) -> Signs:
    """Signs of frames and bool masks."""
    discs = ef_by_discs(masks, fps, every_frame=True)
    return signs_of(frames, masks, fps, discs, rhythm_of(discs.area, [Beat(b.ed, b.es) for b in discs.beats], fps))


def codes(found: Signs) -> set[str]:
    """The codes of the flags."""
    return {flag.code for flag in flags_of_signs(found)}


@pytest.fixture(scope="module")
def clip():
    """A clip and its true masks, the segmenter's part played by the truth."""
    return make_clip(1, SETTINGS)


@pytest.fixture(scope="module")
def sound(clip) -> Signs:
    return signs(clip.frames, clip.masks, clip.fps)


def test_sound_clips_raise_no_flag(sound: Signs) -> None:
    assert codes(sound) == set()
    assert sound.whole_beats >= 1
    assert 0.25 < sound.systole_s < 0.5
    for index, hospital in ((2, "first"), (0, "second"), (1, "second")):
        other = make_clip(index, replace(SETTINGS, hospital=hospital, half_cycles=False))
        assert codes(signs(other.frames, other.masks, other.fps)) == set(), (index, hospital)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("black_frames", "dark_frames"),
        ("shuffled", "abrupt_changes"),
        ("noise", "no_ventricle_seen"),
        ("wrong_fps", "heart_rate"),
        ("spliced", "cut"),
        ("probe_moves", "abrupt_changes"),
        ("no_ventricle", "no_ventricle_seen"),
        ("m_mode", "no_fan"),
    ],
)
def test_each_kind_raises_its_flag(clip, kind: str, expected: str) -> None:
    """With the masks of the sound clip, which no segmenter would find there."""
    made = spoilt_recording(kind, 1, SETTINGS)
    assert expected in codes(signs(made.frames, clip.masks[: len(made.frames)], made.fps))


def test_masks_raise_flags(clip, sound: Signs) -> None:
    half = slice(0, 14)
    assert "few_cycles" in codes(signs(clip.frames[half], clip.masks[half], clip.fps))
    still = np.repeat(clip.masks[:1], len(clip.masks), 0)
    assert "hardly_moves" in codes(signs(clip.frames, still, clip.fps))
    jumping = np.stack([np.roll(mask, 12 * (number % 2), 1) for number, mask in enumerate(clip.masks)])
    assert "masks_jump" in codes(signs(clip.frames, jumping, clip.fps))
    lost = clip.masks.copy()
    lost[::4] = False
    assert "ventricle_lost" in codes(signs(clip.frames, lost, clip.fps))
    flipped = signs(clip.frames[:, ::-1], clip.masks[:, ::-1], clip.fps)
    assert flipped.tilt > 140
    assert "not_apical" in codes(flipped)
    up = np.zeros_like(clip.masks)
    first = int(np.flatnonzero(clip.masks.any((0, 2)))[0]) - 5
    up[:, : 112 - first] = clip.masks[:, first:]
    assert codes(signs(clip.frames, up, clip.fps)) & {"apex_cut_off", "leaves_sector"}
    aside = np.roll(clip.masks, 34, 2)
    aside[:, :, :34] = False
    assert codes(signs(clip.frames, aside, clip.fps)) & {"leaves_sector", "no_ventricle_seen"}
    assert codes(replace(sound, fps=12.0)) == {"frame_rate"}
    assert codes(replace(sound, fps=math.nan)) == set()
    assert codes(replace(sound, sureness=0.3, turned_sureness=0.2)) == {"unsure_masks"}
    assert codes(replace(sound, sureness=0.6, turned_sureness=0.7)) == {"upside_down"}
    nothing = Signs(**{field.name: 0 if field.name == "whole_beats" else math.nan for field in fields(Signs)})
    assert codes(nothing) == {"few_cycles", "not_apical"}


def test_sureness() -> None:
    probabilities = np.array([0, 20, 30, 100, 218, 255], np.uint8)
    assert sureness(probabilities) == 0.5
    assert sureness(np.zeros(4, np.uint8)) == 0
    frames = np.arange(40, dtype=np.uint8)[:, None, None] + np.zeros((40, 3, 2), np.uint8)
    frames[:, 0] = 200
    assert turned(frames).shape == (10, 3, 2)
    assert (turned(frames)[:, -1] == 200).all()
    assert turned(frames[:3]).shape == (3, 3, 2)


# --- the result -------------------------------------------------------------------------------------


def result_of(clip, ef: float | None) -> tuple[Prediction, Measured]:
    """A result with the true masks, and an EF network's answer."""
    frames = len(clip.frames)
    clips = [] if ef is None else [(start, ef + start % 3 - 1) for start in range(0, 50, 4)]
    empty = Prediction("a.avi", ef, "", clip.fps, frames, clip.spacing_mm, ef_clips=clips, frames=clip.frames)
    found, measured = with_masks(empty, clip.masks.astype(np.uint8) * 255, usable=True)
    return with_clips(found, 46) if clips else replace(found, ef=found.ef_by_discs), measured


def judge(found: Prediction, measured: Measured, calibration: Calibration | None = None, **more) -> Prediction:
    given = {"unlike": [], "unlikeness": math.nan, "header": [], "sure": (0.7, 0.2)} | more
    return judged(found, measured, calibration, **given)


def test_measures_of_a_phantom_clip(clip) -> None:
    found, _ = result_of(clip, 60.0)
    assert found.volume_unit == "ml"
    assert found.ef_by_discs == pytest.approx(clip.ef, abs=4)
    assert found.edv == pytest.approx(clip.edv_ml, rel=0.1)
    assert found.ef_area_length == pytest.approx(found.ef_by_discs, abs=4)
    assert len(found.volume_curve) == found.n_frames
    assert np.corrcoef(found.volume_curve, clip.volumes_ml)[0, 1] > 0.98
    assert found.heart_rate is not None
    assert 40 < found.heart_rate < 120
    assert [beat.ed for beat in found.beats] == found.ed_frames
    assert any(beat.ef_by_regression is not None for beat in found.beats)
    assert 3 < (found.axis_shortening or 0) < 30
    assert 5 < (found.longitudinal_shortening or 0) < 40
    unknown = Prediction("a.avi", None, "", math.nan, found.n_frames)
    without, _ = with_masks(unknown, clip.masks.astype(np.uint8) * 255, usable=True)
    assert (without.volume_unit, without.heart_rate) == ("px3", None)
    assert all(beat.rate is None for beat in without.beats)


def test_two_ef_that_contradict_are_both_shown(clip) -> None:
    found, _ = result_of(clip, 60.0)
    agreeing = judge(*result_of(clip, found.ef_by_discs + 2))
    assert (agreeing.headline, agreeing.flagged) == ("regression", False)
    assert agreeing.answer == agreeing.ef
    assert agreeing.interval == no_interval()
    apart = judge(*result_of(clip, found.ef_by_discs + 25))
    assert apart.headline == "neither"
    assert apart.answer is None
    assert apart.flags[0].code == "disagreement"
    assert "Neither is the answer" in apart.headline_reason
    assert apart.answer_in_words(0).startswith("EF unclear: ")
    assert notices(apart)[0].startswith("The EF is ")
    alone = judge(*result_of(clip, None))
    assert (alone.headline, alone.interval) == ("discs", None)
    assert alone.answer == alone.ef_by_discs
    assert headline_of(None, None, None, None)[0] == "none"
    assert headline_of(50.0, None, no_interval(), None)[0] == "regression"


def test_intervals_decide_what_contradicts() -> None:
    def interval(half: float, kind: str = "conformal") -> EfInterval:
        return EfInterval(50 - half, 50 + half, 0.9, kind, 200, "")

    assert headline_of(60, 48, interval(6), interval(8))[0] == "neither"  # more than 10
    assert headline_of(60, 51, interval(6), interval(8))[0] == "regression"
    assert headline_of(60, 46, interval(16, "naive"), interval(16, "naive"))[0] == "regression"  # the usual 15
    assert headline_of(69, 46, interval(16, "naive"), no_interval())[0] == "neither"


def test_a_calibrated_result_has_interval_and_category(clip) -> None:
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.uniform(20, 50, 150), rng.normal(62, 5, 250)])
    known = Known(true, true + rng.normal(0, 3, 400), np.ones(400))
    found = judge(*result_of(clip, 60.0), Calibration(15.0, 100, "strided", regression=known, discs=known))
    assert found.interval is not None
    assert found.interval.kind == "conformal"
    assert found.interval.low is not None
    assert 50 < found.interval.low < 60
    assert found.interval_by_discs is not None
    if found.headline == "regression":
        assert found.category_probabilities["50_and_more"] > 0.9
    assert found.ef_disagreement == pytest.approx(60.0 - found.ef_by_discs, abs=1)


def test_the_gravest_comes_first(clip) -> None:
    found, measured = result_of(clip, 60.0)
    unmeasured = replace(found, ef=None, not_measured="The left ventricle was found in 3 of 90 frames only.")
    unlike = ["Unlike the training videos: sharpness is 3.", "Unlike the training videos: frames a second is 300."]
    judged_so = judge(replace(unmeasured, irregular=True, rate_variation=30.0), measured, unlike=unlike,
                      header=[TRANSESOPHAGEAL])  # fmt: skip
    severities = [flag.severity for flag in judged_so.flags]
    assert severities == sorted(severities, key=GRAVITY.index)
    assert [flag.code for flag in judged_so.flags] == [
        "not_measured", "unlike_training", "other_kind", "irregular_rhythm",
    ]  # fmt: skip
    assert judged_so.headline == "none"
    one = judge(found, measured, unlike=unlike[:1])
    assert [flag.severity for flag in one.flags if flag.code == "unlike_training"] == ["note"]


def test_spoilt_recordings_can_be_made_again() -> None:
    short = replace(SETTINGS, frames_min=28, frames_median=28, frames_max=36)
    for kind in (SOUND, *KINDS):
        first, again = (spoilt_recording(kind, 3, short) for _ in range(2))
        assert first.frames.dtype == np.uint8
        assert first.frames.shape[1:3] == (112, 112)
        assert np.array_equal(first.frames, again.frames), kind
        assert first.fps > 0
    assert spoilt_recording("colour_box", 3, short).frames.shape[-1] == 3
