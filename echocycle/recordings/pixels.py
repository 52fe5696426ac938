"""Pixel data of a DICOM file, one frame after the other: stored bytes in, decoded pixels out.

Each frame is cut out of the file here and decoded alone, by pydicom and its plugins. So the number of frames is what
the file holds, not what its header says; memory holds one stored frame at a time; and a damaged frame is known by its
number. (pydicom's own iteration loses its place in uncompressed YBR_FULL_422 after the first frame.)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.recordings.apart import DecoderApart
from echocycle.recordings.budget import LARGEST_STREAM
from echocycle.recordings.dicom_file import DicomFile
from echocycle.recordings.header import text, whole

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT")
START_OF_FRAME = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")  # JPEG and JPEG-LS; JPEG 2000


@dataclass(frozen=True)
class PixelLayout:
    """How the pixels of one frame are stored, checked."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: int
    allocated: int
    stored: int
    signed: bool
    syntax: "UID"
    swapped: bool
    """Whether bytes stand pairwise in the wrong order: 8 bits as 16-bit words of a big-endian file."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        values = self.rows * self.columns * self.samples
        if self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422"):
            values = values // 3 * 2
        return values * self.allocated // 8


def pixel_layout(file: DicomFile, path: Path) -> PixelLayout:
    """The layout that a header states.

    Raises:
        EchocycleError: an element is missing or impossible; it is named.
    """
    dataset = file.dataset
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None or not str(syntax):
        raise EchocycleError(f"{path} does not say how its pixels are encoded. Export the recording again.")
    if not _is_transfer_syntax(syntax):
        raise EchocycleError(f"{path} is encoded in a way that is not known. Export the recording again.")
    if syntax.is_encapsulated != file.encapsulated:
        says, holds = ("compressed", "uncompressed") if syntax.is_encapsulated else ("uncompressed", "compressed")
        raise EchocycleError(
            f"{path}: its header says that pixels are {says}, but they are stored as {holds} ones are. "
            "Export the recording again."
        )
    kind = text(dataset, "PhotometricInterpretation").upper()
    samples = whole(dataset, "SamplesPerPixel") or (1 if kind in GREY or kind == "PALETTE COLOR" else 3)
    allocated = whole(dataset, "BitsAllocated") or 8
    stored = whole(dataset, "BitsStored") or allocated
    found = {"Rows": whole(dataset, "Rows"), "Columns": whole(dataset, "Columns")}
    for name, size in found.items():
        if size is None or not 1 <= size <= 65535:
            raise EchocycleError(f"{path}: its header states no usable {name}. Export the recording again.")
    if kind not in (*GREY, *COLOURS, "PALETTE COLOR") or samples != (3 if kind in COLOURS else 1):
        raise EchocycleError(
            f"{path}: its header states no usable colours (PhotometricInterpretation, {samples} samples per pixel). "
            "Export the recording as MONOCHROME2 or RGB."
        )
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise EchocycleError(f"{path}: pixels of {stored} of {allocated} bits cannot be read. Export it with 8 bits.")
    return PixelLayout(
        rows=found["Rows"] or 0,
        columns=found["Columns"] or 0,
        samples=samples,
        photometric=kind,
        planar=1 if whole(dataset, "PlanarConfiguration") == 1 else 0,
        allocated=allocated,
        stored=stored,
        signed=whole(dataset, "PixelRepresentation") == 1,
        syntax=syntax,
        swapped=not syntax.is_little_endian and allocated == 8 and _stored_as_words(file),
    )


def video_stream(file: DicomFile, path: Path) -> bytes:
    """The H.264, HEVC or MPEG-2 stream inside a DICOM file."""
    if file.length > LARGEST_STREAM:
        raise EchocycleError(f"{path} holds more than {LARGEST_STREAM >> 20} MB of video. Cut it to a few heartbeats.")
    with file.open() as content:
        return b"".join(fragments(content))


def fragments(content: BinaryIO) -> Iterator[bytes]:
    """The fragments of encapsulated pixel data, without the offset table.

    Raises:
        ValueError: the data end within a fragment, or something else stands there.
    """
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    exact: Any = _ExactReader(content)
    parse_basic_offsets(exact)
    yield from generate_fragments(exact)


class _ExactReader:
    """A file in which a read that comes back short is an error: pydicom would hand out half a fragment as a whole."""

    def __init__(self, content: BinaryIO) -> None:
        self.content = content

    def read(self, size: int) -> bytes:
        data = self.content.read(size)
        if len(data) < size and (data or size > 4):
            raise ValueError("the data end within a fragment")
        return data

    def tell(self) -> int:
        return self.content.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.content.seek(offset, whence)


def encoded_frames(file: DicomFile, layout: PixelLayout) -> Iterator[bytes]:
    """The stored bytes of each frame.

    Raises:
        ValueError: the data end within a frame or are not as they should be.
    """
    with file.open() as content:
        if not layout.syntax.is_encapsulated:
            yield from _native_frames(content, file.length, layout)
            return
        collected: list[bytes] = []
        for fragment in fragments(content):
            starts = layout.syntax.name.startswith("RLE") or fragment.startswith(START_OF_FRAME)
            if collected and starts:
                yield b"".join(collected)
                collected = []
            collected.append(fragment)
        if collected:
            yield b"".join(collected)


def frames_held(file: DicomFile, layout: PixelLayout) -> int:
    """How many whole frames the pixel data hold; of a damaged list of fragments, those before the damage."""
    if not layout.syntax.is_encapsulated:
        return file.length // layout.frame_bytes
    count = 0
    try:
        for _ in encoded_frames(file, layout):
            count += 1
    except Exception:  # counted again, and reported, when the frames are decoded
        return count
    return count


def matching_layout(file: DicomFile, layout: PixelLayout, listed: int | None) -> tuple[PixelLayout, list[str]]:
    """The layout by the length of uncompressed pixel data, where the label of colour subsampling contradicts it."""
    if layout.syntax.is_encapsulated or layout.samples != 3 or not listed:
        return layout, []
    stored = file.length + file.missing
    for other in ("YBR_FULL", "YBR_FULL_422"):
        changed = replace(layout, photometric=other)
        both_ybr = layout.photometric in ("YBR_FULL", "YBR_FULL_422") and other != layout.photometric
        if both_ybr and 0 <= stored - listed * changed.frame_bytes <= 1:
            return changed, [f"colours are labelled {layout.photometric}, but the data have the length of {other}"]
    return layout, []


class FrameDecoder:
    """Decodes stored frames of one file."""

    def __init__(self, layout: PixelLayout, path: Path) -> None:
        from pydicom.pixels import get_decoder

        self.layout = layout
        self.plugin = _plugin(layout.syntax, path)
        self.decoder = get_decoder(layout.syntax)
        # old and unknown to pydicom, but stored as the full range is
        self.partial = layout.photometric == "YBR_PARTIAL_422"
        self.options: dict[str, Any] = {
            "rows": layout.rows,
            "columns": layout.columns,
            "samples_per_pixel": layout.samples,
            "photometric_interpretation": "YBR_FULL_422" if self.partial else layout.photometric,
            "planar_configuration": layout.planar,
            "bits_allocated": layout.allocated,
            "bits_stored": layout.stored,
            "pixel_representation": int(layout.signed),
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
            "pixel_vr": "OB" if layout.allocated == 8 else "OW",
        }
        self.apart = DecoderApart(self.options, str(layout.syntax)) if self.plugin == "gdcm" else None
        self.photometric = layout.photometric
        """Of what was decoded last: decoders of JPEG 2000 give RGB, and subsampled YBR is full afterwards."""

    def decode(self, stored: bytes) -> np.ndarray:
        """(rows, columns) or (rows, columns, 3) as stored: YBR stays YBR, a palette's numbers stay numbers.

        Raises:
            Exception: whatever a plugin raises at bad bytes.
        """
        from pydicom.encaps import encapsulate

        if self.apart is not None:
            if stored[:2] == START_OF_FRAME[0][:2]:
                check_jpeg(stored)
            pixels, properties = self.apart.decode(stored)
        else:
            source = encapsulate([stored]) if self.layout.syntax.is_encapsulated else stored
            pixels, properties = self.decoder.as_array(
                source, index=0, raw=True, decoding_plugin=self.plugin, **self.options
            )
        self.photometric = self.layout.photometric if self.partial else str(properties["photometric_interpretation"])
        return pixels

    def close(self) -> None:
        """End the process that a decoder ran in, if it did."""
        if self.apart is not None:
            self.apart.close()


def check_jpeg(stored: bytes) -> None:
    """Raise ValueError where a JPEG or JPEG-LS stream ends too early or holds a marker that cannot stand there.

    GDCM decodes such a stream to the end with whatever comes out, and says so on the terminal alone.
    """
    at, scanning, is_ls = 2, False, False
    while True:
        at = stored.find(b"\xff", at)
        if at < 0 or at + 1 >= len(stored):
            return
        marker = stored[at + 1]
        if marker == 0xFF or (scanning and (marker < 0x80 if is_ls else marker == 0 or 0xD0 <= marker <= 0xD7)):
            at += 1 if marker == 0xFF else 2
        elif marker == 0xD9:
            if stored[at + 2 :].strip(b"\0\xff"):
                raise ValueError("the picture ends before its data do")
            return
        elif (scanning and marker not in (0xC4, 0xDA, 0xDC, 0xDD, 0xF8)) or marker in (0x00, 0xD8):
            raise ValueError("a marker stands where none can")
        else:
            is_ls = is_ls or marker == 0xF7
            scanning = marker == 0xDA
            at += 2 + int.from_bytes(stored[at + 2 : at + 4], "big")


def _native_frames(content: BinaryIO, length: int, layout: PixelLayout) -> Iterator[bytes]:
    begin, size = content.tell(), layout.frame_bytes
    for index in range(length // size):
        first, last = index * size, (index + 1) * size
        if not layout.swapped:
            content.seek(begin + first)
            yield content.read(size)
            continue
        first_word, last_word = first - first % 2, last + last % 2
        content.seek(begin + first_word)
        words = np.frombuffer(content.read(last_word - first_word), "u2").byteswap().tobytes()
        yield words[first - first_word : first - first_word + size]
    if length % size > 1:
        raise ValueError("the data end within a frame")


def _stored_as_words(file: DicomFile) -> bool:
    with file.open() as content:
        content.seek(max(0, (file.start or 0) - 12))
        return content.read(12)[4:6] == b"OW"


def _is_transfer_syntax(syntax: "UID") -> bool:
    try:
        return syntax.is_encapsulated in (True, False)
    except ValueError:  # another UID, or no UID at all
        return False


def _plugin(syntax: "UID", path: Path) -> str:
    """The decoder for a transfer syntax: pydicom's own first choice is several times slower."""
    from pydicom import uid
    from pydicom.pixels import get_decoder

    wanted = {
        uid.JPEGBaseline8Bit: "pillow",
        uid.JPEGLossless: "gdcm",
        uid.JPEGLosslessSV1: "gdcm",
        uid.JPEGLSLossless: "gdcm",
        uid.JPEGLSNearLossless: "gdcm",
    }.get(syntax, "pylibjpeg")
    try:
        decoder = get_decoder(syntax)
        available = decoder.available_plugins
    except NotImplementedError:
        name = syntax.name if not syntax.is_private and syntax.name != syntax else "an unknown transfer syntax"
        raise EchocycleError(
            f"{path} is encoded as {name}, for which no decoder is installed. Export it uncompressed."
        ) from None
    if not syntax.is_encapsulated:
        return ""
    if not available:
        raise EchocycleError(
            f"{path} is encoded as {syntax.name}, for which no decoder is installed. "
            "Install pillow, pylibjpeg-openjpeg, pylibjpeg-rle and python-gdcm, or export it uncompressed."
        )
    # one decoder and no other behind it: what a strict one refuses, a lenient one may garble in silence
    return wanted if wanted in available else available[0]


