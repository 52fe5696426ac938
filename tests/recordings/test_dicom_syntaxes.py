"""Every transfer syntax that occurs in ultrasound, with every way to store its colours, against other decoders."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.recording_files import cine, encode, jpeg, rgb_of, save, smooth, subsampled, ycbcr
from PIL import Image
from pydicom import Dataset, uid

from echocycle.recordings.recording import read_recording
from echocycle.recordings.video import DamagedVideoError

NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
}
COLOURED = (np.indices((3, 5, 47, 62)).sum(axis=0) * 3 % 256).astype(np.uint8).transpose(1, 2, 3, 0)
"""uint8 RGB (5, 47, 62, 3); an odd number of bytes in a plane."""


def gdcm_frames(path: Path) -> np.ndarray:
    """The pixels as GDCM reads them, which shares nothing with pydicom: uint8 (time, height, width[, 3])."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    if image.GetPlanarConfiguration():
        change = gdcm.ImageChangePlanarConfiguration()
        change.SetInput(image)
        assert change.Change()
        image = change.GetOutput()
    dimensions = [image.GetDimension(axis) for axis in range(image.GetNumberOfDimensions())]
    data = image.GetBuffer().encode("utf-8", "surrogateescape")
    channels = image.GetPixelFormat().GetSamplesPerPixel()
    pixels = np.frombuffer(data, np.uint8).reshape(*dimensions[::-1], channels)
    return pixels[..., 0] if channels == 1 else pixels


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1", "RGB", "RGB planes", "YBR_FULL", "YBR_FULL planes"])
def test_uncompressed(tmp_path: Path, syntax: str, kind: str) -> None:
    """Whatever the order of bytes and planes, and also where a frame has an odd number of bytes."""
    label, _, planes = kind.partition(" ")
    if label.startswith("MONO"):
        pixels, shown = COLOURED[..., 0], COLOURED[..., 0] if label == "MONOCHROME2" else 255 - COLOURED[..., 0]
    elif label == "RGB":
        pixels, shown = COLOURED, luma(COLOURED)
    else:
        pixels = np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in COLOURED])
        shown = pixels[..., 0]
    stored = np.ascontiguousarray(np.moveaxis(pixels, -1, 1)) if planes else np.ascontiguousarray(pixels)
    dataset = cine(np.ascontiguousarray(pixels), PhotometricInterpretation=label, syntax=NATIVE[syntax])
    dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    if planes:
        dataset.PlanarConfiguration = 1
    recording = read_recording(save(dataset, tmp_path / "cine.dcm"))
    assert recording.frames.shape == shown.shape
    assert np.abs(recording.frames - shown.astype(float)).max() <= 0.51
    if label == "RGB":
        assert np.array_equal(read_recording(tmp_path / "cine.dcm", color=True).frames, pixels)


def test_big_endian_bytes_in_words(tmp_path: Path) -> None:
    """Eight-bit pixels as 16-bit words, the bytes of which change places; a frame of an odd size begins within one."""
    grey = np.ascontiguousarray(COLOURED[..., 0][:, :, :61])
    data = grey.tobytes() + b"\0" * (grey.nbytes % 2)
    dataset = cine(grey, syntax=uid.ExplicitVRBigEndian)
    dataset.PixelData = np.frombuffer(data, "u2").byteswap().tobytes()
    dataset["PixelData"].VR = "OW"
    assert np.array_equal(read_recording(save(dataset, tmp_path / "cine.dcm")).frames, grey)


@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_sixteen_bits_in_both_orders(tmp_path: Path, syntax: str) -> None:
    deep = smooth(4).astype("<u2") * 16
    for order, value in ((NATIVE[syntax], deep), (uid.ExplicitVRBigEndian, deep.astype(">u2"))):
        dataset = cine(value, BitsStored=12, HighBit=11, syntax=order)
        assert np.array_equal(read_recording(save(dataset, tmp_path / "cine.dcm")).frames, smooth(4))


def test_rle(tmp_path: Path) -> None:
    for pixels in (COLOURED[..., 0], COLOURED):
        dataset = cine(np.ascontiguousarray(pixels))
        dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
        path = save(dataset, tmp_path / "cine.dcm")
        assert np.array_equal(read_recording(path, color=pixels.ndim == 4).frames, pixels)
        assert np.array_equal(gdcm_frames(path), pixels)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_baseline(tmp_path: Path, subsampling: int) -> None:
    frames = (rgb_of(smooth(5)) * np.array([0.9, 0.8, 0.7])).astype(np.uint8)
    encoded = [jpeg(frame, subsampling=subsampling) for frame in frames]
    label = "YBR_FULL" if subsampling == 0 else "YBR_FULL_422"
    dataset = cine(encoded, frames.shape, PhotometricInterpretation=label, syntax=uid.JPEGBaseline8Bit)
    path = save(dataset, tmp_path / "cine.dcm")
    by_pillow = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])
    assert np.abs(read_recording(path, color=True).frames.astype(int) - by_pillow).max() <= 2
    first_channel = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("YCbCr")) for data in encoded])[..., 0]
    assert np.abs(read_recording(path).frames.astype(int) - first_channel).max() <= 2
    # labelled RGB though JPEG holds YCbCr, as many exports are
    dataset.PhotometricInterpretation = "RGB"
    assert np.abs(read_recording(save(dataset, path)).frames - luma(by_pillow)).max() <= 3


