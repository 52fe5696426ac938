"""The report holds every number, asks no other host for anything, and names what is missing."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.evaluation.intervals import bootstrap_interval, paired_difference, paired_t
from echocycle.evaluation.metrics import METRICS, mean_and_sd, pooled_dice
from echocycle.evaluation.summaries import ef_metrics
from echocycle.evaluation.tables import PREDICTIONS, VOLUMES, dice_row
from echocycle.reporting.blocks import (
    DISCLAIMER,
    Beware,
    Missing,
    Page,
    Table,
    count,
    number,
    p_value,
    plain,
)
from echocycle.reporting.html import write_html
from echocycle.reporting.markdown import write_markdown
from echocycle.reporting.run_data import LabelCounts, Overlays, Provenance, ReportData, RunReport
from echocycle.reporting.sections import report_page

VIDEOS = 30
TRUE = np.random.default_rng(0).normal(56, 10, VIDEOS).clip(15, 80)
NAMES = [f"v{number:03d}" for number in range(VIDEOS)]


def predictions(run: str, method: str, seed: int | None, noise: float, clips: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(0 if seed is None else seed + 10)
    rows = [
        (run, method, seed, "test", name, name, "all_clips", start, ef, ef + random.normal(0, noise))
        for name, ef in zip(NAMES, TRUE, strict=True)
        for start in range(clips)
    ]
    return pd.DataFrame(rows, columns=list(PREDICTIONS))


def dice() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for name in NAMES[:6]:
        for phase, size in (("ED", 9), ("ES", 6)):
            true = np.zeros((24, 24), bool)
            true[4 : 4 + size, 6 : 6 + size] = True
            rows.append(dice_row("seg", "test", name, phase, true, np.roll(true, random.integers(1, 3), 1)))
    return pd.DataFrame(rows)


def volumes() -> pd.DataFrame:
    rows = [
        ("seg", "test", name, name, ef, ef + 2, ef - 1, 80.0, 40.0, "ml", 1600.0, 900.0, 3, "")
        for name, ef in zip(NAMES[:9], TRUE, strict=False)
    ]
    rows.append(("seg", "test", "lost", "lost", 50.0, *[None] * 4, "ml", None, None, 0, "no frame has a mask"))
    return pd.DataFrame(rows, columns=list(VOLUMES))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    losses = tmp_path_factory.mktemp("run") / "losses.csv"
    pd.DataFrame({"step": range(50), "loss": np.linspace(9, 1, 50)}).to_csv(losses, index=False)
    labels = LabelCounts(920, 6440, 1288, False)
    runs = [
        RunReport(
            f"{method}-{seed}", method, seed, "regress", labels, {"lr": 1e-4, "optimiser": {"name": "sgd"}},
            predictions(f"{method}-{seed}", method, seed, noise, clips=2), losses=losses,
            provenance=Provenance(command=f"echocycle regress --method {method}"),
        )
        for method, noise in (("supervised", 6.0), ("student", 3.0))
        for seed in (0, 1)
    ]  # fmt: skip
    frames = np.random.default_rng(0).integers(0, 255, (2, 24, 24), dtype=np.uint8)
    shape = np.zeros((2, 24, 24), bool)
    shape[:, 6:16, 8:14] = True
    runs.append(
        RunReport(
            "seg", "css", 0, "segment", labels, {"tau": 10}, None, dice(), volumes(), losses=losses,
            overlays=Overlays(frames, shape, shape, ["v000 ED", "v000 ES"]),
        )
    )  # fmt: skip
    return ReportData(
        "EF & few labels",
        runs,
        date="2025-01-02",
        provenance=Provenance("echocycle 9.9", "2.11", "phantom 1", "phantom", "echocycle report runs", "a laptop"),
        train_ef=[50, 60],
        reference="supervised",
        public_names=True,
        warnings=["Something <b>to</b> know."],
        resamples=400,
    )


@pytest.fixture(scope="module")
def contents(full: ReportData) -> Page:
    return report_page(full)


@pytest.fixture(scope="module")
def page(contents: Page) -> str:
    return write_html(contents)


def per_video(run: RunReport) -> np.ndarray:
    return run.predictions.groupby("video", sort=False)["ef_pred"].mean().to_numpy()


def tables(contents: Page, title: str) -> list[Table]:
    section = next(section for section in contents.sections if section.title == title)
    return [block for block in section.blocks if isinstance(block, Table)]


def test_page_is_self_contained(page: str):
    assert "http" not in page
    assert "<script" not in page
    assert "@import" not in page
    assert "//" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)
    assert not re.search(r"""(?:src|srcset|data|action)\s*=\s*["'](?!#|data:)""", page)
    assert not re.search(r"url\((?!#)", page)
    assert set(re.findall(r'<image[^>]*href="(.{22})', page)) == {"data:image/png;base64,"}


