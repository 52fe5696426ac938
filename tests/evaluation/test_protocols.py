"""Which clips a protocol takes, above all EchoNet-Dynamic's beat-by-beat: one around each systole of the masks."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.chain import LABELS, regress_settings, segment_settings
from helpers.stores import with_index

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.data.clips import clip_starts
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation import protocols as predictions
from echocycle.evaluation.protocols import beat_starts
from echocycle.evaluation.summaries import ef_metrics
from echocycle.files import read_json
from echocycle.inference import clips
from echocycle.models.specs import Part
from echocycle.settings.stages import EvaluateSettings

ECHONET = SimpleNamespace(frames=32, period=2)


def beating(frames: int, beat: int = 40) -> np.ndarray:
    """An area curve with a systole in the middle of each beat."""
    return 900 + 300 * np.cos(2 * np.pi * np.arange(frames) / beat)


def test_clips_are_centred_on_systoles() -> None:
    """Systoles at 20, 60, ..., 180 of 200 frames: the first clip is moved to the start, the last does not fit."""
    assert clip_starts(200, 32, 2) == 138
    assert beat_starts(beating(200), ECHONET) == [0, 28, 68, 108]
    assert beat_starts(beating(200), SimpleNamespace(frames=16, period=3)) == [0, 36, 76, 116]
    assert beat_starts(beating(130, 24), ECHONET) == [0, 4, 28, 52]  # of 12, 36, 60, 84 and 108, which is too late


def test_without_a_beat_there_is_no_clip() -> None:
    assert beat_starts(np.full(120, 700.0), ECHONET) == []
    assert beat_starts(np.linspace(900, 500, 120), ECHONET) == []


def test_unmeasured_videos_are_counted() -> None:
    rows = [
        {"run": "r", "method": "m", "seed": 0, "split": "test", "patient": str(v), "video": str(v), "ef_true": 50.0 + v}
        for v in range(4)
    ]
    every = [
        {**row, "protocol": "strided", "clip_start": 0, "ef_pred": 51.0 + number} for number, row in enumerate(rows)
    ]
    some = [{**row, "protocol": "beat-by-beat", "clip_start": None, "ef_pred": 50.0} for row in rows[:3]]
    found = ef_metrics(pd.DataFrame(every + some), {"test": 4})["test"]
    assert (found["beat-by-beat"]["videos"], found["beat-by-beat"]["not_measured"]) == (3, 1)
    assert found["strided"]["videos"] == 4
    assert "not_measured" not in found["strided"]


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video-only network with a segmenter, and one without."""
    folder = tmp_path_factory.mktemp("runs")
    stages.segment(store.path, folder / "traced", segment_settings("supervised"))
    stages.regress(store.path, folder / "with", regress_settings("supervised"), masks=folder / "traced")
    stages.regress(store.path, folder / "without", regress_settings("supervised"))
    return folder


