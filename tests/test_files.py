"""Files are there whole or not at all, the same on every system, and what is dropped is said."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from echocycle.files import cell, difference, empty_unless_begun, printable, settle, write_json, write_text
from echocycle.partial import PartialFolder


def test_line_ends_are_not_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows a text file would turn each \\n into \\r\\n, if it were not told otherwise."""
    original, told = Path.write_text, []

    def noting(self: Path, text: str, **arguments: Any) -> int:
        told.append(arguments.get("newline"))
        return original(self, text, **arguments)

    monkeypatch.setattr(Path, "write_text", noting)
    write_text(tmp_path / "a.csv", "name\na\n")
    assert told == ["\n"]
    assert (tmp_path / "a.csv").read_bytes() == b"name\na\n"


def test_a_half_made_folder_is_kept_for_its_own_job_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, job = tmp_path / "[b].partial", {"list": "abc", "settings": {"color": False}}
    empty_unless_begun(folder, job)
    assert capsys.readouterr().err == ""
    write_json(folder / "started.json", job)
    (folder / "frames").mkdir()
    write_text(folder / "frames" / "a", "a")
    empty_unless_begun(folder, job)
    assert (folder / "frames" / "a").exists()
    assert capsys.readouterr().err == ""
    empty_unless_begun(folder, {"list": "abc", "settings": {"color": True}})
    assert list(folder.iterdir()) == []
    said = " ".join(capsys.readouterr().err.split())
    assert "[b].partial" in said
    assert "settings.color was False, is True" in said
    write_text(folder / "frames.u8", "a")
    empty_unless_begun(folder, job)
    assert list(folder.iterdir()) == []
    assert "does not say for what it was begun" in " ".join(capsys.readouterr().err.split())


def test_the_first_difference_in_words() -> None:
    assert difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}) == "b.c was 2, is 3"
    assert difference({"a": 1}, {"a": 1, "b": "x"}) == "b was None, is 'x'"


def test_names_become_text_that_every_program_can_read() -> None:
    assert printable(Path("/a b/Ünï кардио 心.avi")) == "/a b/Ünï кардио 心.avi"
    assert printable("Z\udcfcrich") == r"Z\udcfcrich"
    assert printable("a\nb\x1b[31m\x7f") == r"a\nb\x1b[31m\x7f"
    assert printable(printable("Z\udcfcrich\n")) == printable("Z\udcfcrich\n")


def test_a_cell_is_never_a_formula_and_numbers_stay_numbers() -> None:
    for text in ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"):
        assert cell(text) == "'" + printable(text)
        assert cell(cell(text)) == cell(text)
    for text in ("-12.5", "+3", "-1e-05", ".5", "a=b", "/in/=1.avi", "", "2024-01-01"):
        assert cell(text) == text


def test_the_disk_holds_everything_before_the_file_that_closes_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("echocycle.partial.settle", settle)  # other tests do without
    made = PartialFolder(tmp_path / "store", {"a": 1}, seal="store.json")
    made.begin()
    (made.path / "masks").mkdir()
    (made.path / "masks" / "frames.bin").write_bytes(b"123")
    made.seal({"job": {"a": 1}})
    assert {"masks", "frames.bin"} <= set(synced[: synced.index("store.json")])


def test_a_drive_that_cannot_sync_a_folder_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    settle(tmp_path)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        settle(tmp_path)
