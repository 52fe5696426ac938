"""Members of a committee: each gives EF of several clips of a video, by a trained network or by discs."""

from collections.abc import Callable

import numpy as np

from echocycle.cardiac.beats import USUAL_FPS
from echocycle.cardiac.discs import ef_by_discs
from echocycle.data.clips import clip_starts
from echocycle.data.labels import TrainingData
from echocycle.device import choose_device, choose_precision
from echocycle.errors import EchocycleError
from echocycle.inference.clips import THRESHOLD, at_store_size, predict_clips
from echocycle.models.specs import Part
from echocycle.settings.stages import LoopSettings


def network_member(part: Part, data: TrainingData, loop: LoopSettings, clips: int) -> Callable[[int], np.ndarray]:
    """A member that gives a trained network's EF of the clips of a video, (clips,)."""
    spec = part.spec
    device = choose_device(loop.device)
    precision = choose_precision(loop.precision, device)
    part.to(device)

    def answer(video: int) -> np.ndarray:
        last = clip_starts(data.n_frames(video), spec.frames, spec.period) - 1
        starts = [round(last * place) for place in np.linspace(0, 1, clips + 2)[1:-1]]
        masks = (lambda numbers: data.masks(video, numbers)) if spec.takes_masks else None
        return predict_clips(part, data.frames(video), masks, starts, len(starts), device, precision)

    return answer


def discs_member(data: TrainingData, clips: int) -> Callable[[int], np.ndarray]:
    """A member that gives EF by discs, on the scale of the labels, (clips,) times the same."""

    def measured(video: int) -> float:
        fps = data.fps(video)
        masks = at_store_size(data.masks(video, np.arange(data.n_frames(video))))
        return ef_by_discs(masks > THRESHOLD, fps if np.isfinite(fps) else USUAL_FPS).ef

    labelled = data.videos("labelled")
    found = np.array([measured(int(video)) for video in labelled])
    good = np.isfinite(found)
    if good.sum() < 2 or np.ptp(found[good]) == 0:
        raise EchocycleError(
            "EF by discs could be measured in fewer than two labelled videos, so discs cannot be on the "
            "committee; use --option.discs false, or better masks."
        )
    ef = np.array([data.ef(int(video)) for video in labelled])
    slope, offset = np.polyfit(found[good], ef[good], 1)
    return lambda video: np.full(clips, offset + slope * measured(video))
