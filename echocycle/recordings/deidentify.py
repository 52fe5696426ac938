"""A recording in, a clip out that does not tell whose heart it is: the fan alone, a new header, a name that is a hash.

Nothing of the old header is copied; the new one is written from what measuring needs. What cannot be found by a program
is text drawn over the fan itself: look at each clip before it leaves the house.
"""

import hashlib
import hmac
import math
import os
import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from echocycle.console import console
from echocycle.errors import EchocycleError, Finding
from echocycle.files import printable, replacing, sha256
from echocycle.recordings.archive import opened
from echocycle.recordings.dicom import is_dicom
from echocycle.recordings.dicom_file import open_dicom
from echocycle.recordings.find import find_recordings
from echocycle.recordings.header import text
from echocycle.recordings.recording import read_recording
from echocycle.recordings.regions import CENTIMETRE, TISSUE, TWO_DIMENSIONAL
from echocycle.recordings.sector import TRUSTED, locate_sector, to_grey
from echocycle.recordings.video import Recording, write_mp4

SHORTEST_SALT = 8
"""Characters; a short salt can be guessed, and with it who a hash belongs to."""


def deidentify(path: Path, out: Path, *, salt: str, format: Literal["mp4", "dicom"] = "mp4") -> Path:
    """Write the fan of a recording, upright and with square pixels, and nothing else of it.

    The clip keeps the size of the recording's own pixels; what is outside the fan is black, and the picture ends where
    the fan does. The same file and salt give the same name. A DICOM clip's PatientID is a salted hash of the patient's,
    so that clips of one patient stay together.

    Args:
        path: any recording that `read_recording` reads.
        out: a folder; it is made if need be.
        salt: a secret of at least 8 characters. Who has it can check a guess about whose clip it is.
        format: `mp4` (H.264) or `dicom` (multi-frame ultrasound, grey, losslessly compressed).

    Returns:
        The file that was written.

    Raises:
        EchocycleError: it cannot be read; no fan with straight edges was found in it, so that names could remain in the
            picture; its frame rate is unknown and the format needs one. Nothing is written then.
    """
    if format not in ("mp4", "dicom"):
        raise EchocycleError(f"format is {format!r}; it must be mp4 or dicom.")
    if len(salt) < SHORTEST_SALT:
        raise EchocycleError(
            f"The salt has {len(salt)} characters; give at least {SHORTEST_SALT}, and keep them secret."
        )
    path = Path(path)
    recording = read_recording(path)
    if format == "mp4" and not math.isfinite(recording.fps):
        raise EchocycleError(f"{path} does not say its frame rate, which an MP4 must have. Write DICOM instead.")
    fps = recording.fps
    frames, spacing_mm = fan_alone(recording)
    del recording  # writing may need as much memory again
    name = salted(salt, f"clip {sha256(path)}")
    if format == "mp4":
        target = Path(out) / f"{name}.mp4"
        write_mp4(target, frames, fps)
        return target
    patient = _patient(path)
    target = Path(out) / f"{name}.dcm"
    # a clip without a patient is a patient of its own: clips must not be taken for one person's by accident
    person = salted(salt, f"patient {patient}") if patient else name
    _write_dicom(target, frames, fps, spacing_mm, name, person)
    return target


def fan_alone(recording: Recording) -> tuple[np.ndarray, tuple[float, float]]:
    """uint8 grey (time, height, width) of the fan, black around it, and its millimetres per pixel (row, column).

    Raises:
        EchocycleError: no fan with straight edges was found.
    """
    sector, view, _ = locate_sector(recording)
    if sector.confidence < TRUSTED or not sector.has_edges:
        raise EchocycleError(
            f"{recording.source}: no fan with straight edges was found, so what is written in the picture cannot be "
            "told from what is not. Cut the fan out by hand."
        )
    mask = sector.mask
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    place = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut = np.empty((len(recording.frames), *mask[place].shape), np.uint8)
    for index in range(len(cut)):  # one at a time: a recording may fill half of the memory allowed
        grey = to_grey(recording.frames[index : index + 1])
        cut[index] = np.where(mask, view.turn.apply(view.squared(grey)[0]), 0)[place]
    return cut, view.spacing(recording.spacing_mm)


def _patient(path: Path) -> str:
    """The PatientID of a DICOM file, else nothing."""
    if not is_dicom(path):
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes header values in its warnings
        return text(open_dicom(path).dataset, "PatientID")


