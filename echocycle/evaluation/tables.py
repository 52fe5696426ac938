"""The tables that a run leaves for evaluation: predictions.csv, dice.csv and volumes.csv, written and read.

Also labels.csv of training, which is only read here.

Text stays text (a video may be called 0012), numbers come back exactly as written, further columns are kept,
and a table that breaks a rule is an `EchocycleError` that names the file, the column and the first bad rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import dice_per_video, mask_counts
from echocycle.files import write_text


@dataclass(frozen=True)
class Column:
    """A column's rule: text (never empty unless optional), number (finite) or whole (a whole number)."""

    kind: Literal["text", "number", "whole"]
    optional: bool = False  # whether cells may be empty; the column itself must be there
    lowest: float | None = None
    highest: float | None = None
    one_of: tuple[str, ...] = ()


TEXT = Column("text")
NOTE = Column("text", optional=True)

PREDICTIONS: dict[str, Column] = {
    "run": TEXT,
    "method": TEXT,
    "seed": Column("whole", optional=True),  # empty for what has no seed, such as the mean of the training EF
    "split": TEXT,
    "patient": TEXT,  # the video's name where patients are unknown
    "video": TEXT,
    "protocol": TEXT,  # how clips were chosen, such as all_clips or one_clip
    "clip_start": Column("whole", optional=True, lowest=0),  # frame; empty: aggregated per video
    "ef_true": Column("number", lowest=0, highest=100),  # percent
    "ef_pred": Column("number"),  # percent, as the network gave it
}

DICE: dict[str, Column] = {
    "run": TEXT,
    "split": TEXT,
    "video": TEXT,
    "phase": Column("text", one_of=("ED", "ES", "all")),  # by area: ED is the larger of the two true masks
    "intersection": Column("number", lowest=0),  # pixels
    "size_true": Column("number", lowest=0),
    "size_pred": Column("number", lowest=0),
    "dice": Column("number", lowest=0, highest=1),
}

VOLUMES: dict[str, Column] = {
    "run": TEXT,
    "split": TEXT,
    "patient": TEXT,
    "video": TEXT,
    "ef_true": Column("number", optional=True, lowest=0, highest=100),  # percent
    "ef_discs": Column("number", optional=True, highest=100),  # percent; empty: nothing to measure
    "ef_area_length": Column("number", optional=True, highest=100),
    "edv": Column("number", optional=True, lowest=0),
    "esv": Column("number", optional=True, lowest=0),
    "unit": NOTE,  # of the volumes: ml, or px^3 where the spacing is unknown
    "area_ed": Column("number", optional=True, lowest=0),  # pixels
    "area_es": Column("number", optional=True, lowest=0),
    "beats": Column("whole", optional=True, lowest=0),
    "notes": NOTE,
}

LABELS: dict[str, Column] = {
    "name": TEXT,
    "subset": Column("text", one_of=("labelled", "unlabelled", "excluded", "validation")),
    "ef": Column("number", optional=True, lowest=0, highest=100),  # percent; of labelled videos only
}

_PREDICTION_KEY = ["run", "split", "protocol", "video", "clip_start"]


