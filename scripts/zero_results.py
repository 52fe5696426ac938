"""Numbers of the model in the package for docs/results/zero.md, printed as Markdown.

    python scripts/zero_results.py real STORE OUT [SPLIT...] [--stills]   # a store with tracings, such as one of CAMUS
    python scripts/zero_results.py phantom [--clips 80]                   # phantoms that the model was not trained on
    python scripts/zero_results.py stills STORE [SPLIT...]                # its EF network on two stills of each patient

`--model` names another bundle. Intervals are bootstraps over patients; of each mask the largest blob counts.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from camus_segmentation import rows_of
from scipy.stats import spearmanr

from echocycle.bundle import Bundle, load_bundle
from echocycle.cardiac.beats import largest_components
from echocycle.cardiac.discs import disc_volume, ef_by_discs
from echocycle.data.clips import clip_starts
from echocycle.data.store import Store
from echocycle.evaluation.protocols import mask_rows
from echocycle.evaluation.tables import write_dice, write_volumes
from echocycle.inference.clips import predict_clips
from echocycle.inference.masks import probabilities
from echocycle.phantom.clip import make_clip
from echocycle.phantom.look import Ranges
from echocycle.phantom.settings import PhantomSettings
from echocycle.zero.regressor import STILLS

CPU = torch.device("cpu")
USUAL = PhantomSettings(seed=9001, frames_min=84, frames_median=92, frames_max=110)
OUTSIDE = Ranges(
    cavity_level=(76.0, 92.0),
    contrast=(0.45, 0.65),
    blur=(0.9, 1.5),
    grey_per_db=(7.2, 9.0),
    texture_sd=(34.0, 44.0),
    haze_level=(45.0, 60.0),
    speckle_lateral=(2.2, 3.0),
    fan_half_angle=(28.0, 32.0),
)
UNSEEN = {
    "phantom version 2": USUAL,
    "the same, every EF as frequent": replace(USUAL, seed=9002, uniform_ef=(10.0, 80.0)),
    "second hospital, whole beats": replace(USUAL, hospital="second", half_cycles=False),
    "phantom version 1": replace(USUAL, version=1),
    "looks outside the ranges": replace(USUAL, randomise=True, ranges=OUTSIDE),
}


def real(bundle: Bundle, store: Store, out: Path, splits: list[str], *, stills: bool) -> None:
    """Dice and EF by discs of the traced frames; `stills` shows each frame alone."""
    dice, volumes = [], []
    for split in splits:
        for video in map(int, store.videos(split)):
            frames = np.array(store.frames(video))
            parts = frames[:, None] if stills else [frames]
            found = np.concatenate([_probabilities(bundle, part) for part in parts])
            kept = largest_components(found > 127.5) * np.uint8(255)
            overlaps, row = mask_rows(kept, store, None, video, "zero")
            dice += overlaps
            volumes.append(row)
    out.mkdir(parents=True, exist_ok=True)
    write_dice(out / "dice.csv", pd.DataFrame(dice))
    write_volumes(out / "volumes.csv", pd.DataFrame(volumes))
    overlaps, efs = rows_of("zero, stills" if stills else "zero, pairs", out)
    print("| model | split | Dice ED | Dice ES | both | worst patient |\n|---|---|---|---|---|---|")
    print("\n".join(overlaps))
    print("\n| model | split | EF MAE, points | bias | correlation | MAE of their mean |\n|---|---|---|---|---|---|")
    print("\n".join(efs))


def stills_ef(bundle: Bundle, store: Store, splits: list[str]) -> None:
    """EF of the EF network, which sees two stills in turn, against EF by discs of the experts' masks."""
    print("| what | patients | MAE | bias | Spearman | MAE of their mean |\n|---|---|---|---|---|---|")
    for split in splits:
        true, found = [], []
        for video in map(int, store.videos(split)):
            frames, row = np.array(store.frames(video)), store.index.iloc[video]
            pair = _probabilities(bundle, frames)[[int(row["ed_frame"]), int(row["es_frame"])]]
            clip = np.repeat(np.array(STILLS), bundle.regressor.spec.period)
            found.append(_ef(bundle, frames[clip], pair[clip], [0]))
            edv, esv = (disc_volume(mask, _spacing(row)).volume for mask in store.traced_masks(video))
            true.append(100 * (edv - esv) / edv)
        print(_row(f"EF network, two stills, {split}", true, found))


def phantoms(bundle: Bundle, clips: int) -> None:
    """EF by network and by discs, and Dice of all frames, on clips that training did not draw."""
    print("| clips | what | number | MAE | bias | Spearman | MAE of their mean | Dice, all frames |\n|" + "---|" * 8)
    for name, settings in UNSEEN.items():
        true, network, discs, dice = [], [], [], []
        for clip in _clips(settings, clips):
            true.append(clip.ef)
            starts = list(range(0, clip_starts(len(clip.frames), 16, 3), 6))
            found = _probabilities(bundle, clip.frames)
            network.append(_ef(bundle, clip.frames, found, starts))
            masks = found > 127.5
            discs.append(ef_by_discs(masks, clip.fps).ef)
            dice.append(2 * (masks & clip.masks).sum() / (masks.sum() + clip.masks.sum()))
        print(_row(f"{name} | EF network", true, network) + f" {np.mean(dice):.3f} |")
        print(_row(f"{name} | discs", true, discs) + " |")


def _probabilities(bundle: Bundle, frames: np.ndarray) -> np.ndarray:
    """Of every frame, uint8 (time, 112, 112)."""
    return np.concatenate(list(probabilities(bundle.segmenter, frames, 64, CPU)))


def _ef(bundle: Bundle, frames: np.ndarray, masks: np.ndarray, starts: list[int]) -> float:
    """The EF network's mean over clips."""
    return float(predict_clips(bundle.regressor, frames, lambda numbers: masks[numbers], starts, 20, CPU).mean())


def _clips(settings: PhantomSettings, clips: int) -> Iterator:
    return (make_clip(index, settings) for index in range(clips))


def _spacing(row: pd.Series) -> tuple[float, float] | None:
    spacing = float(row["spacing_row_mm"]), float(row["spacing_column_mm"])
    return spacing if np.isfinite(spacing).all() else None


def _row(name: str, true: list[float], found: list[float]) -> str:
    """A row of numbers; what could not be measured is left out and counted."""
    t, f = np.array(true), np.array(found)
    good = np.isfinite(t) & np.isfinite(f)
    t, f = t[good], f[good]
    numbers = f"{np.abs(f - t).mean():.1f} | {np.mean(f - t):+.1f} | {spearmanr(t, f).statistic:.2f}"
    return f"| {name} | {len(t)} of {len(good)} | {numbers} | {np.abs(t - t.mean()).mean():.1f} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("zero"))
    parts = parser.add_subparsers(dest="what", required=True)
    one = parts.add_parser("real")
    one.add_argument("store", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("splits", nargs="*", default=["train", "val"])
    one.add_argument("--stills", action="store_true")
    two = parts.add_parser("phantom")
    two.add_argument("--clips", type=int, default=80)
    three = parts.add_parser("stills")
    three.add_argument("store", type=Path)
    three.add_argument("splits", nargs="*", default=["train", "val"])
    given = parser.parse_args()
    bundle = load_bundle(given.model)
    if given.what == "real":
        real(bundle, Store(given.store), given.out, given.splits, stills=given.stills)
    elif given.what == "stills":
        stills_ef(bundle, Store(given.store), given.splits)
    else:
        phantoms(bundle, given.clips)


if __name__ == "__main__":
    main()
