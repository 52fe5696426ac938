"""The tables that a run leaves for evaluation: predictions.csv, dice.csv and volumes.csv, written and read.

Also labels.csv of training, which is only read here, and the tables of an experiment, which are the same rows under
the experiment's names. Whoever wants one of them calls its reader here: there is no other.

Each table has a pandera schema. Text stays text (a video may be called 0012), numbers come back exactly as written,
further columns are kept, and a table that breaks a rule is an `EchocycleError` that names the file, the column and
the first bad rows.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera

from echocycle.errors import EchocycleError
from echocycle.evaluation.metrics import dice_per_video, mask_counts
from echocycle.files import write_text

# --- what stands in a column ------------------------------------------------------------------------


def _text(*, optional: bool = False, one_of: Sequence[str] = ()) -> pandera.Column:
    """Text that is not empty, unless it is optional."""
    checks = []
    if not optional:
        checks.append(pandera.Check(lambda texts: texts.str.strip() != "", error="must not be empty"))
    if one_of:
        checks.append(pandera.Check.isin(one_of, error=f"must be one of {', '.join(one_of)}"))
    return pandera.Column(object, checks)


def _number(
    low: float | None = None, high: float | None = None, *, optional: bool = False, whole: bool = False
) -> pandera.Column:
    """A finite number within its limits; an empty cell, where it is optional, is NaN."""
    kind = f"must be {'a whole' if whole else 'a finite'} number{' (or empty)' if optional else ''} in every row"
    finite = pandera.Check(lambda numbers: np.isfinite(numbers) & (not whole or numbers == numbers.round()), error=kind)
    checks = [finite]
    if low is not None or high is not None:
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        # what is no number at all is said by the first check alone
        within = pandera.Check(
            lambda numbers: ~np.isfinite(numbers) | numbers.between(low, high),
            error=f"must lie between {low:g} and {high:g}",
        )
        checks.append(within)
    filled = [] if optional else [pandera.Check(lambda numbers: numbers.notna(), error=kind, ignore_na=False)]
    stored = ("Int64" if optional else "int64") if whole else ""
    return pandera.Column(float, [*filled, *checks], nullable=True, metadata={"whole": stored})


Columns = Mapping[str, pandera.Column]

PREDICTIONS: Columns = {
    "run": _text(),
    "method": _text(),
    "seed": _number(optional=True, whole=True),  # empty for what has no seed, such as the mean of the training EF
    "split": _text(),
    "patient": _text(),  # the video's name where patients are unknown
    "video": _text(),
    "protocol": _text(),  # how clips were chosen, such as all-clips or one-clip-0
    "clip_start": _number(0, optional=True, whole=True),  # frame; empty: aggregated per video
    "ef_true": _number(0, 100),  # percent
    "ef_pred": _number(),  # percent, as the network gave it
}

DICE: Columns = {
    "run": _text(),
    "split": _text(),
    "video": _text(),
    "phase": _text(one_of=("ED", "ES", "all")),  # by area: ED is the larger of the two true masks
    "intersection": _number(0, whole=True),  # pixels
    "size_true": _number(0, whole=True),
    "size_pred": _number(0, whole=True),
    "dice": _number(0, 1),
}

VOLUMES: Columns = {
    "run": _text(),
    "split": _text(),
    "patient": _text(),
    "video": _text(),
    "ef_true": _number(0, 100, optional=True),  # percent
    "ef_discs": _number(high=100, optional=True),  # percent; empty: nothing to measure
    "ef_area_length": _number(high=100, optional=True),
    "edv": _number(0, optional=True),
    "esv": _number(0, optional=True),
    "unit": _text(optional=True),  # of the volumes: ml, or px^3 where the spacing is unknown
    "area_ed": _number(0, optional=True),  # pixels
    "area_es": _number(0, optional=True),
    "beats": _number(0, optional=True, whole=True),
    "notes": _text(optional=True),
}

LABELS: Columns = {
    "name": _text(),
    "subset": _text(one_of=("labelled", "unlabelled", "excluded", "validation", "calibration")),
    "ef": _number(0, 100, optional=True),  # percent; of labelled videos only
}

CELL = ["row", "column", "label_fraction"]
"""The columns that name a place in an experiment's table."""
_PLACE = {name: _text() for name in CELL} | {"seed": _number(whole=True)}
EXPERIMENT_PREDICTIONS: Columns = _PLACE | {
    name: PREDICTIONS[name] for name in ("split", "patient", "video", "protocol", "ef_true", "ef_pred")
}
EXPERIMENT_DICE: Columns = _PLACE | {
    name: DICE[name] for name in ("split", "video", "phase", "intersection", "size_true", "size_pred")
}


