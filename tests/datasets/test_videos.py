"""A folder of one's own recordings, of any format and at any depth, with the list as people have it."""

import os
import shutil
import unicodedata
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fan import fan, save_cine
from helpers.recording_files import beating_fan, cine, save

from echocycle import stages
from echocycle.data.store import SIZE
from echocycle.datasets.check import decode_findings
from echocycle.datasets.decode import reader_settings
from echocycle.datasets.findings import Finding
from echocycle.datasets.open import DATASETS, layout_of, open_source
from echocycle.datasets.prepare import prepare_store
from echocycle.datasets.records import EchonetFolder, Record
from echocycle.datasets.videos import read_videos
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.recordings.video import read_video, write_mjpeg, write_mp4
from echocycle.settings.stages import PrepareSettings

HERE = PrepareSettings(workers=0)
FRAMES, MASKS = fan()


def touch(root: Path, *names: str) -> Path:
    """Recordings that nobody opens."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path, text: str = "", settings: PrepareSettings = HERE, name: str = "videos.csv") -> EchonetFolder:
    if text:
        (root / name).write_text(text, encoding="utf-8")
    return read_videos(root, reader_settings(settings))


def kinds(folder: EchonetFolder) -> dict[str, Finding]:
    return {finding.kind: finding for finding in folder.findings}


def by_name(folder: EchonetFolder) -> dict[str, Record]:
    return {record.name: record for record in folder.records}


# --------------------------------------------------------------------------------------------- which layout it is


def test_each_layout_is_recognised(tmp_path: Path) -> None:
    echonet = touch(tmp_path / "echonet", "Videos/a.avi")
    (echonet / "FileList.csv").write_text("FileName,EF,Split\na,50,TRAIN\n")
    camus = touch(tmp_path / "camus", "database_nifti/patient0001/patient0001_4CH_ED.nii.gz")
    videos = touch(tmp_path / "videos", "p1/a.dcm")
    foreign = touch(tmp_path / "foreign", "a.avi")
    (foreign / "FileList.csv").write_text("File,LVEF\na.avi,50\n")
    folders = (echonet, camus, videos, foreign)
    assert [layout_of(folder) for folder in folders] == ["echonet", "camus", "videos", "videos"]
    assert set(DATASETS) == {"echonet", "camus", "videos"}


def test_a_folder_beside_echonets_own_gets_its_advice(tmp_path: Path) -> None:
    """Given one level too high or too deep, its videos are not taken for unlabelled ones."""
    touch(tmp_path / "data", "Videos/a.avi")
    (tmp_path / "data" / "FileList.csv").write_text("FileName,EF,Split\na,50,TRAIN\n")
    with pytest.raises(EchocycleError, match="one further down; give .*data instead"):
        open_source(tmp_path, HERE)
    with pytest.raises(EchocycleError, match="in the folder above; give .*data instead"):
        open_source(tmp_path / "data" / "Videos", HERE)


# ------------------------------------------------------------------------------------------------------- the list


def test_without_a_list_every_recording_is_an_unlabelled_training_video(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "p1/a.dcm", "p1/.hidden.dcm", ".cache/x.avi", "notes.txt", "p2/scan.mov")
    (tmp_path / "labels.csv").write_text("file,EF\nb.mp4,50\n")
    folder = read(tmp_path)
    assert [record.name for record in folder.records] == ["b", "p1-a", "p2-scan"]
    assert [record.file for record in folder.records] == ["b.mp4", "p1/a.dcm", "p2/scan.mov"]
    assert {record.split for record in folder.records} == {"train"}
    assert kinds(folder)["no-list"].level == "warning"
    assert kinds(folder)["table-not-read"].names == ("labels.csv",)


def test_names_that_are_not_utf8_and_folders_of_results(tmp_path: Path) -> None:
    """An old export's name is escaped; what echocycle wrote into the folder is not read back."""
    root = tmp_path / "own"
    save_cine(root / "a.dcm", FRAMES)
    os.rename(root / "a.dcm", os.fsencode(root) + b"/Z\xfcrich.dcm")
    for folder, mark in (("run", "run.json"), ("store", "store.json"), ("half.partial", "started.json")):
        touch(root, f"{folder}/{mark}", f"{folder}/x.mp4")
    touch(root, "out/predictions.csv", "out/a.dcm.json", "out/a.dcm.overlay.mp4")
    store = prepare_store(root, tmp_path / "store", HERE)
    assert store.index["name"].tolist() == ["Z\\xfcrich"]
    assert store.index["file"].tolist() == ["Z\\xfcrich.dcm"]


