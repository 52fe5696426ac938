"""The label budget is the paper's, and nothing of an unlabelled video's annotation reaches a method."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.stores import with_index

from echocycle import regression, segmentation
from echocycle.data.clips import StepData, passes
from echocycle.data.labels import LabelBudget, TrainingData, draw_budget
from echocycle.data.statistics import input_statistics
from echocycle.data.store import COLUMNS, Store
from echocycle.datasets.echonet import UNTRACED_NAMES
from echocycle.errors import EchocycleError, UnlabelledAnnotationError
from echocycle.settings.convert import from_dict
from echocycle.settings.stages import LabelSettings, RegressSettings, SegmentSettings, count_of
from echocycle.training.method import Inputs, Method


class ListOnly:
    """A store's index without its pixels."""

    def __init__(self, index: pd.DataFrame):
        self.index = index
        self.path = Path("drawn")

    def videos(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.index["split"] == split)


def listing(names: list[str], split: str = "train", **columns: Any) -> pd.DataFrame:
    """Index rows; unless columns say otherwise all are traced and their rank is their place."""
    count = len(names)
    rows: dict[str, Any] = {name: [None] * count for name in COLUMNS}
    rows |= {
        "name": names,
        "split": [split] * count,
        "annotation": ["traced"] * count,
        "ef": np.full(count, 55.0),
        "ed_frame": np.full(count, 3),
        "es_frame": np.full(count, 9),
        "authors_rank": np.arange(count) if split == "train" else np.full(count, -1),
    }
    return pd.DataFrame({**rows, **columns})


def videos(train: int = 100, val: int = 20) -> ListOnly:
    parts = [listing([f"T{i:03d}" for i in range(train)]), listing([f"V{i:03d}" for i in range(val)], "val")]
    return ListOnly(pd.concat(parts, ignore_index=True))


def names(store: Any, rows: tuple[int, ...]) -> set[str]:
    return set(store.index["name"].iloc[list(rows)])


# ---------------------------------------------------------------------------------------------- the selection


def test_subsets_are_nested() -> None:
    store = videos()
    subsets = [set(draw_budget(store, LabelSettings(str(n)), needs="ef").labelled) for n in (5, 10, 40, 100)]
    assert [len(subset) for subset in subsets] == [5, 10, 40, 100]
    assert all(small < large for small, large in itertools.pairwise(subsets))
    other = draw_budget(store, LabelSettings("40", seed=1), needs="ef")
    assert set(other.labelled) != subsets[2]


def test_seed_0_gives_the_authors_subset() -> None:
    """Literally: NumPy's legacy generator shuffles the list of TRAIN names, the six untraced ones last."""
    rng = np.random.default_rng(5)
    traced = sorted(f"0X{rng.integers(2**60):015X}" for _ in range(800))
    untraced = list(UNTRACED_NAMES[:5])
    in_authors_order = traced + untraced
    # a newer release may list them in another order; the rank is what counts
    index = listing(in_authors_order)
    index.loc[index["name"].isin(untraced), ["annotation", "ed_frame", "es_frame"]] = ["ef", -1, -1]
    parts = [index.sample(frac=1, random_state=3), listing(["V1", "V2"], "val")]
    store = ListOnly(pd.concat(parts, ignore_index=True))

    shuffled = np.array(in_authors_order)
    np.random.RandomState(0).shuffle(shuffled)
    expected = {"labelled": set(shuffled[:90]), "unlabelled": set(shuffled[90:720]), "excluded": set(shuffled[720:])}
    settings = LabelSettings("90", "630", pool="720")
    budget = draw_budget(store, settings, needs="ef")
    assert {part: names(store, getattr(budget, part)) for part in expected} == expected
    # "traced" is more than "labelled": the code drops what has no tracing, it does not fill up
    tracing = draw_budget(store, replace(settings, labelled="700", unlabelled="rest"), needs="tracing")
    assert names(store, tracing.labelled) == set(shuffled[:700]) - set(untraced)
    assert names(store, tracing.unlabelled) == set(shuffled[700:720])


@pytest.mark.parametrize("needs", ["ef", "tracing"])
def test_of_all_labels_those_of_the_other_kind_are_unlabelled(needs: Any) -> None:
    """A hospital's 90 EF and 8 tracings: its segmenter sees the other videos too, each in one subset."""
    index = listing([f"T{i:03d}" for i in range(100)])
    index.loc[8:, ["annotation", "ed_frame", "es_frame"]] = ["ef", -1, -1]
    index.loc[:9, "ef"] = np.nan
    store = ListOnly(pd.concat([index, listing(["V1"], "val")], ignore_index=True))
    budget = draw_budget(store, LabelSettings("all"), needs=needs)
    expected = {"ef": set(range(10, 100)), "tracing": set(range(8))}[needs]
    assert set(budget.labelled) == expected
    assert set(budget.unlabelled) == set(range(100)) - expected
    assert not budget.excluded
    some = draw_budget(store, LabelSettings("all", unlabelled="0"), needs=needs)
    assert not some.unlabelled
    assert set(some.excluded) == set(range(100)) - expected


