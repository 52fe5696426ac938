"""Arrays beside a run: whole, resumed after a kill, made again for another job; masks and the command that leaves them."""

from pathlib import Path

import numpy as np
import pytest
from helpers.chain import regress_settings, segment_settings
from PIL import Image

from echocycle import stages
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses import contours
from echocycle.evaluation.analyses.attention import counts_of
from echocycle.evaluation.analyses.stored import Analysed, analyses_of, make
from echocycle.settings.analyses import AnalyseSettings

VIDEOS = [(3, "a"), (5, "b"), (8, "c")]


class Killed(BaseException):
    """Stands for a kill."""


def test_it_is_resumed_after_a_kill(tmp_path: Path) -> None:
    made: list[int] = []

    def piece(row: int) -> dict[str, np.ndarray]:
        if row == 8 and len(made) < 3:
            made.append(-1)
            raise Killed
        made.append(row)
        return {"x": np.array(row)}

    def job() -> Analysed:
        return make(tmp_path / "a", "a", {"n": 1}, VIDEOS, piece, lambda found: {"all": np.arange(len(found.meta))})

    with pytest.raises(Killed):
        job()
    assert analyses_of(tmp_path) == {}
    assert [(name, int(arrays["x"])) for name, arrays in job().pieces()] == [("a", 3), ("b", 5), ("c", 8)]
    assert made == [3, 5, -1, 8]
    job()
    assert made == [3, 5, -1, 8]  # it is only opened
    assert set(analyses_of(tmp_path)) == {"a"}


def test_another_job_begins_anew(tmp_path: Path) -> None:
    for number in (1, 2):
        found = make(tmp_path / "a", "a", {"n": number}, VIDEOS, lambda row, n=number: {"x": np.array(n)})
        assert {int(arrays["x"]) for _, arrays in found.pieces()} == {number}


def test_videos_without_anything_are_left_out_and_none_is_an_error(tmp_path: Path) -> None:
    found = make(tmp_path / "a", "a", {}, VIDEOS, lambda row: {"x": np.array(1)} if row == 5 else None)
    assert [name for name, _ in found.pieces()] == ["b"]
    assert found.meta["left_out"] == 2
    with pytest.raises(EchocycleError, match="None of the 3 videos"):
        make(tmp_path / "b", "b", {}, VIDEOS, lambda row: None)


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    found = make(tmp_path / "a", "a", {}, VIDEOS, lambda row: {"x": np.arange(9)})
    (tmp_path / "a" / "000005.npz").write_bytes(b"no archive")
    with pytest.raises(EchocycleError, match=r"000005.npz cannot be read.*analyse` again"):
        list(found.pieces())


# ------------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def runs(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analyses")
    stages.segment(store.path, folder / "css", segment_settings("css"))
    stages.regress(store.path, folder / "supervised", regress_settings("supervised"))
    return folder


def test_what_a_segmenter_leaves(runs: Path, store: Store) -> None:
    folders = stages.analyse(runs / "css", AnalyseSettings(videos=2, batch=32))
    assert [folder.name for folder in folders] == ["features", "masks", "data"]
    features, masks, data = map(Analysed, folders)
    names = [str(store.index["name"][video]) for video in store.videos("test")[:2]]
    assert [name for name, _ in features.pieces()] == [name for name, _ in masks.pieces()] == names
    video = int(store.videos("test")[0])
    _, first = next(features.pieces())
    assert len(first["features"]) == len(first["area"]) == len(first["area_true"]) == store.n_frames(video)
    true = store.masks("truth").probabilities(video, np.arange(store.n_frames(video))) > 127
    assert np.array_equal(first["area_true"], true.sum((1, 2)))
    assert len(features.summary()["points"]) == sum(len(arrays["features"]) for _, arrays in features.pieces())
    _, mask = next(masks.pieces())
    assert np.array_equal(mask["true"], true[int(mask["number"])])
    both, size_true, size_found = mask["counts"]
    assert (both, size_true, size_found) == (
        (mask["true"] & mask["mask"]).sum(), mask["true"].sum(), mask["mask"].sum()
    )  # fmt: skip
    assert len(data.meta["videos"]) == len(store)


def test_what_an_ef_network_leaves(runs: Path, store: Store) -> None:
    settings = AnalyseSettings(samples=2, videos=2)
    (folder,) = stages.analyse(runs / "supervised", settings, what=("attention",))
    counts = counts_of(Analysed(folder))
    assert counts.shape == (2, 2, 2, 3)
    pixels = 32 * 32
    assert (counts[:, 1, :, 2] == round(0.05 * pixels)).all()  # of the frame: exactly the share
    assert counts[:, 0, :, 2].sum() <= 4 * round(0.05 * 4 * pixels)


def test_another_store(runs: Path, store: Store) -> None:
    (folder,) = stages.analyse(
        runs / "supervised", AnalyseSettings(samples=1, videos=1, half_beats="symmetric"), what=("attention",),
        external=store.path,
    )  # fmt: skip
    assert folder == runs / "supervised" / f"external-{store.meta['id']}" / "analyses" / "attention"


def test_what_cannot_be_analysed(runs: Path) -> None:
    with pytest.raises(EchocycleError, match="`attention` is about a regressor, and the model of .* has none"):
        stages.analyse(runs / "css", what=("attention",))
    with pytest.raises(EchocycleError, match="no video of split nowhere"):
        stages.analyse(runs / "css", AnalyseSettings(split="nowhere"), what=("features",))


# ------------------------------------------------------------------------------------------- masks of your own


def test_the_random_frame_lies_between_ed_and_es_and_is_the_same_for_every_run() -> None:
    found = [contours.random_frame(f"v{number}", 10, 14, 90, 0) for number in range(60)]
    assert set(found) == {11, 12, 13}
    assert found == [contours.random_frame(f"v{number}", 14, 10, 90, 0) for number in range(60)]
    assert found != [contours.random_frame(f"v{number}", 10, 14, 90, 1) for number in range(60)]
    assert 0 <= contours.random_frame("v", -1, -1, 90, 0) < 90


def test_supplied_masks(runs: Path, store: Store, tmp_path: Path) -> None:
    video = int(store.videos("test")[0])
    name, true = str(store.index["name"][video]), np.zeros((112, 112), np.uint8)
    true[30:70, 40:60] = 255
    Image.fromarray(true).save(tmp_path / f"{name}_7.png")
    settings = AnalyseSettings(supplied=str(tmp_path), videos=2)
    (folder,) = stages.analyse(runs / "css", settings, what=("masks",), external=store.path)
    ((found, arrays),) = Analysed(folder).pieces()
    assert (found, int(arrays["number"]), int(arrays["counts"][1])) == (name, 7, 800)


def test_masks_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="is not a folder"):
        contours.supplied_masks(str(tmp_path / "nowhere"))
    with pytest.raises(EchocycleError, match="holds no mask"):
        contours.supplied_masks(str(tmp_path))
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "video_3.png")
    with pytest.raises(EchocycleError, match="5 x 4 pixels; 112 x 112"):
        contours.read_mask(tmp_path / "video_3.png")
    (tmp_path / "strange.png").write_text("")
    with pytest.raises(EchocycleError, match=r"strange.png is not called VIDEO_FRAME.png"):
        contours.supplied_masks(str(tmp_path))
    with pytest.raises(EchocycleError, match="is not a picture"):
        contours.read_mask(tmp_path / "strange.png")
