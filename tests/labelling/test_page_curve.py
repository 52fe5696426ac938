"""The page computes the curve and the discs of a contour as the server does: JavaScript against Python."""

import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from helpers.label_page import PAGE, chromium, modules
from playwright.sync_api import Page

from echocycle.labelling.curve import closed_curve, contour_from, measure


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.new_page()
        modules(page)
        yield page


def drawn(rng: np.random.Generator, frame: int) -> dict[str, object]:
    """A contour as a hand might draw it: an oval with jitter, now and then with handles on one another or crossing."""
    n = int(rng.integers(6, 30))
    angle = np.sort(rng.uniform(0, 2 * np.pi, n)) - np.pi / 2
    jitter = 1 + rng.normal(0, rng.choice([0.02, 0.1, 0.4]), n)
    x = 56 + rng.uniform(12, 30) * np.cos(angle) * jitter
    y = 56 + rng.uniform(20, 45) * np.sin(angle) * jitter
    points = np.column_stack([x, y])
    if rng.random() < 0.2:
        points[1] = points[0]
    apex, one, other = (int(i) for i in rng.choice(n, 3, replace=False))
    return {"frame": frame, "points": points.tolist(), "apex": apex, "mitral": [one, other]}


def test_curve_is_the_same(page: Page) -> None:
    rng = np.random.default_rng(0)
    contours = [drawn(rng, 0) for _ in range(200)]
    found = page.evaluate(
        "async (all) => { const { curve } = await import('/static/curve.js'); return all.map((c) => curve(c.points)); }",
        contours,
    )
    for contour, points in zip(contours, found, strict=True):
        np.testing.assert_allclose(points, closed_curve(np.array(contour["points"])), atol=1e-9)


@pytest.mark.parametrize("spacing", [None, (0.51, 0.43)])
def test_discs_are_the_same(page: Page, spacing: tuple[float, float] | None) -> None:
    rng = np.random.default_rng(1)
    pairs = [(drawn(rng, 0), drawn(rng, 10)) for _ in range(200)]
    found = page.evaluate(
        """async ([pairs, spacing]) => {
             const { measure } = await import("/static/discs.js");
             return pairs.map(([ed, es]) => measure(ed, es, spacing));
           }""",
        [pairs, spacing],
    )
    for pair, js in zip(pairs, found, strict=True):
        python = measure(*(contour_from(each, 20, 112, 112) for each in pair), spacing)
        assert js["unit"] == python["unit"]
        for name in ("ef", "edv", "esv", "long_axis_ed", "long_axis_es"):
            assert js[name] == pytest.approx(python[name], rel=1e-6), name


def test_ellipsoid_has_its_volume(page: Page) -> None:
    """Half an ellipsoid of 80 mm length and 50 mm width: 4/3 pi a b^2 / 2 with a = 80, b = 25 is 104.7 ml."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 41)
    points = [[100 + 25 * np.sin(a), 100 - 80 * np.cos(a)] for a in angle]
    contour = {"frame": 0, "points": points, "apex": 20, "mitral": [0, 40]}
    volume = page.evaluate(
        "async (c) => (await import('/static/discs.js')).volume(c, [1, 1])", json.loads(json.dumps(contour))
    )
    assert volume["volume"] == pytest.approx(2 / 3 * np.pi * 80 * 25**2 / 1000, rel=0.01)
    assert volume["length"] == pytest.approx(80)


def test_handles_are_added_and_removed(page: Page) -> None:
    made = page.evaluate(
        """async () => {
             const c = await import("/static/curve.js");
             const oval = (n) => Array.from({ length: n }, (_, i) => [50 + 20 * Math.cos(2 * Math.PI * i / n), 50 + 30 * Math.sin(2 * Math.PI * i / n)]);
             const start = { frame: 3, points: oval(12), apex: 9, mitral: [2, 4] };
             const more = c.withAdded(start, 3, [1, 2]);
             return { start, more, back: c.withRemoved(more, 4), apex: c.withRemoved(start, 9), mitral: c.withRemoved(start, 4),
                      few: c.withRemoved({ ...start, points: oval(6), apex: 0, mitral: [2, 4] }, 1) };
           }"""
    )
    assert made["more"]["points"][4] == [1, 2]
    assert (made["more"]["apex"], made["more"]["mitral"]) == (10, [2, 5])
    assert made["back"] == made["start"]
    assert made["apex"] is made["mitral"] is made["few"] is None


def test_undo_and_redo_have_no_limit(page: Page) -> None:
    found = page.evaluate(
        """async () => {
             const { History } = await import("/static/history.js");
             const history = new History(0);
             for (let i = 1; i <= 5000; i += 1) history.push(i);
             const down = [], up = [];
             while (history.canUndo) down.push(history.undo());
             while (history.canRedo) up.push(history.redo());
             history.undo();
             history.push(-1);
             return { down: [down.length, down.at(-1)], up: [up.length, up.at(-1)], branch: history.canRedo, now: history.present };
           }"""
    )
    assert found == {"down": [5000, 0], "up": [5000, 5000], "branch": False, "now": -1}


def test_modules_are_short_and_ask_no_other_host() -> None:
    files = [file for file in PAGE.iterdir() if file.suffix in (".js", ".css", ".html", ".svg")]
    assert {"index.html", "main.js", "curve.js"} <= {file.name for file in files}
    for file in files:
        content = file.read_text(encoding="utf-8")
        assert len(content.splitlines()) < 400, file.name
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", content))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file.name
