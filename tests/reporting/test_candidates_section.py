"""The report shows every candidate with its interval, says which was taken and why, and what chose it."""

from echocycle.evaluation.candidates import Choice, Standing
from echocycle.reporting.blocks import Table, Text
from echocycle.reporting.ef_sections import candidates_section
from echocycle.reporting.run_data import ReportData


def test_all_candidates_with_intervals() -> None:
    standings = (
        Standing("video-only", "supervised", 4.0, 3.0, 5.0, 1.0, 0.5, 1.5),
        Standing("teacher", "teacher", 3.0, None, None),
        Standing("two-teachers", "two_teachers", 3.5, 2.5, 4.5, 0.5, -0.25, 1.25),
    )
    choice = Choice("teacher", "teacher", "It was better.", 40, "strided", standings)
    section = candidates_section(ReportData("", [], choice=choice), [])
    assert section is not None
    text, table = section.blocks
    assert isinstance(text, Text)
    assert text.text == "Taken is teacher. It was better."
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["video-only", "supervised", "the video alone", "4.00", "+1.00", "–"],
        ["teacher", "teacher", "the video and its masks", "3.00", "–", "–"],
        ["two-teachers", "two_teachers", table.rows[2][2].text, "3.50", "+0.50", "–"],
    ]
    assert [row[3].small for row in table.rows] == ["3.00 to 5.00", "", "2.50 to 4.50"]
    assert table.rows[2][4].small == "−0.25 to 1.25"
    assert table.rows[1][0].small == "taken"
    assert "40 validation videos chose" in str(table.caption)
    assert "The test videos chose nothing" in str(table.caption)


def test_no_choice_no_section() -> None:
    assert candidates_section(ReportData("", []), []) is None
