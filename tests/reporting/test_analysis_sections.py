"""The analyses in the report: sections where their arrays are, a word where they are not, in HTML, PDF and a browser."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echocycle.evaluation.analyses.cost import Cost
from echocycle.evaluation.analyses.stored import Analysed, make
from echocycle.evaluation.tables import PREDICTIONS, dice_row
from echocycle.reporting.blocks import Figure, Page, Table, all_blocks, plain
from echocycle.reporting.files import write_files
from echocycle.reporting.html import write_html
from echocycle.reporting.pdf import write_pdf
from echocycle.reporting.run_data import External, LabelCounts, ReportData, RunReport
from echocycle.reporting.sections import report_page

NAMES = [f"v{number}" for number in range(24)]
TRUE = np.linspace(22, 72, len(NAMES))
BEAT = 30
RNG = np.random.default_rng(0)


def predictions(run: str, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(len(run))
    rows = [
        (run, run, 0, "test", name, name, "all-clips", 0, ef, ef + rng.normal(0, noise))
        for name, ef in zip(NAMES, TRUE, strict=True)
    ]
    quality = [("Good", "Medium", "Poor")[number % 3] for number in range(len(NAMES))]
    rhythm = ["irregular" if number % 4 == 0 else "regular" for number in range(len(NAMES))]
    return pd.DataFrame(rows, columns=list(PREDICTIONS)).assign(quality=quality, rhythm=rhythm)


def circle(name: str, noise: float) -> dict[str, Any]:
    turn = 2 * np.pi * np.arange(4 * BEAT + 11) / BEAT
    features = np.stack([np.cos(turn), np.sin(turn)], 1) + np.random.default_rng(3).normal(0, noise, (len(turn), 2))
    area = (900 + 300 * np.cos(turn)).astype(int)
    common = {"fps": np.array(50.0), "positions": np.array(49)}
    return {"features": features.astype(np.float32), "area": area, "area_true": area, **common}


def looked(row: int) -> dict[str, Any]:
    counts = RNG.integers(20, 60, (2, 2, 3))
    counts[..., 0] = 10
    mask = np.zeros((2, 16, 16), bool)
    mask[:, 4:12, 5:11] = True
    heat = RNG.random((2, 16, 16)).astype(np.float16)
    return {"counts": counts, "heat": heat, "frame": RNG.integers(0, 99, (2, 16, 16)).astype(np.uint8), "mask": mask}


def masked(row: int) -> dict[str, Any]:
    true = np.zeros((112, 112), bool)
    true[30:80, 40:70] = True
    found = np.roll(true, 3, 1)
    counts = np.array([(true & found).sum(), true.sum(), found.sum()])
    arrays = circle("", 0.0)
    frame = RNG.integers(0, 90, (112, 112)).astype(np.uint8)
    shown = {"number": np.array(7), "frame": frame, "mask": found, "true": true, "counts": counts}
    return {
        **shown,
        "area": arrays["area"],
        "area_true": arrays["area"],
        "fps": np.array(50.0),
        "traced": np.array([0, 15]),
    }


def facts(row: int) -> dict[str, Any]:
    words = {"patient": f"p{row}", "split": "test" if row % 2 else "train", "quality": "Good", "traced": True}
    numbers = {"frames": 150, "fps": 50.0, "ef": 50.0 + row, "beat": 30.0 + row, "clip": 79}
    return {name: np.array(value) for name, value in {**words, **numbers}.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    folder = tmp_path_factory.mktemp("analyses")
    videos = list(enumerate(NAMES[:4]))

    def made(run: str, name: str, piece: Any, **more: Any) -> Analysed:
        settings = {"samples": 25, "sigma": 0.15, "share": 0.05, "shown": 2, "seed": 0}
        return make(folder / run / name, name, {"settings": settings, "store": "s", **more}, videos, piece)

    def points(found: Analysed) -> dict[str, np.ndarray]:
        return {"points": RNG.normal(size=(40, 2)).astype(np.float32), "video": np.repeat([0, 1], 20)}

    segmenters = []
    for run, noise in (("css", 0.05), ("supervised-masks", 3.0)):
        features = make(
            folder / run / "features", "features", {"settings": {}, "store": "s"}, videos,
            lambda row, noise=noise: circle("", noise), points,
        )  # fmt: skip
        dice = [
            dice_row(run, "test", name, phase, masked(0)["true"], masked(0)["mask"])
            for name in NAMES[:4]
            for phase in ("ED", "ES")
        ]
        analyses = {"features": features, "masks": made(run, "masks", masked), "data": made(run, "data", facts)}
        option = {"period": 2} if run == "css" else {}
        segmenters.append(
            RunReport(run, run, 0, "segment", settings={"option": option}, dice=pd.DataFrame(dice), analyses=analyses)
        )
    labels = LabelCounts(40, 90, 20, False)
    networks = [
        RunReport(
            name, method, 0, "regress", labels, predictions=predictions(name, noise), role=role, labels_used_in_all=60 + k,
            analyses={"attention": made(name, "attention", looked)}, cost=Cost(1_000_000, 5.0 * k, 2.0),
            externals={"abc": External(predictions(name, noise + 3), {"half_beats": "symmetric", "fill": "black"},
                                       {"attention": made(name + "x", "attention", looked)})},
        )
        for k, (name, method, role, noise) in enumerate(
            (("student", "student", "student/css", 3.0), ("teacher", "teacher", "teacher/css", 8.0))
        )
    ]  # fmt: skip
    train = np.linspace(30, 70, 40)
    return ReportData("Analyses", [*segmenters, *networks], train_ef=train, public_names=True, resamples=200)


@pytest.fixture(scope="module")
def page(data: ReportData) -> Page:
    return report_page(data)


def table(page: Page, name: str) -> pd.DataFrame:
    found = [b for s in page.sections for b in all_blocks(s.blocks) if isinstance(b, Table) and b.name == name]
    (one,) = found
    columns = [column.removeprefix("<") for column in one.columns]
    return pd.DataFrame([[c.text if c.value is None else c.value for c in row] for row in one.rows], columns=columns)


def test_every_analysis_has_its_section_and_says_what_to_see(page: Page) -> None:
    titles = [section.title for section in page.sections]
    for title in (
        "Error by EF and image quality", "Regular and irregular rhythm", "Another hospital", "Labels and cost",
        "Where the networks look", "Masks on frames that nobody traced", "Do the features go in circles?",
        "How alike frames are", "How phases are matched", "The data", "What the paper says, claim by claim",
    ):  # fmt: skip
        assert title in titles
        section = page.sections[titles.index(title)]
        assert any("hat to see" in plain(block.text) for block in section.blocks if hasattr(block, "text"))
    assert "What else can be looked at" not in titles


def test_numbers_tell_a_circle_from_noise(page: Page) -> None:
    rows = table(page, "cyclicity").set_index("run")
    assert rows["phase read"]["css"] > 0.9 > 0.5 > rows["phase read"]["supervised-masks"]
    assert rows["return ratio"]["css"] < 0.3 < rows["return ratio"]["supervised-masks"]
    rates = table(page, "similarity").set_index("run")
    assert rates["within 5"]["css"] == "4 of 4"
    matches = table(page, "matching").set_index("run")
    assert matches["alpha finds the moment"]["css"] > matches["alpha finds the moment"]["supervised-masks"]


def test_tables_hold_what_the_arrays_say(page: Page, data: ReportData) -> None:
    between = table(page, "masks-between").set_index("run")
    counts = masked(0)["counts"]
    dice = 100 * 2 * counts[0] / (counts[1] + counts[2])
    assert between.loc["css", ["ED", "ES", "between"]].tolist() == pytest.approx([dice] * 3)
    rows = table(page, "data")
    assert rows.set_index("videos").loc["s, all", "patients"] == 4
    assert rows["videos"].tolist()[-2:] == ["paper: EchoNet-Dynamic", "paper: CAMUS"]
    cost = table(page, "cost").set_index("run")
    assert cost.loc["teacher", "together"] == 7
    claims = table(page, "claims")
    distilled = claims[claims["claim"].str.startswith("Distillation")].iloc[0]
    assert distilled["verdict"] == "seen"
    quality = table(page, "error-by-quality")
    assert quality[quality["run"] == "student"]["videos"].sum() == len(NAMES)
    outside = table(page, "external-abc")
    assert outside[outside["run"] == "student"]["videos with"].tolist() == ["Good", "Medium", "Poor", "all"]


def test_without_analyses_the_page_says_how_to_make_them(data: ReportData) -> None:
    bare = [replace(run, analyses={}, externals={}, cost=None) for run in data.runs]
    page = report_page(replace(data, runs=bare))
    (section,) = [s for s in page.sections if s.title == "What else can be looked at"]
    told = " ".join(plain(item) for block in section.blocks for item in getattr(block, "items", ()))
    assert {"attention", "features", "masks", "data"} <= set(re.findall(r"--what (\w+)", told))
    assert "Where the networks look" not in [s.title for s in page.sections]


def test_figures_and_tables_are_files_too(page: Page, tmp_path: Path) -> None:
    wanted = ("The data", "How phases are matched", "Where the networks look", "Regular and irregular rhythm")
    few = replace(page, sections=[s for s in page.sections if s.title in (*wanted, "Labels and cost")], lead=[])
    written = write_files(few, tmp_path / "page.files", seen_from=tmp_path)
    figures = [b for s in written.sections for b in all_blocks(s.blocks) if isinstance(b, Figure)]
    assert [figure.name for figure in figures] == ["", "attention-frames", "matching"]
    for name in ("matching", "attention-frames"):
        assert (tmp_path / "page.files" / f"{name}.svg").exists()
        assert (tmp_path / "page.files" / f"{name}.png").stat().st_size > 5000
    for name in ("attention", "data", "cost", "rhythm"):
        assert (tmp_path / "page.files" / f"{name}.csv").exists()
        assert r"\toprule" in (tmp_path / "page.files" / f"{name}.tex").read_text()


def test_the_pdf_holds_the_words_of_the_page(page: Page, tmp_path: Path) -> None:
    from pypdf import PdfReader

    few = replace(page, sections=[s for s in page.sections if s.title in ("The data", "How phases are matched")])
    write_pdf(few, tmp_path / "page.pdf")
    reader = PdfReader(tmp_path / "page.pdf")
    text = " ".join(page.extract_text() for page in reader.pages)
    for words in (
        "Analyses",
        "How phases are matched",
        "alpha finds the moment",
        "55.75 ± 12.37",
        "not a medical device",
    ):
        assert words in text
    assert reader.pages[0].mediabox.width > reader.pages[0].mediabox.height  # landscape


def test_it_opens_in_a_browser_without_an_error_or_a_request(page: Page, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "install chromium, as .ci/run does"
    path = tmp_path / "page.html"
    path.write_text(write_html(page), encoding="utf-8")
    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme, width in (("light", 1280), ("dark", 390)):
            tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            tab.on("console", lambda message: said.append(message.text))
            tab.on("pageerror", lambda error: said.append(str(error)))
            tab.on("request", lambda request: asked.append(request.url))
            tab.goto(path.as_uri())
            assert tab.locator("h1").inner_text() == "Analyses"
            assert tab.locator("figure svg").count() > 10
            wide = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"the page is {wide} pixels wider than a screen of {width}"
        browser.close()
    assert said == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file") for url in asked) == 2
