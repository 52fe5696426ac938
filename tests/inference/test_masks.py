"""Mask sets belong to a segmenter's weights, whatever its run is called and wherever it lies."""

import shutil
from pathlib import Path

import pytest
from helpers.chain import copied, regress_settings, segment_settings

from echocycle import stages
from echocycle.data.store import Store, mask_names
from echocycle.errors import EchocycleError
from echocycle.experiments.perform import is_done, remove
from echocycle.experiments.plan import Job
from echocycle.files import read_json, sha256, write_json
from echocycle.settings.stages import EvaluateSettings, MaskSettings


@pytest.fixture
def marked(store: Store, tmp_path: Path) -> tuple[Path, Path]:
    """A store with a run's masks, and the run."""
    own, run = copied(store, tmp_path).path, tmp_path / "css"
    stages.segment(own, run, segment_settings("css"))
    stages.mask(own, run)
    return own, run


def test_a_renamed_run_finds_its_masks(marked: tuple[Path, Path], tmp_path: Path) -> None:
    store, run = marked
    made = Store(store).masks_of(sha256(run / "model" / "segmenter.safetensors"))
    assert made is not None
    moved = run.rename(tmp_path / "renamed")
    names = mask_names(store)
    assert stages.mask(store, moved).folder == made.folder
    assert mask_names(store) == names == [made.id, "truth"]
    stages.regress(store, tmp_path / "teacher", regress_settings("teacher"), masks=moved)
    settings = EvaluateSettings(splits=("test",), protocol=("strided",), stride=40)
    assert (stages.evaluate(tmp_path / "teacher", settings) / "predictions.csv").exists()


def test_masks_that_are_not_there_are_named_with_the_command(marked: tuple[Path, Path], tmp_path: Path) -> None:
    store, run = marked
    shutil.rmtree(next((store / "masks").glob("css-*")))
    with pytest.raises(EchocycleError, match=r"no masks of the segmenter of .*css\. Make them with `echocycle mask"):
        stages.regress(store, tmp_path / "teacher", regress_settings("teacher"), masks=run)
    assert not (tmp_path / "teacher").exists()


def test_masks_of_some_splits_are_not_taken_for_all(store: Store, tmp_path: Path) -> None:
    own, run = copied(store, tmp_path).path, tmp_path / "css"
    stages.segment(own, run, segment_settings("css"))
    made = stages.mask(own, run, MaskSettings(splits=("val",)))
    assert stages.mask(own, run, MaskSettings(splits=("val",))).folder == made.folder
    with pytest.raises(EchocycleError, match="cover val only"):
        stages.mask(own, run)


def test_an_experiment_deletes_its_own_masks_and_nobody_elses(marked: tuple[Path, Path], tmp_path: Path) -> None:
    """A copy of its run, marked under another name, has the same hash."""
    store, run = marked
    job = Job("mask", run, store, MaskSettings(), "css")
    copy = Path(shutil.copytree(run, tmp_path / "mine"))
    own = next((store / "masks").glob("css-*"))
    theirs = own.rename(own.with_name(own.name.replace("css", "mine")))
    assert is_done(job)  # found under the other name
    assert is_done(Job("mask", copy, store, MaskSettings(), "css"))
    remove(job)
    assert theirs.exists()
    theirs.rename(own)
    remove(job)
    assert mask_names(store) == ["truth"]
    assert not is_done(job)
    settings = read_json(run / "model" / "settings.json")
    for parts in (None, [], {}, {"segmenter": None}, {"segmenter": {"sha256": 3}}):
        write_json(run / "model" / "settings.json", {**settings, "parts": parts})
        with pytest.raises(EchocycleError, match=r"settings\.json"):
            is_done(job)


def test_an_evaluation_counts_as_done_for_its_settings_alone(tmp_path: Path) -> None:
    job = Job("evaluate", tmp_path, tmp_path, EvaluateSettings(stride=3, batch=7), "css")
    assert not is_done(job)
    settings = {
        "splits": ["val", "test"],
        "protocol": ["all-clips"],
        "stride": 3,
        "clip_seeds": [0, 1, 2, 3, 4],
        "precision": "32",
        "largest_only": False,
    }
    file = tmp_path / "evaluation" / "metrics.json"
    write_json(file, {"job": {"settings": settings, "store": "abc"}})
    assert is_done(job)
    write_json(file, {"job": {"settings": {**settings, "stride": 4}, "store": "abc"}})
    assert not is_done(job)
    for content in ([], {}, {"job": None}, {"job": {"settings": None, "store": "abc"}}):
        write_json(file, content)
        with pytest.raises(EchocycleError, match=r"metrics\.json.*evaluated again"):
            is_done(job)
