"""A folder in EchoNet-Dynamic's layout as a `Source`."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.datasets.echonet import authors_order, read_echonet
from echocycle.datasets.echonet_report import render_report, report_dict
from echocycle.datasets.echonet_tracings import traced_pair
from echocycle.datasets.findings import Finding, Level
from echocycle.datasets.records import EchonetSettings, Record
from echocycle.datasets.source import (
    IDENTITY,
    TRACE_BYTES,
    Decoded,
    Row,
    Source,
    affine_text,
    annotation_of,
    number_or_none,
)
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.settings.stages import PrepareSettings


def echonet_source(root: Path, settings: PrepareSettings) -> Source:
    """A folder in EchoNet-Dynamic's layout as a source."""
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
        report=report_dict(folder),
        findings=folder.findings,
        page=render_report(folder),
    )


def echonet_settings(settings: PrepareSettings) -> EchonetSettings:
    """The reader's part of the settings."""
    return EchonetSettings(
        settings.multi_trace,
        settings.round_vertices,
        settings.ed_es_naming,
        assign_splits=settings.assign_splits,
        split_seed=settings.split_seed or 0,
        split_by=settings.split_by or "balance",
        ef_unit=settings.ef_unit,
    )


def decode_echonet(job: tuple[Record, PrepareSettings]) -> Decoded:
    """Read, cut and measure one video. A damaged one is reported and left out."""
    from echocycle.recordings.recording import read_recording

    record, settings = job
    findings: list[Finding] = []

    def note(level: Level, kind: str, message: str) -> None:
        findings.append(Finding(level, kind, (record.name,), message))

    try:
        recording = read_recording(
            record.path, color=settings.color, damaged="cut" if settings.damaged == "cut" else "raise"
        )
    except EchocycleError as error:
        note("error", "video-unreadable", f"{error} The video is left out.")
        return Decoded(record.name, None, None, b"", tuple(findings))
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
        findings += pair.notes
        if masks.any(axis=(1, 2)).all():
            ed_frame, es_frame = pair.ed_frame, pair.es_frame
            traces = np.packbits(masks.reshape(2, -1), axis=1).tobytes()
        else:
            note("error", "empty-mask", "A tracing encloses no pixel of the stored frame; it is not used.")
    has_ef, traced = not math.isnan(record.ef), ed_frame >= 0
    row = Row(
        name=record.name,
        file=record.path.name,
        patient=record.patient,
        split=record.split,
        annotation=annotation_of(has_ef, traced),
        fps=number_or_none(record.fps if not math.isnan(record.fps) else recording.fps),
        frames=len(frames),
        listed_frames=record.listed_frames,
        ef=number_or_none(record.ef),
        edv_ml=number_or_none(record.edv_ml),
        esv_ml=number_or_none(record.esv_ml),
        ed_frame=ed_frame,
        es_frame=es_frame,
        affine=affine_text(affine),
        spacing_row_mm=number_or_none(spacing[0]),
        spacing_column_mm=number_or_none(spacing[1]),
        sha256=sha256(record.path),
    )
    return Decoded(record.name, np.ascontiguousarray(frames), row, traces, tuple(findings))


def _cut(recording: Any, settings: PrepareSettings, note: Callable[[Level, str, str], None]) -> Any:
    """Frames of another size: the sector is found, cut and resized."""
    from echocycle.recordings.sector import cut_sector

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
