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
        color = batch.video.ndim == 5
        levels = batch.video.movedim(-1, 2) if color else batch.video[:, :, None]
        levels = _moved(_resized(levels, self.size), batch.warp)
        count, time, channels = levels.shape[:3]
        # Clip by clip into what is handed on: each stays in the processor's cache from 8 bits to the last number.
        clips = levels.new_zeros((count, 4 if masks else channels, time, self.size, self.size), dtype=self.mean.dtype)
        windows = [
            (slice(valid), *_window(row, pad, self.size), *_window(column, pad, self.size))
            for valid, (row, column) in zip(batch.valid.tolist(), batch.crop.tolist(), strict=True)
        ]
        statistics = list(zip(range(channels), self.mean.tolist(), self.std.tolist(), strict=False))
        for source, target, (there, rows, to_rows, columns, to_columns) in zip(levels, clips, windows, strict=True):
            for channel, mean, std in statistics:
                window = target[channel, there, to_rows, to_columns]
                torch.sub(source[there, channel, rows, columns], mean, out=window).div_(std)
            if masks and not color:
                target[1:3] = target[0]
        if masks:
            assert batch.mask is not None
            probabilities = _moved(_resized(batch.mask[:, :, None], self.size), batch.warp)[:, :, 0]
            for source, target, (there, rows, to_rows, columns, to_columns) in zip(
                probabilities, clips[:, 3], windows, strict=True
            ):
                window = target[there, to_rows, to_columns]
                torch.div(source[there, rows, columns], 127.5, out=window).sub_(1.0)
                target[there.stop :, to_rows, to_columns] = -1.0
        return clips.expand(-1, max(3, clips.shape[1]), -1, -1, -1)


def _window(offset: int, pad: int, size: int) -> tuple[slice, slice]:
    """Where a crop at `offset` of a padded line reads in the line, and where that lies in the crop."""
    shift = offset - pad if pad else 0
    return slice(max(0, shift), size + min(0, shift)), slice(max(0, -shift), size - max(0, shift))


def _resized(clips: Tensor, size: int) -> Tensor:
    """8-bit clips (batch, time, channels, height, width) at `size` pixels, as they are where that is their size."""
    if clips.shape[-2:] == (size, size):
        return clips
    return resize(clips.flatten(0, 1).float(), size).unflatten(0, clips.shape[:2])


def _moved(clips: Tensor, parameters: Tensor | None) -> Tensor:
    """Clips (batch, time, channels, height, width), each turned, scaled and shifted; as they are without."""
    if parameters is None:
        return clips
    return warp(clips.flatten(1, 2).float(), parameters, "border").view(clips.shape)


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
