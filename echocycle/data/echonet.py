"""First step: reads a folder in the layout of EchoNet-Dynamic and reports on it, before decoding any video.

Layout: FileList.csv (one row per video: EF in percent, volumes in ml, split), VolumeTracings.csv (one row
per chord) and Videos/. Two public releases differ in where they write the suffix .avi; a folder of one's own
may have fewer columns. What is odd in a folder is not fatal: it becomes a `Finding` that says what was done
about it.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocycle.data.csv_table import read_csv
from echocycle.data.tracing import (
    ROWS_PER_TRACE,
    MultiTrace,
    long_axis_is_first,
    split_traces,
    trace_area,
    trace_mask,
)
from echocycle.errors import EchocycleError

if TYPE_CHECKING:
    from rich.console import Group

Split = Literal["train", "val", "test"]
Level = Literal["note", "warning", "error"]
Release = Literal["older", "newer", "own"]
EdEsNaming = Literal["area", "code"]

FILE_LIST = "FileList.csv"
TRACINGS = "VolumeTracings.csv"
VIDEOS = "Videos"
VIDEO_SUFFIXES = (".avi", ".mp4")

# Dataset facts. The six are 768 pixels high, have no tracing and close the FileList of the older release.
UNTRACED_NAMES = (
    "0X5DD5283AC43CCDD1",
    "0X234005774F4CB5CD",
    "0X2DC68261CBCC04AE",
    "0X35291BE9AB90FB89",
    "0X6C435C1B417FDE8A",
    "0X5515B0BD077BE68A",
)
PUBLIC_ROWS = {"train": 7465, "val": 1288, "test": 1277}
PUBLIC_NAME = re.compile(r"0X[0-9A-F]{10,}")

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
CHORD_COLUMNS = ("x1", "y1", "x2", "y2")

EF_TOLERANCE = 0.1  # percentage points between the listed EF and 100 (EDV - ESV) / EDV
CLOSE_AREAS = 0.05  # ED and ES areas that differ by less may be exchanged
NAMES_SHOWN = 8
MIN_ROWS = 3  # long axis and two discs
NO_CHORDS = np.empty((0, 4))


# --------------------------------------------------------------------------------------- settings and results


@dataclass(frozen=True)
class EchonetSettings:
    """How tracings become masks and how missing splits are drawn. The defaults suit the public releases."""

    multi_trace: MultiTrace = "first"
    """What becomes of a frame with several contours; see `trace_mask`."""
    round_vertices: bool = True
    """Move contour vertices to whole pixels before filling, as EchoNet does."""
    ed_es_naming: EdEsNaming = "area"
    """`area`: the larger mask is ED. `code`: the last listed frame is ED, as the public code names them."""
    assign_splits: tuple[float, float, float] | None = None
    """Shares of train, val and test to draw where no split is listed; without them that is refused."""
    split_seed: int = 0
    """Another number draws another split. Nothing else counts but the shares and the patient's name."""

    def __post_init__(self) -> None:
        for name, kind in (("multi_trace", MultiTrace), ("ed_es_naming", EdEsNaming)):
            if getattr(self, name) not in get_args(kind):
                allowed = ", ".join(get_args(kind))
                raise EchocycleError(f"{name} is {getattr(self, name)!r}; it must be one of {allowed}.")
        shares = self.assign_splits
        if shares is not None and (len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6):
            raise EchocycleError(f"assign_splits is {shares}; three shares that add up to 1 are needed.")


@dataclass(frozen=True, eq=False)
class Tracing:
    """The chords (n, 4) of one traced frame, (x1, y1, x2, y2) in pixels, with all its contours."""

    frame: int
    """Index from 0 as listed; it may lie past the end of the video."""
    chords: NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """One listed video that exists on disk."""

    name: str
    """File name without suffix."""
    path: Path
    patient: str
    """The name again where the list has no column of patients, as in EchoNet-Dynamic."""
    split: Split
    ef: float
    """Percent; NaN where the video has no label."""
    edv_ml: float
    esv_ml: float
    fps: float
    """NaN where not listed."""
    listed_frames: int
    """As listed, 0 where not listed. Trust the decoded count instead."""
    height: int
    """Pixels as listed, 0 where not listed."""
    width: int
    tracings: tuple[Tracing, ...]
    """In listing order."""


@dataclass(frozen=True)
class Finding:
    """Something odd in a folder, summarised over the videos it concerns."""

    level: Level
    kind: str
    names: tuple[str, ...]
    """Of videos, or of what the message speaks of (columns, patients)."""
    message: str
    """What it is, and what is done about it or what the user should do."""
    lines: tuple[int, ...] = ()
    """Line numbers in the file the message names, where rows are concerned."""


