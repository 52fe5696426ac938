"""Stage `prepare`: read a folder of videos once, write the frame store.

Videos are decoded by worker processes and appended in list order. Each whole video leaves a line in a journal, so
a killed `prepare` goes on behind the last one. The folder gets its name only when everything is in it.
"""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.echonet import (
    EchonetSettings,
    Finding,
    Record,
    authors_order,
    finding_text,
    read_echonet,
    render_report,
    report_dict,
    traced_pair,
)
from echocycle.data.masks import MaskWriter
from echocycle.data.store import COLUMNS, FORMAT, SIZE, Store
from echocycle.errors import EchocycleError
from echocycle.files import empty_unless_begun, read_json, sha256, write_json, write_text
from echocycle.settings import PrepareSettings
from echocycle.workers import in_order

TRACE_BYTES = SIZE * SIZE // 8
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Decoded:
    """One video as it goes into the store, or why it does not."""

    frames: np.ndarray | None
    """uint8 (time, SIZE, SIZE[, 3])."""
    row: dict[str, Any]
    """The columns of the store's index; those that only the store knows are added later."""
    traces: bytes
    """ED and ES mask, bit-packed."""
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Source:
    """A folder that can become a store: what is listed in it, and how one of its videos is decoded."""

    root: Path
    release: str
    records: tuple[Any, ...]
    names: tuple[str, ...]
    """The name of each record in the store."""
    decode: Callable[[tuple[Any, PrepareSettings]], Decoded]
    """Reads one record; a function of a module, so that worker processes find it."""
    digest: str
    """Hash of the listing: a store that was begun from another is not gone on with."""
    ranks: dict[str, int]
    """Place of each training video in the order that labelled subsets are shuffled from."""
    report: dict[str, Any]
    """The data report as plain values for JSON; `findings` are what was wrong with the listing."""
    page: Any
    """The same for a terminal: something that rich can print."""


def open_source(root: Path, settings: PrepareSettings) -> Source:
    """What a folder holds: the layout of CAMUS is recognised, any other must be that of EchoNet-Dynamic."""
    from echocycle.data.camus import is_camus

    if is_camus(root):
        from echocycle.data.prepare_camus import camus_source

        return camus_source(root, settings)
    folder = read_echonet(root, echonet_settings(settings))
    listing = hashlib.sha256()
    for r in folder.records:
        listing.update(f"{r.name},{r.patient},{r.split},{r.ef},{r.edv_ml},{r.esv_ml},{r.fps}\n".encode())
        for tracing in r.tracings:
            listing.update(f"{tracing.frame},{len(tracing.chords)}\n".encode() + tracing.chords.tobytes())
    return Source(
        root=folder.root,
        release=folder.release,
        records=folder.records,
        names=tuple(record.name for record in folder.records),
        decode=decode_echonet,
        digest=listing.hexdigest(),
        ranks={name: rank for rank, name in enumerate(authors_order(folder.records))},
        report={**report_dict(folder), "findings": [_plain(finding) for finding in folder.findings]},
        page=render_report(folder),
    )


def echonet_settings(settings: PrepareSettings) -> EchonetSettings:
    """The reader's part of the settings."""
    return EchonetSettings(
        settings.multi_trace, settings.round_vertices, settings.ed_es_naming, assign_splits=settings.assign_splits
    )


