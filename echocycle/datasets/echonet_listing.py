"""FileList.csv: names, patients, splits and labels, each row checked."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from echocycle.datasets.csv_table import read_csv
from echocycle.datasets.findings import FindingList
from echocycle.datasets.records import FILE_LIST, VIDEO_SUFFIXES, EchonetSettings, Split
from echocycle.errors import EchocycleError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


NUMBER_COLUMNS = {
    "ef": "ef",
    "esv": "esv_ml",
    "edv": "edv_ml",
    "frameheight": "height",
    "framewidth": "width",
    "fps": "fps",
    "numberofframes": "listed_frames",
}


TEXT_COLUMNS = ("filename", "split", "patient", "patientid")


EMPTY_CELLS = ("", "na", "n/a", "nan", "none", "null")


# ------------------------------------------------------------------------------------------- rows of FileList


def parse_listing(path: Path, settings: EchonetSettings, findings: FindingList) -> tuple[pd.DataFrame, bool]:
    """FileList.csv as columns name, suffix, patient, split and those of NUMBER_COLUMNS, by line number,
    and whether it has all columns of the public releases.

    A number that is absent is NaN. Column `unreadable` names the cells that are not numbers; a split that is
    not known stays as it was written.
    """
    table = read_csv(path, ["filename"], single=(*TEXT_COLUMNS, *NUMBER_COLUMNS))
    if not len(table):
        raise EchocycleError(f"{path} has no row below its header.")
    table = table.apply(lambda column: column.str.strip())
    _note_extra_columns(table.columns, findings)
    listing = pd.DataFrame(index=table.index)
    listing["name"], listing["suffix"] = without_suffix(table["filename"])
    listing["patient"] = _patients(table, listing["name"])
    listing["unreadable"] = ""
    for column, target in NUMBER_COLUMNS.items():
        listing[target] = np.nan
        if column in table:
            written = table[column].str.replace(",", ".", regex=False)  # "55,3" where semicolons separate
            listing[target] = pd.to_numeric(written, errors="coerce").astype(float)
            unreadable = listing[target].isna() & ~written.str.casefold().isin(EMPTY_CELLS)
            listing.loc[unreadable, "unreadable"] += f" {column} is {written[unreadable]!r}"
    listing["split"] = _splits(path, table, listing["patient"], settings, findings)
    return listing, set(NUMBER_COLUMNS) <= set(table.columns)


def without_suffix(written: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Names without the suffix of a video, and that suffix in lower case ("" where there is none)."""
    pattern = f"({'|'.join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)})$"
    suffixes = written.str.lower().str.extract(pattern, expand=False).fillna("")
    return written.str.replace(pattern, "", case=False, regex=True), suffixes


def _patients(table: pd.DataFrame, names: pd.Series) -> pd.Series:
    for column in ("patient", "patientid"):
        if column in table:
            return table[column].where(table[column] != "", names)
    return names


def _note_extra_columns(columns: Iterable[str], findings: FindingList) -> None:
    extra = [column for column in columns if column not in TEXT_COLUMNS and column not in NUMBER_COLUMNS]
    findings.add("note", "extra-columns", extra, f"Columns of {FILE_LIST} that are not read.")


def _splits(
    path: Path, table: pd.DataFrame, patients: pd.Series, settings: EchonetSettings, findings: FindingList
) -> pd.Series:
    """The split of every row; where none is written it is drawn if the settings say so."""
    if "split" not in table and settings.assign_splits is None:
        raise EchocycleError(
            f"{path} has no column Split. Write train, val or test for each video, all videos of a patient "
            "alike, or have it drawn from the names: --assign-splits 0.75 0.125 0.125 (`prepare`), or --set "
            "prepare.assign_splits=0.75,0.125,0.125 (`train`)."
        )
    written = table["split"] if "split" in table else pd.Series("", index=table.index)
    splits = written.str.casefold().map(SPLIT_NAMES).fillna(written)
    if settings.assign_splits is None:
        return splits
    absent = splits == ""
    of_patient = dict(zip(patients[~absent], splits[~absent], strict=True))
    drawn = [
        of_patient.get(patient) or _drawn_split(patient, settings.assign_splits, settings.split_seed)
        for patient in patients[absent]
    ]
    if drawn:
        count = Counter(drawn)
        findings.add_for_folder(
            "note",
            "splits-assigned",
            f"{len(drawn)} rows name no split; drawn with seed {settings.split_seed} from the names, or that "
            "of the same patient: " + ", ".join(f"{count[split]} {split}" for split in get_args(Split)) + ".",
        )
    splits[absent] = drawn
    return splits


