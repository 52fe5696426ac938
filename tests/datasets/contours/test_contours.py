"""Masks and contours in every format, each read from a file written here in exactly that format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fan import fan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echocycle.datasets.contours.read import contour_pair, read_contours
from echocycle.datasets.contours.traced import Wanted, frame_after, phase_of, ventricle_labels
from echocycle.datasets.echonet_tracings import TracedPair
from echocycle.datasets.findings import Finding
from echocycle.datasets.records import Record
from echocycle.errors import EchocycleError

HEIGHT, WIDTH, FRAMES = 60, 80, 30
WANTED = Wanted("clip7", FRAMES, HEIGHT, WIDTH)
MASKS = fan(FRAMES, HEIGHT, WIDTH)[1]
ED, ES = 0, 10


def outline(mask: NDArray[np.bool_]) -> list[list[float]]:
    """The mask's outline as (x, y), where (0, 0) is the corner of the first pixel."""
    from skimage.measure import find_contours

    (points,) = find_contours(np.pad(mask, 1).astype(float), 0.5)
    return [[float(x - 0.5), float(y - 0.5)] for y, x in points[:-1]]


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def found(path: Path) -> dict[Any, NDArray[np.bool_]]:
    return {
        traced.frame if traced.frame is not None else traced.phase: traced.mask
        for traced in read_contours(path, WANTED)
    }


# -------------------------------------------------------------------------------------------------- one by format


def write_png(path: Path, values: NDArray) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("inside", [1, 255])
def test_masks_as_pictures(tmp_path: Path, suffix: str, inside: int) -> None:
    for frame in (ED, ES):
        write_png(
            tmp_path / "masks" / f"clip7_frame_{frame:04}{suffix}", MASKS[frame].astype(np.uint8) * np.uint8(inside)
        )
    masks = found(tmp_path / "masks")
    assert list(masks) == [ED, ES]
    for frame, mask in masks.items():
        np.testing.assert_array_equal(mask, MASKS[frame])