def release() -> ListOnly:
    """The rows of EchoNet-Dynamic, whose six untraced videos are five training videos and a test video."""
    train, test = listing([f"T{i:04d}" for i in range(7465)]), listing([f"E{i:04d}" for i in range(1277)], "test")
    for part, bare in ((train, 5), (test, 1)):
        part.loc[len(part) - bare :, ["annotation", "ed_frame", "es_frame"]] = ["ef", -1, -1]
    validation = listing([f"V{i:04d}" for i in range(1288)], "val")
    return ListOnly(pd.concat([train, validation, test], ignore_index=True))


def test_untraced_videos_are_kept_in_ef_stages_or_dropped_as_the_code_does() -> None:
    """7465 training videos by default, 7460 in the public code, whose segmentation has them in any case."""
    store = release()
    everything, dropping = LabelSettings("all"), LabelSettings("all", untraced="drop")

    def sizes(settings: LabelSettings, needs: Any) -> tuple[int, int, int]:
        budget = draw_budget(store, settings, needs=needs)
        return len(budget.labelled), len(budget.unlabelled), len(budget.validation)

    assert sizes(everything, "ef") == (7465, 0, 1288)
    assert sizes(dropping, "ef") == (7460, 0, 1288)
    assert sizes(everything, "tracing") == (7460, 5, 1288)
    assert sizes(dropping, "tracing") == (7460, 0, 1288)
    eighth = LabelSettings("920", pool="7360")
    untraced = set(np.flatnonzero((store.index["split"] == "train") & (store.index["ed_frame"] < 0)))
    for needs in ("ef", "tracing"):
        kept = draw_budget(store, eighth, needs=needs)  # type: ignore[arg-type]
        dropped = draw_budget(store, replace(eighth, untraced="drop"), needs=needs)  # type: ignore[arg-type]
        assert untraced & {*kept.labelled, *kept.unlabelled}  # else the test would show nothing
        assert set(dropped.labelled) == set(kept.labelled) - untraced
        assert set(dropped.unlabelled) == set(kept.unlabelled) - untraced  # nobody takes their place


def test_dropping_says_why_nothing_is_left() -> None:
    store = videos(10, 4)
    store.index.loc[:, "ed_frame"] = -1
    assert draw_budget(store, LabelSettings("5"), needs="ef").labelled
    with pytest.raises(EchocycleError, match=r"an EF and a tracing \(labels.untraced is drop\)"):
        draw_budget(store, LabelSettings("5", untraced="drop"), needs="ef")


def test_an_unreadable_video_moves_nobody() -> None:
    """The shuffle is of the list; whoever is not in the store is passed over."""
    store = videos()
    whole = draw_budget(store, LabelSettings("all"), needs="ef")
    shuffled = np.arange(100)
    np.random.RandomState(0).shuffle(shuffled)
    lost = [int(shuffled[3]), int(shuffled[70])]
    rest = ListOnly(store.index.drop(index=lost).reset_index(drop=True))
    for count in (3, 20, 98):
        found = names(rest, draw_budget(rest, LabelSettings(str(count)), needs="ef").labelled)
        left = [f"T{rank:03d}" for rank in shuffled if rank not in lost]
        assert found == set(left[:count])
    assert len(whole.labelled) == 100


def test_counts_fractions_and_all() -> None:
    store = videos(100, 20)

    def sizes(**settings: str) -> tuple[int, ...]:
        budget = draw_budget(store, LabelSettings(**settings), needs="ef")
        everything = budget.labelled + budget.unlabelled + budget.excluded
        assert sorted(everything) == list(range(100))
        return len(budget.labelled), len(budget.unlabelled), len(budget.excluded), len(budget.validation)

    assert sizes(labelled="8") == (8, 92, 0, 20)
    assert sizes(labelled="1/8") == (12, 88, 0, 20)
    assert sizes(labelled="0.25", pool="40") == (10, 30, 60, 20)
    assert sizes(labelled="all") == (100, 0, 0, 20)
    assert sizes(labelled="10", unlabelled="20", pool="80") == (10, 20, 70, 20)
    assert sizes(labelled="10", unlabelled="0") == (10, 0, 90, 20)
    assert sizes(labelled="10", unlabelled="1/2") == (10, 45, 45, 20)
    assert sizes(labelled="10", pool="7360") == (10, 90, 0, 20)
    assert sizes(labelled="10", validation="5") == (10, 90, 0, 5)
    assert sizes(labelled="10", validation="1/2") == (10, 90, 0, 10)


