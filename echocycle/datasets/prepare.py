"""Stage `prepare`: read a folder of videos once, write the frame store.

Videos are decoded by worker processes and appended in list order. Each whole video leaves a line in a journal, so
a killed `prepare` goes on behind the last one. The folder gets its name only when everything is in it.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.details import write_details
from echocycle.data.store import CHECKSUMS, COLUMNS, FORMAT, SIZE, Store, checksums, frame_bytes, store_id
from echocycle.datasets.concealed import Names, names_for
from echocycle.datasets.findings import finding_of, merge_findings, plain_finding
from echocycle.datasets.open import open_source
from echocycle.datasets.phantom_truth import phantom_version, true_spacing, what_is_drawn, write_truth
from echocycle.datasets.source import TRACE_BYTES, Decoded, Source
from echocycle.errors import EchocycleError
from echocycle.files import write_json, write_text
from echocycle.locks import alone_in
from echocycle.partial import Journal, PartialFolder, append, as_json, cut, file_size
from echocycle.settings.convert import identity
from echocycle.settings.stages import PrepareSettings
from echocycle.workers import in_order


def prepare_store(
    source: Path,
    store: Path,
    settings: PrepareSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write the frame store of a folder, or resume it.

    Args:
        source: folder in the layout of EchoNet-Dynamic (FileList.csv, VolumeTracings.csv, Videos/) or of CAMUS.
        store: folder to write; it exists only when it is whole. A finished one is opened, not written again.
        progress: called with (videos done, videos in all).

    Raises:
        EchocycleError: the folder is not in EchoNet's layout, or `store` holds something else.
    """
    opened, store = open_source(Path(source), settings), Path(store)
    opened.check_may_be_prepared()
    said = {key: value for key, value in identity(settings).items() if value is not None}
    called = names_for(settings, store)
    job = {"format": FORMAT, "listing": opened.digest, "settings": said, **called.mark}
    if store.exists():
        return _reopen(store, job)
    with alone_in(store):
        if store.exists():  # who was first has finished it just now
            return _reopen(store, job)
        return _write(opened, store, job, settings, called, progress)


def _write(
    source: Source,
    store: Path,
    job: dict[str, Any],
    settings: PrepareSettings,
    called: Names,
    progress: Callable[[int, int], None] | None,
) -> Store:
    writer = _Writer(store, job, settings, called)
    if writer.whole:
        return writer.close()
    todo = [record for record, name in zip(source.records, source.names, strict=True) if name not in writer.done]
    if progress:
        progress(len(writer.done), len(source.records))
    for number, decoded in enumerate(_decode_all(source.decode, todo, settings), len(writer.done) + 1):
        writer.add(decoded, source.ranks)
        if progress:
            progress(number, len(source.records))
    return writer.finish(source)


def _reopen(path: Path, job: dict[str, Any]) -> Store:
    if not (path / "store.json").exists():
        raise EchocycleError(f"{path} exists and is not a frame store. Choose another folder, or delete it.")
    store = Store(path)
    if store.meta["job"] != as_json(job):
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


# ------------------------------------------------------------------------------------------ writing the store