def test_page_is_well_formed(page: str):
    """Every element is closed in its order, and no id stands twice."""

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open: list[str] = []
            self.ids: list[str] = []

        def handle_starttag(self, tag, attrs):
            self.ids += [value for name, value in attrs if name == "id"]
            if tag not in ("meta", "link", "br", "hr", "img"):
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            self.ids += [value for name, value in attrs if name == "id"]

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    references = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert references <= set(reader.ids)


def test_page_says_where_it_comes_from(page: str):
    for words in (
        DISCLAIMER, "EF &amp; few labels", "2025-01-02", "echocycle 9.9", "2.11",
        "phantom 1", "echocycle report runs", "a laptop", "Something &lt;b&gt;to&lt;/b&gt; know.",
        "echocycle regress --method student", "optimiser.name", "sgd", "No run used an annotation",
    ):  # fmt: skip
        assert words in page, words
    assert DISCLAIMER == "Research software, not a medical device."
    assert count(6440) in page


def test_every_metric_with_its_interval(full: ReportData, page: str):
    for run in full.runs[:4]:
        pred = per_video(run)
        for name, digits, scale in (("mae", 2, 1), ("rmse", 2, 1), ("r2", 1, 100), ("pearson", 3, 1), ("bias", 2, 1)):
            interval = bootstrap_interval(TRUE, pred, name, resamples=400)
            assert number(scale * interval.value, digits, sign=name == "bias") in page
            assert f"{number(scale * interval.low, digits)} to {number(scale * interval.high, digits)}" in page
        limits = [number(METRICS[f"{side}_limit"](TRUE, pred)) for side in ("lower", "upper")]
        assert " to ".join(limits) in page
    naive = METRICS["mae"](TRUE, np.full(VIDEOS, 55.0))
    assert f"Baseline, always the mean EF: {naive:.2f}." in page


def test_the_page_prints_the_intervals_of_metrics_json():
    """Each patient has one video, and the patients' names are in another order than the videos."""
    table = predictions("a", "student", 0, 4.0)
    table["patient"] = [f"p{place:03d}" for place in reversed(range(VIDEOS))]
    found = ef_metrics(table)["test"]["all_clips"]
    contents = report_page(ReportData("t", [RunReport("a", "student", predictions=table)]))
    (shown,) = tables(contents, "Ejection fraction, run by run")
    cells = dict(zip(shown.columns, shown.rows[0], strict=True))
    for column, name in (("MAE", "mae"), ("RMSE", "rmse"), ("bias", "bias")):
        assert cells[column].small == f"{number(found[name]['low'])} to {number(found[name]['high'])}"


def test_methods_and_pairs(full: ReportData, contents: Page):
    supervised, student = full.runs[:2], full.runs[2:4]
    (seeds,) = tables(contents, "Methods, averaged over seeds")
    mean, sd = mean_and_sd([METRICS["mae"](TRUE, per_video(run)) for run in student])
    assert seeds.rows[1][0].text == "student"
    assert (seeds.rows[1][2].text, seeds.rows[1][2].small) == (number(mean), f"± {number(sd)}")

    (pairs,) = tables(contents, "Methods, compared in pairs")
    (row,) = pairs.rows
    preds = [[per_video(run) for run in family] for family in (student, supervised)]
    difference = paired_difference(TRUE, *preds, resamples=400)
    test = paired_t(TRUE, *preds)
    assert row[0].text == "student − supervised"
    assert row[2].text == number(difference.value, sign=True)
    assert row[2].small == f"{number(difference.low)} to {number(difference.high)}"
    assert row[4].text == p_value(test.p)


def test_what_public_code_prints_is_shown_beside_public_data_only(full: ReportData, contents: Page):
    """Its names of ED and ES, and its r² that it calls R²."""
    own = report_page(replace(full, public_names=False))
    (table,), (shown,) = tables(own, "Segmentation"), tables(own, "Ejection fraction, run by run")
    assert "<naming" not in table.columns
    assert len(table.rows) == 1
    assert "r², %" not in shown.columns
    text = write_html(own)
    assert "public code" not in text
    assert "r²" not in text
    (shown,) = tables(contents, "Ejection fraction, run by run")
    assert "r², %" in shown.columns


def test_dice_has_both_namings(contents: Page):
    (table,) = tables(contents, "Segmentation")
    frame = dice()
    pooled = {
        phase: number(100 * pooled_dice(*(part[name] for name in ("intersection", "size_true", "size_pred"))), 1)
        for phase, part in frame.groupby("phase")
    }
    first, second = [{c: cell.text for c, cell in zip(table.columns, row, strict=True)} for row in table.rows]
    assert (first["<naming"], second["<naming"]) == ("by area", "as the public code names them")
    assert (first["ED, pooled"], first["ES, pooled"]) == (pooled["ED"], pooled["ES"])
    assert (second["ED, pooled"], second["ES, pooled"]) == (pooled["ES"], pooled["ED"])
    assert first["both, pooled"] == second["both, pooled"]