def test_beat_by_beat(runs: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over the clips at the beats, one row a video; a video without beats has none and is counted."""
    silent = int(store.videos("test")[1])

    def truth(segmenter: object, store: Store, masks: object, video: int, *rest: object) -> np.ndarray:
        found = store.masks("truth").probabilities(video, np.arange(store.n_frames(video)))
        return np.repeat(found[:1], len(found), 0) if video == silent else found

    monkeypatch.setattr(predictions, "video_probabilities", truth)
    settings = EvaluateSettings(splits=("test",), protocol=("all-clips", "beat-by-beat"))
    folder = stages.evaluate(runs / "with", settings)
    table = pd.read_csv(folder / "predictions.csv")
    clips = table[table["protocol"] == "all-clips"].set_index(["video", "clip_start"])["ef_pred"]
    beats = table[table["protocol"] == "beat-by-beat"].set_index("video")
    names = store.index["name"]
    videos = [int(video) for video in store.videos("test") if video != silent]
    assert sorted(beats.index) == sorted(names[video] for video in videos)
    assert beats["clip_start"].isna().all()
    spec = SimpleNamespace(frames=4, period=3)
    for video in videos:
        masks = store.masks("truth").probabilities(video, np.arange(store.n_frames(video)))
        starts = beat_starts((masks > 127).sum((1, 2)), spec)
        assert starts
        expected = np.mean([clips[names[video], start] for start in starts])
        assert beats["ef_pred"][names[video]] == pytest.approx(expected, abs=1e-4)
    metrics = read_json(folder / "metrics.json")["ef"]["test"]
    assert (metrics["beat-by-beat"]["videos"], metrics["beat-by-beat"]["not_measured"]) == (3, 1)


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_is_what_the_device_computes_in(
    runs: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    """It is settled before anything is predicted, and kept; asked for again, the evaluation is done already."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    used: set[str] = set()
    original = clips.members_on_clips

    def noting(*args: Any) -> np.ndarray:
        used.add(args[-1])
        return original(*args)

    monkeypatch.setattr(predictions, "members_on_clips", noting)
    settings = EvaluateSettings(splits=("test",), protocol=("strided",), stride=8 + native, precision="auto")
    folder = stages.evaluate(runs / "without", settings)
    expected = "bf16" if native else "32"
    assert used == {expected}
    assert read_json(folder / "metrics.json")["precision"] == expected
    used.clear()
    stages.evaluate(runs / "without", settings)
    assert not used


def test_a_model_of_several_ef_networks_is_evaluated_by_their_mean(runs: Path, store: Store) -> None:
    part = load_bundle(runs / "with").regressor
    assert part is not None
    spec = replace(part.spec, channels=4)  # sees masks too
    other = Part(spec, spec.build()).to(torch.device("cpu"))
    settings = EvaluateSettings(protocol=("strided",), stride=20)
    masks, video = store.masks("truth"), int(store.videos("test")[0])

    def efs(*parts: Part) -> np.ndarray:
        rows = predictions.predict_video_rows(parts, store, masks, video, settings, torch.device("cpu"), {})
        return np.array([row["ef_pred"] for row in rows])

    np.testing.assert_allclose(efs(part, other), (efs(part) + efs(other)) / 2, rtol=1e-5)


def test_beats_need_masks(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EvaluateSettings(protocol=("beat-by-beat",))
    with pytest.raises(EchocycleError, match="no segmenter; train it with --masks"):
        stages.evaluate(runs / "without", settings)
    monkeypatch.setattr(
        predictions, "video_probabilities", lambda s, store, m, video, *r: np.zeros((store.n_frames(video), 112, 112))
    )
    with pytest.raises(EchocycleError, match="No beat was found"):
        stages.evaluate(runs / "with", settings)


def test_untraced_test_videos_are_left_out_as_the_code_does(store: Store, tmp_path: Path) -> None:
    """A run that drops them is measured without them, its naive baseline too; another run is measured on all."""
    copy = tmp_path / "store"
    shutil.copytree(store.path, copy)
    index = store.index.copy()
    untraced = int(store.videos("test")[2])
    index.loc[untraced, ["annotation", "ed_frame", "es_frame"]] = ["ef", -1, -1]
    with_index(copy, index)
    settings = EvaluateSettings(splits=("test",), protocol=("strided",), stride=40)
    for untraced_videos, expected in (("keep", 4), ("drop", 3)):
        labels = replace(LABELS, untraced=untraced_videos)
        stages.regress(copy, tmp_path / untraced_videos, regress_settings("supervised", labels=labels))
        folder = stages.evaluate(tmp_path / untraced_videos, settings)
        table = pd.read_csv(folder / "predictions.csv")
        assert table["video"].nunique() == expected
        assert (index["name"][untraced] in set(table["video"])) == (untraced_videos == "keep")
        found = read_json(folder / "metrics.json")
        assert found["ef"]["test"]["strided"]["videos"] == expected
        true = index["ef"][[v for v in store.videos("test") if v != untraced or untraced_videos == "keep"]]
        assert found["naive"]["test"]["mae"]["value"] == pytest.approx((true - found["naive"]["ef"]).abs().mean())


def test_one_clip_is_the_codes_test_of_the_student(runs: Path, store: Store, tmp_path: Path) -> None:
    """Five seeds of one random clip a video, each measured alone; every table and page says which protocol it has."""
    settings = EvaluateSettings(splits=("test",), protocol=("one-clip",))
    folder = stages.evaluate(runs / "without", settings)
    names = [f"one-clip-{seed}" for seed in range(5)]
    table = pd.read_csv(folder / "predictions.csv")
    assert len(table) == 5 * 4
    assert all(set(table.loc[table["video"] == video, "protocol"]) == set(names) for video in table["video"])
    frames = store.index.set_index("name")["frames"]
    assert (table["clip_start"] < [clip_starts(frames[video], 4, 3) for video in table["video"]]).all()
    assert table.groupby("video")["clip_start"].nunique().min() > 1
    metrics = read_json(folder / "metrics.json")["ef"]["test"]
    assert list(metrics) == names
    for name, found in metrics.items():
        part = table[table["protocol"] == name]
        assert found["mae"]["value"] == pytest.approx((part["ef_pred"] - part["ef_true"]).abs().mean())
    stages.report(runs / "without", out=tmp_path / "report.html")
    page = (tmp_path / "report.md").read_text()
    assert all(name in page for name in names)


def test_a_one_clip_start_is_uniform() -> None:
    spec = SimpleNamespace(frames=32, period=2)
    settings = EvaluateSettings(clip_seeds=tuple(range(2000)))
    starts = predictions.starts_of("one-clip", 66, spec, settings, "a video")
    counts = np.bincount(starts, minlength=4)
    assert len(counts) == 4  # 0 to T - 63
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # 3 degrees of freedom, p = 0.001
    assert starts[:5] == predictions.starts_of("one-clip", 66, spec, EvaluateSettings(), "a video")
