"""What the model in use says of the project's videos: looked at in a process of its own, one after the other."""

import json
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from echocycle.bundle_description import PACKAGED, read_description
from echocycle.errors import EchocycleError
from echocycle.labelling.curve import Contour
from echocycle.labelling.desk import Desk
from echocycle.labelling.looked import Looked, read_looked, require_segmenter
from echocycle.labelling.project import Project
from echocycle.labelling.worker import answers_of
from echocycle.verdict import read_verdict

PATIENCE = 60.0
"""Seconds that a request waits for a proposal."""
MOST_DEATHS = 3
"""Times that the process may end over a recording before no new one is started."""
KEPT = 64
"""Results that stay in memory."""


class NotYetError(EchocycleError):
    """The model has not looked at this video yet."""

    status = 503


class Proposals:
    """The results of one model, and the process that makes more of them."""

    def __init__(self, desk: Desk, *, model: str | None = None, works: bool = True) -> None:
        """Take up a model.

        Args:
            model: by default the project's.
            works: whether videos are looked at in the background; without it, only what lies in the cache is known.

        Raises `EchocycleError` where the model cannot be used.
        """
        self._desk, self._works = desk, works
        self._changed = threading.Condition()
        self._ended = False
        self._generation = 0
        self._child: subprocess.Popen[str] | None = None
        self._kept: OrderedDict[str, Looked] = OrderedDict()
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        """Video -> why the model says nothing of it."""
        self._first: deque[str] = deque()
        self._take(desk.project.model if model is None else model)
        desk.has_proposal = self.done.__contains__
        desk.described_model = self.about
        self._thread = threading.Thread(target=self._work, name="proposals", daemon=True)
        if works:
            self._thread.start()

    # -------------------------------------------------------------------------------------------- the model

    def _take(self, model: str) -> None:
        description = read_description(self._desk.project.model_path(model))
        require_segmenter(description.parts, model)
        self.model, self.id = model, description.id
        verdict = read_verdict(description.path)
        if verdict is not None:
            self.sentence = verdict.sentence()
        elif model in PACKAGED:
            self.sentence = "It comes with the package and has seen synthetic clips only: no clinical meaning."
        else:
            self.sentence = "This model was not evaluated on held-out videos, so its error is unknown."
        self.folder = self._desk.project.folder / "cache" / "proposals" / description.id
        self.done.clear()
        videos = self._desk.project.videos
        if self.folder.is_dir():
            self.done.update(path.stem for path in self.folder.glob("*.npz") if path.stem in videos)

    def use(self, model: str) -> None:
        """Take another model, from now on and for the next start.

        Raises `EchocycleError` where it cannot be used; nothing changes then.
        """
        with self._changed:
            self._take(model)
            self._generation += 1
            self._kept.clear()
            self.failed.clear()
            self._end_child()
            self._changed.notify_all()
        self._desk.project.use(model)
        self._desk.changed()

    def about(self) -> dict[str, Any]:
        """The model for the page."""
        return {"id": self.id, "name": self.model, "sentence": self.sentence}

    # ------------------------------------------------------------------------------------------ what it says

    def of(self, video: str) -> Looked | None:
        """What the model says of a video, if it has looked at it."""
        with self._changed:
            if video in self._kept:
                self._kept.move_to_end(video)
                return self._kept[video]
            if video not in self.done:
                return None
            path = self.folder / f"{video}.npz"
        looked = read_looked(path)
        with self._changed:
            if looked is None:
                self.done.discard(video)
                self._changed.notify_all()
            elif path.parent == self.folder:
                self._kept[video] = looked
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return looked

    def first(self, video: str) -> None:
        """Let a video be the next that is looked at."""
        with self._changed:
            if video not in self.done and video not in self.failed and video not in self._first:
                self._first.append(video)
                self._changed.notify_all()

    def details(self, video: str) -> dict[str, Any]:
        """Area curve, beats and proposal of a video for the page; empty until the model has looked at it."""
        looked = self.of(video)
        if looked is None:
            self.first(video)
            told = self.failed.get(video)
            notes = [f"The model says nothing of this video: {told}"] if told else []
            return {"areas": None, "beats": [], "proposal": None, "proposed_at": None, "model_notes": notes}
        pair = looked.pair
        return {
            "areas": [round(float(area), 1) for area in looked.areas],
            "beats": [{"ed": ed, "es": es} for ed, es in looked.beats.tolist()],
            "proposal": None if pair is None else {"ed": pair[0].as_json(), "es": pair[1].as_json()},
            "proposed_at": self.id,
            "model_notes": list(looked.notes),
        }

    def contours(self, video: str, first: int, last: int) -> list[Contour | None]:
        """Contours of some frames; an empty list until the model has looked at the video."""
        looked = self.of(video)
        if looked is None:
            self.first(video)
            return []
        return [looked.contour(frame) for frame in range(first, last + 1)]

    def propose(self, video: str, frame: int) -> Contour:
        """The model's contour of a frame; waits until the model has looked at the video.

        Raises `EchocycleError`: it finds no ventricle there; `NotYetError`: it has not looked yet.
        """
        self.first(video)
        with self._changed:
            self._changed.wait_for(
                lambda: video in self.done or video in self.failed or not self._works or self._ended, PATIENCE
            )
        looked = self.of(video)
        if looked is None:
            if video in self.failed:
                raise EchocycleError(f"The model says nothing of this video: {self.failed[video]}")
            raise NotYetError("The model has not looked at this video yet; try again in a minute.")
        if not 0 <= frame < looked.facts.n_frames:
            raise EchocycleError(f"The recording has frames 0 to {looked.facts.n_frames - 1}.")
        contour = looked.contour(frame)
        if contour is None:
            raise EchocycleError(
                f"The model finds no ventricle in frame {frame}. Draw it, or take a neighbouring frame."
            )
        return contour

    # ------------------------------------------------------------------------------------------ the process

    def close(self) -> None:
        """End the process."""
        with self._changed:
            self._ended = True
            self._end_child()
            self._changed.notify_all()
        if self._works:
            self._thread.join(PATIENCE)
        if self._child is not None:
            _put_away(self._child)

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()

    def _next(self) -> str | None:
        """The video to look at next; call it with the lock."""
        while self._first:
            video = self._first.popleft()
            if video not in self.done and video not in self.failed:
                return video
        skipped = self._desk.labels.videos
        for video in self._desk.project.videos:
            if video not in self.done and video not in self.failed:
                if video in skipped and skipped[video].asked == "skipped":
                    continue
                return video
        return None

    def _work(self) -> None:
        deaths = 0
        while True:
            with self._changed:
                video = self._next() if deaths < MOST_DEATHS else None
                if self._ended:
                    return
                if video is None:
                    self._changed.wait()
                    continue
                generation, folder = self._generation, self.folder
                if self._child is None:
                    self._child = self._start(folder)
                child = self._child
            answered = self._ask(child, video)
            with self._changed:
                if answered is None:  # it was told to end, or a recording has ended it
                    _put_away(child)
                    self._child = None
                    if generation == self._generation and not self._ended:
                        deaths += 1
                        self.failed[video] = "the process that looked at it ended; perhaps memory ran out."
                elif generation == self._generation:
                    deaths = 0
                    if answered["problem"] is None:
                        self.done.add(video)
                    else:
                        self.failed[video] = answered["problem"]
                self._changed.notify_all()
            self._learn(video)
            self._desk.changed()

    def _learn(self, video: str) -> None:
        looked = self.of(video)
        if looked is not None:
            self._desk.frames.learn(video, looked.facts)

    def _start(self, folder: Path) -> "subprocess.Popen[str]":
        folder.mkdir(parents=True, exist_ok=True)
        model = self._desk.project.model_path(self.model)
        command = [sys.executable, "-m", "echocycle.labelling.worker", str(folder), str(model)]
        pipe = subprocess.PIPE
        with (folder.parent / "worker.log").open("a", encoding="utf-8") as log:
            # a group of its own: Ctrl-C in the terminal is for the server, which ends it in order
            return subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=log, text=True, encoding="utf-8", start_new_session=True
            )

    def _ask(self, child: "subprocess.Popen[str]", video: str) -> Any:
        assert child.stdin is not None
        assert child.stdout is not None
        path = self._desk.project.videos[video].path
        try:
            child.stdin.write(json.dumps({"id": video, "path": str(path)}) + "\n")
            child.stdin.flush()
        except OSError:
            return None
        return answers_of(child.stdout)


def _put_away(child: "subprocess.Popen[str]") -> None:
    """End a process and what leads to it."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(OSError):  # a request that the dead process never took is still in the pipe
                pipe.close()


def model_name(project: Project, model: str) -> str:
    """How a model that was named at the start is kept: by its path below the project, elsewhere by its whole path.

    Raises `EchocycleError` where it is none, or can propose nothing.
    """
    if model in PACKAGED:
        return model
    description = read_description(Path(model))
    require_segmenter(description.parts, model)
    path = description.path.resolve()
    return path.relative_to(project.folder).as_posix() if path.is_relative_to(project.folder) else str(path)
