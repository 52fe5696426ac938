"""Stage `prepare`: read a folder of videos once, write the frame store.

Videos are decoded by worker processes and appended in list order. Each whole video leaves a line in a journal, so
a killed `prepare` goes on behind the last one. The folder gets its name only when everything is in it.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.data.mask_set import MaskWriter
from echocycle.data.store import COLUMNS, FORMAT, SIZE, Store
from echocycle.datasets.findings import finding_of, merge_findings, plain_finding
from echocycle.datasets.open import open_source
from echocycle.datasets.source import TRACE_BYTES, Decoded, Source
from echocycle.errors import EchocycleError
from echocycle.files import empty_unless_begun, read_json, write_json, write_text
from echocycle.settings.stages import PrepareSettings
from echocycle.workers import in_order


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
    opened.check_may_be_prepared()
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
        row: dict[str, Any] = {"name": decoded.name} if decoded.row is None else asdict(decoded.row)
        entry = {"row": row, "findings": [plain_finding(finding) for finding in decoded.findings]}
        if decoded.frames is not None:
            row["offset"] = self.n_frames
            row["authors_rank"] = ranks.get(decoded.name, -1)
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
        findings = merge_findings(source.findings, [finding_of(f) for e in self.entries for f in e["findings"]])
        report = {**source.report, "findings": [plain_finding(finding) for finding in findings]}
        write_json(self.folder / "report.json", report)
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
