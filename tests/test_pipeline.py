"""Every command, in order, on phantom data; and every stage that is killed ends with the files of one that was not."""

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.chain import copied, regress_settings, segment_settings

import echocycle.data.mask_set as mask_module
import echocycle.datasets.prepare as prepare_module
import echocycle.evaluation.evaluate as evaluate_module
from echocycle import cli, demo, stages
from echocycle.bundle import load_bundle
from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.files import read_json, sha256
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.recordings.video import write_mjpeg
from echocycle.runs import Run
from echocycle.settings.stages import EvaluateSettings, PrepareSettings
from echocycle.stage_clock import StageClock

SMALL = {
    "segment": "--network=unet --width=4 --weights=none --size=32 --batch=2 --labels.labelled=4 --loop.steps=3 "
    "--loop.validate-every=2 --loop.device=cpu --optimiser.name=adamw --optimiser.lr=0.003",
    "regress": "--widths 4 8 8 8 --weights=none --size=32 --batch=2 --frames=8 --period=3 "
    "--pad=4 --labels.labelled=4 --loop.steps=3 --loop.validate-every=2 --loop.device=cpu --target-scale=10 "
    "--optimiser.name=adamw --optimiser.lr=0.003 --optimiser.schedule=flat",
}
"""The smallest settings, as one would type them."""


def command(line: str, *rest: str) -> int:
    """Run a command in this process; its exit code."""
    return cli.main([*line.split(), *rest])


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------ the whole chain


