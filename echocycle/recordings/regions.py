"""What a DICOM header says about places in the picture: ultrasound regions, their calibration, the shape of a pixel.

Regions are believed where they fit the picture. Software that shrinks or cuts a clip often leaves the old region in the
header, and volumes would then be wrong by the cube of the scale.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echocycle.recordings.header import items, number, numbers, whole

if TYPE_CHECKING:
    from pydicom import Dataset

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two are exclusive."""

UNKNOWN_SPACING = (math.nan, math.nan)
CENTIMETRE = 3  # PhysicalUnits code
TWO_DIMENSIONAL, M_MODE, SPECTRAL = 1, 2, 3  # RegionSpatialFormat codes
TISSUE, COLOUR_FLOW = 1, 2  # RegionDataType codes
SHARES_A_PICTURE = 0.5
"""How large a second tissue region must be beside the largest one to be a second picture, as a share of its area."""
SQUARE = 0.01
"""How much the sides of a pixel may differ, as a share, and still be taken for equal."""
WIDEST_PIXEL = 4.0
"""A pixel more than this many times as wide as high, or the other way round, is a broken header."""


@dataclass(frozen=True)
class Region:
    """One item of SequenceOfUltrasoundRegions; None and NaN where it does not say."""

    space: int | None
    data: int | None
    bounds: tuple[int, int, int, int] | None
    """Left, top, right, bottom as stated: the last column and row are usually inclusive."""
    units: tuple[int | None, int | None]
    delta: tuple[float, float]
    """Physical size of a pixel, (row, column), in the stated units."""

    @property
    def area(self) -> int:
        """Pixels within the bounds, 0 if there are none."""
        if self.bounds is None:
            return 0
        left, top, right, bottom = self.bounds
        return max(0, right - left) * max(0, bottom - top)

    def fits(self, rows: int, columns: int) -> bool:
        """Whether the bounds lie in the picture; some makers give the column and row after the last one."""
        if self.bounds is None:
            return False
        left, top, right, bottom = self.bounds
        return 0 <= left < right <= columns and 0 <= top < bottom <= rows


