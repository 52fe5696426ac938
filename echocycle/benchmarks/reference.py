"""The reference's way, written plainly: the other side of the comparison, used for nothing else.

What the stages cost when they are done as the paper's public code and EchoNet-Dynamic's do them: a sample decodes its
whole AVI with OpenCV and normalises all of it; networks are torchvision's, in fp32, in the layout and the 3D
convolutions that they come with; ED frames, ES frames and one clip pass the segmenter one after the other; masks lie
on disk as float32 logits; an evaluation builds every clip of a video. It computes what the methods compute, which the
tests hold it to.

Left out, so that both sides do the same work in one process on one device: loader processes and several GPUs.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.video import r2plus1d_18

from echocycle.errors import EchocycleError
from echocycle.segmentation.css import CSSOptions

# ------------------------------------------------------------------------------------------------ samples


def opencv() -> ModuleType:
    """OpenCV, which nothing else needs."""
    try:
        import cv2
    except ImportError:
        raise EchocycleError(
            "The comparison decodes videos as the reference does, with OpenCV: pip install opencv-python-headless"
        ) from None
    return cv2


def read_video(path: Path) -> np.ndarray:
    """All frames of a video, RGB uint8 (3, time, height, width)."""
    cv2 = opencv()
    capture = cv2.VideoCapture(str(path))
    frames = []
    there, frame = capture.read()
    while there:
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        there, frame = capture.read()
    capture.release()
    if not frames:
        raise EchocycleError(f"OpenCV finds no frame in {path}.")
    return np.stack(frames).transpose(3, 0, 1, 2)


def normalised(path: Path, mean: Sequence[float], std: Sequence[float], size: int = 112) -> np.ndarray:
    """All frames of a video, normalised, float32 (3, time, size, size); a smaller `size` takes block means."""
    video = read_video(path).astype(np.float32)
    block = video.shape[-1] // size
    if block > 1:
        video = video.reshape(*video.shape[:2], size, block, size, block).mean((3, 5))
    video -= np.asarray(mean, np.float32).reshape(-1, 1, 1, 1)
    video /= np.asarray(std, np.float32).reshape(-1, 1, 1, 1)
    return video


def load_clip(
    path: Path,
    start: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    frames: int = 32,
    period: int = 2,
    pad: int = 0,
    crop: Sequence[int] = (0, 0),
    logits: Path | None = None,
) -> np.ndarray:
    """One clip for regression, float32 (3 or 4, frames, height, width).

    Frames past the end are 0 (-1 in the mask channel); `crop` is its row and column in the clip that is padded by
    `pad` zeros.

    Args:
        logits: .npy with the masks of the video's frames, which become the fourth channel 2 p - 1.
    """
    video = normalised(path, mean, std)
    if logits is not None:
        mask = 2 / (1 + np.exp(-np.load(logits))) - 1
        video = np.concatenate([video, mask[None]])
    missing = frames * period - video.shape[1]
    if missing > 0:
        filler = np.zeros((video.shape[0], missing, *video.shape[2:]), np.float32)
        filler[3:] = -1
        video = np.concatenate([video, filler], 1)
    clip = video[:, start + period * np.arange(frames)]
    if pad:
        height, width = clip.shape[2:]
        padded = np.zeros((*clip.shape[:2], height + 2 * pad, width + 2 * pad), np.float32)
        padded[:, :, pad:-pad, pad:-pad] = clip
        row, column = crop
        clip = padded[:, :, row : row + height, column : column + width]
    return clip


# ----------------------------------------------------------------------------------------------- networks


def regressor(channels: int = 3) -> nn.Module:
    """Torchvision's R(2+1)D-18 with one output; four channels widen its first convolution."""
    network = r2plus1d_18(weights=None)
    network.fc = nn.Linear(512, 1)
    if channels != 3:
        network.stem[0] = nn.Conv3d(channels, 45, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False)
    return network


def segmenter() -> nn.Module:
    """Torchvision's DeepLabV3-ResNet-50 with one output."""
    network: nn.Module = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
    return network


