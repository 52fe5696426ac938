"""A segmenter that sees a whole recording while it marks each frame: what moves is heart, what stands still is haze."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echocycle.models.fuse import Folding
from echocycle.models.segmenter import ConvBlock
from echocycle.models.video_segmenter import VideoSegmenter

WINDOW = 96  # frames that share one context: about two beats, so that a probe that wanders off is followed
TINY = 1e-4


class BeatSegmenter(Folding, VideoSegmenter):
    """A U-Net on half the input's resolution whose every level but the finest also sees mean and spread over time.

    Mean and standard deviation over the frames of a clip do not depend on their order or rate, and are those of the
    frame itself where a still is given. Widths are 2, 4, 8, 8 and 8 x `width`.
    """

    def __init__(self, width: int = 16, depth: int = 5):
        super().__init__()
        widths = [width * min(2 ** (level + 1), 8) for level in range(depth)]
        self.dim = widths[-1]
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in zip([4, *widths[:-1]], widths, strict=True))
        self.context = nn.ModuleList(nn.Conv2d(2 * b, b, 1) for b in widths[1:])
        self.decoder = nn.ModuleList(ConvBlock(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.head = nn.Conv2d(widths[0], 4, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (batch, time, channels, height, width), normalised, grey -> logits (batch, time, height, width)."""
        network = self.in_use()
        logits: Tensor = network.logits(clips.flatten(0, 1)[:, :1], len(clips))
        return logits.unflatten(0, clips.shape[:2])

    def logits(self, grey: Tensor, clips: int) -> Tensor:
        """Frames (clips x time, 1, height, width) -> logits (clips x time, height, width)."""
        return F.pixel_shuffle(self.head(self.features(grey, clips)), 2)[:, 0]

    def features(self, grey: Tensor, clips: int) -> Tensor:
        """What the head sees of frames (clips x time, 1, height, width), at half their resolution."""
        x = F.pixel_unshuffle(grey, 2).contiguous(memory_format=torch.channels_last)
        levels = []
        for depth, block in enumerate(self.encoder):
            x = block(F.max_pool2d(x, 2) if depth else x)
            if depth:
                x = self._in_context(x, depth - 1, clips)
            levels.append(x)
        for block, skip in zip(self.decoder, levels[-2::-1], strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return x

    def _in_context(self, maps: Tensor, number: int, clips: int) -> Tensor:
        """Maps (clips x time, dim, rows, columns) with what their clip is like over time added."""
        together = maps.unflatten(0, (clips, -1))
        mean = together.mean(1)
        spread = ((together - mean[:, None]).square().mean(1) + TINY).sqrt()
        seen = self.context[number](torch.cat([mean, spread], 1))
        return (together + seen[:, None]).flatten(0, 1)

    def video(self, images: Callable[[Tensor], Tensor], frames: int, batch: int) -> Tensor:
        """Probabilities of a whole video, in windows of like length, at most `WINDOW` frames each."""
        windows = math.ceil(frames / WINDOW)
        parts = torch.arange(frames).tensor_split(windows)
        found = [torch.sigmoid(self(images(numbers)[None])[0].float()) for numbers in parts]
        return torch.cat(found)
