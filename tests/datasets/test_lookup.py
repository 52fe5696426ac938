"""A written name finds its file in every spelling, and never another patient's."""

import unicodedata
from pathlib import Path

import pytest

from echocycle.datasets.lookup import Lookup, path_parts, without_suffix

ROOT = Path("/data")


def find(written: str, *files: str) -> str | None:
    path = Lookup(ROOT, [ROOT / file for file in files]).find(written).path
    return None if path is None else path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    ("written", "files", "found"),
    [
        ("a.avi", ["a.avi", "b.avi"], "a.avi"),
        ("a", ["a.avi"], "a.avi"),
        ("a.dcm", ["a.avi"], "a.avi"),
        ("a", ["a.mp4", "a.avi"], "a.avi"),
        ("a.mp4", ["a.mp4", "a.avi"], "a.mp4"),
        ("A.AVI", ["a.avi"], "a.avi"),
        ("v", ["V.avi", "v.avi"], "v.avi"),
        ("p1/clip", ["p1/clip.dcm", "p2/clip.dcm"], "p1/clip.dcm"),
        ("clip", ["p1/clip.dcm", "p2/clip.dcm"], None),
        ("clip", ["p1/clip.dcm"], "p1/clip.dcm"),
        ("clip", ["clip.avi", "p1/clip.avi"], "clip.avi"),
        (r"C:\echo\p2\clip.dcm", ["p1/clip.dcm", "p2/clip.dcm"], "p2/clip.dcm"),
        ("/mnt/p2/clip.dcm", ["p1/clip.dcm", "p2/clip.dcm"], "p2/clip.dcm"),
        (r"C:\echo\p3\clip.dcm", ["p1/clip.dcm"], None),
        ("p3/clip", ["p1/clip.dcm"], None),
        ("../a.avi", ["a.avi"], None),
        ("", ["a.avi"], None),
        ("/", ["a.avi"], None),
        (unicodedata.normalize("NFD", "Zoë"), ["Zoë.avi"], "Zoë.avi"),
        ("1.2.840.113", ["1.2.840.113"], "1.2.840.113"),
    ],
)
def test_what_a_name_leads_to(written: str, files: list[str], found: str | None) -> None:
    assert find(written, *files) == found


def test_a_composed_name_finds_a_macs_file() -> None:
    file = unicodedata.normalize("NFD", "patiënt.avi")
    assert find("patiënt", file) == file


def test_parts_and_suffixes() -> None:
    assert path_parts(r" C:\a\.\b/c ") == ["a", "b", "c"]
    assert [without_suffix(name) for name in ("a.AVI", "a.b", "a.dcm.mp4", "1.2.3")] == ["a", "a.b", "a.dcm", "1.2.3"]
