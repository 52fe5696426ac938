"""From stored 8-bit frames and masks to what the networks take, on the device and without a loop over frames."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.data.clips import ClipBatch

DARK = 4.0
"""Grey level up to which a pixel counts as black: outside the fan there is only compression ripple."""


class Preprocess(nn.Module):
    """Resize, repeat grey to three channels, normalise by the training videos' mean and standard deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: int, standardise: bool = False):
        super().__init__()
        self.size, self.standardise = size, standardise
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32), persistent=False)

    def frames(self, frames: Tensor, color: bool = False) -> Tensor:
        """uint8 (n, height, width[, 3]) -> float (n, 3, size, size)."""
        return self.normalised(self.levels(frames, color))

    def levels(self, frames: Tensor, color: bool = False) -> Tensor:
        """uint8 (n, height, width[, 3]) -> grey levels, float (n, 1 or 3, size, size)."""
        return resize(frames.movedim(-1, 1).float() if color else frames[:, None].float(), self.size)

    def normalised(self, levels: Tensor) -> Tensor:
        """Grey levels (n, 1 or 3, size, size) -> what the networks take, (n, 3, size, size).

        Less the training videos' mean, over their standard deviation; with `standardise` less each image's own mean,
        over its own standard deviation, both of its lit pixels.
        """
        if self.standardise:
            return standardised(levels).expand(-1, 3, -1, -1)
        channels = levels.shape[1]
        images = (levels - self.mean[:channels, None, None]) / self.std[:channels, None, None]
        return images.expand(-1, 3, -1, -1)

    def clips(self, batch: ClipBatch, *, masks: bool, pad: int = 0) -> Tensor:
        """A batch of clips -> float (batch, 3 or 4, time, size, size).

        Frames past the end of a video become 0 after normalisation and -1 in the mask channel, which is
        2 p - 1 elsewhere; the border that the crop brings in is 0 in all of them (p = 0.5), as in the public code.
        """
        count, time = batch.video.shape[:2]
        images = self.frames(batch.video.flatten(0, 1), color=batch.video.ndim == 5)
        clips = images.reshape(count, time, 3, self.size, self.size).transpose(1, 2)
        there = torch.arange(time, device=clips.device) < batch.valid[:, None]
        clips = clips * there[:, None, :, None, None]
        if masks:
            assert batch.mask is not None
            channel = resize(batch.mask.float(), self.size) / 127.5 - 1.0
            clips = torch.cat([clips, channel[:, None]], 1)
        if batch.warp is not None:
            clips = warp(clips.flatten(1, 2), batch.warp, "border").view_as(clips)
        if pad:
            padded = F.pad(clips, (pad, pad, pad, pad))
            clips = torch.stack(
                [
                    clip[..., row : row + self.size, column : column + self.size]
                    for clip, (row, column) in zip(padded, batch.crop.tolist(), strict=True)
                ]
            )
        return clips


def standardised(levels: Tensor) -> Tensor:
    """Images (n, channels, height, width) with mean 0 and standard deviation 1 over their lit pixels."""
    lit = (levels > DARK).float()
    count = lit.sum((1, 2, 3), keepdim=True).clamp_min(1)
    mean = (levels * lit).sum((1, 2, 3), keepdim=True) / count
    variance = ((levels - mean).square() * lit).sum((1, 2, 3), keepdim=True) / count
    return (levels - mean) / (variance + 1).sqrt()


def resize(images: Tensor, size: int) -> Tensor:
    """(n, channels, height, width) at `size` pixels: block means to go down, bilinear to go up."""
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    if height % size == 0 and width % size == 0:
        return F.avg_pool2d(images, (height // size, width // size))
    if height > size and width > size:
        return F.interpolate(images, (size, size), mode="area")
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def warp(images: Tensor, parameters: Tensor, padding: str) -> Tensor:
    """Turn, scale and shift images (n, channels, height, width) by (n, 4) parameters as in `ClipBatch.warp`.

    Args:
        padding: what comes in from outside: `zeros` or the `border` pixels again.
    """
    turn, log_scale, row, column = parameters.unbind(-1)
    cosine, sine = torch.cos(turn) * log_scale.exp(), torch.sin(turn) * log_scale.exp()
    matrix = torch.stack([cosine, -sine, 2 * column, sine, cosine, 2 * row], -1).unflatten(-1, (2, 3))
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)
