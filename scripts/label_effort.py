"""How much work does a proposal save? A simulated reader mends contours of synthetic clips, and his drags are counted.

    python scripts/label_effort.py OUT [--videos 11]

The clips are whole beats of the phantom's second hospital. The reader draws as `echocycle/phantom/reader.py` says: Dice
about 0.93 between two readers. Counted is how many handles must be moved until each lies within `NEAR` pixels of what
the reader would draw: from the proposal of the packaged model, and from the plain shape with which the page begins
where nothing is proposed. What came out is kept in OUT/effort.jsonl, a video a line.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.bundle_description import PACKAGED
from echocycle.files import sha256
from echocycle.labelling.curve import ON_A_SIDE, Contour, closed_curve, contour_of_mask
from echocycle.labelling.looked import read_looked
from echocycle.labelling.project import ID
from echocycle.labelling.worker import Looker
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom

NEAR = 2.0
"""Pixels of 112 to which a reader is content with a handle; two readers' contours differ by about as much."""
SIZE = 112
CLIPS = 16
"""Clips that are drawn; a clip depends on its number alone, so fewer may be looked at."""
MARKS = (0, ON_A_SIDE + 1, ON_A_SIDE + 3)
"""Handles of a proposal with a place of their own: the apex and both ends of the mitral plane."""


def plain_shape(frame: int) -> Contour:
    """The shape with which the page begins where nothing is proposed, as `page/session.js` draws it."""
    top, long, half = 0.22 * SIZE, 0.5 * SIZE, 0.13 * SIZE * 1.25
    side = [
        (half * np.sin(np.pi * min(0.66, 0.5 * (t + 0.32))) ** 0.8, top + t * long) for t in (0.12, 0.34, 0.58, 0.8)
    ]
    right, left = [(SIZE / 2 + w, y) for w, y in side], [(SIZE / 2 - w, y) for w, y in reversed(side)]
    base = top + long
    ends = [(SIZE / 2 + 0.72 * half, base), (SIZE / 2, base + 0.015 * SIZE), (SIZE / 2 - 0.72 * half, base)]
    points = [(SIZE / 2, top), *right, *ends, *left]
    return Contour(frame, tuple((float(x), float(y)) for x, y in points), 0, (5, 7))


def mended(start: Contour, wanted: Contour) -> tuple[Contour, int]:
    """A contour after the reader's drags, and how many: each handle that is too far goes to where he wants it.

    Apex and ends of the mitral plane have a place of their own; any other is right anywhere on the line.
    """
    line = closed_curve(np.array(wanted.points), 32)
    handles, goal = np.array(start.points), np.array(wanted.points)
    turned = goal[[0, *range(len(goal) - 1, 0, -1)]]  # the other way round
    if np.linalg.norm(handles - turned, axis=1).sum() < np.linalg.norm(handles - goal, axis=1).sum():
        goal = turned
    moves = 0
    for number, handle in enumerate(handles):
        aim = goal[number] if number in MARKS else line[np.argmin(np.linalg.norm(line - handle, axis=1))]
        if np.linalg.norm(handle - aim) > NEAR:
            # a handle far from the line would slide along it: it goes to its own place among the others
            handles[number] = goal[number]
            moves += 1
    return Contour(start.frame, tuple((float(x), float(y)) for x, y in handles), 0, start.mitral), moves


