"""A contact sheet of phantom clips: `python scripts/phantom_sheet.py OUT.png [--hospital second] [--randomise]`.

Each clip shows its ED and its ES frame; the true outline is drawn in the ES frame.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from echocycle.phantom.clip import make_clip
from echocycle.phantom.settings import PHANTOM_VERSION, PhantomSettings

OUTLINE = (255, 96, 32)
ACROSS, ZOOM = 4, 2


def tile(index: int, settings: PhantomSettings) -> NDArray[np.uint8]:
    """ED and ES frame of a clip side by side, RGB."""
    clip = make_clip(index, settings)
    pair = [np.kron(clip.frames[frame], np.ones((ZOOM, ZOOM), np.uint8)) for frame in (clip.ed_frame, clip.es_frame)]
    coloured = [np.repeat(frame[..., None], 3, axis=-1) for frame in pair]
    mask = np.kron(clip.masks[clip.es_frame], np.ones((ZOOM, ZOOM), bool))
    coloured[1][mask & ~ndimage.binary_erosion(mask)] = OUTLINE
    return np.concatenate(coloured, axis=1)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hospital", choices=("first", "second"), default="first")
    parser.add_argument("--randomise", action="store_true")
    parser.add_argument("--version", type=int, choices=(1, 2), default=PHANTOM_VERSION)
    options = parser.parse_args()
    settings = PhantomSettings(
        options.clips,
        val=0,
        test=0,
        seed=options.seed,
        hospital=options.hospital,
        randomise=options.randomise,
        version=options.version,
    )
    tiles = [tile(index, settings) for index in range(options.clips)]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[first : first + ACROSS], axis=1) for first in range(0, len(tiles), ACROSS)]
    Image.fromarray(np.concatenate(rows)).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
