"""Half beats as a network of whole beats sees them: the dossier's mirror, what fills a clip, whose mean, whose patients."""

from pathlib import Path

import numpy as np
import pytest
from helpers.chain import copied, regress_settings

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.data.details import read_details, write_details
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.half_beats import as_tested, frames_for, shown_frames
from echocycle.evaluation.tables import read_predictions
from echocycle.files import read_json
from echocycle.settings.stages import EvaluateSettings


def test_the_mirror_is_the_dossiers() -> None:
    """Half of the frames before the start, half behind the end, the end frames twice: 2 T frames."""
    assert shown_frames(4, "symmetric").tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert shown_frames(5, "symmetric").tolist() == [1, 0, 0, 1, 2, 3, 4, 4, 3, 2]
    assert shown_frames(3, "forward-backward").tolist() == [0, 1, 2, 2, 1, 0]
    assert shown_frames(3).tolist() == [0, 1, 2]
    assert shown_frames(2, "forward-backward", until=6).tolist() == [0, 1, 1, 0, 0, 1, 1, 0]


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("half") / "run"
    stages.regress(store.path, folder, regress_settings("supervised"))
    return folder


def test_what_fills_a_clip(run: Path) -> None:
    spec = load_bundle(run).regressor.spec  # type: ignore[union-attr]
    black = EvaluateSettings(half_beats="symmetric")
    assert len(frames_for(3, black, spec)) == 6
    assert len(frames_for(3, EvaluateSettings(half_beats="symmetric", fill="repeat"), spec)) >= spec.span
    assert len(frames_for(3, EvaluateSettings(fill="repeat"), spec)) == 3  # whole videos stay as they are


def test_period_and_statistics(run: Path, store: Store) -> None:
    part = load_bundle(run).regressor
    assert part is not None
    videos = [int(video) for video in store.videos("test")]
    assert as_tested(part, store, videos, EvaluateSettings()) is part
    dense = as_tested(part, store, videos, EvaluateSettings(half_beats="symmetric", fill="period-1"))
    assert (dense.spec.period, part.spec.period) == (1, 3)
    own = as_tested(part, store, videos, EvaluateSettings(statistics="store"))
    assert own.spec.mean != part.spec.mean
    assert own.spec.mean[0] == pytest.approx(float(own.preprocess.mean[0]), abs=1e-4)
    assert own.spec.mean[0] == pytest.approx(np.mean([store.frames(video).mean() for video in videos]), rel=0.3)


def test_the_mirrored_video_gives_what_a_mirrored_store_would(run: Path, store: Store, tmp_path: Path) -> None:
    """The answer for a clip of the mirrored video is that for its frames, whichever way they come in."""
    from echocycle.inference.clips import predict_clips

    settings = EvaluateSettings(splits=("test",), half_beats="symmetric", protocol=("strided",), stride=60)
    folder = stages.evaluate(run, settings, external=store.path)
    table = read_predictions(folder / "predictions.csv")
    part, video = load_bundle(run).regressor, int(store.videos("test")[0])
    assert part is not None
    first = table[(table["video"] == store.index["name"][video]) & (table["clip_start"] == 60)]
    frames = np.asarray(store.frames(video))
    half = len(frames) // 2
    mirrored = np.concatenate([frames[:half][::-1], frames, frames[half:][::-1]])
    import torch

    expected = predict_clips(part, mirrored, None, [60], 1, torch.device("cpu"))[0]
    assert first["ef_pred"].iloc[0] == pytest.approx(float(expected), abs=1e-3)
    assert read_json(folder / "metrics.json")["job"]["settings"]["half_beats"] == "symmetric"


def test_whom_the_paper_tests_on_must_be_known(run: Path, store: Store) -> None:
    with pytest.raises(EchocycleError, match="does not say whom the paper tests on"):
        stages.evaluate(run, EvaluateSettings(splits=("test",), patients="paper"), external=store.path)


# -------------------------------------------------------------------------------------------------- details


def test_a_store_of_an_earlier_version_knows_nothing_and_works(run: Path, store: Store, tmp_path: Path) -> None:
    other = copied(store, tmp_path)
    assert set(other.details["rhythm"]) == {"regular"} or "irregular" in set(other.details["rhythm"])
    (other.path / "details.csv").unlink()
    other = Store(other.path)
    assert other.meta["id"] == store.meta["id"]
    assert other.detail("anything", "quality") == ""
    settings = EvaluateSettings(splits=("test",), protocol=("one-clip",), clip_seeds=(0,))
    table = read_predictions(stages.evaluate(run, settings, external=other.path) / "predictions.csv")
    assert "quality" not in table


def test_details_are_checked(tmp_path: Path) -> None:
    write_details(tmp_path, ["a", "b"], {"a": {"quality": "Good"}})
    assert read_details(tmp_path)["quality"].to_dict() == {"a": "Good", "b": ""}
    (tmp_path / "details.csv").write_text("name,quality\na,Good\na,Poor\n")
    with pytest.raises(EchocycleError, match="names each video once"):
        read_details(tmp_path)
    (tmp_path / "details.csv").write_text("")
    with pytest.raises(EchocycleError, match="is not a readable CSV"):
        read_details(tmp_path)
    empty = tmp_path / "empty"
    write_details(empty, ["a"], {})
    assert not (empty / "details.csv").exists()
