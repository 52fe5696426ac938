"""The equations, written out slowly with loops in float64: what the fast code must give."""

import math
from collections.abc import Sequence

import numpy as np


def softmax(values: Sequence[float]) -> list[float]:
    highest = max(values)
    exponentials = [math.exp(value - highest) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def css(
    z: np.ndarray,
    start: int,
    *,
    phase_length: int = 3,
    offset: int = 2,
    template: int = 15,
    search: int = 21,
    temperature: float = 10.0,
    candidates: str = "code",
) -> float:
    """L_css of one clip of features (time, dim); every frame number is 0-based."""
    s, c, dim = phase_length, offset, z.shape[1]

    def gamma(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        total = 0.0
        for one, other in zip(a, b, strict=True):
            for k in range(dim):
                total += float(one[k] - other[k]) ** 2
        return -total / (dim * s)

    def phase(t: int) -> list[np.ndarray]:
        return [z[t + step] for step in range(s)]

    q_window = range(template, template + search)
    alpha = softmax([temperature * gamma(phase(start), phase(q)) for q in q_window])
    found = []
    for theta in range(c, c + s):
        mean = np.zeros(dim)
        for weight, q in zip(alpha, q_window, strict=True):
            mean = mean + weight * z[q + theta]
        found.append(mean)
    if candidates == "code":  # the first c frames of the template are cut off, so the class is p* itself
        among, target = range(c, template - s + 1), start
    else:
        among, target = range(template), start + c
    beta = softmax([temperature * gamma(found, phase(p)) for p in among])
    return -math.log(beta[target])


def segmentation(logits: np.ndarray, masks: np.ndarray) -> float:
    """(sum of the cross-entropy over ED frames and pixels + the same for ES) / 2, of (2, batch, height, width)."""
    sums = []
    for phase in range(2):
        total = 0.0
        for logit, mask in zip(logits[phase].ravel(), masks[phase].ravel(), strict=True):
            p = 1 / (1 + math.exp(-float(logit)))
            total -= mask * math.log(p) + (1 - mask) * math.log(1 - p)
        sums.append(total)
    return (sums[0] + sums[1]) / 2


def squared_error(predicted: Sequence[float], wanted: Sequence[float]) -> float:
    """Mean squared difference."""
    total = 0.0
    for one, other in zip(predicted, wanted, strict=True):
        total += (float(one) - float(other)) ** 2
    return total / len(predicted)


def distillation(student: Sequence[float], teacher: Sequence[float], weight: float, halved: bool) -> float:
    """w L_ulb as the paper has it, or w L_ulb / 2 as its code has it."""
    loss = weight * squared_error(student, teacher)
    return loss / 2 if halved else loss


def clip(
    video: np.ndarray,
    masks: np.ndarray | None,
    start: int,
    *,
    frames: int,
    period: int,
    mean: float,
    std: float,
    pad: int,
    crop: tuple[int, int],
) -> np.ndarray:
    """A training clip of grey uint8 video (time, height, width), (3 or 4, frames, height, width).

    A frame past the end is 0 after normalisation and -1 in the mask channel; the border is 0 in all channels.
    """
    height, width = video.shape[1:]
    made = np.zeros((3 if masks is None else 4, frames, height, width))
    for place in range(frames):
        number = start + place * period
        for row in range(height):
            for column in range(width):
                at_row, at_column = row + crop[0] - pad, column + crop[1] - pad
                if not (0 <= at_row < height and 0 <= at_column < width):
                    continue
                there = number < len(video)
                grey = (float(video[number, at_row, at_column]) - mean) / std if there else 0.0
                made[:3, place, row, column] = grey
                if masks is not None:
                    probability = float(masks[number, at_row, at_column]) / 255 if there else 0.0
                    made[3, place, row, column] = 2 * probability - 1
    return made
