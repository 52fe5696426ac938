"""One experiment for real, at the smallest size, through the command line."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.chain import copied

from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.errors import EchocycleError, Finding
from echocycle.experiments import run
from echocycle.experiments.asked import with_one_clip
from echocycle.experiments.borrowed.chain import smoke_preset
from echocycle.experiments.ground import alone_with
from echocycle.experiments.results import render
from echocycle.files import read_json
from echocycle.settings import presets


@pytest.fixture
def smoke(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset `tiny` at the size of a smoke test."""
    monkeypatch.setitem(presets.PRESETS, "tiny", smoke_preset)


@pytest.mark.slow
@pytest.mark.usefixtures("smoke")
def test_an_experiment(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A segmenter's masks, teacher and student; the page; and nothing is done twice."""
    mine = copied(store, tmp_path)
    out = tmp_path / "out"
    arguments = ["experiment", "table-4", "--store", str(mine.path), "--fractions", "1/2", "--out", str(out)]
    only = ["--only", "Video+Seg.", "Video+Seg.+Dist."]
    assert main([*arguments, *only, "--dry-run"]) == 0
    assert "2 trainings in the table, 7 jobs" in capsys.readouterr().out
    assert not out.exists()
    assert main([*arguments, *only]) == 0
    results = out / "results"
    page = (results / "table-4.md").read_text()
    assert "16/32" in page  # as the table writes it
    assert "4.29" in page
    found = pd.read_csv(results / "table-4.csv")
    assert set(found["row"]) == {"Video+Seg.", "Video+Seg.+Dist."}
    assert set(found["protocol"]) == {"strided", "one-clip"}
    budgets = {budget["row"]: budget for budget in read_json(results / "table-4.json")["budgets"]}
    # half of 8 training videos, and 3 of validation; its segmenter chose by the same
    assert budgets["Video+Seg."]["labels_used_in_all"] == budgets["Video+Seg.+Dist."]["labels_used_in_all"] == 7
    assert [path.name for path in (mine.path / "masks").iterdir()] == ["truth"]  # their last user is done

    before = {path: path.stat().st_mtime_ns for path in out.rglob("done.json")}
    assert len(before) == 4  # the start from moving shapes is the first
    (results / "table-4.md").unlink()
    assert main([*arguments, *only]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("done.json")} == before
    assert render(results, "table-4").read_text() == (results / "table-4.md").read_text()

    # a call for less does not take what is done from the table; one for the same row of another fraction adds it
    assert main([*arguments, "--only", "Video+Seg."]) == 0
    assert set(pd.read_csv(results / "table-4.csv")["row"]) == {"Video+Seg.", "Video+Seg.+Dist."}
    assert main([*arguments[:4], "--fractions", "1/4", "--out", str(out), "--only", "Video Only"]) == 0
    found = pd.read_csv(results / "table-4.csv")
    assert found.groupby("row")["label_fraction"].unique().map(list).to_dict() == {
        "Video Only": ["8/32"],
        "Video+Seg.": ["16/32"],
        "Video+Seg.+Dist.": ["16/32"],
    }


def test_one_experiment_at_a_time_on_a_store(store: Store, tmp_path: Path) -> None:
    """Another would delete the masks that it does not need itself."""
    mine = copied(store, tmp_path)
    with alone_with(mine.path), pytest.raises(EchocycleError, match="Another experiment is at work"):
        run.experiment("table-4", chosen=smoke_preset(), store=mine.path, fractions=["1/2"], out=tmp_path / "out")
    assert not list((tmp_path / "out").rglob("run.json"))
    with alone_with(mine.path):
        pass


@pytest.mark.slow
def test_a_failed_row_is_told_and_the_others_are_in_the_table(store: Store, tmp_path: Path) -> None:
    chosen = smoke_preset()
    broken = replace(chosen.regress["default"], batch=999_999)
    chosen = replace(chosen, regress={**chosen.regress, "adacon": broken})
    with pytest.raises(Finding, match="1 job failed") as raised:
        run.experiment(
            "table-1",
            chosen=chosen,
            store=store.path,
            fractions=["1/2"],
            only=["supervised", "adacon"],
            out=tmp_path,
        )
    log = Path(str(raised.value).rsplit(": ", 1)[1])
    assert "batch" in log.read_text()
    page = (tmp_path / "results" / "table-1.md").read_text()
    assert "Not in the table" in page
    assert "not tried, since" in page
    assert "| Ouyang et al. [6] | 1/2 |" in page


def test_what_every_table_needs_is_asked_before(store: Store, tmp_path: Path) -> None:
    """Test videos; and one fraction in two spellings is one."""
    chosen = smoke_preset()
    without = replace(chosen, evaluate=replace(chosen.evaluate, splits=("val",)))
    with pytest.raises(EchocycleError, match=r"evaluate\.splits.*`test`"):
        run.experiment("table-4", chosen=without, store=store.path, out=tmp_path)
    twice = {"store": store.path, "fractions": ["1/8", "4/32"], "only": ["supervised"], "dry_run": True}
    assert run.experiment("table-4", chosen=chosen, out=tmp_path, **twice) is None
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_run_says_what_it_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["experiment", "table-2", "--out", str(tmp_path / "out")]) == 2
    assert "analyse RUN --what attention" in " ".join(capsys.readouterr().err.split())
    assert main(["experiment"]) == 0
    listed = capsys.readouterr().out
    for name in (
        *(f"table-{n}" for n in range(1, 11)),
        "table-a1",
        "figure-6",
        "figure-7",
        "own-row",
        "own-parts",
        "bad-masks",
        "css-study",
        "precision",
    ):
        assert name in listed
    assert main(["experiment", "table-4", "--seeds", "0", "--out", str(tmp_path / "out")]) == 2


def test_each_row_is_evaluated_on_one_clip_too() -> None:
    assert with_one_clip(presets.preset("tiny")).evaluate.protocol == ("strided", "one-clip")
    assert with_one_clip(presets.preset("paper")).evaluate.protocol == ("all-clips", "one-clip")
