"""Markdown says what the blocks say, and no name from data turns into markup."""

from echocycle.reporting.blocks import (
    DISCLAIMER,
    Beware,
    Cell,
    Code,
    Details,
    Emphasis,
    Facts,
    Items,
    Lead,
    Link,
    Missing,
    Page,
    Section,
    Strong,
    Table,
    Text,
    Tile,
    Tiles,
    marked,
    plain,
)
from echocycle.reporting.markdown import write_markdown


def test_every_kind_of_block():
    page = Page(
        "Title",
        [Lead("First."), Tiles([Tile("MAE", "3.1", "2 to 4")]), Beware("Beware", ["of *this*"]), Facts([("Date", "now")])],
        [
            Section(
                "Part",
                [
                    Text(("See ", Code("a_b"), ", ", Emphasis("well"), ", ", Strong("not"), ", ", Link("there", "#x"), ".")),
                    Items(["one", "two"]),
                    Missing("No file."),
                    Details("More", [Table(["<name", "n"], [[Cell("x|y", link="a b.mp4"), Cell("1", "0 to 2")]], "About.")]),
                ],
            )
        ],
    )  # fmt: skip
    assert write_markdown(page) == "\n".join(
        [
            "# Title", "", DISCLAIMER, "", "First.", "", "- MAE: 3.1 (2 to 4)", "",
            "## Beware", "", r"- of \*this\*", "", "- Date: now", "",
            "## Part", "", "See `a_b`, *well*, **not**, [there](#x).", "", "- one", "- two", "", "*Missing: No file.*", "",
            "### More", "", "About.", "", "| name | n |", "| --- | ---: |", r"| [x\|y](<a b.mp4>) | 1 (0 to 2) |", "",
        ]
    )  # fmt: skip


def test_names_do_not_turn_into_markup():
    for name, written in (
        ("a_b", "a_b"), ("_a_", r"\_a\_"), ("*a*", r"\*a\*"), ("<b>", r"\<b>"), ("p < 0.1", "p < 0.1"),
        ("[x](y)", r"\[x](y)"), ("CLAS [10]", "CLAS [10]"), ("`c`", r"\`c\`"), ("a\\b", r"a\\b"),
    ):  # fmt: skip
        assert write_markdown(Page("t", [Text(name)], [], kicker="")) == f"# t\n\n{written}\n"
    assert r"\- a" in write_markdown(Page("t", [Text("- a")], []))
    assert r"\# a" in write_markdown(Page("t", [Text("# a")], []))


def test_marks_of_the_programs_own_text():
    assert marked("the column *difference*, `a*b*c` and 2*3*4") == (
        "the column ", Emphasis("difference"), ", ", Code("a*b*c"), " and 2*3*4",
    )  # fmt: skip
    assert plain(marked("*a* `b` c")) == "a b c"
