"""The label budget: which training videos count as labelled, and the one door to labels and tracings.

Methods never see the store. They get `TrainingData`, which hands out frames and masks of every training
video, but EF and tracings of labelled ones only; asking for another's raises `UnlabelledAnnotationError`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from echocycle.data.mask_set import MaskSet
from echocycle.data.store import Store
from echocycle.errors import EchocycleError, UnlabelledAnnotationError
from echocycle.settings.stages import LabelSettings, count_of

Subset = Literal["labelled", "unlabelled", "both", "validation"]


@dataclass(frozen=True)
class LabelBudget:
    """Rows of the store's index, by what a method may know of them."""

    labelled: tuple[int, ...]
    unlabelled: tuple[int, ...]
    excluded: tuple[int, ...]
    validation: tuple[int, ...]
    settings: LabelSettings
    calibration: tuple[int, ...] = ()
    """Validation videos that choose no epoch: intervals of EF are calibrated on them. No method sees their labels."""

    @property
    def labels_used(self) -> int:
        """Annotated videos that a run reads: labelled training videos and those it is selected and calibrated on."""
        return len(self.labelled) + len(self.validation) + len(self.calibration)

    def summary(self) -> dict[str, Any]:
        """The counts, for a report."""
        return {
            "labelled": len(self.labelled),
            "unlabelled": len(self.unlabelled),
            "excluded": len(self.excluded),
            "validation": len(self.validation),
            **({"calibration": len(self.calibration)} if self.calibration else {}),
            "labels_used": self.labels_used,
            "unlabelled_annotation_allowed": self.settings.allow_unlabelled_annotation,
        }


def draw_budget(store: Store, settings: LabelSettings, *, needs: Literal["ef", "tracing"]) -> LabelBudget:
    """Split the training videos into labelled, unlabelled and excluded.

    The selection is that of the paper's code: the training names in the older release's row order are shuffled
    in place by NumPy's legacy generator; the first n are labelled, the next m unlabelled, the rest left out.
    Subsets are therefore nested, and seed 0 gives the authors' own on EchoNet-Dynamic. A listed video that could not
    be read keeps its place in the shuffle and is passed over, so that the others stay where they are. In a user's own
    folder only videos that carry the annotation can be labelled; the others follow behind them as unlabelled.

    Args:
        needs: what "labelled" must mean for the stage. A selected video without it is dropped; where all are selected
            it is unlabelled, so that with 1,000 EF and 50 tracings a segmenter learns from 50 traced videos and the
            other 950. The public code drops every video without a tracing in every stage, EF stages too; so does
            `untraced` `drop`, which is not the default.
    """
    index = store.index
    train = store.videos("train")
    if not train.size:
        raise EchocycleError(
            f"{store.path} has no training videos; give some the split TRAIN in their list, and prepare them again."
        )
    ranks = index["authors_rank"].to_numpy()[train]
    shuffled = np.arange(ranks.max() + 1)
    np.random.RandomState(settings.seed).shuffle(shuffled)
    place = np.argsort(shuffled)  # of each rank
    order = train[np.argsort(place[ranks], kind="stable")]
    annotated = (index["annotation"] != "none").to_numpy()
    order = np.concatenate([order[annotated[order]], order[~annotated[order]]])

    pool = order[: count_of(settings.pool, len(order), "labels.pool")]
    wanted = count_of(settings.labelled, len(pool), "labels.labelled")
    available = int(annotated[pool].sum())
    if wanted > available and settings.labelled != "all":
        raise EchocycleError(
            f"labels.labelled asks for {wanted} labelled videos; {store.path} has {available} "
            "annotated training videos. Lower it."
        )
    traced, usable = _has(store, "tracing"), _has(store, needs)
    if settings.untraced == "drop":
        usable = usable & traced
    chosen = pool[: min(wanted, available)]
    labelled = chosen[usable[chosen]]
    rest = pool[len(chosen) :]
    if settings.labelled == "all":
        rest = np.concatenate([rest, chosen[~usable[chosen]]])
    unlabelled = rest[: count_of(settings.unlabelled, len(rest), "labels.unlabelled")]
    if settings.untraced == "drop":
        unlabelled = unlabelled[traced[unlabelled]]
    excluded = np.setdiff1d(order, np.concatenate([labelled, unlabelled]))

    validation = store.videos("val")
    validation = validation[usable[validation]]
    validation = np.random.RandomState(settings.seed).permutation(validation)
    kept_apart = count_of(settings.calibration, len(validation), "labels.calibration")
    calibration = validation[len(validation) - kept_apart :]
    validation = validation[: len(validation) - kept_apart][
        : count_of(settings.validation, len(validation), "labels.validation")
    ]
    what = "an EF" if needs == "ef" else "a tracing"
    if needs == "ef" and settings.untraced == "drop":
        what = "an EF and a tracing (labels.untraced is drop)"
    if not labelled.size:
        raise EchocycleError(
            f"No labelled video with {what} is left of {wanted} wanted; "
            f"raise labels.labelled; the column annotation of {store.path / 'index.csv'} says what each video has."
        )
    if not validation.size:
        raise EchocycleError(
            f"No validation video with {what}; the best epoch cannot be "
            "chosen. Give some videos the split VAL, or raise labels.validation above 0."
            + (" All of them calibrate (labels.calibration)." if kept_apart else "")
        )

    def rows(part: np.ndarray) -> tuple[int, ...]:
        return tuple(np.sort(part).tolist())

    return LabelBudget(rows(labelled), rows(unlabelled), rows(excluded), rows(validation), settings, rows(calibration))


