"""The journal of a project: every action as one line of JSON, on disk before anybody is told that it is done.

`labels/journal.jsonl` is append-only. A line that a kill left unfinished is the last one and has no end; it was never
answered, and is cut off when the journal is opened for writing. Everything else that labels are, is read from here.
"""

import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError

Entry = dict[str, Any]

NAME = "journal.jsonl"
FORMAT = 1


class Journal:
    """The journal of one project, open for writing. One process at a time: the caller holds the lock of the folder."""

    def __init__(self, path: Path) -> None:
        """Open or begin a journal.

        Raises `EchocycleError` for a line that is damaged and is not the last.
        """
        self.path = Path(path)
        self.entries: list[Entry] = []
        """All of them, in order; `n` counts from 1."""
        self._lock = threading.Lock()
        self._done: dict[tuple[str, int], Entry] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        for entry, end in _entries(self.path):
            self._note(entry)
            whole = end
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        self.cut = os.fstat(self._file).st_size - whole
        """Bytes of an unfinished line that were cut off."""
        if self.cut:
            os.ftruncate(self._file, whole)
        os.fsync(self._file)
        _sync_folder(self.path.parent)
        self._size = os.lseek(self._file, 0, os.SEEK_END)

    @property
    def last(self) -> int:
        """Number of the last entry, 0 where there is none."""
        return len(self.entries)

    def append(self, client: str, seq: int, action: Entry) -> tuple[Entry, bool]:
        """Write an action and return its entry, and whether it is new: a repeated (client, seq) is not done twice.

        It is on disk when this returns.

        Raises:
            OSError: it could not be written; the journal is as before.
        """
        with self._lock:
            before = self._done.get((client, seq))
            if before is not None:
                return before, False
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            entry = {"n": self.last + 1, "at": at, "client": client, "seq": seq, **action}
            self._write((json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode())
            self._note(entry)
            return entry, True

    def after(self, n: int) -> list[Entry]:
        """Entries with a higher number."""
        return self.entries[max(n, 0) :]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError:
            # a full disk may have taken half a line, which would spoil the next one
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += len(line)

    def _note(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._done[entry["client"], entry["seq"]] = entry


def read_journal(path: Path) -> list[Entry]:
    """The entries of a journal, which another process may be writing; nothing is changed."""
    return [entry for entry, _ in _entries(Path(path))]


def _entries(path: Path) -> Iterator[tuple[Entry, int]]:
    """Each entry and the byte after it. An unfinished last line is passed over."""
    if not path.exists():
        return
    content = path.read_bytes()
    start = 0
    for number, line in enumerate(content.split(b"\n"), 1):
        end = start + len(line) + 1
        if end > len(content):  # no line end: unfinished, or nothing at all
            return
        entry = _entry(line, number)
        if entry is None:
            raise EchocycleError(
                f"{path}, line {number} is damaged. Keep a copy of the file, then delete that line; the others hold."
            )
        yield entry, end
        start = end


def _entry(line: bytes, number: int) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kinds = {"n": int, "at": str, "client": str, "seq": int, "action": str}
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in kinds.items()):
        return None
    return entry


def _sync_folder(folder: Path) -> None:
    """Bring a new file's name to disk, where the system lets folders be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)
