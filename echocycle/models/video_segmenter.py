"""Segmenters that look at more than one frame at once: networks of the methods `multiframe` and `clas`."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video import R2Plus1D_18_Weights

from echocycle.models.convolutions import SpatialConv
from echocycle.models.regressor import Regressor
from echocycle.models.segmenter import SEGMENTERS, FrameSegmenter
from echocycle.models.weights import load_matching, read_state, torchvision_state


class VideoSegmenter(nn.Module):
    """A segmenter that needs to know where in its video a frame stands."""

    def video(self, images: Callable[[Tensor], Tensor], frames: int, batch: int) -> Tensor:
        """Left-ventricle probabilities of a whole video, (frames, height, width).

        Args:
            images: gives the frames of some numbers (n,), normalised, (n, 3, height, width).
            frames: how many there are.
            batch: about how many go through the network at once; the answer does not depend on it.
        """
        raise NotImplementedError


# ---------------------------------------------------------------------------------- neighbouring frames


class AttentionFusion(nn.Module):
    """Each position of the target looks at all positions of each neighbour; what it sees is joined to it."""

    def __init__(self, dim: int, neighbours: int):
        super().__init__()
        inner = dim // 8
        self.query, self.key, self.value = (nn.Conv2d(dim, inner, 1, bias=False) for _ in range(3))
        self.join = nn.Conv2d(dim + neighbours * inner, dim, 1)

    def forward(self, target: Tensor, neighbours: Tensor) -> Tensor:
        """Features (batch, dim, rows, columns) and (batch, neighbours, dim, rows, columns) -> those of the target."""
        count, places = neighbours.shape[1], target.shape[-2:]
        others = neighbours.flatten(0, 1)
        query = self.query(target).flatten(2).mT[:, None].expand(-1, count, -1, -1)
        key, value = (conv(others).flatten(2).mT.unflatten(0, (-1, count)) for conv in (self.key, self.value))
        seen = F.scaled_dot_product_attention(query, key, value)  # (batch, neighbours, positions, inner)
        return self.join(torch.cat([target, seen.mT.flatten(1, 2).unflatten(-1, places)], 1))  # type: ignore[no-any-return]


class ConcatFusion(nn.Module):
    """The features of target and neighbours side by side, reduced by one convolution."""

    def __init__(self, dim: int, neighbours: int):
        super().__init__()
        self.join = nn.Conv2d((1 + neighbours) * dim, dim, 1)

    def forward(self, target: Tensor, neighbours: Tensor) -> Tensor:
        """Features (batch, dim, rows, columns) and (batch, neighbours, dim, rows, columns) -> those of the target."""
        return self.join(torch.cat([target, neighbours.flatten(1, 2)], 1))  # type: ignore[no-any-return]


FUSIONS: dict[str, type[AttentionFusion] | type[ConcatFusion]] = {"attention": AttentionFusion, "concat": ConcatFusion}
"""Ways to join a frame's features with those of its neighbours, by name."""


class Direction(nn.Module):
    """A segmenter of frames whose features are joined with those of the neighbours on one side."""

    def __init__(self, network: FrameSegmenter, fusion: str, neighbours: int):
        super().__init__()
        self.network, self.neighbours = network, neighbours
        self.fusion = FUSIONS[fusion](network.dim, neighbours)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (batch, 1 + neighbours, 3, height, width), the target first -> its logits (batch, height, width)."""
        levels = [level.unflatten(0, (len(frames), -1)) for level in self.network.encode(frames.flatten(0, 1))]
        return self._decode([level[:, 0] for level in levels], levels[-1][:, 1:], frames)

    def along(self, block: Tensor, margin: int, step: int) -> Tensor:
        """Consecutive frames (n, 3, height, width) -> logits of all but `margin` frames at each end.

        Each frame is encoded once; its neighbours are those `step`, 2 `step`, ... frames later.
        """
        levels = self.network.encode(block)
        count = len(block) - 2 * margin
        firsts = [margin + step * place for place in range(1, self.neighbours + 1)]
        neighbours = torch.stack([levels[-1][first : first + count] for first in firsts], 1)
        return self._decode([level[margin : margin + count] for level in levels], neighbours, block)

    def _decode(self, levels: list[Tensor], neighbours: Tensor, frames: Tensor) -> Tensor:
        return self.network.decode([*levels[:-1], self.fusion(levels[-1], neighbours)], frames.shape[-2:])


class MultiFrameOutput(NamedTuple):
    """What the two models of `MultiFrame` give."""

    before: Tensor
    """(batch, height, width): logits of the model that sees the frames before the target."""
    after: Tensor
    """(batch, height, width): logits of the one that sees those after."""


class MultiFrame(VideoSegmenter):
    """Two models that share nothing, one for either direction; the mean of their probabilities is the answer."""

    def __init__(self, network: str, width: int, fusion: str, neighbours: int, spacing: int):
        super().__init__()
        self.neighbours, self.spacing = neighbours, spacing
        self.before, self.after = (Direction(SEGMENTERS[network](width), fusion, neighbours) for _ in range(2))
        self.to(memory_format=torch.channels_last)

    def forward(self, windows: Tensor) -> MultiFrameOutput:
        """Windows (batch, 2 neighbours + 1, 3, height, width) in the order of time, the target in the middle."""
        return MultiFrameOutput(
            self.before(windows[:, : self.neighbours + 1].flip(1)), self.after(windows[:, self.neighbours :])
        )

    def video(self, images: Callable[[Tensor], Tensor], frames: int, batch: int) -> Tensor:
        """The mean of both models' probabilities; past the ends of the video its end frames stand again."""
        margin = self.neighbours * self.spacing
        found = []
        for first in range(0, frames, batch):
            last = min(first + batch, frames)
            block = images(torch.arange(first - margin, last + margin).clamp(0, frames - 1))
            before, after = (
                self.before.along(block, margin, -self.spacing),
                self.after.along(block, margin, self.spacing),
            )
            found.append((torch.sigmoid(before.float()) + torch.sigmoid(after.float())) / 2)
        return torch.cat(found)