def test_grey_jpeg(tmp_path: Path) -> None:
    encoded = [jpeg(frame) for frame in smooth(4)]
    path = save(cine(encoded, smooth(4).shape, syntax=uid.JPEGBaseline8Bit), tmp_path / "cine.dcm")
    by_pillow = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in encoded])
    assert np.array_equal(read_recording(path).frames, by_pillow)
    assert np.array_equal(gdcm_frames(path), by_pillow)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    "syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.RLELossless]
)
def test_lossless(tmp_path: Path, syntax: uid.UID, deep: bool) -> None:
    """Written by GDCM or OpenJPEG, so that writer and reader are not the same."""
    grey = smooth(3, 32, 40)
    dataset = cine(grey.astype("<u2") * 256 if deep else grey)
    path = save(dataset, tmp_path / "native.dcm")
    _transcode(path, tmp_path / "cine.dcm", syntax)
    recording = read_recording(tmp_path / "cine.dcm")
    assert np.array_equal(recording.frames, grey)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT"])
def test_jpeg_2000_in_colour(tmp_path: Path, photometric: str) -> None:
    frames = np.ascontiguousarray(COLOURED[:, :46])
    dataset = cine(frames)
    if photometric == "YBR_RCT":
        encoded = []
        for frame in frames:
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG2000", irreversible=False, mct=1, no_jp2=True)
            encoded.append(buffer.getvalue())
        dataset = cine(encoded, frames.shape, PhotometricInterpretation="YBR_RCT", syntax=uid.JPEG2000Lossless)
    else:
        dataset.compress(uid.JPEG2000Lossless, encoding_plugin="pylibjpeg")
    recording = read_recording(save(dataset, tmp_path / "cine.dcm"), color=True)
    assert np.array_equal(recording.frames, frames)


@pytest.mark.parametrize(
    ("codec", "name", "syntax", "options"),
    [
        ("libx264", "a.mp4", uid.MPEG4HP41, {"crf": "12"}),
        ("libx264", "a.h264", uid.MPEG4HP42STEREO, {"crf": "12"}),
        ("libx265", "a.hevc", uid.HEVCMP51, {"crf": "12", "x265-params": "log-level=none"}),
        ("mpeg2video", "a.mpg", uid.MPEG2MPML, {"b": "4000000"}),
    ],
)
def test_video_inside(tmp_path: Path, codec: str, name: str, syntax: uid.UID, options: dict) -> None:
    frames = smooth(16)
    stream = encode(tmp_path / name, frames, codec=codec, options=options).read_bytes()
    recording = read_recording(save(cine([stream], frames.shape, syntax=syntax), tmp_path / "cine.dcm"))
    assert recording.frames.shape == frames.shape
    assert np.abs(recording.frames.astype(int) - frames).mean() < 4
    assert recording.fps == 50


@pytest.mark.parametrize(
    "syntax", [uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless]
)
@pytest.mark.parametrize("damage", ["garbled", "cut"])
def test_a_damaged_frame_is_an_error_in_every_syntax(tmp_path: Path, syntax: uid.UID, damage: str) -> None:
    grey = smooth(5, 32, 40)
    if syntax == uid.JPEGBaseline8Bit:
        save(cine([jpeg(frame) for frame in grey], grey.shape, syntax=syntax), tmp_path / "cine.dcm")
    else:
        _transcode(save(cine(grey), tmp_path / "native.dcm"), tmp_path / "cine.dcm", syntax)
    data = (tmp_path / "cine.dcm").read_bytes()
    if damage == "cut":
        (tmp_path / "cine.dcm").write_bytes(data[: len(data) * 4 // 5])
    else:
        middle = len(data) * 3 // 4
        (tmp_path / "cine.dcm").write_bytes(data[:middle] + b"\xff\xd9" * 100 + data[middle + 200 :])
    with pytest.raises(DamagedVideoError, match=r"cine\.dcm: frame \d of 5 is damaged"):
        read_recording(tmp_path / "cine.dcm")


def test_partial_range(tmp_path: Path) -> None:
    """Luma from 16 to 235, an old way: black is black and white is white."""
    ybr = ycbcr(smooth(4))
    ybr[..., 0] = (ybr[..., 0].astype(float) * 219 / 255 + 16).round()
    dataset = cine(rgb_of(smooth(4)), PhotometricInterpretation="YBR_PARTIAL_422")
    dataset.PixelData = subsampled(ybr).tobytes()
    recording = read_recording(save(dataset, tmp_path / "cine.dcm"))
    assert np.abs(recording.frames.astype(int) - smooth(4)).max() <= 2


def _transcode(source: Path, target: Path, syntax: uid.UID) -> None:
    import gdcm

    if syntax in (uid.JPEG2000Lossless, uid.RLELossless):
        from pydicom import dcmread

        dataset: Dataset = dcmread(source)
        dataset.compress(syntax, encoding_plugin="pylibjpeg")
        dataset.save_as(target)
        return
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    names = {
        uid.JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
        uid.JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        uid.JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
    }
    change.SetTransferSyntax(gdcm.TransferSyntax(names[syntax]))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    assert writer.Write()
