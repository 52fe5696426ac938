"""The models that `train` can give, and which is taken: by the error on validation videos, never on test videos.

`train` trains the candidates, `choose` compares their predictions.csv, and choice.json beside the folder of runs keeps
what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.bundle_description import CHOICE
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

    from echocycle.evaluation.intervals import Interval


@dataclass(frozen=True)
class Candidate:
    """A model that `train` can give."""

    run: str
    """Its folder among the runs."""
    trainings: tuple[str, ...]
    """Methods of the EF networks that are trained for it, in order; of each the run has the method's name."""
    masks: bool
    """Whether its answer needs masks."""
    sees: str
    """What its answer comes from, in words."""


CANDIDATES: dict[str, Candidate] = {
    "video-only": Candidate("supervised", ("supervised",), False, "the video alone"),
    "teacher": Candidate("teacher", ("teacher",), True, "the video and its masks"),
    "student": Candidate("student", ("teacher", "student"), False, "the video alone, taught by the teacher"),
    "two-teachers": Candidate(
        "two_teachers",
        ("teacher", "mask_teacher"),
        True,
        "the mean of two networks: one sees the video and its masks, one the masks alone",
    ),
}
"""The candidates by name. Of two with the same error the first is taken."""
ALL = ",".join(CANDIDATES)
FEWEST = 2
"""Validation videos that a choice needs."""


def asked_for(text: str) -> tuple[str, ...]:
    """The candidates of a list with commas, each once, in the order of `CANDIDATES`.

    Raises `EchocycleError` for a name that is not known, and where none is named.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown or not names:
        told = f"There is no candidate {unknown[0]!r}" if unknown else "No candidate is named"
        raise EchocycleError(f"{told}; --candidates takes {', '.join(CANDIDATES)}, with commas between several.")
    return tuple(name for name in CANDIDATES if name in names)


def possible(names: Iterable[str], *, traced: bool, unlabelled: bool) -> tuple[str, ...]:
    """Those of the candidates that a folder allows: without a tracing `video-only`, which takes the place of all;
    without an unlabelled video no `student`, and `teacher` where that was all that was asked for."""
    if not traced:
        return ("video-only",)
    kept = tuple(name for name in names if unlabelled or name != "student")
    return kept or ("teacher",)


def methods_for(names: Iterable[str]) -> tuple[str, ...]:
    """The methods of all EF networks that some candidates need, in the order in which they are trained."""
    needed = {method for name in names for method in CANDIDATES[name].trainings}
    return tuple(method for method in ("supervised", "teacher", "mask_teacher", "student") if method in needed)


def answered_by(name: str) -> tuple[str, ...]:
    """The methods of the EF networks that give a candidate's answer."""
    candidate = CANDIDATES[name]
    return candidate.trainings if name == "two-teachers" else (candidate.run,)


# --- choosing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """How a candidate did on the validation videos. Errors and ends of 95 % intervals are in EF points."""

    name: str
    run: str
    error: float
    """Mean absolute error."""
    low: float | None
    high: float | None
    more: float = 0.0
    """Its error minus that of the one that was taken, on the same videos."""
    more_low: float | None = None
    more_high: float | None = None

    @property
    def clearly_worse(self) -> bool:
        """Whether the whole interval of the difference lies above 0."""
        return self.more_low is not None and self.more_low > 0


@dataclass(frozen=True)
class Choice:
    """Which candidate was taken, and why."""

    taken: str
    """A name of `CANDIDATES`."""
    run: str
    """The folder of its run."""
    why: str
    videos: int
    """Validation videos that chose: those that also chose each candidate's best epoch. They count as labels used."""
    protocol: str
    """How clips were chosen and averaged."""
    standings: tuple[Standing, ...] = ()
    """Of all candidates; empty where the videos were too few to compare."""