def _complain(where: str, column: str, rows: Sequence[int], what: str, values: pd.Series) -> None:
    """Raise an error that shows the first three bad rows, counted as in the file (the header is row 1)."""
    shown = ", ".join(f"row {row + 2}: {values.iloc[row]}" for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    raise EchocycleError(f"{where}: column {column!r} {what} ({shown}{more}).")


def _numbers(values: pd.Series, rule: Column, column: str, where: str) -> pd.Series:
    numbers, bad = np.full(len(values), np.nan), []
    for row, value in enumerate(values):
        if value is None or value is pd.NA or value == "" or value != value:
            if not rule.optional:
                bad.append(row)
            continue
        try:
            numbers[row] = float(value)
        except (TypeError, ValueError):
            bad.append(row)
            continue
        if not np.isfinite(numbers[row]) or (rule.kind == "whole" and numbers[row] != round(numbers[row])):
            bad.append(row)
    if bad:
        kind = "a whole number" if rule.kind == "whole" else "a finite number"
        empty = " (or empty)" if rule.optional else ""
        _complain(where, column, bad, f"must be {kind}{empty} in every row", values)
    low = -np.inf if rule.lowest is None else rule.lowest
    high = np.inf if rule.highest is None else rule.highest
    outside = np.flatnonzero((numbers < low) | (numbers > high)).tolist()
    if outside:
        _complain(where, column, outside, f"must lie between {low:g} and {high:g}", values)
    result = pd.Series(numbers, index=values.index, name=column)
    return result.astype("Int64") if rule.kind == "whole" else result


def _texts(values: pd.Series, rule: Column, column: str, where: str) -> pd.Series:
    texts = ["" if value is None or value is pd.NA or value != value else str(value) for value in values]
    result = pd.Series(texts, index=values.index, name=column, dtype=object)
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty and not rule.optional:
        _complain(where, column, empty, "must not be empty", values)
    strange = [row for row, text in enumerate(texts) if rule.one_of and text not in rule.one_of]
    if strange:
        _complain(where, column, strange, f"must be one of {', '.join(rule.one_of)}", values)
    return result


def check_table(frame: pd.DataFrame, columns: Mapping[str, Column], where: str) -> pd.DataFrame:
    """A copy of `frame` with the columns in order and in their types; `where` names it in error messages."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise EchocycleError(
            f"{where}: column {', '.join(map(repr, missing))} is missing. Needed are {', '.join(columns)}."
        )
    frame = frame.reset_index(drop=True)
    checked = {
        name: (_texts if rule.kind == "text" else _numbers)(frame[name], rule, name, where)
        for name, rule in columns.items()
    }
    further = {name: frame[name] for name in frame.columns if name not in columns}
    return pd.DataFrame({**checked, **further})


def _refuse_repeats(frame: pd.DataFrame, key: list[str], where: str) -> None:
    repeated = np.flatnonzero(frame.duplicated(key)).tolist()
    if repeated:
        same = ", ".join(key)
        _complain(where, key[-1], repeated, f"repeats an earlier row of the same {same}", frame["video"])


def check_predictions(frame: pd.DataFrame, where: str = "predictions") -> pd.DataFrame:
    """Check a table of predictions (`PREDICTIONS`): types, ranges, repeated rows, one true EF per video.

    Within a run and protocol a video has either its clips or one aggregated row, not both.
    """
    frame = check_table(frame, PREDICTIONS, where)
    _refuse_repeats(frame, _PREDICTION_KEY, where)
    videos = frame.groupby(_PREDICTION_KEY[:-1], sort=False)
    mixed = videos["clip_start"].transform("count")
    both = np.flatnonzero((mixed > 0) & (mixed < videos["clip_start"].transform("size"))).tolist()
    if both:
        _complain(where, "clip_start", both, "mixes clips and an aggregated row of one video", frame["video"])
    unsteady = np.flatnonzero(frame.groupby(["split", "video"])["ef_true"].transform("nunique") > 1).tolist()
    if unsteady:
        _complain(where, "ef_true", unsteady, "differs between rows of one video", frame["video"])
    return frame


def check_dice(frame: pd.DataFrame, where: str = "dice") -> pd.DataFrame:
    """Check a table of overlaps (`DICE`), and that each Dice is 2I / (|A| + |B|) of its counts."""
    frame = check_table(frame, DICE, where)
    _refuse_repeats(frame, ["run", "split", "video", "phase"], where)
    try:
        expected = dice_per_video(frame["intersection"], frame["size_true"], frame["size_pred"])
    except EchocycleError as error:
        raise EchocycleError(f"{where}: columns intersection, size_true, size_pred: {error}") from None
    wrong = np.flatnonzero(~np.isclose(frame["dice"], expected, rtol=0, atol=1e-4)).tolist()
    if wrong:
        _complain(where, "dice", wrong, "is not 2 x intersection / (size_true + size_pred)", frame["dice"])
    return frame


def check_volumes(frame: pd.DataFrame, where: str = "volumes") -> pd.DataFrame:
    """Check a table of volumes (`VOLUMES`): one row per run, split and video."""
    frame = check_table(frame, VOLUMES, where)
    _refuse_repeats(frame, ["run", "split", "video"], where)
    return frame


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise EchocycleError(f"{path} is missing.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise EchocycleError(f"{path} is not a readable CSV table ({error}).") from None


def write_predictions(path: Path, frame: pd.DataFrame) -> None:
    """Check `frame` as predictions and write it, whole or not at all."""
    _write(path, check_predictions(frame, str(path)))


def read_predictions(path: Path) -> pd.DataFrame:
    """Read and check predictions.csv. `clip_start` and `seed` are whole numbers or <NA>."""
    return check_predictions(_read(path), str(path))


def write_dice(path: Path, frame: pd.DataFrame) -> None:
    """Check `frame` as overlaps and write it."""
    _write(path, check_dice(frame, str(path)))


def read_dice(path: Path) -> pd.DataFrame:
    """Read and check dice.csv."""
    return check_dice(_read(path), str(path))


def write_volumes(path: Path, frame: pd.DataFrame) -> None:
    """Check `frame` as volumes and write it."""
    _write(path, check_volumes(frame, str(path)))


def read_volumes(path: Path) -> pd.DataFrame:
    """Read and check volumes.csv."""
    return check_volumes(_read(path), str(path))


def read_labels(path: Path) -> pd.DataFrame:
    """Read and check labels.csv; that of an earlier version has no column `ef`."""
    frame = _read(path)
    return check_table(frame, {name: rule for name, rule in LABELS.items() if name in frame or name != "ef"}, str(path))


def per_video(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row per run, protocol and video: `ef_pred` is the mean of the clips, `clips` their number.

    A row that is aggregated already keeps its value and counts as 1 clip. Order of first appearance is kept.
    """
    keys = [column for column in PREDICTIONS if column not in ("clip_start", "ef_pred")]
    videos = predictions.groupby(keys, sort=False, dropna=False)["ef_pred"]
    return videos.agg(ef_pred="mean", clips="size").reset_index()


def dice_row(run: str, split: str, video: str, phase: str, true: np.ndarray, pred: np.ndarray) -> dict[str, Any]:
    """A row of dice.csv from two boolean masks (height, width) of one frame."""
    intersection, size_true, size_pred = (int(count) for count in mask_counts(true, pred))
    dice = float(dice_per_video([intersection], [size_true], [size_pred])[0])
    return {
        "run": run,
        "split": split,
        "video": video,
        "phase": phase,
        "intersection": intersection,
        "size_true": size_true,
        "size_pred": size_pred,
        "dice": dice,
    }
