"""Overlapping clips of one video through a regressor: what neighbouring clips have in common is computed once.

An evaluation takes a clip from every frame on, and clips that begin a period apart share all frames but one. The stem
and the first stage keep the frame rate, and what they give of a frame depends on its neighbours alone, but for a
clip's two ends, which zeros follow: each temporal convolution carries them one frame further in. So these stages see
the whole video once, and of each clip the ends only. The later stages are given what a pass of the clip gives them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock

from echocycle.models.regressor import Regressor


@dataclass(frozen=True)
class Strip:
    """Clips of `length` frames of one video, on their way through layers that keep the frame rate."""

    shared: Tensor
    """(1, channels, time, height, width): the video's frames, as if no clip had ends."""
    left: Tensor
    """(clips, channels, ends, height, width): each clip's first frames, as far as its beginning is felt."""
    right: Tensor
    """The same of its last frames."""
    first: Tensor
    """int64 (clips,): where each clip begins."""
    length: int

    def each(self, layer: Callable[[Tensor], Tensor]) -> "Strip":
        """Through a layer that looks at every frame alone."""
        return Strip(layer(self.shared), layer(self.left), layer(self.right), self.first, self.length)

    def temporal(self, layer: nn.Module) -> "Strip":
        """Through a convolution over three frames."""
        ends, count = self.left.shape[2], self.length
        left = torch.cat([self.left, self.frames(ends, ends + 2)], 2)
        right = torch.cat([self.frames(count - ends - 2, count - ends), self.right], 2)
        # the outer frames of these pieces end in zeros as the clip does; their inner ones are cut off
        return Strip(layer(self.shared), layer(left)[:, :, :-1], layer(right)[:, :, 1:], self.first, count)

    def plus(self, other: "Strip") -> "Strip":
        """The sum with a strip in an earlier layer."""
        ends, count = self.left.shape[2], self.length
        left, right = other.piece(0, ends), other.piece(count - ends, count)
        return Strip(self.shared + other.shared, self.left + left, self.right + right, self.first, count)

    def piece(self, start: int, stop: int) -> Tensor:
        """Frames `start` to `stop` of each clip, (clips, channels, stop - start, height, width)."""
        ends, count = self.left.shape[2], self.length
        parts = [
            self.left[:, :, start:stop],
            self.frames(max(start, ends), min(stop, count - ends)),
            self.right[:, :, max(0, start - count + ends) : max(0, stop - count + ends)],
        ]
        return torch.cat(parts, 2)

    def frames(self, start: int, stop: int) -> Tensor:
        """Shared frames `start` to `stop` of each clip."""
        numbers = self.first[:, None] + torch.arange(start, stop, device=self.first.device)
        return self.shared[0].permute(1, 2, 3, 0)[numbers].permute(0, 4, 1, 2, 3)


def _run(strip: Strip, module: nn.Module) -> Strip:
    """A strip through a part of a video ResNet."""
    if isinstance(module, nn.Sequential):
        for part in module:
            strip = _run(strip, part)
        return strip
    if isinstance(module, BasicBlock):
        return _run(_run(strip, module.conv1), module.conv2).plus(strip).each(module.relu)
    if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
        return strip.temporal(module)
    return strip.each(module)


ENDS = 5
"""Frames that a clip's beginning is felt at behind the first stage, which has five temporal convolutions."""


def answers(network: nn.Module, video: Tensor, starts: Sequence[int], frames: int, period: int) -> Tensor:
    """EF (starts,) of the clips of `frames` frames at `period` that begin at `starts`: what `network` gives for each.

    Args:
        network: in evaluation mode, without gradients; one that is no plain regressor sees the clips one by one.
        video: (channels, time, height, width), normalised, as long as the last clip needs.
    """
    found = torch.empty(len(starts), device=video.device)
    for phase in range(period):
        places = [place for place, start in enumerate(starts) if start % period == phase]
        if not places:
            continue
        first = torch.tensor([starts[place] // period for place in places], device=video.device)
        found[places] = _in_phase(network, video[:, phase::period], first, frames).float()
    return found


def _in_phase(network: nn.Module, video: Tensor, first: Tensor, frames: int) -> Tensor:
    """`answers` for clips of consecutive frames."""
    begin, end = int(first.min()), int(first.max()) + frames
    first, video = first - begin, video[:, begin:end]
    alone = len(first) * (frames - 2 * ENDS)
    if not isinstance(network, Regressor) or network.dropout or frames <= 2 * ENDS or video.shape[1] > alone:
        numbers = first[:, None] + torch.arange(frames, device=first.device)
        answer: Tensor = network(video[:, numbers].transpose(0, 1).contiguous())
        return answer
    twin = network.in_use()
    whole = video[None].contiguous(memory_format=torch.channels_last_3d)
    nothing = whole[:, :, :0].expand(len(first), -1, -1, -1, -1)
    strip = _run(_run(Strip(whole, nothing, nothing, first, frames), twin.stem), twin.layer1)
    return twin.answer(twin._late(strip.piece(0, frames), lambda x: x))