@pytest.mark.parametrize("text", ["9/8", "-1", "1/0", "few", "1.5", ""])
def test_a_wrong_count_is_named(text: str) -> None:
    with pytest.raises(EchocycleError, match="labels.pool is"):
        LabelSettings(pool=text)
    with pytest.raises(EchocycleError, match="give a count"):
        count_of(text, 100, "labels.pool")


def test_labels_that_select_count_as_used() -> None:
    budget = draw_budget(videos(), LabelSettings("8", validation="5"), needs="ef")
    assert budget.labels_used == 13
    assert budget.summary()["labels_used"] == 13


def test_more_labels_than_there_are_is_refused() -> None:
    store = videos(10)
    with pytest.raises(EchocycleError, match="asks for 11 labelled videos; drawn has 10"):
        draw_budget(store, LabelSettings("11"), needs="ef")


def test_in_an_own_folder_only_annotated_videos_are_labelled() -> None:
    store = videos(40, 6)
    bare = np.arange(40) % 4 != 0
    train = store.index["split"] == "train"
    store.index.loc[train, "annotation"] = np.where(bare, "none", "traced")
    store.index.loc[train, "ef"] = np.where(bare, np.nan, 50.0)
    budget = draw_budget(store, LabelSettings("all"), needs="ef")
    assert set(budget.labelled) == {video for video in range(40) if video % 4 == 0}
    assert set(budget.unlabelled) == {video for video in range(40) if video % 4}
    few = draw_budget(store, LabelSettings("3"), needs="ef")
    assert set(few.labelled) < set(budget.labelled)
    assert len(few.unlabelled) == 37
    with pytest.raises(EchocycleError, match="10 annotated training videos"):
        draw_budget(store, LabelSettings("11"), needs="ef")


def test_what_cannot_be_trained_is_one_sentence() -> None:
    store = videos(10, 4)
    with pytest.raises(EchocycleError, match="validation"):
        draw_budget(store, LabelSettings("5", validation="0"), needs="ef")
    with pytest.raises(EchocycleError, match="No labelled video"):
        draw_budget(store, LabelSettings("0"), needs="ef")
    store.index["ed_frame"] = -1
    with pytest.raises(EchocycleError, match="with a tracing"):
        draw_budget(store, LabelSettings("5"), needs="tracing")
    store.index["split"] = "test"
    with pytest.raises(EchocycleError, match="no training videos"):
        draw_budget(store, LabelSettings("5"), needs="ef")


def test_validation_needs_what_the_stage_needs() -> None:
    store = videos(10, 4)
    store.index.loc[store.index["name"] == "V001", "ed_frame"] = -1
    assert len(draw_budget(store, LabelSettings("5"), needs="tracing").validation) == 3
    assert len(draw_budget(store, LabelSettings("5"), needs="ef").validation) == 4


# ------------------------------------------------------------------------------------------------- the one door

LABELS = LabelSettings("3", "3", validation="2")
READERS: dict[str, Callable[[TrainingData, int], Any]] = {
    "ef": TrainingData.ef,
    "traced_frames": TrainingData.traced_frames,
    "traced_masks": TrainingData.traced_masks,
}


def view(store: Store, labels: LabelSettings = LABELS, **more: Any) -> tuple[LabelBudget, TrainingData]:
    budget = draw_budget(store, labels, needs="tracing")
    return budget, TrainingData(store, budget, **more)


@pytest.mark.parametrize("reader", READERS)
def test_annotation_of_unlabelled_videos_is_locked(store: Store, reader: str) -> None:
    budget, data = view(store)
    read = READERS[reader]
    for video in budget.labelled + budget.validation:
        read(data, video)
    test = tuple(int(video) for video in store.videos("test"))
    for video in budget.unlabelled + budget.excluded + test:
        with pytest.raises(UnlabelledAnnotationError, match=store.index["name"][video]):
            read(data, video)
    _, allowed = view(store, replace(LABELS, allow_unlabelled_annotation=True))
    for video in budget.unlabelled:
        read(allowed, video)
    for video in budget.excluded + test:
        with pytest.raises(UnlabelledAnnotationError):
            read(allowed, video)


