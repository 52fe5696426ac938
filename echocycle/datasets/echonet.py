"""First step: reads a folder in the layout of EchoNet-Dynamic and reports on it, before decoding any video.

Layout: FileList.csv (one row per video: EF in percent, volumes in ml, split), VolumeTracings.csv (one row
per chord) and Videos/. Two public releases differ in where they write the suffix .avi; a folder of one's own
may have fewer columns. What is odd in a folder is not fatal: it becomes a `Finding` that says what was done
about it.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from echocycle.datasets.contours.tracings import corner_names
from echocycle.datasets.duplicates import find_identical_files
from echocycle.datasets.echonet_tracings import Chords, check_tracings, read_chords
from echocycle.datasets.findings import FindingList, short
from echocycle.datasets.listing import check_rows, parse_listing, refuse_missing_splits
from echocycle.datasets.lookup import RECORDING_SUFFIXES, Lookup, nfc, path_parts, recordings_in, without_suffix
from echocycle.datasets.records import (
    DEFAULT_SETTINGS,
    FILE_LIST,
    TRACINGS,
    VIDEOS,
    EchonetFolder,
    EchonetSettings,
    Record,
    Release,
    Split,
    Tracing,
)
from echocycle.datasets.splits import fill_splits
from echocycle.errors import EchocycleError

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


EF_TOLERANCE = 0.1  # percentage points between the listed EF and 100 (EDV - ESV) / EDV


def read_echonet(root: Path, settings: EchonetSettings = DEFAULT_SETTINGS) -> EchonetFolder:
    """Read the lists of a folder, join them with the videos on disk and check all of it; decodes no video.

    Bad rows are left out and reported as findings of level error. A folder from which nothing can be read, or
    a file that is no CSV, is an `EchocycleError`.
    """
    root = Path(root)
    findings = FindingList()
    file_list, tracing_list, videos = _locate(root)
    listing, complete = parse_listing(file_list, settings, findings)
    refuse_missing_splits(file_list, listing, settings)
    on_disk = _videos_on_disk(videos)
    lookup = Lookup(videos, on_disk)
    listing = _without_folders(listing, lookup)
    listed_names = set(listing["name"])
    names_have_suffix = bool((listing["suffix"] != "").any())
    listing = check_rows(listing, file_list, findings, draws=settings.assign_splits is not None)
    paths = _video_paths(on_disk, lookup, listing, listed_names, findings)
    listing = listing[listing["name"].isin(paths.keys())]
    corners = corner_names(tracing_list) if tracing_list else None
    chords = Chords.empty() if corners is not None else read_chords(tracing_list, listed_names, findings)
    check_tracings(chords, listing, findings)
    without_split = set(listing.loc[listing["split"] == "", "name"])
    found = list(_records(listing, paths, chords.by_video()))
    if corners is not None and tracing_list:
        traced = (("", tracing_list),)
        found = [replace(r, contours=traced) if r.name.casefold() in corners else r for r in found]
    records = tuple(fill_splits(found, without_split, settings, findings))
    release = _release(names_have_suffix, chords, complete)
    _check_records(records, release, findings, has_tracings=tracing_list is not None)
    find_identical_files([r.name for r in records], [r.path for r in records], [r.split for r in records], findings)
    return EchonetFolder(root, release, records, findings.sorted())


def _release(names_have_suffix: bool, chords: "Chords", complete: bool) -> Release:
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


def is_echonet(root: Path) -> bool:
    """Whether a folder holds both FileList.csv and Videos/."""
    if not root.is_dir():
        return False
    videos = _entry(root, VIDEOS)
    return _entry(root, FILE_LIST) is not None and videos is not None and videos.is_dir()


def where_echonet_is(root: Path) -> Path | None:
    """The folder in EchoNet-Dynamic's layout above or one level below this one."""
    around = [root.resolve().parent, *sorted(path for path in root.iterdir() if path.is_dir())]
    return next((path for path in around if os.access(path, os.R_OK | os.X_OK) and is_echonet(path)), None)


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


def _videos_on_disk(videos: Path) -> list[Path]:
    """The recordings in Videos/; none at all is an error."""
    paths = recordings_in(videos)
    if not paths:
        raise EchocycleError(
            f"{videos} holds no .avi or .mp4 file and no other recording. Put the videos listed in {FILE_LIST} there."
        )
    return paths


def _without_folders(listing: pd.DataFrame, lookup: Lookup) -> pd.DataFrame:
    """Names that hold a folder or a drive, as other programs write them, by the name of the file they lead to."""
    has_folder = listing["name"].str.contains(r"[/\\]")
    if not has_folder.any():
        return listing
    names = [
        nfc(path_parts(name)[-1]) if inside and lookup.find(name).path else name
        for name, inside in zip(listing["name"], has_folder, strict=True)
    ]
    return listing.assign(name=names)


def _video_paths(
    on_disk: Sequence[Path], lookup: Lookup, listing: pd.DataFrame, listed_names: Collection[str], findings: FindingList
) -> dict[str, Path]:
    """Name -> file of every listed video that exists. A listed suffix decides between two files."""
    paths: dict[str, Path] = {}
    doubled, missing, other_spelling = [], [], []
    for name, suffix in zip(listing["name"], listing["suffix"], strict=True):
        match = lookup.find(name + suffix)
        if match.path is None:
            missing.append(name)
            continue
        paths[name] = match.path
        if match.others:
            doubled.append(name)
        if match.other_spelling:
            other_spelling.append(name)
    if not paths:
        first = on_disk[0].parent / (missing[0] + ".avi")
        raise EchocycleError(
            f"None of the {len(missing)} videos listed in {FILE_LIST} exists; first looked for {short(str(first))} (or "
            f".mp4, .dcm, ...). There is {on_disk[0].name}, for one."
        )
    findings.add(
        "error",
        "video-missing",
        missing,
        f"Listed videos do not exist in {VIDEOS}/; their rows are left out. Without them a drawn subset of "
        "labels differs from that of the complete folder.",
    )
    used = {*(lookup.find(name).path for name in listed_names), *paths.values()}
    unlisted = {without_suffix(nfc(path.name)) for path in on_disk if path not in used}
    findings.add(
        "warning",
        "video-not-listed",
        sorted(unlisted - set(listed_names)),
        f"Videos without a row in {FILE_LIST} are not used.",
    )
    findings.add(
        "warning",
        "two-files-for-one-name",
        doubled,
        f"Several files in {VIDEOS}/ differ in the suffix only; the listed one is used, otherwise the first "
        f"of {', '.join(RECORDING_SUFFIXES[:2])}. Remove the others.",
    )
    findings.add(
        "note",
        "name-spelt-otherwise",
        other_spelling,
        f"The names in {FILE_LIST} and in {VIDEOS}/ differ in capitals; they are taken for the same.",
    )
    return paths


# ----------------------------------------------------------------------------------------------- whole folder


def _check_records(records: Sequence[Record], release: Release, findings: FindingList, has_tracings: bool) -> None:
    check_labels(records, findings)
    check_patients(records, findings)
    _check_sizes(records, findings)
    if has_tracings:
        untraced = [record.name for record in records if not record.tracings and not record.contours]
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


def check_labels(records: Sequence[Record], findings: FindingList) -> None:
    findings.add(
        "note",
        "unlabelled",
        [record.name for record in records if np.isnan(record.ef)],
        "The cell of EF is empty; these videos serve as unlabelled ones.",
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


def check_patients(records: Sequence[Record], findings: FindingList) -> None:
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


def _check_sizes(records: Sequence[Record], findings: FindingList) -> None:
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
