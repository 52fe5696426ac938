"""A trained network as one that ONNX and OpenVINO can hold: plain layers, batch normalisation folded, shapes known."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from echocycle.data.store import SIZE
from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.models.convolutions import SpatialConv, TemporalConv, WholeConv
from echocycle.models.fuse import fold_batch_norms
from echocycle.models.segmenter import AtrousConv, FrameSegmenter
from echocycle.models.specs import Part, RegressorSpec

OPSET = 18


def why_not(part: Part) -> str | None:
    """Why a part can run in PyTorch alone, a sentence; None where it can be exported."""
    if isinstance(part.spec, RegressorSpec):
        if part.spec.dropout:
            return "The EF network drops values by PyTorch's own random numbers, which no other engine draws."
        return None
    if isinstance(part.network, FrameSegmenter | BeatSegmenter):
        return None
    return f"The segmenter {part.spec.network} looks at neighbouring frames in a way that only PyTorch runs here."


def plain(network: nn.Module, size: int) -> nn.Module:
    """A copy with batch normalisation folded into plain convolutions, which every engine knows best.

    Args:
        size: rows and columns of the input; a dilated convolution whose outer taps lie off its map loses them.
    """
    twin = fold_batch_norms(network).requires_grad_(False)
    for module in list(twin.modules()):
        if isinstance(module, SpatialConv | TemporalConv | WholeConv):
            # their `forward` is a way round slow paths of PyTorch; parameters and sums are those of nn.Conv3d
            module.__class__ = nn.Conv3d  # type: ignore[assignment]
        elif isinstance(module, AtrousConv):
            _as_plain(module, size // 8)
    return twin


def _as_plain(conv: AtrousConv, rows: int) -> None:
    """The convolution for a map of so many rows; with a dilation of at least that only the middle tap is used."""
    reach = conv.dilation[0]
    conv.__class__ = nn.Conv2d  # type: ignore[assignment]
    if reach >= rows:
        conv.weight = nn.Parameter(conv.weight[..., 1:2, 1:2].clone(), requires_grad=False)
        conv.kernel_size, conv.padding, conv.dilation = (1, 1), (0, 0), (1, 1)


class FrameGraph(nn.Module):
    """Images of a segmenter that sees each alone -> logits."""

    def __init__(self, part: Part):
        super().__init__()
        self.network = plain(part.network, part.spec.size)

    def forward(self, images: Tensor) -> Tensor:
        """(frames, 3, size, size), normalised -> (frames, size, size)."""
        logits: Tensor = self.network(images).logits
        return logits


class BeatGraph(nn.Module):
    """Frames of a segmenter that sees them together -> logits."""

    def __init__(self, part: Part):
        super().__init__()
        self.network = plain(part.network, part.spec.size)

    def forward(self, images: Tensor) -> Tensor:
        """(frames, 3, size, size), normalised -> (frames, size, size)."""
        logits: Tensor = self.network.logits(images[:, :1], 1)  # type: ignore[operator]
        return logits


class ClipGraph(nn.Module):
    """Clips -> EF."""

    def __init__(self, part: Part):
        super().__init__()
        self.network = plain(part.network, part.spec.size)

    def forward(self, clips: Tensor) -> Tensor:
        """(clips, channels, frames, size, size), normalised -> (clips,), percent."""
        answer: Tensor = self.network(clips)
        return answer


class WholeSegmenter(nn.Module):
    """`FrameGraph` or `BeatGraph` with the normalisation in front and the probability behind."""

    def __init__(self, part: Part):
        super().__init__()
        self.inner, self.preprocess, self.color = inner_graph(part), part.preprocess, part.spec.color

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 (frames, 112, 112[, 3]) -> probability of the left ventricle, float32 (frames, size, size)."""
        return torch.sigmoid(self.inner(self.preprocess.frames(frames, self.color)))


class WholeRegressor(nn.Module):
    """`ClipGraph` with the normalisation in front."""

    def __init__(self, part: Part):
        super().__init__()
        self.inner, self.preprocess, self.spec = inner_graph(part), part.preprocess, part.spec

    def forward(self, clips: Tensor, masks: Tensor | None = None) -> Tensor:
        """EF (clips,), percent, of every `period`-th frame of a video.

        Args:
            clips: uint8 (clips, frames, 112, 112[, 3]).
            masks: uint8 (clips, frames, size of the masks, the same), 255 is certain; for a network that takes masks.
        """
        channels = []
        if self.spec.takes_video:
            images = self.preprocess.frames(clips.flatten(0, 1), self.spec.color)
            channels.append(images.unflatten(0, (-1, self.spec.frames)))
        if masks is not None:
            levels = self.preprocess.levels(masks.flatten(0, 1)) / 127.5 - 1.0
            channels.append(levels.unflatten(0, (-1, self.spec.frames)))
        answer: Tensor = self.inner(torch.cat(channels, 2).transpose(1, 2))
        return answer


def inner_graph(part: Part) -> nn.Module:
    """The network alone, of normalised input.

    Raises:
        EchocycleError: it can run in PyTorch alone; see `why_not`.
    """
    if (reason := why_not(part)) is not None:
        raise EchocycleError(f"{reason} It cannot be exported; use it with PyTorch.")
    if isinstance(part.spec, RegressorSpec):
        return ClipGraph(part).eval()
    return (BeatGraph if isinstance(part.network, BeatSegmenter) else FrameGraph)(part).eval()


def whole_graph(part: Part) -> nn.Module:
    """The network with its normalisation, of 8-bit frames; see `inner_graph`."""
    return (WholeRegressor if isinstance(part.spec, RegressorSpec) else WholeSegmenter)(part).eval()


def inner_input(part: Part) -> Tensor:
    """An input of `inner_graph`, two of everything."""
    spec = part.spec
    if isinstance(spec, RegressorSpec):
        return torch.rand(2, spec.channels, spec.frames, spec.size, spec.size)
    return torch.rand(2, 3, spec.size, spec.size)


def whole_inputs(part: Part, mask_size: int) -> tuple[Tensor, ...]:
    """Inputs of `whole_graph`: two frames or clips."""
    spec, color = part.spec, (3,) if part.spec.color else ()
    if not isinstance(spec, RegressorSpec):
        return (torch.randint(0, 256, (2, SIZE, SIZE, *color), dtype=torch.uint8),)
    clips = torch.randint(0, 256, (2, spec.frames, SIZE, SIZE, *color), dtype=torch.uint8)
    masks = torch.randint(0, 256, (2, spec.frames, mask_size, mask_size), dtype=torch.uint8)
    return (clips, masks) if spec.takes_masks else (clips,)


def write_onnx(graph: nn.Module, inputs: tuple[Tensor, ...], file: Path) -> None:
    """Write a graph whose first axis is free, whole or not at all; weights lie in the same file."""
    import logging
    import warnings

    names = ["input"] if len(inputs) == 1 else ["clips", "masks"]
    count = torch.export.Dim("count", min=1)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad(), replacing(file) as temporary:
        warnings.simplefilter("ignore")  # what libraries say to one another about their own future
        program = torch.onnx.export(
            graph,
            inputs,
            input_names=names,
            output_names=["output"],
            dynamic_shapes=tuple({0: count} for _ in inputs),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.save(str(temporary), external_data=False)
