"""Masks as a DICOM segmentation (SEG) of a multi-frame ultrasound clip."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echocycle.datasets.contours.traced import Traced, Wanted, check_size, phase_of, ventricle_labels
from echocycle.errors import EchocycleError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def read_seg(path: Path, wanted: Wanted) -> list[Traced]:
    """Masks of the segment that is the left ventricle; each names the frame of the clip that it belongs to."""
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path)
            if dataset.get("Modality") != "SEG":
                raise EchocycleError(
                    f"{path} is DICOM of modality {dataset.get('Modality')}, not a segmentation (SEG)."
                )
            return _masks(path, dataset, wanted)
    except EchocycleError:
        raise
    except Exception as error:  # pydicom fails in many ways on damaged files
        raise EchocycleError(f"{path} cannot be read as a DICOM segmentation ({error!r}). Export it again.") from None


def _masks(path: Path, dataset: "Dataset", wanted: Wanted) -> list[Traced]:
    check_size(path, int(dataset.Rows), int(dataset.Columns), wanted)
    labels = {int(segment.SegmentNumber): str(segment.SegmentLabel) for segment in dataset.SegmentSequence}
    ours = ventricle_labels(path, labels.values())
    pixels = dataset.pixel_array
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    highest = int(dataset.get("MaximumFractionalValue", 1)) if dataset.get("SegmentationType") == "FRACTIONAL" else 1
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    found: dict[Any, Traced] = {}
    for values, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        label = labels[_segment(groups, shared)]
        mask = np.asarray(values > highest / 2)
        if label not in ours or not mask.any():
            continue
        frame, phase = _source_frame(groups), phase_of(label)
        before = found.get((frame, phase))
        found[frame, phase] = Traced(frame, phase, mask if before is None else before.mask | mask)
    return list(found.values())


def _segment(groups: "Dataset", shared: "Dataset | None") -> int:
    for holder in (groups, shared):
        if holder is not None and "SegmentIdentificationSequence" in holder:
            return int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise EchocycleError("A frame of the segmentation names no segment.")


def _source_frame(groups: "Dataset") -> int | None:
    """Index from 0 of the clip's frame that a mask was drawn on; DICOM counts from 1."""
    for derivation in groups.get("DerivationImageSequence") or []:
        for source in derivation.get("SourceImageSequence") or []:
            number = source.get("ReferencedFrameNumber")
            if number is not None:
                first = number[0] if hasattr(number, "__len__") and not isinstance(number, str) else number
                return int(first) - 1
    return None