def test_pictures_with_a_palette_several_structures_and_grey_rgb(tmp_path: Path) -> None:
    from PIL import Image

    values = MASKS[ED].astype(np.uint8)
    values[5:8, 5:8] = 2
    values[9:12, 5:8] = 3
    picture = Image.new("P", (WIDTH, HEIGHT))
    picture.putpalette([value // 3 % 7 * 40 for value in range(768)])
    picture.putdata(values.ravel().tolist())
    picture.save(tmp_path / "ED.png")
    np.testing.assert_array_equal(found(tmp_path / "ED.png")["ED"], MASKS[ED])
    write_png(tmp_path / "es.png", np.repeat((MASKS[ES] * np.uint8(255))[..., None], 3, axis=2))
    np.testing.assert_array_equal(found(tmp_path / "es.png")["ES"], MASKS[ES])


@pytest.mark.parametrize("axes", ["still", "every frame"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path: Path, axes: str, suffix: str) -> None:
    """NIfTI has (column, row, frame), and labels as CAMUS has them."""
    import nibabel

    if axes == "still":
        values = MASKS[ED].T.astype(np.uint8)
        path = tmp_path / f"clip7_ED{suffix}"
    else:
        values = np.zeros((WIDTH, HEIGHT, FRAMES), np.uint8)
        for frame in (ED, ES):
            values[..., frame] = MASKS[frame].T
        values[:3, :3, ES] = 2
        path = tmp_path / f"clip7{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
    masks = found(path)
    expected = {"ED": MASKS[ED]} if axes == "still" else {ED: MASKS[ED], ES: MASKS[ES]}
    assert list(masks) == list(expected)
    for key, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[key])


def coco(runs: bool = False) -> dict[str, Any]:
    images, annotations = [], []
    for number, frame in enumerate((ED, ES)):
        images.append({"id": number, "file_name": f"frames/clip7_{frame:03}.jpg", "height": HEIGHT, "width": WIDTH})
        if runs:
            flat = MASKS[frame].T.ravel()
            edges = np.flatnonzero(np.diff(flat)) + 1
            counts = np.diff([0, *edges, flat.size]).tolist()
            segmentation: Any = {"size": [HEIGHT, WIDTH], "counts": counts}
        else:
            segmentation = [[value for point in outline(MASKS[frame]) for value in point]]
        common = {"image_id": number, "iscrowd": int(runs), "area": 1.0, "bbox": [0, 0, 1, 1]}
        annotations.append({"id": 2 * number, "category_id": 1, "segmentation": segmentation, **common})
        annotations.append({"id": 2 * number + 1, "category_id": 2, "segmentation": [[1, 1, 5, 1, 5, 5]], **common})
    images.append({"id": 9, "file_name": "frames/other_005.jpg", "height": 5, "width": 5})
    annotations.append({"id": 9, "image_id": 9, "category_id": 1, "segmentation": [[1, 1, 2, 1, 2, 2]]})
    categories = [{"id": 1, "name": "LV cavity"}, {"id": 2, "name": "left atrium"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("runs", [False, True])
def test_coco(tmp_path: Path, runs: bool) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(coco(runs)))
    masks = found(tmp_path / "labels.json")
    assert list(masks) == [ED, ES]
    for frame, mask in masks.items():
        assert dice(mask, MASKS[frame]) == 1.0


def labelme(frame: int, label: str = "left ventricle") -> dict[str, Any]:
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {"label": label, "points": outline(MASKS[frame]), "group_id": None, "shape_type": "polygon", "flags": {}},
            {"label": "mitral valve", "points": [[1, 2], [3, 4]], "group_id": None, "shape_type": "line", "flags": {}},
        ],
        "imagePath": f"..\\frames\\clip7_{frame}.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def test_labelme(tmp_path: Path) -> None:
    for frame in (ED, ES):
        (tmp_path / f"{frame}.json").write_text(json.dumps(labelme(frame)))
    masks = found(tmp_path)
    assert sorted(masks) == [ED, ES]
    for frame, mask in masks.items():
        assert dice(mask, MASKS[frame]) == 1.0


def cvat_points(frame: int) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in outline(MASKS[frame]))


def cvat_video() -> str:
    polygons = "".join(
        f'<polygon frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" points="{cvat_points(frame)}" z_order="0"></polygon>'
        for frame, keyframe, outside in ((ED, 1, 0), (5, 0, 0), (ES, 1, 0), (11, 1, 1))
    )
    size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    return (
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task>{size}</task></meta>'
        f'<track id="0" label="LV" source="manual">{polygons}</track></annotations>'
    )


def cvat_images() -> str:
    images = "".join(
        f'<image id="{number}" name="clip7/frame_{frame:06}.png" width="{WIDTH}" height="{HEIGHT}">'
        f'<polygon label="LV" occluded="0" points="{cvat_points(frame)}"></polygon></image>'
        for number, frame in enumerate((ED, ES))
    )
    return f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{images}</annotations>'


@pytest.mark.parametrize("text", [cvat_video(), cvat_images()])
def test_cvat(tmp_path: Path, text: str) -> None:
    """Of a track the drawn frames count, not those that CVAT put between them."""
    (tmp_path / "annotations.xml").write_text(text)
    masks = found(tmp_path / "annotations.xml")
    assert list(masks) == [ED, ES]
    for frame, mask in masks.items():
        assert dice(mask, MASKS[frame]) == 1.0


def test_chords_and_corners(tmp_path: Path) -> None:
    rows = ["FileName,X1,Y1,X2,Y2,Frame"]
    for frame, half in ((3, 15.0), (14, 9.0)):
        rows.append(f"clip7.avi,40,10,40,50,{frame}")
        heights = 10 + 40 * (np.arange(20) + 0.5) / 20
        widths = half * np.sqrt(1 - ((heights - 30) / 20) ** 2)
        rows += [f"clip7.avi,{40 - w},{y},{40 + w},{y},{frame}" for y, w in zip(heights, widths, strict=True)]
        rows.append(f"other.avi,1,1,2,2,{frame}")
    (tmp_path / "VolumeTracings.csv").write_text("\n".join(rows))
    masks = found(tmp_path / "VolumeTracings.csv")
    assert list(masks) == [3, 14]
    assert masks[3].sum() == pytest.approx(np.pi * 15 * 20, rel=0.1)
    assert masks[14].sum() == pytest.approx(np.pi * 9 * 20, rel=0.1)

    corners = "".join(f"{x - 0.5:.2f};{y - 0.5:.2f};End diastole\n".replace(".", ",") for x, y in outline(MASKS[ED]))
    (tmp_path / "own.csv").write_text("X;Y;Frame\n" + corners)
    assert dice(found(tmp_path / "own.csv")["ED"], MASKS[ED]) == 1.0


def seg(path: Path, *, fractional: bool = False) -> Path:
    """A DICOM segmentation of two frames of a clip, with a second segment."""
    from pydicom import Dataset, uid
    from pydicom.dataset import FileMetaDataset
    from pydicom.pixels import pack_bits

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = uid.SegmentationStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.5"
    dataset.Modality = "SEG"
    dataset.SegmentationType = "FRACTIONAL" if fractional else "BINARY"
    dataset.SegmentSequence = []
    for number, label in ((1, "Left Ventricle"), (2, "Left Atrium")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        dataset.SegmentSequence.append(segment)
    other = np.zeros((HEIGHT, WIDTH), bool)
    other[:4, :4] = True
    frames = [(1, ED, MASKS[ED]), (2, ED, other), (1, ES, MASKS[ES])]
    dataset.PerFrameFunctionalGroupsSequence = []
    for number, frame, _ in frames:
        identification, source, derivation, groups = Dataset(), Dataset(), Dataset(), Dataset()
        identification.ReferencedSegmentNumber = number
        source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = "1.2.3.4", frame + 1
        derivation.SourceImageSequence = [source]
        groups.SegmentIdentificationSequence, groups.DerivationImageSequence = [identification], [derivation]
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = HEIGHT, WIDTH, len(frames)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    pixels = np.stack([mask for *_, mask in frames]).astype(np.uint8)
    if fractional:
        dataset.MaximumFractionalValue, dataset.SegmentationFractionalType = 200, "PROBABILITY"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = (pixels * 180 + 10).astype(np.uint8).tobytes()
    else:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
        dataset.PixelData = pack_bits(pixels)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("fractional", [False, True])
def test_dicom_segmentation(tmp_path: Path, fractional: bool) -> None:
    masks = found(seg(tmp_path / "clip7_seg", fractional=fractional))
    assert list(masks) == [ED, ES]
    for frame, mask in masks.items():
        np.testing.assert_array_equal(mask, MASKS[frame])


# ------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"no picture", "is not a picture"),
        ("a.nii", b"no image at all", "NIfTI|cut off"),
        ("a.nii.gz", b"\x1f\x8b broken", "cut off or damaged|not a NIfTI"),
        ("a.json", b"{", "not readable JSON"),
        ("a.json", b"[1]", "neither COCO"),
        ("a.json", b'{"images": [], "annotations": [{}]}', "lacks what its format needs"),
        ("a.json", b'{"shapes": [{"label": "lv", "points": [[1, 2]]}]}', "three corners"),
        ("a.json", b'{"shapes": [{"label": "a", "points": []}, {"label": "b", "points": []}]}', "which is the left"),
        ("a.json", b'{"shapes": [], "imageHeight": 9, "imageWidth": 9}', "9x9 pixels, the video has 60x80"),
        ("a.xml", b"<annotations>", "not readable XML"),
        ("a.xml", b"<html></html>", "no export of CVAT"),
        ("a.xml", b'<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "entities"),
        ("a.xml", b'<annotations><track label="LV"><polygon frame="x" points="1,1"/></track></annotations>', "lacks"),
        ("a.csv", b"a,b\n1,2\n", "no column frame"),
        ("a.csv", b"X,Y,Frame\n1,2,3\n1,x,3\n", "line 3: a coordinate"),
        ("a.csv", b"X,Y,Frame\n1,2,first\n", "no frame number"),
        ("a.dcm", b"\0" * 128 + b"DICM" + b"\1\2\3", "segmentation"),
        ("a.txt", b"1", "no mask or contour"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EchocycleError, match=words) as caught:
        read_contours(tmp_path / name, WANTED)
    assert name in str(caught.value)


def test_another_size_is_refused_not_scaled(tmp_path: Path) -> None:
    import nibabel

    write_png(tmp_path / "ED.png", MASKS[ED][:50].astype(np.uint8))
    with pytest.raises(EchocycleError, match="50x80 pixels, the video has 60x80"):
        read_contours(tmp_path / "ED.png", WANTED)
    nibabel.save(nibabel.Nifti1Image(np.ones((WIDTH, HEIGHT, 7), np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(EchocycleError, match="7 frames, the video 30"):
        read_contours(tmp_path / "a.nii", WANTED)
    write_png(tmp_path / "colours.png", np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3))
    with pytest.raises(EchocycleError, match="colour picture"):
        read_contours(tmp_path / "colours.png", WANTED)
    write_png(tmp_path / "grey.png", np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH))
    with pytest.raises(EchocycleError, match="holds 256 values"):
        read_contours(tmp_path / "grey.png", WANTED)


def test_every_cut_of_every_format_is_our_error_or_fewer_masks(tmp_path: Path) -> None:
    """A file cut off anywhere never ends in another exception."""
    import nibabel

    files = [
        write_png(tmp_path / "f_0.png", MASKS[ED].astype(np.uint8)),
        seg(tmp_path / "s.dcm"),
    ]
    nibabel.save(nibabel.Nifti1Image(MASKS[ED].T.astype(np.uint8), np.eye(4)), tmp_path / "n.nii.gz")
    files.append(tmp_path / "n.nii.gz")
    for name, text in {"c.json": json.dumps(coco()), "l.json": json.dumps(labelme(0)), "v.xml": cvat_video()}.items():
        (tmp_path / name).write_text(text)
        files.append(tmp_path / name)
    read = refused = 0
    for file in files:
        whole = file.read_bytes()
        for share in np.linspace(0.02, 0.98, 25):
            file.write_bytes(whole[: int(len(whole) * share)])
            try:
                read_contours(file, WANTED)
                read += 1
            except EchocycleError as error:
                assert file.name in str(error)
                refused += 1
    assert refused > 0.9 * (read + refused)


# ------------------------------------------------------------------------------------------------ which is which


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        (["anything"], {"anything"}),
        (["LV", "LA"], {"LV"}),
        (["LV_ED", "LV_ES", "RV"], {"LV_ED", "LV_ES"}),
        (["left ventricle", "left atrium", "right ventricle"], {"left ventricle"}),
        (["LV endo", "LV epi", "lv myocardium"], {"LV endo"}),
        (["Endocardium", "Epicardium"], {"Endocardium"}),
        (["ED", "ES"], {"ED", "ES"}),
    ],
)
def test_the_label_of_the_ventricle(labels: list[str], ours: set[str]) -> None:
    assert ventricle_labels(Path("x"), labels) == ours


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        ("LV_ED", "ED"),
        ("p1 es.png", "ES"),
        ("end-diastole", "ED"),
        ("end systolic", "ES"),
        ("red", ""),
        ("ED and ES", ""),
    ],
)
def test_phases_in_names(text: str, phase: str) -> None:
    assert phase_of(text) == phase


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("clip7_0012.png", 12),
        ("clip7.png", None),
        ("frame3.png", 3),
        ("CLIP7-ed.png", None),
        ("20240101123055.png", None),
    ],
)
def test_frame_numbers_in_names(name: str, frame: int | None) -> None:
    assert frame_after(name, WANTED) == frame


