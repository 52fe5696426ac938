"""Writers: what they write can be read again and holds what the prediction says."""

import csv
import errno
import json
import math
import resource
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from helpers.results import full_result
from pydicom.data import get_testdata_file

from echocycle.errors import EchocycleError
from echocycle.prediction import EfInterval, Flag, MeasuredBeat, Prediction
from echocycle.recordings.film import stream_mp4
from echocycle.recordings.video import read_video
from echocycle.writers import USUAL, WRITERS, overlay
from echocycle.writers.as_csv import FIRST_COLUMNS, Table, as_row, read_rows, write_csv
from echocycle.writers.as_failures import Failure, check_failures, write_failures
from echocycle.writers.as_json import MEASURED, json_path, read_prediction, source_of, write_json
from echocycle.writers.as_masks import write_masks
from echocycle.writers.overlay import FOOTER, HEADER, HEIGHT, NOTICE, OUTLINE, PICTURE, notices, write_overlay


@pytest.fixture
def prediction() -> Prediction:
    """A ventricle of 24 frames: an ellipse that beats once, its end systole in frame 12."""
    time = np.arange(24)
    row, column = np.indices((112, 112))
    size = 1 + 0.15 * np.cos(2 * np.pi * time / 24)
    distance = np.hypot((column - 56) / 14, (row - 48) / 25)
    masks = np.stack([255 / (1 + np.exp(8 * (distance / s - 1))) for s in size]).astype(np.uint8)
    rng = np.random.default_rng(0)
    return Prediction(
        source="/archive/clip 1.dcm",
        ef=57.6,
        protocol="all",
        fps=30.0,
        n_frames=24,
        spacing_mm=(1.5, 1.5),
        ef_clips=[(0, 57.0), (1, 58.2)],
        mask_area_px=(masks > 127).sum(axis=(1, 2)).astype(float).tolist(),
        ef_by_discs=55.1,
        ed_frames=[0],
        es_frames=[12],
        notes=["frame rate is low"],
        model={"id": "small", "run": "teacher", "torch": "2"},
        masks=masks,
        frames=rng.integers(0, 90, (24, 112, 112), dtype=np.uint8),
        affine=np.array([[2.0, 0, 10], [0, 2.0, 20]]),
    )


def test_all_writers_write_their_file(tmp_path: Path) -> None:
    found = full_result(30, file=Path(str(get_testdata_file("examples_ybr_color.dcm", download=False))))
    paths = {name: write(found, tmp_path / "out") for name, write in WRITERS.items()}
    assert {name: path.name for name, path in paths.items()} == {
        "masks": "clip 1.dcm.masks.npz",
        "json": "clip 1.dcm.json",
        "seg": "clip 1.dcm.seg.dcm",
        "sr": "clip 1.dcm.sr.dcm",
        "png": "clip 1.dcm.ed-es.png",
        "overlay": "clip 1.dcm.overlay.mp4",
        "html": "clip 1.dcm.page.html",
    }
    assert all(writer.lacks(found) is None for writer in WRITERS.values())
    assert paths == {name: writer.path(found, tmp_path / "out") for name, writer in WRITERS.items()}
    assert list(WRITERS).index("json") < list(WRITERS).index("overlay")  # what takes longest comes late
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths.values())


def test_all_files_lie_where_the_result_is_to_lie(prediction: Prediction, tmp_path: Path) -> None:
    named = replace(prediction, result="patient 1/clip 1.dcm")
    paths = [WRITERS[name](named, tmp_path) for name in USUAL]
    assert {path.parent for path in paths} == {tmp_path / "patient 1"}
    assert sorted(path.name for path in (tmp_path / "patient 1").iterdir()) == sorted(path.name for path in paths)


def test_json_round_trip(prediction: Prediction, tmp_path: Path) -> None:
    content = json.loads(write_json(prediction, tmp_path).read_text(encoding="utf-8"))
    assert content.pop("schema_version") == 2
    assert content.pop("disclaimer") == "Research use only; not a medical device."
    assert "masks" not in content
    assert "frames" not in content
    content["spacing_mm"] = tuple(content["spacing_mm"])
    content["ef_clips"] = [tuple(clip) for clip in content["ef_clips"]]
    assert content.pop("affine") == [[2, 0, 10], [0, 2, 20]]
    assert Prediction(**content) == prediction


