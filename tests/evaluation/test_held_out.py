"""The verdict is what the tables say: the error per video, the naive answer's on the same videos."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.errors import EchocycleError
from echocycle.evaluation.held_out import verdict_from_predictions, verdict_of_run
from echocycle.evaluation.tables import write_predictions


def table(split: str = "test", protocol: str = "all-clips") -> pd.DataFrame:
    """Four videos of two clips each; their mean errs by 2, 4, 6 and 8 points."""
    rows = [
        {
            "run": "student",
            "method": "student",
            "seed": 0,
            "split": split,
            "patient": f"p{video}",
            "video": f"v{video}",
            "protocol": protocol,
            "clip_start": start,
            "ef_true": 40.0 + 10 * video,
            "ef_pred": 40.0 + 10 * video + 2 * (video + 1) + spread,
        }
        for video in range(4)
        for start, spread in ((0, -1.0), (4, 1.0))
    ]
    return pd.DataFrame(rows).astype({"seed": "Int64", "clip_start": "Int64"})


def test_the_numbers() -> None:
    found = verdict_from_predictions(table(), 50.0)
    assert found.error == pytest.approx(5.0)
    assert found.naive_error == pytest.approx(np.mean([10, 0, 10, 20]))
    assert (found.split, found.videos, found.naive_ef, found.protocol) == ("test", 4, 50.0, "all-clips")
    assert found.low is not None
    assert found.high is not None
    assert 2 <= found.low < 5 < found.high <= 8
    assert not found.bad
    assert verdict_from_predictions(table(), 55.0).naive_error == pytest.approx(10.0)


def test_test_videos_count_before_validation_videos_and_the_first_protocol() -> None:
    val = table("val", "one-clip-1")
    val["ef_pred"] += 3
    both = pd.concat([val, table(), table(protocol="strided").assign(ef_pred=0.0)], ignore_index=True)
    assert verdict_from_predictions(both, 50.0) == verdict_from_predictions(table(), 50.0)
    alone = verdict_from_predictions(val, 50.0)
    assert alone.split == "val"
    assert alone.error == pytest.approx(8.0)
    assert "validation videos" in alone.sentence()
    with pytest.raises(EchocycleError, match="at least two"):
        verdict_from_predictions(table()[:2], 50.0)
    with pytest.raises(EchocycleError, match="at least two"):
        verdict_from_predictions(table("train"), 50.0)


def test_of_a_run(tmp_path: Path) -> None:
    write_predictions(tmp_path / "evaluation" / "predictions.csv", table())
    (tmp_path / "labels.csv").write_text("name,subset,ef\na,labelled,40\nb,labelled,70\nc,unlabelled,\nd,validation,\n")
    assert verdict_of_run(tmp_path) == verdict_from_predictions(table(), 55.0)
