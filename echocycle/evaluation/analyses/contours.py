"""A segmenter's masks on frames that nobody traced, and over the whole video (Fig. A3, Table VI's third column).

The paper had one random frame of each test video traced by hand; those masks are not public. On the phantom the truth
of every frame is known, so that one random frame between ED and ES is compared with it; and masks that a user supplies
are compared in the same way.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from echocycle.data.mask_set import MaskSet
from echocycle.data.store import SIZE, Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.stored import Arrays
from echocycle.evaluation.metrics import mask_counts
from echocycle.inference.clips import THRESHOLD, at_store_size
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part
from echocycle.settings.analyses import AnalyseSettings


def random_frame(name: str, ed: int, es: int, n_frames: int, seed: int) -> int:
    """A random frame strictly between ED and ES, the same for every run; of an untraced video any frame."""
    rng = np.random.default_rng([seed, *name.encode()])
    low, high = min(ed, es) + 1, max(ed, es)
    return int(rng.integers(low, high)) if ed >= 0 and high > low else int(rng.integers(n_frames))


def supplied_masks(folder: str) -> dict[str, tuple[int, Path]]:
    """By video, the frame and the file of each mask VIDEO_FRAME.png of a folder."""
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise EchocycleError(f"{folder} is not a folder; --supplied names one with masks VIDEO_FRAME.png.")
    found = {}
    for file in sorted(Path(folder).glob("*.png")):
        video, _, frame = file.stem.rpartition("_")
        if not video or not frame.isdigit():
            raise EchocycleError(f"{file} is not called VIDEO_FRAME.png, such as 0X1A2B_37.png; frames count from 0.")
        found[video] = (int(frame), file)
    if not found:
        raise EchocycleError(f"{folder} holds no mask VIDEO_FRAME.png.")
    return found


def read_mask(file: Path) -> np.ndarray:
    """A mask picture as bool (112, 112): whatever is not black is left ventricle."""
    try:
        with Image.open(file) as picture:
            mask = np.asarray(picture.convert("L")) > 0
    except OSError as error:
        raise EchocycleError(f"{file} is not a picture that can be read ({error}).") from None
    if mask.shape != (SIZE, SIZE):
        raise EchocycleError(f"{file} has {mask.shape[1]} x {mask.shape[0]} pixels; {SIZE} x {SIZE} are needed.")
    return mask


def masks_of_video(
    segmenter: Part,
    store: Store,
    truth: MaskSet | None,
    video: int,
    supplied: dict[str, tuple[int, Path]],
    settings: AnalyseSettings,
) -> Arrays | None:
    """The masks of one video that the report shows.

    Gives `number`, the frame; `frame` (112, 112) grey; `mask`, found; `true`, the true mask, with `counts` (3,): pixels
    in both, true, found (both empty where the truth of that frame is not known); `area` and `area_true` (time,),
    pixels. None for a video without a mask where masks are supplied.
    """
    row = store.index.iloc[video]
    if supplied and row["name"] not in supplied:
        return None
    n_frames = store.n_frames(video)
    device = next(segmenter.network.parameters()).device
    found = at_store_size(
        np.concatenate(list(probabilities(segmenter, store.frames(video), max(settings.batch, 32), device)))
    )
    masks = found > THRESHOLD
    true_all = None
    if truth is not None and truth.has(video):
        true_all = truth.probabilities(video, np.arange(n_frames)) > THRESHOLD
    if supplied:
        number, file = supplied[row["name"]]
        if number >= n_frames:
            raise EchocycleError(f"{file} names frame {number}, and {row['name']} has {n_frames}, counted from 0.")
        true = read_mask(file)
    else:
        number = random_frame(str(row["name"]), int(row["ed_frame"]), int(row["es_frame"]), n_frames, settings.seed)
        true = true_all[number] if true_all is not None else np.zeros((0, 0), bool)
    frame = store.frames(video)[number]
    counts = np.array(mask_counts(true, masks[number]) if true.size else (), np.int64)
    return {
        "number": np.array(number),
        "frame": frame if frame.ndim == 2 else frame.mean(-1).astype(np.uint8),
        "mask": masks[number],
        "true": true,
        "counts": counts,
        "area": masks.sum((1, 2)),
        "area_true": true_all.sum((1, 2)) if true_all is not None else np.empty(0, np.int64),
        "fps": np.array(float(row["fps"])),
        "traced": np.array([int(row["ed_frame"]), int(row["es_frame"])]),
    }