def test_foreign_headings(tmp_path: Path) -> None:
    touch(tmp_path, *(f"v{number}.mp4" for number in range(4)))
    text = (
        "File;LVEF (%);LV EDV (ml);LVESV;subject_id;Subset;ED frame;ES frame;Remark\n"
        "v0.mp4;55,5 "
        "%;100;44,5;p1;Training;0;10;x\nv1.mp4;;;;p1;training;;;\nv2.mp4;60;;;p2;dev;;;\nv3.mp4;40;;;p3;test;;;\n"
    )
    folder = read(tmp_path, text)
    first, second, *_ = folder.records
    assert (first.ef, first.edv_ml, first.esv_ml, first.patient) == (55.5, 100, 44.5, "p1")
    assert (first.ed_frame, first.es_frame) == (0, 10)
    assert np.isnan(second.ef)
    assert [record.split for record in folder.records] == ["train", "train", "val", "test"]
    assert set(kinds(folder)) == {"extra-columns", "unlabelled"}


@pytest.mark.parametrize("name", ["videos.tsv", "FILELIST.CSV", "Videos.csv"])
def test_names_of_the_list(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.avi")
    assert read(tmp_path, "file\tef\tsplit\na.avi\t50\ttrain\n", name=name).records[0].ef == 50


def test_record_numbers_of_people_stay_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "b.avi", "c.avi")
    folder = read(tmp_path, "file,EF,MRN,split\na.avi,50,778899,train\nb.avi,51,12345,val\nc.avi,52,778899,train\n")
    assert [record.patient for record in folder.records] == ["patient-0001", "patient-0002", "patient-0001"]
    assert kinds(folder)["patients-numbered"].names == ("mrn",)


@pytest.mark.parametrize("heading", ["Patient", "subject_id", "MRN", "Patient ID", "case"])
def test_a_patient_in_several_splits_is_an_error(tmp_path: Path, heading: str) -> None:
    touch(tmp_path, "a.avi", "b.avi")
    folder = read(tmp_path, f"file,EF,{heading},split\na.avi,50,7,train\nb.avi,51,7,test\n")
    assert kinds(folder)["patient-in-several-splits"].level == "error"


def test_paths_of_every_kind_lead_to_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "p1/clip.dcm", "p2/clip.dcm", "p3/Scan.MP4", "x.mov", unicodedata.normalize("NFD", "Zoë.avi"))
    text = (
        "file,EF\np1\\clip.dcm,51\nD:\\export\\2026\\p2\\clip,52\np3/scan.mp4,53\n/mnt/nas/x.mov,54\nZoë.avi,55\n"
        "clip.dcm,56\np9/x.mov,57\n../x.mov,58\nx.mov,59\n"
    )
    folder = read(tmp_path, text)
    efs = {record.file: record.ef for record in folder.records}
    assert efs == {"p1/clip.dcm": 51, "p2/clip.dcm": 52, "p3/Scan.MP4": 53, "x.mov": 54, "Zoë.avi": 55} or efs == {
        "p1/clip.dcm": 51,
        "p2/clip.dcm": 52,
        "p3/Scan.MP4": 53,
        "x.mov": 54,
        unicodedata.normalize("NFD", "Zoë.avi"): 55,
    }
    found = kinds(folder)
    assert (found["name-unclear"].names, found["name-unclear"].lines) == (("clip.dcm",), (7,))
    assert found["video-missing"].names == ("../x.mov",)
    assert found["duplicate-name"].lines == (8, 10)
    assert found["name-spelt-otherwise"].names == ("p3/scan.mp4",)


