"""Small recordings for the tests: a beating fan, and files of it as scanners, exports and phones write them."""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from pydicom import Dataset, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

UNMARKED = "pixel spacing unknown: the header has no calibrated two-dimensional tissue region"


def beating_fan(frames: int = 40, height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """uint8 (time, height, width): speckle in a fan of 35 degrees to each side, a dark cavity that beats once in 50."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    radius = np.hypot(row - 4, column - width / 2)
    angle = np.degrees(np.arctan2(column - width / 2, row - 4))
    depth = height - 10
    fan = (np.abs(angle) < 35) & (radius < depth) & (radius > 4)
    picture = np.zeros((frames, height, width), np.uint8)
    for time in range(frames):
        beat = np.cos(2 * np.pi * time / 50)
        high, wide = depth * (0.22 + 0.03 * beat), depth * (0.12 + 0.04 * beat)
        cavity = ((row - 4 - 0.45 * depth) / high) ** 2 + ((column - width / 2) / wide) ** 2 < 1
        speckle = rng.gamma(2.0, 35.0, (height, width))
        picture[time] = np.clip(np.where(cavity, 0.15, 1.0) * speckle * fan, 0, 255)
    return picture


def smooth(frames: int = 20, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 (time, height, width) that lossy codecs keep: slow waves that move."""
    row, column = np.indices((height, width))
    waves = [120 + 80 * np.sin((column + 2 * time) / 9) * np.cos(row / 11) for time in range(frames)]
    return np.stack(waves).astype(np.uint8)


def rgb_of(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def ycbcr(grey: np.ndarray) -> np.ndarray:
    """uint8 (time, height, width, 3): Y, Cb and Cr as JPEG has them."""
    return np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in rgb_of(grey)])


def subsampled(ybr: np.ndarray) -> np.ndarray:
    """YBR_FULL_422 as uncompressed DICOM stores it: two of luma, one of each colour."""
    return np.stack([ybr[:, :, 0::2, 0], ybr[:, :, 1::2, 0], ybr[:, :, 0::2, 1], ybr[:, :, 0::2, 2]], -1)


def jpeg(frame: np.ndarray, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", **{"quality": 95, **options})
    return buffer.getvalue()


def region(**changes: object) -> Dataset:
    """The calibrated tissue region of `cine`'s whole picture: 0.6 mm pixels."""
    values = {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 2,
        "RegionLocationMinX0": 0,
        "RegionLocationMinY0": 0,
        "RegionLocationMaxX1": 159,
        "RegionLocationMaxY1": 119,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.06,
        "PhysicalDeltaY": 0.06,
    }
    item = Dataset()
    for name, value in {**values, **changes}.items():
        setattr(item, name, value)
    return item


def cine(pixels: np.ndarray | list[bytes], shape: tuple[int, ...] | None = None, **elements: object) -> Dataset:
    """An ultrasound cine at 50 frames a second: uncompressed pixels, or encoded frames with `shape` of the decoded.

    None as a value leaves an element out. `syntax` is its transfer syntax.
    """
    shape = pixels.shape if shape is None and isinstance(pixels, np.ndarray) else shape
    assert shape is not None
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(str(elements.pop("syntax", uid.ExplicitVRLittleEndian)))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality, dataset.FrameTime = "US", "20"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "424242"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = shape[:3]
    dataset.SamplesPerPixel = 1 if len(shape) == 3 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if len(shape) == 3 else "RGB"
    if len(shape) == 4:
        dataset.PlanarConfiguration = 0
    size = pixels.itemsize if isinstance(pixels, np.ndarray) else 1
    dataset.BitsAllocated = dataset.BitsStored = 8 * size
    dataset.HighBit, dataset.PixelRepresentation = 8 * size - 1, 0
    if isinstance(pixels, np.ndarray):
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OB" if size == 1 else "OW"
    else:
        dataset.PixelData = encapsulate(pixels)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, Sequence(value) if isinstance(value, list) and _items(value) else value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def directory(path: Path, *listed: list[str] | str) -> Path:
    """A DICOMDIR that lists these files."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    records = [Dataset()]
    records[0].DirectoryRecordType = "PATIENT"
    for name in listed:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name
        records.append(record)
    dataset.DirectoryRecordSequence = Sequence(records)
    dataset.save_as(path, enforce_file_format=True)
    return path


def without_preamble(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()[132:]


def encode(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    fps: int = 50,
    milliseconds: Iterable[int] | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of grey or RGB frames; `milliseconds` are time stamps of its frames, whatever `fps` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.options = {"crf": "12"} if options is None else options
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
            milliseconds = list(milliseconds)
        for index, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="gray" if frame.ndim == 2 else "rgb24"
            )
            if milliseconds is not None:
                picture.pts, picture.time_base = milliseconds[index], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def blurred(frames: np.ndarray, size: int = 7) -> np.ndarray:
    """float (time, height, width): what is left when speckle is averaged away, to compare geometry alone."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(frames.astype(float), (min(9, len(frames)), size, size))


def _items(values: list) -> bool:
    return all(isinstance(value, Dataset) for value in values)
