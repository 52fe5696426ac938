"""Numbers of the model in the package for docs/results/zero.md, printed as Markdown.

    python scripts/zero_results.py real STORE OUT [SPLIT...] [--stills]   # a store with tracings, such as one of CAMUS
    python scripts/zero_results.py phantom [--clips 80] [--against MODEL] # phantoms that the model was not trained on
    python scripts/zero_results.py beats STORE [SPLIT...] [--against MODEL]   # two stills of each patient made a beat
    python scripts/zero_results.py cines FILE... [--against MODEL]        # what each EF network says of recordings

`--model` names another bundle. Intervals are bootstraps over patients; of each mask the largest blob counts.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bent_beats import bent_beat
from camus_segmentation import rows_of
from scipy.stats import spearmanr

from echocycle.bundle import Bundle, load_bundle
from echocycle.cardiac.beats import largest_components
from echocycle.cardiac.discs import disc_volume, ef_by_discs
from echocycle.data.clips import clip_starts
from echocycle.data.store import Store
from echocycle.evaluation.protocols import mask_rows
from echocycle.evaluation.tables import write_dice, write_volumes
from echocycle.inference.clips import ef_of_clips
from echocycle.inference.masks import probabilities
from echocycle.models.specs import Part
from echocycle.phantom.clip import make_clip
from echocycle.phantom.look import Ranges
from echocycle.phantom.settings import PhantomSettings
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import cut_sector
from echocycle.zero.ef_clips import STILLS

CPU = torch.device("cpu")
USUAL = PhantomSettings(seed=9001, frames_min=84, frames_median=92, frames_max=110)
FLAT = replace(USUAL, seed=9002, uniform_ef=(10.0, 80.0))
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
    "version 2, EF as in patients": USUAL,
    "version 2": FLAT,
    "version 2, poor hearts remodelled": replace(FLAT, seed=9003, remodelled_share=1.0),
    "version 1": replace(FLAT, version=1),
    "second hospital, whole beats": replace(FLAT, hospital="second", half_cycles=False),
    "looks outside the ranges": replace(FLAT, randomise=True, ranges=OUTSIDE),
}
"""Every EF from 10 to 80 is as frequent as any other, but in the first."""
LOW = 40.0
EF_HEAD = "| clips | what | number | MAE | bias | bias under 40 | Spearman | MAE of their mean |\n|" + "---|" * 8


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


def beats(bundle: Bundle, against: Bundle | None, store: Store, splits: list[str]) -> None:
    """EF of two stills of each patient, made a beat in two ways, against EF by discs of the experts' masks."""
    print(EF_HEAD)
    for split in splits:
        true: list[float] = []
        made: dict[str, list[np.ndarray]] = {"bent along the outlines": [], "blended": []}
        for video in map(int, store.videos(split)):
            frames, row = np.array(store.frames(video)), store.index.iloc[video]
            ed, es = frames[int(row["ed_frame"])], frames[int(row["es_frame"])]
            masks = [np.asarray(mask) > 0 for mask in store.traced_masks(video)]
            edv, esv = (disc_volume(mask, _spacing(row)).volume for mask in masks)
            true.append(100 * (edv - esv) / edv)
            made["bent along the outlines"].append(bent_beat(ed, es, *masks))
            share = np.array(STILLS)[:, None, None]
            made["blended"].append(np.uint8(ed * (1 - share) + es * share))
        for name, clips in made.items():
            slow = [np.repeat(clip, 3, 0)[1:47] for clip in clips]
            for what, found in _efs(bundle, against, slow, 1):
                print(_row(f"{split}, {name} | {what}", true, found))


