"""Videos of half a beat, from ED to ES (CAMUS, the phantom's second hospital), as a network of whole beats sees them.

The paper doubles CAMUS's half beats by mirroring in time "at the start and end" (Sec. IV-G). What it does not say are
settings: how they are mirrored, how about 40 frames become the 63 that a clip spans, whose mean and deviation the
input is normalised by. Everything here works on frame numbers, so that frames and masks are read the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocycle.data.statistics import input_statistics
from echocycle.data.store import Store
from echocycle.datasets.camus_protocol import mirror_cycle
from echocycle.errors import EchocycleError
from echocycle.models.specs import Part
from echocycle.settings.stages import EvaluateSettings, HalfBeats


def shown_frames(n_frames: int, how: HalfBeats = "keep", *, until: int = 0) -> NDArray[np.int64]:
    """The numbers of the frames that a network is shown of a video, in order.

    Args:
        how: `keep` shows the video as it is; `symmetric` and `forward-backward` mirror it in time to twice its length
            (`camus_protocol.mirror_cycle`).
        until: go on with the same beat again until there are at least so many frames.
    """
    numbers = np.arange(n_frames)
    if how != "keep":
        numbers = mirror_cycle(numbers, how)
    if until > len(numbers):
        numbers = np.tile(numbers, -(-until // len(numbers)))
    return numbers


def frames_for(n_frames: int, settings: EvaluateSettings, spec: Any) -> NDArray[np.int64]:
    """The numbers of the frames that an EF network is shown of a video in an evaluation, in order."""
    until = spec.span if settings.fill == "repeat" and settings.half_beats != "keep" else 0
    return shown_frames(n_frames, settings.half_beats, until=until)


def as_tested(regressor: Part, store: Store, videos: Sequence[int], settings: EvaluateSettings) -> Part:
    """The EF network with the period and the input statistics that an evaluation asks for; itself by default."""
    spec = regressor.spec
    if settings.fill == "period-1" and settings.half_beats != "keep":
        spec = replace(spec, period=1)
    if settings.statistics == "store":
        mean, std = input_statistics(_Videos(store, tuple(videos)))  # type: ignore[arg-type]
        spec = replace(spec, mean=mean, std=std)
    if spec == regressor.spec:
        return regressor
    return Part(spec, regressor.network, regressor.hash).to(next(regressor.network.parameters()).device)


def patients_of(store: Store, videos: Sequence[int], settings: EvaluateSettings) -> list[int]:
    """The videos whose patients an evaluation is about.

    Raises `EchocycleError` where the store does not know whom the paper tests on.
    """
    if settings.patients == "all":
        return list(videos)
    names = store.index["name"]
    if not any(store.detail(str(names[video]), "paper") for video in videos):
        raise EchocycleError(
            f"{store.path} does not say whom the paper tests on: --patients paper is for CAMUS. A store of CAMUS "
            "that an earlier version prepared must be prepared again."
        )
    return [video for video in videos if store.detail(str(names[video]), "paper") == "1"]


@dataclass(frozen=True)
class _Videos:
    """Videos of a store as `input_statistics` takes them."""

    store: Store
    rows: tuple[int, ...]

    def videos(self, subset: str) -> np.ndarray:
        return np.array(self.rows, dtype=np.int64)

    def n_frames(self, video: int) -> int:
        return self.store.n_frames(video)

    def frames(self, video: int) -> np.ndarray:
        return self.store.frames(video)