def record(contours: list[tuple[str, Path]], ed: int = -1, es: int = -1) -> Record:
    nan = float("nan")
    return Record("clip7", Path("clip7.avi"), "p", "train", 50, nan, nan, nan, 0, 0, 0, (), "", ed, es, tuple(contours))


def test_ed_and_es_by_area_by_list_and_by_name(tmp_path: Path) -> None:
    def pair(made: Record) -> tuple[int, int]:
        result = contour_pair(made, FRAMES, HEIGHT, WIDTH)
        assert isinstance(result, TracedPair), result
        np.testing.assert_array_equal(result.masks, [MASKS[result.ed_frame], MASKS[result.es_frame]])
        return result.ed_frame, result.es_frame

    for frame in (0, 3, 6, 9):
        write_png(tmp_path / "all" / f"{frame}.png", MASKS[frame].astype(np.uint8))
    assert pair(record([("", tmp_path / "all")])) == (0, 9)
    assert pair(record([("", tmp_path / "all")], 3, 6)) == (3, 6)
    ed, es = (write_png(tmp_path / f"{n}.png", MASKS[f].astype(np.uint8)) for n, f in (("diastole", 0), ("systole", 9)))
    assert pair(record([("ED", ed), ("ES", es)], 0, 9)) == (0, 9)
    assert pair(record([("", ed), ("", es)], 0, 9)) == (0, 9)


