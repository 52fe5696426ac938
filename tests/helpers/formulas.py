"""The equations, written out slowly with loops in float64: what the fast code must give."""

import math
from collections.abc import Sequence
from typing import Any

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
    """L_css (paper Eq. 1 to 7) of one clip of features (time, dim); every frame number is 0-based."""
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
    """L_seg (paper Eq. 8): (sum of the cross-entropy over ED frames and pixels + the same for ES) / 2, of (2, batch, height, width)."""
    sums = []
    for phase in range(2):
        total = 0.0
        for logit, mask in zip(logits[phase].ravel(), masks[phase].ravel(), strict=True):
            p = 1 / (1 + math.exp(-float(logit)))
            total -= mask * math.log(p) + (1 - mask) * math.log(1 - p)
        sums.append(total)
    return (sums[0] + sums[1]) / 2


def squared_error(predicted: Sequence[float], wanted: Sequence[float]) -> float:
    """Mean squared difference: L_m, L_lb and L_ulb (paper Eq. 10 to 12)."""
    total = 0.0
    for one, other in zip(predicted, wanted, strict=True):
        total += (float(one) - float(other)) ** 2
    return total / len(predicted)


def distillation(student: Sequence[float], teacher: Sequence[float], weight: float, halved: bool) -> float:
    """w L_ulb as the paper has it in Eq. 13, or w L_ulb / 2 as its code has it."""
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


def adacon_ranks(efs: Sequence[float]) -> list[float]:
    """Phi of each EF: how many lie in lower bins of 0.05 points, and half of those in its own."""
    bins = [math.floor(np.float32(ef) * np.float32(20)) for ef in efs]
    return [sum(other < own for other in bins) + sum(other == own for other in bins) / 2 for own in bins]


def adacon(features: np.ndarray, efs: Sequence[float], labelled_efs: Sequence[float], scale: float = 150.0) -> float:
    """The mean of AdaCon's loss over anchors, of features (n, dim) of length 1 whose EF are among the labelled."""
    count = len(features)
    phi = dict(zip(labelled_efs, adacon_ranks(labelled_efs), strict=True))

    def alike(i: int, j: int) -> bool:
        return math.floor(np.float32(efs[i]) * np.float32(20)) == math.floor(np.float32(efs[j]) * np.float32(20))

    def similarity(i: int, j: int) -> float:
        margin = 0.0 if alike(i, j) else min(2.0, 2 / len(labelled_efs) * abs(phi[efs[i]] - phi[efs[j]]))
        return sum(float(a) * float(b) for a, b in zip(features[i], features[j], strict=True)) + margin

    total = 0.0
    for i in range(count):
        others = [a for a in range(count) if a != i]
        highest = max(scale * similarity(i, a) for a in others)
        logarithm = highest + math.log(sum(math.exp(scale * similarity(i, a) - highest) for a in others))
        positives = [p for p in others if alike(i, p)]
        total -= sum(scale * similarity(i, p) - logarithm for p in positives) / len(positives)
    return total / count


def moving_average(initial: float, values: Sequence[float], highest: float) -> float:
    """theta' after all steps: theta' <- a theta' + (1 - a) theta with a = min(1 - 1 / (step + 1), highest).

    The step is counted before the average is taken, so the first a is 1/2.
    """
    average = initial
    for step, value in enumerate(values, 1):
        a = min(1 - 1 / (step + 1), highest)
        average = a * average + (1 - a) * value
    return average


def cross_model(
    guesses: tuple[Sequence[float], Sequence[float]], pseudo_labels: tuple[Sequence[float], Sequence[float]]
) -> float:
    """Each network's guesses against the other's pseudo-labels."""
    return squared_error(guesses[0], pseudo_labels[1]) + squared_error(guesses[1], pseudo_labels[0])