@pytest.mark.slow
def test_every_command_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos, store, runs = tmp_path / "videos", tmp_path / "store", tmp_path / "runs"
    drawn = "--videos=16 --val=4 --test=4 --frames-median=90 --frames-min=84 --frames-max=100 --workers=0"
    assert command(f"phantom {videos} {drawn}") == 0
    assert (videos / "FileList.csv").exists()

    assert command(f"check {videos} --decode") == 0
    assert "16" in capsys.readouterr().err

    assert command(f"prepare {videos} {store} --workers=0") == 0
    assert len(Store(store)) == 16

    css = f"--method=css --option.period=2 --option.longer-than=79 {SMALL['segment']}"
    assert command(f"segment {store} {runs}/css {css}") == 0
    assert command(f"segment {store} {runs}/traced --method=supervised {SMALL['segment']}") == 0
    assert command(f"mask {store} {runs}/css") == 0
    assert len(list((store / "masks").iterdir())) == 2  # with the phantom's own

    assert command(f"regress {store} {runs}/supervised --method=supervised {SMALL['regress']}") == 0
    assert command(f"regress {store} {runs}/teacher --method=teacher --masks={runs}/css {SMALL['regress']}") == 0
    student = f"--method=student --option.unlabelled-batch=2 --masks={runs}/css --teacher={runs}/teacher"
    assert command(f"regress {store} {runs}/student {student} {SMALL['regress']}") == 0
    for name in ("css", "traced", "supervised", "teacher", "student"):
        assert Run(runs / name).done

    protocols = "--protocol=all-clips --protocol=one-clip --protocol=strided --stride=16"
    assert command(f"evaluate {runs}/student {protocols}") == 0
    for name in ("supervised", "teacher"):
        assert command(f"evaluate {runs}/{name} --protocol=strided --stride=16") == 0
    for name in ("css", "traced"):
        assert command(f"evaluate {runs}/{name}") == 0
    table = pd.read_csv(runs / "student" / "evaluation" / "predictions.csv")
    assert set(table["protocol"]) == {"all-clips", "strided", *(f"one-clip-{seed}" for seed in range(5))}
    assert set(table["split"]) == {"val", "test"}
    index = Store(store).index.set_index("name")
    for video, part in table[table["protocol"] == "all-clips"].groupby("video"):
        assert list(part["clip_start"]) == list(range(index["frames"][video] - 7 * 3))
    metrics = read_json(runs / "student" / "evaluation" / "metrics.json")
    assert set(metrics["ef"]["test"]) >= {"all-clips", "strided", "one-clip-0"}
    video = table[(table["protocol"] == "all-clips") & (table["split"] == "test")].groupby("video")
    error = float((video["ef_pred"].mean() - video["ef_true"].first()).abs().mean())
    assert metrics["ef"]["test"]["all-clips"]["mae"]["value"] == pytest.approx(error, rel=1e-6)
    dice = rows(runs / "css" / "evaluation" / "dice.csv")
    assert {row["phase"] for row in dice} == {"ED", "ES", "all"}

    capsys.readouterr()
    page = tmp_path / "report.html"
    assert command(f"report {runs}/traced {runs}/css {runs}/supervised {runs}/teacher {runs}/student -o {page}") == 0
    assert str(page) in capsys.readouterr().out.replace("\n", "")
    assert "student" in page.read_text(encoding="utf-8")
    assert page.with_suffix(".md").exists()

    clip = next((videos / "Videos").glob("*.avi"))
    (tmp_path / "broken.avi").write_bytes(b"nothing")
    assert command(f"predict {clip} {tmp_path}/broken.avi -o {tmp_path}/found -m {runs}/student") == 1
    found = read_json(next((tmp_path / "found").glob(f"{clip.stem}*.json")))
    assert found["ef"] == pytest.approx(np.mean([value for _, value in found["ef_clips"]]), abs=0.01)
    assert len(rows(tmp_path / "found" / "predictions.csv")) == 1

    line = [sys.executable, "-m", "echocycle", "info", str(runs / "student"), "--json"]
    told = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    assert set(told["parts"]) == {"segmenter", "regressor"}
    assert told["provenance"]["method"] == "student"
    # what a student is built on is told with it, and all labels are counted
    run = Run(runs / "student").info
    assert set(run["helpers"]) == {"css", "teacher"}
    assert run["helpers"]["teacher"] == load_bundle(runs / "teacher").id
    assert run["budget"]["labels_used_in_all"] == 8

    # everything again: nothing is done twice
    before = {str(path): path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    assert command(f"segment {store} {runs}/css {css}") == 0
    assert command(f"mask {store} {runs}/css") == 0
    assert command(f"regress {store} {runs}/student {student} {SMALL['regress']}") == 0
    assert command(f"evaluate {runs}/student {protocols}") == 0
    assert {str(path): path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    """`demo --smoke` through the shell; a second call trains nothing."""
    out = tmp_path / "demo"
    line = [sys.executable, "-m", "echocycle", "demo", str(out), "--smoke"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stage_names = (
        "phantom", "prepare", "start from moving shapes", "segment (css)", "mask", "regress (student)", "evaluate",
        "report", "predict",
    )  # fmt: skip
    assert "Seconds per stage" in done.stdout
    for name in stage_names:
        assert re.search(rf"^{re.escape(name)} +\d+$", done.stdout, re.MULTILINE), name
    results = read_json(out / "demo.json")
    assert set(results["seconds"]) >= set(stage_names)
    assert results["test_videos"] == 6
    assert set(results["ef"]) == {"naive", "supervised", "teacher", "student", "discs"}
    assert set(demo.beats_naive(results)) == {"supervised", "teacher", "student", "discs"}
    assert demo.load_results(out) == results
    assert results["real_clip_ef"] is not None
    verdict = read_json(out / "runs" / "student" / "model" / "verdict.json")
    assert done.stdout.strip().splitlines()[-1] == verdict["sentence"]
    assert verdict["error"] == pytest.approx(results["ef"]["student"]["mae"]["value"])
    assert verdict["naive_error"] == pytest.approx(results["ef"]["naive"]["mae"]["value"])
    assert next((out / "predict").glob("*.overlay.mp4")).stat().st_size > 1000

    kept = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    start = time.monotonic()
    again = demo.demo(out, smoke=True)
    assert time.monotonic() - start < 0.8 * sum(results["seconds"].values())
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()} == kept
    assert again["ef"] == results["ef"]


def test_a_demo_without_measurable_masks_has_a_table() -> None:
    """Untrained masks measure no video; that is a row and no error."""
    cell = {"value": 1.0, "low": 0.5, "high": 2.0}
    ef = {name: {"mae": cell, "r2": cell} for name in ("naive", "supervised", "teacher", "student")}
    dice = {"overall": {"pooled": 0.5}}
    results = {
        "ef": {**ef, "discs": {"videos": 0, "not_measured": 6}},
        "dice": {"supervised": dice, "css": dice},
        "student_minus_video_only": cell,
        "budgets": {"student": {"labelled": 1, "unlabelled": 2, "validation": 3}},
        "test_videos": 6,
        "phantom_version": 1,
        "real_clip_ef": None,
    }
    labels = list(demo.results_table(results).columns[0].cells)
    assert "MAE: discs on CSS masks, 0 of 6 videos" in labels
    assert demo.beats_naive(results)["discs"] is False


def test_the_rest_is_foretold_from_the_first_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice as slow as usual in the first stage: twice as long for what is not done yet."""
    usual = {"phantom": 40.0, "prepare": 50.0, "segment": 100.0}
    (tmp_path / "seconds.json").write_text('{"phantom": 80.0, "prepare": 99.0}')
    StageClock(tmp_path / "seconds.json").foretell(usual, "phantom")
    assert capsys.readouterr().err.strip() == "The rest will take about 3 min."
    for known in ('{"phantom": 0.1}', '{"phantom": 80.0, "prepare": 99.0, "segment": 1.0}'):
        (tmp_path / "seconds.json").write_text(known)
        StageClock(tmp_path / "seconds.json").foretell(usual, "phantom")
        assert capsys.readouterr().err == ""


def test_the_usual_seconds_are_those_of_the_published_demo() -> None:
    published = read_json(Path(__file__).parents[1] / "docs" / "results" / "demo.json")
    assert published["seconds"] == demo.USUAL_SECONDS


# ----------------------------------------------------------------------------------------------- own folders


TRAIN = (
    "--preset=tiny --set segment.loop.steps=2 --set segment.loop.validate_every=2 --set segment.width=2 "
    "--set segment.batch=2 --set segment.labels.labelled=4 --set segment.size=32 --set segment.loop.tensorboard=false "
    "--set regress.loop.steps=2 --set regress.loop.validate_every=2 --set regress.widths=4,8,8,8 "
    "--set regress.batch=2 --set regress.labels.labelled=4 --set regress.size=32 --set regress.pad=2 "
    "--set regress.weights=none --set regress.loop.tensorboard=false --set evaluate.stride=32"
)


def own_folder(phantom: Path, folder: Path, *, tracings: bool, splits: dict[str, str]) -> Path:
    """The shared phantom as somebody's own data: other splits, perhaps no tracings, no truth."""
    folder.mkdir()
    shutil.copytree(phantom / "Videos", folder / "Videos")
    table = pd.read_csv(phantom / "FileList.csv", dtype=str)
    table["Split"] = table["Split"].replace(splits)
    table.to_csv(folder / "FileList.csv", index=False)
    if tracings:
        shutil.copy(phantom / "VolumeTracings.csv", folder)
    return folder


@pytest.mark.slow
def test_train_on_an_own_folder(phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a TEST split: the validation videos are evaluated. A second call changes nothing."""
    folder = own_folder(phantom_folder, tmp_path / "own", tracings=True, splits={"TEST": "TRAIN"})
    out = tmp_path / "out"
    assert command(f"train {folder} --out={out} {TRAIN}") == 0
    told = capsys.readouterr().out
    assert "Seconds per stage" in told
    last = told.strip().splitlines()[-1]
    assert re.fullmatch(
        r"On 4 validation videos this model errs by .* points.*; always answering .* % errs by .*", last
    )
    verdict = read_json(out / "runs" / "student" / "model" / "verdict.json")
    assert verdict["sentence"] == last
    better = verdict["high"] < verdict["naive_error"]
    assert ("Use it: echocycle predict VIDEO" in told.replace("\n", " ")) is better
    for name in ("css", "teacher", "student"):
        assert Run(out / "runs" / name).done
        assert (out / "runs" / name / "evaluation" / "metrics.json").exists()
    table = pd.read_csv(out / "runs" / "student" / "evaluation" / "predictions.csv")
    assert set(table["split"]) == {"val"}
    assert (out / "report.html").exists()
    assert Run(out / "runs" / "student").info["settings"]["loop"]["steps"] == 2

    def made() -> dict[Path, int]:
        """When everything but the report was written."""
        return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent != out}

    before = made()
    assert command(f"train {folder} --out={out} {TRAIN}") == 0
    assert made() == before


@pytest.mark.slow
def test_train_on_labels_alone_ends_with_the_teacher(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is unlabelled, so there is nothing for a student; what cannot be trained is said before anything is."""
    folder = own_folder(phantom_folder, tmp_path / "own", tracings=True, splits={"TEST": "TRAIN"})
    table = pd.read_csv(folder / "FileList.csv", dtype=str)
    (table[table["EF"].notna()]).to_csv(folder / "FileList.csv", index=False)
    out, settings = tmp_path / "out", TRAIN.replace("labels.labelled=4", "labels.labelled=all")
    assert command(f"train {folder} --out={out} {settings}") == 0
    told = capsys.readouterr()
    assert "Every training video is labelled" in " ".join(told.err.split())
    assert {path.name for path in (out / "runs").iterdir()} >= {"css", "teacher"}
    assert not (out / "runs" / "student").exists()
    clip = next((folder / "Videos").glob("*.avi"))
    assert command(f"predict {clip} -o {tmp_path}/found -m {out}/runs/teacher") == 0
    table["Split"] = "TRAIN"
    table.to_csv(folder / "FileList.csv", index=False)
    assert command(f"train {folder} --out={tmp_path / 'none'} {settings}") == 2
    assert "VAL" in capsys.readouterr().err
    assert not (tmp_path / "none" / "runs").exists()


@pytest.mark.slow
def test_train_without_tracings_is_video_only_and_says_so(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_folder(phantom_folder, tmp_path / "own", tracings=False, splits={})
    out = tmp_path / "out"
    code = command(f"train {folder} --out={out} {TRAIN}")
    told = capsys.readouterr()
    assert code == 0, told.err
    assert "a video-only network is trained instead" in " ".join(told.err.split())
    assert [path.name for path in (out / "runs").iterdir()] == ["supervised"]
    assert set(load_bundle(out / "runs" / "supervised").parts()) == {"regressor"}
    assert (out / "report.html").exists()
    clip = next((folder / "Videos").glob("*.avi"))
    assert command(f"predict {clip} -o {tmp_path}/found -m {out}/runs/supervised") == 0


# ------------------------------------------------------------------------------------------------- kills


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
        pytest.param(lambda p: kill_at(p, mask_module.os, "replace", 5), id="some-rename"),
        pytest.param(lambda p: kill_at_unlink(p, "traces.bin"), id="after-traces-bin"),
        pytest.param(lambda p: kill_at_unlink(p, "journal.jsonl"), id="after-the-journal"),
        pytest.param(lambda p: kill_at_unlink(p, "started.json"), id="after-started-json"),
        pytest.param(lambda p: kill_at(p, prepare_module, "Store", 1), id="when-all-is-done"),
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
        pytest.param(lambda p: kill_at(p, mask_module, "write_json", 2), id="at-the-end"),
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
        pytest.param(lambda p: kill_at(p, evaluate_module, "write_json", 1), id="before-metrics"),
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


def test_a_video_that_is_not_an_ultrasound_size_goes_through(phantom_folder: Path, tmp_path: Path) -> None:
    """One video of another size is cut and kept, and the chain's data still agree."""
    folder = tmp_path / "videos"
    shutil.copytree(phantom_folder, folder, ignore=shutil.ignore_patterns("Truth", "phantom.json"))
    name = rows(folder / "FileList.csv")[0]["FileName"]
    large = np.zeros((30, 240, 320), np.uint8)
    large[:, 40:200, 80:240] = np.random.default_rng(0).integers(0, 255, (30, 160, 160), dtype=np.uint8)
    path = folder / "Videos" / f"{name.removesuffix('.avi')}.avi"
    path.unlink()
    write_mjpeg(path, large, 30.0)
    made = prepare_store(folder, tmp_path / "store", PrepareSettings(workers=0))
    place = list(made.index["name"]).index(name.removesuffix(".avi"))
    assert made.frames(place).shape == (30, 112, 112)