def to_luma(pixels: np.ndarray, photometric: str) -> np.ndarray:
    """Colour pixels -> (height, width): the first channel of YBR, else the luma of RGB (ITU-R 601, as in JPEG)."""
    if photometric.startswith("YBR"):
        return _full_range(pixels[..., 0]) if "PARTIAL" in photometric else pixels[..., 0]
    weights = np.array([19595, 38470, 7471], np.uint32)  # 0.299, 0.587, 0.114 in 1/65536
    return ((pixels @ weights + 32768) >> 16).astype(pixels.dtype)


def to_rgb(pixels: np.ndarray, photometric: str) -> np.ndarray:
    """Colour pixels -> uint8 RGB (height, width, 3)."""
    from pydicom.pixels import convert_color_space

    if not photometric.startswith("YBR"):
        return pixels
    if "PARTIAL" in photometric:
        blue_red = (pixels[..., 1:].astype(float) - 128) * 255 / 224 + 128
        first = _full_range(pixels[..., 0])[..., None]
        pixels = np.concatenate([first, blue_red.round().clip(0, 255).astype(np.uint8)], axis=-1)
    return convert_color_space(np.ascontiguousarray(pixels), "YBR_FULL", "RGB")


def palette(dataset: "Dataset", stored: int) -> np.ndarray:
    """uint8 RGB (number of values, 3) of a palette.

    Raises:
        Exception: whatever pydicom raises at a palette that is no palette.
    """
    from pydicom.pixels import apply_color_lut

    every_index = np.arange(1 << stored, dtype=np.uint16).reshape(1, -1)
    colours = apply_color_lut(every_index, dataset)[0]
    if colours.max() > 255:  # sixteen-bit entries, though some files use only the lower eight bits of them
        colours = colours >> 8
    return colours.astype(np.uint8)


def _full_range(luma: np.ndarray) -> np.ndarray:
    return ((luma.astype(float) - 16) * 255 / 219).round().clip(0, 255).astype(luma.dtype)
