"""A frame store seen at another frame rate: what `evaluate --time seconds` reads."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from echocycle.data.mask_set import MaskSet
from echocycle.data.rate import places_at_rate, training_rate
from echocycle.data.store import Store
from echocycle.errors import EchocycleError


class StoreAtRate(Store):
    """A store whose videos all have `rate` frames a second; nothing is written.

    Traced frames stay traced: the place nearest in time takes each.

    Raises:
        EchocycleError: the rate of a video is unknown.
    """

    def __init__(self, store: Store, rate: float) -> None:
        unknown = store.index["name"][store.index["fps"].isna()]
        if len(unknown):
            raise EchocycleError(
                f"{store.path}: the frame rate of {len(unknown)} videos is unknown ({unknown.iloc[0]}, for one), so "
                "they cannot be brought to another. Evaluate with --time frames."
            )
        self.path, self.meta, self.rate, self._stored = store.path, store.meta, rate, store
        self._of_video: list[np.ndarray] = []
        traced: list[tuple[int, ...]] = []
        columns = ("frames", "fps", "ed_frame", "es_frame")
        for frames, fps, ed, es in store.index[list(columns)].to_numpy(float):
            keep = (int(ed), int(es)) if ed >= 0 else ()
            places, where = places_at_rate(int(frames), float(fps), rate, keep)
            self._of_video.append(places)
            traced.append(where or (-1, -1))
        self._traced = np.array(traced)

    @cached_property
    def index(self) -> pd.DataFrame:
        """That of the store, with frames, rate and traced frames as they are here."""
        return self._stored.index.assign(
            fps=self.rate,
            frames=[len(places) for places in self._of_video],
            ed_frame=self._traced[:, 0],
            es_frame=self._traced[:, 1],
        )

    def n_frames(self, video: int) -> int:
        return len(self._of_video[video])

    def frames(self, video: int) -> np.ndarray:
        """All frames of a video at this rate, uint8 (time, height, width[, 3])."""
        return self._stored.frames(video)[self._of_video[video]]

    def masks(self, name: str) -> MaskSet:
        return _MasksAtRate(self._stored.masks(name), self._of_video)


def seen_by(store: Store, time: str, reference: dict[str, Any], model: str) -> Store:
    """The store itself, or with `time` seconds the store at the usual rate of a model's training videos.

    Args:
        reference: what the model says of its training videos.
        model: its name, for messages.

    Raises:
        EchocycleError: the model does not say its rate, or that of a video is unknown.
    """
    if time == "frames":
        return store
    rate = training_rate(reference)
    if rate is None:
        raise EchocycleError(f"The model {model} does not say its training rate. Evaluate with --time frames.")
    return StoreAtRate(store, rate)


class _MasksAtRate(MaskSet):
    """A mask set of the same store, its frames numbered at the other rate."""

    def __init__(self, masks: MaskSet, of_video: list[np.ndarray]) -> None:
        self.__dict__.update(masks.__dict__)
        self._of_video = of_video

    def probabilities(self, video: int, frames: Sequence[int] | np.ndarray) -> np.ndarray:
        return super().probabilities(video, self._of_video[video][np.asarray(frames)])
