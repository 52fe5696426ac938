"""Tables and figures as files: numbers that a program can read, pictures that can be opened."""

import io
from pathlib import Path

import matplotlib.image
import pandas as pd

from echocycle.evaluation.intervals import Interval
from echocycle.reporting.blocks import Cell, Details, Figure, Page, Section, Side, Table, count_cell, interval_cell
from echocycle.reporting.figures import interval_figure
from echocycle.reporting.files import as_csv, as_latex, write_files
from echocycle.reporting.markdown import write_markdown

TABLE = Table(
    ["<run", "videos", "bias", "runs"],
    [
        [Cell("a_1 & b"), count_cell(1277), interval_cell(Interval(-1.23456, -2.5, 0.25), sign=True), Cell("–")],
        [Cell("c"), count_cell(3), interval_cell(Interval(2.0, float("nan"), float("nan"))), Cell("2", "of 3")],
    ],
    name="runs",
)


def test_csv_has_numbers_and_the_ends_of_intervals():
    found = pd.read_csv(io.StringIO(as_csv(TABLE)))
    assert list(found.columns) == ["run", "videos", "bias", "bias, low", "bias, high", "runs", "runs, note"]
    assert found["videos"].tolist() == [1277, 3]
    assert found["bias"].tolist() == [-1.23456, 2.0]
    assert found["bias, low"].tolist()[0] == -2.5
    assert found["bias, high"].isna().tolist() == [False, True]
    assert found["runs"].isna().tolist() == [True, False]


def test_latex_is_escaped():
    text = as_latex(TABLE)
    assert r"\begin{tabular}{lrrr}" in text
    assert r"a\_1 \& b & 1\,277 & $-$1.23 ($-$2.50 to 0.25) & – \\" in text
    assert text.isascii() or set(text) - set(map(chr, range(128))) == {"–"}


def test_every_block_gets_its_files(tmp_path: Path):
    picture = interval_figure([("a", Interval(1, 0, 2))], "MAE")
    page = Page(
        "t",
        [Figure(picture, "First")],
        [
            Section("Some Part", [TABLE, TABLE, Table(["<x"], [[Cell("1")]]), Details("more", [Figure(picture, "Second")])]),
            Section("Last", [Side([Figure(picture, "Third", "side"), Figure(picture, "Fourth", "side")])]),
        ],
    )  # fmt: skip
    folder = tmp_path / "page.files"
    written = write_files(page, folder, seen_from=tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "summary-1.svg", "summary-1.png", "runs.csv", "runs.tex", "runs-2.csv", "runs-2.tex", "some-part-1.csv",
        "some-part-1.tex", "some-part-2.svg", "some-part-2.png", "side.svg", "side.png", "side-2.svg", "side-2.png",
    }  # fmt: skip
    height, width, _ = matplotlib.image.imread(folder / "side.png").shape
    assert (width, height) == (round(200 * picture.width), round(200 * picture.height))
    assert (folder / "side.svg").read_text() == picture.svg
    text = write_markdown(written)
    for name in ("summary-1", "some-part-2", "side", "side-2"):
        assert f"(page.files/{name}.svg)" in text
    assert "Figure, in the HTML page" not in text


def test_what_an_earlier_page_left_is_gone(tmp_path: Path):
    folder = tmp_path / "page.files"
    write_files(Page("t", [TABLE], []), folder, seen_from=tmp_path)
    (folder / "notes.txt").write_text("mine")
    write_files(Page("t", [Table(["<x"], [[Cell("1")]])], []), folder, seen_from=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "summary-1.csv", "summary-1.tex"]