def read_contours(phantom: Path) -> dict[str, tuple[Contour, Contour]]:
    """What the reader would draw in each clip, ED and ES, from the tracings with the reader's noise in them."""
    from skimage.draw import polygon

    chords: dict[str, dict[int, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    with (phantom / "VolumeTracings.csv").open(encoding="utf-8", newline="") as file:
        for name, *numbers, frame in list(csv.reader(file))[1:]:
            chords[name.removesuffix(".avi")][int(frame)].append([float(each) for each in numbers])
    found = {}
    for name, frames in chords.items():
        pair = []
        for frame, lines in frames.items():
            lines_ = np.array(lines)
            tip, sides = lines_[0, :2], lines_[1:]
            outline = np.vstack([tip, sides[:, :2], sides[::-1, 2:]])
            mask = np.zeros((SIZE, SIZE), bool)
            mask[polygon(outline[:, 1], outline[:, 0], mask.shape)] = True
            pair.append(contour_of_mask(mask, frame))
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            found[name] = (pair[0], pair[1])
    return found


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def make_phantom(out: Path) -> tuple[Path, list[str]]:
    """The second hospital's clips, whole beats, traced by a reader; written once."""
    phantom = out / "phantom"
    settings = PhantomSettings(
        videos=CLIPS, val=0, test=0, hospital="second", half_cycles=False, frames_median=90, frames_max=160,
        reader_noise=1.0, seed=7,
    )  # fmt: skip
    write_phantom(phantom, settings)
    return phantom, sorted(path.stem for path in (phantom / "Videos").glob("*.avi"))


def effort(out: Path, videos: int) -> None:
    """Handles moved in each video, from the proposal of `zero` and from an empty page."""
    phantom, names = make_phantom(out)
    wanted = read_contours(phantom)
    look, cache = Looker(PACKAGED["zero"]), out / "cache" / "proposals" / "zero"
    with (out / "effort.jsonl").open("w", encoding="utf-8") as file:
        for name in names[:videos]:
            clip = phantom / "Videos" / f"{name}.avi"
            kept = cache / f"{sha256(clip)[:ID]}.npz"
            if not kept.exists():
                look(kept.stem, clip, cache)
            looked = read_looked(kept)
            if looked is None:
                raise SystemExit(f"{kept} is damaged; delete it.")
            done: dict[str, Any] = {"name": name, "proposed": looked.pair is not None, "moves": 0, "empty": 0}
            for phase, aim in zip(("ed", "es"), wanted[name], strict=True):
                # in the frame that the reader chooses; where no ventricle is found, the page shows the plain shape
                empty = plain_shape(aim.frame)
                start = looked.contour(aim.frame) or empty
                drawn, moves = mended(start, aim)
                done["moves"] += moves
                done["empty"] += mended(empty, aim)[1]
                masks = [each.mask(SIZE, SIZE) for each in (start, drawn, aim)]
                done[f"dice_start_{phase}"] = round(_dice(masks[0], masks[2]), 4)
                done[f"dice_{phase}"] = round(_dice(masks[1], masks[2]), 4)
            file.write(json.dumps(done) + "\n")
            print(json.dumps(done), flush=True)
    print(effort_table(out / "effort.jsonl"))


def effort_table(file: Path) -> str:
    """Handles moved a video, with intervals over videos, as a table."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    proposal, empty = (np.array([row[key] for row in rows], float) for key in ("moves", "empty"))
    start = np.array([(row["dice_start_ed"] + row["dice_start_es"]) / 2 for row in rows])
    lines = ["| | a video |", "|---|---|", f"| videos | {len(rows)} |"]
    lines += [f"| with a proposal | {sum(row['proposed'] for row in rows)} |"]
    for words, values, digits in (
        ("handles moved, of 24, from the proposal", proposal, 1),
        ("handles moved, of 24, from an empty page", empty, 1),
        ("difference", proposal - empty, 1),
        ("Dice of the start with what the reader wants", start, 3),
    ):
        low, high = np.percentile(_resampled(values), [2.5, 97.5])
        lines.append(f"| {words} | {values.mean():.{digits}f} ({low:.{digits}f} to {high:.{digits}f}) |")
    return "\n".join(lines)


def _resampled(values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.choice(values, (2000, len(values))).mean(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=11, choices=range(2, CLIPS + 1), metavar=f"2-{CLIPS}")
    asked = parser.parse_args()
    effort(asked.out.resolve(), asked.videos)


if __name__ == "__main__":
    main()
