"""The naive answer is the mean EF of the videos a run was trained on, whatever store it is evaluated on."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.chain import copied, regress_settings
from helpers.stores import with_index

from echocycle import stages
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation import protocols as predictions
from echocycle.evaluation.naive import training_ef
from echocycle.files import read_json, write_json
from echocycle.reporting.collect import collect
from echocycle.settings.stages import EvaluateSettings

TEST = EvaluateSettings(splits=("test",), protocol=("strided",), stride=40)


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naive") / "run"
    stages.regress(store.path, folder, regress_settings("supervised"))
    return folder


@pytest.fixture
def old_run(run: Path, tmp_path: Path) -> Path:
    """A run of an earlier version, whose labels.csv has no column `ef`."""
    shutil.copytree(run, tmp_path / "old", ignore=shutil.ignore_patterns("external-*"))
    table = pd.read_csv(tmp_path / "old" / "labels.csv", dtype=str)
    table[["name", "subset"]].to_csv(tmp_path / "old" / "labels.csv", index=False)
    return tmp_path / "old"


def trained_on(run: Path, store: Store) -> np.ndarray:
    table = pd.read_csv(run / "labels.csv", dtype=str)
    names = table["name"][table["subset"] == "labelled"]
    return store.index.set_index("name")["ef"][names].to_numpy()


def changed(store: Store, folder: Path, **columns: Any) -> Path:
    """A copy of a store with another id and other values in its index."""
    other = copied(store, folder)
    return with_index(other.path, other.index.assign(**columns)).path


def move(run: Path, to: Path) -> None:
    """Let a run say that its store lies elsewhere."""
    write_json(run / "run.json", {**read_json(run / "run.json"), "where": {"store": str(to)}})


def test_the_labels_tell_what_a_run_was_trained_on(run: Path, store: Store) -> None:
    found = training_ef(run)
    assert len(found) == 4
    assert found == pytest.approx(trained_on(run, store), abs=1e-3)


def test_other_subsets_do_not_count_and_an_empty_one_is_named(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("name,subset,ef\nNA,labelled,50.5\n007,unlabelled,\nb,validation,40\nc,labelled,\n")
    assert training_ef(tmp_path).tolist() == [50.5]
    path.write_text("name,subset,ef\na,unlabelled,\n")
    with pytest.raises(EchocycleError, match=r"labels\.csv names no labelled video with an EF"):
        training_ef(tmp_path)
    path.write_text("name,subset,ef\na,labelled,much\n")
    with pytest.raises(EchocycleError, match=r"labels\.csv: column 'ef' must be a finite number"):
        training_ef(tmp_path)
    path.unlink()
    with pytest.raises(EchocycleError, match=r"labels\.csv is missing"):
        training_ef(tmp_path)


def test_an_old_run_asks_the_store_of_its_training(old_run: Path, store: Store, tmp_path: Path) -> None:
    expected = trained_on(old_run, store)
    other = Store(changed(store, tmp_path, ef=store.index["ef"] + 20))
    assert training_ef(old_run).tolist() == expected.tolist()
    assert training_ef(old_run, other).tolist() == expected.tolist()
    for place in (tmp_path / "nowhere", other.path):  # gone, or another one is there now
        move(old_run, place)
        with pytest.raises(EchocycleError, match=f"{store.meta['id']}.*is not at {place}. Put it back"):
            training_ef(old_run, other)
    assert training_ef(old_run, store).tolist() == expected.tolist()  # as with `--store`


@pytest.mark.parametrize("collide", [True, False])
def test_an_external_store_does_not_change_the_naive_answer(
    run: Path, store: Store, tmp_path: Path, collide: bool
) -> None:
    """Its videos may be called as the training videos are, or not; they were not trained on."""
    names = {} if collide else {"name": "other-" + store.index["name"]}
    other = changed(store, tmp_path, ef=store.index["ef"] + 20, **names)
    folder = stages.evaluate(run, TEST, external=other)
    naive = read_json(folder / "metrics.json")["naive"]
    assert naive["ef"] == pytest.approx(trained_on(run, store).mean(), abs=1e-3)
    test = Store(other).index.query("split == 'test'")["ef"]
    assert naive["test"]["bias"]["value"] == pytest.approx(naive["ef"] - test.mean())


def test_a_missing_answer_is_refused_before_anything_is_predicted(
    old_run: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(old_run, tmp_path / "nowhere")
    monkeypatch.setattr(predictions, "members_on_clips", lambda *_: pytest.fail("was predicted"))
    with pytest.raises(EchocycleError, match="has no column ef"):
        stages.evaluate(old_run, TEST, external=changed(store, tmp_path))


def test_the_report_reads_the_same_or_says_why_not(run: Path, old_run: Path, tmp_path: Path) -> None:
    assert collect([run], "t").train_ef.tolist() == training_ef(run).tolist()
    move(old_run, tmp_path / "nowhere")
    data = collect([old_run], "t")
    assert data.train_ef is None
    assert any("no naive baseline" in warning and "is not at" in warning for warning in data.warnings)
