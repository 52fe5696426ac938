"""Which videos teach most: how unsure the model is, how unlike what is labelled they are, and no ten copies.

For every video without a label four doubts are measured in what the model in use says of it, and each is put into ranks
among these videos: how far EF by discs and by the EF network are apart; how EF spreads over clips, over beats, and over
members; how unlike the labelled videos it looks. The score is their mean rank. Then videos are taken one after the
other, the next being the one with the largest product of its score (a little raised) and its distance to what is
labelled or taken already (greedy k-centre; Sener and Savarese, ICLR 2018, weighted by doubt).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echocycle.labelling.looked import Looked

DOUBTS = ("disagreement", "spread_clips", "spread_beats", "spread_members", "unlikeness")
WORDS = {
    "disagreement": "Discs and the EF network disagree by {value:.0f} points",
    "spread_clips": "EF differs by {value:.0f} points from clip to clip",
    "spread_beats": "EF differs by {value:.0f} points from beat to beat",
    "spread_members": "The members of the model differ by {value:.0f} points",
    "unlikeness": "It looks unlike the videos that are labelled",
}
NOTABLE = 0.75
"""Rank among all videos from which on a doubt is a reason."""
CHOSEN = 200
"""Videos that are chosen with regard to one another; the rest follows by score."""
LEAST_WEIGHT = 0.1
"""Added to every score before it is multiplied with the distance: the surest video is still worth more than a copy."""
LEAST_POINTS = 2.0
"""EF points below which a difference is no reason to name."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A video that is worth a label."""

    id: str
    score: float
    """0 to 1: mean rank of the doubts among all videos without a label."""
    reasons: tuple[str, ...]
    """Sentences, the strongest first."""


def doubts_of(looked: Looked) -> dict[str, float]:
    """How unsure a model is of one video: those of `DOUBTS` that can be told from it alone, EF points."""
    numbers = looked.numbers
    found = {name: numbers[name] for name in DOUBTS if name in numbers}
    if "ef" in numbers and "ef_discs" in numbers:
        found["disagreement"] = abs(numbers["ef"] - numbers["ef_discs"])
    return found


def rank(
    videos: Sequence[str],
    doubts: Sequence[dict[str, float]],
    looks: NDArray[np.float32],
    labelled: NDArray[np.float32],
    without_beats: Sequence[bool],
) -> list[Suggestion]:
    """Videos without a label in the order in which they should be looked at.

    Args:
        doubts: of each video, as `doubts_of` gives them.
        looks: (videos, values), what each looks like.
        labelled: (labelled videos, values), the same of those that have a label.
        without_beats: whether the model found no beat in a video.
    """
    if not videos:
        return []
    seen: Floats = looks.astype(np.float64)
    near = _nearest(seen, labelled.astype(np.float64)) if len(labelled) else np.full(len(videos), np.nan)
    table = np.array([[each.get(name, np.nan) for name in DOUBTS[:-1]] for each in doubts]).reshape(len(videos), -1)
    table = np.column_stack([table, near])
    ranks = np.column_stack([_ranks(column) for column in table.T])
    known = np.isfinite(ranks)
    score = np.where(known, ranks, 0).sum(1) / np.maximum(known.sum(1), 1)
    score[~known.any(1)] = 0.5
    score[list(without_beats)] = 1.0  # where it finds no beat at all it knows least
    order = _spread_out(score, seen, near)
    return [Suggestion(videos[i], float(score[i]), _reasons(table[i], ranks[i], bool(without_beats[i]))) for i in order]


def _ranks(values: Floats) -> Floats:
    """Ranks from 0 to 1 among the values that are known, ties sharing theirs; NaN for the others."""
    from scipy.stats import rankdata

    found = np.full(len(values), np.nan)
    known = np.isfinite(values)
    count = int(known.sum())
    if count:
        found[known] = 0.5 if count == 1 else (rankdata(values[known]) - 1) / (count - 1)
    return found


def _nearest(looks: Floats, others: Floats) -> Floats:
    """Distance of each to the nearest of others."""
    nearest = np.full(len(looks), np.inf)
    for other in others:
        nearest = np.minimum(nearest, np.linalg.norm(looks - other, axis=1))
    return nearest


def _spread_out(score: Floats, looks: Floats, near: Floats) -> list[int]:
    """The order: greedy among the first `CHOSEN`, then by score."""
    distance = near.copy()
    left = np.ones(len(score), dtype=bool)
    taken: list[int] = []
    for _ in range(min(CHOSEN, len(score))):
        worth = (score + LEAST_WEIGHT) * (distance if np.isfinite(distance).all() else 1.0)
        worth = np.where(left, worth + 1e-9 * score, -np.inf)  # copies of what is taken come last, but by score
        best = int(np.argmax(worth))
        taken.append(best)
        left[best] = False
        to_best = np.linalg.norm(looks - looks[best], axis=1)
        distance = np.where(np.isfinite(distance), np.minimum(distance, to_best), to_best)
    rest = np.flatnonzero(left)
    return taken + rest[np.argsort(-score[rest], kind="stable")].tolist()


def _reasons(values: Floats, ranks: Floats, without_beats: bool) -> tuple[str, ...]:
    reasons = ["The model finds no beat in it"] if without_beats else []
    for place in np.argsort(-np.nan_to_num(ranks, nan=-1.0), kind="stable"):
        name = DOUBTS[place]
        if not ranks[place] >= NOTABLE or (name != "unlikeness" and values[place] < LEAST_POINTS):
            continue
        reasons.append(WORDS[name].format(value=values[place]))
    return tuple(reasons) or ("It differs from the others that are suggested",)
