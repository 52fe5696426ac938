"""Polygons of annotation tools: COCO and labelme (JSON), CVAT (XML)."""

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from echocycle.datasets.contours.traced import (
    Traced,
    Wanted,
    check_size,
    fill,
    frame_after,
    of_this_video,
    phase_of,
    ventricle_labels,
)
from echocycle.errors import EchocycleError

Mask = NDArray[np.bool_]


def read_json_contours(path: Path, wanted: Wanted) -> list[Traced]:
    """COCO or labelme, whichever a JSON file is."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EchocycleError(f"{path} is not readable JSON ({error}). Export it again.") from None
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        reader = _labelme
    elif isinstance(content, dict) and isinstance(content.get("annotations"), list):
        reader = _coco
    else:
        raise EchocycleError(f"{path} is neither COCO (with images and annotations) nor labelme (with shapes).")
    try:
        return reader(path, content, wanted)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise EchocycleError(f"{path} lacks what its format needs ({error!r}). Export it again.") from None


# ------------------------------------------------------------------------------------------------------ labelme


def _labelme(path: Path, content: dict[str, Any], wanted: Wanted) -> list[Traced]:
    """One frame a file; its number is in the name of the picture or of the file itself."""
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height and width:
        check_size(path, int(height), int(width), wanted)
    shapes = [shape for shape in content["shapes"] if shape.get("shape_type", "polygon") == "polygon"]
    labels = ventricle_labels(path, (str(shape["label"]) for shape in shapes))
    ours = [shape for shape in shapes if str(shape["label"]) in labels]
    frame = frame_after(re.split(r"[/\\]", str(content.get("imagePath") or ""))[-1], wanted)
    if frame is None:
        frame = frame_after(path.name, wanted)
    by_phase: dict[Any, Mask] = {}
    for shape in ours:
        phase = phase_of(str(shape["label"])) or phase_of(path.stem)
        mask = fill(path, shape["points"], wanted)
        by_phase[phase] = by_phase[phase] | mask if phase in by_phase else mask
    return [Traced(frame, phase, mask) for phase, mask in by_phase.items()]


# --------------------------------------------------------------------------------------------------------- COCO


def _coco(path: Path, content: dict[str, Any], wanted: Wanted) -> list[Traced]:
    """Annotations of the pictures that belong to the video; a picture's number in its name is the frame."""
    images = content["images"]
    mine = of_this_video([str(image["file_name"]) for image in images], wanted)
    here = {image["id"]: image for image, is_mine in zip(images, mine, strict=True) if is_mine}
    names = {category["id"]: str(category["name"]) for category in content.get("categories", [])}
    annotations = [annotation for annotation in content["annotations"] if annotation["image_id"] in here]
    label_of = [names.get(annotation.get("category_id"), "") for annotation in annotations]
    labels = ventricle_labels(path, label_of)
    found: dict[Any, tuple[int | None, Any, Mask]] = {}
    for annotation, label in zip(annotations, label_of, strict=True):
        if label not in labels:
            continue
        image = here[annotation["image_id"]]
        if image.get("height") and image.get("width"):
            check_size(path, int(image["height"]), int(image["width"]), wanted)
        told = image.get("frame_id", image.get("frame"))
        frame = int(told) if told is not None else frame_after(re.split(r"[/\\]", str(image["file_name"]))[-1], wanted)
        phase = phase_of(label) or phase_of(Path(str(image["file_name"])).stem)
        mask = _coco_mask(path, annotation["segmentation"], wanted)
        before = found.get(image["id"])
        found[image["id"]] = (frame, phase, mask if before is None else before[2] | mask)
    return [Traced(*each) for each in found.values()]