@dataclass(frozen=True)
class EchonetFolder:
    """All usable videos of a folder, in the order of FileList.csv, and what was odd."""

    root: Path
    release: Release
    records: tuple[Record, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class TracedPair:
    """End-diastole and end-systole of one video."""

    ed_frame: int
    es_frame: int
    masks: NDArray[np.bool_]
    """(2, height, width): ED, ES."""
    notes: tuple[Finding, ...]

    @property
    def ed_mask(self) -> NDArray[np.bool_]:
        return self.masks[0]

    @property
    def es_mask(self) -> NDArray[np.bool_]:
        return self.masks[1]


class _Findings:
    """Collects findings; those without names are dropped unless they concern the folder itself."""

    def __init__(self) -> None:
        self._all: list[Finding] = []

    def add(self, level: Level, kind: str, names: Iterable[str], message: str, lines: Iterable[int] = ()) -> None:
        names = tuple(names)
        if names:
            self._all.append(Finding(level, kind, names, message, tuple(lines)))

    def add_for_folder(self, level: Level, kind: str, message: str) -> None:
        self._all.append(Finding(level, kind, (), message))

    def sorted(self) -> tuple[Finding, ...]:
        order = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted(self._all, key=lambda finding: (order[finding.level], finding.kind)))


# ------------------------------------------------------------------------------------------------- the reader

DEFAULT_SETTINGS = EchonetSettings()


def read_echonet(root: Path, settings: EchonetSettings = DEFAULT_SETTINGS) -> EchonetFolder:
    """Read the lists of a folder, join them with the videos on disk and check all of it; decodes no video.

    Bad rows are left out and reported as findings of level error. A folder from which nothing can be read, or
    a file that is no CSV, is an `EchocycleError`.
    """
    root = Path(root)
    findings = _Findings()
    file_list, tracing_list, videos = _locate(root)
    listing, complete = _parse_listing(file_list, settings, findings)
    listed_names = set(listing["name"])
    names_have_suffix = bool((listing["suffix"] != "").any())
    listing = _check_rows(listing, file_list, findings)
    paths = _video_paths(videos, listing, listed_names, findings)
    listing = listing[listing["name"].isin(paths.keys())]
    chords = _read_chords(tracing_list, listed_names, findings)
    _check_tracings(chords, listing, findings)
    records = tuple(_records(listing, paths, chords.by_video()))
    release = _release(names_have_suffix, chords, complete)
    _check_records(records, release, findings, has_tracings=tracing_list is not None)
    return EchonetFolder(root, release, records, findings.sorted())


def _release(names_have_suffix: bool, chords: "_Chords", complete: bool) -> Release:
    """Older: suffix in FileList only. Newer: suffix in VolumeTracings only. Own: anything else."""
    if not complete:
        return "own"
    if len(chords.names) and names_have_suffix == chords.names_have_suffix:
        return "own"
    return "older" if names_have_suffix else "newer"


def _records(
    listing: pd.DataFrame, paths: Mapping[str, Path], tracings: Mapping[str, tuple[Tracing, ...]]
) -> Iterator[Record]:
    whole = listing[["listed_frames", "height", "width"]].fillna(0).astype(int)
    listing = listing.assign(**{column: whole[column] for column in whole})
    for row in listing.itertuples(index=False):
        yield Record(
            name=row.name,
            path=paths[row.name],
            patient=row.patient,
            split=row.split,
            ef=row.ef,
            edv_ml=row.edv_ml,
            esv_ml=row.esv_ml,
            fps=row.fps,
            listed_frames=row.listed_frames,
            height=row.height,
            width=row.width,
            tracings=tracings.get(row.name, ()),
        )


def authors_order(records: Iterable[Record]) -> list[str]:
    """Names of the training videos in the row order of the older release, whichever release was read.

    That is alphabetical with the six untraced videos last. The authors drew their labelled subset by
    shuffling the list in this order, so imitating it needs the order and all 7465 names.
    """
    names = sorted(record.name for record in records if record.split == "train")
    last = [name for name in UNTRACED_NAMES if name in names]
    return [name for name in names if name not in last] + last


# ------------------------------------------------------------------------------------------ files of a folder


