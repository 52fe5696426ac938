"""How far a model's EF may be from the truth: conformal intervals from videos that it has not learnt from.

`evaluation/calibrate.py` fits it; the bundle keeps it as calibration.json; `predict` applies it. The arithmetic of
conformal prediction is crepes': https://github.com/henrikbostrom/crepes (Boström, COPA 2022).

An interval holds every EF that is not refuted: an EF of one band (under 40, 40 to 49, 50 and more) is refuted where
the answer is further from it than in nine of ten calibration videos of that band (Mondrian conformal prediction by the
true band; Vovk et al., Algorithmic Learning in a Random World, 2005). So nine of ten are held in every band, which
bands of the *predicted* EF do not give: a weak heart that is taken for a sound one is looked up among the sound ones.
"""

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocycle.bundle_description import read_description
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.prediction import CATEGORIES, Category, EfInterval

NAME = "calibration.json"
LEVEL = 0.9
LIMITS = (40.0, 50.0)
"""EF, percent, at which one band ends and the next begins."""
EDGES = ((0.0, LIMITS[0]), LIMITS, (LIMITS[1], 100.0))
"""Lowest and highest EF of each band."""
ROUNDS = 10
FEWEST_VIDEOS = 100
"""Calibration videos under which no interval is narrower than the naive one."""
FEWEST_IN_BAND = 20
"""Calibration videos of each true band that the bands need; 9 would do for a number, 20 for one that holds."""

TINY = 1e-9
"""Taken off the level: 1 - 0.9 is a little under 0.1, and crepes would count one video more than it must."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difficulty:
    """How far an answer may be off, relatively: a floor and what each sign of trouble adds, in EF points."""

    floor: float = 1.0
    spread: float = 0.0
    """For each point of standard deviation over a video's clips."""
    disagreement: float = 0.0
    """For each point between the EF by regression and by discs."""
    unlikeness: float = 0.0
    """For each unit of `data/domain_shift.unlikeness`."""

    def of(self, spread: Any, disagreement: Any, unlikeness: Any) -> Floats:
        """Difficulty, above 0, of videos; what is unknown (NaN) adds nothing."""
        found = np.full(np.shape(spread), self.floor, dtype=np.float64)
        for weight, value in (
            (self.spread, spread), (self.disagreement, disagreement), (self.unlikeness, unlikeness)
        ):  # fmt: skip
            found = found + weight * np.nan_to_num(np.abs(np.asarray(value, dtype=np.float64)))
        return found


@dataclass(frozen=True)
class Known:
    """The calibration videos of one kind of EF, each (videos,)."""

    ef_true: Floats
    ef_pred: Floats
    difficulty: Floats

    def __len__(self) -> int:
        return len(self.ef_true)