def explain_protocol(protocol: str, stride: int | None = None, draws: int | None = None) -> str:
    """What a protocol of predictions.csv means, as a sentence; "" for one that is not known.

    Args:
        stride: frames between the starts of `strided`, where it is known.
        draws: how many clips `one-clip` draws, each by itself, where it is known.
    """
    every = {None: "n-th", 1: "1st", 2: "2nd", 3: "3rd"}.get(stride, f"{stride}th")
    clips = "random draws of one clip" if draws is None else f"{draws} random draws of one clip"
    said = {
        "all-clips": "a video's EF is the mean over clips from every start.",
        "strided": f"a video's EF is the mean over clips from every {every} start.",
        "one-clip": f"the metric's mean over {clips} a video.",
        "beat-by-beat": "the mean over one clip around each systole that the masks show.",
    }
    if protocol.startswith("one-clip-"):
        return f"a video's EF is that of one clip, drawn at random with seed {protocol.removeprefix('one-clip-')}."
    return said.get(protocol, "")


_PREDICTION_KEY = ["run", "split", "protocol", "video", "clip_start"]

# --- checks -----------------------------------------------------------------------------------------


def _shown(column: str, rows: Sequence[int], what: str, values: pd.Series) -> str:
    """What is wrong with a column, and the first three bad rows, counted as in the file (the header is row 1)."""
    shown = ", ".join(f"row {row + 2}: {values.iloc[row]}" for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"column {column!r} {what} ({shown}{more})"


def _complain(where: str, column: str, rows: Sequence[int], what: str, values: pd.Series) -> None:
    raise EchocycleError(f"{where}: {_shown(column, rows, what, values)}.")


def _as_numbers(values: pd.Series) -> pd.Series:
    """Cells as floats: an empty one is NaN, one that is no number infinite, which every rule refuses."""
    cells = values.astype(object)
    empty = cells.isna() | (cells == "")
    cells = cells.where(~empty, np.nan)
    try:
        numbers = cells.astype(float)  # Python's own reading of a number, exact to the last bit
    except (TypeError, ValueError):
        numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    return numbers.where(empty | numbers.notna(), np.inf)


def _as_texts(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), "").map(str).astype(object)


def check_table(frame: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """A copy of `frame` with the columns in order and in their types; `where` names it in error messages.

    Raises:
        EchocycleError: a column is missing, or cells break its rule; every rule that is broken is named.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise EchocycleError(
            f"{where}: column {', '.join(map(repr, missing))} is missing. Needed are {', '.join(columns)}."
        )
    frame = frame.reset_index(drop=True)
    typed = pd.DataFrame(
        {
            name: (_as_texts if str(rule.dtype) == "object" else _as_numbers)(frame[name])
            for name, rule in columns.items()
        },
        index=frame.index,
    )
    try:
        pandera.DataFrameSchema(dict(columns)).validate(typed, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        broken = {
            (str(error.schema.name), str(error.check.error)): sorted(map(int, error.failure_cases["index"]))
            for error in errors.schema_errors
        }
        found = [_shown(column, rows, what, frame[column]) for (column, what), rows in broken.items()]
        raise EchocycleError(f"{where}: {'; '.join(found)}.") from None
    types = {name: rule.metadata["whole"] for name, rule in columns.items() if rule.metadata}
    typed = typed.astype({name: kind for name, kind in types.items() if kind})
    return pd.concat([typed, frame[[name for name in frame.columns if name not in columns]]], axis=1)


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


def read_experiment_predictions(path: Path) -> pd.DataFrame:
    """Read and check NAME.predictions.csv.gz of an experiment: a row per training, protocol and video."""
    return check_table(_read(path), EXPERIMENT_PREDICTIONS, str(path))


def read_experiment_dice(path: Path) -> pd.DataFrame:
    """Read and check NAME.dice.csv.gz of an experiment: a row per training, video and phase."""
    return check_table(_read(path), EXPERIMENT_DICE, str(path))


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
