"""The curve through the handles, its discs, and contours that are made of masks or come from outside."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers.labelling import oval

from echocycle.cardiac.discs import disc_volume
from echocycle.errors import EchocycleError
from echocycle.labelling.curve import Contour, closed_curve, contour_from, contour_of_mask, measure


def slow_curve(handles: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same curve, point by point: what the page computes."""
    found = []
    n = len(handles)
    for i in range(n):
        p = [handles[(i + k) % n] for k in (-1, 0, 1, 2)]
        t = [0.0]
        for a, b in pairwise(p):
            t.append(t[-1] + max(math.sqrt(math.dist(a, b)), 1e-4))
        for k in range(8):
            u = t[1] + (t[2] - t[1]) * k / 8

            def mix(a, b, low, high, u=u):
                return tuple(((high - u) * x + (u - low) * y) / (high - low) for x, y in zip(a, b, strict=True))

            a1, a2, a3 = (mix(p[j], p[j + 1], t[j], t[j + 1]) for j in range(3))
            b1, b2 = mix(a1, a2, t[0], t[2]), mix(a2, a3, t[1], t[3])
            found.append(mix(b1, b2, t[1], t[2]))
    return found


def slow_volume(contour: Contour, row: float = 1.0, column: float = 1.0) -> tuple[float, float]:
    """Discs of the curve, edge by edge: what the page computes."""
    curve = [(x * column, y * row) for x, y in slow_curve(list(contour.points))]
    marks = [(contour.points[i][0] * column, contour.points[i][1] * row) for i in (contour.apex, *contour.mitral)]
    apex, base = marks[0], ((marks[1][0] + marks[2][0]) / 2, (marks[1][1] + marks[2][1]) / 2)
    length = math.dist(apex, base)
    ux, uy = (base[0] - apex[0]) / length, (base[1] - apex[1]) / length
    total = 0.0
    for j in range(20):
        level, width = (j + 0.5) / 20 * length, 0.0
        for a, b in zip(curve, curve[1:] + curve[:1], strict=True):
            s0, s1 = ((p[0] - apex[0]) * ux + (p[1] - apex[1]) * uy for p in (a, b))
            t0, t1 = ((p[0] - apex[0]) * -uy + (p[1] - apex[1]) * ux for p in (a, b))
            if (s0 <= level) != (s1 <= level):
                width += math.copysign(1, s1 - s0) * (t0 + (level - s0) / (s1 - s0) * (t1 - t0))
        total += width**2
    return math.pi / 4 * total * length / 20, length


def test_the_curve_is_the_one_that_is_written_down():
    handles = [(50.0, 20.0), (60.0, 40.0), (65.0, 70.0), (55.0, 75.0), (40.0, 70.0), (42.0, 40.0), (42.0, 40.0)]
    made = closed_curve(np.array(handles))
    np.testing.assert_allclose(made, slow_curve(handles), atol=1e-9)
    np.testing.assert_allclose(made[::8], handles)


def test_the_curve_of_an_ellipse_is_nearly_one():
    curve = oval().curve()
    radius = np.hypot((curve[:, 0] - 56) / 18, (curve[:, 1] - 60) / 30)
    assert np.abs(radius - 1).max() < 0.02


@pytest.mark.parametrize("spacing", [None, (0.4, 0.6)])
def test_volume_is_that_of_the_edges_one_by_one(spacing):
    contour = oval()
    volume, length = contour.volume(spacing)
    slow, slow_length = slow_volume(contour, *(spacing or (1, 1)))
    assert volume == pytest.approx(slow / (1000 if spacing else 1), rel=1e-9)
    assert length == pytest.approx(slow_length)


def test_volume_is_about_that_of_the_mask():
    contour = oval()
    of_mask = disc_volume(contour.mask(112, 112))
    # the mask's axis reaches to where the curve is left, the contour's to the middle between its mitral handles
    assert contour.volume()[0] == pytest.approx(of_mask.volume, rel=0.05)


