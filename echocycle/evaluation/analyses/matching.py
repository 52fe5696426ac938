"""How a phase of the heartbeat is matched: alpha over the search region, beta over the template's (Figs. 3 and A1).

The formulas are those of `segmentation/css.py`, run on stored features; nothing is trained here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echocycle.segmentation.css import PAPER_POSITIONS, CSSOptions, cycle
from echocycle.settings.convert import from_dict

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Match:
    """One phase's way: where it starts, where it is found, where it leads back to. Frames of the video throughout."""

    template: int
    """First frame of the phase p*."""
    searched: NDArray[np.int64]
    """First frame of each phase q of the search region."""
    alpha: Floats
    candidates: NDArray[np.int64]
    """First frame of each candidate p."""
    beta: Floats
    target: int
    """The candidate that it should lead back to, as a frame."""

    @property
    def hit(self) -> bool:
        """Whether beta is largest at its target."""
        return bool(self.candidates[int(self.beta.argmax())] == self.target)

    def agreement(self, phase: Floats) -> float:
        """How well alpha finds the moment of the beat that p* shows: 1 right, 0 as by chance, -1 half a beat off."""
        there, here = phase[self.searched], phase[self.template]
        known = np.isfinite(there)
        weight = self.alpha[known].sum()
        if not np.isfinite(here) or weight < 0.5:
            return float("nan")
        return float((self.alpha[known] * np.cos(2 * np.pi * (there[known] - here))).sum() / weight)


def options_of_run(option: Mapping[str, Any]) -> CSSOptions:
    """The windows and the temperature that a run's features were trained with; CSS's own where it has none of them."""
    known = {field.name for field in fields(CSSOptions)} - {"source", "candidates", "weight"}
    return from_dict(CSSOptions, {name: value for name, value in option.items() if name in known}, "option.")


def fitted(options: CSSOptions, n_frames: int, beats: float | None = None, beat: float = float("nan")) -> CSSOptions:
    """The same windows with a search region as long as a video of `n_frames` allows, or as so many beats need.

    Args:
        beats: how many beats the clip is to cover; by default its own length, if that fits.
        beat: frames in a beat.
    """
    frames = options.frames if beats is None else int(np.ceil(beats * beat / options.period)) + 1
    frames = min(frames, (n_frames - 1) // options.period + 1)
    search = frames - options.template - options.phase_length - options.offset + 1
    return replace(options, search=search) if search >= 1 else options


def fits(options: CSSOptions, n_frames: int) -> bool:
    """Whether a clip of these windows fits into a video."""
    return (options.frames - 1) * options.period + 1 <= n_frames


def match(features: Floats, options: CSSOptions, start: int, positions: int, first: int = 0) -> Match:
    """Match one phase within one clip.

    Args:
        features: (time, dim), one vector for each frame of the video, summed over positions.
        start: p*, 0-based, in frames of the clip.
        positions: of the map that was summed over; the temperature is rescaled as in training.
        first: the video frame that the clip begins with.
    """
    o = options
    numbers = first + o.period * np.arange(o.frames)
    clip = torch.from_numpy(np.asarray(features[numbers], np.float64))[None]
    if o.pooling == "mean":
        clip, temperature = clip / positions, o.temperature
    else:
        temperature = o.temperature * ((PAPER_POSITIONS / positions) ** 2 if o.rescale_temperature else 1)
    found = cycle(
        clip, torch.tensor([start]), o.phase_length, o.offset, o.template, o.search, temperature, o.candidates
    )
    among = o.offset + np.arange(o.starts) if o.candidates == "code" else np.arange(o.template)
    return Match(
        int(numbers[start]),
        numbers[o.template : o.template + o.search],
        found.alpha[0].numpy(),
        numbers[among],
        found.beta[0].numpy(),
        int(numbers[start + o.offset]),
    )


def entropy(weights: Floats) -> float:
    """Entropy of weights as a share of the largest that so many can have: 0 all on one, 1 even."""
    positive = weights[weights > 0]
    return float(-(positive * np.log(positive)).sum() / np.log(len(weights))) if len(weights) > 1 else 0.0