def test_json_of_a_failed_measurement(tmp_path: Path) -> None:
    failed = Prediction("clip.avi", None, "all", math.nan, 0, ef_clips=[(np.int64(3), np.float32("nan"))])
    content = json.loads(write_json(failed, tmp_path).read_text())
    assert content["ef"] is None
    assert content["fps"] is None
    assert content["spacing_mm"] == [None, None]
    assert content["ef_clips"] == [[3, None]]


def test_measurements_are_read_again_and_older_results_too(prediction: Prediction, tmp_path: Path) -> None:
    beat = MeasuredBeat(0, 12, 55.1, 54.0, 120.0, 53.9, None, 0.8, 75.0, 15.0, None, True)
    measured = replace(
        prediction,
        affine=None,
        headline="neither",
        headline_reason="The two differ.",
        flags=[Flag("disagreement", "The two differ by 23 points.", "review")],
        interval=EfInterval(50.0, 66.0, 0.9, "conformal", 120, ""),
        interval_by_discs=EfInterval(None, None, 0.9, "none", 0, "No calibration."),
        category_probabilities={"under_40": 0.1, "40_to_49": 0.2, "50_and_more": 0.7},
        edv=120.0,
        volume_unit="ml",
        irregular=False,
        beats=[beat],
        volume_curve=[120.0, 53.9],
    )
    path = write_json(measured, tmp_path)
    found = read_prediction(path)
    assert found == replace(measured, masks=None, frames=None)
    assert found is not None
    assert found.flagged
    assert found.answer is None
    assert found.answer_in_words() == "EF unclear: 57.6 % by video, 55.1 % by discs"
    content = json.loads(path.read_text())
    for broken in ({"flags": [{"code": "x"}]}, {"headline": "both"}, {"beats": [{**content["beats"][0], "ed": "0"}]}):
        path.write_text(json.dumps({**content, **broken}))
        assert read_prediction(path) is None, broken
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in MEASURED}))
    older = read_prediction(path)  # as written before there were such fields
    assert older is not None
    assert (older.headline, older.beats, older.answer) == (None, [], prediction.ef)


def test_what_was_written_is_read_again(prediction: Prediction, tmp_path: Path) -> None:
    path = json_path(prediction.stem, tmp_path)
    assert read_prediction(path) is None
    assert source_of(path) is None
    assert write_json(prediction, tmp_path) == path
    found = read_prediction(path)
    assert found is not None
    assert np.array_equal(found.affine, prediction.affine)  # type: ignore[arg-type]
    assert replace(found, affine=None) == replace(prediction, affine=None)
    assert found.frames is found.masks is None
    assert as_row(found) == as_row(prediction)
    unknown = replace(prediction, ef=None, fps=math.nan, spacing_mm=(math.nan, 1.5), affine=None)
    write_json(unknown, tmp_path)
    found = read_prediction(path)
    assert found is not None
    assert as_row(found) == as_row(unknown)
    assert math.isnan(found.fps)
    assert source_of(path) == prediction.source
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 0}))
    assert read_prediction(path) is None


def could_be(field: str, value: object) -> bool:
    """Whether a measurement's field may hold such a value."""
    kinds = {"headline_reason": str, "label_provenance": str}
    numbers = {name for name, kind in get_type_hints(Prediction).items() if kind == (float | None)}
    return isinstance(value, float) if field in numbers else isinstance(value, kinds.get(field, bool))


def test_a_result_with_an_odd_value_is_none_and_another_file_is_refused(prediction: Prediction, tmp_path: Path) -> None:
    """What a damaged file may hold in a value's place: never a KeyError, a TypeError or a wrong number."""
    path = write_json(prediction, tmp_path)
    sound = json.loads(path.read_text())
    for key in sound.keys() - {"source", "disclaimer", "protocol", "n_frames", "not_measured", "size_bytes", "sha256"}:
        for value in ("word", 3.5, {"a": 1}, [["x"]]):
            if (key, type(value)) in [("result", str), *((name, float) for name in ("ef", "ef_by_discs", "fps"))]:
                continue
            if key == "recorded_fps" and value == 3.5:
                continue
            if key in ("mask_area_px", "ed_frames", "es_frames", "notes", "warnings") and isinstance(value, list):
                continue
            if key == "model" and isinstance(value, dict):
                continue
            if key in MEASURED and could_be(key, value):
                continue
            path.write_text(json.dumps({**sound, key: value}))
            assert read_prediction(path) is None, (key, value)
        path.write_text(json.dumps({name: value for name, value in sound.items() if name != key}))
        found = read_prediction(path)
        assert found is None or getattr(found, key) in ([], {}, None, "", "frames"), key
    for content in ("[]", "3", '{"source": 3}', '{"ef": 50}'):
        path.write_text(content)
        for read in (read_prediction, source_of):
            with pytest.raises(EchocycleError, match="is not a result of `predict`"):
                read(path)


