"""The report begins with the model that is handed on, in plain words, and says what to beware of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.cli import main
from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import mae
from echocycle.evaluation.tables import DICE, PREDICTIONS, dice_row, write_dice, write_predictions
from echocycle.files import write_json, write_text
from echocycle.reporting.blocks import Beware, Lead, Page, Table, Text, Tiles, number, plain
from echocycle.reporting.collect import collect, write_report
from echocycle.reporting.run_data import LabelCounts, Provenance, ReportData, RunReport
from echocycle.reporting.sections import report_page

VIDEOS = 80
TRUE = np.random.default_rng(0).normal(50, 14, VIDEOS).clip(15, 80)


def predictions(noise: float, *, split: str = "test", videos: int = VIDEOS, shift: float = 0.0) -> pd.DataFrame:
    pred = TRUE + shift + np.random.default_rng(round(noise)).normal(0, noise, VIDEOS)
    rows = [
        ("r", "m", 0, split, f"p{n // 2:02d}", f"v{n:02d}", "strided", start, TRUE[n], pred[n])
        for n in range(videos)
        for start in (0, 4)
    ]
    return pd.DataFrame(rows, columns=list(PREDICTIONS))


def run(name: str, method: str, table: pd.DataFrame | None, **more: object) -> RunReport:
    labels = LabelCounts(20, 60, 10, False)
    return RunReport(name, method, 0, "regress", labels, predictions=table, **more)  # type: ignore[arg-type]


def page(*runs: RunReport, **more: object) -> Page:
    return report_page(ReportData("t", runs, train_ef=[50, 60], resamples=300, **more))  # type: ignore[arg-type]


def lead(shown: Page) -> str:
    (block,) = [block for block in shown.lead if isinstance(block, Lead)]
    return plain(block.text)


def cautions(shown: Page) -> str:
    return "\n".join(plain(item) for block in shown.lead if isinstance(block, Beware) for item in block.items)


GOOD, FAIR = run("best", "teacher", predictions(2)), run("handed-on", "student", predictions(4))


def test_the_headline_is_the_delivered_model_not_the_best_row():
    error, other = mae(TRUE, FAIR.predictions["ef_pred"][::2]), mae(TRUE, np.full(VIDEOS, 55.0))  # type: ignore[index]
    said = lead(page(GOOD, FAIR))
    assert said.startswith(
        f"On 80 test videos of 40 patients the EF is off by {number(error, 1)} points on average (95 % "
    )
    assert said.endswith(f"; always answering 55.0 % would be off by {number(other, 1)}.")
    named = lead(page(GOOD, FAIR, delivered="best"))
    assert f"off by {number(mae(TRUE, GOOD.predictions['ef_pred'][::2]), 1)} points" in named  # type: ignore[index]
    segmenter = RunReport("css", "css", 0, "segment")
    assert lead(page(GOOD, FAIR, segmenter)) == said  # a segmenter that is named last predicts no EF
    with pytest.raises(EchocycleError, match="gone is not among the runs of the report \\(best, handed-on\\)"):
        page(GOOD, FAIR, delivered="gone")


def test_it_says_what_was_trained_on_what():
    made = Provenance(phantom="version 2")
    (text,) = [plain(block.text) for block in page(replace(FAIR, provenance=made)).lead if isinstance(block, Text)]
    assert "handed-on: a network that reads the EF from the video alone" in text
    assert "on 20 videos with a known EF and 60 without; 10 more with a known EF chose the best moment" in text
    assert "All are synthetic (phantom version 2)." in text
    own = replace(FAIR, provenance=Provenance(phantom="real data", data="our-clinic (abc)"))
    (text,) = [plain(block.text) for block in page(own).lead if isinstance(block, Text)]
    assert "They come from our-clinic (abc)." in text
    assert "in another hospital" in cautions(page(own))


def test_nobody_trusts_a_bad_model_by_accident():
    assert lead(page(run("bad", "student", predictions(30)))).endswith("Do not use this model.")
    unsure = lead(page(run("unsure", "student", predictions(12, videos=12))))
    assert unsure.endswith(("It is not shown that the model is better than that.", "Do not use this model."))
    assert "Do not use" not in lead(page(FAIR))
    assert "not shown" not in lead(page(FAIR))


def test_what_to_beware_of():
    assert "best moment of the training" in cautions(page(run("a", "student", predictions(3, split="val"))))
    few = cautions(page(run("a", "student", predictions(3, videos=6))))
    assert "Only 6 test videos of 3 patients" in few
    assert "how well low EF are found is not known" in few
    assert "Where the EF is under 50 the model reads it" in cautions(page(run("a", "student", predictions(3, shift=6))))
    table = predictions(3, shift=6)
    high = number(float((table["ef_pred"] - table["ef_true"])[table["ef_true"] < 50].mean()), 1)
    assert f"reads it {high} points too high on average" in cautions(page(run("a", "student", table)))
    assert "3 videos got no answer" in cautions(page(run("a", "student", predictions(3), not_measured={"test": 3})))
    assert cautions(page(FAIR)) == ""
    assert "Look out." in cautions(page(FAIR, warnings=["Look out."]))


def test_low_ef_is_counted():
    low = TRUE < 50
    pred = FAIR.predictions["ef_pred"].to_numpy()[::2]  # type: ignore[index]
    shown = page(GOOD, FAIR)
    (tiles,) = [block.tiles for block in shown.lead if isinstance(block, Tiles)]
    assert tiles[-1].value == f"{int((low & (pred < 50)).sum())} of {int(low.sum())}"
    section = next(section for section in shown.sections if section.title.startswith("Low EF"))
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert [row[0].text for row in table.rows] == ["under 40", "under 50"]
    assert table.rows[1][1].text == number(100 * float((pred[low] < 50).mean()), 0)
    assert table.rows[1][2].small.endswith(f"{int((~low & (pred >= 50)).sum())} of {int((~low).sum())}")


def test_every_patient_stands_in_the_table():
    filmed = replace(FAIR, overlay_files={"v03": "found/v03.avi.overlay.mp4"})
    section = next(each for each in page(GOOD, filmed).sections if each.title == "Patient by patient")
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert list(table.columns) == ["<patient", "<video", "EF true, %", "EF predicted, %", "difference"]
    assert len(table.rows) == VIDEOS
    sizes = [abs(row[4].value) for row in table.rows]  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)
    for row in table.rows:
        video = int(row[1].text[1:])
        assert row[0].text == f"p{video // 2:02d}"
        assert row[2].value == TRUE[video]
        assert row[4].value == pytest.approx(row[3].value - row[2].value)  # type: ignore[operator]
        assert row[1].link == ("found/v03.avi.overlay.mp4" if video == 3 else "")


def test_a_segmenter_alone_is_spoken_of_by_its_dice():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    rows = [dice_row("css", "test", "v", phase, mask, np.roll(mask, 1, 1)) for phase in ("ED", "ES")]
    assert lead(page(RunReport("css", "css", 0, "segment", dice=pd.DataFrame(rows)))) == (
        "On 1 test video the outline at ED and ES agrees with the traced one with a Dice of 75.0 %."
    )


# ------------------------------------------------------------------------------------------- from run folders


def run_folder(path: Path, stage: str, method: str, noise: float | None, store: Path) -> Path:
    """A run as the stages leave it, as far as the report reads it."""
    budget = {"labelled": 20, "unlabelled": 60, "validation": 10, "labels_used_in_all": 30}
    budget["unlabelled_annotation_allowed"] = False
    made = {"versions": {"echocycle": "1", "torch": "2"}, "machine": "two cores", "command": "echocycle regress"}
    data = {"id": "abc", "source": "our-clinic", "phantom_version": None}
    settings = {"method": method, "weights": "none", "loop": {"seed": 0}}
    info = {"stage": stage, "settings": settings, "budget": budget, "data": data, "made_with": made}
    write_json(path / "run.json", {**info, "reads_unlabelled_annotation": False, "where": {"store": str(store)}})
    write_text(path / "labels.csv", "name,subset,ef\na,labelled,50\nb,labelled,60\n")
    if noise is not None:
        write_predictions(path / "evaluation" / "predictions.csv", predictions(noise))
        job = {"settings": {"stride": 4, "clip_seeds": [0]}}
        write_json(path / "evaluation" / "metrics.json", {"job": job, "ef": {"test": {"strided": {"not_measured": 2}}}})
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    store = tmp_path / "store"
    write_json(store / "store.json", {"id": "abc", "release": "own"})
    return [
        run_folder(tmp_path / name, "regress", name, noise, store) for name, noise in (("teacher", 2), ("student", 4))
    ]


def test_the_command_names_the_delivered_run(runs: list[Path], tmp_path: Path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "v03.avi.overlay.mp4").write_bytes(b"film")
    out = tmp_path / "pages" / "report.html"
    call = [
        "report",
        *map(str, runs),
        "-o",
        str(out),
        "--delivered",
        str(runs[0]),
        "--overlays",
        str(tmp_path / "found"),
    ]
    assert main(call) == 0
    text = out.read_text(encoding="utf-8")
    assert "<h1>EF from echocardiogram video: teacher</h1>" in text
    assert 'href="../found/v03.avi.overlay.mp4"' in text
    assert "2 videos got no answer" in text
    assert "from every 4th start" in text
    files = out.with_name("report.files")
    assert {"patients.csv", "patients.tex", "patients-agreement.svg", "patients-agreement.png"} <= {
        path.name for path in files.iterdir()
    }
    assert len(pd.read_csv(files / "patients.csv")) == VIDEOS
    assert "](report.files/patients-agreement.svg)" in out.with_suffix(".md").read_text(encoding="utf-8")
    assert main([*call[:3], "-o", str(out), "--overlays", str(tmp_path / "gone")]) == 2


def test_public_names_follow_the_store(runs: list[Path], tmp_path: Path):
    assert not collect(runs).public_names
    for release, shown in (("newer", True), ("older", True), ("camus-nifti", False)):
        write_json(tmp_path / "store" / "store.json", {"id": "abc", "release": release})
        assert collect(runs).public_names == shown
    write_json(tmp_path / "store" / "store.json", {"id": "another", "release": "newer"})
    assert not collect(runs).public_names
    (tmp_path / "store" / "store.json").unlink()
    assert not collect(runs).public_names


def test_a_report_of_a_segmenter_alone(runs: list[Path], tmp_path: Path):
    path = run_folder(tmp_path / "css", "segment", "css", None, tmp_path / "store")
    mask = np.ones((4, 4), bool)
    table = pd.DataFrame([dice_row("css", "test", "v", "ED", mask, mask)])[list(DICE)]
    write_dice(path / "evaluation" / "dice.csv", table)
    out = write_report([path], tmp_path / "report.html")
    assert "Dice of 100.0 %" in out.read_text(encoding="utf-8")
    assert json.loads((path / "run.json").read_text())["stage"] == "segment"
