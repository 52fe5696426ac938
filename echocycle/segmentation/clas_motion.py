"""CLAS's motion: the head that tells it, and pictures and masks carried along it."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from echocycle.models.convolutions import SpatialConv, TemporalConv

Grid = Literal["identity", "code"]


class MotionHead(nn.Module):
    """Motion forward (x, y) and backward (x, y) of every pixel, -1 to 1, from a clip's features."""

    def __init__(self, dim: int, *, around: bool):
        """`around`: look at three successive frames, for features of frames that know no others."""
        super().__init__()
        layers: list[nn.Module] = []
        if around:
            layers = [
                TemporalConv(dim, dim // 8, (3, 1, 1), padding=(1, 0, 0), bias=False),
                nn.BatchNorm3d(dim // 8),
                nn.ReLU(inplace=True),
            ]
        last = SpatialConv(dim // 8 if around else dim, 4, 1)
        nn.init.normal_(last.weight, std=1e-5**0.5)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(*layers, last)

    def forward(self, features: Tensor, size: int) -> Tensor:
        """Features (batch, dim, time, rows, columns) -> motion (batch, 4, time, size, size)."""
        motion = self.layers(features)
        if motion.shape[-1] != size:
            time = motion.shape[2]
            motion = F.interpolate(motion.transpose(1, 2).flatten(0, 1), (size, size), mode="bilinear")
            motion = motion.unflatten(0, (-1, time)).transpose(1, 2)
        return torch.tanh(motion)


def carried(
    label: Float[Tensor, "batch maps height width"],
    place: Int[Tensor, " batch"],
    forward: Float[Tensor, "batch 2 time height width"],
    backward: Float[Tensor, "batch 2 time height width"],
    grid: Grid = "identity",
) -> Float[Tensor, "batch maps time height width"]:
    """A label carried from its place in the clip to all frames after it and before it."""
    time = forward.shape[2]
    after = _carried_on(label, place, forward, grid)
    before = _carried_on(label, time - 1 - place, backward.flip(2), grid).flip(2)
    later = torch.arange(time, device=place.device) >= place[:, None]
    return torch.where(later[:, None, :, None, None], after, before)


def _carried_on(label: Tensor, place: Tensor, motion: Tensor, grid: Grid) -> Tensor:
    """A label carried from its place on; 0 before it."""
    here, frames = torch.zeros_like(label), []
    for moment in range(motion.shape[2]):
        if moment:
            here = shifted(here, motion[:, :, moment - 1], grid)
        here = torch.where((place == moment)[:, None, None, None], label, here)
        frames.append(here)
    return torch.stack(frames, 2)


def shifted(
    images: Float[Tensor, "n channel height width"], motion: Float[Tensor, "n 2 height width"], grid: Grid = "identity"
) -> Float[Tensor, "n channel height width"]:
    """W(I, u): each pixel taken from where its (x, y) motion points, the frame being -1 to 1; the border goes on.

    Args:
        grid: `identity` starts from each pixel's centre, `code` from n places spread evenly over -1 to 1, of which the
            outer ones are the frame's edges.
    """
    identity = torch.eye(2, 3, device=images.device, dtype=images.dtype).expand(len(images), -1, -1)
    places = F.affine_grid(identity, list(images.shape), align_corners=grid == "code")
    places = places + motion.movedim(1, -1).to(images.dtype)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def unevenness(motion: Float[Tensor, "batch 2 time height width"]) -> Float[Tensor, " time"]:
    """h(u), how much motion differs from pixel to pixel."""
    height, width = motion.shape[-2:]
    along_x = motion.diff(dim=-1).square().sum((0, 1, 3, 4)) / height
    along_y = motion.diff(dim=-2).square().sum((0, 1, 3, 4)) / width
    return (0.01 + (along_x + along_y) / len(motion)).sqrt()