def test_json_of_another_recording_is_not_overwritten(prediction: Prediction, tmp_path: Path) -> None:
    write_json(prediction, tmp_path)
    write_json(replace(prediction, ef=50.0), tmp_path)
    with pytest.raises(EchocycleError, match="holds the result of /archive/clip 1"):
        write_json(replace(prediction, source="/elsewhere/clip 1.dcm"), tmp_path)
    assert json.loads((tmp_path / "clip 1.dcm.json").read_text())["ef"] == 50


def test_csv_collects_and_replaces_rows(prediction: Prediction, tmp_path: Path) -> None:
    write_csv([prediction, replace(prediction, source='b, "Ä".avi', ef=None, fps=math.nan)], tmp_path)
    path = write_csv([replace(prediction, ef=44.0), full_result(source="c.avi")], tmp_path)
    assert b"\r" not in path.read_bytes()
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["/archive/clip 1.dcm", 'b, "Ä".avi', "c.avi"]
    assert rows[1]["ef"] == rows[1]["fps"] == ""
    assert rows[0]["ef"] == "44"
    assert rows[0]["es_frames"] == "12"
    assert rows[0]["spacing_row_mm"] == "1.5"
    assert rows[0]["notes"] == "frame rate is low"
    assert all(any(row[column] for row in rows) for column in rows[0])  # no column that is always empty


def test_a_row_is_in_the_table_as_soon_as_it_is_put(prediction: Prediction, tmp_path: Path) -> None:
    table = Table(tmp_path)
    assert not table.path.exists()
    for number in range(3):
        table.put(replace(prediction, source=f"{number}.avi"))
        assert [row["source"] for row in read_rows(tmp_path)] == [f"{each}.avi" for each in range(number + 1)]
    before = table.path.read_bytes()
    table.put(replace(prediction, source="1.avi"))  # that very row
    assert table.path.read_bytes() == before
    table.put(replace(prediction, source="1.avi", ef=40.0))
    assert [row["ef"] for row in read_rows(tmp_path)] == ["57.6", "57.6", "57.6", "40"]
    table.close()
    assert [(row["source"], row["ef"]) for row in read_rows(tmp_path)] == [
        ("0.avi", "57.6"), ("1.avi", "40"), ("2.avi", "57.6"),
    ]  # fmt: skip
    again = Table(tmp_path)
    again.put(replace(prediction, source="1.avi", ef=40.0))
    assert len(read_rows(tmp_path)) == 3


def test_wherever_a_kill_cuts_the_table_one_row_is_lost_at_most(prediction: Prediction, tmp_path: Path) -> None:
    odd = replace(prediction, source='b, "Ä"\n.avi', notes=['a "note"', "of, two parts"])
    each = [replace(prediction, source="a.avi"), odd, replace(odd, source="c.avi")]
    path = write_csv(each, tmp_path)
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 4  # the heading and three rows: a line end in a name is escaped
    for cut in range(ends[0], len(whole) + 1):
        path.write_bytes(whole[:cut])
        table = Table(tmp_path)
        kept = sum(end <= cut for end in ends) - 1
        assert len(read_rows(tmp_path)) == kept, cut
        assert path.read_bytes() == whole[: ends[kept]], cut
        for prediction in each:
            table.put(prediction)
        table.close()
        assert path.read_bytes() == whole, cut


def test_a_table_that_is_damaged_inside_is_left_alone(prediction: Prediction, tmp_path: Path) -> None:
    path = write_csv([replace(prediction, source=f"{number}.avi") for number in range(3)], tmp_path)
    lines = path.read_bytes().split(b"\n")
    for spoilt in (b"1.avi,50", b"\xff\xfe", lines[2] + b",more"):
        content = b"\n".join([*lines[:2], spoilt, *lines[3:]])
        path.write_bytes(content)
        with pytest.raises(EchocycleError, match="another kind of table, or damaged"):
            Table(tmp_path)
        assert path.read_bytes() == content


def test_failures_are_a_table(tmp_path: Path) -> None:
    failures = [Failure("/in/a.avi", "unreadable", 'a, "b"'), Failure("/in/Z\udcfc.avi", "unexpected", "line\nline")]
    path = write_failures(failures, tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"source": "/in/a.avi", "kind": "unreadable", "message": 'a, "b"'},
        {"source": r"/in/Z\udcfc.avi", "kind": "unexpected", "message": r"line\nline"},
    ]
    check_failures(tmp_path)
    write_failures([], tmp_path)
    assert path.read_text() == "source,kind,message\n"


