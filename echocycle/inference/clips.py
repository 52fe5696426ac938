"""A trained EF network on clips of a video."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from echocycle.data.clips import ClipBatch
from echocycle.data.store import SIZE
from echocycle.device import Precision, choose_precision
from echocycle.models.sliding import answers
from echocycle.models.specs import Part, RegressorSpec

THRESHOLD = 127.5
"""A stored probability above it is left ventricle (a logit above 0)."""
STARTS_AT_ONCE = 512
"""Frames among which clips begin that are normalised together: what a long recording needs does not grow with it."""


@torch.no_grad()
def predict_clips(
    regressor: Part,
    frames: np.ndarray,
    masks: Callable[[np.ndarray], np.ndarray] | None,
    starts: list[int],
    batch: int,
    device: torch.device,
    precision: str = "32",
) -> np.ndarray:
    """EF of clips of one video, (starts,) percent.

    The video is resized and normalised once; clips are windows of it, seen in blocks of `batch` that share what they
    have in common (`models/sliding.py`), so memory does not grow with the number of starts.

    Args:
        frames: uint8 (time, height, width[, 3]).
        masks: gives uint8 probabilities (n, size, size) of frames by number; None for a regressor without masks.
    """
    spec = regressor.spec
    length = len(frames)
    longest = max(length, max(starts) + spec.span)
    whole = torch.from_numpy(np.array(frames)).to(device)
    mask = torch.from_numpy(masks(np.arange(length))).to(device)[None] if masks else None
    batch_of_one = ClipBatch(
        whole[None],
        mask,
        torch.tensor([length], device=device),
        torch.zeros(1, 2, dtype=torch.int64),
        None,
        torch.zeros(1),
    )
    video = spec.visible(regressor.preprocess.clips(batch_of_one, masks=mask is not None))[0]
    if longest > length:
        filler = F.pad(video[:, :1] * 0, (0, 0, 0, 0, 0, longest - length - 1))
        if mask is not None:
            filler[-1] = -1.0
        video = torch.cat([video, filler], 1)
    found = np.empty(len(starts), np.float32)
    # clips that begin whole periods apart share most, so they go into one block
    order = sorted(range(len(starts)), key=lambda place: (starts[place] % spec.period, starts[place]))
    for first in range(0, len(order), batch):
        places = order[first : first + batch]
        block = [starts[place] for place in places]
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            found[places] = answers(regressor.network, video, block, spec.frames, spec.period).cpu().numpy()
    return found


def members_on_clips(
    regressors: Sequence[Part],
    frames: np.ndarray,
    masks: Callable[[np.ndarray], np.ndarray] | None,
    starts: list[int],
    batch: int,
    device: torch.device,
    precision: str = "32",
) -> np.ndarray:
    """EF (networks, starts), percent, of each EF network of a model on the same clips; see `predict_clips`."""
    return np.stack(
        [
            predict_clips(part, frames, masks if part.spec.takes_masks else None, starts, batch, device, precision)
            for part in regressors
        ]
    )


def longest(regressors: Sequence[Part]) -> RegressorSpec:
    """Of several EF networks what is needed of the one whose clips are longest: where clips can begin for all."""
    spec: RegressorSpec = max((part.spec for part in regressors), key=lambda spec: spec.span)
    return spec


def ef_of_clips(
    regressor: Part,
    frames: np.ndarray,
    masks: np.ndarray | None,
    starts: list[int],
    device: torch.device,
    precision: str = "32",
) -> np.ndarray:
    """EF (starts,), percent, of clips of one recording; `masks` are uint8 (time, size, size)."""
    span = regressor.spec.span
    found = []
    while starts:
        first = starts[0]
        block = [start for start in starts if start < first + STARTS_AT_ONCE]
        starts = starts[len(block) :]
        stop = block[-1] + span
        seen = masks[first:stop] if masks is not None and regressor.spec.takes_masks else None
        reader = None if seen is None else seen.__getitem__
        within = [start - first for start in block]
        found.append(predict_clips(regressor, frames[first:stop], reader, within, 20, device, precision))
    return np.concatenate(found)


def precision_of(reference: dict[str, Any], device: torch.device) -> Precision:
    """What a bundle's networks compute in on a device: 32 bits, unless its reference says that others agree with it."""
    return choose_precision(reference.get("precision", "32"), device)


def at_store_size(masks: np.ndarray) -> np.ndarray:
    """Probabilities uint8 (time, size, size) at 112x112, bilinear."""
    if masks.shape[-1] == SIZE:
        return masks
    small = torch.from_numpy(masks)[:, None].float()
    large = F.interpolate(small, (SIZE, SIZE), mode="bilinear", align_corners=False)
    return large[:, 0].round().to(torch.uint8).numpy()