def test_labels_for_one_frame_or_none_leave_a_video_untraced(tmp_path: Path) -> None:
    one = write_png(tmp_path / "3.png", MASKS[3].astype(np.uint8))
    for contours in ([("", one)], [("ED", one)]):
        result = contour_pair(record(contours), FRAMES, HEIGHT, WIDTH)
        assert isinstance(result, Finding)
        assert (result.level, result.kind) == ("warning", "one-traced-frame")
    late = [("ED", one), ("ES", write_png(tmp_path / "99.png", MASKS[9].astype(np.uint8)))]
    result = contour_pair(record(late), FRAMES, HEIGHT, WIDTH)
    assert isinstance(result, Finding)
    assert result.kind == "contour-frame-wrong"
    result = contour_pair(record([("", tmp_path / "gone.png")]), FRAMES, HEIGHT, WIDTH)
    assert isinstance(result, Finding)
    assert result.kind == "contour-unreadable"


def test_exchanged_ed_and_es_are_said(tmp_path: Path) -> None:
    for frame in (ED, ES):
        write_png(tmp_path / f"{frame}.png", MASKS[frame].astype(np.uint8))
    result = contour_pair(record([("", tmp_path)], ES, ED), FRAMES, HEIGHT, WIDTH)
    assert isinstance(result, TracedPair)
    assert [note.kind for note in result.notes] == ["es-larger-than-ed"]


