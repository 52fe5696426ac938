"""Every stage that is killed ends with the files of one that was not."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.chain import copied, regress_settings, segment_settings

import echocycle.data.mask_set as mask_module
import echocycle.datasets.prepare as prepare_module
import echocycle.evaluation.parts as evaluate_module
import echocycle.partial as partial_module
from echocycle import stages
from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.files import sha256
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.stages import EvaluateSettings, PrepareSettings


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def start_and_kill(line: list[str], begun: Callable[[], bool], longest: float, log: Path) -> float:
    """Start a command, kill it and nothing else some time after it has begun; gives that time."""
    with open(log, "w") as output:
        process = subprocess.Popen([sys.executable, "-m", "echocycle", *line], stdout=output, stderr=output)
        deadline = time.monotonic() + 120
        while not begun():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        delay = random.uniform(0, longest)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return delay


def running(mark: str) -> list[int]:
    """Processes whose environment holds a mark."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


@pytest.mark.slow
def test_a_killed_phantom_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL at a random moment, with workers: no worker stays behind, and the files are the same in the end."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    settings = PhantomSettings(videos=16, val=4, test=4, frames_median=60, frames_min=50, frames_max=70)
    drawn = "--videos=16 --val=4 --test=4 --frames-median=60 --frames-min=50 --frames-max=70 --workers=2"
    mark = f"MARK_OF_ECHOCYCLES_TEST={tmp_path}"
    with monkeypatch.context() as patch:
        patch.setenv(*mark.split("="))
        delay = start_and_kill(
            ["phantom", str(killed), *drawn.split()],
            lambda: len(list(killed.glob("Truth/PH*.npz"))) >= 2,
            0.3,
            tmp_path / "log.txt",
        )
    assert not (killed / "phantom.json").exists(), f"it was done in {delay:.2f} s"
    if Path("/proc/self/environ").exists():
        deadline = time.monotonic() + 20
        while left := running(mark):
            assert time.monotonic() < deadline, f"workers {left} outlive their parent"
            time.sleep(0.05)
    (killed / ".unfinished.5.partial.json").write_text("{")  # a kill can leave half a file
    (killed / "Videos" / ".PH000001.5.partial.avi").write_bytes(b"half")
    write_phantom(killed, settings)
    write_phantom(whole, settings)
    assert files(killed) == files(whole)


@pytest.mark.slow
def test_a_killed_prepare_goes_on(phantom_folder: Path, store: Store, tmp_path: Path) -> None:
    """SIGKILL at a random moment, with workers."""
    made, journal = tmp_path / "store", tmp_path / "store.partial" / "journal.jsonl"
    count = random.randint(1, 10)
    start_and_kill(
        ["prepare", str(phantom_folder), str(made), "--workers=2"],
        lambda: made.exists() or (journal.exists() and journal.read_bytes().count(b"\n") >= count),
        0.1,
        tmp_path / "log.txt",
    )
    if not made.exists():
        with open(journal, "ab") as file:
            file.write(b'{"row": {"na')
        (tmp_path / "store.partial" / ".index.5.partial.csv").write_text("half")
    prepare_store(phantom_folder, made, PrepareSettings(workers=0))
    assert files(made) == files(store.path)


def kill_at(patch: pytest.MonkeyPatch, where: Any, name: str, call: int) -> None:
    """Let a function of a module be killed at its n-th call."""
    original, calls = getattr(where, name), []

    def function(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **named)

    patch.setattr(where, name, function)


