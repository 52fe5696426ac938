"""Folders of listed videos as a `Source`: EchoNet-Dynamic's layout, and recordings of one's own."""

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

from echocycle.datasets.decode import decode_video, reader_settings
from echocycle.datasets.echonet import authors_order, read_echonet
from echocycle.datasets.echonet_report import render_report, report_dict
from echocycle.datasets.records import EchonetFolder, Record
from echocycle.datasets.source import Listed, Source
from echocycle.datasets.videos import read_videos
from echocycle.settings.stages import PrepareSettings


def echonet_source(root: Path, settings: PrepareSettings) -> Source:
    """A folder in EchoNet-Dynamic's layout as a source."""
    return source_of(read_echonet(root, reader_settings(settings)))


def videos_source(root: Path, settings: PrepareSettings) -> Source:
    """A folder of recordings as a source."""
    return source_of(read_videos(root, reader_settings(settings)))


def source_of(folder: EchonetFolder) -> Source:
    """The videos of a read folder as a source."""
    return Source(
        root=folder.root,
        release=folder.release,
        records=folder.records,
        names=tuple(record.name for record in folder.records),
        decode=decode_video,
        digest=_digest(folder.records),
        ranks={name: rank for rank, name in enumerate(authors_order(folder.records))},
        report=report_dict(folder),
        findings=folder.findings,
        listed=tuple(
            Listed(r.name, r.split, not math.isnan(r.ef), r.is_traced, r.listed_frames) for r in folder.records
        ),
        page=render_report(folder),
    )


def _digest(records: Iterable[Record]) -> str:
    """Hash of everything that is listed. What only the layout `videos` lists is added where there is any, so that
    stores of EchoNet-Dynamic's layout keep theirs."""
    listing = hashlib.sha256()
    for r in records:
        listing.update(f"{r.name},{r.patient},{r.split},{r.ef},{r.edv_ml},{r.esv_ml},{r.fps}\n".encode())
        for tracing in r.tracings:
            listing.update(f"{tracing.frame},{len(tracing.chords)}\n".encode() + tracing.chords.tobytes())
        if r.file or r.contours or r.ed_frame >= 0 or r.es_frame >= 0:
            contours = [(phase, path.name, path.stat().st_size) for phase, path in r.contours]
            listing.update(f"{r.file!a},{r.ed_frame},{r.es_frame},{contours!a}\n".encode())
    return listing.hexdigest()