def heteroscedastic(y: np.ndarray, z: np.ndarray, target: Sequence[float]) -> float:
    """Mean over clips of the sum over networks m of (y_m - t)^2 / (2 exp z_m) + z_m / 2, of y and z (networks, clips)."""
    total = 0.0
    for clip, wanted in enumerate(target):
        for network in range(len(y)):
            error, variance = float(y[network, clip]) - float(wanted), math.exp(float(z[network, clip]))
            total += error**2 / (2 * variance) + float(z[network, clip]) / 2
    return total / len(target)


def tccl(
    a: np.ndarray,
    b: np.ndarray,
    start: int,
    *,
    phase_length: int = 3,
    search: int = 21,
    temperature: float = 10.0,
    cycle_back: str = "classification",
    smoothing: float = 0.0,
    variance_weight: float = 0.001,
) -> float:
    """The loss between two clips of features (time, dim): from phase `start` of the first to the second and back."""
    s, dim = phase_length, a.shape[1]

    def gamma(one: np.ndarray, other: np.ndarray) -> float:
        return -sum(float(x - y) ** 2 for x, y in zip(one.ravel(), other.ravel(), strict=True)) / (dim * s)

    alpha = softmax([temperature * gamma(a[start : start + s], b[q : q + s]) for q in range(search)])
    found = np.zeros((s, dim))
    for weight, q in zip(alpha, range(search), strict=True):
        found = found + weight * b[q : q + s]
    phases = len(a) - s + 1
    beta = softmax([temperature * gamma(found, a[p : p + s]) for p in range(phases)])
    if cycle_back == "classification":
        loss = -(1 - smoothing) * math.log(beta[start])
        return loss - smoothing / phases * sum(math.log(share) for share in beta)
    mean = sum(share * p / phases for p, share in enumerate(beta))
    variance = sum(share * (p / phases - mean) ** 2 for p, share in enumerate(beta))
    variance = max(variance, (1 / phases) ** 2 / 12)  # that of a number rounded to the next phase
    return (start / phases - mean) ** 2 / variance + variance_weight * math.log(variance)


def cps(first: np.ndarray, second: np.ndarray) -> float:
    """Half the summed cross-entropy of each network's logits with the other's hard answers."""
    total = 0.0
    for one, other in ((first, second), (second, first)):
        for logit, teacher in zip(one.ravel(), other.ravel(), strict=True):
            p = 1 / (1 + math.exp(-float(logit)))
            total -= math.log(p) if teacher > 0 else math.log(1 - p)
    return total / 2


def attention(target: np.ndarray, neighbour: np.ndarray, query: Any, key: Any, value: Any) -> np.ndarray:
    """What each position of a target (dim, rows, columns) sees of a neighbour; the weights are (inner, dim)."""
    _, rows, columns = target.shape
    inner = len(query)
    places = [(row, column) for row in range(rows) for column in range(columns)]
    seen = np.zeros((inner, rows, columns))
    for row, column in places:
        asked = query @ target[:, row, column]
        shares = softmax([float(asked @ (key @ neighbour[:, r, c])) / math.sqrt(inner) for r, c in places])
        for share, (r, c) in zip(shares, places, strict=True):
            seen[:, row, column] += share * (value @ neighbour[:, r, c])
    return seen


def shifted(image: np.ndarray, motion: np.ndarray, grid: str = "identity") -> np.ndarray:
    """W(I, u) of an image (channels, height, width): bilinear at each pixel plus (x, y) in units of half the frame.

    `code`: pixel j of n begins at -1 + 2 j / (n - 1), where the frame's edges are -1 and 1, not at its own place.
    """
    channels, height, width = image.shape
    moved = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            x = column + motion[0, row, column] * width / 2
            y = row + motion[1, row, column] * height / 2
            if grid == "code":
                x += column * width / (width - 1) - 0.5 - column
                y += row * height / (height - 1) - 0.5 - row
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)  # the border goes on
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - left, y - top
            for channel in range(channels):
                plane = image[channel]
                above = (1 - a) * plane[top, left] + a * plane[top, left + 1]
                below = (1 - a) * plane[top + 1, left] + a * plane[top + 1, left + 1]
                moved[channel, row, column] = (1 - b) * above + b * below
    return moved


