"""The order of the queue: suggestions of the project as it is now, made again in the background when that changes."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.labelling.desk import Desk
from echocycle.labelling.looked import read_looked
from echocycle.labelling.proposals import Proposals
from echocycle.labelling.suggest import Suggestion, doubts_of, rank

EVERY = 3.0
"""Least seconds between two rankings."""


class Ranking:
    """The suggestions of an open project."""

    def __init__(self, desk: Desk, proposals: Proposals, *, works: bool = True) -> None:
        """`works`: whether a thread keeps them up to date; without it `now` makes them when it is called."""
        self._desk, self._proposals, self._works = desk, proposals, works
        self._seen: dict[tuple[Path, str], tuple[dict[str, float], Any, bool]] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        self._order: list[Suggestion] = []
        self._of = -1
        self._ended = threading.Event()
        desk.suggested = lambda: self._rows
        self._thread = threading.Thread(target=self._work, name="ranking", daemon=True)
        if works:
            self._thread.start()

    def now(self, count: int) -> list[dict[str, Any]]:
        """The first suggestions, as the page takes them."""
        if not self._works:
            self._rank()
        names = self._desk.project.videos
        chosen = [each for each in self._order if self._desk.state(each.id) in ("new", "proposed")][:count]
        return [
            {"id": each.id, "name": names[each.id].name, "score": each.score, "reasons": list(each.reasons)}
            for each in chosen
        ]

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._works:
            self._thread.join(5)

    def _work(self) -> None:
        while not self._ended.is_set():
            version = self._desk.version
            if version != self._of:
                self._of = version
                self._rank()
            self._ended.wait(EVERY)

    def _rank(self) -> None:
        waiting: list[str] = []
        labelled: list[str] = []
        for video in self._desk.project.videos:
            if not self._desk.has_proposal(video):
                continue
            state = self._desk.state(video)
            if state != "skipped":
                (labelled if state in ("traced", "checked") else waiting).append(video)
        seen = {video: found for video in [*waiting, *labelled] if (found := self._look(video)) is not None}
        waiting, labelled = ([video for video in part if video in seen] for part in (waiting, labelled))
        looks, known = (np.array([seen[video][1] for video in part], np.float32) for part in (waiting, labelled))
        order = rank(waiting, [seen[v][0] for v in waiting], looks, known, [seen[v][2] for v in waiting])
        self._order = order
        self._rows = {
            each.id: {"rank": place, "score": round(each.score, 4), "reasons": list(each.reasons)}
            for place, each in enumerate(order, 1)
        }

    def _look(self, video: str) -> tuple[dict[str, float], Any, bool] | None:
        """Doubts, look, and whether no beat was found; small, so it stays in memory."""
        key = (self._proposals.folder, video)
        if key not in self._seen:
            looked = read_looked(key[0] / f"{video}.npz")
            if looked is None:
                return None
            self._seen[key] = doubts_of(looked), looked.look, len(looked.beats) == 0
        return self._seen[key]
