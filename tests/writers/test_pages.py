"""Pictures and pages for the eye: what they show, and that a page stands alone."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.results import full_result
from PIL import Image

from echocycle.prediction import Flag
from echocycle.recordings.video import read_video
from echocycle.writers import WRITERS
from echocycle.writers.as_failures import Failure
from echocycle.writers.as_json import write_json
from echocycle.writers.as_page import write_page
from echocycle.writers.as_sheet import CAPTION, PICTURE, draw_sheet, write_sheet
from echocycle.writers.drawing import ALARM, OUTLINE
from echocycle.writers.index import write_index
from echocycle.writers.overlay import BAND, write_overlay


def alarmed(picture: np.ndarray) -> bool:
    """Whether a picture begins with the band of a flagged result."""
    return bool((np.abs(picture[2, ::7].astype(int) - ALARM).sum(-1) < 60).all())


def test_a_sheet_has_a_row_for_each_beat(tmp_path: Path) -> None:
    result = full_result()
    sheets = [np.asarray(draw_sheet(replace(result, beats=result.beats[:count]))) for count in (1, 2)]
    assert len(sheets[1]) - len(sheets[0]) == PICTURE + CAPTION
    row = sheets[0][-(PICTURE + 60) :]
    outlined = (np.abs(row.astype(int) - OUTLINE).sum(-1) < 120).sum(0)
    left, right = np.flatnonzero(outlined[:PICTURE]), np.flatnonzero(outlined[PICTURE:])
    assert np.ptp(left) > 1.2 * np.ptp(right)  # end diastole is wider
    assert WRITERS["png"].lacks(replace(result, beats=[])) is not None
    many = replace(result, beats=result.beats * 4)
    assert draw_sheet(many).height < len(sheets[0]) + 6 * (PICTURE + CAPTION)
    path = write_sheet(replace(result, beats=result.beats[:1]), tmp_path)
    with Image.open(path) as written:
        np.testing.assert_array_equal(np.asarray(written), sheets[0])


def test_a_flagged_result_says_so_first_in_every_picture(tmp_path: Path) -> None:
    flagged, plain = full_result(12), full_result(12, flags=[Flag("long", "It is long.", "note")])
    for result, expected in ((flagged, True), (plain, False)):
        frame = read_video(write_overlay(result, tmp_path), color=True).frames[0]
        assert alarmed(frame[: BAND - 2]) is expected
        assert alarmed(np.asarray(draw_sheet(result))) is expected
        page = write_page(result, tmp_path).read_text()
        body = page[page.index("<main>") + len("<main>") :].lstrip()
        assert body.startswith('<div class="alarm"') is expected


def test_a_page_stands_alone(tmp_path: Path) -> None:
    result = full_result(34, source="<b>&name.dcm", result="deeper/<b>&name.dcm")
    write_overlay(result, tmp_path)
    page = write_page(result, tmp_path).read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[^"'\s>]""", page)
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    assert page.count("data:image/png;base64,") == 5  # two beats, and what the film begins with
    assert page.count("data:video/mp4;base64,") == 1
    assert "deeper/&lt;b&gt;&amp;name.dcm" in page
    assert "<b>&name" not in page
    for told in ("EF 57.6 %", "50 to 65 % (90 % interval, conformal)", "50 % and more: 90%", "120 ml", "75 / min",
                 "regular", "frame rate is low", result.label_provenance, result.warnings[0]):  # fmt: skip
        assert told in page, told
    assert result.flags[0].sentence in page
    assert "/archive" not in page


def test_two_ef_that_contradict_each_other_are_both_shown(tmp_path: Path) -> None:
    result = full_result(headline="neither", ef=69.0, ef_by_discs=46.0, headline_reason="They differ by 23 points.")
    page = write_page(result, tmp_path).read_text()
    assert '<p class="answer">EF unclear: 69.0 % by video, 46.0 % by discs</p>' in page
    assert "They differ by 23 points." in page


def test_a_page_without_an_answer(tmp_path: Path) -> None:
    bare = full_result(
        ef=None, ef_by_discs=None, headline="none", not_measured="The picture is black.", masks=None, beats=[],
        mask_area_px=[], volume_curve=[], ed_frames=[], es_frames=[], interval=None, interval_by_discs=None,
    )  # fmt: skip
    page = write_page(bare, tmp_path).read_text()
    assert "EF not measured" in page
    assert "The picture is black." in page
    assert "<svg" not in page


def test_the_index_lists_what_has_a_page(tmp_path: Path) -> None:
    for number in range(3):
        result = full_result(
            24, result=f"patient {number}/a#{number}.dcm", flags=[] if number else full_result(12).flags
        )
        write_json(result, tmp_path)
        write_page(result, tmp_path)
    write_json(full_result(12, result="no page"), tmp_path)
    (tmp_path / "patient 2" / "a#2.dcm.json").write_text("torn")
    failures = [Failure("/in/b.avi", "unreadable", "<i>torn</i>")]
    text = write_index(tmp_path, failures).read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]*)"', text)
    assert links == ["patient%200/a%230.dcm.page.html", "patient%201/a%231.dcm.page.html"]
    assert text.count('<tr class="flagged">') == 1
    assert "&lt;i&gt;torn&lt;/i&gt;" in text
    assert "://" not in text
