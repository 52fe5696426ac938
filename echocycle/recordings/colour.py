"""Colours: what a label says against what the pixels hold, and colour Doppler told from a tinted grey picture."""

import numpy as np

SAMPLED_EVERY = 5
"""Every how many frames colours are looked at."""
MOST_SAMPLED = 40
WIDEST_LOOK = 320
"""Columns to which a picture is thinned out before its colours are compared."""
STRONG = 70
"""By how many grey levels red exceeds blue, or blue red, in what counts as a flow's colour."""
CHANGES = 40
"""By how many grey levels that difference must change over time; a scale or a logo stands still."""
FLOW_SHARE = 0.002
"""Share of the picture that must be red, and the same for blue, at some time."""


def looks_like_ybr(frame: np.ndarray) -> bool:
    """Whether uint8 (height, width, 3), labelled RGB, holds YBR: two channels stand at 128 while the first varies.

    A true RGB picture is black somewhere, and grey in its greater part.
    """
    first, blue, red = (frame[..., channel].astype(np.int16) for channel in range(3))
    neutral = (np.abs(blue - 128) <= 8) & (np.abs(red - 128) <= 8)
    return bool(neutral.mean() > 0.85 and first.std() > 4 and np.abs(first - 128).mean() > 8)


def looks_like_rgb(frame: np.ndarray) -> bool:
    """Whether uint8 (height, width, 3), labelled YBR, holds RGB: the channels are alike, also where it is black."""
    lowest, highest = frame.min(axis=-1), frame.max(axis=-1)
    return bool((highest - lowest <= 8).mean() > 0.85 and frame.std() > 4)


class FlowWatch:
    """Looks at some RGB frames of a recording and tells at the end whether they show colour Doppler.

    Flow turns red here and blue there, and is gone a moment later. A tinted grey picture has one hue, a scale and a
    logo stand still, and running traces are thin lines, which are removed first.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._red: np.ndarray | None = None
        self._blue: np.ndarray | None = None
        self._lowest: np.ndarray | None = None
        self._highest: np.ndarray | None = None

    def wants(self, index: int) -> bool:
        """Whether frame number `index` should be shown to it."""
        return index % SAMPLED_EVERY == 0 and self.seen < MOST_SAMPLED

    def see(self, frame: np.ndarray) -> None:
        """Take note of uint8 RGB (height, width, 3); a frame of another size than the first is passed over."""
        step = max(1, frame.shape[1] // WIDEST_LOOK)
        thin = frame[::step, ::step].astype(np.int16)
        difference = thin[..., 0] - thin[..., 2]
        self.seen += 1
        if self._red is None or self._blue is None or self._lowest is None or self._highest is None:
            self._red, self._blue = _wide(difference > STRONG), _wide(difference < -STRONG)
            self._lowest, self._highest = difference, difference
        elif difference.shape == self._lowest.shape:
            self._red |= _wide(difference > STRONG)
            self._blue |= _wide(difference < -STRONG)
            self._lowest = np.minimum(self._lowest, difference)
            self._highest = np.maximum(self._highest, difference)

    def shares(self) -> tuple[float, float]:
        """Which share of the picture is red at some time, and which blue, and changes its colour."""
        if self._red is None or self._blue is None or self._lowest is None or self._highest is None:
            return 0.0, 0.0
        changing = self._highest - self._lowest > CHANGES
        return float((self._red & changing).mean()), float((self._blue & changing).mean())

    def flows(self) -> bool:
        """Whether the frames show colour Doppler."""
        return min(self.shares()) >= FLOW_SHARE


def _wide(strong: np.ndarray) -> np.ndarray:
    """Without lines that are one or two pixels thin."""
    from scipy import ndimage

    return ndimage.binary_opening(strong, np.ones((3, 3), bool)) if strong.any() else strong
