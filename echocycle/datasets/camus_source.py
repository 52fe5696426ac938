"""CAMUS as a source of `prepare`: each patient's half sequence, or the two stills where there is none.

A patient becomes one video that runs from ED to ES, squeezed to the store's size as in the paper. The experts'
masks of ED and ES are its tracing.
"""

import hashlib
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.store import SIZE
from echocycle.datasets.camus import read_camus
from echocycle.datasets.camus_images import load_sequence, load_still, padding_for, to_network_size
from echocycle.datasets.camus_protocol import acceptance, paper_selection
from echocycle.datasets.camus_records import CamusFolder, CamusRecord, CamusSettings, Resize
from echocycle.datasets.findings import Finding, finding_text
from echocycle.datasets.source import Decoded, Listed, Row, Source, affine_text, annotation_of, number_or_none
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.settings.stages import PrepareSettings

DEFAULT_SPLIT = "train"  # of patients that no split file names


def camus_source(root: Path, settings: PrepareSettings) -> Source:
    """A CAMUS folder of either release (four-chamber view) as a source."""
    if settings.color:
        raise EchocycleError(f"{root} is CAMUS, whose pictures are grey; leave `color` out.")
    folder = read_camus(root, CamusSettings(ef_unit=settings.ef_unit))
    names = tuple(_name(record) for record in folder.records)
    listing = hashlib.sha256()
    for r in folder.records:
        files = sorted((kind, path.name) for kind, path in r.files.items())
        listing.update(f"{r.patient},{r.split},{r.ef},{r.edv_ml},{r.esv_ml},{r.fps},{files}\n".encode())
    report = _report(folder)
    training = [name for name, record in zip(names, folder.records, strict=True) if _split(record) == "train"]
    return Source(
        root=folder.root,
        release=f"camus-{folder.release}",
        records=folder.records,
        names=names,
        decode=decode_camus,
        digest=listing.hexdigest(),
        ranks={name: rank for rank, name in enumerate(training)},
        report=report,
        findings=folder.findings,
        listed=tuple(map(_listed, folder.records)),
        page=_page(report, folder.findings),
        details=_details(folder),
    )


