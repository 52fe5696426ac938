"""What DICOM files that are made here take from the recording's own: whose it is, which study, what it looks like.

A picture archive finds a file by the patient and the study in it, so these are copied. Nothing else that is written
here holds them.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from echocycle.errors import EchocycleError
from echocycle.prediction import Prediction
from echocycle.recordings.header import text, whole
from echocycle.recordings.recording import is_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER, MODEL_NAME = "echocycle", "echocycle"
ALGORITHM = "echocycle left ventricle"
DEMANDED = {"StudyInstanceUID": "study", "SeriesInstanceUID": "series", "SOPInstanceUID": "instance"}


def lacks_dicom(prediction: Prediction, what: str) -> str | None:
    """Why there can be no DICOM file about a recording: it has to be DICOM itself."""
    if prediction.file is None or not is_dicom(prediction.file):
        return f"{what} is not written: it names patient and study, which only a recording that is DICOM holds."
    return None


def read_header(prediction: Prediction) -> "Dataset":
    """The header of the recording's file, without pixels.

    Raises:
        EchocycleError: it has no file, or does not say which study, series and instance it is.
    """
    from echocycle.recordings.dicom_file import DamagedDicomError, open_dicom

    lacking = lacks_dicom(prediction, "A DICOM file")
    if lacking or prediction.file is None:
        raise EchocycleError(f"{prediction.source}: {lacking}")
    try:
        header = open_dicom(Path(prediction.file), None).dataset
    except DamagedDicomError as error:
        raise EchocycleError(f"{prediction.source}: {error}.") from None
    missing = [name for keyword, name in DEMANDED.items() if not text(header, keyword)]
    if missing or not (whole(header, "Rows") and whole(header, "Columns")):
        raise EchocycleError(
            f"{prediction.source} does not say its {', '.join(missing) or 'size'} in its header, so no DICOM file can "
            "refer to it. Export it again, or leave `seg` and `sr` out of --formats."
        )
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                    "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        if keyword not in header:
            setattr(header, keyword, "")  # they may be empty, never absent
    return header


def stored_numbers(prediction: Prediction) -> list[int]:
    """The number in the file, from 1 as DICOM counts, of each frame of a prediction."""
    stored = prediction.stored_frames
    return [frame + 1 for frame in (range(prediction.n_frames) if stored is None else stored)]


@contextmanager
def without_quoted_values() -> Iterator[None]:
    """pydicom and highdicom warn of odd values by quoting them, a patient's name among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
