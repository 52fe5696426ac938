"""Why a DICOM file is no two-dimensional grey ultrasound cine, by its header; and what its header only hints at.

EF needs a moving two-dimensional picture of tissue. What can be told from the header is declined before any pixel is
decoded, with the reason. Where header and picture may contradict each other (colour Doppler), the picture decides.
"""

import re
from typing import TYPE_CHECKING

from echocycle.errors import EchocycleError
from echocycle.recordings.header import text
from echocycle.recordings.regions import COLOUR_FLOW, M_MODE, SPECTRAL, pictures, regions

if TYPE_CHECKING:
    from pydicom import Dataset


class DeclinedError(EchocycleError):
    """The file is sound, but it is no grey two-dimensional ultrasound cine; the message says what it is."""


ULTRASOUND = ("US", "EC", "")
"""Modalities of ultrasound; EC is an old code for echocardiography, and some exports leave the element out."""
OF_ANY_KIND = ("OT", "XC", "SC", "DG")
"""Codes that frame grabbers and converters write, whatever the picture is."""
MODALITIES = {
    "CD": "colour Doppler",
    "CR": "an X-ray picture",
    "CT": "computed tomography",
    "DD": "Doppler",
    "DX": "an X-ray picture",
    "ECG": "an electrocardiogram",
    "IVUS": "ultrasound from within a vessel",
    "IVOCT": "optical tomography",
    "KO": "a list of pictures",
    "MR": "magnetic resonance",
    "NM": "nuclear medicine",
    "PR": "a presentation state",
    "PT": "positron emission tomography",
    "RF": "an X-ray recording",
    "RTDOSE": "a radiation dose",
    "RTPLAN": "a radiation plan",
    "RTSTRUCT": "radiation contours",
    "SEG": "a segmentation",
    "SR": "a report",
    "XA": "an angiogram",
}
CLASSES = {
    "1.2.840.10008.1.3.10": "a DICOMDIR, the list of a medium; give it to a command that takes folders, or the folder",
    "1.2.840.10008.5.1.4.1.1.6.2": "a 3D ultrasound volume, whose frames are slices and not moments",
    "1.2.840.113543.6.6.1.3.10002": "a 3D ultrasound volume, whose frames are slices and not moments",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiation dose",
    "1.2.840.10008.5.1.4.1.1.2": "computed tomography",
    "1.2.840.10008.5.1.4.1.1.4": "magnetic resonance",
}
"""SOP classes that settle it, whatever the modality says."""
NEEDED = "A grey two-dimensional ultrasound cine is needed"

M_MODE_BIT, CW_BIT, PW_BIT, COLOUR_BIT, COLOUR_M_BIT, RENDERED_BIT, POWER_BIT = 2, 4, 8, 0x10, 0x20, 0x40, 0x100
"""Flags of the fourth value of an ultrasound ImageType."""


def refusal(dataset: "Dataset") -> str | None:
    """Why the file is no two-dimensional grey ultrasound cine: the end of a sentence that begins with its name."""
    kind = CLASSES.get(text(dataset, "SOPClassUID")) or _directory(dataset)
    if kind:
        return f"is {kind}. {NEEDED}."
    modality = text(dataset, "Modality").upper()
    if modality not in (*ULTRASOUND, *OF_ANY_KIND):
        named = re.sub("[^A-Z0-9]", "", modality)[:16]  # nothing free goes from a header into a message
        return f"is {MODALITIES.get(modality, f'of modality {named}')}, not ultrasound. {NEEDED}."
    spaces = [region.space for region in regions(dataset)]
    flags = _type_flags(dataset)
    if SPECTRAL in spaces or flags & (CW_BIT | PW_BIT):
        return f"is a spectral Doppler recording. {NEEDED}."
    if M_MODE in spaces or flags & (M_MODE_BIT | COLOUR_M_BIT):
        return f"is an M-mode recording. {NEEDED}."
    if flags & RENDERED_BIT:
        return f"is a picture rendered from a 3D volume. {NEEDED}."
    side_by_side = pictures(dataset)
    if side_by_side > 1:
        word = {2: "two (biplane or a comparison)", 3: "three (triplane)"}.get(side_by_side, str(side_by_side))
        return f"shows {word} pictures side by side. {NEEDED}: export one plane."
    return None


def says_colour(dataset: "Dataset") -> bool:
    """Whether the header tells of colour Doppler. Some machines leave that in after colour was switched off."""
    if any(region.data == COLOUR_FLOW for region in regions(dataset)):
        return True
    return bool(_type_flags(dataset) & (COLOUR_BIT | POWER_BIT))


NOT_ULTRASOUND = "modality is {}, not US: this may be no ultrasound recording"
TRANSESOPHAGEAL = "the header tells of a transesophageal recording; models are made for transthoracic ones"
HINTS = (TRANSESOPHAGEAL, *(NOT_ULTRASOUND.format(each) for each in ("missing", *OF_ANY_KIND)))
"""Everything that `notes_on_kind` may say."""


def notes_on_kind(dataset: "Dataset") -> list[str]:
    """What the header hints at and a human should know."""
    notes = []
    modality = text(dataset, "Modality").upper()
    if modality in OF_ANY_KIND or not modality:
        notes.append(NOT_ULTRASOUND.format(modality or "missing"))
    kinds = text(dataset, "ImageType").upper().split("\\")
    words = " ".join(text(dataset, name) for name in ("SeriesDescription", "ProtocolName", "StudyDescription"))
    if (len(kinds) > 2 and kinds[2].startswith(("TEE", "TRANSESOPH"))) or re.search(r"\btee\b|transesoph", words, re.I):
        notes.append(TRANSESOPHAGEAL)
    return notes


def _directory(dataset: "Dataset") -> str | None:
    meta = getattr(dataset, "file_meta", None)
    return CLASSES.get(text(meta, "MediaStorageSOPClassUID")) if meta is not None else None


def _type_flags(dataset: "Dataset") -> int:
    values = text(dataset, "ImageType").split("\\")
    if len(values) > 3 and re.fullmatch("[0-9A-Fa-f]{4}", values[3].strip()):
        return int(values[3], 16)
    return 0
