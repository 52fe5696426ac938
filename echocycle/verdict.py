"""What a model is worth: its error on held-out videos beside the naive answer's, kept in the bundle as verdict.json.

`evaluation/held_out.py` makes it from predictions.csv; `predict` says it.
"""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from echocycle.bundle_description import read_description
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json

NAME = "verdict.json"
SPLITS = {"test": "test", "val": "validation"}


@dataclass(frozen=True)
class Verdict:
    """How a model did on videos that it was not trained on. EF and errors are in percentage points."""

    split: str
    """`test`; or `val`, by which the model was also chosen."""
    videos: int
    error: float
    """Mean absolute error of the EF."""
    low: float | None
    """Lower end of its 95 % interval; None where it is undefined."""
    high: float | None
    naive_ef: float
    """The mean EF of the labelled training videos, which the naive answer always gives."""
    naive_error: float
    """Mean absolute error of that answer on the same videos."""
    protocol: str
    """How clips were chosen and averaged."""

    def __post_init__(self) -> None:
        numbers = (self.error, self.naive_ef, self.naive_error, *(e for e in (self.low, self.high) if e is not None))
        if not all(map(math.isfinite, numbers)) or self.videos < 1 or self.error < 0 or self.naive_error < 0:
            raise ValueError(f"no verdict can hold these numbers: {self}")

    @property
    def bad(self) -> bool:
        """Whether always giving the same answer is at least as good."""
        return self.error >= self.naive_error

    @property
    def shown(self) -> bool:
        """Whether the whole interval of the error lies below the naive answer's error."""
        return self.high is not None and self.high < self.naive_error

    def sentence(self) -> str:
        """The verdict in words."""
        words = (
            f"On {self.videos} {SPLITS.get(self.split, self.split)} videos this model errs by {self.error:.1f} points"
        )
        if self.low is not None and self.high is not None and not self.bad:
            words += f" (95 % interval {self.low:.1f} to {self.high:.1f})"
        words += f"; always answering {self.naive_ef:.1f} % errs by {self.naive_error:.1f}."
        if self.bad:
            return f"{words} Do not use it."
        return words if self.shown else f"{words} It is not shown to be better than that."


def write_verdict(bundle: Path, verdict: Verdict) -> Path:
    """Keep the verdict in a bundle (its folder, or the run that holds it), beside the id of the weights it is about."""
    folder, weights = _weights(Path(bundle))
    path = folder / NAME
    content = {"weights": weights, **asdict(verdict), "sentence": verdict.sentence()}
    if not path.exists() or read_json(path) != content:  # what is as it should be is not written again
        write_json(path, content)
    return path


def read_verdict(bundle: Path) -> Verdict | None:
    """The verdict of a bundle; None if there is none, or if it is about other weights than those that lie there.

    Raises `EchocycleError` for a damaged verdict.json.
    """
    folder, weights = _weights(Path(bundle))
    path = folder / NAME
    if not path.exists():
        return None
    content = read_json(path)
    try:
        if content["weights"] != weights:
            return None
        return _verdict(content)
    except (KeyError, TypeError, ValueError):
        raise EchocycleError(
            f"{path} is not a readable verdict. Delete it and run `echocycle evaluate` again."
        ) from None


def _verdict(content: dict[str, Any]) -> Verdict:
    kinds: dict[str, tuple[type, ...]] = {"split": (str,), "protocol": (str,), "videos": (int,)}
    for field in fields(Verdict):
        value = content[field.name]
        optional = field.name in ("low", "high") and value is None
        if not optional and (isinstance(value, bool) or not isinstance(value, kinds.get(field.name, (int, float)))):
            raise TypeError(field.name)
    return Verdict(**{field.name: content[field.name] for field in fields(Verdict)})


def _weights(bundle: Path) -> tuple[Path, dict[str, str]]:
    """The bundle's folder, and the SHA-256 of its weights by part."""
    described = read_description(bundle)
    return described.path, {name: part.sha256 for name, part in described.parts.items()}
