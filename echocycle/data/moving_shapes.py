"""Clips of moving shapes: what a network can learn to see without a heart, a patient or a label.

A textured blob on a textured ground, with a rim or without, grows and shrinks, turns and wanders to the beat of a
wave; the ground moves a little, and there is noise. Nothing in it is measured on hearts: sizes, contrasts, rates and
amplitudes are uniform over wide ranges. What is known of each clip is how its blob moves, and where it is.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from echocycle.data.clips import Sampler
from echocycle.data.labels import TrainingData

CANVAS = 96
"""Side of the pictures from which a clip is cut, in pixels."""
GRAIN = (4, 9, 20, 44)
"""Cells along a side of the noises that make a texture."""
MOTIONS = ("growth", "squeeze", "turn", "shift x", "shift y", "rate", "size")
"""What is asked of a clip, in this order; each is brought to about mean 0 and a spread of 0.5 to 1."""


class ShapeBatch(NamedTuple):
    """Clips of moving shapes, already normalised."""

    video: Tensor
    """float32 (batch, time, height, width); each clip has mean 0 and standard deviation 1."""
    motion: Tensor
    """float32 (batch, motions): see `MOTIONS`."""
    inside: Tensor
    """float32 (batch, time, height / 4, width / 4): share of each cell that the blob covers."""


@dataclass(frozen=True)
class ShapeSampler(Sampler):
    """Draws a new clip for every sample; the video that it stands for is not looked at."""

    frames: int
    size: int

    def draw(self, data: TrainingData | None, video: int, rng: np.random.Generator) -> ShapeBatch:
        """One clip, with the axes of a batch of one left out."""
        return draw_shape(rng, self.frames, self.size)


def draw_shape(rng: np.random.Generator, frames: int, size: int) -> ShapeBatch:
    """One clip of a moving shape, (time, size, size), with its motion and its place."""
    distance, angle = _polar()
    radius = np.full_like(distance, 0.55)
    for lobes in (2, 3, 4):
        radius += rng.uniform(0, 0.14 / (lobes - 1)) * np.cos(lobes * angle + rng.uniform(0, 2 * math.pi))
    blob = 1 / (1 + np.exp((distance - radius) / rng.uniform(0.02, 0.1)))
    thickness = rng.uniform(0.05, 0.25)
    rim = np.exp(-(((distance - radius - thickness) / thickness) ** 2)) * (rng.random() < 0.6)

    level = rng.uniform(-1, 1)
    ground = level + rng.uniform(0.2, 0.9) * _texture(rng)
    side = -1 if rng.random() < 0.7 else 1  # more often darker than the ground than brighter
    filling = level + side * rng.uniform(0.4, 1.8) + rng.uniform(0.1, 0.7) * _texture(rng)
    edge = rng.uniform(-1, 2) + rng.uniform(0.1, 0.8) * _texture(rng)

    rate = rng.uniform(0.4, 2.6)  # beats a clip
    beat = wave(rate * np.arange(frames) / frames + rng.random(), rng.uniform(0.3, 0.7)) - 0.5
    growth = rng.uniform(0, 0.8, 2) * (rng.random(2) < 0.8)
    turn = rng.uniform(-0.6, 0.6) * (rng.random() < 0.5)
    shift = rng.uniform(-0.35, 0.35, 2) * (rng.random(2) < 0.6)
    width = rng.uniform(0.45, 1.0)
    at_rest = np.array([width, width * math.exp(rng.uniform(-0.35, 0.35))])
    scale = at_rest * np.exp(growth * beat[:, None])
    rotation = rng.uniform(-math.pi, math.pi) + turn * beat
    drift = rng.uniform(-0.15, 0.15, 2) * (np.arange(frames) / frames - 0.5)[:, None]
    centre = rng.uniform(-0.3, 0.3, 2) + shift * beat[:, None] + drift

    places = F.affine_grid(_inverse(scale, rotation, centre), [frames, 1, size, size], align_corners=False)
    within = (places.abs().amax(-1) < 1).float()
    layers = torch.from_numpy(np.stack([filling, blob, edge, rim]).astype(np.float32))
    fill, cover, border, line = _cut(layers, places).unbind(1)
    cover, line = cover * within, line * within
    sway = rng.uniform(-0.1, 0.1, 2) * beat[:, None] * (rng.random() < 0.5)
    moving = torch.zeros(frames, 2, 3)
    moving[:, 0, 0] = moving[:, 1, 1] = 0.85
    moving[:, :, 2] = torch.from_numpy(sway)
    behind = F.affine_grid(moving, [frames, 1, size, size], align_corners=False)
    video = _cut(torch.from_numpy(ground.astype(np.float32))[None], behind)[:, 0]
    video = video * (1 - line) + border * line
    video = video * (1 - cover) + fill * cover
    noise = rng.standard_normal(video.shape, dtype=np.float32) * np.float32(rng.uniform(0, 0.3))
    video = video + torch.from_numpy(noise)
    motion = [
        (growth.sum() - 0.64) / 0.4,
        abs(growth[0] - growth[1]) / 0.3 - 0.8,
        abs(turn) / 0.2 - 0.7,
        abs(shift[0]) / 0.12 - 0.9,
        abs(shift[1]) / 0.12 - 0.9,
        (rate - 1.5) / 0.64,
        (math.log(at_rest.prod()) + 0.7) / 0.5,
    ]
    return ShapeBatch(
        (video - video.mean()) / video.std(),
        torch.tensor(motion, dtype=torch.float32),
        F.avg_pool2d(cover[:, None], 4)[:, 0],
    )


def wave(phase: np.ndarray, falling: float) -> np.ndarray:
    """A beat as numbers from 1 to 0 and back, of a phase in beats; `falling` is the share of the way down."""
    part = phase % 1
    down = 0.5 * (1 + np.cos(math.pi * part / falling))
    up = 0.5 * (1 - np.cos(math.pi * (part - falling) / (1 - falling)))
    return np.where(part < falling, down, up)


@cache
def _polar() -> tuple[np.ndarray, np.ndarray]:
    """Distance from the middle of the canvas (1 at its sides) and angle of every pixel."""
    axis = np.linspace(-1, 1, CANVAS)
    return np.hypot(axis[:, None], axis), np.arctan2(axis[:, None], axis)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Noises of several grains, with standard deviation 1."""
    whole = np.zeros((CANVAS, CANVAS), np.float32)
    for cells in GRAIN:
        noise = torch.from_numpy(rng.random((1, 1, cells, cells), dtype=np.float32) - 0.5)
        smooth = F.interpolate(noise, (CANVAS, CANVAS), mode="bicubic", align_corners=True)[0, 0].numpy()
        whole += np.float32(rng.random()) * smooth
    found: np.ndarray = whole / whole.std()
    return found


def _inverse(scale: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> Tensor:
    """From places in the frame to places on the canvas, (time, 2, 3): of scale (time, 2), rotation (time,) and
    centre (time, 2)."""
    cosine, sine = np.cos(rotation), np.sin(rotation)
    back = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], -2) / scale[:, :, None]
    whole = np.concatenate([back, -back @ centre[:, :, None]], -1)
    return torch.from_numpy(whole.astype(np.float32))


def _cut(layers: Tensor, places: Tensor) -> Tensor:
    """Layers (layer, canvas, canvas) at places (time, size, size, 2), (time, layer, size, size)."""
    many = layers[None].expand(len(places), -1, -1, -1)
    return F.grid_sample(many, places, align_corners=False, padding_mode="border")
