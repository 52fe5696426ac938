"""A model on a store that it was not trained on, EF of the traced frames alone, and masks of one blob."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.chain import copied, regress_settings, segment_settings
from helpers.stores import with_index

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.cardiac.beats import largest_components
from echocycle.cardiac.discs import disc_volume
from echocycle.data.rate import training_rate
from echocycle.data.store import Store
from echocycle.data.store_at_rate import seen_by
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.evaluation import protocols as predictions
from echocycle.evaluation.journal import RowJournal
from echocycle.evaluation.protocols import mask_rows
from echocycle.evaluation.summaries import dice_metrics, traced_metrics
from echocycle.evaluation.tables import read_dice, read_volumes
from echocycle.files import read_json, sha256
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.stages import EvaluateSettings, PrepareSettings


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("external") / "run"
    stages.segment(store.path, folder, segment_settings("supervised"))
    stages.evaluate(folder, EvaluateSettings(splits=("test",)))
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the second hospital."""
    folder = tmp_path_factory.mktemp("second")
    write_phantom(folder / "phantom", PhantomSettings(videos=5, val=1, test=3, hospital="second", seed=8))
    return prepare_store(folder / "phantom", folder / "store", PrepareSettings(workers=0)).path


def test_results_on_another_store_lie_beside_the_runs_own(run, elsewhere):
    own = {path.name: sha256(path) for path in (run / "evaluation").iterdir()}
    found = stages.evaluate(run, EvaluateSettings(splits=("test",)), external=elsewhere)
    assert found == run / f"external-{Store(elsewhere).meta['id']}"
    assert {path.name: sha256(path) for path in (run / "evaluation").iterdir()} == own
    names = set(Store(elsewhere).index.query("split == 'test'")["name"])
    assert set(read_dice(found / "dice.csv")["video"]) == names
    assert read_json(found / "metrics.json")["job"]["store"] == Store(elsewhere).meta["id"]


def test_a_store_of_another_rate_is_evaluated_in_seconds(run, elsewhere):
    """Its videos at the usual rate of the training videos; the traced frames stay, and metrics.json says it."""
    other = Store(elsewhere)
    rate = training_rate(load_bundle(run).reference)
    found = stages.evaluate(run, EvaluateSettings(splits=("test",), time="seconds"), external=elsewhere)
    metrics = read_json(found / "metrics.json")
    assert metrics["time"] == metrics["job"]["settings"]["time"] == "seconds"
    volumes = read_volumes(found / "volumes.csv").set_index("video")
    dice = read_dice(found / "dice.csv")
    seen = seen_by(other, "seconds", {"fps": rate}, "M")
    for video in other.videos("test"):
        name = other.index["name"][video]
        assert seen.n_frames(video) == pytest.approx(other.n_frames(video) * rate / other.index["fps"][video], abs=1.5)
        assert name in volumes.index
    in_frames = stages.evaluate(run, EvaluateSettings(splits=("test",)), external=elsewhere)
    assert read_json(in_frames / "metrics.json")["time"] == "frames"
    traced = dice["phase"].isin(["ED", "ES"])
    before = read_dice(in_frames / "dice.csv")
    pairs = dice[traced].merge(before[before["phase"].isin(["ED", "ES"])], on=["video", "phase"])
    assert len(pairs) == 2 * len(other.videos("test"))
    # the same frames, seen by the same segmenter, in other batches
    assert pairs["intersection_x"].tolist() == pytest.approx(pairs["intersection_y"].tolist(), abs=2)


def test_another_store_must_be_named_as_such(run, elsewhere):
    with pytest.raises(EchocycleError, match="not the store that"):
        stages.evaluate(run, store=elsewhere)
    with pytest.raises(EchocycleError, match="either `--store` or `--external`"):
        stages.evaluate(run, store=elsewhere, external=elsewhere)


def test_ef_of_the_traced_frames_is_that_of_their_discs(store):
    """Given the traced masks as prediction, both EF are equal, and those of the discs."""
    video = int(store.videos("test")[0])
    row, traced = store.index.iloc[video], store.traced_masks(video)
    found = np.zeros((store.n_frames(video), 112, 112), np.uint8)
    found[row["ed_frame"]], found[row["es_frame"]] = traced * np.uint8(255)
    _, volumes = mask_rows(found, store, None, video, "run")
    edv, esv = (disc_volume(mask).volume for mask in traced)
    assert volumes["ef_traced_true"] == pytest.approx(100 * (edv - esv) / edv)
    assert volumes["ef_traced_pred"] == volumes["ef_traced_true"]
    _, empty = mask_rows(0 * found, store, None, video, "run")
    assert np.isnan(empty["ef_traced_pred"])


def test_metrics_of_the_traced_frames_leave_out_what_was_not_measured():
    true, pred = ["60.0", "40.0", "50.0", "30.0", ""], ["58.0", "44.0", "51.0", "", "20.0"]
    rows = {"split": "test", "patient": [str(n) for n in range(5)], "ef_traced_true": true, "ef_traced_pred": pred}
    found = traced_metrics(pd.DataFrame(rows).replace("", np.nan))["test"]
    assert found["videos"] == 3
    assert found["mae"]["value"] == pytest.approx((2 + 4 + 1) / 3)
    assert found["bias"]["value"] == pytest.approx((-2 + 4 + 1) / 3)


