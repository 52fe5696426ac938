"""Drawn splits have exact counts, keep patients together, and share out EF and tracings."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echocycle.datasets.findings import FindingList
from echocycle.datasets.records import EchonetSettings, Record, Tracing
from echocycle.datasets.splits import SPLITS, exact_counts, fill_splits

NAN = math.nan
PAIR = (Tracing(0, np.zeros((21, 4))), Tracing(9, np.zeros((21, 4))))


def video(name: str, ef: float = NAN, *, traced: bool = False, patient: str = "", split: str = "") -> Record:
    tracings = PAIR if traced else ()
    return Record(name, Path(name), patient or name, split, ef, NAN, NAN, NAN, 0, 0, 0, tracings)  # type: ignore[arg-type]


def drawn(records: list[Record], shares: tuple[float, float, float], seed: int = 0) -> list[Record]:
    without = {record.name for record in records if not record.split}
    return fill_splits(records, without, EchonetSettings(assign_splits=shares, split_seed=seed), FindingList())


def count(records: list[Record], keep: object = lambda record: True) -> list[int]:
    return [sum(record.split == split and keep(record) for record in records) for split in SPLITS]  # type: ignore[operator]


def test_few_tracings_reach_every_split() -> None:
    """Of 40 videos with 8 tracings, half of which are for training; today three were left there by chance."""
    for seed in range(20):
        records = drawn([video(f"v{n}", 30 + n, traced=n % 5 == 0) for n in range(40)], (0.5, 0.25, 0.25), seed)
        assert count(records) == [20, 10, 10]
        assert count(records, lambda record: record.is_traced) == [4, 2, 2]


def test_ef_is_shared_out() -> None:
    """Low EF is rare and must be in every split; by chance alone a split of 15 has none in one draw of four."""
    efs = [*np.linspace(20, 39, 10), *np.linspace(50, 70, 90)]
    for seed in range(20):
        records = drawn([video(f"v{n}", ef) for n, ef in enumerate(efs)], (0.7, 0.15, 0.15), seed)
        assert count(records) == [70, 15, 15]
        low = count(records, lambda record: record.ef < 40)
        assert low[0] in (6, 7, 8)
        assert min(low[1:]) >= 1


def test_videos_without_label_train() -> None:
    records = drawn([*(video(f"a{n}", 50) for n in range(20)), *(video(f"b{n}") for n in range(40))], (0.7, 0.15, 0.15))
    assert count(records) == [54, 3, 3]
    assert count(records, lambda record: not math.isnan(record.ef)) == [14, 3, 3]


def test_a_written_split_is_kept_and_followed() -> None:
    records = drawn([video("a", 50, patient="p", split="test"), video("b", 50, patient="p")], (1.0, 0.0, 0.0))
    assert [record.split for record in records] == ["test", "test"]


def test_the_draw_does_not_depend_on_the_order_of_rows_but_on_the_seed() -> None:
    videos = [video(f"v{n}", 40 + n % 30) for n in range(60)]
    of = {record.name: record.split for record in drawn(videos, (0.6, 0.2, 0.2))}
    assert {record.name: record.split for record in drawn(videos[::-1], (0.6, 0.2, 0.2))} == of
    assert {record.name: record.split for record in drawn(videos, (0.6, 0.2, 0.2), 1)} != of


@pytest.mark.parametrize(
    ("total", "shares", "counts"),
    [(40, (0.5, 0.25, 0.25), [20, 10, 10]), (10, (0.7, 0.15, 0.15), [7, 2, 1]), (0, (1.0, 0.0, 0.0), [0, 0, 0])],
)
def test_exact_counts(total: int, shares: tuple[float, float, float], counts: list[int]) -> None:
    assert exact_counts(total, shares) == counts


@settings(max_examples=60, deadline=None)
@given(
    patients=st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.floats(10, 80)), min_size=1, max_size=50),
    weights=st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 3),
)
def test_any_list_gets_exact_counts_of_patients(
    patients: list[tuple[int, bool, float]], weights: tuple[int, int, int], seed: int
) -> None:
    shares = tuple(weight / sum(weights) for weight in weights)
    records = [
        video(f"p{number}-{index}", ef, traced=traced and index == 0, patient=f"p{number}")
        for number, (videos, traced, ef) in enumerate(patients)
        for index in range(videos)
    ]
    filled = drawn(records, shares, seed)  # type: ignore[arg-type]
    of_patient = {record.patient: record.split for record in filled}
    assert all(record.split == of_patient[record.patient] for record in filled)
    counts = [list(of_patient.values()).count(split) for split in SPLITS]
    assert counts == exact_counts(len(patients), shares)  # type: ignore[arg-type]
    assert [replace(record, split="") for record in filled] == records  # type: ignore[arg-type]
