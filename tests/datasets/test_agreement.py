"""List against recording, tracing against picture and label: every difference is said, with both values."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.fan import fan, save_cine

from echocycle.datasets.agreement import check_orientation, compare_with_label, compare_with_picture
from echocycle.datasets.decode import decode_video, reader_settings
from echocycle.datasets.echonet import read_echonet
from echocycle.datasets.findings import Finding
from echocycle.settings.stages import PrepareSettings

HERE = PrepareSettings(workers=0)
Notes = dict[str, str]


def noting(compare: Callable[..., None], *arguments: object) -> Notes:
    notes: Notes = {}
    compare(*arguments, lambda level, kind, message: notes.update({kind: message}))
    return notes


def decoded(root: Path, listed: str, tracings: str = "", *, height: int = 112, width: int = 112) -> dict[str, Finding]:
    """What decoding one video of 40 frames at 50 a second finds, besides notes."""
    save_cine(root / "Videos" / "v.dcm", fan(40, height, width)[0])
    (root / "FileList.csv").write_text(listed)
    if tracings:
        (root / "VolumeTracings.csv").write_text(tracings)
    (record,) = read_echonet(root, reader_settings(HERE)).records
    return {finding.kind: finding for finding in decode_video((record, HERE)).findings if finding.level != "note"}


def test_frames_rate_and_size_against_the_list(tmp_path: Path) -> None:
    listed = "FileName,EF,Split,NumberOfFrames,FPS,FrameHeight,FrameWidth\nv,50,TRAIN,200,25,600,800\n"
    found = decoded(tmp_path, listed)
    assert set(found) == {"frames-differ", "fps-differs", "size-differs"}
    assert all(finding.level == "warning" for finding in found.values())
    assert "200 listed, 40 decoded" in found["frames-differ"].message
    assert "25 listed, 50 in the video" in found["fps-differs"].message
    assert "600x800 listed, 112x112 decoded" in found["size-differs"].message


def test_a_list_that_agrees_is_silent(tmp_path: Path) -> None:
    listed = "FileName,EF,Split,NumberOfFrames,FPS,FrameHeight,FrameWidth\nv,50,TRAIN,40,50.5,112,112\n"
    assert decoded(tmp_path, listed) == {}


def chords(change: Callable[[float, float], tuple[float, float]]) -> str:
    """Tracings of the 112 x 112 fan at frames 0 and 10, each point changed."""
    rows = ["FileName,X1,Y1,X2,Y2,Frame"]
    for frame, half in ((0, 18.0), (10, 11.0)):
        heights = 30 + 50 * (np.arange(20) + 0.5) / 20
        widths = half * np.sqrt(1 - ((heights - 55) / 25) ** 2)
        lines = [(56.0, 30.0, 56.0, 80.0), *((56 - w, y, 56 + w, y) for y, w in zip(heights, widths, strict=True))]
        rows += [
            f"v,{','.join(f'{value:.3f}' for value in (*change(x1, y1), *change(x2, y2)))},{frame}"
            for x1, y1, x2, y2 in lines
        ]
    return "\n".join(rows) + "\n"


LISTED = "FileName,EF,Split\nv,50,TRAIN\n"


def test_coordinates_of_another_size_are_named(tmp_path: Path) -> None:
    found = decoded(tmp_path, LISTED, chords(lambda x, y: (x, y)), height=240, width=320)
    assert "are they those of a 112x112 picture?" in found["tracing-outside-picture"].message
    assert "240x320" in found["tracing-outside-picture"].message


def test_coordinates_that_fit_are_silent(tmp_path: Path) -> None:
    scaled = chords(lambda x, y: (x * 320 / 112, y * 240 / 112))
    assert "tracing-outside-picture" not in decoded(tmp_path / "large", LISTED, scaled, height=240, width=320)
    assert "tracing-outside-picture" not in decoded(tmp_path / "small", LISTED, chords(lambda x, y: (x, y)))


def test_exchanged_coordinates_are_named(tmp_path: Path) -> None:
    """Seen in the list alone where the axis lies across, and in the picture where the tracing leaves it."""
    exchanged = chords(lambda x, y: (y, x))
    decoded(tmp_path / "a", LISTED, exchanged)
    kinds = {finding.kind for finding in read_echonet(tmp_path / "a").findings}
    assert "tracing-lies-across" in kinds
    assert "tracing-lies-across" not in {f.kind for f in read_echonet(_upright(tmp_path / "b")).findings}
    frames, masks = fan(20, 100, 200)
    swapped = np.zeros_like(masks[[0, 10]])
    swapped[:, :100, :100] = masks[[0, 10], :, 50:150].swapaxes(1, 2)
    beside = np.roll(swapped, -40, axis=2)
    notes = noting(compare_with_picture, frames, beside, None)
    assert "tracing-outside-picture" in notes


def _upright(root: Path) -> Path:
    decoded(root, LISTED, chords(lambda x, y: (x, y)))
    return root


def test_a_dark_cavity_is_inside_the_picture() -> None:
    frames, masks = fan(20)
    frames[:, masks.any(axis=0)] = 0
    assert noting(compare_with_picture, frames, masks[[0, 10]], None) == {}
    assert noting(compare_with_picture, np.zeros_like(frames), masks[[0, 10]], None) == {}


def test_discs_that_contradict_the_label() -> None:
    masks = fan(20)[1][[0, 10]]
    right = noting(compare_with_label, masks, 70.0, (math.nan, math.nan))
    assert right == {}
    wrong = noting(compare_with_label, masks, 10.0, (0.5, 0.5))
    assert "10 % listed" in wrong["discs-contradict-ef"]
    assert noting(compare_with_label, masks, math.nan, (0.5, 0.5)) == {}


@pytest.mark.parametrize(("turns", "said"), [(0, ""), (1, "left"), (2, "bottom"), (3, "right")])
def test_turned_pictures(tmp_path: Path, turns: int, said: str) -> None:
    """Also in a picture that is cut, where the cut itself looks for a sector that points up."""
    frames = np.ascontiguousarray(np.rot90(fan(20, 200, 260)[0], turns, axes=(1, 2)))
    assert tip_of_decoded(tmp_path, frames) == bool(said)
    notes = noting(check_orientation, frames)
    assert ("sector-turned" in notes) == bool(said)
    assert said in notes.get("sector-turned", "")


def tip_of_decoded(root: Path, frames: np.ndarray) -> bool:
    """Whether decoding a folder with this video says that it is turned."""
    save_cine(root / "Videos" / "v.dcm", frames)
    (root / "FileList.csv").write_text(LISTED)
    (record,) = read_echonet(root, reader_settings(HERE)).records
    return "sector-turned" in {finding.kind for finding in decode_video((record, HERE)).findings}
