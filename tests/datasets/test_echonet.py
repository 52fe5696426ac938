"""Folders in the formats of both EchoNet-Dynamic releases are read, and every known oddity is reported."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echocycle.datasets.contours.read import contour_pair
from echocycle.datasets.echonet import UNTRACED_NAMES, authors_order, read_echonet
from echocycle.datasets.echonet_report import render_report, report_dict
from echocycle.datasets.echonet_tracings import traced_pair
from echocycle.datasets.findings import finding_text
from echocycle.datasets.records import EchonetSettings, Record, Tracing
from echocycle.datasets.tracing import trace_mask
from echocycle.errors import EchocycleError

COLUMNS = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
ED, ES = 22.0, 15.0  # half widths of contours, pixels


# --------------------------------------------------------------------------------------------- fake folders


def contour(half_width, centre=(56.0, 56.0)):
    """(21, 4): a long axis of 70 pixels, then 20 discs from apex to base."""
    x, y = centre
    heights = y - 35 + 70 * (np.arange(20) + 0.5) / 20
    half = half_width * np.sqrt(1 - ((heights - y) / 35) ** 2)
    return np.vstack([[x, y - 35, x, y + 35], np.stack([x - half, heights, x + half, heights], axis=1)])


def video(name, split="TRAIN", **changes):
    """A row of FileList.csv whose EF and volumes agree."""
    row = {
        "FileName": name,
        "EF": 60.0,
        "ESV": 40.0,
        "EDV": 100.0,
        "FrameHeight": 112,
        "FrameWidth": 112,
        "FPS": 50.0,
        "NumberOfFrames": 120,
        "Split": split,
    }
    return row | changes


def two_frames(ed_frame=40, es_frame=56):
    """Traced frames as the public files list them: ED first."""
    return [(ed_frame, contour(ED)), (es_frame, contour(ES))]


def file_list_text(rows, columns=COLUMNS, suffix=""):
    lines = [",".join(columns)]
    for row in rows:
        cells = dict(row, FileName=f"{row['FileName']}{suffix}")
        lines.append(",".join(str(cells[column]) for column in columns))
    return "\n".join(lines) + "\n"


def tracings_text(tracings, suffix=""):
    lines = ["FileName,X1,Y1,X2,Y2,Frame"]
    for name, frames in tracings.items():
        for frame, chords in frames:
            lines += [f"{name}{suffix},{x1},{y1},{x2},{y2},{frame}" for x1, y1, x2, y2 in chords]
    return "\n".join(lines) + "\n"


def write_folder(root, rows, tracings=None, *, release="older", on_disk=None, columns=COLUMNS):
    """The three parts of a data folder; `tracings` maps names to traced frames, by default two each."""
    if tracings is None:
        tracings = {row["FileName"]: two_frames() for row in rows}
    suffixes = {"older": (".avi", ""), "newer": ("", ".avi")}[release]
    (root / "Videos").mkdir(parents=True)
    (root / "FileList.csv").write_text(file_list_text(rows, columns, suffixes[0]))
    (root / "VolumeTracings.csv").write_text(tracings_text(tracings, suffixes[1]))
    for name in [f"{row['FileName']}.avi" for row in rows] if on_disk is None else on_disk:
        (root / "Videos" / name).touch()
    return root


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


def kinds(folder):
    return {finding.kind: finding for finding in folder.findings}


ROWS = [video("0XA", "TRAIN"), video("0XB", "VAL"), video("0XC", "TEST")]


# -------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("release", ["older", "newer"])
def test_both_releases_give_the_same_records(tmp_path, release):
    folder = read_echonet(write_folder(tmp_path / release, ROWS, release=release))
    assert folder.release == release
    assert folder.findings == ()
    assert [(record.name, record.split) for record in folder.records] == [
        ("0XA", "train"),
        ("0XB", "val"),
        ("0XC", "test"),
    ]
    record = folder.records[0]
    assert record.path == tmp_path / release / "Videos" / "0XA.avi"
    assert (record.ef, record.esv_ml, record.edv_ml, record.fps) == (60, 40, 100, 50)
    assert (record.listed_frames, record.height, record.width, record.patient) == (120, 112, 112, "0XA")
    assert [tracing.frame for tracing in record.tracings] == [40, 56]
    np.testing.assert_allclose(record.tracings[0].chords, contour(ED))


def test_spelling_and_order_of_columns_bom_and_crlf(tmp_path):
    columns = ("Split", "NumberOfFrames", "FPS", "FrameWidth", "FrameHeight", "EDV", "ESV", "EF", "FileName")
    root = write_folder(tmp_path / "a", ROWS, columns=columns)
    lower = root / "FileList.csv"
    rewrite(
        lower,
        lambda raw: b"\xef\xbb\xbf" + raw.replace(b"FileName", b"file_name").replace(b"Split", b"SPLIT"),
    )
    rewrite(lower, lambda raw: raw.replace(b"TRAIN", b"Train").replace(b"VAL", b" val ").replace(b"\n", b"\r\n"))
    rewrite(root / "VolumeTracings.csv", lambda raw: raw.replace(b"\n", b"\r\n").replace(b"FileName", b"FILENAME"))
    folder = read_echonet(root)
    assert [record.split for record in folder.records] == ["train", "val", "test"]
    assert [len(record.tracings) for record in folder.records] == [2, 2, 2]
    assert folder.release == "older"
    assert folder.findings == ()


def test_extra_columns_stay_out_of_the_way(tmp_path):
    rows = [row | {"SSL_SPLIT": "LABELED", "Remark": "x"} for row in ROWS]
    folder = read_echonet(write_folder(tmp_path / "a", rows, columns=(*COLUMNS, "SSL_SPLIT", "Remark")))
    assert kinds(folder)["extra-columns"].names == ("sslsplit", "remark")
    assert len(folder.records) == 3


def test_own_folder_with_few_columns_and_unlabelled_mp4(tmp_path):
    root = tmp_path / "own"
    (root / "Videos").mkdir(parents=True)
    for name in ("a.mp4", "b.c.AVI", "d.avi"):
        (root / "Videos" / name).touch()
    (root / "FileList.csv").write_text("FileName,EF,Split\na,55.5,train\nb.c,,TRAIN\n\nd.avi,NA,Validation\n\n")
    folder = read_echonet(root)
    assert folder.release == "own"
    a, b, d = folder.records
    assert [record.path.name for record in folder.records] == ["a.mp4", "b.c.AVI", "d.avi"]
    assert (a.ef, a.split, d.split) == (55.5, "train", "val")
    assert np.isnan([b.ef, d.ef, a.edv_ml, a.esv_ml, a.fps]).all()
    assert (a.listed_frames, a.height, a.width, a.tracings) == (0, 0, 0, ())
    assert kinds(folder)["unlabelled"].names == ("b.c", "d")
    assert kinds(folder)["no-tracings-file"].level == "warning"


def test_own_folder_from_a_spreadsheet_with_semicolons_and_decimal_commas(tmp_path):
    root = write_folder(tmp_path / "a", ROWS)
    rewrite(root / "FileList.csv", lambda raw: raw.replace(b",", b";").replace(b".0;", b",0;"))
    rewrite(root / "VolumeTracings.csv", lambda raw: raw.replace(b",", b";").replace(b".", b","))
    folder = read_echonet(root)
    assert [record.ef for record in folder.records] == [60, 60, 60]
    np.testing.assert_allclose(folder.records[2].tracings[1].chords, contour(ES))


def test_two_files_of_one_name(tmp_path):
    root = write_folder(tmp_path / "a", ROWS, on_disk=["0XA.avi", "0XA.mp4", "0XB.avi", "0XC.avi"])
    rewrite(root / "FileList.csv", lambda raw: raw.replace(b"0XA.avi", b"0XA.mp4"))
    folder = read_echonet(root)
    assert folder.records[0].path.name == "0XA.mp4"
    assert kinds(folder)["two-files-for-one-name"].names == ("0XA",)


# ----------------------------------------------------------------------------------------- splits, patients


def own_list(root, text, names):
    (root / "Videos").mkdir(parents=True)
    for name in names:
        (root / "Videos" / f"{name}.avi").touch()
    (root / "FileList.csv").write_text(text)
    return root


def test_missing_split_is_refused_or_drawn_from_the_name(tmp_path):
    names = [f"v{number}" for number in range(400)]
    root = own_list(tmp_path / "a", "FileName,EF\n" + "".join(f"{name},50\n" for name in names), names)
    with pytest.raises(EchocycleError, match=r"no column Split.*--assign-splits"):
        read_echonet(root)

    settings = EchonetSettings(assign_splits=(0.75, 0.125, 0.125))
    folder = read_echonet(root, settings)
    split = {record.name: record.split for record in folder.records}
    counts = [list(split.values()).count(name) for name in ("train", "val", "test")]
    assert counts == [300, 50, 50]
    assert kinds(folder)["splits-assigned"].level == "note"

    settings = replace(settings, split_by="name")
    split = {record.name: record.split for record in read_echonet(root, settings).records}
    counts = [list(split.values()).count(name) for name in ("train", "val", "test")]
    assert counts == pytest.approx([300, 50, 50], abs=30)

    more = own_list(
        tmp_path / "b",
        "FileName,EF\n" + "".join(f"{name},50\n" for name in ["new", *names[::-1]]),
        ["new", *names],
    )
    again = {record.name: record.split for record in read_echonet(more, settings).records}
    assert {name: again[name] for name in names} == split
    other_seed = read_echonet(root, replace(settings, split_seed=1))
    assert {record.name: record.split for record in other_seed.records} != split


def test_drawn_splits_keep_the_videos_of_a_patient_together(tmp_path):
    names = [f"v{number}" for number in range(60)]
    text = "FileName,EF,Patient,Split\n" + "".join(f"{name},50,p{number // 3},\n" for number, name in enumerate(names))
    folder = read_echonet(own_list(tmp_path / "a", text, names), EchonetSettings(assign_splits=(0.5, 0.25, 0.25)))
    assert "patient-in-several-splits" not in kinds(folder)
    assert len({record.split for record in folder.records}) == 3


def test_a_drawn_split_follows_the_written_one_of_the_patient(tmp_path):
    names = [f"v{number}" for number in range(20)]
    text = "FileName,EF,Patient,Split\nv0,50,p,TEST\n" + "".join(f"{name},50,p,\n" for name in names[1:])
    root = own_list(tmp_path / "a", text, names)
    folder = read_echonet(root, EchonetSettings(assign_splits=(1.0, 0.0, 0.0)))
    assert {record.split for record in folder.records} == {"test"}


def test_shares_that_are_none_are_refused():
    with pytest.raises(EchocycleError, match="add up to 1"):
        EchonetSettings(assign_splits=(0.5, 0.5, 0.5))
    with pytest.raises(EchocycleError, match="ed_es_naming"):
        EchonetSettings(ed_es_naming="size")


@pytest.mark.parametrize("column", ["Patient", "PatientID", "patient_id"])
def test_patient_in_several_splits(tmp_path, column):
    text = f"FileName,EF,Split,{column}\na,50,train,p1\nb,50,test,p1\nc,50,test,p2\nd,50,val,\n"
    folder = read_echonet(own_list(tmp_path / "a", text, "abcd"))
    assert kinds(folder)["patient-in-several-splits"].level == "error"
    assert kinds(folder)["patient-in-several-splits"].names == ("p1",)
    assert [record.patient for record in folder.records] == ["p1", "p1", "p2", "d"]


# -------------------------------------------------------------------------------------------- wrong folders


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere", "does not exist"),
        ("data/FileList.csv", "is a file. Give the folder"),
        ("data.zip", "is a file. Unpack it"),
        (".", r"has no FileList.csv. There is one further down; give .*data instead"),
        ("data/Videos", r"has no FileList.csv. There is one in the folder above; give .*data instead"),
        ("empty", r"has no FileList.csv. Give the folder that holds"),
    ],
)
def test_wrong_folder_gets_a_sentence(tmp_path, given, sentence):
    write_folder(tmp_path / "data", ROWS)
    (tmp_path / "data.zip").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(EchocycleError, match=sentence):
        read_echonet(tmp_path / given)


def test_missing_parts_of_a_folder(tmp_path):
    root = write_folder(tmp_path / "a", ROWS)
    (root / "VolumeTracings.csv").unlink()
    folder = read_echonet(root)
    assert "segmentation cannot be trained" in kinds(folder)["no-tracings-file"].message
    assert "untraced" not in kinds(folder)

    for path in (root / "Videos").iterdir():
        path.unlink()
    with pytest.raises(EchocycleError, match=r"Videos holds no .avi or .mp4 file"):
        read_echonet(root)
    (root / "Videos" / "0XZ.avi").touch()
    with pytest.raises(EchocycleError, match=r"None of the 3 videos .* exists; first looked for .*0XA.avi"):
        read_echonet(root)
    (root / "Videos" / "0XZ.avi").unlink()
    (root / "Videos").rmdir()
    with pytest.raises(EchocycleError, match=r"has no folder Videos/"):
        read_echonet(root)


@pytest.mark.parametrize("name", ["FileList.csv", "VolumeTracings.csv"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda raw: b"", "is empty"),
        (lambda raw: raw.replace(b"0XB", b"0X\xff"), "line {line}: not UTF-8"),
        (lambda raw: raw.replace(b"0XB", b"0X\0"), "line {line}: a zero byte"),
        (lambda raw: raw.replace(b"0XB", b"0XB,,,,,,,,,,"), "line {line} has .* fields"),
        (lambda raw: raw.replace(b"0XB", b'"0XB', 1), "line {line} opens a quotation mark"),
        (lambda raw: raw.replace(b"0X", b"0X,,,,,,,,,,"), "more fields than"),
        (lambda raw: raw.replace(b"FileName", b"Name"), "has no column filename"),
        (lambda raw: raw.replace(b"FileName", b"FileName,FileName"), "column filename occurs more than once"),
        (lambda raw: b"PK\x03\x04" + raw, "has no column"),
    ],
)
def test_unreadable_csv_names_file_and_line(tmp_path, name, damage, sentence):
    root = write_folder(tmp_path / "a", ROWS)
    lines = (root / name).read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "0XB" in text)
    rewrite(root / name, damage)
    with pytest.raises(EchocycleError, match=rf"{name}.*{sentence.format(line=line)}"):
        read_echonet(root)


def test_list_without_rows(tmp_path):
    root = write_folder(tmp_path / "a", ROWS)
    (root / "FileList.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(EchocycleError, match="no row below its header"):
        read_echonet(root)


# ------------------------------------------------------------------------------------------------- bad rows


def test_all_bad_rows_are_reported_at_once_and_the_rest_goes_on(tmp_path):
    rows = [
        video("good"),
        video("ef", EF=130),
        video("negative", EF=-1),
        video("volumes", ESV=120),
        video("split", "TRIAN"),
        video("speed", FPS=0),
        video("words", EF="sixty"),
        video("size", NumberOfFrames=0),
        video("half", FrameWidth=112.5),
        video("same"),
        video("same"),
        video("other"),
        video("other", EF=61, ESV=39),
        video("other"),
        video("folder/name"),
        video("infinite", EDV="inf"),
        video("both", "", EF=101),
        video("last", "TEST"),
    ]
    names = [f"{row['FileName']}.avi" for row in rows if "/" not in row["FileName"]]
    folder = read_echonet(write_folder(tmp_path / "a", rows, {"good": two_frames()}, on_disk=names))
    assert [record.name for record in folder.records] == ["good", "same", "last"]
    found = kinds(folder)
    expected = {
        "ef-out-of-range": (("ef", "negative", "both"), (3, 4, 18)),
        "volumes-wrong": (("volumes", "infinite"), (5, 17)),
        "split-unknown": (("split", "both"), (6, 18)),
        "fps-wrong": (("speed",), (7,)),
        "not-a-number": (("words",), (8,)),
        "size-wrong": (("size", "half"), (9, 10)),
        "duplicate-name": (("same", "other", "other", "other"), (12, 13, 14, 15)),
        "name-wrong": (("folder/name",), (16,)),
    }
    for kind, (names, lines) in expected.items():
        assert (found[kind].level, found[kind].names, found[kind].lines) == ("error", names, lines), kind
    assert "line 3: ef = 130" in found["ef-out-of-range"].message
    assert "sixty" in found["not-a-number"].message
    assert "video-not-listed" not in found


def test_no_usable_row(tmp_path):
    root = write_folder(tmp_path / "a", [video("a", EF=300), video("b", EF=400)])
    with pytest.raises(EchocycleError, match=r"no usable row. EF lies outside"):
        read_echonet(root)


def test_ef_that_disagrees_with_the_volumes(tmp_path):
    rows = [video("a", EF=60.05), video("b", EF=60.2), video("c", EF="")]
    found = kinds(read_echonet(write_folder(tmp_path / "a", rows)))
    assert found["ef-and-volumes-disagree"].names == ("b",)
    assert found["ef-and-volumes-disagree"].level == "warning"


def test_ef_written_as_a_fraction(tmp_path):
    folder = read_echonet(own_list(tmp_path / "a", "FileName,EF,Split\na,0.55,train\nb,0.6,test\n", "ab"))
    assert "in percent" in kinds(folder)["ef-looks-like-fraction"].message


# ------------------------------------------------------------------------------------------- known oddities


def test_six_untraced_large_videos_are_kept_and_flagged(tmp_path):
    large = {"FrameHeight": 768, "FrameWidth": 1024}
    rows = [video(f"0X{number:016X}") for number in range(7)]
    rows += [video(name, "TEST" if number == 5 else "TRAIN", **large) for number, name in enumerate(UNTRACED_NAMES)]
    folder = read_echonet(write_folder(tmp_path / "a", rows, {row["FileName"]: two_frames() for row in rows[:7]}))
    found = kinds(folder)
    assert len(folder.records) == 13
    assert found["untraced"].names == UNTRACED_NAMES
    assert "6 of them" in found["untraced"].message
    assert found["other-frame-size"].names == UNTRACED_NAMES
    assert "768x1024" in found["other-frame-size"].message
    assert "7465 train" in found["not-the-whole-release"].message
    assert traced_pair(folder.records[-1], 100, 112, 112) is None


def test_authors_order_does_not_depend_on_the_row_order(tmp_path):
    names = [f"0X{number:016X}" for number in (9, 2, 30, 4)]
    rows = [video(name) for name in [UNTRACED_NAMES[1], names[0], UNTRACED_NAMES[0], *names[1:]]]
    rows += [video("0XTEST", "TEST"), video(UNTRACED_NAMES[5], "TEST")]
    folder = read_echonet(write_folder(tmp_path / "a", rows, release="newer"))
    expected = [*sorted(names), UNTRACED_NAMES[0], UNTRACED_NAMES[1]]
    assert authors_order(folder.records) == expected
    assert authors_order(reversed(folder.records)) == expected


def test_tracing_without_a_row(tmp_path):
    tracings = {row["FileName"]: two_frames() for row in ROWS} | {"0X4F8859C8AB4DA9CB": two_frames()}
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, tracings))
    assert kinds(folder)["tracing-without-row"].names == ("0X4F8859C8AB4DA9CB",)
    assert len(folder.records) == 3


def test_frames_with_several_or_incomplete_contours(tmp_path):
    chords = {
        "c42": np.vstack([contour(ED), contour(20)]),
        "c63": np.vstack([contour(ED), contour(20), contour(19)]),
        "c84": np.vstack([contour(ED)] * 4),
        "c41": np.vstack([contour(ED), contour(20)])[:41],
        "c16": contour(ED)[:16],
        "c18": contour(ED)[:18],
        "one": contour(ED),
    }
    rows = [video(name) for name in chords]
    tracings = {name: [(40, traced), (56, contour(ES))] for name, traced in chords.items()}
    folder = read_echonet(write_folder(tmp_path / "a", rows, tracings))
    found = kinds(folder)
    assert found["several-contours"].names == ("c42", "c63", "c84")
    assert found["contour-with-extra-rows"].names == ("c41",)
    assert found["contour-unclear"].names == ("c16", "c18")
    assert "16, 18, 41, 42, 63, 84" in found["contour-unclear"].message
    by_name = {record.name: record for record in folder.records}
    one = traced_pair(by_name["one"], 100, 112, 112)
    for name in ("c42", "c63", "c84", "c41"):
        pair = traced_pair(by_name[name], 100, 112, 112)
        np.testing.assert_array_equal(pair.masks, one.masks)
        assert not np.array_equal(
            traced_pair(by_name["c42"], 100, 112, 112, EchonetSettings(multi_trace="vote")).masks, one.masks
        )
    assert traced_pair(by_name["c16"], 100, 112, 112).ed_mask.any()


def test_rows_of_a_frame_that_are_not_together(tmp_path):
    root = write_folder(tmp_path / "a", [video("0XA")], {"0XA": []})
    (ed_frame, ed), (es_frame, es) = two_frames()
    parts = [(ed_frame, ed[:10]), (es_frame, es), (ed_frame, ed[10:])]
    (root / "VolumeTracings.csv").write_text(tracings_text({"0XA": parts}))
    (record,) = read_echonet(root).records
    assert [tracing.frame for tracing in record.tracings] == [40, 56]
    np.testing.assert_allclose(record.tracings[0].chords, ed)


def test_first_chord_that_is_not_the_long_axis(tmp_path):
    shuffled = np.roll(contour(ED), 3, axis=0)
    tracings = {"0XA": [(40, shuffled), (56, contour(ES))], "0XB": two_frames(), "0XC": two_frames()}
    found = kinds(read_echonet(write_folder(tmp_path / "a", ROWS, tracings)))
    assert found["long-axis-not-first"].names == ("0XA",)


def test_coordinates_outside_the_frame(tmp_path):
    low = contour(ED, centre=(56, 80))  # base at 115
    tracings = {"0XA": [(40, low), (56, contour(ES))], "0XB": two_frames(), "0XC": two_frames()}
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, tracings))
    finding = kinds(folder)["coordinates-outside"]
    assert (finding.level, finding.names) == ("note", ("0XA",))
    assert finding.message.startswith(f"{int((low > 112).sum())} coordinates")
    assert traced_pair(folder.records[0], 100, 112, 112).ed_mask[111].any()


def test_frame_at_or_past_the_end(tmp_path):
    tracings = {"0XA": two_frames(40, 120), "0XB": two_frames(40, 119), "0XC": two_frames(121, 130)}
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, tracings))
    assert kinds(folder)["frame-past-end"].names == ("0XA", "0XC")
    a, b, c = folder.records
    pair = traced_pair(a, 120, 112, 112)
    assert (pair.ed_frame, pair.es_frame) == (40, 119)
    assert [(note.kind, note.level) for note in pair.notes] == [("frame-clamped", "note")]
    assert traced_pair(a, 100, 112, 112).notes[0].level == "warning"
    assert traced_pair(b, 120, 112, 112).notes == ()
    assert traced_pair(c, 120, 112, 112) is None  # both would be the last frame
    assert traced_pair(a, 0, 112, 112) is None


def test_es_before_ed_and_es_listed_first(tmp_path):
    tracings = {
        "0XA": two_frames(56, 40),
        "0XB": two_frames()[::-1],
        "0XC": two_frames(),
    }
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, tracings))
    assert kinds(folder)["es-before-ed"].names == ("0XA",)
    assert kinds(folder)["es-listed-first"].names == ("0XB",)
    assert "in 1 of 3 videos" in kinds(folder)["es-listed-first"].message
    pairs = [traced_pair(record, 120, 112, 112) for record in folder.records]
    assert [(pair.ed_frame, pair.es_frame) for pair in pairs] == [(56, 40), (40, 56), (40, 56)]
    assert [note.kind for note in pairs[0].notes] == ["es-before-ed"]


def test_more_or_fewer_than_two_traced_frames(tmp_path):
    tracings = {
        "0XA": two_frames()[:1],
        "0XB": [(5, contour(18)), (20, contour(ED)), (30, contour(19)), (33, contour(ES)), (50, contour(20))],
        "0XC": [(5, contour(ED)), (20, contour(ES)[:2])],
    }
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, tracings))
    found = kinds(folder)
    assert found["one-traced-frame"].names == ("0XA", "0XC")
    assert found["more-than-two-traced-frames"].names == ("0XB",)
    assert found["contour-too-short"].names == ("0XC",)
    a, b, _ = folder.records
    assert traced_pair(a, 100, 112, 112) is None
    pair = traced_pair(b, 100, 112, 112)
    assert (pair.ed_frame, pair.es_frame) == (20, 33)


def test_missing_and_unlisted_videos(tmp_path):
    root = write_folder(tmp_path / "a", ROWS, on_disk=["0XA.avi", "0XC.avi", "0XZ.avi", "notes.txt", "._0XA.avi"])
    folder = read_echonet(root)
    found = kinds(folder)
    assert (found["video-missing"].level, found["video-missing"].names) == ("error", ("0XB",))
    assert (found["video-not-listed"].level, found["video-not-listed"].names) == ("warning", ("0XZ",))
    assert [record.name for record in folder.records] == ["0XA", "0XC"]


def test_unreadable_tracing_rows_cost_the_tracings_of_their_video(tmp_path):
    root = write_folder(tmp_path / "a", ROWS)
    lines = (root / "VolumeTracings.csv").read_text().splitlines()
    lines[4] = lines[4].replace("0XA,", "0XA,x", 1)
    lines[50] = ",".join([*lines[50].split(",")[:-1], "-3"])
    lines[51] = ",".join([*lines[51].split(",")[:-1], "inf"])
    (root / "VolumeTracings.csv").write_text("\n".join(lines) + "\n\n")
    folder = read_echonet(root)
    finding = kinds(folder)["tracing-unreadable"]
    assert (finding.level, finding.names, finding.lines) == ("error", ("0XA", "0XB"), (5, 51, 52))
    assert finding_text(finding).endswith("[0XA, 0XB; lines 5, 51, 52]")
    assert [len(record.tracings) for record in folder.records] == [0, 0, 2]


def test_tracing_list_without_rows(tmp_path):
    folder = read_echonet(write_folder(tmp_path / "a", ROWS, {}))
    assert kinds(folder)["untraced"].names == ("0XA", "0XB", "0XC")
    assert folder.release == "older"


# ------------------------------------------------------------------------------------------------ ED and ES


def record_of(*tracings):
    return Record(
        name="0XA",
        path=Path("0XA.avi"),
        patient="0XA",
        split="train",
        ef=60.0,
        edv_ml=100.0,
        esv_ml=40.0,
        fps=50.0,
        listed_frames=100,
        height=112,
        width=112,
        tracings=tuple(Tracing(frame, chords) for frame, chords in tracings),
    )


def test_ed_is_the_larger_mask_or_the_last_listed():
    record = record_of((40, contour(ED)), (56, contour(ES)))
    by_area = traced_pair(record, 100, 112, 112)
    assert (by_area.ed_frame, by_area.es_frame, by_area.notes) == (40, 56, ())
    np.testing.assert_array_equal(by_area.ed_mask, trace_mask(contour(ED)))
    np.testing.assert_array_equal(by_area.es_mask, trace_mask(contour(ES)))
    as_code = traced_pair(record, 100, 112, 112, EchonetSettings(ed_es_naming="code"))
    assert (as_code.ed_frame, as_code.es_frame) == (56, 40)
    np.testing.assert_array_equal(as_code.masks, by_area.masks[::-1])


def test_equal_areas_fall_back_to_the_listing_order():
    pair = traced_pair(record_of((70, contour(ED)), (40, contour(ED))), 100, 112, 112)
    assert (pair.ed_frame, pair.es_frame) == (70, 40)
    assert [note.kind for note in pair.notes] == ["areas-close", "es-before-ed"]


def test_notes_on_size_and_empty_masks():
    outside = contour(ES, centre=(300, 300))
    pair = traced_pair(record_of((40, contour(ED)), (56, outside)), 100, 120, 160)
    assert pair.masks.shape == (2, 120, 160)
    assert {note.kind for note in pair.notes} == {"empty-mask", "listed-size-differs"}


def test_close_areas_are_found_in_the_folder(tmp_path):
    tracings = {
        "0XA": [(40, contour(ED)), (56, contour(ED * 0.97))],
        "0XB": two_frames(),
        "0XC": two_frames(),
    }
    assert kinds(read_echonet(write_folder(tmp_path / "a", ROWS, tracings)))["areas-close"].names == ("0XA",)


# ----------------------------------------------------------------------------------------------- the report


def test_report_is_json_deterministic_and_shortens_names(tmp_path):
    from rich.console import Console

    rows = [video(f"v{number:02}", "TRAIN" if number else "TEST", EF="" if number > 2 else 60) for number in range(31)]
    root = write_folder(tmp_path / "a", rows, {"v00": two_frames()})
    folder = read_echonet(root)
    report = report_dict(folder)
    json.dumps(report, allow_nan=False)
    assert report == report_dict(read_echonet(root))
    assert folder.findings == read_echonet(root).findings
    assert report["splits"]["train"]["videos"] == 30
    assert report["splits"]["train"]["labelled"] == 2
    assert report["splits"]["test"]["traced"] == 1
    assert report["splits"]["val"]["ef_percent"] is None
    assert len(kinds(folder)["untraced"].names) == 30

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render_report(folder))
    text = " ".join(console.export_text().split())
    assert "v08, and 22 more]" in text
    assert "31 videos, older release" in text


def test_findings_are_sorted_by_level_and_show_lines(tmp_path):
    rows = [*ROWS, video("bad", EF=200), video("gone")]
    root = write_folder(tmp_path / "a", rows, {"0XA": two_frames(3, 500)}, on_disk=["0XA.avi", "0XB.avi", "0XC.avi"])
    folder = read_echonet(root)
    assert [(finding.level, finding.kind) for finding in folder.findings] == [
        ("error", "ef-out-of-range"),
        ("error", "video-missing"),
        ("warning", "frame-past-end"),
        ("note", "untraced"),
    ]
    assert finding_text(folder.findings[0]).endswith("[bad (line 5)]")


# ------------------------------------------------------------------------------------- the pediatric relative


def test_folds_and_corners_of_the_pediatric_release(tmp_path):
    """Splits are ten folds, tracings are corners (X, Y, Frame), and `Height` is the child's."""
    names = [f"CR{number:02}" for number in range(10)]
    rows = "".join(f"{name}.avi,{50 + number},M,7,24.1,120.5,{number}\n" for number, name in enumerate(names))
    root = own_list(tmp_path / "a", f"FileName,EF,Sex,Age,Weight,Height,Split\n{rows}", names)
    corners = "".join(
        f"CR00.avi,{x},{y},{frame}\n"
        for frame, w in ((3, 20), (9, 12))
        for x, y in ((40, 30), (40 + w, 60), (40 - w, 60))
    )
    (root / "VolumeTracings.csv").write_text(f"FileName,X,Y,Frame\n{corners}")
    folder = read_echonet(root)
    assert [record.split for record in folder.records] == ["train"] * 8 + ["val", "test"]
    assert kinds(folder)["folds-as-splits"].level == "note"
    assert folder.records[0].height == 0
    assert [record.is_traced for record in folder.records] == [True] + [False] * 9
    pair = contour_pair(folder.records[0], 20, 112, 112)
    assert (pair.ed_frame, pair.es_frame) == (3, 9)
    assert pair.ed_mask.sum() == pytest.approx(20 * 30, rel=0.1)