def prepare_store(
    source: Path,
    store: Path,
    settings: PrepareSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write the frame store of a folder, or go on with it.

    Args:
        source: folder in the layout of EchoNet-Dynamic (FileList.csv, VolumeTracings.csv, Videos/) or of CAMUS.
        store: folder to write; it exists only when it is whole. A finished one is opened, not written again.
        progress: called with (videos done, videos in all).

    Raises:
        EchocycleError: the folder is not in EchoNet's layout, or `store` holds something else.
    """
    opened, store = open_source(Path(source), settings), Path(store)
    said = {key: value for key, value in asdict(settings).items() if key != "workers" and value is not None}
    job = json.loads(json.dumps({"format": FORMAT, "listing": opened.digest, "settings": said}))  # as it is read back
    if store.exists():
        return _reopen(store, job)
    partial = store.with_name(store.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    writer = _Writer(partial, job)
    todo = [record for record, name in zip(opened.records, opened.names, strict=True) if name not in writer.done]
    if progress:
        progress(len(writer.done), len(opened.records))
    for number, decoded in enumerate(_decode_all(opened.decode, todo, settings), len(writer.done) + 1):
        writer.add(decoded, opened.ranks)
        if progress:
            progress(number, len(opened.records))
    return writer.finish(store, opened)


def _reopen(path: Path, job: dict[str, Any]) -> Store:
    if not (path / "store.json").exists():
        raise EchocycleError(f"{path} exists and is not a frame store. Choose another folder, or delete it.")
    store = Store(path)
    if store.meta["job"] != job:
        raise EchocycleError(
            f"{path} was prepared from another list or with other settings. Choose another folder, or delete it."
        )
    return store


# ------------------------------------------------------------------------------------------ decoding one video


def _decode_all(
    decode: Callable[[tuple[Any, PrepareSettings]], Decoded], records: list[Any], settings: PrepareSettings
) -> Iterator[Decoded]:
    """Decoded videos in list order."""
    workers = settings.workers if len(records) > 3 else 0
    return in_order(decode, ((record, settings) for record in records), workers)


def decode_findings(
    source: Source, settings: PrepareSettings, *, progress: Callable[[int, int], None] | None = None
) -> list[dict[str, Any]]:
    """What reading every video of a folder would report, without keeping a frame."""
    found: list[dict[str, Any]] = []
    for number, decoded in enumerate(_decode_all(source.decode, list(source.records), settings), 1):
        found += decoded.findings
        if progress:
            progress(number, len(source.records))
    return merge_findings(found)


def decode_echonet(job: tuple[Record, PrepareSettings]) -> Decoded:
    """Read, cut and measure one video. A damaged one is reported and left out."""
    from echocycle.data.video import read_video

    record, settings = job
    findings: list[dict[str, Any]] = []

    def note(level: str, kind: str, message: str) -> None:
        findings.append({"level": level, "kind": kind, "names": [record.name], "message": message})

    try:
        recording = read_video(
            record.path, color=settings.color, damaged="cut" if settings.damaged == "cut" else "raise"
        )
    except EchocycleError as error:
        note("error", "video-unreadable", f"{error} The video is left out.")
        return Decoded(None, {"name": record.name}, b"", tuple(findings))
    for text in recording.notes:
        note("note", "video-note", text)
    frames, affine, spacing = recording.frames, IDENTITY, recording.spacing_mm
    height, width = frames.shape[1:3]
    if (height, width) != (SIZE, SIZE):
        frames, affine, spacing = _cut(recording, settings, note)
    ed_frame = es_frame = -1
    traces = bytes(2 * TRACE_BYTES)
    pair = traced_pair(record, len(frames), height, width, echonet_settings(settings))
    if pair is not None:
        masks = _in_store_pixels(pair.masks, affine)
        findings += [_plain(finding) for finding in pair.notes]
        if masks.any(axis=(1, 2)).all():
            ed_frame, es_frame = pair.ed_frame, pair.es_frame
            traces = np.packbits(masks.reshape(2, -1), axis=1).tobytes()
        else:
            note("error", "empty-mask", "A tracing encloses no pixel of the stored frame; it is not used.")
    has_ef, traced = not math.isnan(record.ef), ed_frame >= 0
    row = {
        "name": record.name,
        "file": record.path.name,
        "patient": record.patient,
        "split": record.split,
        "annotation": {(1, 1): "traced", (1, 0): "ef", (0, 1): "tracing", (0, 0): "none"}[has_ef, traced],
        "fps": number_or_none(record.fps if not math.isnan(record.fps) else recording.fps),
        "frames": len(frames),
        "listed_frames": record.listed_frames,
        "ef": number_or_none(record.ef),
        "edv_ml": number_or_none(record.edv_ml),
        "esv_ml": number_or_none(record.esv_ml),
        "ed_frame": ed_frame,
        "es_frame": es_frame,
        "affine": " ".join(f"{value:.9g}" for value in affine),
        "spacing_row_mm": number_or_none(spacing[0]),
        "spacing_column_mm": number_or_none(spacing[1]),
        "sha256": sha256(record.path),
    }
    return Decoded(np.ascontiguousarray(frames), row, traces, tuple(findings))


def _cut(recording: Any, settings: PrepareSettings, note: Callable[[str, str, str], None]) -> Any:
    """Frames of another size: the sector is found, cut and resized."""
    from echocycle.data.sector import cut_sector

    cut = cut_sector(recording, size=SIZE)
    frames = cut.frames
    if settings.color:
        frames = np.repeat(frames[..., None], 3, axis=-1)
        note("note", "colour-lost", "The video had to be cut; it is kept in grey.")
    shape = "x".join(map(str, recording.frames.shape[1:3]))
    note("note", "resized", f"A video of {shape} pixels is cut to its sector and resized to {SIZE}x{SIZE}.")
    for text in cut.notes:
        note("note", "sector-note", text)
    return frames, tuple(np.asarray(cut.affine).reshape(-1).tolist()), cut.spacing_mm


def _in_store_pixels(masks: np.ndarray, affine: tuple[float, ...]) -> np.ndarray:
    """Masks in source pixels, seen at the centres of the store's pixels."""
    if affine == IDENTITY:
        return masks
    rows, columns = np.mgrid[:SIZE, :SIZE]
    a, b, c, d, e, f = affine
    column = np.rint(a * columns + b * rows + c).astype(int)
    row = np.rint(d * columns + e * rows + f).astype(int)
    inside = (row >= 0) & (row < masks.shape[1]) & (column >= 0) & (column < masks.shape[2])
    moved = np.zeros((len(masks), SIZE, SIZE), bool)
    moved[:, inside] = masks[:, row[inside], column[inside]]
    return moved


def number_or_none(value: float) -> float | None:
    """The value, or None where it is NaN or missing."""
    return None if value is None or math.isnan(value) else float(value)


def _plain(finding: Finding) -> dict[str, Any]:
    return {"level": finding.level, "kind": finding.kind, "names": list(finding.names), "message": finding.message}


# ------------------------------------------------------------------------------------------ writing the store


class _Writer:
    """Appends videos to a partial store; one line of journal.jsonl stands for one whole video."""

    def __init__(self, folder: Path, job: dict[str, Any]):
        self.folder, self.job = folder, job
        started = folder / "started.json"
        empty_unless_begun(folder, job)
        if not started.exists():
            write_json(started, job)
        self._journal = folder / "journal.jsonl"
        self._size("journal.jsonl")
        lines = self._journal.read_bytes().splitlines(keepends=True)
        self.color = bool(job["settings"]["color"])
        self.entries: list[dict[str, Any]] = []
        self.kept: list[dict[str, Any]] = []
        self.n_frames = 0
        sizes = {name: self._size(name) for name in ("frames.u8", "traces.bin")}
        whole = 0
        for line in lines:  # up to the first that is torn itself, or whose pixels are
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            frames = entry["row"].get("frames", 0)
            ends = self._ends(len(self.kept) + bool(frames), self.n_frames + frames)
            if any(sizes[name] < end for name, end in ends.items()):
                break
            whole += len(line)
            self.n_frames += frames
            self.entries.append(entry)
            if frames:
                self.kept.append(entry)
        self.done = {entry["row"]["name"] for entry in self.entries}
        for name, end in {**self._ends(len(self.kept), self.n_frames), "journal.jsonl": whole}.items():
            os.truncate(folder / name, end)

    def _size(self, name: str) -> int:
        (self.folder / name).touch()
        return (self.folder / name).stat().st_size

    def _ends(self, videos: int, frames: int) -> dict[str, int]:
        """Bytes of the two large files when they hold so many videos and frames."""
        return {"frames.u8": frames * SIZE * SIZE * (3 if self.color else 1), "traces.bin": videos * 2 * TRACE_BYTES}

    def add(self, decoded: Decoded, ranks: dict[str, int]) -> None:
        """Append one video: pixels and traces first, the journal's line last."""
        entry = {"row": decoded.row, "findings": list(decoded.findings)}
        if decoded.frames is not None:
            decoded.row["offset"] = self.n_frames
            decoded.row["authors_rank"] = ranks.get(decoded.row["name"], -1)
            for name, content in (("frames.u8", decoded.frames.data), ("traces.bin", decoded.traces)):
                with open(self.folder / name, "ab") as file:
                    file.write(content)
            self.n_frames += len(decoded.frames)
            self.kept.append(entry)
        self.entries.append(entry)
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry, allow_nan=False) + "\n")

    def finish(self, store: Path, source: Source) -> Store:
        """Write index, report and truth, and give the store its name."""
        if not self.kept:
            raise EchocycleError(
                f"None of the {len(self.entries)} videos of {source.root} could be read: "
                f"{self.entries[0]['findings'][0]['message'] if self.entries else 'the list is empty'}"
            )
        rows = [entry["row"] for entry in self.kept]
        text = io.StringIO()
        table = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
        table.writeheader()
        phantom = self._phantom(source.root)
        if phantom:
            for row in rows:
                with np.load(source.root / "Truth" / f"{row['name']}.npz") as truth:
                    row["spacing_row_mm"], row["spacing_column_mm"] = map(float, truth["spacing_mm"])
        table.writerows(rows)
        write_text(self.folder / "index.csv", text.getvalue())
        traces = np.fromfile(self.folder / "traces.bin", np.uint8).reshape(len(rows), 2, TRACE_BYTES)
        np.save(self.folder / "traces.npy", traces)
        findings = merge_findings(source.report["findings"], [f for e in self.entries for f in e["findings"]])
        write_json(self.folder / "report.json", {**source.report, "findings": findings})
        if phantom:
            self._write_truth(source.root, rows)
        # started.json first: without it a killed `prepare` begins anew and trusts none of the others
        for name in ("started.json", "journal.jsonl", "traces.bin"):
            (self.folder / name).unlink()
        write_json(
            self.folder / "store.json",
            {
                "format": FORMAT,
                "id": hashlib.sha256(f"{text.getvalue()}{self.job['settings']}".encode()).hexdigest()[:12],
                "source": source.root.resolve().name,
                "release": source.release,
                "phantom_version": phantom,
                "size": SIZE,
                "color": self.color,
                "videos": len(rows),
                "frames": self.n_frames,
                "job": self.job,
            },
        )
        os.replace(self.folder, store)
        return Store(store)

    @staticmethod
    def _phantom(root: Path) -> int | None:
        """The phantom's version, if the folder is one."""
        if not (root / "phantom.json").exists():
            return None
        version: int = read_json(root / "phantom.json")["phantom_version"]
        return version

    def _write_truth(self, root: Path, rows: list[dict[str, Any]]) -> None:
        """The phantom's own masks of every frame, as mask set `truth`."""
        if (self.folder / "masks" / "truth").exists():  # whole, and from before a kill
            return
        writer = MaskWriter(self.folder / "masks" / "truth", len(rows), {"size": SIZE, "source": "phantom"})
        for video, row in enumerate(rows):
            if writer.is_done(video):
                continue
            with np.load(root / "Truth" / f"{row['name']}.npz") as truth:
                shape = tuple(truth["masks_shape"])
                masks = np.unpackbits(truth["masks"], axis=1, count=shape[1] * shape[2]).reshape(shape)
            writer.add(video, masks * np.uint8(255))
        writer.finish()


def merge_findings(*groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings with equal level, kind and message put together; equal kinds of single videos too."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for finding in (f for group in groups for f in group):
        key = (finding["level"], finding["kind"])
        if key in merged:
            names = merged[key]["names"]
            names += [name for name in finding["names"] if name not in names]
        else:
            merged[key] = {**finding, "names": list(finding["names"])}
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(merged.values(), key=lambda f: (order[f["level"]], f["kind"]))


def finding_line(finding: dict[str, Any]) -> str:
    """A finding of report.json as one line of text."""
    return finding_text(Finding(finding["level"], finding["kind"], tuple(finding["names"]), finding["message"]))
