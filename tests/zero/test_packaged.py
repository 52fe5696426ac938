"""The model in the package in use: found by its name, and it says what it is."""

import json

import pytest

from echocycle import info
from echocycle.bundle import load_bundle
from echocycle.bundle_description import PACKAGED, bundle_folder
from echocycle.cli import main
from echocycle.device import choose_device
from echocycle.inference.recordings import predict_recording
from echocycle.phantom.clip import make_clip
from echocycle.phantom.settings import PhantomSettings
from echocycle.recordings.video import write_mjpeg
from echocycle.writers.as_csv import read_rows
from echocycle.writers.as_json import read_prediction
from echocycle.writers.overlay import notices
from echocycle.zero.make import NOTICE


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    clip = make_clip(0, PhantomSettings(seed=77, frames_min=50, frames_median=50, frames_max=60))
    path = tmp_path_factory.mktemp("recording") / "clip.avi"
    write_mjpeg(path, clip.frames, clip.fps)
    return path, clip


def test_name_stands_for_the_package_and_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bundle_folder("zero") == PACKAGED["zero"]
    (tmp_path / "zero").mkdir()
    assert bundle_folder("zero").resolve() == (tmp_path / "zero").resolve()


@pytest.mark.parametrize("words", [[], ["--model", "zero"]], ids=["no model named", "named"])
def test_predict_says_first_and_everywhere_what_it_is(recording, tmp_path, monkeypatch, capsys, words):
    path, _ = recording
    monkeypatch.chdir(tmp_path)
    if not words:
        (tmp_path / "zero").mkdir()  # what merely has its name is not taken
    assert main(["predict", str(path), "--out", "out", *words]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[: 1 + (not words)] == ["No model is named (--model): the one in the package, `zero`, is used."] * (
        not words
    ) + [NOTICE]
    written = json.loads((tmp_path / "out/clip.avi.json").read_text())
    assert NOTICE in written["notes"]
    assert NOTICE in written["warnings"]
    assert written["model"]["method"] == "zero"
    assert [NOTICE in row["notes"] for row in read_rows(tmp_path / "out")] == [True]
    assert " ".join(notices(read_prediction(tmp_path / "out/clip.avi.json"))) == NOTICE  # over the picture


def test_notice_says_what_it_was_trained_on_and_what_it_reached():
    assert "trained on synthetic clips only; on real images it reached" in NOTICE


def test_it_finds_the_ventricle_and_its_ef_in_a_clip_it_has_not_seen(recording):
    path, clip = recording
    found = predict_recording(path, load_bundle("zero"), choose_device("cpu"))
    masks = found.masks > 127.5
    assert 2 * (masks & clip.masks).sum() / (masks.sum() + clip.masks.sum()) > 0.8
    assert abs(found.ef - clip.ef) < 20


def test_info_prints_the_card(capsys):
    facts = info.info("zero")
    printed = capsys.readouterr().out
    card = (PACKAGED["zero"] / "card.md").read_text()
    assert facts["card"] == card
    for part in card.splitlines():
        assert part.strip() in printed
    for word in ("Apache-2.0", "CAMUS", "synthetic", "not a medical device", "docs/results/zero.md"):
        assert word in card
    info.info("zero", json=True)
    assert json.loads(capsys.readouterr().out)["card"] == card