def _locate(root: Path) -> tuple[Path, Path | None, Path]:
    """FileList.csv, VolumeTracings.csv (or None) and Videos/; a wrong folder is refused with advice."""
    if not root.exists():
        raise EchocycleError(f"{root} does not exist. Give the folder that holds {FILE_LIST} and {VIDEOS}/.")
    if not root.is_dir():
        advice = "Unpack it and give" if root.suffix.lower() in (".zip", ".gz", ".tar") else "Give"
        raise EchocycleError(f"{root} is a file. {advice} the folder that holds {FILE_LIST} and {VIDEOS}/.")
    file_list = _entry(root, FILE_LIST)
    if file_list is None:
        raise EchocycleError(f"{root} has no {FILE_LIST}. {_elsewhere(root)}")
    videos = _entry(root, VIDEOS)
    if videos is None or not videos.is_dir():
        raise EchocycleError(f"{root} has no folder {VIDEOS}/. Put the videos listed in {FILE_LIST} there.")
    return file_list, _entry(root, TRACINGS), videos


def _entry(folder: Path, name: str) -> Path | None:
    """The entry called `name`; failing that, one that differs in case only."""
    if (folder / name).exists():
        return folder / name
    alike = sorted(path for path in folder.iterdir() if path.name.casefold() == name.casefold())
    return alike[0] if alike else None


def _elsewhere(root: Path) -> str:
    """Advice where FileList.csv lies instead: one level above or one level deeper."""
    resolved = root.resolve()
    if _entry(resolved.parent, FILE_LIST) is not None:
        return f"There is one in the folder above; give {resolved.parent} instead."
    deeper = sorted(
        path
        for path in root.iterdir()
        if os.access(path, os.R_OK | os.X_OK) and path.is_dir() and _entry(path, FILE_LIST) is not None
    )
    if deeper:
        return f"There is one further down; give {deeper[0]} instead."
    return (
        f"Give the folder that holds {FILE_LIST} and {VIDEOS}/, or write a {FILE_LIST} with the columns "
        "FileName, EF and Split."
    )


def _videos_on_disk(videos: Path) -> dict[str, list[Path]]:
    """Name without suffix -> video files, .avi before .mp4; none at all is an error."""
    with os.scandir(videos) as entries:
        paths = [videos / entry.name for entry in entries if entry.is_file() and entry.name[0] != "."]
    paths = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    if not paths:
        suffixes = " or ".join(VIDEO_SUFFIXES)
        raise EchocycleError(f"{videos} holds no {suffixes} file. Put the videos listed in {FILE_LIST} there.")
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths, key=lambda path: (path.suffix.lower(), path.name)):
        found[path.stem].append(path)
    return dict(found)


def _video_paths(
    videos: Path, listing: pd.DataFrame, listed_names: Collection[str], findings: _Findings
) -> dict[str, Path]:
    """Name -> file of every listed video that exists. A listed suffix decides between two files."""
    on_disk = _videos_on_disk(videos)
    paths, doubled, missing = {}, [], []
    for name, suffix in zip(listing["name"], listing["suffix"], strict=True):
        files = sorted(on_disk.get(name, []), key=lambda path: path.suffix.lower() != suffix)
        if not files:
            missing.append(name)
            continue
        paths[name] = files[0]
        if len(files) > 1:
            doubled.append(name)
    if not paths:
        raise EchocycleError(
            f"None of the {len(missing)} videos listed in {FILE_LIST} exists; first looked for "
            f"{videos / (missing[0] + VIDEO_SUFFIXES[0])} (or {VIDEO_SUFFIXES[1]})."
        )
    findings.add(
        "error",
        "video-missing",
        missing,
        f"Listed videos do not exist in {VIDEOS}/; their rows are left out. Without them a drawn subset of "
        "labels differs from that of the complete folder.",
    )
    findings.add(
        "warning",
        "video-not-listed",
        sorted(on_disk.keys() - set(listed_names)),
        f"Videos without a row in {FILE_LIST} are not used.",
    )
    findings.add(
        "warning",
        "two-files-for-one-name",
        doubled,
        f"Several files in {VIDEOS}/ differ in the suffix only; the listed one is used, otherwise the first "
        f"of {', '.join(VIDEO_SUFFIXES)}. Remove the others.",
    )
    return paths


# ------------------------------------------------------------------------------------------- rows of FileList


def _parse_listing(path: Path, settings: EchonetSettings, findings: _Findings) -> tuple[pd.DataFrame, bool]:
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
    listing["name"], listing["suffix"] = _without_suffix(table["filename"])
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


