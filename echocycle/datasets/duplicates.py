"""The same video twice: identical files before anything is decoded, near-identical pictures after."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.findings import Finding, FindingList
from echocycle.recordings.archive import digest_of, size_of

THUMBNAIL = 16
"""Height and width in pixels of the pictures that are compared."""
FRAMES_COMPARED = 4
NEAR = 0.2
"""Largest distance of two fingerprints that count as the same video. Copies of phantom clips that were encoded again,
resized, brightened, shifted by a pixel or cut by a third differ by 0.003 to 0.17, clips of two patients by 0.57 and
more; the two halves of a real clip by 0.27."""
BLOCK = 1024


def find_identical_files(
    names: Sequence[str], paths: Sequence[Path], splits: Sequence[str], findings: FindingList
) -> None:
    """Report files with the same bytes: an error where they are in several splits. Reads only files of equal size."""
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for index, path in enumerate(paths):
        size = size_of(path)
        if size:  # an empty file is reported when it is read
            by_size[size].append(index)
    by_hash: defaultdict[str, list[int]] = defaultdict(list)
    for group in by_size.values():
        if len(group) > 1:
            for index in group:
                by_hash[digest_of(paths[index])].append(index)
    across: list[str] = []
    within: list[str] = []
    for same in by_hash.values():
        if len(same) > 1:
            several = len({splits[index] for index in same}) > 1
            (across if several else within).extend(names[index] for index in same)
    findings.add(
        "error",
        "identical-files-in-splits",
        across,
        "Files with the same bytes are in several splits, so tests would be too good. Remove the copies, or put them "
        "into one split.",
    )
    findings.add(
        "warning",
        "identical-files",
        within,
        "Files with the same bytes are listed under several names; each counts. Remove the copies.",
    )


def fingerprint(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a video (time, height, width[, 3]) looks like, as one vector: small pictures of its mean, of how much each
    place changes, and of four frames, each without brightness and contrast."""
    grey = frames if frames.ndim == 3 else frames[..., 1]
    small = np.stack([_thumbnail(frame) for frame in grey])
    at = np.linspace(0, len(small) - 1, FRAMES_COMPARED).round().astype(int)
    pictures = np.stack([small.mean(axis=0), small.std(axis=0), *small[at]])
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    pictures /= pictures.std(axis=(1, 2), keepdims=True) + 1e-6
    weights = np.array([2.0, 1.0, *[2.0 / FRAMES_COMPARED] * FRAMES_COMPARED])[:, None, None]
    vector = (pictures * weights).ravel()
    return (vector / (np.linalg.norm(vector) + 1e-6)).astype(np.float32)


def _thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over a grid of THUMBNAIL x THUMBNAIL cells."""
    height, width = (max(side // THUMBNAIL, 1) for side in frame.shape)
    inside = frame[: height * THUMBNAIL, : width * THUMBNAIL]
    if min(frame.shape) < THUMBNAIL:
        inside = np.resize(frame, (THUMBNAIL, THUMBNAIL))
        height = width = 1
    return inside.reshape(THUMBNAIL, height, THUMBNAIL, width).mean(axis=(1, 3), dtype=np.float32)


def find_near_duplicates(
    names: Sequence[str], splits: Sequence[str], prints: Sequence[NDArray[np.float32]]
) -> list[Finding]:
    """Videos of different splits that look the same, as one warning that names the first pair."""
    if len(prints) < 2:
        return []
    vectors = np.stack(prints)
    codes = np.unique(np.asarray(splits), return_inverse=True)[1]
    least = 1 - NEAR**2 / 2  # cosine of unit vectors that are this far apart
    found: dict[int, int] = {}
    for start in range(0, len(vectors), BLOCK):
        alike = vectors[start : start + BLOCK] @ vectors.T > least
        alike &= codes[start : start + BLOCK, None] != codes[None, :]
        for row, column in zip(*np.nonzero(alike), strict=True):
            found.setdefault(start + int(row), int(column))
    if not found:
        return []
    first = min(found)
    text = (
        "Videos in different splits look the same: copies, parts of one recording, or one recording exported twice. "
        f"Put them into one split, or remove copies. First: {names[first]} ({splits[first]}) and "
        f"{names[found[first]]} ({splits[found[first]]})."
    )
    return [Finding("warning", "near-duplicates-in-splits", tuple(names[index] for index in sorted(found)), text)]