# --------------------------------------------------------------------------------------------------- any content


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.png", "a.nii", "a.nii.gz", "a.json", "a.xml", "a.csv", "a.dcm"]),
    head=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b", b"{", b"<annotations>", b"X,Y,Frame\n", b"\0" * 128 + b"DICM"]
    ),
    body=st.binary(max_size=200),
)
def test_any_bytes_give_masks_or_our_error(tmp_path: Path, name: str, head: bytes, body: bytes) -> None:
    (tmp_path / name).write_bytes(head + body)
    try:
        traced = read_contours(tmp_path / name, WANTED)
    except EchocycleError as error:
        assert name in str(error)
    else:
        assert all(each.mask.shape == (HEIGHT, WIDTH) for each in traced)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.sampled_from(["lv", "ed", "clip7_3.png", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["shapes", "label", "points", "shape_type", "imagePath", "images", "annotations", "id", "image_id"]
                + [
                    "file_name",
                    "segmentation",
                    "category_id",
                    "categories",
                    "name",
                    "counts",
                    "size",
                    "height",
                    "frame",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.dictionaries(st.sampled_from(["shapes", "images", "annotations", "categories"]), JSON, min_size=1))
def test_any_json_gives_masks_or_our_error(tmp_path: Path, content: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    try:
        read_contours(tmp_path / "a.json", WANTED)
    except EchocycleError as error:
        assert "a.json" in str(error)


def test_a_header_that_promises_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    import gzip

    import nibabel

    nibabel.save(nibabel.Nifti1Image(MASKS[ED].T.astype(np.uint8), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[40:48] = np.array([3, 32767, 32767, 32767], "<i2").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(EchocycleError, match="32767x32767"):
        read_contours(tmp_path / "a.nii.gz", WANTED)


def test_compressed_run_lengths_of_coco(tmp_path: Path) -> None:
    """As pycocotools and CVAT write them; a text that fills no picture is one sentence."""
    from pycocotools import mask as coco

    counts = coco.encode(np.asfortranarray(MASKS[ED].astype(np.uint8)))["counts"].decode()

    def write(text: str) -> Path:
        content = {
            "images": [{"id": 1, "file_name": "clip7_frame_000.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": [
                {"image_id": 1, "category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": text}}
            ],
            "categories": [{"id": 1, "name": "LV"}],
        }
        (tmp_path / "coco.json").write_text(json.dumps(content))
        return tmp_path / "coco.json"

    np.testing.assert_array_equal(found(write(counts))[ED], MASKS[ED])
    for text in (counts + counts, "zzzzzz" * 50, "é"):
        with pytest.raises(EchocycleError, match="do not fill the picture"):
            found(write(text))
