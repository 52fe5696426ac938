"""Tables from predictions: every number again by other means, what is said of them, and a page that can be read."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from echocycle.errors import EchocycleError
from echocycle.evaluation.tables import PREDICTIONS, dice_row, write_dice, write_predictions
from echocycle.experiments.collect import collect_budgets, collect_predictions, paper_numbers
from echocycle.experiments.compare import compare, summarise, verdict
from echocycle.experiments.plan import Cell, Experiment, Regressor, Row, Segmenter, Together
from echocycle.experiments.results import render, write_results
from echocycle.files import write_json

VIDEO, OURS = Row("Video Only", Regressor("supervised")), Row("Ours", Regressor("student"))
EXPERIMENT = Experiment("table-4", "Masks", (VIDEO, OURS), ("4/32",), "IV", (("Ours", "Video Only"),))
FACTS: dict[str, Any] = {
    "date": "2026-01-02",
    "made_with": {"versions": {"torch": "2.11"}, "machine": "two cores", "command": "echocycle experiment table-4"},
    "data": {"id": "abc", "phantom_version": 2},
    "preset": "tiny",
    "minutes": 3.0,
    "failed": {"regress x": "EchocycleError: it broke"},
    "blocked": {},
    "left": [],
}
VIDEOS, STARTS = 40, 3


def predictions_of(run: Path, seed: int, error: float) -> pd.DataFrame:
    """Three strided clips and five single ones of each video, wrong by about `error`."""
    rng = np.random.default_rng([seed, round(10 * error)])
    rows = []
    for number in range(VIDEOS):
        split = "test" if number < 30 else "val"
        true = 30 + number
        common = {"run": run.name, "method": "m", "seed": seed, "split": split, "patient": f"P{number // 2}"}
        common |= {"video": f"0{number}", "ef_true": true}
        offset = rng.normal(0, error)
        clips = [("strided", start) for start in range(STARTS)] + [(f"one-clip-{s}", 7) for s in range(5)]
        for protocol, start in clips:
            each = {"protocol": protocol, "clip_start": start, "ef_pred": true + offset + rng.normal(0, 1)}
            rows.append({**common, **each})
    return pd.DataFrame(rows)[list(PREDICTIONS)]


def run_json(run: Path, used: int) -> None:
    budget = {"labelled": 90, "unlabelled": 610, "validation": 40, "labels_used_in_all": used}
    made = {"machine": "two cores"}
    settings = {"weights": "shapes"}
    rest = {"reads_unlabelled_annotation": False, "made_with": made, "stage": "regress", "settings": settings}
    write_json(run / "run.json", {"budget": budget, **rest})


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    found = []
    for row, error in ((VIDEO, 8.0), (OURS, 3.0)):
        for seed in range(3):
            run = tmp_path / "runs" / f"{row.system.method}-{seed}"
            write_predictions(run / "evaluation" / "predictions.csv", predictions_of(run, seed, error))
            run_json(run, 130)
            found.append(Cell(row, "4/32", seed, (run,)))
    return found


@pytest.fixture
def page(cells: list[Cell], tmp_path: Path) -> str:
    return write_results(EXPERIMENT, cells, tmp_path / "results", FACTS).read_text()


def clips_of(cells: list[Cell], row: Row, protocol: str) -> list[pd.DataFrame]:
    tables = [pd.read_csv(cell.runs[0] / "evaluation" / "predictions.csv") for cell in cells if cell.row is row]
    return [table[(table["split"] == "test") & table["protocol"].str.startswith(protocol)] for table in tables]


def test_the_numbers_are_those_of_the_predictions(cells: list[Cell], page: str, tmp_path: Path) -> None:
    """By hand, from the runs' own files: clips averaged per video, then videos, then seeds; one-clip never averaged."""
    found = pd.read_csv(tmp_path / "results" / "table-4.csv")
    assert list(found.columns[:7]) == ["table", "row", "column", "label_fraction", "metric", "mean", "std"]
    for row in (VIDEO, OURS):
        strided, single, squared = [], [], []
        for table in clips_of(cells, row, "strided"):
            videos = table.groupby("video")[["ef_true", "ef_pred"]].mean()
            error = videos["ef_pred"] - videos["ef_true"]
            strided.append(error.abs().mean())
            squared.append(100 * (1 - (error**2).sum() / ((videos["ef_true"] - videos["ef_true"].mean()) ** 2).sum()))
        for table in clips_of(cells, row, "one-clip"):
            single.append((table["ef_pred"] - table["ef_true"]).abs().mean())
        mine = found[(found["row"] == row.name)].set_index(["metric", "protocol"])
        assert mine.loc[("MAE", "strided"), "mean"] == pytest.approx(np.mean(strided), abs=2e-3)
        assert mine.loc[("MAE", "strided"), "std"] == pytest.approx(np.std(strided, ddof=1), abs=2e-3)
        assert mine.loc[("R2_percent", "strided"), "mean"] == pytest.approx(np.mean(squared), abs=2e-2)
        assert mine.loc[("MAE", "one-clip"), "mean"] == pytest.approx(np.mean(single), abs=2e-3)
        assert set(mine["videos"]) == {30}
    assert found.set_index(["row", "metric", "protocol"]).loc[("Ours", "MAE", "strided"), "seeds"] == "0 1 2"


