"""Figures are SVG that can be parsed, say their numbers, and are the same every time."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from echocycle.errors import EchocycleError
from echocycle.evaluation.intervals import Interval
from echocycle.evaluation.metrics import bias, limits_of_agreement, mae, r2
from echocycle.reporting.figures import (
    PANELS_PER_FIGURE,
    Comparison,
    bland_altman_figure,
    interval_figure,
    losses_figure,
    overlay_figure,
    read_losses,
    scatter_figure,
)


def words(svg: str) -> list[str]:
    """All text of an SVG, which must be well-formed."""
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text and element.text.strip()]


def cohort(videos: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    true = random.normal(56, 10, videos)
    return true, true + random.normal(0.5, 5, videos)


def masks() -> np.ndarray:
    rows, columns = np.mgrid[:24, :32]
    return np.stack([((rows - 12) ** 2 + (columns - 16) ** 2) < size**2 for size in (8, 5, 4)])


def test_scatter_says_its_numbers_and_repeats_itself():
    true, pred = cohort()
    panels = [Comparison("student", true, pred), Comparison("teacher", true, true + 1)]
    svg = scatter_figure(panels).svg
    text = words(svg)
    assert {"student", "teacher", "n = 40", f"MAE {mae(true, pred):.2f}", "MAE 1.00"} <= set(text)
    assert f"R² {100 * r2(true, pred):.1f} %" in text
    assert svg == scatter_figure(panels).svg


def test_bland_altman_says_bias_and_limits():
    true, pred = cohort()
    text = words(bland_altman_figure([Comparison("student", true, pred)]).svg)
    for value in (bias(true, pred), *limits_of_agreement(true, pred)):
        assert f"{value:+.1f}".replace("-", "−") in text


def test_panels_are_limited_and_checked():
    true, pred = cohort()
    with pytest.raises(EchocycleError, match="13 panels"):
        scatter_figure([Comparison("student", true, pred)] * (PANELS_PER_FIGURE + 1))
    with pytest.raises(EchocycleError, match="nothing to draw"):
        bland_altman_figure([])
    with pytest.raises(EchocycleError, match="predicted values are missing"):
        scatter_figure([Comparison("student", [1, 2], [1, np.nan])])


def test_intervals():
    rows = [("student", Interval(4.06, 3.9, 4.23)), ("undefined", Interval(5.5, np.nan, np.nan))]
    assert {"student", "undefined", "4.06", "5.50", "MAE"} <= set(words(interval_figure(rows, "MAE").svg))


def test_losses(tmp_path: Path):
    steps = np.arange(1000)
    table = pd.DataFrame({"step": steps, "loss": 100 * np.exp(-steps / 100) + 0.1})
    table["val"] = np.where(steps % 250 == 0, 3.0, np.nan)
    table.to_csv(tmp_path / "losses.csv", index=False)
    other = pd.DataFrame({"step": [0], "css": [2.0]})
    svg = losses_figure({"student": read_losses(tmp_path / "losses.csv"), "segmenter": other}).svg
    assert {"loss", "val", "css", "student", "segmenter", "step"} <= set(words(svg))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing"),
        ("", "not a readable CSV"),
        ("epoch,loss\n1,2\n", "column 'step' is missing"),
        ("step,loss\n1,much\n", "column 'loss' must hold numbers"),
        ("step,loss\n,2\n", "column 'step' must not be empty"),
    ],
)
def test_broken_losses_are_named(tmp_path: Path, text: str | None, message: str):
    path = tmp_path / "losses.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EchocycleError, match=message) as error:
        read_losses(path)
    assert "losses.csv" in str(error.value)


def test_no_losses():
    with pytest.raises(EchocycleError, match="no losses"):
        losses_figure({"student": pd.DataFrame({"step": [1], "loss": [np.nan]})})


def test_overlays():
    frames = np.full((3, 24, 32), 90, np.uint8)
    predicted = masks().astype(float) * 0.8
    predicted[2] = 0
    svg = overlay_figure(frames, masks(), predicted, ["one", "two", "three"]).svg
    assert {"one", "two", "three", "true", "predicted"} <= set(words(svg))
    assert svg.count("data:image/png;base64") == 3
    assert "predicted" not in words(overlay_figure(frames, masks(), None).svg)
    assert "true" not in words(overlay_figure(frames, None, None).svg)
    with pytest.raises(EchocycleError, match="true masks"):
        overlay_figure(frames, masks()[:2], None)
    with pytest.raises(EchocycleError, match="1 captions for 3"):
        overlay_figure(frames, None, None, ["one"])
    with pytest.raises(EchocycleError, match="shape"):
        overlay_figure(frames[0], None, None)
