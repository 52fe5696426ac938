"""What a model is worth is said in one sentence, from its predictions on held-out videos alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echocycle import last_word
from echocycle.errors import EchocycleError
from echocycle.evaluation.tables import write_predictions
from echocycle.files import read_json
from echocycle.inference.verdict import Verdict, verdict_of_run

TRUE = np.array([30.0, 45.0, 55.0, 60.0, 65.0, 70.0])


def run_with(folder: Path, wrong_by: float, split: str = "test", videos: int = 6) -> Path:
    """An evaluated run whose answers are all wrong by so many points; it was trained on videos of EF 50 and 52."""
    rows = [
        {
            "run": "student", "method": "student", "seed": 0, "split": split, "protocol": "strided", "patient": f"p{number}", "video": f"v{number}",
            "clip_start": start, "ef_true": ef, "ef_pred": ef + wrong_by,
        }
        for number, ef in enumerate(TRUE[:videos])
        for start in (0, 8)
    ]  # fmt: skip
    (folder / "model").mkdir(parents=True)
    (folder / "evaluation").mkdir()
    write_predictions(folder / "evaluation" / "predictions.csv", pd.DataFrame(rows))
    (folder / "labels.csv").write_text("name,subset,ef\na,labelled,50.0\nb,labelled,52.0\nc,unlabelled,\n")
    return folder


def test_a_model_that_loses_to_the_mean_is_not_to_be_used(tmp_path: Path) -> None:
    verdict = verdict_of_run(run_with(tmp_path / "run", 15.26))
    naive = float(np.abs(TRUE - 51).mean())
    assert (verdict.videos, verdict.error, verdict.naive_ef) == (6, pytest.approx(15.26), pytest.approx(51))
    assert verdict.naive_error == pytest.approx(naive)
    assert verdict.sentence() == (
        f"On 6 test videos this model errs by 15.3 points; always answering 51.0 % errs by {naive:.1f}. Do not use it."
    )
    assert verdict.bad
    assert not verdict.shown


def test_a_good_model_says_its_interval(tmp_path: Path) -> None:
    verdict = verdict_of_run(run_with(tmp_path / "run", 1.0, split="val"))
    assert verdict.shown
    assert verdict.sentence() == (
        "On 6 validation videos this model errs by 1.0 points (95 % interval 1.0 to 1.0); "
        f"always answering 51.0 % errs by {np.abs(TRUE - 51).mean():.1f}."
    )


@pytest.mark.parametrize(
    ("error", "high", "naive", "bad", "shown"),
    [(5.0, 6.0, 6.1, False, True), (5.0, 6.2, 6.1, False, False), (6.1, 7.0, 6.1, True, False)],
)
def test_an_interval_that_overlaps_is_no_proof(error: float, high: float, naive: float, bad: bool, shown: bool) -> None:
    verdict = Verdict("test", 9, error, 4.0, high, 50.0, naive, "strided")
    assert (verdict.bad, verdict.shown) == (bad, shown)
    assert ("Do not use it" in verdict.sentence()) is bad
    assert ("not shown to be better" in verdict.sentence()) is (not bad and not shown)


def test_one_video_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path / "run", 1.0, videos=1)
    with pytest.raises(EchocycleError, match="fewer than two"):
        verdict_of_run(run)
    assert last_word.keep_verdict(run) is None
    assert not (run / "model" / "verdict.json").exists()
    last_word.say_verdict(None)
    assert "is not known" in capsys.readouterr().out


def test_the_model_keeps_it(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", 15.26)
    verdict: Any = last_word.keep_verdict(run)
    kept = read_json(run / "model" / "verdict.json")
    assert kept["sentence"] == verdict.sentence()
    assert (kept["videos"], kept["error"], kept["split"]) == (6, verdict.error, "test")