class _Writer:
    """Appends videos to a partial store; one line of journal.jsonl stands for one whole video."""

    def __init__(self, store: Path, job: dict[str, Any], settings: PrepareSettings, called: Names):
        self.settings, self.called = settings, called
        self._made = PartialFolder(store, job, seal="store.json", private=("traces.bin", "journal.jsonl"))
        self.folder, self.job = self._made.path, self._made.job
        self.whole = not self._made.begin(check=Store)
        """Whether a kill left nothing to do but `close`."""
        self.color = bool(self.job["settings"]["color"])
        self.entries: list[dict[str, Any]] = []
        self.kept: list[dict[str, Any]] = []
        self.n_frames = 0
        if self.whole:
            return
        self._journal: Journal[dict[str, Any]] = Journal(self.folder / "journal.jsonl")
        sizes = {name: file_size(self.folder / name) for name in self._ends()}

        def is_whole(entry: dict[str, Any]) -> bool:
            self._count(entry)
            return all(sizes[name] >= end for name, end in self._ends().items())

        entries = self._journal.read(is_whole)
        self.entries, self.kept, self.n_frames = [], [], 0
        for entry in entries:
            self._count(entry)
        self.done = {entry["row"]["name"] for entry in self.entries}
        for name, end in self._ends().items():
            cut(self.folder / name, end)

    def _count(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)
        if frames := entry["row"].get("frames", 0):
            self.kept.append(entry)
            self.n_frames += frames

    def _ends(self) -> dict[str, int]:
        """Bytes of the two large files as they hold the videos so far."""
        return {
            "frames.u8": frame_bytes(self.n_frames, self.color),
            "traces.bin": len(self.kept) * 2 * TRACE_BYTES,
        }

    def add(self, decoded: Decoded, ranks: dict[str, int]) -> None:
        """Append one video: pixels and traces first, the journal's line last."""
        row: dict[str, Any] = {"name": decoded.name} if decoded.row is None else asdict(decoded.row)
        if "patient" in row:
            row["patient"] = self.called.patient(row["patient"], row["name"])
        if decoded.frames is not None:
            row["offset"] = self.n_frames
            row["authors_rank"] = ranks.get(decoded.name, -1)
            append(self.folder / "frames.u8", decoded.frames.data)
            append(self.folder / "traces.bin", decoded.traces)
        entry = {"row": row, "findings": [plain_finding(finding) for finding in decoded.findings]}
        self._journal.add(entry)
        self._count(entry)

    def finish(self, source: Source) -> Store:
        """Write index, report and truth, and give the store its name."""
        if not self.kept:
            raise EchocycleError(
                f"None of the {len(self.entries)} videos of {source.root} could be read: "
                f"{self.entries[0]['findings'][0]['message'] if self.entries else 'the list is empty'}"
            )
        rows = [entry["row"] for entry in self.kept]
        self._check(rows)
        if not self.settings.allow_mixed:
            source.refuse_mixture((e["row"]["name"], map(finding_of, e["findings"])) for e in self.kept)
        text = io.StringIO()
        table = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
        table.writeheader()
        phantom = phantom_version(source.root)
        if phantom:
            for row in rows:
                row["spacing_row_mm"], row["spacing_column_mm"] = true_spacing(source.root, row["name"])
        table.writerows(rows)
        write_text(self.folder / "index.csv", text.getvalue())
        traces = np.fromfile(self.folder / "traces.bin", np.uint8).reshape(len(rows), 2, TRACE_BYTES)
        np.save(self.folder / "traces.npy", traces)
        findings = merge_findings(
            self.called.findings(source.findings), [finding_of(f) for e in self.entries for f in e["findings"]]
        )
        report = {**source.report, "findings": [plain_finding(finding) for finding in findings]}
        write_json(self.folder / "report.json", report)
        known = what_is_drawn(source.root) if phantom else source.details
        write_details(self.folder, [row["name"] for row in rows], known)
        if phantom and self.job["settings"].get("time", "frames") == "frames":  # the true masks are of every frame
            write_truth(self.folder, source.root, [row["name"] for row in rows])
        write_json(self.folder / CHECKSUMS, checksums(self.folder))
        self._made.seal(
            {
                "format": FORMAT,
                "id": store_id(text.getvalue(), self.job["settings"]),
                "source": source.root.resolve().name,
                "release": source.release,
                "phantom_version": phantom,
                "size": SIZE,
                "color": self.color,
                "videos": len(rows),
                "frames": self.n_frames,
                "job": self.job,
            }
        )
        Store(self.folder)  # refuses what does not belong together, before it has the name of a store
        return self.close()

    def close(self) -> Store:
        """Give the store its name."""
        self._made.close()
        return Store(self._made.folder)

    def _check(self, rows: list[dict[str, Any]]) -> None:
        """Nobody else wrote into it: sizes are as counted, every video is there once."""
        names = [row["name"] for row in rows]
        wrong = [name for name, end in self._ends().items() if file_size(self.folder / name) != end]
        wrong += [] if len(set(names)) == len(names) else ["journal.jsonl"]
        if wrong:
            raise EchocycleError(
                f"{self.folder / wrong[0]} holds what this process did not write: two processes were at work on "
                f"it. Delete {self.folder} and prepare again."
            )
