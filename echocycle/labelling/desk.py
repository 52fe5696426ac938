"""The desk: project, journal, labels and frames of one folder behind one lock; what the page asks is answered here."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from echocycle import __version__
from echocycle.errors import EchocycleError
from echocycle.labelling.curve import contour_from, measure
from echocycle.labelling.frames import Facts, Frames
from echocycle.labelling.journal import NAME, Entry, Journal
from echocycle.labelling.labels import STATES, Labels, checked_action, reader_name
from echocycle.labelling.project import Project, Video
from echocycle.locks import alone_in

Order = Literal["suggest", "name", "state", "ef"]
LONGEST_CLIENT = 64
AT_WORK = "{folder} is open in another `echocycle label` already ({writer}); use its page, or stop it first."


class UnknownVideoError(EchocycleError):
    """There is no such video in the project."""


class Desk:
    """One open project."""

    def __init__(self, folder: Path, reader: str = "", progress: Callable[[int, int], None] | None = None) -> None:
        """Open a project and lock it; `close` lets go of it.

        Raises `EchocycleError`: no recordings, another server has it open, the journal is damaged.
        """
        self.reader = reader_name(reader) if reader else ""
        self._held = ExitStack()
        with ExitStack() as opening:
            if not Path(folder).is_dir():  # the lock would make it
                raise EchocycleError(f"{folder} is no folder. Name the folder that holds the recordings.")
            labels = Path(folder).resolve() / "labels"
            opening.enter_context(alone_in(labels, said=AT_WORK))
            self.project = Project(folder, progress)
            self.journal = Journal(labels / NAME)
            opening.callback(self.journal.close)
            self._held = opening.pop_all()
        self.frames = Frames(self.project.folder / "cache", self.path)
        self.labels = Labels()
        self._lock = threading.RLock()
        self._changes = 0
        self._counted: tuple[int, dict[str, int]] = -1, {}
        self.unreadable: dict[str, str] = {}
        """Labelled videos that cannot be read any more -> why."""
        self._measured: dict[str, tuple[int, Facts | None, dict[str, Any] | None]] = {}
        self._orders: dict[str, tuple[Any, list[Video]]] = {}
        for entry in self.journal.entries:
            self.labels.take(entry)
        self._names = {video.id: video.name.casefold() for video in self.project.videos.values()}
        self._sorted = sorted(self.project.videos.values(), key=lambda video: (video.name.casefold(), video.id))
        self.has_proposal: Callable[[str], bool] = lambda video: False
        """Whether the model in use has looked at a video; set by what looks."""
        self.suggested: Callable[[], dict[str, dict[str, Any]]] = dict
        """Video -> rank, score, reasons; set by what ranks."""
        self.described_model: Callable[[], dict[str, Any] | None] = lambda: None

    def close(self) -> None:
        """Let go of the project."""
        self._held.close()

    def changed(self) -> None:
        """Say that something of what the page shows is another."""
        with self._lock:
            self._changes += 1

    @property
    def version(self) -> int:
        """Counts everything that the page may have to show anew."""
        return self.journal.last + self._changes

    # ----------------------------------------------------------------------------------------- one video

    def video(self, video: str) -> Video:
        """A video of the project."""
        found = self.project.videos.get(video)
        if found is None:
            raise UnknownVideoError("There is no such video in this project.")
        return found

    def path(self, video: str) -> Path:
        """Where a video lies."""
        return self.video(video).path

    def measured(self, video: str) -> dict[str, Any] | None:
        """What `measure` gives of the tracing that a training would take; None where there is none, or no long axis.

        It is kept until the tracing is another.
        """
        chosen = self.labels.of(video).chosen()
        if chosen is None:
            return None
        _, label = chosen
        facts = self.frames.known(video)
        kept = self._measured.get(video)
        if kept is None or kept[:2] != (label.n, facts):
            kept = label.n, facts, label.measured(facts.spacing_mm if facts else None)
            self._measured[video] = kept
        return kept[2]

    def ef_by_discs(self, video: str) -> float | None:
        """EF of the tracing that a training would take, percent; None where there is none."""
        found = self.measured(video)
        return None if found is None else found["ef"]

    def ef_known(self, video: str) -> float | None:
        """EF that is known otherwise: typed, or listed in videos.csv."""
        typed = self.labels.of(video).ef_known()
        return self.video(video).ef if typed is None else typed

    def state(self, video: str) -> str:
        """One of `STATES`."""
        labels = self.labels.videos.get(video)
        proposed = self.has_proposal(video)
        return labels.state(proposed) if labels is not None else ("proposed" if proposed else "new")

    def row(self, video: str, suggested: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
        """The short row of a video."""
        known, labels, facts = self.video(video), self.labels.of(video), self.frames.known(video)
        return {
            "id": video,
            "name": known.name,
            "patient": known.patient,
            "split": known.split,
            "state": self.state(video),
            "skip_reason": labels.reason or None,
            "n_frames": facts and facts.n_frames,
            "fps": facts and facts.fps,
            "ef_known": self.ef_known(video),
            "ef_discs": self.ef_by_discs(video),
            "suggest": (self.suggested() if suggested is None else suggested).get(video),
            "readers": sorted(name for name, label in labels.readers.items() if label.ed or label.es),
        }

    def details(self, video: str) -> dict[str, Any]:
        """Everything about a video but what the model says; it is read if it never was."""
        self.video(video)
        facts = self.frames.facts(video)
        with self._lock:
            labels = {name: label.as_json() for name, label in self.labels.of(video).readers.items()}
            asked = self.labels.of(video).asked
            for label in labels.values():
                label["state"] = asked or label["state"]
            return {
                **self.row(video),
                "height": facts.height,
                "width": facts.width,
                "spacing_mm": facts.spacing_mm,
                "pixel_aspect": facts.pixel_aspect,
                "labels": labels,
                "notes": list(facts.notes),
            }

    def measure(self, video: str, ed: Any, es: Any) -> dict[str, Any]:
        """EF of two contours that came from outside."""
        facts = self.frames.facts(self.video(video).id)
        pair = [contour_from(each, *facts.shape) for each in (ed, es)]
        return measure(pair[0], pair[1], facts.spacing_mm)

    def compare(self, video: str) -> dict[str, Any]:
        """How two readers differ in a video: the two who worked last among those who traced both phases."""
        facts = self.frames.facts(self.video(video).id)
        whole = {name: label for name, label in self.labels.of(video).readers.items() if label.whole}
        if len(whole) < 2:
            raise EchocycleError("Two readers must have traced ED and ES of this video before they can be compared.")
        names = sorted(whole, key=lambda name: whole[name].n)[-2:]
        a, b = (whole[name] for name in names)
        dice = {f"dice_{phase}": _dice(getattr(a, phase), getattr(b, phase), facts) for phase in ("ed", "es")}
        frames = {name: [label.ed and label.ed.frame, label.es and label.es.frame] for name, label in whole.items()}
        ef = {name: whole[name].ef_by_discs(facts.spacing_mm) for name in names}
        return {**dice, "ef": ef, "frames": {name: frames[name] for name in names}}

    # ----------------------------------------------------------------------------------------- all videos

    def counts(self) -> dict[str, int]:
        """How many videos are in which state."""
        with self._lock:
            version = self.version
            if self._counted[0] != version:
                count = Counter(self.state(video) for video in self.project.videos)
                self._counted = version, {state: count[state] for state in STATES}
            return self._counted[1]

    def about(self) -> dict[str, Any]:
        """What the page shows at its top."""
        with self._lock:
            return {
                "name": self.project.name,
                "reader": self.reader,
                "readers": sorted({*self.labels.readers, *([self.reader] if self.reader else [])}),
                "counts": self.counts(),
                "model": self.described_model(),
                "warnings": [*self.project.warnings, *self._missing()],
                "version": self.version,
                "last": self.journal.last,
                "software": __version__,
            }

    def _missing(self) -> list[str]:
        told = []
        if self.unreadable:
            first = next(iter(self.unreadable.values()))
            told.append(f"{len(self.unreadable)} labelled recordings cannot be read and are left out: {first}")
        gone = [video for video in self.labels.videos if video not in self.project.videos]
        if not gone:
            return told
        first = self.labels.videos[gone[0]].file or gone[0]
        return [
            *told,
            f"{len(gone)} videos that somebody worked on are not in the folder any more (first: {first}); their labels "
            "are kept. `echocycle relink` finds them where they lie now.",
        ]

    def list_videos(self, offset: int, limit: int, state: str, search: str, order: Order) -> dict[str, Any]:
        """Short rows of those that fit, in an order."""
        words = search.casefold().split()
        with self._lock:
            suggested = self.suggested()
            found = self._in_order(order, suggested)
            if words:
                found = [video for video in found if all(word in self._names[video.id] for word in words)]
            if state:
                found = [video for video in found if self.state(video.id) == state]
            rows = [self.row(video.id, suggested) for video in found[offset : offset + limit]]
        return {"total": len(found), "offset": offset, "videos": rows}

    def _in_order(self, order: Order, suggested: dict[str, dict[str, Any]]) -> list[Video]:
        """All videos in an order, kept until something changes; the list is not to be changed."""
        if order == "name":
            return self._sorted
        kept = self._orders.get(order)
        of: Any = suggested if order == "suggest" else self.version
        if kept is not None and (kept[0] is of if order == "suggest" else kept[0] == of):
            return kept[1]
        last = {"rank": len(self._sorted) + 1}
        keys: dict[str, Callable[[Video], float]] = {
            "suggest": lambda video: suggested.get(video.id, last)["rank"],
            "state": lambda video: STATES.index(self.state(video.id)),
            "ef": lambda video: self._ef_to_sort(video.id),
        }
        found = sorted(self._sorted, key=keys[order])
        self._orders[order] = of, found
        return found

    def _ef_to_sort(self, video: str) -> float:
        known = self.ef_known(video)
        ef = known if known is not None else self.ef_by_discs(video)
        return 1e9 if ef is None else ef

    # ----------------------------------------------------------------------------------------- what is done

    def act(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do an action that came from outside: it is in the journal, on disk, when this returns.

        Raises `UnknownVideoError`, or `EchocycleError` where it is none; nothing is written then.
        """
        client, seq, video = request.get("client"), request.get("seq"), request.get("id")
        if not isinstance(client, str) or not 0 < len(client) <= LONGEST_CLIENT or not client.isprintable():
            raise EchocycleError(f"client is text of 1 to {LONGEST_CLIENT} characters.")
        if not isinstance(seq, int) or isinstance(seq, bool) or not 0 <= seq < 1 << 53:
            raise EchocycleError("seq is a whole number from 0, which counts the actions of a client.")
        review = request.get("action") in ("accept", "reject")
        if video is None and review:
            known = None
        elif isinstance(video, str):
            known = self.video(video)
        else:
            raise EchocycleError("id names a video of the project.")
        shape = self.frames.facts(known.id).shape if known is not None and request.get("action") == "trace" else None
        made = {"id": known and known.id, "file": known.name if known else "", **checked_action(request, shape)}
        with self._lock:
            entry, is_new = self.journal.append(client, seq, made)
            if is_new:
                self.labels.take(entry)
            row = self.row(known.id) if known else None
        return {"seq_server": entry["n"], "video": row, "repeated": not is_new}

    def events(self, after: int) -> dict[str, Any]:
        """What was done since an entry of the journal."""
        with self._lock:
            entries = self.journal.after(after)
            return {
                "events": [self._event(entry) for entry in entries[-500:]],
                "last": self.journal.last,
                "version": self.version,
                "counts": self.counts() if entries else None,
            }

    def _event(self, entry: Entry) -> dict[str, Any]:
        told = {key: entry[key] for key in ("at", "client", "reader", "id", "action")}
        known = entry["id"] in self.project.videos
        return {"seq_server": entry["n"], **told, "video": self.row(entry["id"]) if known else None}


def _dice(a: Any, b: Any, facts: Facts) -> float:
    first, second = (each.mask(facts.height, facts.width) for each in (a, b))
    both = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / both if both else 0.0
