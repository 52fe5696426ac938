"""Folders that are written piece by piece: torn ends, full disks, and two jobs are never mixed."""

import errno
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.chain import copied, loop_settings, regress_settings, segment_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from echocycle import stages
from echocycle.data.store import Store
from echocycle.datasets import sources
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import EchocycleError
from echocycle.files import sha256, write_json
from echocycle.partial import Journal, PartialFolder, append, cut, file_size
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.settings.stages import EvaluateSettings, MaskSettings, PrepareSettings

JOB = {"list": "abc", "settings": {"color": False, "shares": (0.5, 0.5)}}


@contextmanager
def full_disk(largest: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is nearly full: the system refuses the rest."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------ appending


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    append(path, b"0123456789")
    with full_disk(50), pytest.raises(OSError) as raised:
        append(path, b"x" * 30, b"y" * 30)
    assert raised.value.errno == errno.EFBIG
    assert path.read_bytes() == b"0123456789"
    append(path, b"go on")
    assert path.read_bytes() == b"0123456789go on"
    with full_disk(50), pytest.raises(OSError):
        append(tmp_path / "new", b"x" * 60)
    assert file_size(tmp_path / "new") == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4)), max_size=5), st.data())
def test_a_journal_gives_back_what_is_whole(
    tmp_path_factory: pytest.TempPathFactory, entries: list[object], data: st.DataObject
) -> None:
    """Cut anywhere: the entries before the cut, and what follows is written after them."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal: Journal[object] = Journal(path)
    ends = [0]
    for entry in entries:
        journal.add(entry)
        ends.append(file_size(path))
    at = data.draw(st.integers(0, ends[-1]))
    if entries:
        cut(path, at)
    whole = sum(end <= at for end in ends) - 1
    assert journal.read() == entries[:whole]
    journal.add("more")
    assert journal.read() == [*entries[:whole], "more"]
    assert journal.read(lambda entry: entry != "more") == entries[:whole]
    assert journal.read() == entries[:whole]
    shutil.rmtree(path.parent)


# --------------------------------------------------------------------------------------------------- folders


def test_a_folder_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    made = PartialFolder(tmp_path / "store", JOB, seal="store.json", private=("journal",))
    assert made.begin()
    append(made.path / "frames", b"pixels")
    append(made.path / "journal", b"1")
    again = PartialFolder(tmp_path / "store", JOB, seal="store.json", private=("journal",))
    assert again.begin()
    assert (again.path / "frames").read_bytes() == b"pixels"
    again.seal({"job": again.job})
    assert again.sealed
    assert not (tmp_path / "store").exists()
    # a kill here leaves only the moves to be done
    last = PartialFolder(tmp_path / "store", JOB, seal="store.json", private=("journal",))
    assert not last.begin()
    last.close()
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["frames", "store.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("when", ["begun", "sealed", "moving"])
def test_another_job_takes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], when: str) -> None:
    made = PartialFolder(tmp_path / "store", JOB, seal="store.json")
    made.begin()
    append(made.path / "frames", b"pixels")
    if when != "begun":
        made.seal({"job": made.job})
    if when == "moving":
        (made.path / "started.json").unlink()
    other = PartialFolder(tmp_path / "store", {**JOB, "list": "xyz"}, seal="store.json")
    assert other.begin()
    assert [path.name for path in other.path.iterdir()] == ["started.json"]
    assert "incomplete" in capsys.readouterr().err


def test_a_folder_that_says_to_be_whole_and_is_not_is_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = PartialFolder(tmp_path / "set", {"a": 1}, seal="masks.json")
    made.begin()
    made.seal({"a": 1, "videos": 3})
    (made.path / "started.json").unlink()
    append(made.path / "blob", b"half")

    def check(path: Path) -> None:
        raise EchocycleError(f"{path}/blob is cut off.")

    again = PartialFolder(tmp_path / "set", {"a": 1}, seal="masks.json")
    assert again.begin(check)
    assert not (again.path / "blob").exists()
    assert "blob is cut off. It is made anew." in " ".join(capsys.readouterr().err.split())


def test_a_folder_made_in_place_keeps_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    made = PartialFolder(tmp_path, {"job": {"stride": 8}}, seal="metrics.json", private=("journal",), in_place=True)
    assert made.begin()
    append(tmp_path / "journal", b"1")
    made.seal({"job": {"stride": 8}, "mae": 3})
    assert made.sealed
    assert not made.closed
    made.close()
    assert made.closed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "notes.txt"]
    other = PartialFolder(tmp_path, {"job": {"stride": 4}}, seal="metrics.json", in_place=True)
    assert not other.sealed
    for text in ("[]", "3", "null"):
        (tmp_path / "metrics.json").write_text(text)
        assert not made.sealed


# ------------------------------------------------------------------------------------------------ full disks


def test_prepare_on_a_full_disk_goes_on_when_there_is_room(
    phantom_folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, here = tmp_path / "store", PrepareSettings(workers=0)
    with full_disk(5_000_000), pytest.raises(OSError):
        prepare_store(phantom_folder, made, here)
    assert not made.exists()
    whole = sum(store.n_frames(video) for video in range(4)) * 112 * 112
    assert file_size(tmp_path / "store.partial" / "frames.u8") == whole  # four videos and nothing of the fifth
    decoded = []
    original = sources.decode_video
    monkeypatch.setattr(sources, "decode_video", lambda job: decoded.append(job) or original(job))
    assert files(prepare_store(phantom_folder, made, here).path) == files(store.path)
    assert len(decoded) == 12


@pytest.mark.parametrize("stage", ["mask", "evaluate", "segment"])
def test_other_stages_on_a_full_disk_go_on_when_there_is_room(stage: str, store: Store, tmp_path: Path) -> None:
    own = copied(store, tmp_path).path
    run = tmp_path / "css"
    loop = loop_settings(checkpoint_seconds=0)
    if stage == "segment":
        whole = tmp_path / "whole" / "css"
        stages.segment(own, whole, segment_settings("css", loop=loop))
        largest = max(file_size(whole / name) for name in ("model/segmenter.safetensors", "run.json")) + 100
        with full_disk(largest), pytest.raises(OSError, match=r"resume\.ckpt could not be written"):
            stages.segment(own, run, segment_settings("css", loop=loop))
        assert not (run / "done.json").exists()
        assert not list(run.glob(".*.partial*"))
        stages.segment(own, run, segment_settings("css", loop=loop))
        for name in ("model/segmenter.safetensors", "losses.csv", "validation.csv", "done.json"):
            assert sha256(run / name) == sha256(whole / name)
        return
    stages.segment(own, run, segment_settings("css", loop=loop))
    if stage == "mask":
        with full_disk(200_000), pytest.raises(OSError):
            stages.mask(own, run)
        assert Store(own).masks_of(sha256(run / "model" / "segmenter.safetensors")) is None
        (partial,) = (own / "masks").glob("*.partial")
        assert file_size(partial / "journal.bin") > 0
        assert 0 < file_size(partial / "blob.bin") < 200_000
        made = files(stages.mask(own, run).folder)
        shutil.rmtree(own / "masks" / partial.stem)
        assert files(stages.mask(own, run, MaskSettings(batch=64)).folder) == made
        return
    evaluated = EvaluateSettings(splits=("val", "test"))
    with full_disk(1_000), pytest.raises(OSError):
        stages.evaluate(run, evaluated)
    assert not (run / "evaluation" / "metrics.json").exists()
    made = files(stages.evaluate(run, evaluated))
    shutil.rmtree(run / "evaluation")
    assert files(stages.evaluate(run, evaluated)) == made


def test_a_phantom_on_a_full_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    drawn = PhantomSettings(videos=4, val=1, test=1, frames_median=40, frames_min=36, frames_max=44)
    write_phantom(tmp_path / "whole", drawn)
    with full_disk(20_000), pytest.raises(OSError):
        write_phantom(tmp_path / "made", drawn)
    assert not (tmp_path / "made" / "phantom.json").exists()
    write_phantom(tmp_path / "made", drawn)
    assert files(tmp_path / "made") == files(tmp_path / "whole")


# -------------------------------------------------------------------------------- evaluations of other settings


def test_a_killed_evaluation_of_other_settings_is_not_taken_for_the_first(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """metrics.json never stands beside tables of other settings; and a table that is gone is made again."""
    run = tmp_path / "run"
    stages.regress(store.path, run, regress_settings("supervised"))
    one, other = (EvaluateSettings(splits=("test",), protocol=("strided",), stride=stride) for stride in (20, 40))
    first = files(stages.evaluate(run, one))
    with monkeypatch.context() as patch:
        patch.setattr("echocycle.evaluation.parts.ef_metrics", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            stages.evaluate(run, other)
    assert not (run / "evaluation" / "metrics.json").exists()
    assert files(stages.evaluate(run, one)) == first
    (run / "evaluation" / "predictions.csv").unlink()
    assert files(stages.evaluate(run, one)) == first
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    for job in (None, [], {"settings": None}):
        write_json(run / "evaluation" / "metrics.json", {**metrics, "job": job})
        assert files(stages.evaluate(run, one)) == first
    assert os.listdir(run / "evaluation")
