"""Every command, in order, on phantom data."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echocycle import cli, demo
from echocycle.bundle import load_bundle
from echocycle.data.store import Store
from echocycle.datasets.prepare import prepare_store
from echocycle.evaluation.candidates import CANDIDATES, read_choice
from echocycle.files import read_json, sha256
from echocycle.recordings.video import write_mjpeg
from echocycle.reporting import demo as demo_results
from echocycle.runs import Run
from echocycle.settings.stages import PrepareSettings
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
    assert metrics["protocols"]["strided"] == "a video's EF is the mean over clips from every 16th start."
    assert set(metrics["protocols"]) == set(table["protocol"])
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
    measured(found)
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


def measured(found: dict[str, Any]) -> None:
    """A result has an EF, or a reason why it has none: the masks of a few steps of training cannot be used."""
    if found["ef"] is None:
        assert found["not_measured"]
    else:
        assert found["ef"] == pytest.approx(np.mean([value for _, value in found["ef_clips"]]), abs=0.01)


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
    assert set(demo_results.beats_naive(results)) == {"supervised", "teacher", "student", "discs"}
    assert demo_results.load_results(out) == results
    real = read_json(next((out / "predict").glob("*.dcm.json")))
    measured(real)
    assert results["real_clip_ef"] == (None if real["ef"] is None else pytest.approx(real["ef"]))
    verdict = read_json(out / "runs" / "student" / "model" / "verdict.json")
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
    labels = list(demo_results.results_table(results).columns[0].cells)
    assert "MAE: discs on CSS masks, 0 of 6 videos" in labels
    assert demo_results.beats_naive(results)["discs"] is False


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
    choice = read_choice(out)
    assert choice is not None
    assert [each.name for each in choice.standings] == list(CANDIDATES)
    assert choice.taken == min(choice.standings, key=lambda each: each.error).name
    assert choice.videos == 4
    assert f"Taken: {choice.taken}. {choice.why}" in " ".join(told.split())
    verdict = read_json(out / "runs" / choice.run / "model" / "verdict.json")
    assert verdict["sentence"] == last
    better = verdict["high"] < verdict["naive_error"]
    assert ("Use it: echocycle predict VIDEO" in told.replace("\n", " ")) is better
    for name in ("css", "supervised", "teacher", "mask_teacher", "student", "two_teachers"):
        assert Run(out / "runs" / name).done
        assert (out / "runs" / name / "evaluation" / "metrics.json").exists() is (name != "mask_teacher")
    page = " ".join((out / "report.md").read_text(encoding="utf-8").split())
    assert f"Taken is {choice.taken}. {choice.why}" in page
    assert f"The model is {choice.run}:" in page
    # the mean of two networks, on the same clips
    mean = [pd.read_csv(out / "runs" / name / "evaluation" / "predictions.csv") for name in ("teacher", "two_teachers")]
    assert list(mean[0]["clip_start"]) == list(mean[1]["clip_start"])
    # the folder itself names the model that was taken
    assert load_bundle(out).id == load_bundle(out / "runs" / choice.run).id
    table = pd.read_csv(out / "runs" / "student" / "evaluation" / "predictions.csv")
    assert set(table["split"]) == {"val"}
    assert (out / "report.html").exists()
    assert Run(out / "runs" / "student").info["settings"]["loop"]["steps"] == 2

    def made() -> dict[Path, int]:
        """When everything but the report and its files was written."""
        files = (path for path in out.rglob("*") if path.is_file() and path.parent not in (out, out / "report.files"))
        return {path: path.stat().st_mtime_ns for path in files}

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
    assert {path.name for path in (out / "runs").iterdir()} >= {"css", "supervised", "teacher", "two_teachers"}
    assert not (out / "runs" / "student").exists()
    clip = next((folder / "Videos").glob("*.avi"))
    code = command(f"predict {clip} -o {tmp_path}/found -m {out}/runs/teacher")
    found = read_json(next((tmp_path / "found").glob(f"{clip.stem}*.json")))
    measured(found)
    assert code == (1 if found["ef"] is None else 0)
    table["Split"] = "TRAIN"
    table.to_csv(folder / "FileList.csv", index=False)
    assert command(f"train {folder} --out={tmp_path / 'none'} {settings}") == 2
    assert "VAL" in capsys.readouterr().err
    assert not (tmp_path / "none" / "runs").exists()


@pytest.mark.slow
def test_a_folder_of_before_goes_on_with_all_candidates(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--candidates student` does what earlier versions did; what it left is kept when more is asked for, and two
    teachers, once taken, predict with masks."""
    folder = own_folder(phantom_folder, tmp_path / "own", tracings=True, splits={"TEST": "TRAIN"})
    out = tmp_path / "out"
    assert command(f"train {folder} --out={out} {TRAIN} --candidates=student") == 0
    assert f"Model: {out}/runs/student/model" in capsys.readouterr().out.replace("\n", "")
    assert {path.name for path in (out / "runs").iterdir() if path.is_dir()} == {"css", "teacher", "student"}
    (out / "choice.json").unlink()  # earlier versions knew none
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}
    assert command(f"train {folder} --out={out} {TRAIN} --candidates=two-teachers") == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert f"Model: {out}/runs/two_teachers/model" in capsys.readouterr().out.replace("\n", "")
    run = Run(out / "runs" / "two_teachers").info
    assert set(run["helpers"]) == {"css", "teacher", "mask_teacher"}
    assert run["budget"] == Run(out / "runs" / "teacher").info["budget"]
    assert [part.spec.channels for part in load_bundle(out).regressors] == [4, 1]
    clip = next((folder / "Videos").glob("*.avi"))
    code = command(f"predict {clip} -o {tmp_path}/found -m {out}")
    found = read_json(next((tmp_path / "found").glob(f"{clip.stem}*.json")))
    measured(found)
    assert code == (1 if found["ef"] is None else 0)
    assert command(f"train {folder} --out={out} {TRAIN} --candidates=twins") == 2


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


# ------------------------------------------------------------------------------------------------ odd videos


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
