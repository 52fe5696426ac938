"""The chain for a lent machine: as many seeds as fit, no more; and joining what several chains left."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from echocycle.errors import EchocycleError, Finding
from echocycle.experiments.asked import find
from echocycle.experiments.borrowed import chain as chains
from echocycle.experiments.borrowed.__main__ import packed
from echocycle.experiments.plan import Plan
from echocycle.experiments.results import merge_results, render
from echocycle.experiments.schedule import Outcome
from echocycle.files import read_json, write_json

PAGE = Path("table-1.md")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[list[int], dict[str, Any]]]:
    """A chain whose jobs only take time on a clock of its own: `seconds` for each seed."""

    def go(
        minutes: float, seconds: list[float], write_page: Callable[..., Any] = lambda *_: PAGE, **arguments: Any
    ) -> tuple[list[int], dict[str, Any]]:
        now = [0.0]
        begun: list[int] = []

        def work(plan: Plan, folder: Path, minutes: float) -> Outcome:
            (seed,) = {
                job.settings.loop.seed  # type: ignore[union-attr]
                for job in plan.jobs.values()
                if job.stage == "regress" and job.method != "shapes"
            }
            begun.append(seed)
            took = seconds[len(begun) - 1]
            now[0] += min(took, 60 * minutes)
            return Outcome(done=list(plan.jobs)) if took <= 60 * minutes else Outcome(left=list(plan.jobs))

        store = SimpleNamespace(path=tmp_path / "store", meta={"id": "abc", "frames": 1000})
        monkeypatch.setattr(chains, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(chains, "work", work)
        monkeypatch.setattr(chains, "open_store", lambda *_: store)
        monkeypatch.setattr(chains, "write_page", write_page)
        chains.chain(tmp_path / "out", tmp_path, chains.smoke_preset(), minutes=minutes, **arguments)
        return begun, read_json(tmp_path / "out" / "chain.json")

    return go


def test_as_many_seeds_as_fit(run: Callable[..., tuple[list[int], dict[str, Any]]]) -> None:
    begun, told = run(10, [150.0] * 9)  # 45 s are kept for the tables
    assert begun == told["seeds"] == [0, 1, 2]
    assert not told["left"]


def test_a_seed_that_does_not_fit_is_not_begun_but_for_the_first(
    run: Callable[..., tuple[list[int], dict[str, Any]]],
) -> None:
    begun, told = run(5, [200.0] * 9, seeds=range(4, 9))
    assert begun == [4]
    begun, told = run(2, [200.0] * 9)
    assert begun == [0]
    assert told["left"]


def test_a_chain_without_a_table_does_not_end_well(run: Callable[..., tuple[list[int], dict[str, Any]]]) -> None:
    with pytest.raises(Finding, match="more --minutes"):
        run(2, [200.0], write_page=lambda *_: None)


def test_rows_of_several_experiments() -> None:
    experiments = [find("table-4"), find("own-row"), find("table-1")]
    assert chains.with_rows(experiments, []) == experiments
    found = chains.with_rows(experiments, ["mask_teacher", "adacon"])
    assert [[row.system.method for row in each.rows] for each in found] == [["mask_teacher"], ["adacon"]]
    with pytest.raises(EchocycleError, match="nobody"):
        chains.with_rows(experiments, ["nobody"])


def test_the_phantom_is_not_smaller_than_promised() -> None:
    chosen = chains.chain_preset(None, None, smoke=False)
    assert chosen.phantom["videos"] >= 1000
    assert chosen.phantom["test"] >= 300
    assert chosen.regression("student").widths == (64, 128, 256, 512)
    assert {name: each.weights for name, each in chosen.regress.items()} == {
        "default": "shapes", "teacher": "shapes", "cross_model": "shapes", "ucvme": "shapes", "shapes": "none",
    }  # fmt: skip
    assert chains.chain_preset(7, 1000, smoke=False).regression("adacon").loop.steps == 7
    with pytest.raises(EchocycleError, match="1000"):
        chains.chain_preset(None, 900, smoke=False)


def left_by(folder: Path, seed: int, shift: float, store: str = "abc", **more: Any) -> Path:
    """Results of one seed of two rows."""
    rows = [
        {
            "row": row, "column": "1/8 labels", "label_fraction": "1/8", "seed": seed, "split": "test",
            "patient": f"p{video}", "video": f"v{video}", "protocol": "strided", "ef_true": 40.0 + video,
            "ef_pred": 40.0 + video + wrong + shift * (video % 2),
        }
        for row, wrong in (("Ouyang et al. [6]", 5.0), ("Ours", 1.0))
        for video in range(8)
    ]  # fmt: skip
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "table-1.predictions.csv.gz", index=False)
    budget = {"row": "Ours", "column": "1/8 labels", "label_fraction": "1/8", "labels_used_in_all": 9}
    about = {
        "experiment": "table-1", "title": "All", "paper": "I", "compare": [["Ours", "Ouyang et al. [6]"]], "notes": [],
        "budgets": [{**budget, "reads_unlabelled_annotation": False}], "date": f"2026-01-0{seed + 1}",
        "made_with": {"versions": {"torch": "2.11"}, "machine": "one GPU", "command": f"gpu {seed}"},
        "data": {"id": store, "phantom_version": 2}, "preset": "phantom", "minutes": 5.0,
        "trained_on": ["one GPU"], "failed": {}, "blocked": {}, "left": [], **more,
    }  # fmt: skip
    write_json(folder / "table-1.json", about)
    write_json(folder / "chain.json", {"seeds": [seed]})
    render(folder, "table-1")
    return folder


def test_what_several_chains_left_becomes_one_table(tmp_path: Path) -> None:
    one, two = left_by(tmp_path / "a", 0, 0.0), left_by(tmp_path / "b", 1, 1.0)
    (page,) = merge_results([one, two], tmp_path / "out")
    text = page.read_text()
    assert "2 seeds" in text
    assert "gpu 0; gpu 1" in text
    assert "10.0 minutes" in text
    found = pd.read_csv(tmp_path / "out" / "table-1.csv").set_index(["row", "metric"])
    assert found.loc[("Ours", "MAE"), "mean"] == pytest.approx(1.25)
    assert found.loc[("Ours", "MAE"), "seeds"] == "0 1"
    with pytest.raises(EchocycleError, match="different results"):
        merge_results([one, left_by(tmp_path / "c", 0, 2.0)], tmp_path / "out")
    with pytest.raises(EchocycleError, match="different data"):
        merge_results([one, left_by(tmp_path / "d", 2, 0.0, store="other")], tmp_path / "out")
    with pytest.raises(EchocycleError, match="different weights"):
        merge_results(
            [left_by(tmp_path / f"w{n}", n, 0.0, weights=[kind]) for n, kind in enumerate(("none", "shapes"))],
            tmp_path / "out",
        )
    with pytest.raises(EchocycleError, match="no results"):
        merge_results([tmp_path], tmp_path / "out")


def test_merged_fractions_stand_in_order(tmp_path: Path) -> None:
    folders = []
    for number, fraction in enumerate(("1/8", "1/16", "1/4")):
        folder = left_by(tmp_path / str(number), 0, 0.0)
        file = folder / "table-1.predictions.csv.gz"
        pd.read_csv(file).assign(label_fraction=fraction, column=f"{fraction} labels").to_csv(file, index=False)
        folders.append(folder)
    merge_results(folders, tmp_path / "out")
    found = pd.read_csv(tmp_path / "out" / "table-1.csv")
    found = found[found["metric"] == "MAE"]
    assert list(zip(found["row"], found["label_fraction"], strict=True)) == [
        (row, fraction) for row in ("Ouyang et al. [6]", "Ours") for fraction in ("1/16", "1/8", "1/4")
    ]


def test_what_another_chain_did_is_not_missing(tmp_path: Path) -> None:
    one = left_by(tmp_path / "a", 0, 0.0, left=["regress b", "regress c"], failed={"regress d": "it broke"})
    two = left_by(tmp_path / "b", 1, 0.0, done=["regress c", "regress d"])
    merge_results([one, two], tmp_path / "out")
    found = read_json(tmp_path / "out" / "table-1.json")
    assert (found["left"], found["failed"]) == (["regress b"], {})


def test_results_can_be_packed(tmp_path: Path) -> None:
    """One archive in place of all files, also where the chain fails."""
    out = left_by(tmp_path / "out", 0, 0.0)
    names = {file.name for file in out.iterdir()}
    with pytest.raises(EchocycleError, match="it broke"), packed(out, wanted=True):
        raise EchocycleError("it broke")
    assert [file.name for file in out.iterdir()] == ["results.tar.gz"]
    with tarfile.open(out / "results.tar.gz") as archive:
        assert set(archive.getnames()) == names
        archive.extractall(tmp_path / "again", filter="data")
    (page,) = merge_results([tmp_path / "again"], tmp_path / "merged")
    assert "1 seed" in page.read_text()
    with packed(tmp_path / "nothing", wanted=True):
        pass
    before = (out / "results.tar.gz").read_bytes()
    with packed(out, wanted=True):  # nothing new: what was packed stays
        (out / "folder").mkdir()
    assert (out / "results.tar.gz").read_bytes() == before
    with packed(out, wanted=True):
        (out / "new.json").write_text("{}")
    with tarfile.open(out / "results.tar.gz") as archive:
        assert archive.getnames() == ["new.json"]
    assert (out / "folder").is_dir()


def test_a_full_disk_ends_the_seeds_and_not_the_results(
    run: Callable[..., tuple[list[int], dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def check_disk(needed: int, folder: Path) -> None:
        asked.append(needed)
        if len(asked) in full:
            raise EchocycleError("The disk is full.")

    monkeypatch.setattr(chains, "check_disk", check_disk)
    full = {3}
    begun, told = run(10, [100.0] * 9)
    assert begun == told["seeds"] == [0, 1]
    full, asked[:] = {1}, []
    with pytest.raises(EchocycleError, match="full"):
        run(10, [100.0] * 9)


def test_fractions_are_spelled_as_printed(
    run: Callable[..., tuple[list[int], dict[str, Any]]],
) -> None:
    """Else the paper's numbers would not stand beside ours; and with all labels some tables have no row."""
    pages = {}

    def note(experiment: Any, planned: Plan, *_: Any) -> Path:
        pages[experiment.name] = {cell.fraction for cell in planned.cells}
        return PAGE

    for fraction, expected in (
        ("1/8", {"table-4": {"4/32"}, "own-row": {"1/8"}, "table-1": {"1/8"}}),
        ("All", {"table-4": {"All"}, "table-1": {"All"}}),
    ):
        pages.clear()
        run(1.5, [40.0], seeds=[0], fraction=fraction, write_page=note)
        assert pages == expected
    with pytest.raises(EchocycleError, match="all labels"):
        run(1.5, [40.0], seeds=[0], fraction="All", names=["own-row"])