def choose(runs: Path, names: Iterable[str]) -> Choice:
    """Compare evaluated candidates on the validation videos that chose their epochs, and take the least error.

    Only rows of the split `val` are read from predictions.csv, so test videos can change nothing; validation videos
    that are kept for intervals are left out too. Of several protocols the first counts.

    Args:
        runs: the folder that holds the candidates' runs.
        names: candidates, each evaluated.
    """
    names = tuple(names)
    tables = {name: _validation(runs / CANDIDATES[name].run) for name in names}
    protocols = {str(table["protocol"].iloc[0]) for table in tables.values() if len(table)}
    shared = _shared(tables) if all(len(table) for table in tables.values()) else []
    if len(shared) < FEWEST or len(protocols) != 1:
        last = names[-1] if "student" not in names else "student"
        why = "It is the only candidate." if len(names) == 1 else "Too few validation videos have an EF to choose by."
        return Choice(last, CANDIDATES[last].run, why, len(shared), next(iter(sorted(protocols)), ""))
    tables = {name: table.loc[shared] for name, table in tables.items()}
    return _least(tables, len(shared), protocols.pop())


def _validation(run: Path) -> pd.DataFrame:
    """A row for each validation video of the choice of epochs, by the video's name."""
    from echocycle.evaluation.tables import per_video, read_labels, read_predictions

    rows = read_predictions(run / "evaluation" / "predictions.csv")
    rows = rows[rows["split"] == "val"]
    if len(rows):
        rows = rows[rows["protocol"] == rows["protocol"].iloc[0]]
    labels = read_labels(run / "labels.csv")
    chosen_by = set(labels["name"][labels["subset"] == "validation"])
    videos = per_video(rows[rows["video"].isin(chosen_by)])
    return videos.set_index("video")


def _shared(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Videos that every candidate has an answer for."""
    first, *others = tables.values()
    return [video for video in first.index if all(video in other.index for other in others)]


def _least(tables: Mapping[str, pd.DataFrame], videos: int, protocol: str) -> Choice:
    """The choice among candidates with predictions of the same videos."""
    from echocycle.evaluation.intervals import bootstrap_interval, paired_difference
    from echocycle.evaluation.metrics import mae

    first = next(iter(tables.values()))
    true, patients = first["ef_true"].to_numpy(float), list(first["patient"])
    answers = {name: table["ef_pred"].to_numpy(float) for name, table in tables.items()}
    errors = {name: mae(true, answer) for name, answer in answers.items()}
    taken = min(errors, key=lambda name: errors[name])  # of equals the first
    standings = []
    for name, answer in answers.items():
        low, high = _ends(bootstrap_interval(true, answer, "mae", groups=patients))
        more: tuple[float, float | None, float | None] = (0.0, None, None)
        if name != taken:
            difference = paired_difference(true, answer, answers[taken], "mae", groups=patients)
            more = (difference.value, *_ends(difference))
        standings.append(Standing(name, CANDIDATES[name].run, errors[name], low, high, *more))
    why = _reason(taken, standings)
    return Choice(taken, CANDIDATES[taken].run, why, videos, protocol, tuple(standings))


def _ends(interval: Interval) -> tuple[float | None, float | None]:
    """The ends of an interval; None where they are undefined."""
    low, high = (float(end) if end == end else None for end in (interval.low, interval.high))
    return low, high


def _reason(taken: str, standings: Iterable[Standing]) -> str:
    """Why one was taken, and how sure that is."""
    others = [each for each in standings if each.name != taken]
    if not others:
        return "It is the only candidate."
    close = [each.name for each in others if not each.clearly_worse]
    why = "It has the least error on the validation videos."
    if not close:
        return f"{why} That it is better than each of the others is shown by the intervals of the differences."
    return f"{why} That it is better than {_joined(close)} is not shown: the interval of the difference holds 0."


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


# --- on disk ----------------------------------------------------------------------------------------


def write_choice(folder: Path, choice: Choice) -> Path:
    """Keep a choice as choice.json in the folder that holds `runs`; what is as it should be is not written again."""
    path = Path(folder) / CHOICE
    content = asdict(choice) | {"standings": [asdict(each) for each in choice.standings]}
    if not path.exists() or read_json(path) != content:
        write_json(path, content)
    return path


def read_choice(folder: Path) -> Choice | None:
    """The choice that a folder of `train` keeps; None where there is none.

    Raises `EchocycleError` for a damaged choice.json.
    """
    path = Path(folder) / CHOICE
    if not path.exists():
        return None
    content: Any = read_json(path)
    try:
        found = Choice(**{**content, "standings": tuple(Standing(**each) for each in content["standings"])})
        if CANDIDATES[found.taken].run != found.run:
            raise ValueError(found.run)
    except (TypeError, KeyError, ValueError):
        raise EchocycleError(f"{path} is not readable. Run `echocycle train` again, which makes it anew.") from None
    return found
