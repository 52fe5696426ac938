"""A folder of recordings of any format, at any depth, with an optional list: the layout for one's own data.

FOLDER/
  videos.csv        optional; one row a video: file, and where known EF, EDV, ESV, split, patient, ED and ES frame,
                    file of masks or contours
  a.dcm  b/c.mp4    recordings; one that is not listed is an unlabelled training video

What the columns may be called stands in `columns.py`. Paths are relative to the folder.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from echocycle.datasets.duplicates import find_identical_files
from echocycle.datasets.echonet import check_labels, check_patients, is_echonet, where_echonet_is
from echocycle.datasets.echonet_tracings import check_tracings, read_chords
from echocycle.datasets.findings import FindingList, short
from echocycle.datasets.folders import distinct_names, holds_recordings, recordings_below
from echocycle.datasets.listing import check_rows, parse_listing
from echocycle.datasets.lookup import Lookup, nfc, without_suffix
from echocycle.datasets.measurements import MEASUREMENTS, is_measurements, one_row_a_video
from echocycle.datasets.records import FILE_LIST, TRACINGS, EchonetFolder, EchonetSettings, Record, Tracing
from echocycle.datasets.splits import fill_splits
from echocycle.errors import EchocycleError

LISTS = ("videos.csv", "videos.tsv", FILE_LIST, MEASUREMENTS)
"""What the list may be called, in any capitals."""

OTHER_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")


def is_videos(root: Path) -> bool:
    """Whether a folder holds recordings and neither it nor a folder next to it is laid out as EchoNet-Dynamic is."""
    if not root.is_dir() or is_echonet(root) or (find_list(root) is None and where_echonet_is(root)):
        return False
    return holds_recordings(root)


def read_videos(root: Path, settings: EchonetSettings) -> EchonetFolder:
    """Read the list of a folder, if there is one, and join it with the recordings below it; decodes none."""
    root = Path(root)
    findings = FindingList()
    table = find_list(root)
    listing = _listing(table, settings, findings) if table else None
    contour_files = _contour_files(root, table, listing, findings)
    used = {path.resolve() for files in contour_files.values() for _, path in files}
    below, problems = recordings_below(root)
    on_disk = [path for path in below if path.resolve() not in used]
    if not on_disk:
        reason = f" {problems[0].problem}" if problems else ""
        raise EchocycleError(f"{root} holds no recording. Put DICOM cines or video files there.{reason}")
    for problem in problems:
        place = os.path.relpath(problem.origin, root.absolute())
        findings.add_one("error", "not-reached", place, str(problem.problem))
    names = distinct_names(root, on_disk)
    paths: dict[int, Path] = {}
    if listing is not None and table is not None:
        paths = _find_files(table, listing, Lookup(root, on_disk), findings)
        listing = listing.loc[list(paths)]
        called = pd.Series({line: names[path] for line, path in paths.items()}, dtype=str)
        own_patient = listing["patient"].where(listing["patient"] != listing["name"], called)
        listing = check_rows(listing.assign(name=called, patient=own_patient), table, findings, draws=True)
    records = list(_records(root, on_disk, paths, names, listing, contour_files))
    records = _with_chords(root, records, findings)
    without_split = {record.name for record in records if not record.split}
    records = fill_splits(records, without_split, settings, findings)
    _note_other_tables(root, table, findings)
    unlisted = [record.name for record in records if record.path not in paths.values()]
    if table is None:
        findings.add_for_folder(
            "warning",
            "no-list",
            f"There is no list of labels ({LISTS[0]} with columns file and EF), so every video is unlabelled. Enough "
            "for `predict`, not for training.",
        )
    else:
        findings.add("note", "video-not-listed", unlisted, f"Recordings without a row in {table.name} are unlabelled.")
    check_labels(records, findings)
    check_patients(records, findings)
    find_identical_files([r.name for r in records], [r.path for r in records], [r.split for r in records], findings)
    return EchonetFolder(root, "videos", tuple(records), findings.sorted())


# ------------------------------------------------------------------------------------------------- what is there


def find_list(root: Path) -> Path | None:
    """The list of a folder, or None."""
    by_name = {path.name.casefold(): path for path in sorted(root.iterdir()) if path.is_file()}
    return next((by_name[name.casefold()] for name in LISTS if name.casefold() in by_name), None)


def _note_other_tables(root: Path, table: Path | None, findings: FindingList) -> None:
    others = [
        path.name
        for path in sorted(root.iterdir())
        if path.suffix.lower() in OTHER_TABLES and path != table and path.name.casefold() != TRACINGS.casefold()
    ]
    findings.add(
        "note" if table else "warning",
        "table-not-read",
        others,
        f"Tables that are not read; the list of labels must be called {LISTS[0]} (save an Excel sheet as CSV UTF-8).",
    )


# ------------------------------------------------------------------------------------------------------ the list


def _listing(table: Path, settings: EchonetSettings, findings: FindingList) -> pd.DataFrame:
    listing, _ = parse_listing(table, settings, findings)
    listing = listing.assign(written=listing["name"] + listing["suffix"])
    return one_row_a_video(listing, table, findings) if is_measurements(table) else listing


def _find_files(table: Path, listing: pd.DataFrame, lookup: Lookup, findings: FindingList) -> dict[int, Path]:
    """Line -> file of every row whose file exists."""
    paths: dict[int, Path] = {}
    missing: list[int] = []
    unclear: list[int] = []
    doubled: list[int] = []
    other_spelling: list[int] = []
    again: list[int] = []
    taken: set[Path] = set()
    for line, written in listing["written"].items():
        line = int(line)
        match = lookup.find(written)
        if match.path is None:
            (unclear if match.others else missing).append(line)
            continue
        if match.path in taken:
            again.append(line)
            continue
        taken.add(match.path)
        paths[line] = match.path
        if match.others:
            doubled.append(line)
        if match.other_spelling:
            other_spelling.append(line)

    def report(level: str, kind: str, lines: list[int], message: str) -> None:
        findings.add(level, kind, [listing.loc[line, "written"] for line in lines], message, lines)  # type: ignore[arg-type]

    report("error", "video-missing", missing, f"Files listed in {table.name} do not exist; their rows are left out.")
    report(
        "error",
        "name-unclear",
        unclear,
        f"Several recordings have the name that is listed in {table.name}; write the folder too (`p1/clip.dcm`). The "
        "rows are left out.",
    )
    report("error", "duplicate-name", again, f"{table.name} lists a file a second time; the first row counts.")
    report(
        "warning",
        "two-files-for-one-name",
        doubled,
        "Several files differ in the suffix only; the listed one is used, otherwise the first by kind. The others are "
        "unlabelled videos: remove them.",
    )
    report(
        "note",
        "name-spelt-otherwise",
        other_spelling,
        f"The names in {table.name} and on disk differ in capitals; they are taken for the same.",
    )
    if not paths:
        raise EchocycleError(
            f"None of the {len(listing)} files listed in {table} exists, or none is clear. First: "
            f"{short(listing['written'].iloc[0])}, looked for below {table.parent}."
        )
    return paths


def _contour_files(
    root: Path, table: Path | None, listing: pd.DataFrame | None, findings: FindingList
) -> dict[int, tuple[tuple[str, Path], ...]]:
    """Line -> the contour files that exist, each with its phase."""
    if listing is None or table is None:
        return {}
    found: dict[int, tuple[tuple[str, Path], ...]] = {}
    missing: list[tuple[str, int]] = []
    for row in listing.itertuples():
        files = []
        for phase, written in (("", row.contour), ("ED", row.ed_contour), ("ES", row.es_contour)):
            if not written:
                continue
            path = root / written.replace("\\", "/")
            if path.exists():
                files.append((phase, path))
            else:
                missing.append((written, int(row.Index)))
        if files:
            found[int(row.Index)] = tuple(files)
    findings.add(
        "error",
        "contour-missing",
        [name for name, _ in missing],
        f"Files of masks or contours that {table.name} lists do not exist in this folder; their videos count as "
        "untraced.",
        [line for _, line in missing],
    )
    return found


# ---------------------------------------------------------------------------------------------------- the records


def _records(
    root: Path,
    on_disk: Sequence[Path],
    paths: Mapping[int, Path],
    names: Mapping[Path, str],
    listing: pd.DataFrame | None,
    contour_files: Mapping[int, tuple[tuple[str, Path], ...]],
) -> Iterator[Record]:
    """A record of every recording: the listed ones in the order of the list, then the others by name. A recording whose
    row is wrong is left out, not taken as unlabelled."""
    rows = {int(row.Index): row for row in listing.itertuples()} if listing is not None else {}
    listed = set(paths.values())
    others = [(-1, path) for path in on_disk if path not in listed]
    for line, path in [*((line, paths[line]) for line in rows), *others]:
        row = rows.get(line)
        file = os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")

        def number(column: str, row: object = row) -> float:
            return float(getattr(row, column, np.nan))

        def whole(column: str, otherwise: int, row: object = row) -> int:
            value = number(column, row)
            return otherwise if np.isnan(value) else int(value)

        yield Record(
            name=names[path],
            path=path,
            patient=str(row.patient) if row is not None else names[path],
            split=row.split if row is not None else "",  # type: ignore[arg-type]
            ef=number("ef"),
            edv_ml=number("edv_ml"),
            esv_ml=number("esv_ml"),
            fps=number("fps"),
            listed_frames=whole("listed_frames", 0),
            height=whole("height", 0),
            width=whole("width", 0),
            tracings=(),
            file=file,
            ed_frame=whole("ed_frame", -1),
            es_frame=whole("es_frame", -1),
            contours=contour_files.get(line, ()),
        )


def _with_chords(root: Path, records: list[Record], findings: FindingList) -> list[Record]:
    """Records with the tracings of a VolumeTracings.csv beside the list, if there is one."""
    from dataclasses import replace

    path = next((path for path in root.iterdir() if path.name.casefold() == TRACINGS.casefold()), None)
    if path is None:
        return records
    by_name: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        for name in {record.name, without_suffix(nfc(record.path.name))}:
            by_name[name].append(record)
    chords = read_chords(path, by_name, findings)
    table = pd.DataFrame([{"name": n, "split": "x", **_listed(r[0])} for n, r in by_name.items() if len(r) == 1])
    check_tracings(chords, table, findings)
    tracings: dict[str, tuple[Tracing, ...]] = {}
    for name, traced in chords.by_video().items():
        if len(by_name.get(name, ())) == 1:
            tracings[by_name[name][0].name] = traced
    return [replace(record, tracings=tracings.get(record.name, ())) for record in records]


def _listed(record: Record) -> dict[str, float]:
    return {
        "width": record.width or np.nan,
        "height": record.height or np.nan,
        "listed_frames": record.listed_frames or np.nan,
    }