def phantoms(bundle: Bundle, against: Bundle | None, clips: int) -> None:
    """EF by network and by discs, and Dice of all frames, on clips that training did not draw."""
    print(EF_HEAD)
    for name, settings in UNSEEN.items():
        drawn = list(_clips(settings, clips))
        true = [clip.ef for clip in drawn]
        for what, found in _efs(bundle, against, [clip.frames for clip in drawn], 6):
            print(_row(f"{name} | {what}", true, found))
        discs, dice = [], []
        for clip in drawn:
            masks = _probabilities(bundle, clip.frames) > 127.5
            discs.append(ef_by_discs(masks, clip.fps).ef)
            dice.append(2 * (masks & clip.masks).sum() / (masks.sum() + clip.masks.sum()))
        print(_row(f"{name} | discs (Dice of all frames {np.mean(dice):.3f})", true, discs))


def cines(bundle: Bundle, against: Bundle | None, files: list[Path]) -> None:
    """What each EF network says of recordings, over clips that begin every fourth frame."""
    print("| recording | what | mean over clips | their spread (sd) | lowest to highest |\n|" + "---|" * 5)
    for file in files:
        frames = cut_sector(read_recording(file)).frames
        for what, part in _networks(bundle, against):
            found = _ef_of_clips(bundle, part, frames, 4)
            numbers = f"{found.mean():.1f} | {found.std():.1f} | {found.min():.0f} to {found.max():.0f}"
            print(f"| {file.name} | {what} | {numbers} |")


def _networks(bundle: Bundle, against: Bundle | None) -> list[tuple[str, Part]]:
    """Each EF network with its name."""
    found = [(f"network {number}", part) for number, part in enumerate(bundle.regressors, 1)]
    return found + ([] if against is None else [("the other model", part) for part in against.regressors])


def _efs(
    bundle: Bundle, against: Bundle | None, clips: list[np.ndarray], stride: int
) -> Iterator[tuple[str, list[float]]]:
    """EF of each recording by each EF network, and by their mean, which is the model's answer."""
    found = {
        what: [float(_ef_of_clips(bundle, part, frames, stride).mean()) for frames in clips]
        for what, part in _networks(bundle, against)
    }
    own = [efs for what, efs in found.items() if what.startswith("network")]
    if len(own) > 1:
        yield "**mean of all**", np.mean(own, 0).tolist()
    yield from found.items()


def _ef_of_clips(bundle: Bundle, part: Part, frames: np.ndarray, stride: int) -> np.ndarray:
    starts = list(range(0, clip_starts(len(frames), part.spec.frames, part.spec.period), stride))
    masks = _probabilities(bundle, frames) if part.spec.takes_masks else None
    return ef_of_clips(part, frames, masks, starts, CPU)


def _probabilities(bundle: Bundle, frames: np.ndarray) -> np.ndarray:
    """Of every frame, uint8 (time, 112, 112)."""
    return np.concatenate(list(probabilities(bundle.segmenter, frames, 64, CPU)))


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
    low = f"{np.mean((f - t)[t < LOW]):+.1f}" if (t < LOW).any() else ""
    errors, rng = np.abs(f - t), np.random.default_rng(0)
    means = [errors[rng.integers(0, len(errors), len(errors))].mean() for _ in range(2000)]
    mae = "{:.1f} ({:.1f} to {:.1f})".format(errors.mean(), *np.quantile(means, [0.025, 0.975]))
    numbers = f"{mae} | {np.mean(f - t):+.1f} | {low} | {spearmanr(t, f).statistic:.2f}"
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
    three = parts.add_parser("beats")
    three.add_argument("store", type=Path)
    three.add_argument("splits", nargs="*", default=["train", "val"])
    four = parts.add_parser("cines")
    four.add_argument("files", type=Path, nargs="+")
    for each in (two, three, four):
        each.add_argument("--against", type=Path, help="another model with one EF network that sees the video")
    given = parser.parse_args()
    bundle = load_bundle(given.model)
    if given.what == "real":
        real(bundle, Store(given.store), given.out, given.splits, stills=given.stills)
        return
    against = None if given.against is None else load_bundle(given.against)
    if given.what == "beats":
        beats(bundle, against, Store(given.store), given.splits)
    elif given.what == "cines":
        cines(bundle, against, given.files)
    else:
        phantoms(bundle, against, given.clips)


if __name__ == "__main__":
    main()