def test_discs_stand_beside_regression(full: ReportData, contents: Page, page: str):
    (table,) = tables(contents, "EF by discs")
    rows = {row[0].text: dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows}
    assert (rows["by discs"]["videos"], rows["by discs"]["MAE"]) == ("9", "2.00")
    assert rows["by area and length"]["bias"] == "−1.00"
    expected = number(METRICS["mae"](TRUE[:9], per_video(full.runs[2])[:9]))
    found = rows["regressed, student-0, all_clips"]
    assert (found["videos"], found["MAE"]) == ("9", expected)
    assert "1 of 10 videos have no EF by discs" in page


def test_markdown_has_the_same_tables(contents: Page):
    text = write_markdown(contents)
    assert text.startswith("# EF & few labels\n")
    assert DISCLAIMER in text
    assert "Something \\<b>to\\</b> know." in text
    for section in contents.sections:
        assert f"## {section.title}" in text
        for block in section.blocks:
            if isinstance(block, Table):
                for row in block.rows:
                    assert all(cell.text in text for cell in row)
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert min(widths) > 2


def test_nothing_is_skipped_silently():
    page = write_html(report_page(ReportData("Empty", [RunReport("alone", "nothing")])))
    for words in (
        "No run has predictions", "No run has overlaps of masks", "No run has EF by discs", "No run has training curves",
        "No run has a sheet of masks", "No run has a label budget", "not recorded: alone",
        "No settings were recorded for alone", "There are no two methods", "nothing to average",
        "nothing to list", "it cannot be said",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("not recorded") > 7
    assert "There are no runs." in write_html(report_page(ReportData("None", [])))


def test_some_runs_lack_something(full: ReportData, contents: Page):
    missing = [block.text for section in contents.sections for block in section.blocks if isinstance(block, Missing)]
    assert not any("predictions" in text for text in missing)  # a segmenter is not expected to have any
    bare = RunReport("bare", "student", 2)
    lacking = report_page(ReportData("t", [*full.runs, bare], resamples=50))
    missing = [block.text for section in lacking.sections for block in section.blocks if isinstance(block, Missing)]
    assert "Without predictions (predictions.csv): bare." in missing
    assert "Without overlaps of masks (dice.csv): bare." in missing
    assert any("no baseline that always answers" in text for text in missing)


def test_broken_parts_become_warnings(tmp_path: Path):
    broken = predictions("a", "student", 0, 3).drop(columns="ef_true")
    single = predictions("b", "student", 1, 3).iloc[:1]
    runs = [
        RunReport("a", "student", predictions=broken, losses=tmp_path / "losses.csv"),
        RunReport("b", "student", predictions=single, dice=dice().assign(dice=0.1)),
        RunReport("c", "supervised", predictions=predictions("c", "supervised", 0, 3), volumes=pd.DataFrame()),
        RunReport("c", "supervised"),
    ]
    contents = report_page(ReportData("t", runs, reference="oracle", resamples=50))
    warnings = [item for block in contents.lead if isinstance(block, Beware) for item in block.items]
    for words in (
        "predictions of a: column 'ef_true' is missing", "b, split test, all_clips: A metric needs at least 2 videos",
        "losses.csv is missing", "'dice' is not", "volumes of c: column", "Several runs have one name: c",
        "reference method 'oracle'",
    ):  # fmt: skip
        assert any(words in plain(item) for item in warnings), words
    assert "Beware" in write_html(contents)


def test_used_annotations_are_admitted():
    run = RunReport("all", "student", labels=LabelCounts(10, 90, 10, True))
    assert "declared unlabelled were used by all." in write_html(report_page(ReportData("t", [run])))


def test_one_method_with_two_budgets_is_two_methods():
    runs = [
        RunReport(f"s{labelled}", "student", 0, "regress", LabelCounts(labelled, 9, 9), predictions=table)
        for labelled, table in ((920, predictions("x", "student", 0, 5)), (3680, predictions("y", "student", 1, 3)))
    ]
    (pairs,) = tables(report_page(ReportData("t", runs, resamples=50)), "Methods, compared in pairs")
    assert pairs.rows[0][0].text == f"student, {count(3680)} labelled − student, 920 labelled"


def test_numbers_as_text():
    assert number(-1.234) == "−1.23"
    assert number(-0.001) == "0.00"
    assert number(0.001, sign=True) == "0.00"
    assert number(2, 1, sign=True) == "+2.0"
    assert number(float("nan")) == "–"
    assert (p_value(0.0004), p_value(0.0412)) == ("< 0.001", "0.041")
