"""End of the flow: the ventricle in every frame as a DICOM Segmentation, for a picture archive.

One multi-frame file for the recording, in the pixels of the recording, each frame referring to its own frame. It is put
together with pydicom: highdicom demands a Frame of Reference, which ultrasound has not. The standard lets it be absent
where every frame names its source (PS3.3 A.51.5.1: Derivation Image). It copies patient and study (`source_dicom.py`).
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echocycle import __version__
from echocycle.errors import EchocycleError
from echocycle.files import replacing
from echocycle.prediction import DISCLAIMER, Prediction
from echocycle.writers.outlines import HALF, largest_blob
from echocycle.writers.source_dicom import (
    ALGORITHM,
    MANUFACTURER,
    MODEL_NAME,
    lacks_dicom,
    read_header,
    stored_numbers,
    without_quoted_values,
)

if TYPE_CHECKING:
    from pydicom import Dataset

COPIED = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "PatientSize", "PatientWeight", "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime",
    "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip


def lacks_segmentation(prediction: Prediction) -> str | None:
    """Why there is no segmentation to write."""
    if not prediction.ed_frames:
        return "No DICOM Segmentation is written: no beat was found in the masks."
    return lacks_dicom(prediction, "A DICOM Segmentation")


def write_segmentation(prediction: Prediction, folder: Path) -> Path:
    """Write `<stem>.seg.dcm`: frames without a ventricle are left out. It holds the patient's identity."""
    if prediction.masks is None:
        raise EchocycleError(f"{prediction.source} has no masks to write: no segmentation model was used.")
    path = Path(folder) / f"{prediction.stem}.seg.dcm"
    with without_quoted_values():
        header = read_header(prediction)
        packed = _Packed()
        numbers: list[int] = []
        for number, mask in _stored_masks(prediction, (int(header.Rows), int(header.Columns))):
            if mask.any():
                numbers.append(number)
                packed.add(mask)
        dataset = _dataset(header, numbers)
        dataset.PixelData = packed.bytes()
        dataset["PixelData"].VR = "OB"
        with replacing(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return path


def _stored_masks(prediction: Prediction, shape: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Number in the file and bool mask (rows, columns) of each stored frame, one after the other."""
    assert prediction.masks is not None
    before = 0
    for number, mask in zip(stored_numbers(prediction), prediction.masks, strict=True):
        if number > before:  # an even grid may show a stored frame twice
            yield number, stored_mask(mask, prediction.affine, shape)
        before = max(before, number)


def stored_mask(mask: np.ndarray, affine: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """The largest blob of a uint8 probability mask (height, width) in the pixels of the file: bool (rows, columns)."""
    from scipy import ndimage

    known = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]) if affine is None else np.asarray(affine, float)
    back = np.linalg.inv(known[:, :2])
    # scipy counts (row, column), the affine (column, row)
    matrix, offset = back[::-1, ::-1], -(back @ known[:, 2])[::-1]
    blob = largest_blob(mask).astype(np.float32)
    return ndimage.affine_transform(blob, matrix, offset, shape, order=1, mode="constant") > HALF


class _Packed:
    """Bits of frames, packed as they come: a frame need not end on a whole byte (PS3.5 8.1.1)."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._rest = np.zeros(0, bool)

    def add(self, mask: np.ndarray) -> None:
        bits = np.concatenate([self._rest, mask.ravel()])
        whole = len(bits) // 8 * 8
        self._parts.append(np.packbits(bits[:whole], bitorder="little").tobytes())
        self._rest = bits[whole:]

    def bytes(self) -> bytes:
        """All of them, an even number of bytes."""
        found = b"".join([*self._parts, np.packbits(self._rest, bitorder="little").tobytes()])
        self._parts = []
        return found + b"\0" * (len(found) % 2)


def _dataset(header: "Dataset", numbers: list[int]) -> "Dataset":
    """All but the pixels."""
    from pydicom import Dataset, uid
    from pydicom.dataset import FileMetaDataset
    from pydicom.sr.codedict import codes

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = uid.SegmentationStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    for keyword in COPIED:
        if keyword in header:
            setattr(made, keyword, header[keyword].value)
    now = datetime.now()
    made.ContentDate, made.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "SEG", uid.generate_uid(), 9701
    made.SeriesDescription = made.ContentDescription = f"Left ventricle. {DISCLAIMER}"
    made.InstanceNumber, made.ContentLabel, made.ContentCreatorName = 1, "LEFT_VENTRICLE", ""
    made.Manufacturer, made.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    made.DeviceSerialNumber, made.SoftwareVersions = "none", __version__
    made.ImageType, made.SegmentationType = ["DERIVED", "PRIMARY"], "BINARY"
    made.PatientOrientation = ""
    made.Rows, made.Columns, made.NumberOfFrames = header.Rows, header.Columns, len(numbers)
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 1, 0, 0
    made.LossyImageCompression = str(header.get("LossyImageCompression") or "00")
    if made.LossyImageCompression == "01":
        made.LossyImageCompressionRatio = header.get("LossyImageCompressionRatio") or 1
        made.LossyImageCompressionMethod = header.get("LossyImageCompressionMethod") or "ISO_10918_1"
    segment = _item(
        SegmentNumber=1,
        SegmentLabel="Left ventricle",
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=ALGORITHM,
        SegmentedPropertyCategoryCodeSequence=[_code(codes.SCT.AnatomicalStructure)],
        SegmentedPropertyTypeCodeSequence=[_code(codes.SCT.LeftVentricle)],
        SegmentationAlgorithmIdentificationSequence=[
            _item(
                AlgorithmFamilyCodeSequence=[_code(codes.DCM.ArtificialIntelligence)],
                AlgorithmName=ALGORITHM,
                AlgorithmVersion=__version__,
            )
        ],
    )
    made.SegmentSequence = [segment]
    organisation = uid.generate_uid()
    made.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organisation)]
    made.DimensionIndexSequence = [
        _item(DimensionOrganizationUID=organisation, DimensionIndexPointer=at, FunctionalGroupPointer=inside, **{
            "DimensionDescriptionLabel": label
        })
        for at, inside, label in (
            (0x0062000B, 0x0062000A, "Segment"),
            (0x00209128, 0x00209111, "Time"),
        )
    ]  # fmt: skip
    made.SharedFunctionalGroupsSequence = [_item(SegmentIdentificationSequence=[_item(ReferencedSegmentNumber=1)])]
    made.PerFrameFunctionalGroupsSequence = [_frame(header, number, place) for place, number in enumerate(numbers, 1)]
    instance = _item(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    made.ReferencedSeriesSequence = [
        _item(SeriesInstanceUID=header.SeriesInstanceUID, ReferencedInstanceSequence=[instance])
    ]
    return made


def _frame(header: "Dataset", number: int, place: int) -> "Dataset":
    """What is told of one frame: which frame of the recording it was made from."""
    from pydicom.sr.codedict import codes

    source = _item(
        ReferencedSOPClassUID=header.SOPClassUID,
        ReferencedSOPInstanceUID=header.SOPInstanceUID,
        ReferencedFrameNumber=number,
        PurposeOfReferenceCodeSequence=[_code(codes.DCM.SourceImageForImageProcessingOperation)],
        SpatialLocationsPreserved="YES",
    )
    return _item(
        FrameContentSequence=[_item(DimensionIndexValues=[1, place], TemporalPositionIndex=place)],
        DerivationImageSequence=[
            _item(SourceImageSequence=[source], DerivationCodeSequence=[_code(codes.DCM.Segmentation)])
        ],
    )


def _item(**values: Any) -> "Dataset":
    from pydicom import Dataset

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _code(code: Any) -> "Dataset":
    return _item(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)
