"""A killed `prepare` goes on to the same bytes, wherever it was."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.videos import content, few_videos, some_videos

from echocycle import partial
from echocycle.data.store import Store
from echocycle.datasets import prepare
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.settings.stages import PrepareSettings

HERE = PrepareSettings(workers=0)


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture(scope="module")
def few(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder of four phantom videos, one of them damaged, and the content of its store."""
    return few_videos(phantom_folder, tmp_path_factory.mktemp("few"))


def kill_after(folder: Path, store: Path, videos: int) -> Path:
    def progress(done: int, total: int) -> None:
        if done == videos:
            raise Killed

    with pytest.raises(Killed):
        prepare_store(folder, store, HERE, progress=progress)
    assert not store.exists()
    return store.with_name(store.name + ".partial")


@pytest.mark.parametrize("videos", [0, 1, 3, 4])
def test_a_killed_prepare_goes_on_to_the_same_bytes(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path, videos: int
) -> None:
    folder, expected = few
    store = tmp_path / "store"
    kill_after(folder, store, videos)
    with pytest.raises(EchocycleError, match="interrupted"):
        Store(store)
    calls = []
    prepare_store(folder, store, HERE, progress=lambda done, total: calls.append(done))
    assert calls == list(range(videos, 5))
    assert content(store) == expected
    assert not store.with_name("store.partial").exists()


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("journal.jsonl", 1),
        ("journal.jsonl", 300),
        ("frames.u8", 1),
        ("frames.u8", 2_000_000),
        ("traces.bin", 1),
        ("traces.bin", 10**9),
        ("frames.u8", -777),
        ("traces.bin", -5),
    ],
)
def test_torn_files_are_mended(few: tuple[Path, dict[str, bytes]], tmp_path: Path, name: str, cut: int) -> None:
    """The end of a file is missing, or holds more than the journal knows of (cut below 0)."""
    folder, expected = few
    store = tmp_path / "store"
    partial = kill_after(folder, store, 4)
    size = (partial / name).stat().st_size
    with open(partial / name, "r+b") as file:
        file.truncate(max(0, size - cut))
    prepare_store(folder, store, HERE)
    assert content(store) == expected


@pytest.mark.parametrize("step", ["unlink", "write_json", "replace"])
def test_a_kill_among_the_last_moves(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Wherever `finish` ends early, the next `prepare` gives the same bytes."""
    folder, expected = few
    before = kill_after(folder, tmp_path / "before", 4)
    store = tmp_path / "store"
    for attempt in range(24):
        shutil.copytree(before, tmp_path / "store.partial")
        left = [attempt]

        def dying(original: Callable[..., Any], left: list[int] = left) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            if step == "unlink":
                patched.setattr(Path, "unlink", dying(Path.unlink))
            elif step == "write_json":
                for module in (prepare, partial):
                    patched.setattr(module, "write_json", dying(module.write_json))
            else:
                patched.setattr(os, "replace", dying(os.replace))
            try:
                prepare_store(folder, store, HERE)
            except Killed:
                ended_early = True
            else:
                ended_early = False
        prepare_store(folder, store, HERE)
        assert content(store) == expected
        shutil.rmtree(store)
        if not ended_early:
            assert attempt > 0
            return
    raise AssertionError("finish has more such moves than were tried")


@pytest.mark.parametrize("name", ["traces.bin", "journal.jsonl", "started.json"])
def test_a_kill_between_two_removals_decodes_nothing_again(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder, expected = few
    store, original = tmp_path / "store", Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        original(self, missing_ok)
        if self == tmp_path / "store.partial" / name:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            prepare_store(folder, store, HERE)
    assert not (tmp_path / "store.partial" / name).exists()
    monkeypatch.setattr(prepare, "_decode_all", lambda *_: pytest.fail("was decoded again"))
    prepare_store(folder, store, HERE)
    assert content(store) == expected


def test_another_job_begins_anew_and_says_so(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a killed `prepare` with other settings left is not mixed in."""
    folder, expected = few
    store = tmp_path / "store"
    partial = tmp_path / "store.partial"
    with pytest.raises(Killed):
        prepare_store(folder, store, replace(HERE, color=True), progress=_kill_at_three)
    (partial / "masks" / "truth").mkdir(parents=True)
    (partial / "masks" / "truth" / "masks.json").write_text("{}")
    assert capsys.readouterr().err == ""
    prepare_store(folder, store, HERE)
    assert content(store) == expected
    said = " ".join(capsys.readouterr().err.split())
    assert "store.partial" in said
    assert "settings.color was True, is False" in said


def test_drawn_splits_are_gone_on_with_and_opened_again(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shares come back from JSON as a list; that is no other setting."""
    folder = some_videos(phantom_folder, tmp_path / "videos", 6)
    settings = replace(HERE, assign_splits=(0.5, 0.25, 0.25))
    with pytest.raises(Killed):
        prepare_store(folder, tmp_path / "store", settings, progress=_kill_at_three)
    prepare_store(folder, tmp_path / "store", settings)
    assert capsys.readouterr().err == ""
    assert len(prepare_store(folder, tmp_path / "store", settings)) == 6


def _kill_at_three(done: int, total: int) -> None:
    if done == 3:
        raise Killed


def test_workers_do_not_change_the_store(few: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    folder, expected = few
    prepare_store(folder, tmp_path / "store", PrepareSettings(workers=2))
    assert content(tmp_path / "store") == expected


@pytest.mark.parametrize("name", ["frames.u8", "traces.bin"])
def test_what_another_process_wrote_is_noticed_before_the_store_has_its_name(
    few: tuple[Path, dict[str, bytes]], tmp_path: Path, name: str
) -> None:
    """As one on another machine could, where the file system has no locks; after the sentence a new call is right."""
    folder, expected = few
    store = tmp_path / "store"

    def progress(done: int, total: int) -> None:
        if done == 2:
            with open(tmp_path / "store.partial" / name, "ab") as file:
                file.write(b"another's")

    with pytest.raises(EchocycleError, match=r"two processes were at work on it\. Delete .*store\.partial"):
        prepare_store(folder, store, HERE, progress=progress)
    assert not store.exists()
    shutil.rmtree(tmp_path / "store.partial")  # as the sentence says
    prepare_store(folder, store, HERE)
    assert content(store) == expected