def test_what_is_read_is_the_stores(store: Store) -> None:
    budget, data = view(store)
    for video in budget.labelled:
        row = store.index.iloc[video]
        assert data.ef(video) == row["ef"]
        assert data.traced_frames(video) == (row["ed_frame"], row["es_frame"])
        np.testing.assert_array_equal(data.traced_masks(video), store.traced_masks(video))
    assert data.mean_ef() == pytest.approx(np.mean([store.index["ef"][video] for video in budget.labelled]))
    assert data.mask_size is None
    with pytest.raises(EchocycleError, match="--masks RUN"):
        data.masks(budget.labelled[0], np.arange(3))


# -------------------------------------------------------------------------- every stream of every method

SEGMENT = SegmentSettings(network="unet", width=4, weights="none", size=32, batch=2)
REGRESS = RegressSettings(widths=(4, 8, 8, 8), weights="none", size=32, frames=8, batch=2)


def methods(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Method]:
    """Every method there is, as small as it can be. Clips of the cyclical loss fit the shared phantom."""
    inputs = Inputs(mean, std, False)
    made: dict[str, Method] = {}
    for name, kind in segmentation.METHODS.items():
        option = {"period": "1", "longer_than": "50"} if name in ("css", "tccl") else {}
        options = from_dict(kind.Options, option)
        made[f"segment {name}"] = kind(replace(SEGMENT, method=name, option=option), options, inputs)
    teacher = None
    for name, kind in regression.METHODS.items():
        if kind.needs_teacher:
            teacher = made["regress teacher"].parts()["regressor"]
        found = replace(inputs, teachers=(teacher,)) if kind.needs_teacher else inputs
        made[f"regress {name}"] = kind(replace(REGRESS, method=name), kind.Options(), found)
    return made


def draws(store: Store) -> dict[str, Any]:
    """What every method gets to see in a few steps and a validation, and everything measured beforehand."""
    _, data = view(store, masks=store.masks("truth"))
    statistics = input_statistics(data)
    seen: dict[str, Any] = {"statistics": statistics, "mean ef": data.mean_ef()}
    for name, method in methods(*statistics).items():
        steps = StepData(data, method.streams(), seed=4)
        for step in range(5):
            seen |= {f"{name} {stream} {step}": batch for stream, batch in steps[step].items()}
        for number, batch in enumerate(passes(data, method.validation().stream, seed=0)):
            seen[f"{name} validation {number}"] = batch
    return seen


def test_excluded_videos_never_come_out(store: Store) -> None:
    budget, _ = view(store)
    assert budget.excluded
    seen = {
        key: {int(video) for video in batch.row}
        for key, batch in draws(store).items()
        if "row" in getattr(batch, "_fields", ())
    }
    assert len(seen) > 30
    labelled, unlabelled = set(budget.labelled), set(budget.unlabelled)
    for key, found in seen.items():
        allowed = set(budget.validation) if "validation" in key else labelled | unlabelled
        if " labelled " in key:
            allowed = labelled
        if key.startswith("regress") and " unlabelled " in key:
            allowed = unlabelled
        assert found <= allowed, key


def poisoned(store: Store, folder: Path) -> Store:
    """The same store with wrong annotation wherever it must not be read."""
    shutil.copytree(store.path, folder)
    budget, _ = view(store)
    index = store.index.copy()
    traces = np.load(folder / "traces.npy")
    hidden = [*budget.unlabelled, *budget.excluded, *store.videos("test")]
    visible = {*budget.validation, *budget.labelled}
    hidden += [int(video) for video in store.videos("val") if video not in visible]
    assert len(hidden) == 16 - len(visible)
    for video in hidden:
        index.loc[video, ["ef", "ed_frame", "es_frame"]] = [99.0 - index.loc[video, "ef"], 2, 1]
        index.loc[video, ["edv_ml", "esv_ml"]] = [1.0, 0.5]
        traces[video] ^= 0xA5
    np.save(folder / "traces.npy", traces)
    return with_index(folder, index)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_poison_in_unlabelled_annotation_changes_nothing(store: Store, tmp_path: Path) -> None:
    clean, poison = draws(store), draws(poisoned(store, tmp_path / "poisoned"))
    assert clean.keys() == poison.keys()
    assert {key for key in clean if not same(clean[key], poison[key])} == set()


def test_the_poison_would_be_found(store: Store, tmp_path: Path) -> None:
    """The test above can fail: with the annotation allowed and read, the poison shows."""
    bad = poisoned(store, tmp_path / "poisoned")
    labels = replace(LABELS, allow_unlabelled_annotation=True)
    (budget, clean), (_, poison) = view(store, labels), view(bad, labels)
    for read in READERS.values():
        video = budget.unlabelled[0]
        assert not np.array_equal(read(clean, video), read(poison, video))
