"""Which of several models is taken: the least error on validation videos, whatever the test videos say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.errors import EchocycleError
from echocycle.evaluation.candidates import (
    ALL,
    CANDIDATES,
    Choice,
    answered_by,
    asked_for,
    choose,
    methods_for,
    possible,
    read_choice,
    write_choice,
)
from echocycle.evaluation.tables import write_predictions


def write_run(
    runs: Path, name: str, val: float, test: float = 5.0, *, kept_apart: float = 0.0, videos: int = 12, clips: int = 2
) -> None:
    """An evaluated run whose answers are off by so many points, up and down in turn; half as many videos are kept
    apart for intervals."""
    rows, labels = [], ["name,subset,ef"]
    off = {"validation": ("val", val, videos), "calibration": ("val", kept_apart, videos // 2), "": ("test", test, 9)}
    for subset, (split, error, count) in off.items():
        for number in range(count):
            video = f"{subset or 'test'}-{number}"
            if subset:
                labels.append(f"{video},{subset},")
            for clip in range(clips):
                true = 30.0 + 3 * number
                rows.append(
                    {
                        "run": name, "method": name, "seed": 0, "split": split, "patient": video, "video": video,
                        "protocol": "strided", "clip_start": 4 * clip, "ef_true": true,
                        "ef_pred": true + error * (-1) ** number + (clip - (clips - 1) / 2),
                    }
                )  # fmt: skip
    folder = runs / CANDIDATES[name].run
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join(labels) + "\n")
    table = pd.DataFrame(rows).astype({"seed": "Int64", "clip_start": "Int64"})
    write_predictions(folder / "evaluation" / "predictions.csv", table)


def test_the_least_error_on_validation_videos_is_taken(tmp_path: Path) -> None:
    for name, error in (("video-only", 4.0), ("teacher", 2.0), ("student", 3.0)):
        write_run(tmp_path, name, error)
    found = choose(tmp_path, ("video-only", "teacher", "student"))
    assert (found.taken, found.run, found.videos, found.protocol) == ("teacher", "teacher", 12, "strided")
    assert [each.error for each in found.standings] == pytest.approx([4.0, 2.0, 3.0])
    assert [each.more for each in found.standings] == pytest.approx([2.0, 0.0, 1.0])
    only, taken, student = found.standings
    assert only.low is not None
    assert only.high is not None
    assert only.low <= 4.0 <= only.high
    assert only.clearly_worse
    assert student.clearly_worse
    assert not taken.clearly_worse
    assert "is shown" in found.why


def test_neither_test_videos_nor_those_kept_for_intervals_choose(tmp_path: Path) -> None:
    """The same choice, to the last digit, whatever stands in their rows."""
    write_run(tmp_path, "video-only", 4.0)
    write_run(tmp_path, "teacher", 2.0)
    before = choose(tmp_path, ("video-only", "teacher"))
    write_run(tmp_path, "video-only", 4.0, test=0.0, kept_apart=0.0)
    write_run(tmp_path, "teacher", 2.0, test=20.0, kept_apart=20.0)
    assert choose(tmp_path, ("video-only", "teacher")) == before


def test_what_is_not_shown_to_be_better_is_said(tmp_path: Path) -> None:
    """The errors of both vary from video to video, so the interval of their difference holds 0."""
    write_run(tmp_path, "video-only", 3.0)
    write_run(tmp_path, "teacher", 3.0)
    path = tmp_path / "teacher" / "evaluation" / "predictions.csv"
    table = pd.read_csv(path)
    number = table["video"].str.extract(r"-(\d+)$")[0].astype(int)
    table["ef_pred"] = table["ef_true"] + np.where(number % 3 == 0, 0.0, 4.0)
    table.to_csv(path, index=False)
    found = choose(tmp_path, ("video-only", "teacher"))
    assert found.taken == "teacher"
    assert not any(each.clearly_worse for each in found.standings)
    assert "than video-only is not shown" in found.why


def test_of_equals_the_first_is_taken(tmp_path: Path) -> None:
    for name in CANDIDATES:
        write_run(tmp_path, name, 3.0)
    assert choose(tmp_path, CANDIDATES).taken == "video-only"


def test_too_few_videos_choose_nothing_and_it_is_said(tmp_path: Path) -> None:
    for name in CANDIDATES:
        write_run(tmp_path, name, 3.0, videos=1)
    found = choose(tmp_path, CANDIDATES)
    assert (found.taken, found.standings) == ("student", ())
    assert "Too few" in found.why
    assert choose(tmp_path, ("teacher",)).why == "It is the only candidate."


def test_only_videos_that_all_answered_are_compared(tmp_path: Path) -> None:
    write_run(tmp_path, "video-only", 4.0)
    write_run(tmp_path, "teacher", 2.0)
    path = tmp_path / "teacher" / "evaluation" / "predictions.csv"
    table = pd.read_csv(path)
    table[table["video"] != "validation-0"].to_csv(path, index=False)
    assert choose(tmp_path, ("video-only", "teacher")).videos == 11


def test_names() -> None:
    assert asked_for(ALL) == tuple(CANDIDATES)
    assert asked_for(" student,teacher ,student") == ("teacher", "student")
    for wrong in ("", ",", "students", "teacher,supervised"):
        with pytest.raises(EchocycleError, match="--candidates takes video-only, teacher, student, two-teachers"):
            asked_for(wrong)


def test_what_is_trained() -> None:
    assert methods_for(CANDIDATES) == ("supervised", "teacher", "mask_teacher", "student")
    assert methods_for(("student",)) == ("teacher", "student")  # what earlier versions trained
    assert methods_for(("two-teachers",)) == ("teacher", "mask_teacher")
    assert answered_by("student") == ("student",)
    assert answered_by("video-only") == ("supervised",)
    assert answered_by("two-teachers") == ("teacher", "mask_teacher")
    assert possible(CANDIDATES, traced=False, unlabelled=True) == ("video-only",)
    assert possible(CANDIDATES, traced=True, unlabelled=False) == ("video-only", "teacher", "two-teachers")
    assert possible(("student",), traced=True, unlabelled=False) == ("teacher",)
    assert possible(("student",), traced=True, unlabelled=True) == ("student",)


def test_a_choice_on_disk(tmp_path: Path) -> None:
    assert read_choice(tmp_path) is None
    write_run(tmp_path / "runs", "video-only", 4.0)
    write_run(tmp_path / "runs", "teacher", 2.0)
    found = choose(tmp_path / "runs", ("video-only", "teacher"))
    path = write_choice(tmp_path, found)
    assert read_choice(tmp_path) == found
    written = path.stat().st_mtime_ns
    write_choice(tmp_path, found)
    assert path.stat().st_mtime_ns == written
    for wrong in ({"taken": "teacher"}, {**json.loads(path.read_text()), "run": "../elsewhere"}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(EchocycleError, match=r"choice\.json is not readable"):
            read_choice(tmp_path)


def test_a_choice_without_comparison_goes_to_disk_too(tmp_path: Path) -> None:
    found = Choice("student", "student", "It is the only candidate.", 0, "")
    write_choice(tmp_path, found)
    assert read_choice(tmp_path) == found