def test_the_papers_numbers_stand_beside(page: str) -> None:
    line = next(line for line in page.splitlines() if line.startswith("| Video Only | 4/32"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2] == "5.64 ± 0.08"
    ours = float(cells[3].split(" ")[0])
    assert float(cells[4]) == pytest.approx(ours - 5.64, abs=0.011)
    assert cells[5] == "130"
    assert "3 seeds" in cells[3]


def test_both_tests_and_the_interval(cells: list[Cell], page: str, tmp_path: Path) -> None:
    (found,) = pd.read_csv(tmp_path / "results" / "table-4.comparisons.csv").to_dict("records")
    errors = []
    for row in (OURS, VIDEO):
        runs = []
        for table in clips_of(cells, row, "strided"):
            videos = table.groupby("video")[["ef_true", "ef_pred"]].mean()
            runs.append((videos["ef_pred"] - videos["ef_true"]).abs().to_numpy())
        errors.append(np.stack(runs))
    ours, video = errors
    assert found["difference"] == pytest.approx(ours.mean() - video.mean(), abs=2e-3)
    assert found["p_paired_over_videos"] == pytest.approx(stats.ttest_rel(ours.mean(0), video.mean(0)).pvalue, rel=0.1)
    assert found["p_unpaired_over_runs"] == pytest.approx(stats.ttest_ind(ours.mean(1), video.mean(1)).pvalue, rel=0.1)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["verdict"] == "helps"
    assert found["videos"] == 30


def test_helps_only_where_the_interval_excludes_zero() -> None:
    assert verdict(-2.0, -0.1, -1) == "helps"
    assert verdict(-2.0, 0.1, -1) == "not shown"
    assert verdict(-2.0, 0.0, -1) == "not shown"
    assert verdict(0.1, 2.0, -1) == "harms"
    assert verdict(0.1, 2.0, 1) == "helps"
    assert verdict(-2.0, -0.1, 1) == "harms"
    assert verdict(float("nan"), float("nan"), 1) == "not shown"


def test_one_seed_has_no_deviation_and_no_test_over_runs(cells: list[Cell], tmp_path: Path) -> None:
    first = [cell for cell in cells if cell.seed == 0]
    text = write_results(EXPERIMENT, first, tmp_path / "one", FACTS).read_text()
    line = next(line for line in text.splitlines() if line.startswith("| Ours | 4/32"))
    assert "(1 seed)" in line
    assert "±" not in line.split("|")[4]
    assert pd.isna(pd.read_csv(tmp_path / "one" / "table-4.comparisons.csv")["p_unpaired_over_runs"]).all()


def test_everything_is_made_again_from_what_is_stored(cells: list[Cell], page: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    made = ("table-4.csv", "table-4.comparisons.csv", "table-4.md")
    before = {name: (folder / name).read_bytes() for name in made}
    for name in made:
        (folder / name).unlink()
    render(folder, "table-4")
    assert {name: (folder / name).read_bytes() for name in made} == before
    stored = (folder / "table-4.predictions.csv.gz").read_bytes()
    write_results(EXPERIMENT, cells, folder, FACTS)
    assert (folder / "table-4.predictions.csv.gz").read_bytes() == stored
    assert "00," in gzip.decompress(stored).decode()  # a video called 00 keeps its name


def test_a_changed_prediction_changes_the_table(page: str, tmp_path: Path) -> None:
    file = tmp_path / "results" / "table-4.predictions.csv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:-1], "99"])
    file.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    assert render(tmp_path / "results", "table-4").read_text() != page


def test_the_page_says_where_it_comes_from(page: str) -> None:
    for said in ("echocycle experiment table-4", "2026-01-02", "two cores", "torch 2.11", "phantom version 2", "tiny"):
        assert said in page
    assert "regress x: failed (EchocycleError: it broke)" in page
    assert "two worlds" in page
    assert "Table IV: Masks" in page
    assert "for MAE (protocol strided) a negative one" in page
    assert "protocol: one-clip; 30 test videos" in page
    assert "First weights of the EF networks: `shapes`" in page


# ----------------------------------------------------------------------------------------------------- Dice


@pytest.fixture
def segmented(tmp_path: Path) -> list[Cell]:
    found = []
    rng = np.random.default_rng(0)
    true = np.zeros((20, 20), dtype=bool)
    true[4:16, 4:16] = True
    for row, shift in ((Row("Supervised", Segmenter("supervised")), 3), (Row("Ours", Segmenter("css")), 1)):
        for seed in range(2):
            run = tmp_path / "runs" / f"{row.name}-{seed}"
            rows = []
            for video in range(12):
                for phase, extra in (("ED", 0), ("ES", 1), ("all", 0)):
                    pred = np.roll(true, shift + extra + int(rng.integers(2)), axis=0)
                    rows.append(dice_row(run.name, "test", f"0{video}", phase, true, pred))
            write_dice(run / "evaluation" / "dice.csv", pd.DataFrame(rows))
            run_json(run, 60)
            found.append(Cell(row, "1/8", seed, (run,)))
    return found


def test_dice_in_both_namings(segmented: list[Cell], tmp_path: Path) -> None:
    experiment = Experiment("table-6", "Dice", tuple({c.row.name: c.row for c in segmented}.values()), paper="VI")
    text = write_results(experiment, segmented, tmp_path / "results", FACTS).read_text()
    tidy = pd.read_csv(tmp_path / "results" / "table-6.csv").set_index(["row", "column", "protocol"])
    found = tidy[tidy["metric"] == "Dice_percent"]["mean"]
    own = tidy[tidy["metric"] == "Dice_per_video_percent"]["mean"]
    expected, each = [], []
    for cell in segmented:
        if cell.row.name == "Ours":
            table = pd.read_csv(cell.runs[0] / "evaluation" / "dice.csv")
            part = table[table["phase"] == "ED"]
            expected.append(200 * part["intersection"].sum() / (part["size_true"] + part["size_pred"]).sum())
            each.append((200 * part["intersection"] / (part["size_true"] + part["size_pred"])).mean())
    assert found["Ours", "ED Frame", "area"] == pytest.approx(np.mean(expected), abs=2e-3)
    assert own["Ours", "ED Frame", "area"] == pytest.approx(np.mean(each), abs=2e-3)
    assert "| per video |" in text
    assert found["Ours", "ES Frame", "code"] == found["Ours", "ED Frame", "area"]
    assert found["Ours", "ED Frame", "code"] == found["Ours", "ES Frame", "area"]
    assert ("Ours", "Unlabeled Frame", "area") in found.index
    (compared,) = pd.read_csv(tmp_path / "results" / "table-6.comparisons.csv").to_dict("records")
    assert compared["difference"] > 0
    assert compared["verdict"] == "helps"
    assert "89.0 ± 0.2" in text  # the paper's ED of ours


def test_dice_of_all_pixels_and_of_each_video() -> None:
    """A large ventricle found well and a small one found badly: pooled 180/210, each 0.9 and 0; none at all counts 1."""
    counts = {"intersection": [90, 0, 0], "size_true": [100, 5, 0], "size_pred": [100, 5, 0]}
    dice = pd.DataFrame(counts).assign(
        row="a", column="c", label_fraction="1/8", seed=0, split="test", phase="ED", video=["v", "w", "x"]
    )
    found = summarise(pd.DataFrame(), dice).query("protocol == 'area'").set_index("metric")["mean"]
    assert float(found["Dice_percent"]) == pytest.approx(100 * 180 / 210, abs=1e-3)
    assert float(found["Dice_per_video_percent"]) == pytest.approx((90 + 0 + 100) / 3, abs=1e-3)


def test_comparisons_over_all_fractions() -> None:
    """Two rows that differ by the same at every fraction are also compared over all; a fraction of one row is not."""
    rng = np.random.default_rng(0)
    true = rng.normal(55, 12, 80)
    rows = [
        {"row": row, "column": f"{fraction} labels", "label_fraction": fraction, "seed": seed, "split": "test",
         "video": f"v{video}", "patient": f"v{video}", "protocol": "strided", "ef_true": true[video],
         "ef_pred": true[video] + 4 + (row == "b")}
        for row, fractions in (("a", ("1/8", "1/4")), ("b", ("1/8", "1/4", "1/2")))
        for fraction in fractions
        for seed in (0, 1)
        for video in range(80)
    ]  # fmt: skip
    found = compare(pd.DataFrame(rows), pd.DataFrame(), [("a", "b")])
    assert found["label_fraction"].tolist() == ["1/8", "1/4", "all shown"]
    assert found["difference"].tolist() == [-1, -1, -1]
    assert found["runs"].tolist() == ["2 and 2", "2 and 2", "4 and 4"]
    assert np.isnan(found["p_unpaired_over_runs"].iloc[-1])


def test_nothing_evaluated_gives_no_table(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="evaluated"):
        write_results(EXPERIMENT, [Cell(OURS, "1/8", 0, (tmp_path / "nothing",))], tmp_path, FACTS)


def test_rows_must_share_videos(cells: list[Cell]) -> None:
    table = pd.concat(clips_of(cells, VIDEO, "strided")[:1]).assign(row="a", column="c", label_fraction="1/8")
    other = table.assign(row="b", video=table["video"].astype(str) + "x")
    both = pd.concat([table, other]).drop_duplicates(["row", "video"])
    with pytest.raises(EchocycleError, match="share"):
        compare(both, pd.DataFrame(), [("a", "b")])


def test_the_papers_tables_are_in_the_package() -> None:
    assert len(paper_numbers("I")) == 34
    assert len(paper_numbers("IV")) == 56
    assert paper_numbers("VI").query("row == 'Ours' and column == 'ED Frame'")["mean"].item() == "89.0"
    assert not len(paper_numbers(""))
    assert not len(summarise(pd.DataFrame(), pd.DataFrame()))
    assert json.dumps(FACTS)


def test_systems_that_answer_together(cells: list[Cell], tmp_path: Path) -> None:
    """The mean of their answers to each video and clip seed; a video without one of them has none."""
    video, ours = (next(cell for cell in cells if cell.row is row and cell.seed == 0) for row in (VIDEO, OURS))
    both = Row("Both", Together((Regressor("supervised"), Regressor("student"))))
    cell = Cell(both, "4/32", 0, (*video.runs, *ours.runs))
    found = collect_predictions([cell])
    alone = [collect_predictions([each]) for each in (video, ours)]
    keys = ["split", "video", "protocol"]
    merged = alone[0].merge(alone[1], on=keys, suffixes=("", "_other")).merge(found, on=keys, suffixes=("", "_both"))
    assert len(found) == len(merged) == len(alone[0])
    np.testing.assert_allclose(merged["ef_pred_both"], (merged["ef_pred"] + merged["ef_pred_other"]) / 2)
    assert set(found["row"]) == {"Both"}
    assert list(found.columns) == list(alone[0].columns)
    assert collect_budgets([cell])[0]["labels_used_in_all"] == collect_budgets([video])[0]["labels_used_in_all"]
    file = ours.runs[0] / "evaluation" / "predictions.csv"
    kept = pd.read_csv(file, dtype={"video": str}, keep_default_na=False)
    write_predictions(file, kept[kept["video"] != kept["video"].iloc[0]])
    assert found["video"].nunique() - collect_predictions([cell])["video"].nunique() == 1
    file.unlink()
    assert collect_predictions([cell]).empty
