"""One writer at a time: a lock beside every output folder, whoever writes into it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from echocycle.errors import EchocycleError

SAID = "{folder} is being written by {writer}; wait until it is done, or stop it."
PATIENCE = 1.0
"""Seconds in which a process that was just killed, or the children of one, can let go of a folder."""


@contextmanager
def alone_in(folder: Path, said: str = SAID) -> Iterator[None]:
    """No other process may write into this folder meanwhile.

    The system gives the lock back when its process ends, however that comes, so none has to be removed by hand. The
    lock lies beside the folder, which stays what it is, and is gone when the block ends.

    Args:
        folder: it need not exist.
        said: the sentence for who comes second; `{folder}` and `{writer}` are filled in.

    Raises:
        EchocycleError: another process is at it.
    """
    folder = Path(folder).resolve()
    path = lock_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise EchocycleError(said.format(folder=folder, writer=_writer(path))) from None
    with _released(lock, path):
        if not isinstance(lock, SoftFileLock):  # one where the system has no locks keeps its own words in the file
            with suppress(OSError):  # the lock holds without them
                path.write_text(json.dumps(_own_words()), encoding="utf-8")
        yield


@contextmanager
def _released(lock: BaseFileLock, path: Path) -> Iterator[None]:
    """Let go of a lock in the end, and of its file."""
    try:
        yield
    finally:
        try:
            if not isinstance(lock, SoftFileLock):
                # while it is still held: who opened this file before sees that it has no name any more, and begins anew
                with suppress(OSError):
                    path.unlink()
        finally:
            lock.release()


def lock_file(folder: Path) -> Path:
    """Where a folder's lock lies: beside it; inside where nothing may be written beside it, as in a container."""
    if folder.is_dir() and (not folder.name or not os.access(folder.parent, os.W_OK)):
        return folder / ".lock"
    return folder.with_name(f".{folder.name}.lock")


def _own_words() -> dict[str, str | int]:
    return {"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}


def _writer(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        return f"process {words['process']} on {words['host']} since {words['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # it was let go this moment, or says nothing yet
        return "another process"