def _drawn_split(patient: str, shares: tuple[float, float, float], seed: int) -> Split:
    """A split that depends on the patient's name alone, so that added videos never move others."""
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < shares[0]:
        return "train"
    return "val" if position < shares[0] + shares[1] else "test"


def _between(values: pd.Series, low: float, high: float) -> pd.Series:
    return values.isna() | values.between(low, high)


def _duplicates_allowed(rows: pd.DataFrame) -> pd.Series:
    """False for the repetitions of a row, and for all rows of a name whose rows contradict one another."""
    different = rows.loc[~rows.duplicated(), "name"]
    contradictory = different[different.duplicated()]
    return ~rows["name"].isin(contradictory) & ~rows.duplicated()


# kind of finding -> (what is wrong, columns to show, rule that holds for good rows)
ROW_RULES: dict[str, tuple[str, tuple[str, ...], Callable[[pd.DataFrame], pd.Series]]] = {
    "name-wrong": (
        "FileName is empty or holds a folder",
        ("name",),
        lambda rows: (rows["name"] != "") & ~rows["name"].str.contains(r"[/\\]") & (rows["name"] != ".."),
    ),
    "duplicate-name": (
        "FileName occurs more than once (of identical rows the first is kept, of others none)",
        ("ef", "split"),
        _duplicates_allowed,
    ),
    "not-a-number": ("A number is not readable", ("unreadable",), lambda rows: rows["unreadable"] == ""),
    "split-unknown": (
        "Split is none of TRAIN, VAL, TEST",
        ("split",),
        lambda rows: rows["split"].isin(get_args(Split)),
    ),
    "ef-out-of-range": ("EF lies outside 0 to 100", ("ef",), lambda rows: _between(rows["ef"], 0, 100)),
    "volumes-wrong": (
        "The volumes are not 0 <= ESV <= EDV",
        ("edv_ml", "esv_ml"),
        lambda rows: (
            _between(rows["edv_ml"], 0, 1e6) & _between(rows["esv_ml"], 0, 1e6) & ~(rows["edv_ml"] < rows["esv_ml"])
        ),
    ),
    "fps-wrong": ("FPS is not above 0", ("fps",), lambda rows: _between(rows["fps"], 1e-6, 1e6)),
    "size-wrong": (
        "FrameHeight, FrameWidth or NumberOfFrames is no whole number above 0",
        ("height", "width", "listed_frames"),
        lambda rows: (
            rows[["height", "width", "listed_frames"]].isna()
            | (rows[["height", "width", "listed_frames"]] % 1 == 0) & (rows[["height", "width", "listed_frames"]] > 0)
        ).all(axis=1),
    ),
}


def check_rows(rows: pd.DataFrame, path: Path, findings: FindingList) -> pd.DataFrame:
    """Report every broken rule of every row at once; returns the good rows."""
    import pandera.pandas as pandera

    checks = [pandera.Check(rule, name=kind, ignore_na=False) for kind, (_, _, rule) in ROW_RULES.items()]
    try:
        pandera.DataFrameSchema(checks=checks).validate(rows, lazy=True)
        return rows
    except pandera.errors.SchemaErrors as errors:
        broken = errors.failure_cases[["check", "index"]].drop_duplicates()
    for kind, (sentence, columns, _) in ROW_RULES.items():
        lines = sorted(int(line) for line in broken.loc[broken["check"] == kind, "index"])
        if not lines:
            continue
        bad = rows.loc[lines]
        first = ", ".join(f"{column} = {bad[column].iloc[0]}" for column in columns)
        message = f"{sentence}; the rows are left out. First: {path.name}, line {lines[0]}: {first}."
        findings.add("error", kind, bad["name"], message, lines)
    good = rows.drop(index=broken["index"].astype(int).unique())
    if not len(good):
        first_finding = findings.sorted()[0]
        raise EchocycleError(f"{path} has no usable row. {first_finding.message}")
    return good
