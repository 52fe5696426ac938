"""The list of videos (FileList.csv, videos.csv): names, patients, splits and labels, each row checked."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from echocycle.datasets.columns import COLUMNS, EMPTY_CELLS, IDENTIFYING, UNITS
from echocycle.datasets.csv_table import read_csv
from echocycle.datasets.findings import FindingList, short
from echocycle.datasets.labels import check_ef
from echocycle.datasets.lookup import RECORDING_SUFFIXES, nfc
from echocycle.datasets.records import EchonetSettings, Split
from echocycle.errors import EchocycleError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


FOLDS: dict[str, Split] = {**{str(fold): "train" for fold in range(8)}, "8": "val", "9": "test"}
"""Split of each of ten folds, as EchoNet-Pediatric numbers them."""


NUMBER_COLUMNS = {
    "ef": "ef",
    "esv": "esv_ml",
    "edv": "edv_ml",
    "frameheight": "height",
    "framewidth": "width",
    "fps": "fps",
    "numberofframes": "listed_frames",
}
"""Columns of EchoNet-Dynamic's list -> ours."""


FRAME_COLUMNS = {"edframe": "ed_frame", "esframe": "es_frame"}


FILE_COLUMNS = {"contour": "contour", "edcontour": "ed_contour", "escontour": "es_contour"}


TEXT_COLUMNS = ("filename", "split", "patient")


LONGEST_NAME = 255  # what file systems allow


# ------------------------------------------------------------------------------------------- rows of the list


def parse_listing(path: Path, settings: EchonetSettings, findings: FindingList) -> tuple[pd.DataFrame, bool]:
    """The list as columns name, suffix, patient, split and those of `NUMBER_COLUMNS`, `FRAME_COLUMNS`, `FILE_COLUMNS`,
    by line number; and whether it has all columns of EchoNet-Dynamic's public releases.

    A number that is absent is NaN, a split that is not written "". Column `unreadable` names the cells that are not
    numbers; a split that is not known stays as it was written. EF is in percent.
    """
    numbers = {**NUMBER_COLUMNS, **FRAME_COLUMNS}
    table = read_csv(path, ["filename"], single=(*TEXT_COLUMNS, *numbers, *FILE_COLUMNS), names=COLUMNS)
    if not len(table):
        raise EchocycleError(f"{path} has no row below its header.")
    written = table.attrs["written"]
    table = table.apply(lambda column: column.str.replace("\u00a0", " ").str.strip())
    _note_extra_columns(path, table.columns, findings)
    listing = pd.DataFrame(index=table.index)
    listing["name"], listing["suffix"] = without_suffix(table["filename"].map(nfc))
    listing["patient"] = _patients(table, listing["name"], written.get("patient", "patient"), findings)
    listing["unreadable"] = ""
    for column, target in numbers.items():
        listing[target] = np.nan
        if column in table:
            listing[target] = _numbers(table[column])
            unreadable = listing[target].isna() & ~table[column].str.casefold().isin(EMPTY_CELLS)
            cells = f"; {written.get(column, column)} is " + table.loc[unreadable, column].map(lambda c: repr(short(c)))
            listing.loc[unreadable, "unreadable"] += cells
    listing["unreadable"] = listing["unreadable"].str.removeprefix("; ")
    for column, target in FILE_COLUMNS.items():
        listing[target] = table.get(column, "")
        listing.loc[listing[target].str.casefold().isin(EMPTY_CELLS), target] = ""
    listing["ef"] = check_ef(listing["name"].tolist(), listing["ef"].to_numpy(), settings.ef_unit, findings)
    listing["split"] = _written_splits(table, findings)
    return listing, set(NUMBER_COLUMNS) <= set(table.columns)


def _numbers(cells: pd.Series) -> pd.Series:
    """Numbers in cells, also with a decimal comma, a percent sign or a unit; NaN where there is none."""
    bare = cells.str.replace(UNITS, "", regex=True).str.replace(",", ".", regex=False)
    return pd.to_numeric(bare, errors="coerce").astype(float)