def test_names_that_would_be_alike_in_the_store(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "a.dcm", "p/b.avi", "p-b.avi")
    assert sorted(record.name for record in read(tmp_path).records) == ["a.avi", "a.dcm", "p-b.avi", "p-b.avi-2"]


def test_bad_rows_are_left_out_and_not_taken_as_unlabelled(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "b.avi", "c.avi", "d.avi")
    text = "file,EF,split,ED frame,ES frame\na.avi,500,train,,\nb.avi,50,nowhere,,\nc.avi,50,train,3,3\nd.avi,50,train,1,2\n"
    folder = read(tmp_path, text)
    assert [record.name for record in folder.records] == ["d"]
    assert {"ef-out-of-range", "split-unknown", "frame-number-wrong"} <= set(kinds(folder))


def test_a_list_that_names_nothing_here(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi")
    with pytest.raises(EchocycleError, match=r"None of the 1 files listed in .* First: b.avi"):
        read(tmp_path, "file,EF\nb.avi,50\n")
    (tmp_path / "a.avi").unlink()
    with pytest.raises(EchocycleError, match="holds no recording"):
        read(tmp_path)


@pytest.mark.parametrize("unit", ["share", "percent", None])
def test_ef_as_a_share(tmp_path: Path, unit: str | None) -> None:
    touch(tmp_path, "a.avi", "b.avi")
    settings = PrepareSettings(workers=0, ef_unit=unit)  # type: ignore[arg-type]
    folder = read(tmp_path, "file,EF,split\na.avi,0.55,train\nb.avi,0.6,val\n", settings)
    efs = [record.ef for record in folder.records]
    if unit == "share":
        assert efs == pytest.approx([55, 60])
        assert not {"ef-looks-like-fraction", "ef-implausible"} & set(kinds(folder))
    elif unit == "percent":
        assert efs == [0.55, 0.6]
        assert kinds(folder)["ef-implausible"].names == ("a", "b")
    else:
        assert kinds(folder)["ef-looks-like-fraction"].level == "error"
        with pytest.raises(EchocycleError, match="--ef-unit share"):
            prepare_store(tmp_path, tmp_path.with_name("store"), HERE)
        assert not tmp_path.with_name("store").exists()


# ----------------------------------------------------------------------------------------- from files to the store


def test_every_format_comes_out_as_the_same_frames(tmp_path: Path) -> None:
    """What `predict` reads can be trained on, and says nothing about the patient."""
    root = tmp_path / "own"
    save_cine(root / "p1" / "IM_0001", FRAMES)
    save_cine(root / "p1" / "cine.dcm", fan(seed=1)[0])
    (root / "p2").mkdir()
    for name, writer in (("a.avi", write_mjpeg), ("b.mp4", write_mp4), ("c.mov", write_mp4)):
        writer(root / "p2" / name, FRAMES, 50)
    (root / "videos.csv").write_text("file,EF,split\np1/IM_0001,50,train\np2/b,51,val\n")
    store = prepare_store(root, tmp_path / "store", HERE)
    assert store.index["name"].tolist() == ["p1-IM_0001", "p2-b", "p1-cine", "p2-a", "p2-c"]
    assert store.index["annotation"].tolist() == ["ef", "ef", "none", "none", "none"]
    np.testing.assert_array_equal(store.frames(0), FRAMES)
    for video, name in ((1, "b.mp4"), (3, "a.avi"), (4, "c.mov")):
        np.testing.assert_array_equal(store.frames(video), read_video(root / "p2" / name).frames)
    text = b"".join(file.read_bytes() for file in store.path.rglob("*") if file.suffix not in (".u8", ""))
    assert b"Doe" not in text
    assert b"424242" not in text


def test_recordings_in_a_zip_and_beside_a_dicomdir(tmp_path: Path) -> None:
    """A zip is trained on as it is: the list names what is in it, with the archive's name or without."""
    root = tmp_path / "own"
    save_cine(root / "disc" / "IM_0001", FRAMES)
    save_cine(tmp_path / "IM_0002", fan(seed=1)[0])
    write_mjpeg(tmp_path / "c.avi", fan(seed=2)[0], 50)
    with zipfile.ZipFile(root / "study.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "IM_0002", "p2/IM_0002")
        archive.write(tmp_path / "c.avi", "c.avi")
        archive.writestr("../evil.avi", b"RIFF....AVI LIST")
        archive.writestr("torn.avi", b"RIFF....AVI LIST")
    rows = "IM_0001,50,train\np2\\IM_0002,51,val\nstudy.zip!/c,52,test\n"
    (root / "videos.csv").write_text(f"file,EF,split\n{rows}")
    before = sorted(root.rglob("*"))
    store = prepare_store(root, tmp_path / "store", HERE)
    assert sorted(root.rglob("*")) == before
    assert store.index["name"].tolist() == ["disc-IM_0001", "study-p2-IM_0002", "study-c"]
    assert store.index["file"].tolist() == ["disc/IM_0001", "study.zip!/p2/IM_0002", "study.zip!/c.avi"]
    assert store.index["split"].tolist() == ["train", "val", "test"]
    assert store.index["sha256"][1] == sha256(tmp_path / "IM_0002")
    np.testing.assert_array_equal(store.frames(1), fan(seed=1)[0])
    report = (store.path / "report.json").read_text()
    assert "leads out of the archive" in report
    assert "torn.avi cannot be opened as a video" in report


def test_echonets_layout_takes_dicom_and_mov(tmp_path: Path) -> None:
    root = tmp_path / "own"
    save_cine(root / "Videos" / "x.dcm", FRAMES)
    save_cine(root / "Videos" / "1.2.840.113", FRAMES)
    write_mp4(root / "Videos" / "y.mov", FRAMES, 50)
    rows = "x.dcm,50,TRAIN\n1.2.840.113,51,VAL\ny,52,TEST\n"
    (root / "FileList.csv").write_text(f"FileName,EF,Split\n{rows}")
    store = prepare_store(root, tmp_path / "store", HERE)
    assert store.index["file"].tolist() == ["x.dcm", "1.2.840.113", "y.mov"]
    np.testing.assert_array_equal(store.frames(0), FRAMES)
    np.testing.assert_array_equal(store.frames(1), FRAMES)


def test_one_bad_file_never_ends_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside a reader is one line, and the next recording is read."""
    root = tmp_path / "own"
    for name in ("a", "b", "c"):
        save_cine(root / f"{name}.dcm", FRAMES)
    from echocycle.recordings import recording

    original = recording.read_recording

    def failing(path: Path, **options: object) -> object:
        if path.name == "b.dcm":
            raise ZeroDivisionError("odd header")
        return original(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(recording, "read_recording", failing)
    store = prepare_store(root, tmp_path / "store", HERE)
    assert store.index["name"].tolist() == ["a", "c"]
    report = (store.path / "report.json").read_text()
    assert "b.dcm fails in an unexpected way (ZeroDivisionError" in report


def test_contours_of_a_listed_video_become_its_tracing(tmp_path: Path) -> None:
    from PIL import Image

    root = tmp_path / "own"
    large, masks = fan(height=224, width=224)
    save_cine(root / "a.dcm", FRAMES)
    save_cine(root / "b.dcm", large)
    for frame in (0, 10):
        for folder, mask in (("a", MASKS[frame]), ("b", masks[frame])):
            (root / "masks" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / folder / f"{frame:03}.png")
    (root / "videos.csv").write_text("file,EF,split,mask\na.dcm,50,train,masks/a\nb.dcm,50,train,masks\\b\n")
    with pytest.raises(EchocycleError, match="1 videos came as 112x112 pixels .*, 1 are cut .* --allow-mixed"):
        prepare_store(root, tmp_path / "store", HERE)
    found = {finding.kind: finding for finding in decode_findings(open_source(root, HERE), HERE)}
    assert (found["mixed-sources"].level, found["mixed-sources"].names) == ("error", ("a",))
    store = prepare_store(root, tmp_path / "store", replace(HERE, allow_mixed=True))
    assert store.index["annotation"].tolist() == ["traced", "traced"]
    assert store.index[["ed_frame", "es_frame"]].to_numpy().tolist() == [[0, 10], [0, 10]]
    np.testing.assert_array_equal(store.traced_masks(0), [MASKS[0], MASKS[10]])
    in_store = store.traced_masks(1)
    frames = store.frames(1)
    for mask, frame in zip(in_store, (0, 10), strict=True):  # the cavity is dark, and the mask went with it
        assert frames[frame][mask].mean() < 0.5 * frames[frame][~mask & (frames.max(axis=0) > 20)].mean()


def test_a_contour_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi")
    folder = read(tmp_path, "file,EF,split,contour\na.avi,50,train,gone.json\n")
    assert (kinds(folder)["contour-missing"].names, kinds(folder)["contour-missing"].lines) == (("gone.json",), (2,))
    assert not folder.records[0].is_traced


def test_chords_beside_the_list(tmp_path: Path) -> None:
    root = touch(tmp_path, "p1/a.avi")
    rows = ["FileName,X1,Y1,X2,Y2,Frame"]
    for frame, half in ((0, 18), (10, 12)):
        rows += [f"a,56,20,56,90,{frame}"]
        rows += [f"a,{56 - half},{22 + 3 * k},{56 + half},{22 + 3 * k},{frame}" for k in range(20)]
    (root / "VolumeTracings.csv").write_text("\n".join(rows))
    folder = read(root, "file,EF,split\np1/a.avi,50,train\n")
    assert [tracing.frame for tracing in folder.records[0].tracings] == [0, 10]


# --------------------------------------------------------------------------------------------------- drawn splits


def test_drawn_splits_are_in_the_store_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "own"
    for number in range(10):
        save_cine(root / f"v{number}.dcm", fan(frames=4, seed=number)[0])
    (root / "videos.csv").write_text("file,EF\n" + "".join(f"v{n}.dcm,{40 + 3 * n}\n" for n in range(8)))
    store = stages.prepare(root, tmp_path / "store", HERE)
    assert store.index["split"].value_counts().to_dict() == {"train": 8, "val": 1, "test": 1}
    assert "drawn with seed 0" in " ".join(capsys.readouterr().err.split())
    assert (store.index["split"][store.index["ef"].isna()] == "train").all()
    settings = PrepareSettings(workers=0, assign_splits=(0.5, 0.25, 0.25), split_seed=3)
    other = prepare_store(root, tmp_path / "other", settings)
    assert other.index["split"].value_counts().to_dict() == {"train": 6, "val": 2, "test": 2}
    shutil.rmtree(tmp_path / "other")
    assert (prepare_store(root, tmp_path / "other", settings).index["split"] == other.index["split"]).all()
    assert store.meta["size"] == SIZE


# -------------------------------------------------------------------------------------------------- time in seconds


def test_videos_of_any_rate_are_brought_to_one(tmp_path: Path) -> None:
    """In seconds every video has the rate of the settings, the traced frames among its frames; what has no rate is out."""
    from PIL import Image

    root = tmp_path / "own"
    for name, rate in (("slow", 25), ("fast", 100), ("same", 50)):
        root.mkdir(exist_ok=True)
        write_mjpeg(root / f"{name}.avi", FRAMES, rate)
    for frame in (3, 10):
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(MASKS[frame]).save(root / "masks" / f"{frame:03}.png")
    save(cine(FRAMES, FrameTime=None), root / "none.dcm")
    (root / "videos.csv").write_text("file,EF,split,mask\nfast.avi,50,train,masks\n")
    settings = PrepareSettings(workers=0, time="seconds")
    store = prepare_store(root, tmp_path / "store", settings)
    count = len(FRAMES)
    lengths = dict(zip(store.index["name"], store.index["frames"], strict=True))
    assert lengths == {"slow": 2 * count - 1, "fast": (count + 1) // 2, "same": count}
    assert set(store.index["fps"]) == {50}
    assert (store.time, store.provenance()["time"]) == ("seconds", "seconds")
    assert store.meta["job"]["settings"]["time"] == "seconds"
    fast = store.index["name"].tolist().index("fast")
    whole = read_video(root / "fast.avi").frames
    for frame, column in ((3, "ed_frame"), (10, "es_frame")):
        place = int(store.index[column][fast])
        np.testing.assert_array_equal(store.frames(fast)[place], whole[frame])
    np.testing.assert_array_equal(store.traced_masks(fast), [MASKS[3], MASKS[10]])
    report = (store.path / "report.json").read_text()
    assert "rate-unknown" in report
    assert "brought to 50 frames a second" in report
    assert prepare_store(root, tmp_path / "frames", HERE).time == "frames"
    with pytest.raises(EchocycleError, match="other settings"):
        prepare_store(root, tmp_path / "frames", settings)
    with pytest.raises(EchocycleError, match="--time seconds only"):
        PrepareSettings(rate=30)


# --------------------------------------------------------------------------------- other data sets, as documented


def test_the_list_of_echonet_lvh(tmp_path: Path) -> None:
    """Many rows a video, no EF: unlabelled videos in their splits, and a word on what is not read."""
    touch(tmp_path, "Batch1/0XA.avi", "Batch2/0XB.avi", "Batch2/0XC.avi")
    rows = [",HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,Frames,FPS,Width,Height,split"]
    for name, split in (("0XA", "train"), ("0XB", "val"), ("0XC", "test")):
        for calc in ("IVSd", "LVIDd", "LVPWd"):
            rows.append(f"{len(rows) - 1},{name},{calc},1.2,5,10,20,30,40,100,50,1024,768,{split}")
    folder = read(tmp_path, "\n".join(rows), name="MeasurementsList.csv")
    assert [(r.name, r.split) for r in folder.records] == [
        ("Batch1-0XA", "train"), ("Batch2-0XB", "val"), ("Batch2-0XC", "test"),
    ]  # fmt: skip
    assert all(np.isnan(record.ef) and not record.is_traced for record in folder.records)
    found = kinds(folder)
    assert "9 measured lines of 3 videos" in found["measurements-without-ef"].message
    assert {"calc", "calcvalue"} <= set(found["extra-columns"].names)


def test_zarr_stores_are_named_and_not_walked(tmp_path: Path) -> None:
    touch(tmp_path, "exam_1/rec.zarr/0/0.0.avi")
    with pytest.raises(EchocycleError, match=r"holds no recording.*rec\.zarr is a Zarr store, as EchoXFlow has them"):
        open_source(tmp_path, HERE)


# -------------------------------------------------------------------------------- what `predict` sees of the same file


@pytest.mark.parametrize("kind", ["upright", "flipped", "laid", "aspect"])
def test_prepare_and_predict_see_the_same_pixels(tmp_path: Path, kind: str) -> None:
    """Also of a picture that has the store's size already: it is turned, or cut where its pixels are not square."""
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import cut_sector

    frames = beating_fan(24, 112, 112)
    frames = {"flipped": frames[:, ::-1], "laid": frames.swapaxes(1, 2)}.get(kind, frames)
    root = tmp_path / "own"
    more = {"PixelAspectRatio": [2, 1]} if kind == "aspect" else {}
    save(cine(np.ascontiguousarray(frames), **more), root / "a.dcm")
    store = prepare_store(root, tmp_path / "store", HERE)
    cut = cut_sector(read_recording(root / "a.dcm"))
    np.testing.assert_array_equal(store.frames(0), cut.frames)
    np.testing.assert_allclose(np.array(store.index["affine"][0].split(), float), cut.affine.ravel(), rtol=1e-6)
    if kind == "upright":
        np.testing.assert_array_equal(store.frames(0), frames)
    if kind == "aspect":
        assert cut.sector is not None