def test_a_mask_gives_twelve_handles_whose_curve_is_the_mask():
    truth = oval(frame=7, wide=20, high=33)
    mask = truth.mask(112, 112)
    made = contour_of_mask(mask, 7)
    assert made is not None
    assert len(made.points) == 12
    assert made.frame == 7
    again = made.mask(112, 112)
    assert 2 * (mask & again).sum() / (mask.sum() + again.sum()) > 0.98
    assert made.points[made.apex][1] == pytest.approx(27, abs=1.5)
    assert all(made.points[end][1] > 75 for end in made.mitral)
    xs = sorted(made.points[end][0] for end in made.mitral)
    assert xs[0] < 50 < 62 < xs[1]


@pytest.mark.parametrize("mask", [np.zeros((40, 40), bool), np.eye(40, dtype=bool) & (np.arange(40) == 5)])
def test_no_ventricle_gives_no_contour(mask):
    assert contour_of_mask(mask, 0) is None


def test_moving_there_and_back_is_nothing():
    affine = np.array([[3.2, 0.1, 40.0], [0.2, 2.9, -7.0]])
    back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
    contour = oval()
    np.testing.assert_allclose(contour.moved(affine).moved(back).points, contour.points)
    # the centre of pixel (0, 0) lies at (0.5, 0.5) of the contour
    point = Contour(0, ((0.5, 0.5), (1, 1), (2, 0)), 0, (1, 2)).moved(affine).points[0]
    assert point == pytest.approx((40.5, -6.5))


def test_a_contour_comes_through_json_as_it_was():
    contour = oval(3)
    assert contour_from(contour.as_json(), 10, 112, 112).as_json() == contour.as_json()


GOOD: dict[str, Any] = oval(3).as_json()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame": 10}, "0 to 9"),
        ({"frame": True}, "frame"),
        ({"frame": 1.5}, "frame"),
        ({"points": [[0, 0], [1, 1]]}, "3 to 200"),
        ({"points": [[0, 0]] * 201}, "3 to 200"),
        ({"points": [[0, 0], [1, 1], [math.nan, 2]]}, "finite"),
        ({"points": [[0, 0], [1, 1], [math.inf, 2]]}, "finite"),
        ({"points": [[0, 0], [1, 1], ["2", 2]]}, "finite"),
        ({"points": [[0, 0], [1, 1], [2]]}, "two finite"),
        ({"points": [[0, 0], [1, 1], [300, 2]], "apex": 0, "mitral": [1, 2]}, "outside"),
        ({"apex": 5}, "different handles"),
        ({"apex": 12}, "different handles"),
        ({"mitral": [5]}, "different handles"),
        ({"mitral": None}, "different handles"),
    ],
)
def test_what_is_no_contour_is_refused(change, said):
    with pytest.raises(EchocycleError, match=said):
        contour_from({**GOOD, **change}, 10, 112, 112)


def test_what_is_no_object_is_refused():
    with pytest.raises(EchocycleError, match="object"):
        contour_from([1, 2], 10, 112, 112)


def test_ef_of_a_pair():
    ed, es = oval(0), oval(9, wide=14, high=26)
    found = measure(ed, es, (0.5, 0.5))
    assert found["unit"] == "ml"
    assert found["ef"] == pytest.approx(100 * (1 - (14 / 18) ** 2 * 26 / 30), abs=0.5)
    assert found["edv"] == pytest.approx(ed.volume((0.5, 0.5))[0])
    assert found["note"] is None
    assert "exchanged" in measure(es, ed, None)["note"]
    assert "begin at the apex" in measure(ed, oval(9, high=15), None)["note"]


def test_an_axis_without_length_has_no_volume():
    flat = Contour(0, ((5, 5), (0, 5), (5, 9), (10, 5)), 0, (1, 3))
    with pytest.raises(EchocycleError, match="long axis"):
        flat.volume()