def without_suffix(written: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Names without the suffix of a recording, and that suffix in lower case ("" where there is none)."""
    pattern = f"({'|'.join(re.escape(suffix) for suffix in RECORDING_SUFFIXES)})$"
    suffixes = written.str[-8:].str.lower().str.extract(pattern, expand=False).fillna("")
    lengths = suffixes.str.len()
    names = [name[: len(name) - length] for name, length in zip(written, lengths, strict=True)]
    return pd.Series(names, index=written.index, dtype=written.dtype), suffixes


def _patients(table: pd.DataFrame, names: pd.Series, written: str, findings: FindingList) -> pd.Series:
    if "patient" not in table:
        return names
    patients = table["patient"].map(nfc)
    if written in IDENTIFYING:
        # a store may be handed on: record numbers and names of people do not go into it
        numbers, people = pd.factorize(patients.where(patients != ""))
        patients = pd.Series([f"patient-{n + 1:04}" if n >= 0 else "" for n in numbers], index=patients.index)
        findings.add(
            "note",
            "patients-numbered",
            [written],
            f"This column may name people; {len(people)} patients are called patient-0001 and so on in its place.",
        )
    return patients.where(patients != "", names)


def _note_extra_columns(path: Path, columns: Iterable[str], findings: FindingList) -> None:
    extra = [column for column in columns if column not in COLUMNS]
    findings.add("note", "extra-columns", extra, f"Columns of {path.name} that are not read.")


def _written_splits(table: pd.DataFrame, findings: FindingList) -> pd.Series:
    """The split of every row by our names; "" where none is written."""
    if "split" not in table:
        return pd.Series("", index=table.index)
    written = table["split"].mask(table["split"].str.casefold().isin(EMPTY_CELLS), "")
    folds = set(written) - {""}
    if len(folds) > 2 and folds <= FOLDS.keys():
        findings.add_for_folder(
            "note",
            "folds-as-splits",
            "Splits are numbers of ten folds: 0 to 7 are taken as train, 8 as val, 9 as test.",
        )
        return written.map(FOLDS).fillna("")
    return written.str.casefold().map(SPLIT_NAMES).fillna(written)


def refuse_missing_splits(path: Path, listing: pd.DataFrame, settings: EchonetSettings) -> None:
    """A list without any split is refused unless the settings say in which shares to draw it."""
    if settings.assign_splits is None and not (listing["split"] != "").any():
        raise EchocycleError(
            f"{path} has no column Split. Write train, val or test for each video, all videos of a patient "
            "alike, or have it drawn: --assign-splits 0.75 0.125 0.125 (`prepare`), or --set "
            "prepare.assign_splits=0.75,0.125,0.125 (`train`)."
        )


# ------------------------------------------------------------------------------------------------ row by row


def _between(values: pd.Series, low: float, high: float) -> pd.Series:
    return values.isna() | values.between(low, high)


def _duplicates_allowed(rows: pd.DataFrame) -> pd.Series:
    """False for the repetitions of a row, and for all rows of a name whose rows contradict one another."""
    different = rows.loc[~rows.duplicated(), "name"]
    contradictory = different[different.duplicated()]
    return ~rows["name"].isin(contradictory) & ~rows.duplicated()


def _whole_numbers(rows: pd.DataFrame, columns: list[str], lowest: int) -> pd.Series:
    values = rows[columns]
    return (values.isna() | ((values % 1 == 0) & (values >= lowest) & (values < 1e9))).all(axis=1)


Rule = tuple[str, tuple[str, ...], Callable[[pd.DataFrame], pd.Series]]

# kind of finding -> (what is wrong, columns to show, rule that holds for good rows)
ROW_RULES: dict[str, Rule] = {
    "name-wrong": (
        "FileName is empty, too long, or leads to no file of this folder",
        ("name",),
        lambda rows: (
            (rows["name"] != "")
            & ~rows["name"].str.contains(r"[/\\]")
            & (rows["name"] != "..")
            & (rows["name"].str.len() <= LONGEST_NAME)
        ),
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
    "ef-out-of-range": (
        "EF lies outside 0 to 100 (where -1 or 999 stands for 'unknown', leave the cell empty)",
        ("ef",),
        lambda rows: _between(rows["ef"], 0, 100),
    ),
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
        lambda rows: _whole_numbers(rows, ["height", "width", "listed_frames"], 1),
    ),
    "frame-number-wrong": (
        "The frame of ED or ES is no whole number from 0, or both are the same",
        ("ed_frame", "es_frame"),
        lambda rows: _whole_numbers(rows, ["ed_frame", "es_frame"], 0) & (rows["ed_frame"] != rows["es_frame"]),
    ),
}


def check_rows(rows: pd.DataFrame, path: Path, findings: FindingList, *, draws: bool = False) -> pd.DataFrame:
    """Report every broken rule of every row at once; returns the good rows.

    Args:
        draws: whether a split that is not written will be drawn.
    """
    import pandera.pandas as pandera

    rules = dict(ROW_RULES)
    if draws:
        sentence, columns, _ = ROW_RULES["split-unknown"]
        rules["split-unknown"] = (sentence, columns, lambda rows: rows["split"].isin(("", *get_args(Split))))
    checks = [pandera.Check(rule, name=kind, ignore_na=False) for kind, (_, _, rule) in rules.items()]
    try:
        pandera.DataFrameSchema(checks=checks).validate(rows, lazy=True)
        return rows
    except pandera.errors.SchemaErrors as errors:
        broken = errors.failure_cases[["check", "index"]].drop_duplicates()
    for kind, (sentence, columns, _) in rules.items():
        lines = sorted(int(line) for line in broken.loc[broken["check"] == kind, "index"])
        if not lines:
            continue
        bad = rows.loc[lines]
        first = ", ".join(f"{column} = {short(str(bad[column].iloc[0]))}" for column in columns)
        message = f"{sentence}; the rows are left out. First: {path.name}, line {lines[0]}: {first}."
        findings.add("error", kind, bad["name"], message, lines)
    good = rows.drop(index=broken["index"].astype(int).unique())
    if not len(good):
        first_finding = next(finding for finding in findings.sorted() if finding.kind in rules)
        raise EchocycleError(f"{path} has no usable row. {first_finding.message}")
    return good
