"""Every committed table is what its committed per-video predictions give, number for number."""

import shutil
from pathlib import Path

import pytest

from echocycle.experiments.results import render

RESULTS = Path(__file__).parents[2] / "docs" / "results"
NAMES = sorted(path.name.removesuffix(".predictions.csv.gz") for path in RESULTS.glob("*.predictions.csv.gz"))


def test_there_are_committed_tables() -> None:
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_table_can_be_made_again(name: str, tmp_path: Path) -> None:
    for end in ("json", "predictions.csv.gz", "dice.csv.gz"):
        file = RESULTS / f"{name}.{end}"
        if file.exists():
            shutil.copy(file, tmp_path)
    page = render(tmp_path, name)
    assert page.read_text() == (RESULTS / page.name).read_text()
    for end in ("csv", "comparisons.csv"):
        file = RESULTS / f"{name}.{end}"
        assert file.exists() == (tmp_path / file.name).exists()
        if file.exists():
            assert (tmp_path / file.name).read_text() == file.read_text()
