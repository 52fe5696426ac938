"""The clips that are measured: drawn on the spot, or read from a phantom's folder."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocycle.files import read_json
from echocycle.phantom.clip import clip_name, make_clip
from echocycle.phantom.settings import PhantomSettings
from echocycle.settings.convert import from_dict

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
Measures = dict[str, float]

SAMPLED_FRAMES = 8


class Clip(NamedTuple):
    """One clip and its truth: T frames of pixels (row, column)."""

    frames: NDArray[np.uint8]
    masks: Mask
    volumes_ml: Floats
    ef: float
    ed_frame: int
    es_frame: int
    fps: float
    spacing_mm: float


def drawn_clips(settings: PhantomSettings) -> Iterator[Clip]:
    """The phantom's clips, drawn and never written."""
    for index in range(settings.videos):
        made = make_clip(index, settings)
        truth = (made.volumes_ml, made.ef, made.ed_frame, made.es_frame, made.fps, made.spacing_mm[0])
        yield Clip(made.frames, made.masks, *truth)


def read_settings(folder: Path) -> PhantomSettings:
    """The settings with which a phantom's folder was made; an error where this program has other settings."""
    return from_dict(PhantomSettings, read_json(folder / "phantom.json")["settings"])


def read_clips(folder: Path, settings: PhantomSettings) -> Iterator[Clip]:
    """The clips of a phantom's folder, decoded."""
    from echocycle.recordings.video import read_video

    with (folder / "FileList.csv").open(encoding="utf-8", newline="") as file:
        listed = {line["FileName"]: line for line in csv.DictReader(file)}
    for index in range(settings.videos):
        name = clip_name(index, settings)
        with np.load(folder / "Truth" / f"{name}.npz") as truth:
            shape = tuple(truth["masks_shape"])
            bits = np.unpackbits(truth["masks"], axis=1, count=shape[1] * shape[2])
            yield Clip(
                frames=read_video(folder / "Videos" / f"{name}.avi").frames,
                masks=bits.reshape(shape).astype(bool),
                volumes_ml=truth["volumes_ml"],
                ef=float(listed[name]["EF"]),
                ed_frame=int(truth["ed_frame"]),
                es_frame=int(truth["es_frame"]),
                fps=float(listed[name]["FPS"]),
                spacing_mm=float(truth["spacing_mm"][0]),
            )


def sampled(items: NDArray, after: int = 0) -> NDArray:
    """Evenly spaced items, SAMPLED_FRAMES of them at most, with `after` further ones behind each."""
    last = len(items) - 1 - after
    return items[np.unique(np.linspace(0, last, SAMPLED_FRAMES).astype(int))]
