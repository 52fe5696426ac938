"""What each pixel of the phantom shows, and the reader who traces it in a way of his own."""

from dataclasses import replace

import numpy as np
import pytest

from echocycle.phantom.clip import make_clip
from echocycle.phantom.picture import CAVITY, LEFT_ATRIUM, RIGHT_ATRIUM, RIGHT_VENTRICLE, SEPTUM, WALL
from echocycle.phantom.settings import PhantomSettings

SHORT = PhantomSettings(seed=5, frames_min=40, frames_median=44, frames_max=48)


@pytest.fixture(scope="module")
def clip():
    return make_clip(2, SHORT)


def middle(shown):
    return np.argwhere(shown).mean(0)


def test_parts_lie_where_they_belong(clip):
    parts, cavity = clip.parts[clip.ed_frame], clip.masks[clip.ed_frame]
    row, column = middle(cavity)
    assert middle(parts == SEPTUM)[1] < column < middle(parts == WALL)[1]
    assert middle(parts == RIGHT_VENTRICLE)[1] < middle(parts == SEPTUM)[1]
    assert middle(parts == LEFT_ATRIUM)[0] > row
    assert middle(parts == RIGHT_ATRIUM)[1] < middle(parts == LEFT_ATRIUM)[1]
    assert not parts[:20, :20].any()  # nothing outside the fan


@pytest.mark.parametrize("phase", ["ed_frame", "es_frame"])
def test_cavity_is_the_mask_of_a_reader_who_follows_the_eye(clip, phase):
    frame = getattr(clip, phase)
    shown, mask = clip.parts[frame] == CAVITY, clip.masks[frame]
    assert 2 * (shown & mask).sum() / (shown.sum() + mask.sum()) > 0.85  # its rim is rough, the mask's is not


def test_blood_is_darker_than_the_septum(clip):
    frame, parts = clip.frames[clip.ed_frame], clip.parts[clip.ed_frame]
    assert frame[parts == CAVITY].mean() < frame[parts == SEPTUM].mean()
    assert frame[parts == RIGHT_VENTRICLE].mean() < frame[parts == SEPTUM].mean()


def test_a_reader_who_traces_further_to_the_septum_traces_the_same_in_a_cavity_beside_it(clip):
    aside = make_clip(2, replace(SHORT, look=replace(SHORT.look, reader_side=4.0)))
    assert np.array_equal(aside.masks, clip.masks)
    assert np.array_equal(aside.chords, clip.chords)
    moved = middle(aside.parts[aside.ed_frame] == CAVITY) - middle(clip.parts[clip.ed_frame] == CAVITY)
    assert 2.5 < moved[1] < 5  # to the image's right


def test_the_right_ventricle_lies_where_asked(clip):
    higher = make_clip(2, replace(SHORT, look=replace(SHORT.look, right_ventricle_place=0.3)))
    assert np.array_equal(higher.masks, clip.masks)
    frame = clip.ed_frame
    assert middle(higher.parts[frame] == RIGHT_VENTRICLE)[0] < middle(clip.parts[frame] == RIGHT_VENTRICLE)[0] - 5