def optimiser(network: nn.Module, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """SGD with momentum, over all parameters."""
    return torch.optim.SGD(network.parameters(), lr, momentum=0.9, weight_decay=weight_decay)


# -------------------------------------------------------------------------------------------------- steps


def regression_step(network: nn.Module, optim: torch.optim.Optimizer, clips: Tensor, ef: Tensor) -> float:
    """One step of f_m (or of video-only regression): clips (batch, channels, time, height, width), EF (batch,)."""
    network.train()
    loss = F.mse_loss(network(clips).view(-1), ef)
    return _descend(optim, loss)


def distillation_step(
    student: nn.Module,
    teacher: nn.Module,
    optim: torch.optim.Optimizer,
    clips: Tensor,
    ef: Tensor,
    unlabelled: Tensor,
    weight: float = 5.0,
) -> float:
    """One step of f_e: labelled clips of 3 channels, unlabelled ones of 4, which the frozen teacher sees whole."""
    student.train()
    teacher.eval()
    with torch.no_grad():
        target = teacher(unlabelled).view(-1)
    guess = student(unlabelled[:, :3]).view(-1)
    found = student(clips).view(-1)
    loss = F.mse_loss(found, ef) + weight * F.mse_loss(guess, target) / 2
    return _descend(optim, loss)


def css_step(
    network: nn.Module,
    optim: torch.optim.Optimizer,
    frames: Tensor,
    masks: Tensor,
    clip: Tensor,
    start: int,
    options: CSSOptions,
) -> float:
    """One step of CSS: ED frames, ES frames and a clip, each a pass of its own.

    Args:
        frames: (2, batch, 3, height, width), ED first; `masks` (2, batch, height, width).
        clip: (time, 3, height, width) of one video; `start` is p*.
    """
    network.train()
    losses = []
    for phase, mask in zip(frames, masks, strict=True):
        logits = network(phase)["out"][:, 0]
        losses.append(F.binary_cross_entropy_with_logits(logits, mask, reduction="sum"))
    features = network.backbone(clip)["out"]  # type: ignore[operator]
    network.classifier(features)  # type: ignore[operator]  # the decoder's running statistics see the clip too
    cyclical = css_loss(features.sum((2, 3)), start, options)
    return _descend(optim, (losses[0] + losses[1]) / 2 + options.weight * cyclical)


def css_loss(features: Tensor, start: int, o: CSSOptions) -> Tensor:
    """L_css of one clip's features (time, dim): candidate by candidate, as the formulas stand in the paper."""

    def phase(place: int) -> Tensor:
        return features[place : place + o.phase_length]

    def likeness(one: Tensor, other: Tensor) -> Tensor:
        return -o.temperature * (one - other).square().sum() / (features.shape[1] * o.phase_length)

    searched = range(o.template, o.template + o.search)
    alpha = torch.stack([likeness(phase(start), phase(q)) for q in searched]).softmax(0)
    found = torch.stack([a * phase(q + o.offset) for a, q in zip(alpha, searched, strict=True)]).sum(0)
    beta = torch.stack([likeness(found, phase(p + o.offset)) for p in range(o.starts)])
    return -beta.log_softmax(0)[start]


def _descend(optim: torch.optim.Optimizer, loss: Tensor) -> float:
    optim.zero_grad()
    loss.backward()
    optim.step()
    return loss.item()


# ------------------------------------------------------------------------------------- masks, evaluation


@torch.no_grad()
def write_logits(
    network: nn.Module,
    path: Path,
    out: Path,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    *,
    batch: int,
    size: int = 112,
    frames: int | None = None,
) -> np.ndarray:
    """Write the logits of a video's frames (of the first `frames`) as float32 (time, size, size) .npy."""
    network.eval()
    images = normalised(path, mean, std, size).transpose(1, 0, 2, 3)[:frames]
    blocks = []
    for first in range(0, len(images), batch):
        block = torch.from_numpy(np.ascontiguousarray(images[first : first + batch])).to(device)
        blocks.append(network(block)["out"][:, 0].cpu().numpy())
    logits = np.concatenate(blocks)
    np.save(out, logits)
    return logits


@torch.no_grad()
def evaluate_video(
    network: nn.Module,
    path: Path,
    starts: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    *,
    frames: int = 32,
    period: int = 2,
    batch: int = 20,
    size: int = 112,
) -> np.ndarray:
    """EF of the clips of a video that begin at `starts`, (starts,) percent."""
    network.eval()
    video = normalised(path, mean, std, size)
    missing = frames * period - video.shape[1]
    if missing > 0:
        video = np.pad(video, ((0, 0), (0, missing), (0, 0), (0, 0)))
    clips = np.stack([video[:, start + period * np.arange(frames)] for start in starts])
    found = []
    for first in range(0, len(clips), batch):
        block = torch.from_numpy(clips[first : first + batch]).to(device)
        found.append(network(block).view(-1).cpu().numpy())
    return np.concatenate(found)