# ------------------------------------------------------------------------------------------------ clips


class ClipOutput(NamedTuple):
    """What `ClipSegmenter` gives."""

    logits: Tensor
    """(batch, 2, time, height, width): background, left ventricle."""
    features: Tensor
    """(batch, dim, time, height, width), from which motion can be told too."""


class ClipSegmenter(VideoSegmenter):
    """R(2+1)D-18 whose five maps, brought to the input's size, are joined pixel by pixel (Chen et al.).

    With width 16 the trunk's parameters are torchvision's, name for name.
    """

    def __init__(self, width: int, frames: int):
        super().__init__()
        widths = (4 * width, 8 * width, 16 * width, 32 * width)
        self.frames, self.dim = frames, widths[0]
        self.trunk = Regressor("r2plus1d_18", widths)
        self.trunk.fc = nn.Identity()  # type: ignore[assignment]
        self.reduce = nn.Linear(widths[0] + sum(widths), self.dim, bias=False)
        self.embed = nn.Sequential(
            nn.BatchNorm3d(self.dim),
            nn.ReLU(inplace=True),
            SpatialConv(self.dim, self.dim, 1, bias=False),
            nn.BatchNorm3d(self.dim),
            nn.ReLU(inplace=True),
        )
        self.head = SpatialConv(self.dim, 2, 1)

    def forward(self, clips: Tensor) -> ClipOutput:
        """Clips (batch, 3, time, height, width), each channel over 0 to 1."""
        x, size = clips.contiguous(memory_format=torch.channels_last_3d), clips.shape[-3:]
        maps = []
        for stage in (self.trunk.stem, self.trunk.layer1, self.trunk.layer2, self.trunk.layer3, self.trunk.layer4):
            x = stage(x)
            maps.append(x)
        # A 1x1x1 convolution of the joined maps is the sum of one of each, and may go before the upsampling; that is in
        # 32 bits, since on the way back each value is a sum of thousands.
        weights = self.reduce.weight.split([level.shape[1] for level in maps], 1)
        features = torch.zeros((), device=clips.device)
        for level, weight in zip(maps, weights, strict=True):
            reduced = F.linear(level.movedim(1, -1), weight).movedim(-1, 1).float()
            features = features + F.interpolate(reduced, size, mode="trilinear", align_corners=True)
        features = self.embed(features)
        return ClipOutput(self.head(features), features)

    def video(self, images: Callable[[Tensor], Tensor], frames: int, batch: int) -> Tensor:
        """The video stretched to the nearest multiple of the clip's length, clip by clip, and shrunk back."""
        clips = max(1, math.floor(frames / self.frames + 0.5))
        places = _places(frames, clips * self.frames).view(clips, self.frames)
        found = []
        for part in places.split(max(1, batch // self.frames)):
            frames_of_part = _between(images, part.flatten()).unflatten(0, part.shape)
            logits = self(unit_range(frames_of_part.transpose(1, 2))).logits
            found.append(logits.float().softmax(1)[:, 1].flatten(0, 1))
        whole = torch.cat(found)
        return _between(lambda numbers: whole[numbers], _places(len(whole), frames))


def unit_range(clips: Tensor) -> Tensor:
    """Clips (batch, channels, time, height, width) with each channel of each clip over 0 to 1."""
    low, high = clips.amin((2, 3, 4), keepdim=True), clips.amax((2, 3, 4), keepdim=True)
    return (clips - low) / (high - low).clamp_min(1e-6)


def _places(frames: int, count: int) -> Tensor:
    """`count` places spread evenly from the first of some frames to the last."""
    return torch.linspace(0, frames - 1, count, dtype=torch.float64)


def _between(images: Callable[[Tensor], Tensor], places: Tensor) -> Tensor:
    """Images at places between frames, linear in time."""
    below = places.floor().long()
    low, high = images(below), images(places.ceil().long())
    weight = (places - below).to(low.device, low.dtype)
    return torch.lerp(low, high, weight.view(-1, *[1] * (low.ndim - 1)))


def _multiframe(network: str, width: int, option: Mapping[str, Any]) -> MultiFrame:
    return MultiFrame(network, width, option["fusion"], int(option["neighbours"]), int(option["spacing"]))


VIDEO_SEGMENTERS: dict[str, Callable[[int, Mapping[str, Any]], VideoSegmenter]] = {
    "r2plus1d_18": lambda width, option: ClipSegmenter(width, int(option["frames"])),
    **{f"multiframe_{name}": partial(_multiframe, name) for name in SEGMENTERS},
}
"""Networks that look at more than one frame, by name; each is made from `width` and settings of its own."""


def load_trunk(segmenter: ClipSegmenter, weights: str) -> None:
    """Give the trunk its first weights: `kinetics`, torchvision's, or those of a file."""
    kinetics = weights == "kinetics"
    state = torchvision_state(R2Plus1D_18_Weights.KINETICS400_V1, weights) if kinetics else read_state(Path(weights))
    load_matching(segmenter.trunk, state, weights, optional=())