def salted(salt: str, of: str) -> str:
    """A name that only who has the salt can make again: 24 hexadecimal digits of an HMAC with SHA-256."""
    return hmac.new(salt.encode(), of.encode(), hashlib.sha256).hexdigest()[:24]


def _uid(name: str, kind: str) -> str:
    """A UID made of a hash: 2.25 and a number of at most 128 bits, as DICOM allows for UUIDs."""
    number = int.from_bytes(hashlib.sha256(f"{kind} {name}".encode()).digest()[:15], "big")
    return f"2.25.{number}"


def _run_lengths(frame: np.ndarray) -> bytes:
    """A grey frame in RLE, one at a time: a whole recording would be in memory three times."""
    from pydicom import uid
    from pydicom.pixels import get_encoder

    options: Any = {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "samples_per_pixel": 1,
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
        "photometric_interpretation": "MONOCHROME2",
        "number_of_frames": 1,
    }
    # gdcm, the first that pydicom would ask, ends the whole process at some sizes
    return get_encoder(uid.RLELossless).encode(frame, encoding_plugin="pylibjpeg", **options)


def _write_dicom(
    target: Path, frames: np.ndarray, fps: float, spacing_mm: tuple[float, float], name: str, person: str
) -> None:
    from pydicom import Dataset, uid
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.sequence import Sequence

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.RLELossless
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid.UID(_uid(name, "instance"))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(name, "study"), _uid(name, "series")
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.Modality, dataset.PatientID, dataset.PatientName = "US", person, person
    for required in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"):
        setattr(dataset, required, "")
    dataset.ReferringPhysicianName = dataset.Manufacturer = dataset.PatientOrientation = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.PatientIdentityRemoved, dataset.BurnedInAnnotation = "YES", "NO"
    dataset.DeidentificationMethod = "echocycle: fan cut out, header written anew"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.LossyImageCompression = 7, 0, "01"
    if math.isfinite(fps):
        dataset.FrameTime = f"{1000 / fps:.6f}"
        dataset.FrameIncrementPointer = 0x00181063  # FrameTime
    if all(map(math.isfinite, spacing_mm)):
        region = Dataset()
        region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = TWO_DIMENSIONAL, TISSUE, 0
        region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = frames.shape[2] - 1, frames.shape[1] - 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CENTIMETRE
        region.PhysicalDeltaY, region.PhysicalDeltaX = spacing_mm[0] / 10, spacing_mm[1] / 10
        dataset.SequenceOfUltrasoundRegions = Sequence([region])
    dataset.PixelData = encapsulate([_run_lengths(frame) for frame in frames])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    with replacing(target) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def read_salt(file: Path, out: Path) -> str:
    """The secret in a file; a random one is written there first if there is no file.

    Raises:
        EchocycleError: the file lies in `out`, beside what it must not be kept beside, or holds too short a secret.
    """
    if file.absolute().is_relative_to(out.absolute()):
        raise EchocycleError(f"{file} lies among the clips in {out}; keep the secret in another folder.")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
            opened.write(secrets.token_hex(16) + "\n")
    salt = file.read_text(encoding="utf-8", errors="replace").strip()
    if len(salt) < SHORTEST_SALT:
        raise EchocycleError(f"{file} holds {len(salt)} characters; a secret of at least {SHORTEST_SALT} is needed.")
    return salt


def deidentify_all(
    inputs: Sequence[Path], out: Path, salt_file: Path, format: Literal["mp4", "dicom"] = "mp4"
) -> list[Path]:
    """`deidentify` of every recording of folders and archives; one that cannot be read is said, and the next goes on.

    Raises:
        Finding: a recording could not be read; the others are done.
    """
    if not inputs:
        raise EchocycleError("Name at least one recording or folder.")
    salt = read_salt(salt_file, out)
    written: list[Path] = []
    problems = 0
    for found in find_recordings(inputs, exclude=[out]):
        try:
            if found.path is None:
                raise EchocycleError(str(found.problem))
            with opened(found.path) as file:
                written.append(deidentify(file, out, salt=salt, format=format))
        except EchocycleError as error:
            problems += 1
            console.print(printable(str(error)), style="red", soft_wrap=True, highlight=False)
    console.print(f"{len(written)} clips written to {out}.", soft_wrap=True)
    if problems:
        raise Finding(f"{problems} of {problems + len(written)} recordings could not be written; see above.")
    return written
