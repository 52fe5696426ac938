"""Contours become the masks that their geometry says, also several at once or outside the frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from echocycle.datasets.tracing import split_traces, trace_area, trace_mask


def ellipse(centre=(56.0, 56.0), half_width=18.0, half_length=35.0):
    """A contour (21, 4): long axis from apex to base, then 20 evenly spaced discs, as EchoNet lists them."""
    x, y = centre
    heights = y - half_length + 2 * half_length * (np.arange(20) + 0.5) / 20
    half = half_width * np.sqrt(1 - ((heights - y) / half_length) ** 2)
    discs = np.stack([x - half, heights, x + half, heights], axis=1)
    return np.vstack([[x, y - half_length, x, y + half_length], discs])


def turned(chords, degrees, centre=(56.0, 56.0)):
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return ((chords.reshape(-1, 2) - centre) @ rotation.T + centre).reshape(-1, 4)


def echonet_mask(chords):
    """The public code, spelled out: drop row 0, go down x1 y1 and up x2 y2, round, fill."""
    import skimage.draw

    x1, y1, x2, y2 = chords[:, 0], chords[:, 1], chords[:, 2], chords[:, 3]
    x = np.concatenate((x1[1:], np.flip(x2[1:])))
    y = np.concatenate((y1[1:], np.flip(y2[1:])))
    rows, columns = skimage.draw.polygon(np.rint(y).astype(int), np.rint(x).astype(int), (112, 112))
    mask = np.zeros((112, 112), bool)
    mask[rows, columns] = True
    return mask


def test_one_contour_is_drawn_as_the_public_code_draws_it():
    chords = turned(ellipse(), 12)
    for multi_trace in ("first", "union", "vote", "code"):
        np.testing.assert_array_equal(trace_mask(chords, multi_trace=multi_trace), echonet_mask(chords))


@given(
    half_width=st.floats(8, 25),
    half_length=st.floats(30, 45),
    degrees=st.floats(-40, 40),
    round_vertices=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_area_of_an_ellipse(half_width, half_length, degrees, round_vertices):
    chords = turned(ellipse(half_width=half_width, half_length=half_length), degrees)
    pixels = trace_mask(chords, round_vertices=round_vertices).sum()
    discs_only = trace_area(chords)  # the discs end half a step before apex and base
    perimeter = 2 * np.pi * np.hypot(half_width, half_length) / np.sqrt(2)
    assert abs(pixels - discs_only) <= perimeter * (0.55 if round_vertices else 0.3)
    assert discs_only == pytest.approx(np.pi * half_width * half_length, rel=0.06)


def test_rectangle_on_whole_pixels_includes_its_border():
    heights = np.linspace(30, 68, 20)
    discs = np.stack([np.full(20, 40.0), heights, np.full(20, 60.0), heights], axis=1)
    mask = trace_mask(np.vstack([[50, 20, 50, 80], discs]))
    expected = np.zeros((112, 112), bool)
    expected[30:69, 40:61] = True
    assert (mask != expected).sum() <= 21 + 39  # scikit-image leaves out some border pixels
    assert mask[31:68, 41:60].all()
    assert not mask[~expected].any()


def test_half_coordinates_round_to_even():
    chords = np.array([[50, 20, 50, 80], [40.5, 30.5, 60.5, 30.5], [41.5, 50.5, 60.5, 50.5]])
    whole = np.array([[50, 20, 50, 80], [40, 30, 60, 30], [42, 50, 60, 50]])
    np.testing.assert_array_equal(trace_mask(chords), trace_mask(whole))


@given(
    arrays(float, st.tuples(st.integers(2, 70), st.just(4)), elements=st.floats(-300, 300)),
    st.sampled_from(["first", "union", "vote", "code"]),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_chords_give_a_mask_inside_the_frame(chords, multi_trace, round_vertices):
    mask = trace_mask(chords, height=40, width=60, multi_trace=multi_trace, round_vertices=round_vertices)
    assert mask.shape == (40, 60)
    assert mask.dtype == bool


def test_clipping_cuts_and_does_not_move():
    chords = ellipse(centre=(56, 8))
    large = trace_mask(chords + 50, height=212, width=212)
    np.testing.assert_array_equal(trace_mask(chords), large[50:162, 50:162])


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8])
def test_stacked_contours_are_split(count):
    contours = [turned(ellipse(half_width=15 + number), 3 * number) for number in range(count)]
    found = split_traces(np.vstack(contours))
    assert len(found) == count
    for contour, expected in zip(found, contours, strict=True):
        np.testing.assert_array_equal(contour, expected)


@pytest.mark.parametrize(("rows_lost", "kept"), [(slice(0, 1), 1), (slice(41, 42), 0), (slice(10, 11), 1)])
def test_of_41_rows_the_complete_contour_is_used(rows_lost, kept):
    contours = [ellipse(half_width=12), ellipse(half_width=20)]
    chords = np.delete(np.vstack(contours), rows_lost, axis=0)
    assert len(chords) == 41
    (found,) = split_traces(chords)
    np.testing.assert_array_equal(found, contours[kept])


@pytest.mark.parametrize("rows", [16, 18])
def test_an_incomplete_contour_is_drawn_from_what_is_there(rows):
    chords = ellipse()[:rows]
    assert split_traces(chords) == []
    np.testing.assert_array_equal(trace_mask(chords), echonet_mask(chords))
    assert 0 < trace_mask(chords).sum() < trace_mask(ellipse()).sum()


def test_rows_listed_twice_each_are_not_taken_for_a_contour():
    chords = np.repeat(ellipse(), 2, axis=0)
    assert split_traces(chords) == []
    np.testing.assert_array_equal(trace_mask(chords), trace_mask(chords, multi_trace="code"))


def test_what_becomes_of_several_contours():
    contours = [ellipse((50, 56)), ellipse((56, 56)), ellipse((62, 56))]
    masks = [echonet_mask(contour) for contour in contours]
    chords = np.vstack(contours)
    np.testing.assert_array_equal(trace_mask(chords, multi_trace="first"), masks[0])
    np.testing.assert_array_equal(trace_mask(chords, multi_trace="union"), np.any(masks, axis=0))
    np.testing.assert_array_equal(trace_mask(chords, multi_trace="vote"), np.sum(masks, axis=0) >= 2)
    np.testing.assert_array_equal(trace_mask(chords, multi_trace="code"), echonet_mask(chords))
    two = trace_mask(chords[:42], multi_trace="vote")
    np.testing.assert_array_equal(two, masks[0] & masks[1])


def test_bad_chords_are_refused():
    with pytest.raises(ValueError, match="shape"):
        trace_mask(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="not finite"):
        trace_mask(np.full((21, 4), np.nan))
    with pytest.raises(ValueError, match="multi_trace"):
        trace_mask(ellipse(), multi_trace="last")
