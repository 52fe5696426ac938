"""Every committed table is what its committed per-video predictions give, number for number."""

import shutil
from pathlib import Path

import pytest

from echocycle.experiments.results import render
from echocycle.files import read_json

RESULTS = Path(__file__).parents[2] / "docs" / "results"
NAMES = sorted(path.stem for path in RESULTS.glob("*.json") if "experiment" in read_json(path))


def test_there_are_committed_tables() -> None:
    for kind in ("predictions", "dice"):
        assert {path.name.removesuffix(f".{kind}.csv.gz") for path in RESULTS.glob(f"*.{kind}.csv.gz")} <= set(NAMES)
    assert {"table-1", "table-3", "table-4", "table-5", "table-6", "own-row"} <= set(NAMES)


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
