"""Start of the flow, beside `video.py` and `dicom.py`: the picture in a zea file (HDF5), as OpenH-RF has them.

Written after zea's description of its format (zea.readthedocs.io, "Data"), not tried on every version of it. Read is
what is a picture already: `data/image_sc` (scan-converted) or `data/image`, as an array or as a group with `values` (or
`pixels`) and, if known, `coordinates` or `extent` in metres. A file with raw channel data alone holds no picture; it
must be reconstructed with zea first.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocycle.errors import EchocycleError
from echocycle.recordings.budget import check_budget
from echocycle.recordings.regions import UNKNOWN_SPACING
from echocycle.recordings.video import Recording

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PICTURES = ("image_sc", "image")
"""Where a picture may be in group `data`, the first first."""
VALUES = ("values", "pixels")
DYNAMIC_RANGE_DB = 60.0
"""What is shown of a picture in decibels, from its brightest value down."""


def is_zea(path: Path) -> bool:
    """Whether a file is HDF5 with the groups of a zea file."""
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return False
    import h5py  # only for files that are HDF5: the stand-ins for a bare machine do without it

    try:
        with h5py.File(path, "r") as opened:
            return "data" in opened or "tracks" in opened
    except (OSError, RuntimeError, ValueError):
        return False


def read_zea(path: Path) -> Recording:
    """Read all frames of the picture in a zea file as grey.

    Raises:
        EchocycleError: it holds no picture, one of another kind (3D), or one beyond the budget; or it is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r") as opened:
            return _read(path, opened)
    except EchocycleError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # h5py's own ways to say it is damaged
        reason = " ".join(str(error).split())[:120]
        raise EchocycleError(f"{path} is a damaged HDF5 file ({reason}). Copy it again.") from None


def _read(path: Path, opened: Any) -> Recording:
    holders = (
        [opened, *(opened["tracks"][name] for name in sorted(opened["tracks"]))] if "tracks" in opened else [opened]
    )
    for holder in holders:
        data = holder.get("data")
        for name in PICTURES:
            if data is not None and name in data:
                return _picture(path, name, data[name], holder.get("scan"))
    raise EchocycleError(
        f"{path} is a zea file that holds no picture (data/image_sc or data/image), only what one is made of. "
        "Reconstruct it with zea, then give the result."
    )


def _picture(path: Path, name: str, node: Any, scan: Any) -> Recording:
    notes: list[str] = []
    grid, extent = None, None
    if hasattr(node, "shape"):
        values, swap = node, False
    else:
        key = next((key for key in VALUES if key in node), None)
        if key is None:
            raise EchocycleError(f"{path}: data/{name} has neither values nor pixels; it is no zea picture.")
        values = node[key]
        swap = key == "pixels"  # that version counts (frames, x, z)
        grid = node.get("coordinates")
        extent = node.get("extent")
    shape = values.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3:
        raise EchocycleError(f"{path}: data/{name} is not a series of grey pictures (its shape is {values.shape}).")
    check_budget(path, shape[1], shape[2], shape[0], 4 + values.dtype.itemsize)
    frames = _grey(np.asarray(values[...]).reshape(shape), notes)
    spacing = UNKNOWN_SPACING
    if swap:
        frames = np.ascontiguousarray(frames.swapaxes(1, 2))
    if grid is not None:
        frames, spacing = _on_square_pixels(path, frames, np.asarray(grid[...], np.float64), notes)
    elif extent is not None:
        spacing = _spacing(np.asarray(extent[...], np.float64), frames.shape)
    aspect = spacing[1] / spacing[0] if all(map(math.isfinite, spacing)) else 1.0
    return Recording(
        frames=frames,
        fps=_rate(scan),
        listed_frames=None,
        notes=tuple(notes),
        spacing_mm=spacing,
        source=path,
        pixel_aspect=aspect if 0.25 <= aspect <= 4 else 1.0,
    )