def clas(
    images: np.ndarray,
    logits: np.ndarray,
    forward: np.ndarray,
    backward: np.ndarray,
    masks: np.ndarray,
    places: list[tuple[int, int]],
    grid: str = "identity",
) -> dict[str, float]:
    """The four losses of clips: images, logits and motion (batch, channels, time, height, width), masks of ED and ES."""
    count, _, time, height, width = images.shape

    def unevenness(motion: np.ndarray, t: int) -> float:
        across = down = 0.0
        for sample in range(count):
            for plane in motion[sample, :, t]:
                across += sum((plane[r, c + 1] - plane[r, c]) ** 2 for r in range(height) for c in range(width - 1))
                down += sum((plane[r + 1, c] - plane[r, c]) ** 2 for r in range(height - 1) for c in range(width))
        return math.sqrt(0.01 + (across / height + down / width) / count)

    def entropy(values: np.ndarray, labels: np.ndarray) -> float:
        total = 0.0
        for value, label in zip(values.ravel(), labels.ravel(), strict=True):
            p = 1 / (1 + math.exp(-float(value)))
            total -= label * math.log(p) + (1 - label) * math.log(1 - p)
        return total / values.size

    def dice(a: np.ndarray, b: np.ndarray) -> float:
        return 1 - (2 * float((a * b).sum()) + 1) / (float(a.sum() + b.sum()) + 1)

    appearance = 0.0
    for t in range(time - 1):
        there = [shifted(images[i, :, t], forward[i, :, t], grid) - images[i, :, t + 1] for i in range(count)]
        back = [shifted(images[i, :, t + 1], backward[i, :, t + 1], grid) - images[i, :, t] for i in range(count)]
        appearance += float(np.mean(np.square(there))) + float(np.mean(np.square(back)))
        appearance += 0.005 * (unevenness(forward, t) + unevenness(backward, t + 1))

    segmentation, propagation, overlap = [], [], []
    for i in range(count):
        labels = [np.stack([1 - mask, mask]) for mask in masks[i]]
        segmentation += [entropy(logits[i, :, places[i][k]], labels[k]) for k in range(2)]
        visited = 0.0
        for own in range(2):
            begin, other = places[i][own], places[i][1 - own]
            for step, end, motion in ((1, time - 1, forward), (-1, 0, backward)):
                here, t = labels[own], begin
                while t != end:
                    here, t = shifted(here, motion[i, :, t], grid), t + step
                    if t == other:
                        overlap.append(dice(here, labels[1 - own]))
                    else:
                        visited += entropy(logits[i, :, t], here)
        propagation.append(visited / (2 * (time - 2)))
    return {
        "appearance": appearance / (2 * (time - 1)),
        "segmentation": float(np.mean(segmentation)),
        "propagation": float(np.mean(propagation)),
        "overlap": float(np.mean(overlap)),
    }


def agreement(answers: np.ndarray, weights: Sequence[float]) -> tuple[list[float], list[float]]:
    """Weighted mean and standard deviation of answers (members, clips, videos) that may be missing (NaN)."""
    means, spreads = [], []
    members, clips, videos = answers.shape
    for video in range(videos):
        said = []
        for member in range(members):
            given = [float(answers[member, clip, video]) for clip in range(clips)]
            given = [answer for answer in given if not math.isnan(answer)]
            said += [(weights[member] / len(given), answer) for answer in given]
        total = sum(weight for weight, _ in said)
        mean = sum(weight * answer for weight, answer in said) / total
        means.append(mean)
        spreads.append(math.sqrt(sum(weight * (answer - mean) ** 2 for weight, answer in said) / total))
    return means, spreads


def trust(spreads: Sequence[float]) -> list[float]:
    """1 / (1 + s^2 / m^2) for the median m, brought to mean 1."""
    median = float(np.median(spreads))
    found = [1 / (1 + spread**2 / median**2) for spread in spreads]
    return [each * len(found) / sum(found) for each in found]
