"""A folder as a hospital has it: DICOM cines in eight transfer syntaxes, a list with some EF, contours of some; and
names, numbers, dates and writing in all of it, planted to be looked for in what is made of the folder."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pydicom import Dataset, uid
from skimage.measure import find_contours

from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from helpers.recording_files import cine, encode, jpeg, save

SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg": uid.JPEGBaseline8Bit,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg-2000": uid.JPEG2000Lossless,
    "h264": uid.MPEG4HP41,
}
HEIGHT, WIDTH, SCALE, TOP, LEFT = 264, 300, 2, 34, 38
"""Of the scanner's picture in pixels, and where in it the phantom's lies."""
NAMES = ("Quackenbush", "Featherstone", "Zweistein", "Okonkwo", "Hjelmqvist", "Villanueva", "Tremblay", "Przybylski")
DOCTOR, HOSPITAL, DATE, BIRTH = "Drummerschmidt", "Klosterneuhausen", "19871123", "19431017"


def write_hospital(root: Path, scratch: Path, videos: int = 60, labelled: int = 20, traced: int = 10) -> list[str]:
    """Write the folder; gives every word that was planted and must not be found again.

    Args:
        scratch: where the phantom's clips are drawn first.
        videos: cines; `labelled` of them have an EF in videos.csv, `traced` of these a COCO file of ED and ES.
    """
    frames = {"frames_median": 84, "frames_min": 81, "frames_max": 88}
    write_phantom(scratch, PhantomSettings(videos=videos, val=videos // 8, test=videos // 8, **frames))
    with open(scratch / "FileList.csv", newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    planted: set[str] = {DOCTOR, HOSPITAL, DATE, BIRTH}
    rows = []
    for number, row in enumerate(listed):
        person = f"{NAMES[number % len(NAMES)]}{number // 2:02}"
        record = f"77{number // 2:04}31"
        planted |= {person, record}
        syntax = list(SYNTAXES)[number % len(SYNTAXES)]
        path = Path(f"study{number // 8:02}") / f"IM_{number:04}"
        with np.load(scratch / "Truth" / f"{row['FileName']}.npz") as truth:
            shape = tuple(truth["masks_shape"])
            masks = np.unpackbits(truth["masks"], axis=1, count=shape[1] * shape[2]).reshape(shape)
            phases = (int(truth["ed_frame"]), int(truth["es_frame"]))
        pixels = _picture(scratch / "Videos" / f"{row['FileName']}.avi", person, record)
        save(_dicom(pixels, syntax, person, record, number, scratch), root / path)
        if number < labelled:
            contour = ""
            if number < traced:
                contour = f"contours/{number:04}.json"
                _coco(root / contour, {frame: masks[frame] for frame in phases})
            rows.append({"File": path.as_posix(), "LVEF (%)": row["EF"], "MRN": record, "contour": contour})
    with open(root / "videos.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=";")
        table.writeheader()
        table.writerows(rows)
    return sorted(planted)


def words_found(folder: Path, words: list[str]) -> list[str]:
    """`FILE: WORD` of every word that is in a file's name or bytes, compressed or not, in any capitals."""
    found = []
    for path in sorted(folder.rglob("*")):
        texts = [str(path.relative_to(folder)).encode()]
        if path.is_file():
            texts += list(_contents(path))
        for text in texts:
            low = text.lower()
            found += [
                f"{path}: {word}"
                for word in words
                for kind in ("utf-8", "utf-16-le")
                if word.lower().encode(kind) in low
            ]
    return found


def _contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and those that are compressed in it."""
    data = path.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)


def _picture(video: Path, person: str, record: str) -> np.ndarray:
    """uint8 (time, height, width): the phantom's clip in a scanner's picture, with what is written around it."""
    from echocycle.recordings.video import read_video

    page = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(page)
    draw.text((4, 2), f"{person}  {record}", fill=255)
    draw.text((4, 14), f"{HOSPITAL} {DATE}", fill=255)
    draw.text((WIDTH - 40, HEIGHT - 14), "MI 1.1", fill=255)
    for tick in range(TOP, HEIGHT - 20, 20):
        draw.line((WIDTH - 8, tick, WIDTH - 2, tick), fill=200)
    written = np.asarray(page)
    pictures = []
    for frame in read_video(video).frames:
        large = np.asarray(Image.fromarray(frame).resize((112 * SCALE, 112 * SCALE), Image.Resampling.BILINEAR))
        large = np.where(large < 8, 0, large)
        picture = written.copy()
        here = picture[TOP : TOP + large.shape[0], LEFT : LEFT + large.shape[1]]
        np.maximum(here, large, out=here)
        pictures.append(picture)
    return np.stack(pictures)


def _dicom(pixels: np.ndarray, syntax: str, person: str, record: str, number: int, scratch: Path) -> Dataset:
    """The cine with a header that names everybody."""
    kind = SYNTAXES[syntax]
    if syntax == "jpeg":
        dataset = cine([jpeg(frame, quality=92) for frame in pixels], pixels.shape, syntax=kind)
    elif syntax == "h264":
        stream = encode(scratch / "stream.mp4", pixels, codec="libx264").read_bytes()
        dataset = cine([stream], pixels.shape, syntax=kind)
    elif kind.is_compressed and syntax != "deflated":
        dataset = _transcoded(pixels, kind, scratch)
    else:
        dataset = cine(pixels, syntax=kind)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
    dataset.PatientName, dataset.PatientID = f"{person}^Anna", record
    dataset.PatientBirthDate, dataset.StudyDate, dataset.ContentDate = BIRTH, DATE, DATE
    dataset.InstitutionName, dataset.ReferringPhysicianName = HOSPITAL, DOCTOR
    dataset.StudyDescription = dataset.ImageComments = f"{person} of {HOSPITAL}, {DATE}"
    dataset.add_new((0x0009, 0x0010), "LO", DOCTOR)
    dataset.add_new((0x0009, 0x1001), "LO", f"{person} {record}")
    return dataset


def _transcoded(pixels: np.ndarray, kind: uid.UID, scratch: Path) -> Dataset:
    """The cine, its frames compressed by another library than the one that reads them."""
    import gdcm
    from pydicom import dcmread

    save(cine(pixels), scratch / "plain.dcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(scratch / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(kind))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(scratch / "packed.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    dataset = dcmread(scratch / "packed.dcm")
    dataset.PixelData  # noqa: B018  read it before the file is written over
    return dataset


def _coco(path: Path, masks: dict[int, np.ndarray]) -> None:
    """Outlines of masks (112, 112) by frame, in the scanner's picture."""
    images, notes = [], []
    for frame, mask in masks.items():
        outline = max(find_contours(np.pad(mask, 1).astype(float), 0.5), key=len) - 1
        points = (outline[:, ::-1] + 0.5) * SCALE - 0.5 + (LEFT, TOP)
        images.append({"id": frame + 1, "file_name": f"frame_{frame:04}.png", "width": WIDTH, "height": HEIGHT})
        polygon = [round(float(value), 2) for value in points.ravel()]
        notes.append({"id": frame + 1, "image_id": frame + 1, "category_id": 1, "segmentation": [polygon]})
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "left ventricle"}]}
    path.write_text(json.dumps(content))
