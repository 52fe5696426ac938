"""Keeps labels/labels.csv and labels/contours/ like the journal, a few seconds behind it; measures what was traced."""

import threading
from collections.abc import Callable

from echocycle.errors import refusal
from echocycle.labelling.desk import Desk
from echocycle.labelling.exports import write_plain

EVERY = 3.0
"""Seconds between two looks at the journal."""
PAUSE = 0.001
"""Seconds between two measurements at the start, in which requests are answered."""


class Keeper:
    """A thread that writes what has changed."""

    def __init__(self, desk: Desk, tell: Callable[[str], None]) -> None:
        """`tell` is given a sentence where the files cannot be written; the journal holds everything all the same."""
        self._desk, self._tell = desk, tell
        self._written: dict[str, int] = {}
        self._of = -1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._ended.set()
        self._thread.join(10)
        self._keep()

    def _work(self) -> None:
        for video in list(self._desk.labels.videos):  # so that the first list in order of EF need not wait for all
            if self._ended.is_set():
                return
            if video in self._desk.project.videos:
                self._desk.ef_by_discs(video)
                self._ended.wait(PAUSE)
        while not self._ended.wait(EVERY):
            self._keep()

    def _keep(self) -> None:
        last = self._desk.journal.last
        if last == self._of or (not last and self._of < 0):
            return
        try:
            write_plain(self._desk, self._written)
            self._of = last
        except OSError as error:
            self._tell(f"{refusal(error)} Labels are safe in the journal.")
            self._of = last
