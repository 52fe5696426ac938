"""Any number of recordings: one's trouble stops no other, nothing done is lost or done again, whatever the names."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.predicting import (
    ALWAYS,
    call,
    copies,
    results_in,
    rows_of,
    sources,
    three_of,
    told,
    video_of,
    watch,
    write_short,
)

from echocycle.bundle import load_bundle, save_bundle
from echocycle.cli import main
from echocycle.errors import EchocycleError
from echocycle.inference import making
from echocycle.inference import recordings as inference
from echocycle.inference.batch import predict_all
from echocycle.prediction import DISCLAIMER
from echocycle.recordings.video import read_video, write_mjpeg
from echocycle.verdict import Verdict, write_verdict


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is predicted and not taken from before."""
    return watch(monkeypatch)


# ------------------------------------------------------------------------------- one recording's trouble


def test_a_broken_file_among_good_ones(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "with [b] brackets é", tmp_path / "out"
    copies(clip, folder / "a.avi", folder / "deeper" / "z.avi")
    (folder / "broken.avi").write_bytes(b"RIFF....AVI torn")
    (folder / "notes.txt").write_text("no recording, and not meant to be one")
    (folder / ".hidden.avi").write_bytes(b"")
    assert main(call(model, out, folder)) == 1
    said = told(capsys)
    assert "broken.avi" in said
    assert "[b]" in said
    assert "1 of 3 recordings have no EF (1 could not be read)" in said
    assert "Traceback" not in said
    assert results_in(out) == [*three_of("a.avi", "deeper/z.avi"), *ALWAYS]
    rows = rows_of(out / "predictions.csv")
    assert sources(out) == ["a.avi", "z.avi"]
    content = json.loads((out / "a.avi.json").read_text())
    assert content["disclaimer"] == DISCLAIMER
    assert float(rows[0]["ef"]) == pytest.approx(content["ef"], rel=1e-4)
    assert any("synthetic" in note for note in content["notes"])
    assert read_video(out / "a.avi.overlay.mp4").frames.shape[0] == content["n_frames"]
    [failure] = rows_of(out / "failures.csv")
    assert (failure["source"], failure["kind"]) == (str(folder / "broken.avi"), "unreadable")
    assert "broken.avi" in failure["message"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TypeError("a fault of ours"), "unexpected"),
        (UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "bad"), "unexpected"),
        (PermissionError(13, "Permission denied", "b.avi"), "refused"),
        (MemoryError(), "refused"),
        (EchocycleError("b.avi is damaged."), "unreadable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
@pytest.mark.parametrize("where", ["read_recording", "predict_cut"])
def test_an_error_of_any_class_ends_one_recording_only(
    clip: Path,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    kind: str,
    where: str,
) -> None:
    copies(clip, *(tmp_path / "in" / f"{name}.avi" for name in "abc"))
    module = making if where == "read_recording" else inference
    original = getattr(module, where)

    def failing(*arguments: Any, **named: Any) -> Any:
        if any("b.avi" in str(each) for each in arguments if isinstance(each, str | Path)):
            raise error
        return original(*arguments, **named)

    monkeypatch.setattr(module, where, failing)
    out = tmp_path / "out"
    assert main(call(model, out, tmp_path / "in")) == 1
    said = told(capsys)
    assert sources(out) == ["a.avi", "c.avi"]
    [failure] = rows_of(out / "failures.csv")
    assert failure["kind"] == kind
    assert "b.avi" in failure["source"]
    assert failure["message"] in said
    assert "Traceback" not in said
    if kind == "unexpected":
        assert type(error).__name__ in failure["message"]
        log = (out / "predict.log").read_text()
        assert "Traceback" in log
        assert "b.avi" in log
    else:
        assert not (out / "predict.log").exists()


def test_an_interrupt_ends_all(
    clip: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """And what was done is in the table, is not done again, and what changed is done again."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    copies(clip, *(folder / f"{name}.avi" for name in "abc"))
    original = making.read_recording

    def interrupted(path: Path, **named: Any) -> Any:
        if path.name == "c.avi":
            raise KeyboardInterrupt
        return original(path, **named)

    with monkeypatch.context() as inside:
        inside.setattr(making, "read_recording", interrupted)
        assert main(call(model, out, folder)) == 130
    assert sources(out) == ["a.avi", "b.avi"]
    seen.clear()
    for name in (".c.avi.overlay.123.partial.mp4", ".c.avi.123.partial.json", ".mine.partial"):
        (out / name).write_bytes(b"half")  # as after a kill; the last is somebody else's
    assert main(call(model, out, folder)) == 0
    assert seen == ["c.avi"]
    assert [path.name for path in out.glob(".*")] == [".mine.partial"]
    assert sources(out) == ["a.avi", "b.avi", "c.avi"]


# ---------------------------------------------------------------------------------------- done before


def test_the_same_call_again_gives_the_same(
    clip: Path, tmp_path: Path, model: Path, seen: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    copies(clip, tmp_path / "clip.avi")
    out = tmp_path / "out"
    line = call(model, out, tmp_path / "clip.avi")
    assert main(line) == 0
    results = [*out.glob("*.csv"), out / "clip.avi.json"]  # manifest.json has one call more
    first = {path.name: path.read_bytes() for path in results}
    capsys.readouterr()
    assert main(line) == 0
    assert {name: (out / name).read_bytes() for name in first} == first
    assert seen == ["clip.avi"]
    assert "predicted before; delete" in told(capsys)
    table = (out / "predictions.csv").read_bytes()
    (out / "predictions.csv").unlink()  # as after a kill that left no time for it
    assert main(line) == 0
    assert (out / "predictions.csv").read_bytes() == table
    assert seen == ["clip.avi"]


def test_size_and_hash_decide_never_the_time(
    phantom_folder: Path, clip: Path, tmp_path: Path, model: Path, seen: list[str]
) -> None:
    path, out = tmp_path / "clip.avi", tmp_path / "out"
    copies(clip, path)

    def again() -> list[str]:
        seen.clear()
        predict_all([path], out, model, device="cpu", stride=30)
        return list(seen)

    assert again() == ["clip.avi"]
    os.utime(path, (4e9, 4e9))
    assert again() == []  # a copy with another time is the same recording
    write_short(phantom_folder, path, 30)
    os.utime(path, (1e9, 1e9))
    assert again() == ["clip.avi"]  # the corrected clip is not, however old it says it is
    assert json.loads((out / "clip.avi.json").read_text())["n_frames"] == 30
    same_size = bytearray(path.read_bytes())
    same_size[-1] ^= 1
    path.write_bytes(same_size)
    assert again() == ["clip.avi"]
    assert len(rows_of(out / "predictions.csv")) == 1


def test_what_is_not_whole_or_of_another_version_is_done_again(
    clip: Path, tmp_path: Path, model: Path, seen: list[str]
) -> None:
    path, out = tmp_path / "clip.avi", tmp_path / "out"
    copies(clip, path)
    predict_all([path], out, model, device="cpu", stride=30)
    content = json.loads((out / "clip.avi.json").read_text())
    changes: list[dict[str, Any]] = [
        {"sha256": None},  # as earlier versions wrote it
        {"notes": None},
        {"model": {**content["model"], "torch": "1"}},
    ]
    for change in changes:
        (out / "clip.avi.json").write_text(json.dumps({**content, **change}))
        seen.clear()
        predict_all([path], out, model, device="cpu", stride=30)
        assert seen == ["clip.avi"], change
        assert json.loads((out / "clip.avi.json").read_text()) == content
    (out / "clip.avi.overlay.mp4").unlink()  # the JSON is written before it
    seen.clear()
    predict_all([path], out, model, device="cpu", stride=30)
    assert seen == ["clip.avi"]
    assert (out / "clip.avi.overlay.mp4").exists()


def test_another_model_stride_or_verdict_is_another_result(
    clip: Path, tmp_path: Path, model: Path, seen: list[str]
) -> None:
    path, out = tmp_path / "clip.avi", tmp_path / "out"
    copies(clip, path)
    own = Path(shutil.copytree(model, tmp_path / "own"))

    def again(run: Path, stride: int) -> int:
        seen.clear()
        predict_all([path], out, run, device="cpu", stride=stride)
        return len(seen)

    assert [again(own, 30), again(own, 30), again(own, 20), again(own, 20)] == [1, 0, 1, 0]
    save_bundle(replace(load_bundle(own), provenance={"run": "another"}), tmp_path / "other" / "model")
    assert [again(tmp_path / "other", 20), again(own, 20)] == [1, 1]
    write_verdict(own, Verdict("test", 6, 15.3, 11.0, 19.0, 50.2, 10.4, "all-clips"))
    assert [again(own, 20), again(own, 20)] == [1, 0]  # the picture says it


def test_a_call_that_has_nothing_to_do_or_to_read_does_not_load_pytorch(
    clip: Path, tmp_path: Path, model: Path
) -> None:
    path, out = tmp_path / "clip.avi", tmp_path / "out"
    copies(clip, path)
    predict_all([path], out, model, device="cpu", stride=30)
    broken, text = tmp_path / "broken.avi", tmp_path / "a.txt"
    broken.write_bytes(b"RIFF....AVI torn")
    text.write_text("text")
    for inputs, code in (([path], 0), ([tmp_path / "nowhere.avi", broken, text], 1)):
        line = (
            "import sys; from echocycle.cli import main; code = main(sys.argv[1:]); "
            "print(code, [name for name in ('torch', 'pandas', 'torchvision', 'matplotlib') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", line, *call(model, out, *inputs)], capture_output=True, text=True, timeout=60
        )
        assert done.stdout.strip() == f"{code} []", done.stderr


# --------------------------------------------------------------------------------------- names and places


def test_two_patients_with_clips_of_one_name(clip: Path, tmp_path: Path, model: Path) -> None:
    copies(clip, *(tmp_path / "in" / patient / "clip.avi" for patient in ("patient1", "patient2")))
    out = tmp_path / "out"
    assert main(call(model, out, tmp_path / "in")) == 0
    assert results_in(out) == sorted([*ALWAYS, *three_of("patient1/clip.avi", "patient2/clip.avi")])
    assert len(rows_of(out / "predictions.csv")) == 2
    assert rows_of(out / "failures.csv") == []
    files = [tmp_path / "in" / patient / "clip.avi" for patient in ("patient1", "patient2")]
    results = predict_all(files, tmp_path / "named", model, device="cpu", stride=30)
    assert [found.source for found in results] == [str(path) for path in files]
    assert [path.relative_to(tmp_path / "named").as_posix() for path in results.paths] == [
        "patient1/clip.avi.json", "patient2/clip.avi.json",
    ]  # fmt: skip


def test_a_file_of_that_name_elsewhere_is_another_recording(
    clip: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """Also where both are named by the same relative path, in two calls."""
    out = tmp_path / "out"
    copies(clip, tmp_path / "here" / "a.avi", tmp_path / "there" / "a.avi")
    for name in ("here", "there", "here", "there"):
        monkeypatch.chdir(tmp_path / name)
        assert main(call(model, out, "a.avi")) == 0
    assert seen == ["a.avi", "a.avi"]
    assert len(list(out.glob("a.avi*.json"))) == 2
    assert [row["source"] for row in rows_of(out / "predictions.csv")] == [
        str(tmp_path / name / "a.avi") for name in ("here", "there")
    ]


def test_results_that_lie_flat_keep_their_place(clip: Path, tmp_path: Path, model: Path, seen: list[str]) -> None:
    """Earlier versions wrote all results side by side; without a hash they are made anew, and lie where they lay."""
    out = tmp_path / "out"
    copies(clip, tmp_path / "in" / "deeper" / "a.avi")
    predict_all([tmp_path / "in" / "deeper" / "a.avi"], out, model, device="cpu", stride=30)
    content = json.loads((out / "a.avi.json").read_text())
    for name in ("not_measured", "warnings", "result", "size_bytes", "sha256"):
        del content[name]
    (out / "a.avi.json").write_text(json.dumps(content))
    seen.clear()
    for _ in range(2):
        predict_all([tmp_path / "in"], out, model, device="cpu", stride=30)
    assert seen == ["a.avi"]
    assert results_in(out) == [*three_of("a.avi"), *ALWAYS]


def test_a_file_that_is_no_result_is_not_written_over(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    copies(clip, tmp_path / "a.avi", tmp_path / "b.avi")
    out.mkdir()
    for content in ('{"patient": "notes of mine"}', "[]", "{torn"):
        (out / "a.avi.json").write_text(content)
        assert main(call(model, out, tmp_path / "a.avi", tmp_path / "b.avi")) == 1
        assert "a.avi.json" in told(capsys)
        assert (out / "a.avi.json").read_text() == content
        assert sources(out) == ["b.avi"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="their file systems take Unicode names only")
def test_names_that_are_no_unicode(clip: Path, tmp_path: Path, model: Path, seen: list[str]) -> None:
    """A Latin-1 name from an old export; line ends and escapes in names; a name as long as the file system takes."""
    out = tmp_path / "out"
    names = [b"Z\xfcrich.avi", b"a\nred\x1b[31m.avi", b"x" * 240 + b".avi"]
    for name in names:
        target = os.fsencode(tmp_path) + b"/in/" + name
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(clip, target)
    line = [sys.executable, "-m", "echocycle", *call(model, out, tmp_path / "in")]
    for encoding in ("cp1252", "utf-8"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(line, capture_output=True, timeout=120, env=environment)
        assert done.returncode == 0, done.stderr
        assert b"Z\\udcfcrich.avi: EF" in done.stderr
        assert b"a\\nred" in done.stderr
        assert b"\x1b[31m" not in done.stderr
    written = [path.name for path in out.glob("*.json") if path.name != "manifest.json"]
    assert len(written) == 3
    for name in written:
        name.encode()  # would fail
    assert len({row["source"] for row in rows_of(out / "predictions.csv")}) == 3
    broken = os.fsencode(tmp_path) + b"/in/\xfc.avi"
    with open(broken, "wb") as file:
        file.write(b"RIFF....AVI torn")
    assert subprocess.run(line, capture_output=True, timeout=120).returncode == 1
    assert rows_of(out / "failures.csv")[0]["source"].endswith("\\udcfc.avi")


# ------------------------------------------------------------------------------------- what it comes to


def test_recordings_without_an_answer_end_with_1(
    phantom_folder: Path, clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    copies(clip, folder / "good.avi")
    sound = read_video(video_of(phantom_folder)).frames[:30]
    write_mjpeg(folder / "black.avi", np.zeros_like(sound), 50)
    write_mjpeg(folder / "frozen.avi", np.repeat(sound[:1], 30, axis=0), 50)
    write_mjpeg(folder / "one.avi", sound[:1], 50)
    for _ in range(2):  # found again, they are no better
        assert main(call(model, out, folder)) == 1
        said = told(capsys)
        assert "frozen.avi: EF not measured: The picture stands still" in said
        assert "3 of 4 recordings have no EF (3 not measured)" in said
        failures = {Path(row["source"]).name: (row["kind"], row["message"]) for row in rows_of(out / "failures.csv")}
        assert failures["black.avi"] == ("not measured", "The picture is black.")
        assert set(failures) == {"black.avi", "frozen.avi", "one.avi"}
    content = json.loads((out / "black.avi.json").read_text())
    assert content["ef"] is None
    assert content["not_measured"] == "The picture is black."
    rows = {Path(row["source"]).name: row for row in rows_of(out / "predictions.csv")}
    assert rows["black.avi"]["ef"] == ""
    assert "EF not measured: The picture is black." in rows["black.avi"]["notes"]
    assert rows["good.avi"]["ef"] != ""
    assert read_video(out / "one.avi.overlay.mp4").frames.shape[0] == 1


def test_results_are_read_when_they_are_asked_for(clip: Path, tmp_path: Path, model: Path) -> None:
    copies(clip, *(tmp_path / "in" / f"{name}.avi" for name in "ab"))
    results = predict_all([tmp_path / "in"], tmp_path / "out", model, device="cpu", stride=30)
    assert len(results) == 2
    assert [Path(found.source).name for found in results] == ["a.avi", "b.avi"]
    assert [Path(found.source).name for found in results[1:]] == ["b.avi"]
    assert all(found.frames is None and found.masks is None for found in results)
    assert not any(isinstance(value, np.ndarray) for value in vars(results).values())
    results.paths[0].unlink()
    with pytest.raises(EchocycleError, match="is gone"):
        results[0]


def test_every_call_says_the_models_verdict(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Path(shutil.copytree(model, tmp_path / "own"))
    copies(clip, tmp_path / "clip.avi")
    line = call(own, tmp_path / "out", tmp_path / "clip.avi")
    assert main(line) == 0
    assert "not evaluated on held-out videos" in told(capsys)
    verdict = Verdict("test", 6, 15.3, 11.0, 19.0, 50.2, 10.4, "all-clips")
    write_verdict(own, verdict)
    for _ in range(2):
        assert main(line) == 0
        said = told(capsys)
        assert said.endswith(
            "On 6 test videos this model errs by 15.3 points; always answering 50.2 % errs by 10.4. Do not use it."
        )
        assert "no verdict" not in said
    (own / "model" / "verdict.json").write_text('{"weights": 3}')
    assert main(line) == 0  # of other weights
    (own / "model" / "verdict.json").write_text('{"split": "test"}')
    assert main(line) == 2
    assert "verdict.json is not a readable verdict" in told(capsys)


# ------------------------------------------------------------------------------------------------ archives


def test_recordings_in_a_zip_are_resumed_by_their_content(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], seen: list[str]
) -> None:
    """Results are named by archive and member, made again only where the member changed, and nothing lies beside it."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()

    def pack(**changed: bytes) -> None:
        with zipfile.ZipFile(folder / "study.zip", "w") as archive:
            for name in ("a", "b"):
                archive.writestr(f"p1/{name}.avi", changed.get(name, clip.read_bytes()))

    pack()
    assert main(call(model, out, folder)) == 0
    assert [row["source"] for row in rows_of(out / "predictions.csv")] == [
        f"{folder}/study.zip!/p1/{name}.avi" for name in ("a", "b")
    ]
    assert (out / "study.zip!" / "p1" / "a.avi.json").exists()
    assert [path.name for path in folder.iterdir()] == ["study.zip"]
    pack(b=b"RIFF....AVI torn")
    assert main(call(model, out, folder)) == 1
    assert seen == ["a.avi", "b.avi"]  # neither again
    assert "study.zip!/p1/b.avi cannot be opened as a video" in told(capsys)


# ------------------------------------------------------------------------------------------------ time in seconds


def test_a_recording_of_another_rate_is_brought_to_that_of_training(
    clip: Path, tmp_path: Path, model: Path, seen: list[str]
) -> None:
    """By itself where the rate is outside the training range; what was done is in every output, and decides resuming."""
    from echocycle.data.rate import training_rate

    usual = training_rate(load_bundle(model).reference)
    assert usual is not None
    slow, out = tmp_path / "slow.avi", tmp_path / "out"
    frames = read_video(clip).frames
    write_mjpeg(slow, frames, usual / 2)
    (found,) = predict_all([slow], out, model, device="cpu", stride=30)
    assert (found.time, found.fps, found.recorded_fps) == ("seconds", usual, usual / 2)
    assert found.n_frames == 2 * len(frames) - 1
    assert "time in seconds" in rows_of(out / "predictions.csv")[0]["protocol"]
    assert any("it was brought to" in note for note in found.notes)
    assert not any("frames a second is" in note for note in found.notes)
    predict_all([slow], out, model, device="cpu", stride=30)
    assert seen == ["slow.avi"]  # the same again is not done again
    (as_it_is,) = predict_all([slow], out, model, device="cpu", stride=30, time="frames")
    assert (as_it_is.time, as_it_is.n_frames, as_it_is.recorded_fps) == ("frames", len(frames), None)
    assert seen == ["slow.avi", "slow.avi"]
    (usual_rate,) = predict_all([clip], out, model, device="cpu", stride=30)
    assert (usual_rate.time, usual_rate.n_frames) == ("frames", len(frames))
    content = json.loads((out / "clip.avi.json").read_text())
    content["protocol"] = "clips every 30 frames, mean"  # as it was written before there was a choice
    del content["time"], content["recorded_fps"]
    (out / "clip.avi.json").write_text(json.dumps(content))
    predict_all([clip], out, model, device="cpu", stride=30)
    assert seen == ["slow.avi", "slow.avi", "clip.avi"]
