"""`check` says what would go wrong, file by file, before hours are spent; and ends with 1 where training would fail."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fan import fan, save_cine

from echocycle import stages
from echocycle.cli import main
from echocycle.datasets.check import examine
from echocycle.datasets.open import layout_of, open_source
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import Finding
from echocycle.settings.stages import PrepareSettings

HERE = PrepareSettings(workers=0)


def own(root: Path, rows: str, clips: dict[str, np.ndarray], heading: str = "file,EF,split") -> Path:
    for name, frames in clips.items():
        save_cine(root / f"{name}.dcm", frames)
    (root / "videos.csv").write_text(f"{heading}\n{rows}")
    return root


def clips(names: str, frames: int = 70) -> dict[str, np.ndarray]:
    return {name: fan(frames, seed=number)[0] for number, name in enumerate(names)}


def kinds(root: Path, *, decode: bool = True, settings: PrepareSettings = HERE) -> dict[str, str]:
    report = examine(layout_of(root), open_source(root, settings), settings, decode=decode)
    return {finding.kind: finding.level for finding in (*report.listing, *(report.decoding or ()))}


def test_a_folder_that_can_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = own(tmp_path / "own", "a.dcm,50,train\nb.dcm,55,val\nc.dcm,45,test\n", clips("abcd"))
    report = stages.check(root, HERE, decode=True)
    assert report["can_train"]
    assert report["errors"] == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "4 videos, a folder of recordings" in said
    assert "on disk (4 videos, 280 frames)" in said


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ("a.dcm,,train\nb.dcm,55,val\n", "no-training-label"),
        ("a.dcm,50,train\nb.dcm,,val\n", "no-validation-label"),
        ("a.dcm,0.5,train\nb.dcm,0.6,val\n", "ef-looks-like-fraction"),
        ("a.dcm,50,train\na.dcm,50,train\nb.dcm,55,val\n", "duplicate-name"),
        ("a.dcm,50,train\nb.dcm,55,val\nz.dcm,50,train\n", "video-missing"),
    ],
)
def test_what_ends_with_1(tmp_path: Path, rows: str, kind: str) -> None:
    root = own(tmp_path / "own", rows, clips("ab"))
    with pytest.raises(Finding, match=kind) as caught:
        stages.check(root, HERE)
    assert caught.value.exit_code == 1


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = own(tmp_path / "own", "a.dcm,50,train\nb.dcm,,val\n", clips("ab"))
    with pytest.raises(Finding):
        stages.check(root, HERE, decode=True, json=True)
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed["layout"] == "videos"
    assert not printed["can_train"]
    assert printed["errors"] == 1
    assert printed["prepare"]["frames"] == 140
    first = printed["findings"][0]
    assert (first["level"], first["kind"]) == ("error", "no-validation-label")
    assert "Give EF and the split `val`" in first["message"]
    assert {finding["level"] for finding in printed["decoding"]} <= {"note"}


def test_the_size_of_the_store_is_told_before_it_is_made(tmp_path: Path) -> None:
    """From the videos themselves with `--decode`, from three of them without."""
    root = own(tmp_path / "own", "a.dcm,50,train\nb.dcm,55,val\n", clips("abcde", 40))
    told = [
        examine("videos", open_source(root, HERE), HERE, decode=decode).estimate.store_bytes for decode in (False, True)
    ]
    store = prepare_store(root, tmp_path / "store", HERE)
    taken = sum((store.path / name).stat().st_size for name in ("frames.u8", "traces.npy"))
    assert told == pytest.approx([taken, taken], rel=0.01)


def test_short_clips(tmp_path: Path) -> None:
    rows = "a.dcm,50,train\nb.dcm,55,val\n"
    assert kinds(own(tmp_path / "short", rows, clips("ab", 20)))["shorter-than-a-clip"] == "warning"
    traced = "file,EF,split,mask\na.dcm,50,train,m\nb.dcm,55,val,\n"
    root = own(tmp_path / "traced", "", clips("ab", 70))
    (root / "videos.csv").write_text(traced)
    (root / "m").mkdir()
    from PIL import Image

    for frame in (0, 10):
        Image.fromarray(fan(20)[1][frame]).save(root / "m" / f"{frame}.png")
    assert kinds(root)["too-short-for-css"] == "error"
    for name, frames in clips("ab", 90).items():
        save_cine(root / f"{name}.dcm", frames)
    assert kinds(root)["too-short-for-css-of-the-paper"] == "note"


def test_near_duplicates_across_splits(tmp_path: Path) -> None:
    frames = fan(70)[0]
    root = own(tmp_path, "a.dcm,50,train\nb.dcm,55,val\n", {"a": frames, "b": frames[6:], "c": fan(70, seed=3)[0]})
    assert kinds(root)["near-duplicates-in-splits"] == "warning"


def test_a_mirrored_video_among_many(tmp_path: Path) -> None:
    """Every ventricle lies left of the middle, one right of it."""
    root = tmp_path / "own"
    rows, tracings = ["FileName,EF,Split"], ["FileName,X1,Y1,X2,Y2,Frame"]
    for number in range(10):
        save_cine(root / "Videos" / f"v{number}.dcm", fan(12, seed=number)[0])
        rows.append(f"v{number},60,{'VAL' if number == 9 else 'TRAIN'}")
        x = 70 if number == 4 else 42
        for frame, half in ((0, 12), (10, 8)):
            tracings.append(f"v{number},{x},30,{x},80,{frame}")
            tracings += [f"v{number},{x - half},{30 + 2.5 * k},{x + half},{30 + 2.5 * k},{frame}" for k in range(20)]
    (root / "FileList.csv").write_text("\n".join(rows))
    (root / "VolumeTracings.csv").write_text("\n".join(tracings))
    report = examine("echonet", open_source(root, HERE), HERE, decode=True)
    (found,) = [finding for finding in report.decoding or () if finding.kind == "left-right-flip"]
    assert found.names == ("v4",)
    assert "lies on the right of the picture" in found.message


def test_a_damaged_video_is_found_by_reading_only(tmp_path: Path) -> None:
    root = own(tmp_path, "a.dcm,50,train\nb.dcm,55,val\n", clips("ab"))
    whole = (root / "b.dcm").read_bytes()
    (root / "b.dcm").write_bytes(whole[: len(whole) // 2])
    assert "video-unreadable" not in kinds(root, decode=False)
    assert kinds(root)["video-unreadable"] == "error"


def test_the_forecast_of_train_is_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time, memory and disk of `train`, also below a report of errors."""
    root = own(tmp_path / "own", "a.dcm,50,train\nb.dcm,55,val\nz.dcm,50,train\n", clips("ab"))
    assert main(["--preset", "debug", "check", str(root), "--forecast"]) == 1
    said = capsys.readouterr()
    assert "video-missing" in said.err
    lines = said.out.splitlines()
    assert any(line.startswith("Time: about") for line in lines)
    assert any(line.startswith("Memory: about") for line in lines)
    assert any(line.startswith("Disk: about") for line in lines)
    assert main(["--preset", "debug", "check", str(root)]) == 1
    said = capsys.readouterr()
    assert "Time: about" not in said.out
    assert "`check --forecast`" in " ".join(said.err.split())
    assert main(["check", str(root), "--forecast", "--json"]) == 2
