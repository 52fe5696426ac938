"""What keeps a killed evaluation's rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from echocycle.console import console
from echocycle.partial import Journal, as_json
from echocycle.progress import track


class RowJournal:
    """Rows of the videos that are done, one JSON line each, so a killed evaluation goes on."""

    def __init__(self, path: Path, job: dict[str, Any]):
        self.path = path
        self._journal: Journal[dict[str, Any]] = Journal(path)
        entries = self._journal.read(lambda entry: isinstance(entry, dict))
        ours = entries[:1] == [as_json(job)] and all({"video", "rows"} <= set(entry) for entry in entries[1:])
        if not ours:
            if entries:
                words = (
                    f"{path} is of an evaluation with other settings, model or store; its videos are predicted again."
                )
                console.print(words, soft_wrap=True, highlight=False)
            path.unlink(missing_ok=True)
            self._journal.add(job)
        self.rows: dict[int, Any] = {entry["video"]: entry["rows"] for entry in entries[1:]} if ours else {}

    def over(self, title: str, videos: list[int], make: Callable[[int], Any]) -> Iterator[Any]:
        """The rows of each video, from the journal or made and noted."""
        with track(title) as progress:
            for number, video in enumerate(videos, 1):
                if video not in self.rows:
                    rows = make(video)
                    self._journal.add({"video": video, "rows": rows})
                    self.rows[video] = rows
                progress(number, len(videos))
                yield self.rows[video]
