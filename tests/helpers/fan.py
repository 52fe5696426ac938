"""A fan of moving speckle in which a dark ellipse beats, its true masks, and how to save it as DICOM."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PERIOD = 20  # frames of a beat: ED at 0, ES at 10


def fan(
    frames: int = 30, height: int = 112, width: int = 112, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames uint8 and masks bool, both (time, height, width). The cavity is largest in frame 0, smallest in frame 10."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    radius = np.hypot(row - 4, column - width / 2)
    angle = np.degrees(np.arctan2(column - width / 2, row - 4))
    depth = height - 10
    inside = (np.abs(angle) < 38) & (radius < depth) & (radius > 4)
    bright = 0.6 + 0.4 * np.sin(row / (6 + seed % 5) + seed) * np.cos(column / (7 + seed % 3))
    shrink = 0.05 + 0.008 * (seed % 4)
    pictures = np.zeros((frames, height, width), np.uint8)
    masks = np.zeros((frames, height, width), bool)
    for time in range(frames):
        beat = np.cos(2 * np.pi * time / PERIOD)
        a, b = depth * (0.24 + 0.03 * beat), depth * (0.14 + shrink * beat)
        masks[time] = ((row - 4 - 0.5 * depth) / a) ** 2 + ((column - width / 2) / b) ** 2 < 1
        speckle = rng.gamma(4.0, 22.0, (height, width)) * bright + 15
        pictures[time] = np.clip(np.where(masks[time], 0.2, 1.0) * speckle * inside, 0, 255)
    return pictures, masks


def save_cine(path: Path, frames: NDArray[np.uint8], fps: float = 50) -> Path:
    """Write grey frames as an uncompressed ultrasound DICOM."""
    from pydicom import Dataset, uid
    from pydicom.dataset import FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "424242", "US"
    dataset.FrameTime = 1000 / fps
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = frames.tobytes()
    dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