def _grey(values: NDArray[Any], notes: list[str]) -> NDArray[np.uint8]:
    """Pictures as uint8: decibels (none above 0) over a fixed range, shares from 0 to 1 and other values stretched."""
    if values.dtype == np.uint8:
        return values
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=-1e6)
    low, high = float(values.min()), float(values.max())
    if high <= 0 and low < 0:
        notes.append(f"the picture is in decibels; {DYNAMIC_RANGE_DB:g} dB below its brightest value are shown")
        return np.asarray(255 * np.clip(1 + (values - high) / DYNAMIC_RANGE_DB, 0, 1)).round().astype(np.uint8)
    if low >= 0 and high <= 1:
        return np.asarray(255 * values).round().astype(np.uint8)
    if low >= 0 and high <= 255:
        return values.round().astype(np.uint8)
    notes.append(f"grey values from {low:.4g} to {high:.4g} were brought to 0 to 255")
    return np.asarray(255 * (values - low) / (high - low)).round().astype(np.uint8)


def _on_square_pixels(
    path: Path, frames: NDArray[np.uint8], grid: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Pictures on a grid of any kind, such as one of angles and depths, on square pixels; millimetres per pixel.

    Args:
        grid: metres (x, y, z), (height, width, 3) or the same for every frame.
    """
    from scipy.spatial import cKDTree

    grid = grid[0] if grid.ndim == 4 else grid
    if grid.shape != (*frames.shape[1:], 3) or not np.isfinite(grid).all():
        raise EchocycleError(f"{path}: its coordinates do not belong to its picture. Write the file again.")
    x, z = grid[..., 0], grid[..., 2]
    beside, below = np.hypot(np.diff(x, axis=1), np.diff(z, axis=1)), np.hypot(np.diff(x, axis=0), np.diff(z, axis=0))
    step = float(np.median(below[below > 0])) if (below > 0).any() else 0.0
    wide, deep = float(np.ptp(x)), float(np.ptp(z))
    if not step > 0 or not wide > 0 or not deep > 0:
        raise EchocycleError(f"{path}: its coordinates span no picture. Write the file again.")
    step = max(step, wide / 2000, deep / 2000)
    rows, columns = math.floor(deep / step) + 1, math.floor(wide / step) + 1
    check_budget(path, rows, columns, len(frames))
    at_z, at_x = np.mgrid[:rows, :columns] * step
    points = np.stack([at_x.ravel() + x.min(), at_z.ravel() + z.min()], axis=1)
    distance, nearest = cKDTree(np.stack([x.ravel(), z.ravel()], axis=1)).query(points)
    reach = max(float(beside.max()), float(below.max()))
    flat = frames.reshape(len(frames), -1)
    seen = np.where(distance <= reach, flat[:, nearest], np.uint8(0)).reshape(len(frames), rows, columns)
    if not np.allclose(x, x[:1], atol=step / 10):
        notes.append("the picture was on a grid of beams; it was brought onto square pixels")
    return np.ascontiguousarray(seen.astype(np.uint8)), (1000 * step, 1000 * step)


def _spacing(extent: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[float, float]:
    """Millimetres per pixel (row, column) of an extent (xmin, xmax, ymin, ymax, zmax, zmin) in metres."""
    extent = extent[0] if extent.ndim == 2 else extent
    wide, deep = abs(extent[1] - extent[0]), abs(extent[4] - extent[5])
    if not (np.isfinite([wide, deep]).all() and wide > 0 and deep > 0):
        return UNKNOWN_SPACING
    return 1000 * float(deep) / shape[1], 1000 * float(wide) / shape[2]


def _rate(scan: Any) -> float:
    """Frames a second by `time_to_next_transmit` (frames, transmits) in seconds; NaN where it is not there."""
    if scan is None or "time_to_next_transmit" not in scan:
        return math.nan
    seconds = np.asarray(scan["time_to_next_transmit"][...], np.float64)
    if seconds.ndim != 2 or not len(seconds):
        return math.nan
    frame = float(np.median(seconds.sum(axis=1)))
    return 1 / frame if math.isfinite(frame) and 1e-3 < frame < 10 else math.nan
