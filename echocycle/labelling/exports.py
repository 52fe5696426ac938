"""Labels as files that others read: the plain layout `videos`, EchoNet-Dynamic's two lists, JSON, COCO."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echocycle import __version__
from echocycle.datasets.folders import distinct_names
from echocycle.errors import EchocycleError
from echocycle.files import replacing, write_text
from echocycle.labelling.curve import Contour
from echocycle.labelling.desk import Desk
from echocycle.labelling.frames import Facts
from echocycle.labelling.labels import PHASES, Label
from echocycle.labelling.project import Video

COLUMNS = ("File", "EF", "EDV", "ESV", "Patient", "Split", "ED frame", "ES frame", "contour", "Reader", "State")
CHORDS = 20
NEAREST_END = 0.01
"""Share of the long axis between its ends and the outermost chords."""


@dataclass(frozen=True)
class Labelled:
    """One labelled video: the tracing that counts, and what is measured in it."""

    video: Video
    facts: Facts
    reader: str
    label: Label
    state: str
    ef: float | None
    """The EF that is known, else that by discs; None where neither can be one."""
    edv_ml: float | None
    esv_ml: float | None


def labelled_videos(desk: Desk) -> list[Labelled]:
    """All videos of the project that have a tracing of both phases and are not skipped, by name.

    A recording that cannot be read any more is left out, and noted in the desk's `unreadable`.
    """
    found = []
    desk.unreadable.clear()
    for video in sorted(desk.project.videos.values(), key=lambda each: each.name):
        chosen = desk.labels.of(video.id).chosen()
        if chosen is None or desk.state(video.id) == "skipped":
            continue
        reader, label = chosen
        assert label.ed is not None
        assert label.es is not None
        try:
            facts = desk.frames.facts(video.id)
        except EchocycleError as error:  # one that was changed or damaged since leaves the others as they are
            desk.unreadable[video.id] = str(error)
            continue
        measured = desk.measured(video.id) or {"ef": None, "unit": ""}  # without a long axis there are masks, and no EF
        discs, edv, esv = measured["ef"], None, None
        if measured["unit"] == "ml" and 0 <= measured["esv"] <= measured["edv"]:
            edv, esv = measured["edv"], measured["esv"]
        known = desk.ef_known(video.id)
        ef = known if known is not None else discs
        ef = ef if ef is not None and 0 <= ef <= 100 else None
        found.append(Labelled(video, facts, reader, label, desk.state(video.id), ef, edv, esv))
    return found


# ----------------------------------------------------------------------------------------------------- plain


def plain_row(each: Labelled, file: str, contour: str) -> dict[str, Any]:
    """A row of the layout `videos`."""
    return {
        "File": file,
        "EF": _number(each.ef),
        "EDV": _number(each.edv_ml),
        "ESV": _number(each.esv_ml),
        "Patient": each.video.patient or "",
        "Split": each.video.split or "",
        "ED frame": each.label.ed and each.label.ed.frame,
        "ES frame": each.label.es and each.label.es.frame,
        "contour": contour,
        "Reader": each.reader,
        "State": each.state,
    }


def contour_csv(label: Label) -> str:
    """Both curves as corners (Frame, X, Y); as in EchoNet's lists (0, 0) is the centre of the first pixel."""
    rows = []
    for phase in PHASES:
        contour: Contour | None = getattr(label, phase)
        if contour is not None:
            rows += [(contour.frame, f"{x - 0.5:.3f}", f"{y - 0.5:.3f}") for x, y in contour.curve()]
    return table_text(("Frame", "X", "Y"), rows)


def write_plain(desk: Desk, written: dict[str, int]) -> None:
    """Bring labels/labels.csv and labels/contours/ up to date.

    Args:
        written: video -> entry of the journal that its file is of; kept by the caller from call to call.
    """
    folder = desk.project.folder / "labels"
    videos = labelled_videos(desk)
    for each in videos:
        if written.get(each.video.id) != each.label.n:
            write_text(folder / "contours" / f"{each.video.id}.csv", contour_csv(each.label))
            written[each.video.id] = each.label.n
    now = {each.video.id for each in videos}
    if (folder / "contours").is_dir():
        for path in (folder / "contours").glob("*.csv"):
            if path.stem not in now:
                path.unlink()
                written.pop(path.stem, None)
    write_text(folder / "labels.csv", plain_table(videos))


def plain_table(videos: Sequence[Labelled]) -> str:
    """The list of layout `videos`; paths are relative to the project."""
    rows = [plain_row(each, each.video.name, f"labels/contours/{each.video.id}.csv") for each in videos]
    return table_text(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])


def table_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


# --------------------------------------------------------------------------------------------------- EchoNet


