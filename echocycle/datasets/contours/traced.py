"""What every reader of masks or contours gives, and what they share: sizes, polygons, which label is ours."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError

Phase = Literal["", "ED", "ES"]


@dataclass(frozen=True, eq=False)
class Traced:
    """The left ventricle in one frame."""

    frame: int | None
    """Index from 0; None where the file does not say."""
    phase: Phase
    """Whether the file says that this is end diastole or end systole."""
    mask: NDArray[np.bool_]
    """(height, width) of the video."""


class Wanted(NamedTuple):
    """The video whose masks are read."""

    name: str
    """Its file name without suffix, which files on many videos are searched for."""
    frames: int
    height: int
    width: int


def check_size(path: Path, height: int, width: int, wanted: Wanted) -> None:
    """Refuse masks of another size than the video's; nothing is scaled, because that hides exchanged files."""
    if (height, width) != (wanted.height, wanted.width):
        raise EchocycleError(
            f"{path} is for pictures of {height}x{width} pixels, the video has {wanted.height}x{wanted.width}. Export "
            "it at the video's size."
        )


def fill(path: Path, points: Sequence[Sequence[float]], wanted: Wanted) -> NDArray[np.bool_]:
    """Mask of a polygon of (x, y) in pixels; (0, 0) is the corner of the first pixel, as annotation tools count."""
    from skimage.draw import polygon

    corners = np.asarray(points, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise EchocycleError(f"{path} holds a polygon that is none: three corners (x, y) or more are needed.")
    mask = np.zeros((wanted.height, wanted.width), bool)
    mask[polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, mask.shape)] = True
    return mask


_VENTRICLE = re.compile(r"(?<![a-z])(lv|left[ _-]?ventricle|left[ _-]?ventricular|endo\w*)(?![a-z])")
_NOT_THE_CAVITY = re.compile(r"myo|epi|wall|muscle|atri|right")
_PHASES: dict[Phase, re.Pattern[str]] = {
    "ED": re.compile(r"(?<![a-z])(ed|end[ _-]?diastol\w*|diastol\w*)(?![a-z])"),
    "ES": re.compile(r"(?<![a-z])(es|end[ _-]?systol\w*|systol\w*)(?![a-z])"),
}


def phase_of(text: str) -> Phase:
    """`ED` or `ES` where a label or file name says so, else ""."""
    found: list[Phase] = [phase for phase, pattern in _PHASES.items() if pattern.search(text.casefold())]
    return found[0] if len(found) == 1 else ""


def ventricle_labels(path: Path, labels: Iterable[str]) -> set[str]:
    """Which labels of a file are the cavity of the left ventricle: the only one, or those that say so."""
    distinct = set(labels)
    if len(distinct) <= 1:
        return distinct
    named = {
        label
        for label in distinct
        if (_VENTRICLE.search(label.casefold()) or label.strip().casefold() in ("ed", "es"))
        and not _NOT_THE_CAVITY.search(label.casefold())
    }
    if not named:
        raise EchocycleError(
            f"{path} has the labels {', '.join(sorted(distinct))}; which is the left ventricle? Call it LV, or leave "
            "the others out."
        )
    return named


def frame_in_name(name: str) -> int | None:
    """The last number in a file's name, such as 12 in `clip_frame_0012.png`; None where there is none."""
    numbers = re.findall(r"\d+", Path(name).stem)
    return int(numbers[-1]) if numbers and len(numbers[-1]) < 7 else None


def of_this_video(names: Sequence[str], wanted: Wanted) -> list[bool]:
    """Which pictures, by their file names, belong to the video: those that name it, or all where none names it."""
    mine = [wanted.name.casefold() in name.casefold() for name in names]
    return mine if any(mine) else [True] * len(names)


def frame_after(name: str, wanted: Wanted) -> int | None:
    """The frame number in a picture's name, without the digits of the video's own name."""
    stem = Path(name).stem
    start = stem.casefold().rfind(wanted.name.casefold())
    if start >= 0:
        stem = stem[:start] + stem[start + len(wanted.name) :]
    return frame_in_name(f"{stem}.png")