def _has(store: Store, needs: Literal["ef", "tracing"]) -> np.ndarray:
    if needs == "ef":
        return store.index["ef"].notna().to_numpy()
    return (store.index["ed_frame"] >= 0).to_numpy()


class TrainingData:
    """What a method may see: frames and masks of all its videos, annotation of the labelled ones.

    Masks are a segmenter's predictions, not annotation. `channels` of frames are 1 (grey) or 3 (RGB).
    """

    def __init__(self, store: Store, budget: LabelBudget, masks: MaskSet | None = None):
        self._store = store
        self._budget = budget
        self._masks = masks
        self._visible = frozenset(budget.labelled) | frozenset(budget.validation)
        if budget.settings.allow_unlabelled_annotation:
            self._visible |= frozenset(budget.unlabelled)

    def videos(self, subset: Subset) -> np.ndarray:
        """Rows of the index in a subset, ascending."""
        budget = self._budget
        chosen = {
            "labelled": budget.labelled,
            "unlabelled": budget.unlabelled,
            "both": budget.labelled + budget.unlabelled,
            "validation": budget.validation,
        }[subset]
        return np.array(sorted(chosen), dtype=np.int64)

    def n_frames(self, video: int) -> int:
        """Decoded frames of a video."""
        return self._store.n_frames(video)

    def fps(self, video: int) -> float:
        """Frames a second; NaN where unknown."""
        return float(self._store.index["fps"].to_numpy()[video])

    def frames(self, video: int) -> np.ndarray:
        """Frames of a video, uint8 (time, height, width[, 3]), memory-mapped."""
        return self._store.frames(video)

    def masks(self, video: int, frames: np.ndarray) -> np.ndarray:
        """Predicted probabilities of the frames, uint8 (time, height, width)."""
        if self._masks is None:
            raise EchocycleError("This method needs masks; name a segmentation run with `--masks RUN`.")
        return self._masks.probabilities(video, frames)

    @property
    def mask_size(self) -> int | None:
        """Height and width of the masks; None without masks."""
        return self._masks.size if self._masks is not None else None

    def ef(self, video: int) -> float:
        """Ejection fraction in percent, of a labelled video."""
        self._check(video)
        return float(self._ef[video])

    def traced_frames(self, video: int) -> tuple[int, int]:
        """Frame numbers of the traced ED and ES frames, of a labelled video."""
        self._check(video)
        return int(self._ed_es[video, 0]), int(self._ed_es[video, 1])

    def traced_masks(self, video: int) -> np.ndarray:
        """Traced masks of ED and ES, bool (2, height, width), of a labelled video."""
        self._check(video)
        return self._store.traced_masks(video)

    def mean_ef(self) -> float:
        """Mean EF of the labelled training videos."""
        return float(np.mean([self.ef(video) for video in self._budget.labelled]))

    def _check(self, video: int) -> None:
        if video not in self._visible:
            raise UnlabelledAnnotationError(
                f"The annotation of video {self._store.index['name'][video]} was asked for, but it is unlabelled "
                "in this run. Settings that reproduce the public code by reading it need "
                "--labels.allow-unlabelled-annotation."
            )

    @property
    def _ef(self) -> np.ndarray:
        return self._store.index["ef"].to_numpy()

    @property
    def _ed_es(self) -> np.ndarray:
        return self._store.index[["ed_frame", "es_frame"]].to_numpy()
