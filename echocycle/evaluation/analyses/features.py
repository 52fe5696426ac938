"""What a segmenter's encoder gives of every frame of a video: one vector a frame, as CSS and TCCL compare them.

From these arrays come the cyclicity of the features (Fig. 5), the similarity of frames (Fig. A2) and the matching of
phases (Figs. 3 and A1); none of them needs the model again.
"""

import numpy as np
import torch

from echocycle.data.mask_set import MaskSet
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.stored import Analysed, Arrays
from echocycle.inference.clips import THRESHOLD
from echocycle.models.segmenter import FrameSegmenter
from echocycle.models.specs import Part
from echocycle.segmentation.css import pool
from echocycle.settings.analyses import AnalyseSettings

PAPER_VIDEOS = 6
"""Videos whose frames go into one t-SNE picture."""


@torch.no_grad()
def features_of_video(
    segmenter: Part, store: Store, truth: MaskSet | None, video: int, settings: AnalyseSettings
) -> Arrays:
    """One vector a frame of a video, summed over positions, and the ventricle's area in each frame.

    Gives `features` (time, dim) float32; `area` (time,), pixels at the network's size; `area_true`, pixels of the true
    masks, where there are any (the phantom), else empty; `fps`; and `positions`, of the map that was summed over.
    """
    network = segmenter.network
    if not isinstance(network, FrameSegmenter):
        raise EchocycleError(
            "This segmenter looks at several frames at once, so that no frame has features of its own. The analysis "
            "`features` needs one that looks at single frames (methods supervised, css, tccl, cps)."
        )
    frames = store.frames(video)
    device = next(network.parameters()).device
    found: list[np.ndarray] = []
    areas: list[np.ndarray] = []
    positions = 1
    for first in range(0, len(frames), settings.batch):
        block = torch.from_numpy(np.array(frames[first : first + settings.batch])).to(device)
        output = network(segmenter.preprocess.frames(block, block.ndim == 4))
        positions = output.features.shape[-2] * output.features.shape[-1]
        found.append(pool(output.features, "sum", 1.0, rescale=False)[0].cpu().numpy())
        areas.append((output.logits > 0).sum((-1, -2)).cpu().numpy())
    true = np.empty(0, np.int64)
    if truth is not None and truth.has(video):
        true = (truth.probabilities(video, np.arange(len(frames))) > THRESHOLD).sum((1, 2))
    return {
        "features": np.concatenate(found).astype(np.float32),
        "area": np.concatenate(areas).astype(np.int64),
        "area_true": true,
        "fps": np.array(float(store.index["fps"][video])),
        "positions": np.array(positions),
    }


def embedded(analysed: Analysed) -> Arrays:
    """t-SNE of the frames of the first videos together: `points` (frames, 2) and `video` (frames,), their number.

    The paper shows several test videos, one colour each.
    """
    from openTSNE import TSNE

    chosen = []
    for (_, arrays), _ in zip(analysed.pieces(), range(PAPER_VIDEOS), strict=False):
        chosen.append(arrays["features"])
    every = np.concatenate(chosen).astype(np.float64)
    every = (every - every.mean(0)) / np.maximum(every.std(0), 1e-9)
    perplexity = min(30.0, (len(every) - 1) / 3.5)
    points = TSNE(
        perplexity=perplexity, initialization="pca", random_state=int(analysed.settings.get("seed", 0)), n_jobs=1
    ).fit(every)
    videos = np.repeat(np.arange(len(chosen)), [len(each) for each in chosen])
    return {"points": np.asarray(points, np.float32), "video": videos}