def _without_suffix(written: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Names without the suffix of a video, and that suffix in lower case ("" where there is none)."""
    pattern = f"({'|'.join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)})$"
    suffixes = written.str.lower().str.extract(pattern, expand=False).fillna("")
    return written.str.replace(pattern, "", case=False, regex=True), suffixes


def _patients(table: pd.DataFrame, names: pd.Series) -> pd.Series:
    for column in ("patient", "patientid"):
        if column in table:
            return table[column].where(table[column] != "", names)
    return names


def _note_extra_columns(columns: Iterable[str], findings: _Findings) -> None:
    extra = [column for column in columns if column not in TEXT_COLUMNS and column not in NUMBER_COLUMNS]
    findings.add("note", "extra-columns", extra, f"Columns of {FILE_LIST} that are not read.")


def _splits(
    path: Path, table: pd.DataFrame, patients: pd.Series, settings: EchonetSettings, findings: _Findings
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


def _check_rows(rows: pd.DataFrame, path: Path, findings: _Findings) -> pd.DataFrame:
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


# ------------------------------------------------------------------------------------- rows of VolumeTracings


@dataclass(frozen=True, eq=False)
class _Chords:
    """All chords of VolumeTracings.csv, sorted into traced frames without losing the listing order."""

    names: NDArray[np.object_]
    """(video,) without suffix, by first appearance."""
    names_have_suffix: bool
    video: NDArray[np.intp]
    """(group,) index into `names`; a group is one traced frame."""
    frame: NDArray[np.int64]
    """(group,)"""
    start: NDArray[np.intp]
    """(group + 1,) first chord of each group."""
    chords: NDArray[np.float64]
    """(chord, 4) x1, y1, x2, y2 in pixels."""

    @classmethod
    def empty(cls) -> "_Chords":
        nothing = np.empty(0, dtype=np.int64)
        return cls(np.empty(0, dtype=object), False, nothing, nothing, np.zeros(1, dtype=np.int64), NO_CHORDS)

    def of_group(self, group: int) -> NDArray[np.float64]:
        return self.chords[self.start[group] : self.start[group + 1]]

    def rows(self) -> NDArray[np.intp]:
        """(group,) number of chords."""
        return np.diff(self.start)

    def by_video(self) -> dict[str, tuple[Tracing, ...]]:
        """Name -> its traced frames in listing order."""
        tracings: defaultdict[str, list[Tracing]] = defaultdict(list)
        for group, (video, frame) in enumerate(zip(self.video.tolist(), self.frame.tolist(), strict=True)):
            tracings[self.names[video]].append(Tracing(frame, self.of_group(group)))
        return {name: tuple(frames) for name, frames in tracings.items()}


def _read_chords(path: Path | None, listed_names: Collection[str], findings: _Findings) -> _Chords:
    """Read VolumeTracings.csv, if there is one. A video with an unreadable row loses all its tracings."""
    if path is None:
        findings.add_for_folder(
            "warning",
            "no-tracings-file",
            f"{TRACINGS} is missing: no frame is traced, so segmentation cannot be trained or tested.",
        )
        return _Chords.empty()
    table = _tracing_table(path)
    written = pd.Series(table["filename"].fillna("").to_numpy(dtype=object))
    codes, written_names = pd.factorize(written)
    stripped, suffixes = _without_suffix(pd.Series(written_names, dtype=str).str.strip())
    name_codes, names = pd.factorize(stripped.to_numpy(dtype=object))
    video = name_codes[codes]

    findings.add(
        "note",
        "tracing-without-row",
        sorted(set(names) - {*listed_names, ""}),
        f"Traced videos without a row in {FILE_LIST} are ignored.",
    )
    chords = table[list(CHORD_COLUMNS)].to_numpy(dtype=np.float64)
    frame = table["frame"].to_numpy(dtype=np.float64)
    readable = np.isfinite(chords).all(axis=1) & (frame >= 0) & (frame < 1e9) & (frame == np.floor(frame))
    readable &= names[video] != ""
    bad_videos = np.unique(video[~readable])
    findings.add(
        "error",
        "tracing-unreadable",
        names[bad_videos],
        f"Rows of {path.name} lack a name, a coordinate or a frame number from 0; all tracings of these "
        "videos are left out. Correct the rows.",
        table.index[~readable].tolist(),
    )
    kept = ~np.isin(video, bad_videos) & ~_too_short(names, video, frame, findings)
    names_have_suffix = bool((suffixes != "").any())
    return _group_chords(names, names_have_suffix, video[kept], frame[kept].astype(np.int64), chords[kept])


def _tracing_table(path: Path) -> pd.DataFrame:
    """VolumeTracings.csv with its numbers as float, NaN where a cell is none; indexed by line number."""
    required = ("filename", *CHORD_COLUMNS, "frame")
    numbers = required[1:]
    try:
        return read_csv(path, required, types={"filename": str, **dict.fromkeys(numbers, float)})
    except ValueError:  # something is no number: read slowly, as text, and leave NaN there
        table = read_csv(path, required)
    for column in numbers:
        table[column] = pd.to_numeric(table[column].str.replace(",", "."), errors="coerce")
    return table


def _too_short(
    names: NDArray[np.object_], video: NDArray[np.intp], frame: NDArray[np.float64], findings: _Findings
) -> NDArray[np.bool_]:
    """Which chords belong to a traced frame with too few of them to enclose anything."""
    table = pd.DataFrame({"video": video, "frame": frame})
    count = table.groupby(["video", "frame"], sort=False, dropna=False)["video"].transform("size").to_numpy()
    short = count < MIN_ROWS
    findings.add(
        "warning",
        "contour-too-short",
        names[np.unique(video[short])],
        f"Traced frames with fewer than {MIN_ROWS} rows enclose nothing and are left out.",
    )
    return short


def _group_chords(
    names: NDArray[np.object_],
    names_have_suffix: bool,
    video: NDArray[np.intp],
    frame: NDArray[np.int64],
    chords: NDArray[np.float64],
) -> _Chords:
    """Bring the chords of each traced frame together: groups by first appearance, chords in listing order."""
    if not len(video):
        return _Chords.empty()
    span = int(frame.max()) + 1
    group, keys = pd.factorize(video * span + frame)
    order = np.argsort(group, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(group))])
    sorted_chords = chords[order]
    sorted_chords.flags.writeable = False
    return _Chords(names, names_have_suffix, keys // span, keys % span, start, sorted_chords)


def _check_tracings(chords: _Chords, listing: pd.DataFrame, findings: _Findings) -> None:
    """Report what is odd in the tracings of listed videos, over all of them at once."""
    listed = listing.drop_duplicates("name").set_index("name").reindex(chords.names)
    is_listed = listed["split"].notna().to_numpy()
    groups = np.flatnonzero(is_listed[chords.video]) if len(chords.video) else np.empty(0, dtype=np.intp)
    rows = chords.rows()
    regular = groups[rows[groups] == ROWS_PER_TRACE]
    irregular = groups[rows[groups] != ROWS_PER_TRACE]

    _check_contours(chords, regular, irregular, findings)
    _check_bounds(chords, groups, listed, findings)
    _check_frame_numbers(chords, groups, listed, findings)
    _check_pairs(chords, groups, _areas(chords, regular, irregular), findings)


def _names_of(chords: _Chords, groups: NDArray[np.intp]) -> list[str]:
    """Names of the videos of some groups, each once, in listing order."""
    return chords.names[np.unique(chords.video[groups])].tolist()


def _check_contours(
    chords: _Chords, regular: NDArray[np.intp], irregular: NDArray[np.intp], findings: _Findings
) -> None:
    contours = {int(group): len(split_traces(chords.of_group(group))) for group in irregular}
    several = np.array([group for group, count in contours.items() if count > 1], dtype=np.intp)
    partial = np.array([group for group, count in contours.items() if count == 1], dtype=np.intp)
    unclear = np.array([group for group in irregular if contours[int(group)] == 0], dtype=np.intp)
    counts = ", ".join(str(count) for count in np.unique(chords.rows()[irregular]))
    findings.add(
        "note",
        "several-contours",
        _names_of(chords, several),
        f"{len(several)} traced frames carry several contours; multi_trace says what becomes of them.",
    )
    findings.add(
        "note",
        "contour-with-extra-rows",
        _names_of(chords, partial),
        f"{len(partial)} traced frames carry one complete contour of {ROWS_PER_TRACE} rows and further rows, "
        "which are ignored.",
    )
    findings.add(
        "warning",
        "contour-unclear",
        _names_of(chords, unclear),
        f"{len(unclear)} traced frames have no complete contour of {ROWS_PER_TRACE} rows (other numbers of "
        f"rows seen: {counts}); the polygon through all rows but the first is used. Look at these masks.",
    )
    no_axis = regular[~long_axis_is_first(_stacked(chords, regular))] if len(regular) else regular
    findings.add(
        "warning",
        "long-axis-not-first",
        _names_of(chords, no_axis),
        f"In {len(no_axis)} traced frames the first chord is not by far the longest; it is left out of the "
        "contour all the same, as the long axis. Look at these masks.",
    )


def _stacked(chords: _Chords, regular: NDArray[np.intp]) -> NDArray[np.float64]:
    """(group, 21, 4) chords of groups that all have 21."""
    return chords.chords[chords.start[regular][:, None] + np.arange(ROWS_PER_TRACE)]


def _areas(chords: _Chords, regular: NDArray[np.intp], irregular: NDArray[np.intp]) -> NDArray[np.float64]:
    """(group,) area of the first contour in square pixels, NaN where there is none."""
    areas = np.full(len(chords.video), np.nan)
    if len(regular):
        areas[regular] = trace_area(_stacked(chords, regular))
    for group in irregular:
        of_group = chords.of_group(group)
        areas[group] = trace_area((split_traces(of_group) or [of_group])[0])
    return areas


def _check_bounds(chords: _Chords, groups: NDArray[np.intp], listed: pd.DataFrame, findings: _Findings) -> None:
    group_of_chord = np.repeat(np.arange(len(chords.video)), chords.rows())
    video_of_chord = chords.video[group_of_chord]
    limit = listed[["width", "height", "width", "height"]].to_numpy(dtype=np.float64)[video_of_chord]
    outside = (chords.chords < 0) | (chords.chords > limit)
    concerned = np.intersect1d(group_of_chord[outside.any(axis=1)], groups)
    count = int(outside[np.isin(group_of_chord, concerned)].sum())
    findings.add(
        "note",
        "coordinates-outside",
        _names_of(chords, concerned),
        f"{count} coordinates of tracings lie outside the frame; masks are clipped to it.",
    )


def _check_frame_numbers(chords: _Chords, groups: NDArray[np.intp], listed: pd.DataFrame, findings: _Findings) -> None:
    past_end = chords.frame >= listed["listed_frames"].to_numpy(dtype=np.float64)[chords.video]
    findings.add(
        "warning",
        "frame-past-end",
        _names_of(chords, groups[past_end[groups]]),
        "Traced frames are numbered at or past NumberOfFrames; the last decoded frame is used instead.",
    )


def _check_pairs(chords: _Chords, groups: NDArray[np.intp], areas: NDArray[np.float64], findings: _Findings) -> None:
    """Number of traced frames per video, and order and areas of the two."""
    count = np.bincount(chords.video[groups], minlength=len(chords.names))
    findings.add(
        "warning",
        "one-traced-frame",
        chords.names[count == 1],
        "Only one frame is traced, so there is no pair of ED and ES; segmentation leaves these videos out.",
    )
    findings.add(
        "note",
        "more-than-two-traced-frames",
        chords.names[count > 2],
        "More than two frames are traced; the largest is taken as ED and the smallest as ES "
        "(with ed_es_naming = code the last and the first listed).",
    )
    ordered = groups[np.argsort(chords.video[groups], kind="stable")]
    paired = ordered[count[chords.video[ordered]] == 2]
    first, second = paired[0::2], paired[1::2]
    ed = np.where(areas[second] > areas[first], second, first)
    es = np.where(ed == first, second, first)
    late_ed = chords.frame[ed] > chords.frame[es]
    findings.add(
        "note",
        "es-before-ed",
        _names_of(chords, ed[late_ed]),
        "The traced ES (the smaller one) comes before ED: another beat, or a start in systole. Nothing is changed.",
    )
    second_listed = ed == second
    findings.add(
        "note",
        "es-listed-first",
        _names_of(chords, ed[second_listed]),
        f"The larger tracing (ED) is listed second in {int(second_listed.sum())} of {len(ed)} videos with "
        "two; the areas decide, not the order, unless ed_es_naming is code.",
    )
    larger, smaller = np.maximum(areas[first], areas[second]), np.minimum(areas[first], areas[second])
    close = larger - smaller < CLOSE_AREAS * larger
    findings.add(
        "note",
        "areas-close",
        _names_of(chords, ed[close]),
        f"The areas of ED and ES differ by less than {100 * CLOSE_AREAS:.0f} %, so the two may be exchanged.",
    )


# ----------------------------------------------------------------------------------------------- whole folder


def _check_records(records: Sequence[Record], release: Release, findings: _Findings, has_tracings: bool) -> None:
    _check_labels(records, findings)
    _check_patients(records, findings)
    _check_sizes(records, findings)
    if has_tracings:
        untraced = [record.name for record in records if not record.tracings]
        known = sum(name in UNTRACED_NAMES for name in untraced)
        findings.add(
            "note",
            "untraced",
            untraced,
            "Videos without a tracing are kept for EF and for unlabelled clips; segmentation leaves them out."
            + (f" {known} of them belong to the six that the public release leaves untraced." if known else ""),
        )
    if release != "own" and all(PUBLIC_NAME.fullmatch(record.name) for record in records):
        count = Counter(record.split for record in records)
        if dict(count) != PUBLIC_ROWS:
            here = ", ".join(f"{count[split]} {split}" for split in get_args(Split))
            expected = ", ".join(f"{rows} {split}" for split, rows in PUBLIC_ROWS.items())
            findings.add_for_folder(
                "note",
                "not-the-whole-release",
                f"The names are those of EchoNet-Dynamic, but usable are {here}; complete it has {expected}.",
            )


def _check_labels(records: Sequence[Record], findings: _Findings) -> None:
    efs = np.array([record.ef for record in records])
    labelled = efs[~np.isnan(efs)]
    findings.add(
        "note",
        "unlabelled",
        [record.name for record in records if np.isnan(record.ef)],
        "The cell of EF is empty; these videos serve as unlabelled ones.",
    )
    if len(labelled) and labelled.max() <= 1:
        findings.add_for_folder(
            "warning",
            "ef-looks-like-fraction",
            "No EF is above 1. EF is expected in percent: multiply by 100.",
        )
    inconsistent = [
        record.name
        for record in records
        if record.edv_ml > 0 and abs(record.ef - 100 * (record.edv_ml - record.esv_ml) / record.edv_ml) > EF_TOLERANCE
    ]
    findings.add(
        "warning",
        "ef-and-volumes-disagree",
        inconsistent,
        f"EF differs by more than {EF_TOLERANCE} from 100 (EDV - ESV) / EDV; the listed EF is used.",
    )


def _check_patients(records: Sequence[Record], findings: _Findings) -> None:
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        splits[record.patient].add(record.split)
    findings.add(
        "error",
        "patient-in-several-splits",
        [patient for patient, found in splits.items() if len(found) > 1],
        "Videos of one patient are in several splits, so tests would be too good. Move them to one split. "
        "(The names are those of patients; nothing is left out.)",
    )


def _check_sizes(records: Sequence[Record], findings: _Findings) -> None:
    sizes = Counter((record.height, record.width) for record in records if record.height and record.width)
    if len(sizes) < 2:
        return
    usual = sizes.most_common(1)[0][0]
    other = [record for record in records if record.height and (record.height, record.width) != usual]
    shapes = ", ".join(f"{height}x{width}" for height, width in sorted({(r.height, r.width) for r in other}))
    findings.add(
        "warning",
        "other-frame-size",
        [record.name for record in other],
        f"Most frames are {usual[0]}x{usual[1]} pixels (height x width), these are {shapes}. They must be "
        "resized, or left out.",
    )


# ----------------------------------------------------------------------------------------- masks of one video


def traced_pair(
    record: Record,
    n_frames: int,
    height: int,
    width: int,
    settings: EchonetSettings = DEFAULT_SETTINGS,
) -> TracedPair | None:
    """Masks and indices of ED and ES for a video of `n_frames` decoded frames of `height` x `width` pixels.

    ED is the frame with the larger mask, on a tie the first listed; with `ed_es_naming = code` it is the
    last listed, as in the public code. Of more than two traced frames the largest and the smallest count.
    Chords are in pixels of the listed frame and are not scaled. None where fewer than two frames are traced,
    or where both lie so far past the end that they fall on the same last frame.
    """
    if len(record.tracings) < 2 or n_frames < 1:
        return None
    masks = [
        trace_mask(
            tracing.chords,
            height=height,
            width=width,
            multi_trace=settings.multi_trace,
            round_vertices=settings.round_vertices,
        )
        for tracing in record.tracings
    ]
    areas = [int(mask.sum()) for mask in masks]
    ed, es = _ed_and_es(areas, settings.ed_es_naming)
    frames = [min(tracing.frame, n_frames - 1) for tracing in record.tracings]
    if frames[ed] == frames[es]:
        return None
    notes = _Findings()
    _note_pair(notes, record, [record.tracings[ed].frame, record.tracings[es].frame], n_frames, (height, width))
    _note_areas(notes, record.name, areas[ed], areas[es])
    if frames[ed] > frames[es]:
        notes.add("note", "es-before-ed", [record.name], f"ED is frame {frames[ed]}, after ES, frame {frames[es]}.")
    return TracedPair(frames[ed], frames[es], np.stack([masks[ed], masks[es]]), notes.sorted())


def _ed_and_es(areas: Sequence[int], naming: EdEsNaming) -> tuple[int, int]:
    """Positions of ED and ES among the traced frames in listing order."""
    if naming == "code":
        return len(areas) - 1, 0
    ed = int(np.argmax(areas))
    es = len(areas) - 1 - int(np.argmin(areas[::-1]))
    return ed, es


def _note_pair(notes: _Findings, record: Record, listed: Sequence[int], n_frames: int, size: tuple[int, int]) -> None:
    past_end = [frame for frame in listed if frame >= n_frames]
    if past_end:
        notes.add(
            "warning" if max(past_end) > n_frames else "note",
            "frame-clamped",
            [record.name],
            f"Traced frame {max(past_end)} is past the end of {n_frames} decoded frames; the last is used.",
        )
    if record.height and record.width and (record.height, record.width) != size:
        notes.add(
            "warning",
            "listed-size-differs",
            [record.name],
            f"Listed are {record.height}x{record.width} pixels, masks are drawn at {size[0]}x{size[1]}: "
            "the tracing is not scaled.",
        )


def _note_areas(notes: _Findings, name: str, ed_area: int, es_area: int) -> None:
    larger = max(ed_area, es_area)
    if min(ed_area, es_area) == 0:
        notes.add("warning", "empty-mask", [name], "A tracing encloses no pixel of the frame.")
    if larger and abs(ed_area - es_area) < CLOSE_AREAS * larger:
        notes.add("note", "areas-close", [name], f"The masks of ED and ES have {ed_area} and {es_area} pixels.")


# ------------------------------------------------------------------------------------------------- the report


def report_dict(folder: EchonetFolder) -> dict[str, Any]:
    """The data report as plain values for JSON; what does not exist is None."""
    return {
        "root": str(folder.root),
        "release": folder.release,
        "videos": len(folder.records),
        "splits": {
            split: _split_summary([record for record in folder.records if record.split == split])
            for split in get_args(Split)
        },
        "findings": [
            {
                "level": finding.level,
                "kind": finding.kind,
                "count": len(finding.names),
                "names": list(finding.names),
                "message": finding.message,
                "lines": list(finding.lines),
            }
            for finding in folder.findings
        ],
    }


def _split_summary(records: Sequence[Record]) -> dict[str, Any]:
    return {
        "videos": len(records),
        "patients": len({record.patient for record in records}),
        "labelled": sum(not np.isnan(record.ef) for record in records),
        "traced": sum(len(record.tracings) >= 2 for record in records),
        "ef_percent": _spread([record.ef for record in records]),
        "fps": _spread([record.fps for record in records]),
        "frames": _spread([record.listed_frames or np.nan for record in records]),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Mean, standard deviation (ddof 0) and range of the values that are not NaN."""
    known = np.array(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    return {
        "mean": float(known.mean()),
        "sd": float(known.std()),
        "min": float(known.min()),
        "max": float(known.max()),
    }


def render_report(folder: EchonetFolder) -> "Group":
    """The data report for a terminal: counts per split, then the findings, the worst first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    report = report_dict(folder)
    release = {"older": "older release", "newer": "newer release", "own": "a folder of your own"}[folder.release]
    title = Text(f"{folder.root}: {report['videos']} videos, {release} (layout of EchoNet-Dynamic)")
    counts = Table("split", "videos", "patients", "EF known", "traced", "EF, % (sd)", "frames/s", "frames")
    for split, summary in report["splits"].items():
        counts.add_row(
            split,
            *(str(summary[key]) for key in ("videos", "patients", "labelled", "traced")),
            *(_spread_text(summary[key]) for key in ("ef_percent", "fps", "frames")),
        )
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    findings = [
        Text.assemble((finding.level, colours[finding.level]), f" {finding.kind}: {finding_text(finding)}")
        for finding in folder.findings
    ]
    return Group(title, counts, *(findings or [Text("Nothing odd was found.")]))


def _spread_text(spread: Mapping[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['mean']:.1f} ({spread['sd']:.1f})"


def finding_text(finding: Finding) -> str:
    """Message, names and lines of a finding, shortened after a few of them."""
    if not finding.names:
        return finding.message
    if len(finding.lines) == len(finding.names):
        pairs = zip(finding.names, finding.lines, strict=True)
        return f"{finding.message} [{_shortened([f'{name} (line {line})' for name, line in pairs])}]"
    lines = f"; lines {_shortened([str(line) for line in finding.lines])}" if finding.lines else ""
    return f"{finding.message} [{_shortened(finding.names)}{lines}]"


def _shortened(items: Sequence[str]) -> str:
    more = len(items) - NAMES_SHOWN
    return ", ".join(items[:NAMES_SHOWN]) + (f", and {more} more" if more > 0 else "")
