"""What a call of `predict` can be asked for: protocols, formats, processes; one call at a time in a folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.predicting import FRAMES, PERIOD, call, copies, files_in, rows_of, told, video_of, watch

from echocycle.bundle import Bundle, load_bundle, save_bundle
from echocycle.cli import main
from echocycle.data.clips import clip_starts
from echocycle.inference.batch import predict_all
from echocycle.locks import alone_in
from echocycle.recordings.video import read_video


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is predicted and not taken from before."""
    return watch(monkeypatch)


def test_protocols_choose_clips(phantom_folder: Path, tmp_path: Path, model: Path) -> None:
    path = video_of(phantom_folder)
    count = clip_starts(len(read_video(path).frames), FRAMES, PERIOD)
    starts, words = {}, set()
    for protocol in ("one-clip", "all-clips", "beats"):
        (found,) = predict_all([path], tmp_path / "out", model, device="cpu", protocol=protocol, formats="json")  # type: ignore[arg-type]
        starts[protocol] = [start for start, _ in found.ef_clips]
        words.add(found.protocol)
        assert found.ef == pytest.approx(np.mean([ef for _, ef in found.ef_clips]))
        beats = found.ed_frames
    assert starts["one-clip"] == [(count - 1) // 2]
    assert starts["all-clips"] == list(range(count))
    assert beats
    assert starts["beats"] == sorted({ed for ed in beats if ed < count})
    assert len(words) == 3  # each is another result: none was taken for another's


def test_beats_need_masks(clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = load_bundle(model)
    assert whole.regressor is not None
    alone = Bundle(None, whole.regressor, whole.provenance, whole.reference)
    spec = alone.regressor.spec  # type: ignore[union-attr]
    assert spec.takes_masks
    run = tmp_path / "run"
    save_bundle(alone, run / "model")
    line = ["predict", str(clip), "-o", str(tmp_path / "out"), "-m", str(run), "--protocol", "beats"]
    assert main(line) == 2
    assert "has no segmenter, so no beats can be found" in told(capsys)
    assert not (tmp_path / "out").exists()


def test_formats_are_what_is_written(
    clip: Path, tmp_path: Path, model: Path, seen: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "clip.avi", tmp_path / "out"
    copies(clip, path)
    line = call(model, out, path)
    assert main([*line, "--formats", "json"]) == 0
    assert files_in(out) == ["clip.avi.json", "failures.csv", "manifest.json"]
    assert main([*line, "--formats", "json,html,seg,sr"]) == 0  # what is new is made
    said = told(capsys)
    assert seen == ["clip.avi", "clip.avi"]
    assert files_in(out) == ["clip.avi.json", "clip.avi.page.html", "failures.csv", "index.html", "manifest.json"]
    assert said.count("only a recording that is DICOM holds") >= 1  # a sentence, no failure
    assert rows_of(out / "failures.csv") == []
    assert main([*line, "--formats", "html"]) == 0
    assert len(seen) == 2
    assert main([*line, "--formats", "json,docx"]) == 2
    assert "no format 'docx'" in told(capsys)


def test_the_manifest_tells_how_it_was_computed(clip: Path, tmp_path: Path, model: Path) -> None:
    copies(clip, tmp_path / "a.avi")
    (tmp_path / "b.avi").write_bytes(b"RIFF....AVI torn")
    out = tmp_path / "out"
    for _ in range(2):
        main([*call(model, out, tmp_path / "a.avi", tmp_path / "b.avi"), "--formats", "json"])
    content = json.loads((out / "manifest.json").read_text())
    first, second = content["calls"]
    assert first["model"]["id"] == load_bundle(model).id
    assert set(first["model"]["sha256"]) == {"segmenter", "regressor"}
    assert first["settings"]["stride"] == 30
    assert first["settings"]["formats"] == ["json"]
    assert first["computing"]["device"] == "cpu"
    assert first["computing"]["precision"] == "float32"
    assert {"echocycle", "torch", "python", "av", "highdicom"} <= set(first["versions"])
    assert first["recordings"] == {"found": 2, "predicted": 1, "taken_from_before": 0, "unreadable": 1}
    assert second["recordings"] == {"found": 2, "predicted": 0, "taken_from_before": 1, "unreadable": 1}
    assert "computing" not in second
    assert first["started"] <= first["ended"] <= second["started"]
    (out / "manifest.json").write_text("[]")
    assert main(call(model, out, tmp_path / "a.avi")) == 2  # somebody else's file


def test_processes_give_the_same_bytes_as_one(clip: Path, tmp_path: Path, model: Path) -> None:
    """JSON and CSV; elsewhere than where they were made before, and the manifest has the rest."""
    copies(clip, *(tmp_path / "in" / f"{name}.avi" for name in "ab"))
    (tmp_path / "in" / "c.avi").write_bytes(b"RIFF....AVI torn")
    made = []
    for workers in ("1", "2"):
        out = tmp_path / workers
        assert main([*call(model, out, tmp_path / "in"), "--formats", "json,csv", "--workers", workers]) == 1
        names = [name for name in files_in(out) if name != "manifest.json"]
        made.append({name: (out / name).read_bytes() for name in names})
        assert json.loads((out / "manifest.json").read_text())["calls"][0]["computing"]["device"] == "cpu"
    assert {"a.avi.json", "b.avi.json", "predictions.csv", "failures.csv"} <= set(made[0])
    assert made[0] == made[1]
    assert main([*call(model, tmp_path / "1", tmp_path / "in"), "--workers", "0"]) == 2


def test_a_second_call_on_a_folder_is_told_who_is_at_work(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with alone_in(out):
        line = [sys.executable, "-m", "echocycle", *call(model, out, clip)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "is being written by process" in done.stderr
    assert "wait until it is done, or stop it" in done.stderr
    assert files_in(out) == []
    assert main([*call(model, out, clip), "--formats", "json"]) == 0
    assert not list(tmp_path.glob(".*lock*"))