def test_beats_are_a_table_of_their_own(tmp_path: Path) -> None:
    whole, one = full_result(source="a.avi"), full_result(30, source="b.avi")
    write_csv([whole, one], tmp_path)

    def rows() -> list[dict[str, str]]:
        with (tmp_path / "beats.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    assert [(row["source"], row["beat"], row["ed_frame"]) for row in rows()] == [
        ("a.avi", "1", "0"), ("a.avi", "2", "20"), ("a.avi", "3", "40"), ("b.avi", "1", "0"),
    ]  # fmt: skip
    assert all(any(row[column] for row in rows()) for column in rows()[0])
    assert (rows()[1]["ed_s"], rows()[1]["edv"], rows()[1]["volume_unit"], rows()[1]["whole"]) == (
        "0.4", "120", "ml", "yes",
    )  # fmt: skip
    before = (tmp_path / "beats.csv").read_bytes()
    write_csv([whole, one], tmp_path)
    assert (tmp_path / "beats.csv").read_bytes() == before
    write_csv([replace(whole, beats=whole.beats[:2])], tmp_path)  # measured anew, it has fewer
    assert [row["beat"] for row in rows()] == ["1", "2", "1"]
    write_csv([replace(whole, beats=[])], tmp_path)
    assert [row["source"] for row in rows()] == ["b.avi"]


def test_a_kill_within_a_recordings_beats_costs_nothing(tmp_path: Path) -> None:
    both = [full_result(source="a.avi"), full_result(source="b.avi")]
    path = write_csv(both, tmp_path).with_name("beats.csv")
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole), 7):
        path.write_bytes(whole[:cut])
        write_csv(both, tmp_path)
        assert path.read_bytes() == whole, cut


