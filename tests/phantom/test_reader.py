"""Readers' outlines against geometry that is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from skimage.draw import polygon2mask

from echocycle.errors import EchocycleError
from echocycle.phantom.clip import label_of
from echocycle.phantom.heart import plan_clip
from echocycle.phantom.reader import WAVES, Hand, as_read, draw_hands, volume_ratio
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom

NO_WAVES = np.zeros((2, 1 + WAVES))


def cylinder(length: float = 60.0, width: float = 30.0) -> np.ndarray:
    """A straight tube as a tracing, apex up."""
    chords = np.empty((21, 4))
    chords[0] = 50, 20, 50, 20 + length
    s = (np.arange(20) + 0.5) / 20
    s[0], s[-1] = 0.01, 1
    chords[1:, 0], chords[1:, 2] = 50 - width / 2, 50 + width / 2
    chords[1:, 1] = chords[1:, 3] = 20 + s * length
    return chords


def mask_of(chords: np.ndarray) -> np.ndarray:
    points = np.concatenate([chords[1:, :2], chords[:0:-1, 2:]])
    return polygon2mask((112, 112), points[:, ::-1])


def test_a_hand_that_adds_nothing_draws_the_truth() -> None:
    assert np.allclose(as_read(cylinder(), Hand(0.0, 0.0, NO_WAVES)), cylinder())


def test_a_longer_axis_scales_the_volume() -> None:
    read = as_read(cylinder(), Hand(-3.0, 3.0, NO_WAVES))
    assert volume_ratio(read, cylinder()) == pytest.approx(66 / 60)


def test_wider_sides_scale_the_volume_with_the_square_away_from_the_tip() -> None:
    sides = NO_WAVES.copy()
    sides[:, 0] = 1.5  # 3 px wider in all
    read = as_read(cylinder(), Hand(0.0, 0.0, sides))
    widths = read[1:, 2] - read[1:, 0]
    assert widths[8:] == pytest.approx(33.0)
    assert 30 < widths[0] < 31  # sides meet at the tip


def test_sides_never_cross() -> None:
    sides = NO_WAVES.copy()
    sides[:, 0] = -40.0
    read = as_read(cylinder(), Hand(0.0, 0.0, sides))
    assert (read[1:, 2] >= read[1:, 0]).all()


def test_two_readers_agree_as_people_do() -> None:
    settings = PhantomSettings(world="hard", videos=80, val=1, test=1)
    dice, first, second = [], [], []
    for index in range(60):
        plan = plan_clip(index, settings)
        hands = draw_hands(1.0, np.random.default_rng([5, index]))
        others = [as_read(chords, hand) for chords, hand in zip(plan.true_chords, hands, strict=True)]
        for one, other in zip(plan.chords, others, strict=True):
            a, b = mask_of(one), mask_of(other)
            dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        true = [plan.volumes_ml[plan.motion.ed_frame], plan.volumes_ml[plan.motion.es_frame]]
        ratios = [volume_ratio(o, t) for o, t in zip(others, plan.true_chords, strict=True)]
        first.append(label_of(plan)[2])
        second.append(100 * (1 - true[1] * ratios[1] / (true[0] * ratios[0])))
    assert 0.92 < np.mean(dice) < 0.945
    assert 2.5 < np.abs(np.subtract(first, second)).mean() < 6


def test_without_noise_labels_are_the_truth() -> None:
    settings = PhantomSettings(videos=10, val=1, test=1)
    plan = plan_clip(3, settings)
    assert plan.hands is None
    assert np.array_equal(plan.chords, plan.true_chords)
    volumes = plan.volumes_ml
    assert label_of(plan)[:2] == (volumes[plan.motion.ed_frame], volumes[plan.motion.es_frame])


def test_the_hard_world_is_a_set_of_settings_and_what_is_named_wins() -> None:
    hard = PhantomSettings(world="hard")
    assert (hard.randomise, hard.reader_noise, hard.foreshortened_share) == (True, 1.0, 0.35)
    assert hard.look.dropout_share == 0.8
    own = PhantomSettings(world="hard", reader_noise=0.5, foreshortened_share=0.2)
    assert (own.reader_noise, own.foreshortened_share, own.randomise) == (0.5, 0.2, True)
    again = PhantomSettings(**{**{f: getattr(hard, f) for f in ("world", "look", "ranges", "reader_noise")}})
    assert again == hard


def test_noise_outside_its_range_is_refused() -> None:
    with pytest.raises(EchocycleError, match="reader_noise"):
        PhantomSettings(reader_noise=-1)


def test_the_lists_of_the_hard_world_are_plain_numbers(tmp_path: Path) -> None:
    settings = PhantomSettings(
        world="hard", videos=3, val=1, test=1, frames_min=28, frames_median=28, frames_max=40, seed=4
    )
    write_phantom(tmp_path / "P", settings)
    listed = pd.read_csv(tmp_path / "P" / "FileList.csv")
    assert [str(listed[name].dtype) for name in ("EF", "EDV", "ESV")] == ["float64"] * 3
    assert listed["EF"].to_numpy() == pytest.approx(100 * (1 - listed["ESV"] / listed["EDV"]).to_numpy(), abs=1e-9)
