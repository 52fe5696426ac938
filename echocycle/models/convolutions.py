"""The convolutions of video networks, computed as 2D ones where that is faster or right in bf16."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.video.resnet import Conv3DNoTemporal, Conv3DSimple


class SpatialConv(nn.Conv3d):
    """A 1 x k x k convolution, computed as a 2D one over the frames of all clips.

    The same parameters and sums as `nn.Conv3d`. PyTorch takes a slow path for such 3D convolutions on one CPU
    thread, where this is two to three times faster; on two it makes no difference.
    """

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, channels, time, height, width), best in channels-last order: then no pixel is moved."""
        frames = clips.transpose(1, 2).flatten(0, 1)
        padding = tuple(map(int, self.padding[1:]))
        frames = F.conv2d(frames, self.weight.squeeze(2), self.bias, self.stride[1:], padding)  # type: ignore[arg-type]
        return frames.unflatten(0, (clips.shape[0], clips.shape[2])).transpose(1, 2)


class TemporalConv(nn.Conv3d):
    """A k x 1 x 1 convolution, computed as a 2D one over time and all pixels in a row; see `SpatialConv`."""

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, channels, time, height, width), best in channels-last order: then no pixel is moved."""
        stride, padding = (self.stride[0], 1), (int(self.padding[0]), 0)
        rows = F.conv2d(clips.flatten(3), self.weight.squeeze(-1), self.bias, stride, padding)
        return rows.unflatten(3, clips.shape[3:])


class WholeConv(nn.Conv3d):
    """A convolution over time and space, computed as a 2D one over frames that carry their neighbours as channels.

    The same parameters and sums as `nn.Conv3d`, whose bf16 gradients are wrong on a CPU; see `SpatialConv`.
    """

    def forward(self, clips: Tensor) -> Tensor:
        """(batch, channels, time, height, width), best in channels-last order."""
        around, step, (_, *padding) = self.kernel_size[0], self.stride[0], map(int, self.padding)
        padded = F.pad(clips, (0, 0, 0, 0, int(self.padding[0]), int(self.padding[0])))
        windows = padded.unfold(2, around, step).permute(0, 2, 3, 4, 5, 1)  # batch, time, height, width, frame, channel
        frames = windows.flatten(4).flatten(0, 1).permute(0, 3, 1, 2)
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        found = F.conv2d(frames, weight, self.bias, self.stride[1:], tuple(padding))  # type: ignore[arg-type]
        return found.unflatten(0, (clips.shape[0], -1)).transpose(1, 2)


class ThreeConv(WholeConv):
    """R3D's 3x3x3 convolution, made as torchvision's blocks ask for it."""

    def __init__(self, inputs: int, outputs: int, middle: int, stride: int = 1, padding: int = 1):
        super().__init__(inputs, outputs, 3, stride, padding, bias=False)

    get_downsample_stride = staticmethod(Conv3DSimple.get_downsample_stride)


class FrameConv(SpatialConv):
    """MC3's 1x3x3 convolution of the later stages, made as torchvision's blocks ask for it."""

    def __init__(self, inputs: int, outputs: int, middle: int, stride: int = 1, padding: int = 1):
        super().__init__(inputs, outputs, (1, 3, 3), (1, stride, stride), (0, padding, padding), bias=False)

    get_downsample_stride = staticmethod(Conv3DNoTemporal.get_downsample_stride)


class SplitConv(nn.Sequential):
    """The (2+1)D convolution: 1x3x3, then 3x1x1; parameter names are those of torchvision's `Conv2Plus1D`."""

    def __init__(self, inputs: int, outputs: int, middle: int, stride: int = 1, padding: int = 1):
        super().__init__(
            SpatialConv(inputs, middle, (1, 3, 3), (1, stride, stride), (0, padding, padding), bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(inplace=True),
            TemporalConv(middle, outputs, (3, 1, 1), (stride, 1, 1), (padding, 0, 0), bias=False),
        )

    @staticmethod
    def get_downsample_stride(stride: int) -> tuple[int, int, int]:
        """Strides of the shortcut, asked for by torchvision's block."""
        return stride, stride, stride