def decode_camus(job: tuple[CamusRecord, PrepareSettings]) -> Decoded:
    """Read and squeeze one patient. One that cannot be read is reported and left out."""
    record, settings = job
    name = _name(record)
    try:
        frames, masks, spacing, fps, notes, shape = _pictures(record, settings.camus_resize)
    except Exception as error:  # one bad file never ends a batch
        words = str(error) if isinstance(error, EchocycleError) else f"{name} fails in an unexpected way ({error!r})."
        finding = Finding("error", "picture-unreadable", (name,), f"{words} The patient is left out.")
        return Decoded(name, None, None, b"", (finding,))
    findings = [replace(note, names=(name,)) for note in notes]
    traced = masks is not None and bool(masks.any(axis=(1, 2)).all())
    ed, es = (0, len(frames) - 1) if traced else (-1, -1)
    has_ef = not math.isnan(record.ef)
    traces = bytes(2 * SIZE * SIZE // 8)
    if masks is not None and traced:
        traces = np.packbits(masks.reshape(2, -1), axis=1).tobytes()
    (above, below), (left, right) = padding_for(shape, record.spacing_mm, settings.camus_resize)
    tall, wide = (above + shape[0] + below) / SIZE, (left + shape[1] + right) / SIZE
    affine = (wide, 0.0, (wide - 1) / 2 - left, 0.0, tall, (tall - 1) / 2 - above)
    first = next(iter(record.files.values()))
    row = Row(
        name=name,
        file=first.name,
        patient=name,
        split=_split(record),
        annotation=annotation_of(has_ef, traced),
        fps=number_or_none(fps),
        frames=len(frames),
        listed_frames=record.listed_frames or len(frames),
        ef=number_or_none(record.ef),
        edv_ml=number_or_none(record.edv_ml),
        esv_ml=number_or_none(record.esv_ml),
        ed_frame=ed,
        es_frame=es,
        affine=affine_text(affine),
        spacing_row_mm=number_or_none(spacing[0]),
        spacing_column_mm=number_or_none(spacing[1]),
        sha256=sha256(first),
    )
    return Decoded(name, np.ascontiguousarray(frames), row, traces, tuple(findings))


def _pictures(record: CamusRecord, how: Resize) -> Any:
    """Frames from ED to ES and both masks, at the store's size; pixel size, rate, notes, and the size before."""
    stills = {phase: load_still(record, phase) for phase in ("ED", "ES") if phase in record.files}  # type: ignore[arg-type]
    notes: list[Finding] = [note for still in stills.values() for note in still.notes]
    masks = None
    if len(stills) == 2 and all(still.mask is not None for still in stills.values()):
        masks = np.stack([to_network_size(s.frame, s.mask, s.spacing_mm, SIZE, how).mask for s in stills.values()])  # type: ignore[misc]
    if "sequence" in record.files:
        sequence = load_sequence(record)
        beat = slice(sequence.ed_frame, sequence.es_frame + 1)
        resized = to_network_size(sequence.frames[beat], None, sequence.spacing_mm, SIZE, how)
        notes += sequence.notes
        return resized.image, masks, resized.spacing_mm, sequence.fps, notes, sequence.frames.shape[1:]
    if len(stills) < 2:
        raise EchocycleError(f"{record.patient} has neither a sequence nor stills of both ED and ES.")
    resized_stills = [to_network_size(s.frame, None, s.spacing_mm, SIZE, how) for s in stills.values()]
    frames = np.stack([still.image for still in resized_stills])
    return frames, masks, resized_stills[0].spacing_mm, record.fps, notes, stills["ED"].frame.shape


def _listed(record: CamusRecord) -> Listed:
    traced = {"ED", "ED_gt", "ES", "ES_gt"} <= record.files.keys()
    return Listed(_name(record), _split(record), not math.isnan(record.ef), traced, record.listed_frames)


def _name(record: CamusRecord) -> str:
    return record.patient.replace("/", "-")


def _split(record: CamusRecord) -> str:
    return record.split or DEFAULT_SPLIT


def _details(folder: CamusFolder) -> dict[str, dict[str, str]]:
    """Image quality, and whether the paper tests on the patient."""
    chosen = {record.patient for record in paper_selection(folder)}
    return {
        _name(record): {"quality": record.quality or "", "paper": "1" if record.patient in chosen else "0"}
        for record in folder.records
    }


def _agreement(found: dict[str, Any]) -> str:
    """Whether the folder holds the paper's patients, in one line."""
    if found["agrees"]:
        return "the paper's 450 patients: all there, with their image quality and mean EF"
    parts = [
        f"{part} {_said(found['found'][part])} instead of {found['expected'][part]:g}" for part in found["differs"]
    ]
    return f"the paper's 450 patients: differ ({', '.join(parts)})"


def _said(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """With None for what is not known, which JSON has no number for."""
    values = {part: None if math.isnan(value) else value for part, value in found["found"].items()}
    return {**found, "found": values}


def _page(report: dict[str, Any], found: tuple[Finding, ...]) -> str:
    """The data report for a terminal: counts, then the findings, the worst first."""
    splits = ", ".join(f"{count['videos']} {split}" for split, count in report["splits"].items())
    quality = ", ".join(f"{count} {name}" for name, count in report["quality"].items())
    findings = [f"{finding.level} {finding.kind}: {finding_text(finding)}" for finding in found]
    title = f"{report['root']}: {report['videos']} patients ({report['release']})"
    agrees = _agreement(report["paper"])
    return "\n".join(
        [title, f"splits: {splits}", f"quality: {quality}", agrees, *(findings or ["Nothing odd was found."])]
    )


def _report(folder: CamusFolder) -> dict[str, Any]:
    """The data report as plain values for JSON."""
    splits = Counter(_split(record) for record in folder.records)
    return {
        "root": str(folder.root),
        "release": f"camus-{folder.release}",
        "videos": len(folder.records),
        "splits": {split: {"videos": splits[split]} for split in ("train", "val", "test")},
        "quality": Counter(record.quality or "not listed" for record in folder.records),
        "paper": _plain(acceptance(folder)),
    }
