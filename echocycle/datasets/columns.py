"""What the columns of a list of videos may be called. The first name of each is ours; docs/data.md shows this table.

Names are compared without capitals, spaces and signs: `EF (%)` is `ef`, `Patient_ID` is `patientid`.
"""

import math
import re

COLUMNS: dict[str, tuple[str, ...]] = {
    "filename": (
        "filename",
        "file",
        "path",
        "filepath",
        "video",
        "videofile",
        "videoname",
        "videopath",
        "clip",
        "recording",
        "dicom",
        "dicomfile",
        "dicompath",
        "hashedfilename",
    ),
    "ef": (
        "ef",
        "lvef",
        "ejectionfraction",
        "lvejectionfraction",
        "efpercent",
        "lvefpercent",
        "efpct",
        "efvalue",
        "efbiplane",
        "lvefbiplane",
        "efsimpson",
        "lvefsimpson",
    ),
    "edv": ("edv", "lvedv", "edvml", "lvedvml", "enddiastolicvolume", "lvedvbiplane"),
    "esv": ("esv", "lvesv", "esvml", "lvesvml", "endsystolicvolume", "lvesvbiplane"),
    "frameheight": ("frameheight", "imageheight", "rows"),
    "framewidth": ("framewidth", "imagewidth"),
    "fps": ("fps", "framerate", "framespersecond", "frameratehz"),
    "numberofframes": ("numberofframes", "nframes", "numframes", "framecount", "frames"),
    "split": ("split", "datasplit", "subset", "partition", "set", "fold"),
    "patient": (
        "patient",
        "patientid",
        "patientno",
        "patientnumber",
        "patid",
        "subject",
        "subjectid",
        "participant",
        "participantid",
        "case",
        "caseid",
        "pid",
        "mrn",
        "medicalrecordnumber",
        "patientname",
    ),
    "edframe": ("edframe", "ed", "edindex", "edidx", "enddiastolicframe", "enddiastole", "frameed"),
    "esframe": ("esframe", "es", "esindex", "esidx", "endsystolicframe", "endsystole", "framees"),
    "contour": (
        "contour",
        "contours",
        "contourfile",
        "mask",
        "masks",
        "maskfile",
        "segmentation",
        "segmentationfile",
        "seg",
        "tracing",
        "tracings",
        "tracingfile",
    ),
    "edcontour": ("edcontour", "edmask", "edcontourfile", "edmaskfile"),
    "escontour": ("escontour", "esmask", "escontourfile", "esmaskfile"),
}
"""Our name -> every name that is understood, the one that is preferred where several are there first."""

CHORD_COLUMNS: dict[str, tuple[str, ...]] = {
    "filename": COLUMNS["filename"],
    "frame": ("frame", "framenumber", "frameindex"),
}
"""The same for lists of tracings."""

IDENTIFYING = ("mrn", "medicalrecordnumber", "patientname")
"""Columns that name a person: a store gets numbers in place of what is in them."""

EMPTY_CELLS = ("", "na", "n/a", "nan", "none", "null", "-", "?", "missing", "unknown")

UNITS = re.compile(r"\s*(%|ml|mL|cc|fps|Hz|hz|/s)$")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def plain_name(name: str) -> str:
    """A column's name without capitals, spaces and signs."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def number_of(cell: str) -> float:
    """The number in a cell, also with a decimal comma, a percent sign or a unit; NaN where there is none."""
    text = UNITS.sub("", cell.replace("\u00a0", " ").strip())
    if not NUMBER.fullmatch(text):
        return math.nan
    return float(text.replace(",", "."))


def is_empty(cell: str) -> bool:
    """Whether a cell says that nothing is known."""
    return cell.replace("\u00a0", " ").strip().casefold() in EMPTY_CELLS