def kill_at_unlink(patch: pytest.MonkeyPatch, name: str) -> None:
    """Be killed when a file of that name was removed."""
    original = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        there = self.exists()
        original(self, missing_ok)
        if there and self.name == name:
            raise Killed

    patch.setattr(Path, "unlink", unlink)


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(lambda p: kill_at(p, prepare_module._Writer, "add", 4), id="between-two-videos"),
        pytest.param(lambda p: kill_at(p, prepare_module, "write_text", 1), id="before-the-index"),
        pytest.param(lambda p: kill_at(p, mask_module.MaskWriter, "add", 3), id="in-the-truth"),
        pytest.param(lambda p: kill_at(p, os, "replace", 5), id="some-rename"),
        pytest.param(lambda p: kill_at_unlink(p, "traces.bin"), id="after-traces-bin"),
        pytest.param(lambda p: kill_at_unlink(p, "journal.jsonl"), id="after-the-journal"),
        pytest.param(lambda p: kill_at_unlink(p, "started.json"), id="after-started-json"),
        pytest.param(lambda p: kill_at(p, prepare_module, "Store", 1), id="before-it-has-its-name"),
        pytest.param(lambda p: kill_at(p, prepare_module, "Store", 2), id="when-all-is-done"),
    ],
)
def test_prepare_killed_at_a_bad_moment(
    kill: Callable[[pytest.MonkeyPatch], None],
    phantom_folder: Path,
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = tmp_path / "store"
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            prepare_store(phantom_folder, made, PrepareSettings(workers=0))
    prepare_store(phantom_folder, made, PrepareSettings(workers=0))
    assert files(made) == files(store.path)
    assert not made.with_name("store.partial").exists()


@pytest.fixture(scope="module")
def trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A store with masks, a segmentation run and a regression run."""
    folder = tmp_path_factory.mktemp("trained")
    own = copied(store, folder).path
    stages.segment(own, folder / "css", segment_settings("css"))
    stages.mask(own, folder / "css")
    stages.regress(own, folder / "teacher", regress_settings("teacher"), masks=folder / "css")
    return own, folder / "css", folder / "teacher"


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(lambda p: kill_at(p, mask_module.MaskWriter, "add", 7), id="between-two-videos"),
        pytest.param(lambda p: kill_at(p, mask_module, "_pack", 300), id="inside-a-video"),
        pytest.param(lambda p: kill_at(p, partial_module, "write_json", 2), id="at-the-end"),
        pytest.param(lambda p: kill_at_unlink(p, "journal.bin"), id="after-the-journal"),
        pytest.param(lambda p: kill_at_unlink(p, "started.json"), id="after-started-json"),
    ],
)
def test_a_killed_mask_goes_on(
    kill: Callable[[pytest.MonkeyPatch], None],
    trained: tuple[Path, Path, Path],
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, run, _ = trained
    other = copied(store, tmp_path).path
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            stages.mask(other, run)
    (partial,) = (other / "masks").glob("*.partial")
    with open(partial / "blob.bin", "ab") as file:
        file.write(b"torn")
    if (partial / "journal.bin").exists():
        with open(partial / "journal.bin", "ab") as file:
            file.write(b"torn by the kill")
    (partial / ".masks.5.partial.json").write_text("half")
    stages.mask(other, run)
    assert files(other / "masks") == files(whole / "masks")


@pytest.mark.parametrize("which", ["segmenter", "regressor"])
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(lambda p: kill_at(p, evaluate_module, "_plain", 30), id="inside-a-video"),
        pytest.param(lambda p: kill_at(p, partial_module, "write_json", 1), id="before-metrics"),
        pytest.param(lambda p: kill_at_unlink(p, "journal.jsonl"), id="at-the-very-end"),
        pytest.param(lambda p: kill_at_unlink_before(p, "journal.jsonl"), id="before-the-journal-goes"),
    ],
)
def test_a_killed_evaluate_goes_on(
    kill: Callable[[pytest.MonkeyPatch], None],
    which: str,
    trained: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, segmenter, regressor = trained
    run = segmenter if which == "segmenter" else regressor
    settings = EvaluateSettings(protocol=("strided", "one-clip"), stride=16)

    def copy(name: str) -> Path:
        return Path(shutil.copytree(run, tmp_path / name / run.name, ignore=shutil.ignore_patterns("evaluation")))

    killed, whole = copy("killed"), copy("whole")
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            stages.evaluate(killed, settings, store=store)
    journal = killed / "evaluation" / "journal.jsonl"
    if journal.exists():
        with open(journal, "a") as file:
            file.write('{"video": 1, "ro')
    stages.evaluate(killed, settings, store=store)
    stages.evaluate(whole, settings, store=store)
    assert files(killed) == files(whole)
    assert not journal.exists()


def kill_at_unlink_before(patch: pytest.MonkeyPatch, name: str) -> None:
    """Be killed before a file of that name is removed."""
    original = Path.unlink

    def unlink(self: Path, missing_ok: bool = False) -> None:
        if self.name == name and self.exists():
            raise Killed
        original(self, missing_ok)

    patch.setattr(Path, "unlink", unlink)


def test_a_changed_list_begins_prepare_anew(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed `prepare` of another list left is not mixed in, its truth masks neither."""
    folder = tmp_path / "videos"
    shutil.copytree(phantom_folder, folder)
    table = (folder / "FileList.csv").read_text().splitlines()
    made = tmp_path / "store"
    with monkeypatch.context() as patch:
        kill_at_unlink(patch, "journal.jsonl")
        with pytest.raises(Killed):
            prepare_store(folder, made, PrepareSettings(workers=0))
    (folder / "FileList.csv").write_text("\n".join(table[:-6]) + "\n")
    again = prepare_store(folder, made, PrepareSettings(workers=0))
    assert len(again) == 10
    fresh = prepare_store(folder, tmp_path / "fresh", PrepareSettings(workers=0))
    assert files(again.path) == files(fresh.path)