def regions(dataset: "Dataset") -> list[Region]:
    """All regions of a header."""
    found = []
    for item in items(dataset, "SequenceOfUltrasoundRegions"):
        bounds = [whole(item, f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        known = [value for value in bounds if value is not None]
        found.append(
            Region(
                space=whole(item, "RegionSpatialFormat"),
                data=whole(item, "RegionDataType"),
                bounds=(known[0], known[1], known[2], known[3]) if len(known) == 4 else None,
                units=(whole(item, "PhysicalUnitsYDirection"), whole(item, "PhysicalUnitsXDirection")),
                delta=(abs(number(item, "PhysicalDeltaY")), abs(number(item, "PhysicalDeltaX"))),
            )
        )
    return found


def tissue_regions(dataset: "Dataset") -> list[Region]:
    """The two-dimensional tissue regions, the largest first."""
    found = [region for region in regions(dataset) if region.space == TWO_DIMENSIONAL and region.data == TISSUE]
    return sorted(found, key=lambda region: region.area, reverse=True)


def pictures(dataset: "Dataset") -> int:
    """How many two-dimensional pictures stand side by side, by the header: 2 for biplane, 3 for triplane."""
    found = tissue_regions(dataset)
    apart: list[Region] = []
    for region in found:
        large = region.area >= SHARES_A_PICTURE * found[0].area > 0
        if large and not any(_overlap(region, other) for other in apart):
            apart.append(region)
    return max(1, len(apart))


def tissue_box(dataset: "Dataset") -> Box | None:
    """Where the tissue picture lies, if the header says so and it fits the picture; else None."""
    rows, columns = whole(dataset, "Rows") or 0, whole(dataset, "Columns") or 0
    found = tissue_regions(dataset)
    if not found or found[0].bounds is None or not found[0].fits(rows, columns):
        return None
    left, top, right, bottom = found[0].bounds
    return left, top, min(right + 1, columns), min(bottom + 1, rows)


def pixel_spacing(dataset: "Dataset") -> tuple[tuple[float, float], list[str]]:
    """Millimetres per pixel (row, column) of the two-dimensional tissue region, or NaN and a note why not."""
    found = tissue_regions(dataset)
    if not found:
        return _spacing_without_regions(dataset)
    region = found[0]
    rows, columns = whole(dataset, "Rows") or 0, whole(dataset, "Columns") or 0
    if region.bounds is None:
        return UNKNOWN_SPACING, ["calibration refused: the tissue region does not say where it lies"]
    left, top, right, bottom = region.bounds
    if not region.fits(rows, columns):
        return UNKNOWN_SPACING, [
            f"calibration refused: its region (columns {left} to {right}, rows {top} to {bottom}) does not "
            f"fit the picture of {columns} x {rows} pixels, so the clip was scaled or cut afterwards"
        ]
    if region.units != (CENTIMETRE, CENTIMETRE):
        return UNKNOWN_SPACING, ["calibration refused: the tissue region is not measured in centimetres"]
    spacing_mm = (10 * region.delta[0], 10 * region.delta[1])
    if not all(0 < value < math.inf for value in spacing_mm):
        return UNKNOWN_SPACING, ["calibration refused: the tissue region states no pixel size"]
    if not 1 / WIDEST_PIXEL <= spacing_mm[1] / spacing_mm[0] <= WIDEST_PIXEL:
        return UNKNOWN_SPACING, [
            f"calibration refused: its pixels would be {spacing_mm[1]:.3g} x {spacing_mm[0]:.3g} mm"
        ]
    return spacing_mm, []


def pixel_aspect(dataset: "Dataset", spacing_mm: tuple[float, float]) -> tuple[float, list[str]]:
    """Width of a pixel over its height, 1 if it is square or unknown, and notes.

    Calibration says it best, then PixelSpacing, then PixelAspectRatio (vertical size, horizontal size).
    """
    row_mm, column_mm = spacing_mm
    calibrated = column_mm / row_mm if 0 < row_mm < math.inf and 0 < column_mm < math.inf else math.nan
    ratio = numbers(dataset, "PixelAspectRatio")
    stated = ratio[1] / ratio[0] if len(ratio) == 2 and min(ratio) > 0 else math.nan
    notes = []
    if math.isfinite(stated) and math.isfinite(calibrated) and abs(stated / calibrated - 1) > 0.02:
        notes.append(
            f"PixelAspectRatio says that pixels are {stated:.3g} times as wide as high, the calibration "
            f"{calibrated:.3g} times, which is used"
        )
    found = calibrated if math.isfinite(calibrated) else stated
    aspect, more = checked_aspect(found)
    return aspect, [*notes, *more]


def checked_aspect(aspect: float) -> tuple[float, list[str]]:
    """A pixel's width over its height with a note if it is not square; 1 if it is, is unknown or makes no sense."""
    if not math.isfinite(aspect) or aspect <= 0:
        return 1.0, []
    if not 1 / WIDEST_PIXEL <= aspect <= WIDEST_PIXEL:
        return 1.0, [f"the header says that pixels are {aspect:.3g} times as wide as high, which is not believed"]
    if abs(aspect - 1) <= SQUARE:
        return 1.0, []
    return aspect, [f"pixels are {aspect:.3g} times as wide as high; the picture is made square before it is cut"]


def _spacing_without_regions(dataset: "Dataset") -> tuple[tuple[float, float], list[str]]:
    values = numbers(dataset, "PixelSpacing")
    if len(values) == 2 and all(value > 0 for value in values) and 0.25 <= values[1] / values[0] <= 4:
        return (values[0], values[1]), ["pixel spacing is from PixelSpacing; no ultrasound region is calibrated"]
    return UNKNOWN_SPACING, ["pixel spacing unknown: the header has no calibrated two-dimensional tissue region"]


def _overlap(a: Region, b: Region) -> bool:
    if a.bounds is None or b.bounds is None:
        return False
    width = min(a.bounds[2], b.bounds[2]) - max(a.bounds[0], b.bounds[0])
    height = min(a.bounds[3], b.bounds[3]) - max(a.bounds[1], b.bounds[1])
    return width > 0 and height > 0 and width * height > 0.1 * min(a.area, b.area)
