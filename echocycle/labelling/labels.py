"""What the journal's actions come to: each reader's contours, EF, note; each video's state; what was accepted."""

from dataclasses import dataclass, field
from typing import Any, Literal

from echocycle.errors import EchocycleError
from echocycle.labelling.curve import Contour, contour_from, measure
from echocycle.labelling.journal import Entry

Phase = Literal["ed", "es"]
PHASES: tuple[Phase, ...] = ("ed", "es")
STATES = ("new", "proposed", "traced", "checked", "skipped")
ACTIONS = ("trace", "clear", "ef", "state", "note", "accept", "reject")
LONGEST_NOTE, LONGEST_REASON, LONGEST_NAME = 4000, 200, 80


@dataclass
class Label:
    """One reader's work on one video."""

    ed: Contour | None = None
    es: Contour | None = None
    ef_known: float | None = None
    """Percent, as typed: the EF of a report."""
    note: str = ""
    updated: str = ""
    n: int = 0
    """The last entry of the journal about it."""

    @property
    def whole(self) -> bool:
        """Whether both phases are traced, in two frames."""
        return self.ed is not None and self.es is not None and self.ed.frame != self.es.frame

    @property
    def state(self) -> str:
        """`traced`, or `new` where something is missing."""
        return "traced" if self.whole else "new"

    def measured(self, spacing_mm: tuple[float, float] | None) -> dict[str, Any] | None:
        """What `measure` gives of the tracings; None unless both are there and have a long axis."""
        if self.ed is None or self.es is None:
            return None
        try:
            return measure(self.ed, self.es, spacing_mm)
        except EchocycleError:
            return None

    def ef_by_discs(self, spacing_mm: tuple[float, float] | None) -> float | None:
        """EF of the tracings in percent; None unless both are there and give one."""
        found = self.measured(spacing_mm)
        return None if found is None else found["ef"]

    def as_json(self) -> dict[str, Any]:
        """In the types of JSON."""
        return {
            "ed": self.ed and self.ed.as_json(),
            "es": self.es and self.es.as_json(),
            "ef_known": self.ef_known,
            "note": self.note,
            "state": self.state,
            "updated": self.updated,
        }


@dataclass
class VideoLabels:
    """All readers' work on one video."""

    readers: dict[str, Label] = field(default_factory=dict)
    asked: str = ""
    """`checked` or `skipped`, where that was said last."""
    reason: str = ""
    file: str = ""
    """Where the recording lay when somebody worked on it last."""

    def chosen(self) -> tuple[str, Label] | None:
        """The reader whose tracing a training takes: the one who worked last among those who traced both phases."""
        whole = [(label.n, name) for name, label in self.readers.items() if label.whole]
        return (name := max(whole)[1], self.readers[name]) if whole else None

    def ef_known(self) -> float | None:
        """The EF that was typed last."""
        typed = [(label.n, label.ef_known) for label in self.readers.values() if label.ef_known is not None]
        return max(typed)[1] if typed else None

    def state(self, proposed: bool) -> str:
        """One of `STATES`."""
        if self.asked:
            return self.asked
        if any(label.whole for label in self.readers.values()):
            return "traced"
        return "proposed" if proposed else "new"


NONE = VideoLabels()
"""The labels of a video on which nobody has worked; nobody writes into it."""


