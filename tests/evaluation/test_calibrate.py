"""From an evaluated run to the calibration in its bundle: which videos calibrate, and what is said where they are few."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.bundle import Bundle, save_bundle
from echocycle.calibration import LEVEL, read_calibration
from echocycle.data.domain_shift import describe, unlikeness
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import UnlabelledAnnotationError
from echocycle.evaluation.calibrate import calibration_table, fit_calibration, keep_calibration, read_intervals
from echocycle.evaluation.tables import write_predictions
from echocycle.models.specs import Part, RegressorSpec
from echocycle.reporting.interval_blocks import interval_blocks
from echocycle.reporting.run_data import RunReport
from echocycle.runs import Run
from echocycle.settings.convert import identity
from echocycle.settings.stages import LabelSettings


def test_calibration_videos_choose_no_epoch_and_count(store: Store) -> None:
    all_of_them = draw_budget(store, LabelSettings("4"), needs="ef")
    budget = draw_budget(store, LabelSettings("4", calibration="1/2"), needs="ef")
    assert len(budget.calibration) == len(all_of_them.validation) // 2
    assert not set(budget.calibration) & set(budget.validation)
    assert set(budget.calibration) | set(budget.validation) == set(all_of_them.validation)
    assert budget.labels_used == all_of_them.labels_used
    assert budget.summary()["calibration"] == len(budget.calibration)
    assert "calibration" not in all_of_them.summary()
    with pytest.raises(UnlabelledAnnotationError):
        TrainingData(store, budget).ef(budget.calibration[0])
    assert identity(LabelSettings("4")) == identity(replace(LabelSettings("4"), calibration="0"))
    assert "calibration" not in identity(LabelSettings("4"))


def test_unlikeness(store: Store) -> None:
    frames = np.array(store.frames(0))
    value = describe(frames)["sharpness"]
    for low, high, expected in ((value - 1, value + 1, 0.0), (value - 3, value - 1, 0.5), (value + 9, value + 10, 1.0)):
        assert unlikeness(frames, 50.0, {"ranges": {"sharpness": [low, high]}}) == pytest.approx(expected)
    assert np.isnan(unlikeness(frames, 50.0, {}))
    assert unlikeness(frames, np.nan, {"ranges": {"fps": [40, 60]}}) == 0


def a_run(store: Store, path: Path, subsets: dict[str, str]) -> Run:
    """An evaluated run whose answers are off by a known amount, two clips a video."""
    spec = RegressorSpec("r2plus1d_18", (4, 8, 8, 8), 3, 10.0, 32, 8, 2, (30.0,), (50.0,), False)
    reference = {"ranges": {"sharpness": [0.0, 100.0]}}
    save_bundle(Bundle(None, Part(spec, spec.build()), {"run": "a"}, reference), path / "model")
    rows = []
    for video, entry in store.index.iterrows():
        if entry["split"] in ("val", "test"):
            for clip in range(2):
                rows.append(
                    {"run": "a", "method": "supervised", "seed": 0, "split": entry["split"], "patient": entry["patient"],
                     "video": entry["name"], "protocol": "strided", "clip_start": 8 * clip, "ef_true": entry["ef"],
                     "ef_pred": entry["ef"] + (2 if clip else -1) + int(video) % 3}
                )  # fmt: skip
    (path / "evaluation").mkdir()
    write_predictions(path / "evaluation" / "predictions.csv", pd.DataFrame(rows))
    train = store.index[store.index["split"] == "train"]
    lines = ["name,subset,ef", *(f"{row['name']},labelled,{row['ef']!r}" for _, row in train.iterrows())]
    lines += [f"{name},{subset}," for name, subset in subsets.items()]
    (path / "labels.csv").write_text("\n".join(lines) + "\n")
    return Run(path)


def test_a_run_with_few_calibration_videos_has_the_naive_interval(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [store.index["name"][video] for video in store.videos("val")]
    run = a_run(store, tmp_path, {names[0]: "validation", **dict.fromkeys(names[1:], "calibration")})
    table = calibration_table(run, store).set_index("video")
    assert table.loc[names[0], "subset"] == "selection"
    assert (table.loc[names[1:], "subset"] == "calibration").all()
    assert table["spread"].to_numpy() == pytest.approx(1.5)
    assert (table["unlikeness"] == 0).all()
    assert table["disagreement"].isna().all()  # the model has no segmenter
    assert keep_calibration(run, store) is not None
    assert "naive" in capsys.readouterr().err
    found = read_calibration(run.path)
    assert found is not None
    assert len(found.regression) == len(names) - 1
    interval, likely = found.regression_interval(55.0, 1.5)
    assert (interval.kind, interval.level, likely) == ("naive", LEVEL, {})
    held_out = read_intervals(run.path / "evaluation")
    assert held_out is not None
    assert set(held_out["subset"]) == {"calibration", "test"}
    words = interval_blocks(RunReport("a", "supervised", intervals=held_out))
    assert "too few for more than the naive interval" in str(words[0])
    assert interval_blocks(RunReport("a", "supervised")) == []
    wide = interval_blocks(RunReport("a", "supervised", intervals=held_out.assign(kind="conformal")))
    assert "90 % should be held" in str(wide[0])


def test_without_calibration_videos_nothing_is_measured(store: Store, tmp_path: Path) -> None:
    names = [store.index["name"][video] for video in store.videos("val")]
    run = a_run(store, tmp_path, dict.fromkeys(names, "validation"))
    table = calibration_table(run, store)
    assert table["unlikeness"].isna().all()
    assert set(table["subset"]) == {"selection", "test"}
    keep_calibration(run, store)
    found = read_calibration(run.path)
    assert found is not None
    assert (len(found.regression), found.selection_videos) == (0, len(names))


def test_a_calibration_of_many_videos() -> None:
    rng = np.random.default_rng(0)
    true = np.concatenate([rng.uniform(20, 50, 150), rng.normal(62, 5, 250)])
    nothing = np.full(400, np.nan)
    table = pd.DataFrame(
        {"subset": np.where(np.arange(400) % 2, "calibration", "selection"), "protocol": "strided", "ef_true": true,
         "ef_pred": true + rng.normal(0, 3, 400), "ef_discs": true + rng.normal(0, 5, 400), "spread": nothing,
         "disagreement": nothing, "unlikeness": nothing}
    )  # fmt: skip
    found = fit_calibration(table, rng.normal(58, 10, 300))
    narrow, _ = found.regression_interval(62.0)
    wide, _ = found.discs_interval(62.0)
    assert (narrow.kind, wide.kind) == ("conformal", "conformal")
    assert narrow.high - narrow.low < wide.high - wide.low  # type: ignore[operator]
    assert found.naive_half_width == pytest.approx(16.4, abs=3)
