"""Pictures on which an engine is compared with PyTorch: a drawn heart that beats, and noise."""

import numpy as np

from echocycle.data.store import SIZE


def drawn_heart(frames: int, seed: int = 0) -> np.ndarray:
    """A fan of speckle with a dark cavity that beats, uint8 (frames, 112, 112); 25 frames a beat."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    fan = (np.hypot(rows, columns - 0.5) < 0.97) & (np.abs(columns - 0.5) < 0.75 * rows + 0.02)
    speckle = rng.rayleigh(1.0, (SIZE, SIZE))
    found = np.zeros((frames, SIZE, SIZE), np.uint8)
    for number in range(frames):
        squeezed = 1 - 0.22 * (1 - np.cos(2 * np.pi * number / 25)) / 2
        away = np.hypot((rows - 0.45) / (0.27 * (0.4 + 0.6 * squeezed)), (columns - 0.52) / (0.13 * squeezed))
        tissue = np.where(away < 1, 14.0, np.where(away < 1.5, 105.0, 55.0))
        live = 0.7 * speckle + 0.3 * rng.rayleigh(1.0, (SIZE, SIZE))
        found[number] = np.clip(tissue * live, 0, 255) * fan
    return found


def noise(frames: int, seed: int = 0) -> np.ndarray:
    """Random grey levels, uint8 (frames, 112, 112)."""
    return np.random.default_rng(seed).integers(0, 256, (frames, SIZE, SIZE), np.uint8)


def with_colour(frames: np.ndarray, color: bool) -> np.ndarray:
    """Grey frames as a model takes them: three times the same for one of RGB."""
    return np.repeat(frames[..., None], 3, -1) if color else frames


def drawn_masks(frames: np.ndarray, size: int) -> np.ndarray:
    """Where the frames are dark inside the fan, as uint8 probabilities (frames, size, size): masks where no segmenter
    gives any."""
    grey = frames if frames.ndim == 3 else frames[..., 0]
    step = np.linspace(0, grey.shape[1] - 1, size).round().astype(int)
    small = grey[:, step][:, :, step]
    return np.where((small > 0) & (small < 40), 255, 0).astype(np.uint8)
