"""Tables survive a round trip, and every broken rule is named with its file and column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echocycle.errors import EchocycleError
from echocycle.evaluation.tables import (
    DICE,
    PREDICTIONS,
    VOLUMES,
    dice_row,
    explain_protocol,
    per_video,
    read_dice,
    read_predictions,
    read_volumes,
    write_dice,
    write_predictions,
    write_volumes,
)


def predictions() -> pd.DataFrame:
    """Two videos with clips, and the same two aggregated by another run."""
    rows = [
        ("a", "student", 0, "test", "p1", "0012", "all_clips", start, 55.5, 50 + 1 / 3 + start) for start in (0, 1, 2)
    ]
    rows += [("a", "student", 0, "test", "p1", "NA", "all_clips", 0, 60.0, 61.0)]
    rows += [("mean", "naive", None, "test", "p1", name, "none", None, ef, 55.7) for name, ef in
             (("0012", 55.5), ("NA", 60.0))]  # fmt: skip
    return pd.DataFrame(rows, columns=list(PREDICTIONS))


def volumes() -> pd.DataFrame:
    row = ("seg", "test", "p1", "0012", 55.5, 50.1, 51.2, 80.5, 40.2, "ml", 1600.0, 900.0, 3, "")
    lost = ("seg", "test", "p1", "0013", None, None, None, None, None, "ml", None, None, 0, "no frame has a mask")
    return pd.DataFrame([row, lost], columns=list(VOLUMES))


def test_predictions_come_back_exactly(tmp_path: Path):
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions())
    frame = read_predictions(path)
    assert list(frame.columns) == list(PREDICTIONS)
    assert list(frame["video"]) == list(predictions()["video"])  # "0012" and "NA" stay text
    assert (frame["ef_pred"].to_numpy() == predictions()["ef_pred"].to_numpy()).all()
    assert frame["clip_start"].isna().tolist() == [False] * 4 + [True] * 2
    assert frame["seed"].isna().tolist() == [False] * 4 + [True] * 2
    write_predictions(path, frame)
    pd.testing.assert_frame_equal(read_predictions(path), frame)
    assert path.read_text().splitlines()[0] == ",".join(PREDICTIONS)


def test_further_columns_are_kept(tmp_path: Path):
    path = tmp_path / "predictions.csv"
    write_predictions(path, predictions().assign(camera="x"))
    assert list(read_predictions(path).columns) == [*PREDICTIONS, "camera"]


def test_per_video_is_the_mean_of_clips():
    frame = per_video(predictions())
    assert frame["clips"].tolist() == [3, 1, 1, 1]
    assert frame["ef_pred"].tolist() == pytest.approx([51 + 1 / 3, 61, 55.7, 55.7])
    assert frame["video"].tolist() == ["0012", "NA", "0012", "NA"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.drop(columns="ef_pred"), "column 'ef_pred' is missing"),
        (
            lambda f: f.assign(ef_true=[555.0, *f["ef_true"][1:]]),
            "'ef_true' must lie between 0 and 100.*row 2: 555",
        ),
        (lambda f: f.assign(ef_pred=["x", *f["ef_pred"][1:]]), "'ef_pred' must be a finite number.*row 2: x"),
        (lambda f: f.assign(ef_pred=[*f["ef_pred"][:5], np.nan]), "'ef_pred' must be a finite number.*row 7"),
        (lambda f: f.assign(clip_start=[0.5, *f["clip_start"][1:]]), "'clip_start' must be a whole number"),
        (lambda f: f.assign(clip_start=[-1, *f["clip_start"][1:]]), "'clip_start' must lie between 0"),
        (lambda f: f.assign(split=["", *f["split"][1:]]), "'split' must not be empty"),
        (lambda f: f.assign(clip_start=[1, *f["clip_start"][1:]]), "repeats an earlier row"),
        (lambda f: f.assign(clip_start=[None, *f["clip_start"][1:]]), "mixes clips and an aggregated row"),
        (lambda f: f.assign(ef_true=[54.0, *f["ef_true"][1:]]), "'ef_true' differs between rows of one video"),
    ],
)
def test_broken_predictions_are_named(tmp_path: Path, change, words: str):
    path = tmp_path / "predictions.csv"
    with pytest.raises(EchocycleError, match=words) as error:
        write_predictions(path, change(predictions()))
    assert str(path) in str(error.value)
    assert not path.exists()
    change(predictions()).to_csv(path, index=False)
    with pytest.raises(EchocycleError, match=words):
        read_predictions(path)


def test_missing_and_empty_files_are_named(tmp_path: Path):
    with pytest.raises(EchocycleError, match="predictions.csv is missing"):
        read_predictions(tmp_path / "predictions.csv")
    (tmp_path / "dice.csv").write_text("")
    with pytest.raises(EchocycleError, match="dice.csv is not a readable CSV"):
        read_dice(tmp_path / "dice.csv")


def test_dice_table(tmp_path: Path):
    true, pred = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    true[2:6, 2:6] = pred[2:6, 3:7] = True
    rows = [dice_row("seg", "test", "0012", phase, true, pred) for phase in ("ED", "ES")]
    frame = pd.DataFrame(rows)
    assert list(frame.columns) == list(DICE)
    assert frame["dice"].tolist() == [0.75, 0.75]
    write_dice(tmp_path / "dice.csv", frame)
    assert read_dice(tmp_path / "dice.csv")["intersection"].tolist() == [12, 12]
    with pytest.raises(EchocycleError, match="'dice' is not 2 x intersection"):
        write_dice(tmp_path / "dice.csv", frame.assign(dice=0.7))
    with pytest.raises(EchocycleError, match="'phase' must be one of ED, ES, all"):
        write_dice(tmp_path / "dice.csv", frame.assign(phase=["ED", "diastole"]))
    with pytest.raises(EchocycleError, match="larger than the mask"):
        write_dice(tmp_path / "dice.csv", frame.assign(size_true=3))


def test_volumes_table_may_have_gaps(tmp_path: Path):
    write_volumes(tmp_path / "volumes.csv", volumes())
    frame = read_volumes(tmp_path / "volumes.csv")
    assert frame["ef_discs"].isna().tolist() == [False, True]
    assert frame["notes"].tolist() == ["", "no frame has a mask"]
    assert frame["beats"].tolist() == [3, 0]
    with pytest.raises(EchocycleError, match="'video' repeats"):
        write_volumes(tmp_path / "volumes.csv", pd.concat([volumes(), volumes()]))


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("all-clips", "clips from every start."),
        ("strided", "clips from every 4th start."),
        ("one-clip", "5 random draws of one clip"),
        ("one-clip-3", "that of one clip, drawn at random with seed 3."),
        ("beat-by-beat", "one clip around each systole"),
    ],
)
def test_protocols_are_explained(protocol: str, words: str):
    assert words in explain_protocol(protocol, 4, 5)


def test_what_is_not_known_of_a_protocol_is_not_made_up():
    assert explain_protocol("strided") == "a video's EF is the mean over clips from every n-th start."
    assert explain_protocol("somebody's own") == ""


def test_all_broken_rules_are_named_at_once(tmp_path: Path):
    frame = predictions().assign(ef_true=555.0, split="")
    with pytest.raises(EchocycleError) as error:
        write_predictions(tmp_path / "predictions.csv", frame)
    said = str(error.value)
    assert "column 'split' must not be empty (row 2: , row 3: , row 4:  and 3 more)" in said
    assert "column 'ef_true' must lie between 0 and 100" in said
