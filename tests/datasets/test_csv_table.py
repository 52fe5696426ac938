"""CSV files as people have them: every form is read alike, and any bytes give a table or one clear error."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echocycle.datasets.columns import COLUMNS, number_of, plain_name
from echocycle.datasets.csv_table import read_csv
from echocycle.datasets.findings import FindingList
from echocycle.datasets.listing import check_rows, parse_listing
from echocycle.datasets.records import EchonetSettings
from echocycle.errors import EchocycleError


def table_of(path: Path, content: str | bytes) -> pd.DataFrame:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(path, ["filename"], names=COLUMNS)


PLAIN = "FileName,EF,Split\nv0,55.5,TRAIN\nv1,60,VAL\n"


@pytest.mark.parametrize(
    ("content", "first_line"),
    [
        (PLAIN, 2),
        (b"\xef\xbb\xbf" + PLAIN.encode(), 2),
        (PLAIN.encode("utf-16"), 2),
        (PLAIN.replace("\n", "\r\n"), 2),
        (PLAIN.replace("\n", "\r"), 2),
        (PLAIN.replace(",", ";").replace(".", ","), 2),
        (PLAIN.replace(",", "\t"), 2),
        (PLAIN.replace(",", "|"), 2),
        ("sep=;\r\n" + PLAIN.replace(",", ";").replace(".", ","), 3),
        ("\nSEP=,\n" + PLAIN, 4),
        ("\n\n" + PLAIN, 4),
        (",,\n" + PLAIN, 3),
        ("Ejection fractions of our ward, 2026\n\n" + PLAIN, 4),
        (PLAIN.replace("FileName", "File").replace("EF", "LVEF (%)"), 2),
        (PLAIN.replace("FileName", '" Path "').replace("Split", "data_split"), 2),
    ],
)
def test_every_form_gives_the_same_table(tmp_path: Path, content: str | bytes, first_line: int) -> None:
    table = table_of(tmp_path / "list.csv", content)
    assert table["filename"].tolist() == ["v0", "v1"]
    assert [number_of(cell) for cell in table["ef"]] == [55.5, 60]
    assert table["split"].tolist() == ["TRAIN", "VAL"]
    assert table.index.tolist() == [first_line, first_line + 1]


def test_errors_count_lines_from_the_top_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="line 5 has 4 fields, the header 3"):
        table_of(tmp_path / "list.csv", "A title\n" + PLAIN + "v2,1,TRAIN,9\n")
    with pytest.raises(EchocycleError, match=r"line 2: column filename occurs more than once"):
        table_of(tmp_path / "list.csv", "A title\nFile,FileName,File Name\nx,y,z\n")


def test_of_two_columns_for_one_thing_ours_counts(tmp_path: Path) -> None:
    table = table_of(tmp_path / "list.csv", "FileName,File,LVEF,EF\na,b,1,2\n")
    assert table["filename"].tolist() == ["a"]
    assert table["ef"].tolist() == ["2"]


@pytest.mark.parametrize(
    ("cell", "number"),
    [("55", 55), ("55,5", 55.5), (" 55.5 % ", 55.5), ("55%", 55), ("80 ml", 80), ("5e1", 50), ("-1", -1), (".5", 0.5)],
)
def test_numbers_as_people_write_them(cell: str, number: float) -> None:
    assert number_of(cell) == number


@pytest.mark.parametrize("cell", ["50-55", "112x", "", "sixty", "1.234,5", "%", "5 5", "0x10", "١٢a"])
def test_what_is_no_number_is_none(cell: str) -> None:
    assert number_of(cell) != number_of(cell)


def test_no_heading_stands_for_two_columns() -> None:
    """The table of headings is a function, and holds each in the form in which they are compared."""
    every = [name for names in COLUMNS.values() for name in names]
    assert len(every) == len(set(every))
    assert all(name == plain_name(name) for name in every)
    assert all(names[0] == ours for ours, names in COLUMNS.items())


def listing_of(path: Path, content: str | bytes) -> FindingList:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    findings = FindingList()
    listing, _ = parse_listing(path, EchonetSettings(), findings)
    check_rows(listing, path, findings, draws=True)
    return findings


def test_a_cell_that_is_no_number_is_shown_alone(tmp_path: Path) -> None:
    rows = "".join(f"v{number},{50 + number},TRAIN\n" for number in range(40))
    findings = listing_of(tmp_path / "list.csv", f"File,LVEF,Split\n{rows}x,50-55,TRAIN\ny,112x,TRAIN\n")
    (found,) = [finding for finding in findings.sorted() if finding.kind == "not-a-number"]
    assert found.names == ("x", "y")
    assert found.lines == (42, 43)
    assert found.message.endswith("First: list.csv, line 42: unreadable = lvef is '50-55'.")


def test_a_name_of_200000_letters_is_one_short_line(tmp_path: Path) -> None:
    findings = listing_of(tmp_path / "list.csv", f"FileName,EF,Split\n{'x' * 200_000},50,TRAIN\nv,50,VAL\n")
    (found,) = findings.sorted()
    assert found.kind == "name-wrong"
    assert len(found.message) < 400


# ------------------------------------------------------------------------------------------------ any bytes at all

HEADINGS = st.sampled_from(
    ["FileName", "file", "EF", "LVEF (%)", "ESV", "Split", "MRN", "FPS", "frames", "ED", "", "?"]
)
CELLS = st.one_of(
    st.sampled_from(
        ["v0", "a/b.avi", "55", "55,5", "5%", "-1", "inf", "nan", "1e999", "TRAIN", "", "9" * 30, "\u0661"]
    ),
    st.text(max_size=8),
)


@st.composite
def nearly_a_table(draw: st.DrawFn) -> bytes:
    """Text with headings that are understood, and anything below; sometimes with a damaged byte."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    above = draw(st.sampled_from(["", "sep=;\n", "\n", "title\n", '"sep=,"\n', "sep=\n"]))
    headings = draw(st.lists(HEADINGS, min_size=1, max_size=6))
    rows = draw(st.lists(st.lists(CELLS, max_size=7), max_size=5))
    text = above + end.join(separator.join(line) for line in [headings, *rows])
    raw = bytearray(text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])), "replace"))
    if raw and draw(st.booleans()):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=300), nearly_a_table()))
def test_any_bytes_give_a_listing_or_our_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    findings = FindingList()
    try:
        listing, _ = parse_listing(path, EchonetSettings(), findings)
        good = check_rows(listing, path, findings, draws=True)
    except EchocycleError as error:
        assert "list.csv" in str(error)
    else:
        assert len(good)
        assert good["name"].is_unique
        assert (good["ef"].isna() | good["ef"].between(0, 100)).all()


def test_the_docs_list_every_heading() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    rows = [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| ") and line.count("|") == 4]
    assert [", ".join(names) for names in COLUMNS.values()] == [row for row in rows if row.split(",")[0] in COLUMNS]
