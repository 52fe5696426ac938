"""One listed video as it goes into the store: read, cut, traced, measured, and compared with its list."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.datasets.agreement import (
    check_orientation,
    compare_with_label,
    compare_with_list,
    compare_with_picture,
)
from echocycle.datasets.contours.read import contour_pair
from echocycle.datasets.echonet_tracings import traced_pair
from echocycle.datasets.findings import Finding, Level
from echocycle.datasets.records import EchonetSettings, Record
from echocycle.datasets.source import IDENTITY, TRACE_BYTES, Decoded, Row, affine_text, annotation_of, number_or_none
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.recordings.archive import opened
from echocycle.recordings.video import Recording
from echocycle.settings.stages import PrepareSettings


def reader_settings(settings: PrepareSettings) -> EchonetSettings:
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


def decode_video(job: tuple[Record, PrepareSettings]) -> Decoded:
    """Read, cut and measure one video. A damaged one is reported and left out, whatever is wrong with it."""
    record, settings = job
    try:
        with opened(record.path) as file:
            return _decode(record, file, settings)
    except Exception as error:  # one bad file never ends a batch
        known = isinstance(error, EchocycleError)
        words = str(error) if known else f"{record.path} fails in an unexpected way ({error!r})."
        finding = Finding("error", "video-unreadable", (record.name,), f"{words} The video is left out.")
        return Decoded(record.name, None, None, b"", (finding,))


def _decode(record: Record, file: Path, settings: PrepareSettings) -> Decoded:
    from echocycle.recordings.recording import read_recording

    findings: list[Finding] = []

    def note(level: Level, kind: str, message: str) -> None:
        findings.append(Finding(level, kind, (record.name,), message))

    recording = read_recording(file, color=settings.color, damaged="cut" if settings.damaged == "cut" else "raise")
    for text in recording.notes:
        note("note", "video-note", text)
    compare_with_list(record, recording, note)
    height, width = recording.frames.shape[1:3]
    frames, affine, spacing, sector, was_turned = _cut(recording, settings, note)
    if not was_turned:
        check_orientation(recording.frames, note)  # as it came: a cut looks for a sector that points up
    ed_frame = es_frame = -1
    traces = bytes(2 * TRACE_BYTES)
    stored = recording.stored_frames  # frame numbers in lists are those of the file, not of an even grid
    count = len(frames) if stored is None else int(stored.max()) + 1
    pair = traced_pair(record, count, height, width, reader_settings(settings))
    if record.contours:
        from_files = contour_pair(record, count, height, width)
        if isinstance(from_files, Finding):
            findings.append(from_files)
        else:
            pair = from_files
    if pair is not None:
        masks = _in_store_pixels(pair.masks, affine)
        findings += pair.notes
        compare_with_picture(recording.frames, pair.masks, sector, note)
        if masks.any(axis=(1, 2)).all():
            ed_frame, es_frame = (_place(frame, stored) for frame in (pair.ed_frame, pair.es_frame))
            traces = np.packbits(masks.reshape(2, -1), axis=1).tobytes()
            compare_with_label(pair.masks, record.ef, recording.spacing_mm, note)
        else:
            note("error", "empty-mask", "A tracing encloses no pixel of the stored frame; it is not used.")
    row = Row(
        name=record.name,
        file=record.file or record.path.name,
        patient=record.patient,
        split=record.split,
        annotation=annotation_of(not math.isnan(record.ef), ed_frame >= 0),
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
        sha256=sha256(file),
    )
    return Decoded(record.name, np.ascontiguousarray(frames), row, traces, tuple(findings))


def _place(frame: int, stored: np.ndarray | None) -> int:
    """Where the frame of a file is on the even grid that its frames were put on."""
    return frame if stored is None else int(np.abs(stored - frame).argmin())


def _cut(recording: Recording, settings: PrepareSettings, note: Callable[[Level, str, str], None]) -> Any:
    """What `predict` sees of a recording: the sector cut out and resized, or a picture of the store's size as it is,
    turned where its probe is surely not at the top; affine, spacing, sector, and whether it was turned."""
    from echocycle.recordings.sector import cut_sector

    cut = cut_sector(recording, size=SIZE)
    affine = tuple(np.asarray(cut.affine).reshape(-1).tolist())
    more = cut.notes[len(recording.notes) :]
    for text in more:
        note("note", "sector-note", text)
    if cut.sector is None:
        kept = cut.colours if settings.color else cut.frames
        return kept, affine, cut.spacing_mm, None, affine != IDENTITY
    frames = cut.frames
    if settings.color:
        frames = np.repeat(frames[..., None], 3, axis=-1)
        note("note", "colour-lost", "The video had to be cut; it is kept in grey.")
    shape = "x".join(map(str, recording.frames.shape[1:3]))
    note("note", "resized", f"A video of {shape} pixels is cut to its sector and resized to {SIZE}x{SIZE}.")
    sector = cut.sector.mask if cut.sector.has_edges else None
    return frames, affine, cut.spacing_mm, sector, False


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