def test_largest_only_drops_the_other_blobs(run, store):
    whole = read_dice(run / "evaluation" / "dice.csv").set_index(["video", "phase"])
    masks: dict[bool, np.ndarray] = {}
    from echocycle.bundle import load_bundle
    from echocycle.device import choose_device
    from echocycle.evaluation.protocols import video_probabilities
    from echocycle.inference.clips import THRESHOLD

    part, video = load_bundle(run).segmenter, int(store.videos("test")[0])
    assert part is not None
    for largest in (False, True):
        settings = EvaluateSettings(largest_only=largest)
        masks[largest] = video_probabilities(part, store, None, video, settings, choose_device("cpu")) > THRESHOLD
    assert np.array_equal(masks[True], largest_components(masks[False]))
    found = stages.evaluate(run, EvaluateSettings(splits=("test",), largest_only=True), external=store.path)
    one_blob = read_dice(found / "dice.csv").set_index(["video", "phase"])
    assert (one_blob["size_pred"] <= whole["size_pred"]).all()


# -------------------------------------------------------------------------------------------- other stores


@pytest.fixture(scope="module")
def regression(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression") / "run"
    stages.regress(store.path, folder, regress_settings("supervised"))
    return folder


def test_frames_of_another_kind_are_refused_before_anything_is_predicted(
    run, regression, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    """Grey models on an RGB store, and a model of RGB frames on a grey one."""
    monkeypatch.setattr(predictions, "members_on_clips", lambda *_: pytest.fail("was predicted"))
    monkeypatch.setattr(predictions, "video_probabilities", lambda *_: pytest.fail("was predicted"))
    write_phantom(tmp_path / "phantom", PhantomSettings(videos=10, val=3, test=3))
    rgb, grey = (
        prepare_store(tmp_path / "phantom", tmp_path / name, PrepareSettings(color=name == "rgb", workers=0)).path
        for name in ("rgb", "grey")
    )
    for grey_model in (run, regression):
        with pytest.raises(
            EchocycleError, match="trained on grey frames and .*rgb holds RGB ones.*again without --color"
        ):
            stages.evaluate(grey_model, external=rgb)
    stages.regress(rgb, tmp_path / "of-rgb", regress_settings("supervised"))
    with pytest.raises(EchocycleError, match="trained on RGB frames and .*grey holds grey ones.*again with --color"):
        stages.evaluate(tmp_path / "of-rgb", external=grey)


def test_a_split_of_one_patient_has_values_without_intervals(regression, store, tmp_path):
    other = copied(store, tmp_path).path
    with_index(other, store.index.assign(patient="the same"))
    settings = EvaluateSettings(splits=("test",), protocol=("strided",), stride=40)
    metrics = read_json(stages.evaluate(regression, settings, external=other) / "metrics.json")
    for found in (metrics["ef"]["test"]["strided"]["mae"], metrics["naive"]["test"]["mae"]):
        assert found["value"] > 0
        assert found["low"] is found["high"] is None


def test_a_torn_journal_loses_the_torn_video_alone(tmp_path):
    path = tmp_path / "journal.jsonl"
    list(RowJournal(path, {"job": 1}).over("Evaluating", [3, 5], lambda video: [video]))
    before = path.read_bytes()
    for torn in (b'{"video": 7, "ro', b'{"video": 7, "rows"\n', b"\x00\x00\x00\n"):
        path.write_bytes(before + torn)
        assert RowJournal(path, {"job": 1}).rows == {3: [3], 5: [5]}
        assert path.read_bytes() == before


def test_a_journal_of_another_evaluation_is_dropped_and_said_so(tmp_path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "journal.jsonl"
    list(RowJournal(path, {"job": 1}).over("Evaluating", [3], lambda video: [video]))
    assert capsys.readouterr().err.count("predicted again") == 0
    assert RowJournal(path, {"job": 2}).rows == {}
    assert "journal.jsonl is of an evaluation with other settings" in " ".join(capsys.readouterr().err.split())


# ----------------------------------------------------------------------------------------------- the tables


def test_dice_is_pooled_and_averaged_over_videos():
    """One video with large masks and one with small ones, of Dice 1/2 and 1: their mean stands beside the pooled one."""
    counts = [("a", "ED", 50, 100, 100), ("a", "ES", 50, 100, 100), ("b", "ED", 10, 10, 10), ("b", "ES", 10, 10, 10)]
    table = pd.DataFrame(counts, columns=["video", "phase", "intersection", "size_true", "size_pred"])
    for phase, found in dice_metrics(table.assign(split="test"))["test"].items():
        assert found["videos"] == 2, phase
        assert found["mean"] == pytest.approx((0.5 + 1) / 2)
        assert found["pooled"] == pytest.approx(2 * 60 / (110 + 110))


def test_the_page_asks_for_nothing_that_no_run_can_have(run, regression, store, tmp_path):
    stages.evaluate(regression, EvaluateSettings(splits=("test",), protocol=("strided",), stride=40))
    text = stages.report(run, regression, out=tmp_path / "report.html").with_suffix(".md").read_text()
    assert f"Phantom | version {store.phantom_version} |" in text
    for words in ("not recorded", "No run has", "Duration", "area curves"):
        assert words not in text, words
