"""A model on a store that it was not trained on, EF of the traced frames alone, and masks of one blob."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chain import segment_settings

from echocycle import stages
from echocycle.data.phantom import PhantomSettings, write_phantom
from echocycle.data.prepare import prepare_store
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.evaluate import traced_metrics
from echocycle.evaluation.predictions import mask_rows
from echocycle.evaluation.tables import read_dice
from echocycle.evaluation.volumes import disc_volume, largest_components
from echocycle.files import read_json, sha256
from echocycle.settings import EvaluateSettings, PrepareSettings


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
    from echocycle.bundle import choose_device, load_bundle
    from echocycle.evaluation.predictions import THRESHOLD, video_probabilities

    part, video = load_bundle(run).segmenter, int(store.videos("test")[0])
    assert part is not None
    for largest in (False, True):
        settings = EvaluateSettings(largest_only=largest)
        masks[largest] = video_probabilities(part, store, None, video, settings, choose_device("cpu")) > THRESHOLD
    assert np.array_equal(masks[True], largest_components(masks[False]))
    found = stages.evaluate(run, EvaluateSettings(splits=("test",), largest_only=True), external=store.path)
    one_blob = read_dice(found / "dice.csv").set_index(["video", "phase"])
    assert (one_blob["size_pred"] <= whole["size_pred"]).all()
