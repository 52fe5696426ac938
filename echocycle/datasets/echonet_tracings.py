"""VolumeTracings.csv: chords of each traced frame, checked, and which frame is ED."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocycle.datasets.csv_table import read_csv
from echocycle.datasets.findings import Finding, FindingList
from echocycle.datasets.listing import without_suffix
from echocycle.datasets.lookup import nfc
from echocycle.datasets.records import (
    DEFAULT_SETTINGS,
    FILE_LIST,
    TRACINGS,
    EchonetSettings,
    EdEsNaming,
    Record,
    Tracing,
)
from echocycle.datasets.tracing import ROWS_PER_TRACE, long_axis_is_first, split_traces, trace_area, trace_mask

CHORD_COLUMNS = ("x1", "y1", "x2", "y2")


CLOSE_AREAS = 0.05  # ED and ES areas that differ by less may be exchanged


MIN_ROWS = 3  # long axis and two discs


NO_CHORDS = np.empty((0, 4))


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


# ------------------------------------------------------------------------------------- rows of VolumeTracings


@dataclass(frozen=True, eq=False)
class Chords:
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
    def empty(cls) -> "Chords":
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


def read_chords(path: Path | None, listed_names: Collection[str], findings: FindingList) -> Chords:
    """Read VolumeTracings.csv, if there is one. A video with an unreadable row loses all its tracings."""
    if path is None:
        findings.add_for_folder(
            "warning",
            "no-tracings-file",
            f"{TRACINGS} is missing: no frame is traced, so segmentation cannot be trained or tested.",
        )
        return Chords.empty()
    table = _tracing_table(path)
    written = pd.Series(table["filename"].fillna("").to_numpy(dtype=object))
    codes, written_names = pd.factorize(written)
    stripped, suffixes = without_suffix(pd.Series(written_names, dtype=str).map(nfc).str.strip())
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
    names: NDArray[np.object_], video: NDArray[np.intp], frame: NDArray[np.float64], findings: FindingList
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
) -> Chords:
    """Bring the chords of each traced frame together: groups by first appearance, chords in listing order."""
    if not len(video):
        return Chords.empty()
    span = int(frame.max()) + 1
    group, keys = pd.factorize(video * span + frame)
    order = np.argsort(group, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(group))])
    sorted_chords = chords[order]
    sorted_chords.flags.writeable = False
    return Chords(names, names_have_suffix, keys // span, keys % span, start, sorted_chords)


def check_tracings(chords: Chords, listing: pd.DataFrame, findings: FindingList) -> None:
    """Report what is odd in the tracings of listed videos, over all of them at once."""
    listed = listing.drop_duplicates("name").set_index("name").reindex(chords.names)
    is_listed = listed["split"].notna().to_numpy()
    groups = np.flatnonzero(is_listed[chords.video]) if len(chords.video) else np.empty(0, dtype=np.intp)
    rows = chords.rows()
    regular = groups[rows[groups] == ROWS_PER_TRACE]
    irregular = groups[rows[groups] != ROWS_PER_TRACE]

    _check_contours(chords, regular, irregular, findings)
    _check_upright(chords, groups, findings)
    _check_bounds(chords, groups, listed, findings)
    _check_frame_numbers(chords, groups, listed, findings)
    _check_pairs(chords, groups, _areas(chords, regular, irregular), findings)


def _names_of(chords: Chords, groups: NDArray[np.intp]) -> list[str]:
    """Names of the videos of some groups, each once, in listing order."""
    return chords.names[np.unique(chords.video[groups])].tolist()


def _check_contours(
    chords: Chords, regular: NDArray[np.intp], irregular: NDArray[np.intp], findings: FindingList
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


def _check_upright(chords: Chords, groups: NDArray[np.intp], findings: FindingList) -> None:
    """Long axes that mostly lie across the picture: in apical views they point down."""
    axis = chords.chords[chords.start[groups]]
    flat = np.abs(axis[:, 2] - axis[:, 0]) > np.abs(axis[:, 3] - axis[:, 1])
    if len(groups) and flat.mean() > 0.5:
        findings.add(
            "warning",
            "tracing-lies-across",
            _names_of(chords, groups[flat]),
            f"In {int(flat.sum())} of {len(groups)} traced frames the long axis runs from side to side, where it "
            "should run from top to bottom. Are x and y exchanged?",
        )


def _stacked(chords: Chords, regular: NDArray[np.intp]) -> NDArray[np.float64]:
    """(group, 21, 4) chords of groups that all have 21."""
    return chords.chords[chords.start[regular][:, None] + np.arange(ROWS_PER_TRACE)]


def _areas(chords: Chords, regular: NDArray[np.intp], irregular: NDArray[np.intp]) -> NDArray[np.float64]:
    """(group,) area of the first contour in square pixels, NaN where there is none."""
    areas = np.full(len(chords.video), np.nan)
    if len(regular):
        areas[regular] = trace_area(_stacked(chords, regular))
    for group in irregular:
        of_group = chords.of_group(group)
        areas[group] = trace_area((split_traces(of_group) or [of_group])[0])
    return areas


def _check_bounds(chords: Chords, groups: NDArray[np.intp], listed: pd.DataFrame, findings: FindingList) -> None:
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


def _check_frame_numbers(chords: Chords, groups: NDArray[np.intp], listed: pd.DataFrame, findings: FindingList) -> None:
    past_end = chords.frame >= listed["listed_frames"].to_numpy(dtype=np.float64)[chords.video]
    findings.add(
        "warning",
        "frame-past-end",
        _names_of(chords, groups[past_end[groups]]),
        "Traced frames are numbered at or past NumberOfFrames; the last decoded frame is used instead.",
    )


def _check_pairs(chords: Chords, groups: NDArray[np.intp], areas: NDArray[np.float64], findings: FindingList) -> None:
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
    notes = FindingList()
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


def _note_pair(notes: FindingList, record: Record, listed: Sequence[int], n_frames: int, size: tuple[int, int]) -> None:
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


def _note_areas(notes: FindingList, name: str, ed_area: int, es_area: int) -> None:
    larger = max(ed_area, es_area)
    if min(ed_area, es_area) == 0:
        notes.add("warning", "empty-mask", [name], "A tracing encloses no pixel of the frame.")
    if larger and abs(ed_area - es_area) < CLOSE_AREAS * larger:
        notes.add("note", "areas-close", [name], f"The masks of ED and ES have {ed_area} and {es_area} pixels.")