def test_a_table_of_an_earlier_version_gets_the_new_columns(tmp_path: Path) -> None:
    old = full_result(source="old.avi")
    cells = {name: as_row(old)[name] for name in FIRST_COLUMNS}
    with (tmp_path / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIRST_COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerow(cells)
    assert [row["ef"] for row in read_rows(tmp_path)] == ["57.6"]
    assert (tmp_path / "predictions.csv").read_text().startswith("source,ef,ef_by_discs,clips")
    write_csv([full_result(source="new.avi")], tmp_path)
    before, after = read_rows(tmp_path)
    assert before == {**dict.fromkeys(after, ""), **cells}
    assert after["flags"] == "apex_cut_off"


def test_names_are_no_formulas(tmp_path: Path) -> None:
    for name in ("=HYPERLINK(1).avi", "+1+1.avi", "-2-2.avi", "@SUM(A1).avi", "\t=1.avi"):
        path = write_csv([full_result(source=name, ef=-0.0, ef_disagreement=-2.5)], tmp_path / "out")
        for table in (path, path.with_name("beats.csv"), write_failures([Failure(name, "refused", name)], tmp_path)):
            with table.open(newline="", encoding="utf-8") as file:
                row = list(csv.DictReader(file))[-1]
            assert row["source"].startswith("'"), table
        assert read_rows(tmp_path / "out")[-1]["ef_disagreement"] == "-2.5"
    assert len(read_rows(tmp_path / "out")) == 5


def test_csv_of_another_kind_is_left_alone(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("FileName,EF\na,50\n")
    with pytest.raises(EchocycleError, match="another kind of table"):
        write_csv([prediction], tmp_path)
    assert (tmp_path / "predictions.csv").read_text() == "FileName,EF\na,50\n"


def test_masks_round_trip(prediction: Prediction, tmp_path: Path) -> None:
    with np.load(write_masks(prediction, tmp_path)) as content:
        assert np.array_equal(content["masks"], prediction.masks)
        assert np.array_equal(content["affine"], prediction.affine)
        assert content["fps"] == 30
        assert tuple(content["spacing_mm"]) == (1.5, 1.5)
    with pytest.raises(EchocycleError, match="no masks"):
        write_masks(replace(prediction, masks=None), tmp_path)


def test_overlay_plays(prediction: Prediction, tmp_path: Path) -> None:
    recording = read_video(write_overlay(prediction, tmp_path), color=True)
    assert recording.frames.shape == (24, HEIGHT, PICTURE, 3)
    assert recording.fps == 30
    assert recording.notes == ()
    # the outline: leftmost point of the ellipse in frame 0 and in end systole
    picture = recording.frames[:, HEADER : HEADER + PICTURE].astype(int)
    colour = np.abs(picture - OUTLINE).sum(axis=-1) < 200
    leftmost = [int(np.flatnonzero(frame.any(axis=0))[0]) for frame in colour]
    assert leftmost[0] == pytest.approx((56.5 - 14 * 1.15) * 4, abs=4)
    assert leftmost[12] == pytest.approx((56.5 - 14 * 0.85) * 4, abs=4)
    # the cursor moves along the curve, and something is written above and below
    below = recording.frames[:, HEADER + PICTURE : HEIGHT - FOOTER]
    assert np.abs(below[0].astype(int) - below[12]).max() > 60
    assert recording.frames[0, :HEADER].max() > 180
    assert recording.frames[0, HEIGHT - FOOTER :].max() > 100


def test_overlay_without_masks_rate_or_result(prediction: Prediction, tmp_path: Path) -> None:
    bare = Prediction("clip.avi", None, "all", math.nan, 24, frames=prediction.frames)
    recording = read_video(write_overlay(bare, tmp_path), color=True)
    assert len(recording.frames) == 24
    assert recording.fps == 30
    empty = replace(prediction, masks=np.zeros_like(prediction.masks), mask_area_px=[0.0] * 24)
    assert len(read_video(write_overlay(empty, tmp_path)).frames) == 24
    with pytest.raises(EchocycleError, match="no frames"):
        write_overlay(replace(prediction, frames=None), tmp_path)


def test_the_picture_says_what_must_not_be_overlooked(prediction: Prediction, tmp_path: Path) -> None:
    """Why there is no EF, and what the model is worth, as lines between the number and the picture."""
    plain = read_video(write_overlay(prediction, tmp_path), color=True).frames[0].astype(int)
    warned = replace(
        prediction,
        ef=None,
        not_measured="The left ventricle was found in 7 of 73 frames only.",
        warnings=[
            "The model has seen synthetic clips only: no clinical meaning.",
            "On 6 test videos this model errs by 15.3 points; always answering 50.2 % errs by 10.4. Do not use it.",
        ],
    )
    lines = notices(warned)
    assert " ".join(lines) == " ".join([warned.not_measured or "", *warned.warnings])
    assert len(lines) == 4
    frame = read_video(write_overlay(warned, tmp_path), color=True).frames[0].astype(int)
    added = len(frame) - HEIGHT
    assert added >= len(lines) * NOTICE
    assert added < (len(lines) + 1) * NOTICE
    # below the lines all is as it was, with the room that they take above it
    assert np.abs(frame[HEADER + added :] - plain[HEADER:]).mean() < 4
    assert np.abs(frame[HEADER:-added] - plain[HEADER:]).mean() > 20
    for number in range(len(lines)):
        row = HEADER + number * NOTICE
        bright = (frame[row : row + NOTICE].max(-1) > 150).any(axis=0)
        assert bright[:PICTURE].sum() > 50, lines[number]
        assert not bright[-12:].any()  # nothing is cut off
    number = (frame[:HEADER, :220].max(-1) > 200).sum()
    assert number > 1.3 * (plain[:HEADER, :220].max(-1) > 200).sum()  # "EF not measured" is longer than "EF 58 %"
    assert notices(prediction) == []


def test_frames_go_to_the_encoder_one_by_one(
    prediction: Prediction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a recording is, no two drawn frames are held."""
    alive: set[int] = set()
    most = 0

    def watched(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal most
        for frame in frames:
            alive.add(id(frame))
            weakref.finalize(frame, alive.discard, id(frame))
            most = max(most, len(alive))
            yield frame
            del frame

    original = overlay.stream_mp4
    monkeypatch.setattr(
        overlay, "stream_mp4", lambda path, frames, *rest, **more: original(path, watched(frames), *rest, **more)
    )
    write_overlay(prediction, tmp_path)
    assert 1 <= most <= 3


def test_the_same_overlay_has_the_same_bytes(prediction: Prediction, tmp_path: Path) -> None:
    paths = [write_overlay(prediction, tmp_path / name) for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_the_system_refuses_is_told_as_it_is(tmp_path: Path) -> None:
    """PyAV tells only that a callback failed."""

    def frames() -> Iterator[np.ndarray]:
        rng = np.random.default_rng(0)
        for _ in range(40):
            yield rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            stream_mp4(tmp_path / "a.mp4", frames(), (64, 64), 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
    stream_mp4(tmp_path / "a.mp4", frames(), (64, 64), 30)
    assert read_video(tmp_path / "a.mp4").frames.shape == (40, 64, 64)
