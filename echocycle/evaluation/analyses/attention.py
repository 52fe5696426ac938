"""Where an EF network looks: SmoothGrad, and the Dice of its largest gradients with the ventricle (Tables II and X).

M(x) = 1/n sum_i | d EF / d (x + e_i) |, e_i normal with standard deviation sigma (max - min) of the normalised clip,
summed over the three colour channels. The largest 5 % are compared with the traced ventricle at ED and ES. The paper
says neither n nor sigma, nor whether the 5 % are those of the clip or of the frame: n and sigma are settings, and both
thresholds are counted, the clip's first (only with it can the weights of ED and ES in the paper's "Overall" differ from
method to method, as its numbers show).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from echocycle.data.clips import ClipBatch, clip_starts
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.stored import Analysed, Arrays
from echocycle.evaluation.half_beats import shown_frames
from echocycle.evaluation.intervals import Interval
from echocycle.evaluation.metrics import LEVEL, mask_counts, pooled_dice
from echocycle.models.specs import Part
from echocycle.settings.analyses import AnalyseSettings

PER = ("clip", "frame")
"""What the share of the largest gradients is taken of, the default first."""
PHASES = ("ED", "ES")


# --------------------------------------------------------------------------------------------- the gradients


def smooth_gradients(
    forward: Callable[[Tensor], Tensor], clip: Tensor, *, samples: int, sigma: float, seed: int = 0, batch: int = 5
) -> Tensor:
    """SmoothGrad of one clip, (channels, time, height, width), absolute gradients averaged over noisy copies.

    Args:
        forward: clips (batch, channels, time, height, width) -> one number each.
        clip: (channels, time, height, width), normalised.
        samples: noisy copies, n.
        sigma: standard deviation of the noise, as a share of the clip's range.
        batch: copies in one pass.
    """
    from captum.attr import NoiseTunnel, Saliency

    deviation = sigma * float(clip.max() - clip.min())
    with torch.random.fork_rng(devices=[clip.device] if clip.is_cuda else []), torch.enable_grad():
        torch.manual_seed(seed)
        found = NoiseTunnel(Saliency(forward)).attribute(
            clip[None].detach().clone().requires_grad_(),
            nt_type="smoothgrad",
            nt_samples=samples,
            nt_samples_batch_size=min(batch, samples),
            stdevs=deviation,
            abs=True,
        )
    return found[0].detach()  # type: ignore[no-any-return]


def largest(values: NDArray[np.floating[Any]], share: float) -> NDArray[np.bool_]:
    """The given share of the largest values, at least one, as a mask of the same shape; exactly so many."""
    count = max(1, round(share * values.size))
    chosen = np.zeros(values.size, bool)
    chosen[np.argpartition(values.ravel(), -count)[-count:]] = True
    return chosen.reshape(values.shape)


# ------------------------------------------------------------------------------------------------- one video


def start_with(frame: int, n_frames: int, frames: int, period: int) -> int:
    """The start of a clip on whose grid a frame of the video lies, as near the clip's middle as can be."""
    reach = frames * period
    starts = [
        start
        for start in range(clip_starts(n_frames, frames, period))
        if 0 <= frame - start < reach and (frame - start) % period == 0 and (frame - start) // period < frames
    ]
    return min(starts, key=lambda start: abs(frame - start - reach // 2))


def attention_of_video(
    regressor: Part, store: Store, video: int, masks: Any, settings: AnalyseSettings, *, draw: bool
) -> Arrays | None:
    """What the network looks at around the traced ED and ES frames of a video.

    Gives `counts` (2 thresholds, 2 phases, 3): pixels in both, in the ventricle, looked at. With `draw` also `heat`
    (2, size, size), gradients over the clip's largest; `frame` (2, size, size) and `mask`, the traced ventricle. None
    without a tracing.

    Args:
        masks: the mask set for a network that takes masks, else None.
    """
    spec = regressor.spec
    if not spec.takes_video:
        raise EchocycleError("This network sees masks alone, so there is no picture that it could look at.")
    index = store.index
    if index["ed_frame"][video] < 0:
        return None
    numbers = shown_frames(store.n_frames(video), settings.half_beats)
    frames = np.asarray(store.frames(video)[numbers])
    counts = np.zeros((2, 2, 3), np.int64)
    drawn: dict[str, list[np.ndarray]] = {"heat": [], "frame": [], "mask": []}
    for place, traced in enumerate((int(index["ed_frame"][video]), int(index["es_frame"][video]))):
        frame = int(np.flatnonzero(numbers == traced)[0])
        start = start_with(frame, len(frames), spec.frames, spec.period)
        clip, valid = _clip(regressor, frames, numbers, masks, video, start)
        heat = _heat(regressor, clip, settings, seed=settings.seed + place)[:valid]
        at = (frame - start) // spec.period
        true = _at_size(store.traced_masks(video)[place], spec.size)
        looked = largest(heat, settings.share)[at], largest(heat[at], settings.share)
        for number, seen in enumerate(looked):
            counts[number, place] = mask_counts(true, seen)
        if draw:
            top = float(heat.max())
            drawn["heat"].append((heat[at] / top if top > 0 else heat[at]).astype(np.float16))
            drawn["frame"].append(_at_size(_grey(frames[frame]), spec.size, grey=True))
            drawn["mask"].append(true)
    return {"counts": counts, **({key: np.stack(value) for key, value in drawn.items()} if draw else {})}


def _clip(
    regressor: Part, frames: np.ndarray, numbers: np.ndarray, masks: Any, video: int, start: int
) -> tuple[Tensor, int]:
    """The network's input (channels, time, size, size) from `start` on, and how many of its frames exist."""
    spec = regressor.spec
    places = start + spec.period * np.arange(spec.frames)
    there = places[places < len(frames)]
    clip = np.zeros((spec.frames, *frames.shape[1:]), np.uint8)
    clip[: len(there)] = frames[there]
    mask = None
    if spec.takes_masks:
        found = masks.probabilities(video, numbers[there])
        mask = np.zeros((1, spec.frames, *found.shape[1:]), np.uint8)
        mask[0, : len(there)] = found
    device = next(regressor.network.parameters()).device
    batch = ClipBatch(
        torch.from_numpy(clip)[None].to(device),
        None if mask is None else torch.from_numpy(mask).to(device),
        torch.tensor([len(there)], device=device),
        torch.zeros(1, 2, dtype=torch.int64),
        None,
        torch.zeros(1),
    )
    return spec.visible(regressor.preprocess.clips(batch, masks=mask is not None))[0].contiguous(), len(there)


def _heat(regressor: Part, clip: Tensor, settings: AnalyseSettings, seed: int) -> NDArray[np.float32]:
    """Gradients (time, size, size), summed over the colour channels."""
    network: Callable[[Tensor], Tensor] = regressor.network
    found = smooth_gradients(
        network, clip, samples=settings.samples, sigma=settings.sigma, seed=seed, batch=settings.batch
    )
    heat: NDArray[np.float32] = found[:3].sum(0).float().cpu().numpy()
    return heat


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 2 else frame.mean(-1).astype(np.uint8)


def _at_size(image: np.ndarray, size: int, *, grey: bool = False) -> np.ndarray:
    """A mask or grey frame (height, width) at the network's size; a pixel more than half inside belongs to the mask."""
    from echocycle.models.preprocess import resize

    found = resize(torch.from_numpy(np.array(image, np.float32))[None, None], size)[0, 0].numpy()
    return found.round().astype(np.uint8) if grey else found > 0.5


# --------------------------------------------------------------------------------------------------- numbers


@dataclass(frozen=True)
class Attention:
    """Dice of what is looked at and the ventricle, shares from 0 to 1, pooled over the pixels of all videos."""

    per: Literal["clip", "frame"]
    ed: Interval
    es: Interval
    overall: Interval
    chance: float
    """What as many pixels at random would give, overall."""
    videos: int


def attention_dice(counts: NDArray[np.int64], per: int, share: float, size: int, resamples: int = 2000) -> Attention:
    """Pooled Dice with bootstrap intervals over videos.

    Args:
        counts: (videos, 2 thresholds, 2 phases, 3), as `attention_of_video` gives them.
        per: 0 for the threshold of the clip, 1 for that of the frame.
        share: the share of pixels that was taken.
        size: height and width of a frame in pixels.
    """
    chosen = counts[:, per]
    ed, es, both = (pooled_interval(part, resamples) for part in (chosen[:, :1], chosen[:, 1:], chosen))
    inside = chosen[..., 1].sum() / (chosen[..., 1].size * size * size)
    chance = 2 * share * inside / (share + inside)
    return Attention("clip" if per == 0 else "frame", ed, es, both, float(chance), len(counts))


def pooled_interval(counts: NDArray[np.int64], resamples: int) -> Interval:
    """The pooled Dice of (videos, phases, 3) with its interval over videos."""
    sums = counts.sum(1).astype(float)
    value = pooled_dice(*(sums[:, [k]].sum(0) for k in range(3)))
    if len(sums) < 2:
        return Interval(value, np.nan, np.nan)

    def dice(inside: np.ndarray, true: np.ndarray, seen: np.ndarray, axis: int = -1) -> np.ndarray:
        found: np.ndarray = 2 * inside.sum(axis) / (true.sum(axis) + seen.sum(axis))
        return found

    found = stats.bootstrap(
        tuple(sums.T), dice, paired=True, method="percentile", n_resamples=resamples,
        confidence_level=LEVEL, rng=np.random.default_rng(0), vectorized=True,
    )  # fmt: skip
    return Interval(value, float(found.confidence_interval.low), float(found.confidence_interval.high))


def counts_of(analysed: Analysed) -> NDArray[np.int64]:
    """The counts of all videos, (videos, 2, 2, 3)."""
    return np.stack([arrays["counts"] for _, arrays in analysed.pieces()])