def _coco_mask(path: Path, segmentation: Any, wanted: Wanted) -> Mask:
    if isinstance(segmentation, list):
        masks = [fill(path, np.reshape(points, (-1, 2)).tolist(), wanted) for points in segmentation]
        return np.any(masks, axis=0) if masks else np.zeros((wanted.height, wanted.width), bool)
    counts = segmentation["counts"]
    height, width = segmentation["size"]
    check_size(path, int(height), int(width), wanted)
    if isinstance(counts, str):
        return _compressed(path, counts, wanted)
    if sum(counts) != wanted.height * wanted.width or min(counts) < 0:
        raise EchocycleError(f"{path} holds run lengths that do not fill the picture. Export it again.")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)  # outside first, column by column
    mask: Mask = flat.reshape(wanted.width, wanted.height).T
    return mask


def _compressed(path: Path, counts: str, wanted: Wanted) -> Mask:
    """A mask in COCO's compressed run lengths."""
    from pycocotools import mask as coco

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy 2, inside the library
            decoded = coco.decode({"size": [wanted.height, wanted.width], "counts": counts.encode("ascii")})
    except (ValueError, UnicodeEncodeError):
        decoded = None
    if decoded is None or decoded.shape != (wanted.height, wanted.width):
        raise EchocycleError(f"{path} holds compressed run lengths that do not fill the picture. Export it again.")
    mask: Mask = decoded.astype(bool)
    return mask


# --------------------------------------------------------------------------------------------------------- CVAT


def read_cvat(path: Path, wanted: Wanted) -> list[Traced]:
    """CVAT's XML, of a video (tracks, of which drawn frames count and not those between) or of pictures."""
    try:
        text = path.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise EchocycleError(f"{path} declares XML entities, which CVAT does not write; it is not opened.")
        root = ElementTree.fromstring(text)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise EchocycleError(f"{path} is not readable XML ({error}). Export it again from CVAT.") from None
    if root.tag != "annotations":
        raise EchocycleError(f"{path} is no export of CVAT: it begins with <{root.tag}>, not <annotations>.")
    try:
        return _cvat(path, root, wanted)
    except (KeyError, ValueError, TypeError) as error:
        raise EchocycleError(f"{path} lacks what CVAT writes ({error!r}). Export it again.") from None


def _cvat(path: Path, root: ElementTree.Element, wanted: Wanted) -> list[Traced]:
    size = root.find(".//original_size")
    if size is not None:
        check_size(path, int(size.findtext("height") or 0), int(size.findtext("width") or 0), wanted)
    drawn: list[tuple[str, int | None, str, str]] = []  # label, frame, name of the picture, points
    for track in root.iter("track"):
        for polygon in track.iter("polygon"):
            if polygon.get("outside", "0") == "0" and polygon.get("keyframe", "1") == "1":
                drawn.append((track.attrib["label"], int(polygon.attrib["frame"]), "", polygon.attrib["points"]))
    images = list(root.iter("image"))
    mine = of_this_video([image.get("name", "") for image in images], wanted)
    for image, is_mine in zip(images, mine, strict=True):
        name = re.split(r"[/\\]", image.get("name", ""))[-1]
        if is_mine and image.find("polygon") is not None:
            check_size(path, int(image.attrib["height"]), int(image.attrib["width"]), wanted)
            frame = frame_after(name, wanted)
            frame = int(image.attrib["id"]) if frame is None else frame
            drawn += [(p.attrib["label"], frame, name, p.attrib["points"]) for p in image.iter("polygon")]
    labels = ventricle_labels(path, (label for label, *_ in drawn))
    found: dict[Any, Traced] = {}
    for label, frame, name, points in drawn:
        if label in labels:
            phase = phase_of(label) or phase_of(Path(name).stem)
            mask = fill(path, _points(points), wanted)
            before = found.get((frame, phase))
            found[frame, phase] = Traced(frame, phase, mask if before is None else before.mask | mask)
    return list(found.values())


def _points(text: str) -> Sequence[Sequence[float]]:
    """`x,y;x,y` as pairs."""
    return [[float(value) for value in pair.split(",")] for pair in text.split(";") if pair]
