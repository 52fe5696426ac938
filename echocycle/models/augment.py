"""Strong augmentation of frames with masks, on the device: another probe, another gain, another patient's place.

All draws come from PyTorch's generator, which the loop seeds in every step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TURN = 0.4  # radians, largest
LOG_SIZE, LOG_ASPECT = 0.25, 0.22  # largest change of size, and of height against width
SHIFT = 0.12  # of the frame, largest
LOG_GAMMA, LOG_GAIN, OFFSET = 0.6, 0.3, 25.0
BLUR = 1.2  # pixels, largest standard deviation
NOISE = 0.35  # largest standard deviation of multiplicative noise
SHADING = 0.5  # largest change of log gain from one side to the other
BLOBS, BLOB_RADIUS = 3, (0.05, 0.18)  # dark blobs at most, and their size as a share of the frame


def strongly_augmented(levels: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Frames and masks moved alike, frames changed in looks besides.

    Args:
        levels: grey levels 0 to 255, (n, channels, height, width).
        masks: 0 to 1, (n, height, width).

    Returns:
        Both in the same shapes; what comes in from outside is black and not ventricle.
    """
    moved = moved_alike(torch.cat([levels, masks[:, None]], 1))
    return changed_in_looks(moved[:, :-1]), moved[:, -1]


def moved_alike(images: Tensor, amount: float = 1.0) -> Tensor:
    """Turned, scaled in each direction and shifted at random, image by image; (n, channels, height, width).

    Args:
        amount: share of the largest changes.
    """
    grid = F.affine_grid(movements(len(images), images.device, amount), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def movements(count: int, device: torch.device, amount: float = 1.0) -> Tensor:
    """Random turns, scales and shifts, as `affine_grid` takes them, (count, 2, 3)."""
    turn = amount * TURN * _signed(count, device)
    size, aspect = amount * LOG_SIZE * _signed(count, device), amount * LOG_ASPECT * _signed(count, device)
    wide, tall = (size + aspect).exp(), (size - aspect).exp()
    row, column = (2 * amount * SHIFT * _signed(count, device) for _ in range(2))
    cosine, sine = torch.cos(turn), torch.sin(turn)
    matrix = torch.stack([cosine * wide, -sine * tall, column, sine * wide, cosine * tall, row], -1)
    return matrix.unflatten(1, (2, 3))


def changed_in_looks(levels: Tensor, amount: float = 1.0) -> Tensor:
    """Gamma, gain, offset, shading, dark blobs, grain and blur, each drawn anew for each image; black stays black.

    Args:
        amount: share of the largest changes.
    """
    count, device = len(levels), levels.device
    shape = (count, 1, 1, 1)
    lit = (levels > 1).float()
    share = (levels / 255).clamp(0, 1)
    share = share ** (amount * LOG_GAMMA * _signed(count, device)).exp().view(shape)
    gain = amount * (LOG_GAIN * _signed(count, device).view(shape) + _shading(levels))
    share = share * gain.exp() + amount * OFFSET / 255 * _signed(count, device).view(shape) * lit
    share = share * (1 - amount * _blobs(levels))
    share = share * (1 + amount * NOISE * torch.rand(shape, device=device) * grain(levels))
    return _blurred(share.clamp(0, 1) * 255, amount)


def _signed(count: int, device: torch.device) -> Tensor:
    """Uniform numbers from -1 to 1, (count,)."""
    return 2 * torch.rand(count, device=device) - 1


def _axes(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns from -1 to 1, (height, 1) and (1, width)."""
    height, width = levels.shape[-2:]
    rows = torch.linspace(-1, 1, height, device=levels.device)[:, None]
    return rows, torch.linspace(-1, 1, width, device=levels.device)[None]


def _shading(levels: Tensor) -> Tensor:
    """Log gain that changes evenly across each image, (n, 1, height, width)."""
    rows, columns = _axes(levels)
    count, device = len(levels), levels.device
    tall, wide = (SHADING * _signed(count, device).view(-1, 1, 1, 1) for _ in range(2))
    return tall * rows + wide * columns


def _blobs(levels: Tensor) -> Tensor:
    """How much each pixel is darkened by up to `BLOBS` soft spots, 0 to 1; (n, 1, height, width)."""
    rows, columns = _axes(levels)
    count, device = len(levels), levels.device
    dark = torch.zeros_like(levels[:, :1])
    low, high = BLOB_RADIUS
    for _ in range(BLOBS):
        row, column, depth = _signed(count, device), _signed(count, device), torch.rand(count, device=device)
        depth = depth * (torch.rand(count, device=device) < 0.5)
        radius = 2 * (low + (high - low) * torch.rand(count, device=device))
        row, column, depth, radius = (value.view(-1, 1, 1, 1) for value in (row, column, depth, radius))
        distance = ((rows - row).square() + (columns - column).square()) / radius.square()
        dark = torch.maximum(dark, depth * torch.exp(-distance))
    return dark


def grain(levels: Tensor) -> Tensor:
    """Noise of unit variance, in half of the images twice as coarse; (n, 1, height, width)."""
    count, _, height, width = levels.shape
    fine = torch.randn(count, 1, height, width, device=levels.device)
    coarse = torch.randn(count, 1, (height + 1) // 2, (width + 1) // 2, device=levels.device)
    coarse = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False) * 1.6
    pick = (torch.rand(count, 1, 1, 1, device=levels.device) < 0.5).float()
    return pick * fine + (1 - pick) * coarse


def _blurred(levels: Tensor, amount: float) -> Tensor:
    """Each image smoothed by a Gaussian of its own width, up to `amount` times `BLUR` pixels; half of them not."""
    count, channels = levels.shape[:2]
    width = amount * BLUR * torch.rand(count, 1, device=levels.device)
    width = torch.where(torch.rand(count, 1, device=levels.device) < 0.5, width, torch.full_like(width, 1e-3))
    offset = torch.arange(-3, 4, device=levels.device, dtype=levels.dtype)
    kernel = torch.exp(-0.5 * (offset / width.clamp_min(1e-2)).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = levels.reshape(1, count * channels, *levels.shape[2:])
    flat = F.conv2d(flat, kernel[:, None, :, None], padding=(3, 0), groups=count * channels)
    flat = F.conv2d(flat, kernel[:, None, None, :], padding=(0, 3), groups=count * channels)
    return flat.view_as(levels)