def echonet_tables(videos: Sequence[Labelled], names: dict[str, str]) -> tuple[str, str]:
    """FileList.csv and VolumeTracings.csv."""
    listed, chords = [], []
    for each in videos:
        name, facts = names[each.video.id], each.facts
        numbers = (_number(each.ef), _number(each.esv_ml), _number(each.edv_ml))
        fps = "" if facts.fps is None else f"{facts.fps:g}"
        split = (each.video.split or "").upper()
        listed.append((name, *numbers, facts.height, facts.width, fps, facts.n_frames, split))
        for phase in PHASES:
            contour = getattr(each.label, phase)
            chords += [(name, *(f"{v:.3f}" for v in chord), contour.frame) for chord in chords_of(contour)]
    head = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
    return table_text(head, listed), table_text(("FileName", "X1", "Y1", "X2", "Y2", "Frame"), chords)


def chords_of(contour: Contour) -> np.ndarray:
    """(21, 4) x1, y1, x2, y2: the long axis from the apex to the middle of the mitral plane, then 20 chords across it
    from apex to base; (0, 0) is the centre of the first pixel."""
    points, curve = np.array(contour.points) - 0.5, contour.curve() - 0.5
    apex, base = points[contour.apex], points[list(contour.mitral)].mean(0)
    length = float(np.linalg.norm(base - apex))
    if not length > 0:
        raise EchocycleError("The long axis has no length.")
    along = (base - apex) / length
    across = np.array([-along[1], along[0]])
    s, t = (curve - apex) @ along, (curve - apex) @ across
    s_next, t_next = np.roll(s, -1), np.roll(t, -1)
    rows = [np.concatenate([apex, base])]
    for level in np.linspace(NEAREST_END, 1 - NEAREST_END, CHORDS) * length:
        crosses = (s <= level) != (s_next <= level)
        share = (level - s[crosses]) / (s_next[crosses] - s[crosses])
        found = t[crosses] + share * (t_next[crosses] - t[crosses])
        ends = (found.min(), found.max()) if len(found) else (0.0, 0.0)
        middle = apex + level * along
        rows.append(np.concatenate([middle + ends[0] * across, middle + ends[1] * across]))
    return np.stack(rows)


# ------------------------------------------------------------------------------------------------ JSON, COCO


def everything(desk: Desk) -> dict[str, Any]:
    """All readers' work on all videos, as JSON."""
    videos = []
    for video, labels in sorted(desk.labels.videos.items()):
        known = desk.project.videos.get(video)
        videos.append(
            {
                "id": video,
                "name": known.name if known else labels.file,
                "patient": known and known.patient,
                "split": known and known.split,
                "state": labels.state(False),
                "skip_reason": labels.reason or None,
                "readers": {name: label.as_json() for name, label in sorted(labels.readers.items())},
            }
        )
    return {
        "format": 1,
        "made_by": f"echocycle {__version__}",
        "points": "x, y in pixels; (0, 0) is the corner of the first pixel; handles of a closed Catmull-Rom curve",
        "videos": videos,
    }


def coco(videos: Sequence[Labelled], names: dict[str, str]) -> dict[str, Any]:
    """ED and ES of all videos as COCO polygons."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for each in videos:
        stem = Path(names[each.video.id]).stem
        for phase in PHASES:
            contour: Contour = getattr(each.label, phase)
            curve = np.round(contour.curve(), 3)
            low, high = curve.min(0), curve.max(0)
            x, y = curve[:, 0], curve[:, 1]
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "file_name": f"{stem}_frame_{contour.frame:04}_{phase.upper()}.png",
                    "height": each.facts.height,
                    "width": each.facts.width,
                    "frame": contour.frame,
                    "video": each.video.name,
                }
            )
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": [curve.ravel().tolist()],
                    "area": float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "LV"}]}


def file_names(videos: Sequence[Labelled], folder: Path) -> dict[str, str]:
    """Names of files that hold a video each in one folder, and differ: folders joined by `-`."""
    inside = [each.video.path for each in videos if each.video.path.is_relative_to(folder)]
    names = distinct_names(folder, inside)
    return {
        each.video.id: names.get(each.video.path, each.video.id) + each.video.path.suffix.lower() for each in videos
    }


def export(desk: Desk) -> bytes:
    """A zip of all formats: plain, EchoNet, JSON, COCO."""
    videos = labelled_videos(desk)
    names = file_names(videos, desk.project.folder)
    listed, tracings = echonet_tables(videos, names)
    texts = {
        "videos/videos.csv": plain_table(videos),
        **{f"videos/labels/contours/{each.video.id}.csv": contour_csv(each.label) for each in videos},
        "echonet/FileList.csv": listed,
        "echonet/VolumeTracings.csv": tracings,
        "labels.json": json.dumps(everything(desk), indent=1),
        "coco.json": json.dumps(coco(videos, names)),
        "README.txt": README,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def export_to(desk: Desk, path: Path) -> None:
    """`export` into a file."""
    with replacing(path) as temporary:
        temporary.write_bytes(export(desk))


README = """Labels made with `echocycle label`.

videos/       copy its content beside the recordings: layout `videos` of echocycle (videos.csv, contours)
echonet/      EchoNet-Dynamic's FileList.csv and VolumeTracings.csv; the recordings go into Videos/ under those names
labels.json   every reader's handles, EF, notes
coco.json     polygons of ED and ES
"""