class Labels:
    """The labels of a project, as the journal's entries make them one after the other."""

    def __init__(self) -> None:
        self.videos: dict[str, VideoLabels] = {}
        self.reviewed: dict[tuple[str, str], str] = {}
        """(result, recording's stem) -> `accepted` or `rejected`."""
        self.readers: dict[str, int] = {}
        """Reader -> number of the last entry."""

    def of(self, video: str) -> VideoLabels:
        """The labels of a video; empty ones where nobody has worked on it."""
        return self.videos.get(video, NONE)

    def take(self, entry: Entry) -> None:
        """Add an entry of the journal."""
        action, reader = entry["action"], entry["reader"]
        self.readers[reader] = entry["n"]
        if action in ("accept", "reject"):
            self.reviewed[entry["run"], entry["stem"]] = f"{action}ed"
            return
        video = self.videos.setdefault(entry["id"], VideoLabels())
        video.file = entry.get("file", "") or video.file
        if action == "state":
            video.asked = entry["state"] if entry["state"] in ("checked", "skipped") else ""
            video.reason = entry["reason"] if video.asked == "skipped" else ""
            return
        label = video.readers.setdefault(reader, Label())
        label.updated, label.n = entry["at"], entry["n"]
        if action == "note":
            label.note = entry["text"]
        elif action == "ef":
            label.ef_known = entry["value"]
        elif action in ("trace", "clear"):
            contour = entry.get("contour")
            setattr(label, entry["phase"], None if contour is None else _kept(contour))
            video.asked = "" if video.asked == "checked" else video.asked  # what was changed has to be looked at again


def _kept(value: dict[str, Any]) -> Contour:
    """A contour as the journal holds it: it was checked before it was written."""
    points = tuple((float(x), float(y)) for x, y in value["points"])
    first, second = value["mitral"]
    return Contour(value["frame"], points, value["apex"], (first, second))


def reader_name(value: Any) -> str:
    """A reader's name that came from outside."""
    if not isinstance(value, str) or not 0 < len(value.strip()) <= LONGEST_NAME or not value.isprintable():
        raise EchocycleError(f"A reader's name has 1 to {LONGEST_NAME} printable characters.")
    return value.strip()


def checked_action(value: dict[str, Any], shape: tuple[int, int, int] | None) -> Entry:
    """What of an action that came from outside goes into the journal.

    Args:
        shape: (frames, height, width) of the video; needed for a contour alone.

    Raises `EchocycleError` in one sentence for what no action can be.
    """
    action = value.get("action")
    if action not in ACTIONS:
        raise EchocycleError(f"There is no action {action!r}; there are {', '.join(ACTIONS)}.")
    made: Entry = {"reader": reader_name(value.get("reader")), "action": action}
    if action in ("trace", "clear"):
        phase = value.get("phase")
        if phase not in PHASES:
            raise EchocycleError(f"phase is {phase!r}; it is ed or es.")
        made["phase"] = phase
        if action == "trace":
            if shape is None:
                raise EchocycleError("The video cannot be read, so no contour of it can be kept.")
            made["contour"] = contour_from(value.get("contour"), *shape).as_json()
    elif action == "ef":
        ef = value.get("value")
        number = isinstance(ef, int | float) and not isinstance(ef, bool) and 0 <= ef <= 100
        if ef is not None and not number:
            raise EchocycleError("An EF is a number from 0 to 100, in percent, or null.")
        made["value"] = ef if ef is None else float(ef)
    elif action == "state":
        state = value.get("state")
        if state not in ("new", "checked", "skipped"):
            raise EchocycleError(f"state is {state!r}; it is checked, skipped, or new, which takes either back.")
        made |= {"state": state, "reason": _text(value.get("reason") or "", LONGEST_REASON, "A reason")}
        if state == "skipped" and not made["reason"].strip():
            raise EchocycleError("Say why the video is skipped: wrong view, unreadable, poor, or words of your own.")
    elif action == "note":
        made["text"] = _text(value.get("text"), LONGEST_NOTE, "A note")
    else:
        if value.get("what") != "prediction":
            raise EchocycleError("What is accepted or rejected is a prediction (what: prediction).")
        made |= {"what": "prediction", "run": _text(value.get("run"), 200, "run")}
        made["stem"] = _text(value.get("stem"), 1000, "stem")
    return made


def _text(value: Any, longest: int, what: str) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise EchocycleError(f"{what} is text of at most {longest} characters.")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair, which no file can hold
        raise EchocycleError(f"{what} holds a character that is none.") from None
    return value