def no_videos() -> Known:
    """Calibration videos that there are none of."""
    return Known(np.empty(0), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Calibration:
    """What a bundle keeps of its calibration."""

    naive_half_width: float
    """EF points on either side of the mean EF of the labelled training videos that hold `level` of them."""
    selection_videos: int
    """Validation videos that chose the epoch and fitted the difficulty; they are labels used as well."""
    protocol: str
    """How clips were chosen and averaged."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    regression: Known = field(default_factory=no_videos)
    discs: Known = field(default_factory=no_videos)
    level: float = LEVEL

    @property
    def id(self) -> str:
        """Short hash of its content."""
        return hashlib.sha256(json.dumps(_content(self), sort_keys=True).encode()).hexdigest()[:12]

    def regression_interval(
        self, ef: float, spread: float = np.nan, disagreement: float = np.nan, unlikeness: float = np.nan
    ) -> tuple[EfInterval, dict[Category, float]]:
        """The interval of an EF by regression, and the probability of each category.

        Args:
            ef: percent.
            spread: standard deviation over the recording's clips, points; NaN where it has one.
            disagreement: EF by regression minus EF by discs, points; NaN where one is missing.
            unlikeness: `data/domain_shift.unlikeness` of the recording.
        """
        hard = self.difficulty.of(np.array([spread]), np.array([disagreement]), np.array([unlikeness]))
        return self._interval(self.regression, ef, hard), self._probabilities(self.regression, ef, hard)

    def discs_interval(self, ef: float) -> tuple[EfInterval, dict[Category, float]]:
        """The interval of an EF by discs, and the probability of each category."""
        one = np.ones(1)
        return self._interval(self.discs, ef, one), self._probabilities(self.discs, ef, one)

    def _interval(self, known: Known, ef: float, difficulty: Floats) -> EfInterval:
        kind, reason = kind_of(known)
        low, high = intervals(known, np.array([ef]), difficulty, kind, self.naive_half_width, self.level)[0]
        used = len(known) if kind != "none" else 0
        return EfInterval(round(float(low), 2), round(float(high), 2), self.level, kind, used, reason)

    def _probabilities(self, known: Known, ef: float, difficulty: Floats) -> dict[Category, float]:
        if kind_of(known)[0] not in ("conformal", "plain"):
            return {}
        below = [0.0, *shares_below(known, ef, difficulty, LIMITS), 1.0]
        return {name: round(float(b - a), 4) for name, a, b in zip(CATEGORIES, below[:-1], below[1:], strict=True)}


def bands(ef: Any) -> NDArray[np.intp]:
    """The band of each EF: 0 under 40, 1 from 40 to under 50, 2 from 50 on."""
    return np.digitize(np.asarray(ef, dtype=np.float64), LIMITS)


def kind_of(known: Known) -> tuple[str, str]:
    """Which interval calibration videos allow, and why it is not the best; as `EfInterval` has them."""
    count = len(known)
    if count < FEWEST_VIDEOS:
        has = "no calibration video" if count == 0 else f"only {count} calibration videos"
        return "naive", (
            f"There {'is' if count < 2 else 'are'} {has}; an interval narrower than that of always answering the mean "
            f"needs {FEWEST_VIDEOS}."
        )
    each = np.bincount(bands(known.ef_true), minlength=3)
    if each.min() < FEWEST_IN_BAND:
        where = ("under 40 %", "from 40 to 49 %", "of 50 % and more")[int(each.argmin())]
        return "plain", (
            f"Only {each.min()} calibration videos have an EF {where}; with fewer than {FEWEST_IN_BAND} the interval "
            "has one width for all, and holds less than is said in that band."
        )
    return "conformal", ""


def intervals(
    known: Known, ef: Floats, difficulty: Floats, kind: str, naive_half_width: float, level: float = LEVEL
) -> Floats:
    """Intervals (videos, 2), percent, 0 to 100, of answers `ef` (videos,) with their `difficulty`."""
    if kind == "conformal":
        found = _by_true_band(known, ef, difficulty, level)
    else:
        found = np.column_stack([ef - naive_half_width, ef + naive_half_width])
        if len(known) and (kind == "plain" or (len(known) + 1) * (1 - level) >= 1):
            plain = _regressor(known.ef_true - known.ef_pred).predict_int(ef, confidence=level - TINY)
            wider = (plain[:, 1] - plain[:, 0] > 2 * naive_half_width) | (kind == "plain")
            found = np.where(wider[:, None], plain, found)
    return np.clip(found, 0.0, 100.0)


def _by_true_band(known: Known, ef: Floats, difficulty: Floats, level: float) -> Floats:
    """The hull of the EFs of each band that are not refuted."""
    reaches = band_reaches(known, level)
    parts = [_within(number, reaches[number], ef, difficulty) for number in range(len(EDGES))]
    low, high = _hull(parts)
    refuted = low > high  # every EF is: the answer itself is all that is left, and an interval is never empty
    return np.column_stack([np.where(refuted, ef, low), np.where(refuted, ef, high)])


def band_reaches(known: Known, level: float) -> list[float]:
    """How far from an answer an EF of each band may lie, in units of difficulty, before it is refuted.

    A hull also holds what lies between the parts of two bands, though its own band refutes it. So a band needs no more
    than what brings its own calibration videos to `level` with the parts of the others given; that is repeated until
    nothing changes.
    """
    band = bands(known.ef_true)
    of = [band == number for number in range(len(EDGES))]
    distance = np.abs(known.ef_true - known.ef_pred)
    reaches = [_reach(distance[part], known.difficulty[part], level) for part in of]
    for _ in range(ROUNDS):
        before = list(reaches)
        for number, part in enumerate(of):
            true, answer, hard = known.ef_true[part], known.ef_pred[part], known.difficulty[part]
            others = [_within(n, reaches[n], answer, hard) for n in range(len(EDGES)) if n != number]
            low, high = _hull(others)
            above, below = high >= true, low <= true  # some EF of another band on that side is not refuted
            needed = np.abs(true - answer)
            needed = np.where(above, np.maximum(answer - true, 0.0), needed)
            needed = np.where(below, np.where(above, 0.0, np.maximum(true - answer, 0.0)), needed)
            reaches[number] = _reach(needed, hard, level)
        if np.allclose(before, reaches):
            break
    return reaches


def _within(number: int, reach: float, ef: Floats, difficulty: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest EF of a band within `reach` of answers, each (videos,); infinite the wrong way if none is."""
    start, end = EDGES[number]
    low, high = np.maximum(ef - reach * difficulty, start), np.minimum(ef + reach * difficulty, end)
    none = low > high
    return np.where(none, np.inf, low), np.where(none, -np.inf, high)


def _hull(parts: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.min([low for low, _ in parts], axis=0), np.max([high for _, high in parts], axis=0)


def _reach(distances: Floats, difficulties: Floats, level: float) -> float:
    """The distance over difficulty that `level` of the calibration videos stay within, by crepes; infinite if they are
    too few to tell."""
    if int((1 - level + TINY) * (len(distances) + 1)) < 1:
        return float("inf")
    fitted = _regressor(distances, difficulties)
    return float(fitted.predict_int(np.zeros(1), sigmas=np.ones(1), confidence=level - TINY)[0, 1])


def shares_below(known: Known, ef: float, difficulty: Floats, limits: tuple[float, ...]) -> list[float]:
    """Probability, 0 to 1, that the true EF of an answer lies below each limit, by the conformal predictive system.

    Its categories are the bands of the predicted EF, where the answer's has `FEWEST_IN_BAND` calibration videos.
    """
    system = _crepes().ConformalPredictiveSystem
    residuals, band = known.ef_true - known.ef_pred, bands(known.ef_pred)
    here = band == bands(ef)
    chosen = here if here.sum() >= FEWEST_IN_BAND else np.ones(len(known), bool)
    fitted = system().fit(residuals[chosen], sigmas=known.difficulty[chosen])
    at = np.full(1, ef)
    found = [float(fitted.predict_p(at, np.full(1, limit), sigmas=difficulty, smoothing=False)[0]) for limit in limits]
    return list(np.maximum.accumulate(np.clip(found, 0.0, 1.0)))


def _regressor(residuals: Floats, sigmas: Floats | None = None) -> Any:
    return _crepes().ConformalRegressor().fit(residuals, sigmas=sigmas)


def _crepes() -> Any:
    """The library; importing it would let every warning of the process through."""
    with warnings.catch_warnings():
        import crepes
    return crepes


# --- on disk ---------------------------------------------------------------------------------------


def write_calibration(bundle: Path, calibration: Calibration) -> Path:
    """Keep a calibration in a bundle (its folder, or the run that holds it), beside the id of the weights it is of."""
    described = read_description(Path(bundle))
    path = described.path / NAME
    content = {"weights": {name: part.sha256 for name, part in described.parts.items()}, **_content(calibration)}
    if not path.exists() or read_json(path) != content:  # what is as it should be is not written again
        write_json(path, content)
    return path


def _content(calibration: Calibration) -> dict[str, Any]:
    """A calibration as JSON; its videos as rows of true EF, predicted EF, difficulty."""
    numbers = {key: value for key, value in asdict(calibration).items() if key not in ("regression", "discs")}
    return {**numbers, "regression": _rows(calibration.regression), "discs": _rows(calibration.discs)}


def read_calibration(bundle: Path) -> Calibration | None:
    """The calibration of a bundle; None if there is none, or if it is of other weights than those that lie there.

    Raises `EchocycleError` for a damaged calibration.json.
    """
    described = read_description(Path(bundle))
    path = described.path / NAME
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["weights"] != {name: part.sha256 for name, part in described.parts.items()}:
            return None
        found = Calibration(
            naive_half_width=_number(content["naive_half_width"]),
            selection_videos=int(_number(content["selection_videos"])),
            protocol=str(content["protocol"]),
            difficulty=Difficulty(**{name: _number(value) for name, value in content["difficulty"].items()}),
            regression=_known(content["regression"]),
            discs=_known(content["discs"]),
            level=_number(content["level"]),
        )
        if not 0.5 <= found.level < 1 or found.naive_half_width <= 0 or found.difficulty.floor <= 0:
            raise ValueError("out of range")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise EchocycleError(
            f"{path} is not a readable calibration. Delete it and run `echocycle evaluate` on its run again."
        ) from None
    return found


def _rows(known: Known) -> list[list[float]]:
    """A row for each video: true EF, predicted EF, difficulty."""
    return np.round(np.column_stack([known.ef_true, known.ef_pred, known.difficulty]), 4).tolist() if len(known) else []


def _known(rows: Any) -> Known:
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(table).all() or (table[:, 2] <= 0).any():
        raise ValueError("not finite")
    return Known(table[:, 0], table[:, 1], table[:, 2])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise TypeError(value)
    return float(value)
