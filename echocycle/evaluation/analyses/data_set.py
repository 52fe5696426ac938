"""What a data set is like: the paper's Tables A2 and A3 for any store, and how many clips of CSS see two beats.

Appendix B of the paper argues that a clip of CSS covers two heartbeats; that is counted here, where the length of a
beat can be told from masks of every frame.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from echocycle.data.mask_set import MaskSet
from echocycle.data.store import Store
from echocycle.evaluation.analyses.phases import beat_length
from echocycle.evaluation.analyses.stored import Analysed, Arrays
from echocycle.inference.clips import THRESHOLD

QUALITIES = ("Good", "Medium", "Poor")


def facts_of_video(store: Store, masks: MaskSet | None, video: int, clip: int) -> Arrays:
    """What the tables need of one video.

    Args:
        masks: masks of every frame, of which the length of a beat is told; None where there are none.
        clip: frames that a clip of CSS spans.
    """
    row = store.index.iloc[video]
    fps, beat = float(row["fps"]), float("nan")
    if masks is not None and masks.has(video):
        area = (masks.probabilities(video, np.arange(store.n_frames(video))) > THRESHOLD).sum((1, 2))
        beat = beat_length(area, fps)
    return {
        "patient": np.array(str(row["patient"])),
        "split": np.array(str(row["split"])),
        "frames": np.array(store.n_frames(video)),
        "fps": np.array(fps),
        "ef": np.array(float(row["ef"])),
        "traced": np.array(bool(row["ed_frame"] >= 0)),
        "quality": np.array(store.detail(str(row["name"]), "quality")),
        "beat": np.array(beat),
        "clip": np.array(clip),
    }


def table_of_videos(analysed: Analysed) -> pd.DataFrame:
    """One row a video, with the columns of `facts_of_video`."""
    return pd.DataFrame([{key: value.item() for key, value in arrays.items()} for _, arrays in analysed.pieces()])


@dataclass(frozen=True)
class Covered:
    """How many of the videos that are long enough for a clip of CSS show two whole beats in it."""

    clip: int
    """Frames that the clip spans."""
    enough: int
    """Videos with so many frames."""
    known: int
    """Of these, those whose beat is known."""
    two: int
    """Of these, those whose clip spans at least two beats."""
    beats: float
    """Beats in a clip, the median."""


def covered(videos: pd.DataFrame) -> Covered:
    """Counts of `Covered` from `table_of_videos`."""
    clip = int(videos["clip"].iloc[0])
    enough = videos[videos["frames"] >= clip]
    known = enough[enough["beat"].notna()]
    beats = clip / known["beat"]
    return Covered(clip, len(enough), len(known), int((beats >= 2).sum()), float(beats.median()))
