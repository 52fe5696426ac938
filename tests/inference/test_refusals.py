"""What ends a whole call of `predict`: the system refuses, or there is nothing that could be done."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.predicting import call, copies, sources, told, watch

from echocycle.bundle import load_bundle, save_bundle
from echocycle.cli import main
from echocycle.errors import EchocycleError, Finding
from echocycle.inference import making
from echocycle.inference.batch import predict_all


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is predicted and not taken from before."""
    return watch(monkeypatch)


# ------------------------------------------------------------------------------------- the system refuses


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a disk with that much space."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 3000, 20_000])
def test_a_full_disk_is_one_sentence_and_code_3(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], seen: list[str], size: int
) -> None:
    """Whatever is being written when it happens; nothing torn is left, and the same call then does it."""
    copies(clip, tmp_path / "in" / "a.avi", tmp_path / "in" / "b.avi")
    out = tmp_path / "out"
    with files_of_at_most(size):
        assert main(call(model, out, tmp_path / "in")) == 3
    said = told(capsys)
    assert f"{out}: the system refused (File too large)" in said
    assert "start the same command again" in said
    assert "Traceback" not in said
    assert "PyAV" not in said
    assert [path for path in out.rglob("*") if "partial" in path.name] == []
    assert main(call(model, out, tmp_path / "in")) == 0
    assert sources(out) == ["a.avi", "b.avi"]


def test_a_folder_that_cannot_be_made_or_written_to_is_code_3(
    clip: Path, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copies(clip, tmp_path / "a.avi")
    for out in ("/dev/null/x", "/proc/nothing"):
        assert main(call(model, Path(out), tmp_path / "a.avi")) == 3
        said = told(capsys)
        assert f"{out}: the system refused" in said
        assert "Traceback" not in said


def test_an_output_folder_that_goes_away_ends_the_call(
    clip: Path,
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seen: list[str],
) -> None:
    copies(clip, *(tmp_path / "in" / f"{name}.avi" for name in "abc"))
    out = tmp_path / "out"
    original = making.read_recording

    def removing(path: Path, **named: Any) -> Any:
        if path.name == "b.avi":
            shutil.rmtree(out)
        return original(path, **named)

    monkeypatch.setattr(making, "read_recording", removing)
    assert main(call(model, out, tmp_path / "in")) == 3
    assert f"{out} was removed" in told(capsys)
    assert seen == ["a.avi", "b.avi"]


# ---------------------------------------------------------------------------------------- refused at once


def test_the_output_folder_is_looked_at_first(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "read_recording", lambda *_, **__: pytest.fail("went on"))
    for name in ("predictions.csv", "failures.csv"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("FileName,EF\na,50\n")
        with pytest.raises(EchocycleError, match="another kind of table"):
            predict_all([tmp_path / "a.avi"], tmp_path / name, model)
        assert (tmp_path / name / name).read_text() == "FileName,EF\na,50\n"
    (tmp_path / "file").write_text("text")
    with pytest.raises(EchocycleError, match="is a file; name a folder"):
        predict_all([tmp_path / "a.avi"], tmp_path / "file", model)


def test_what_cannot_be_predicted_is_refused(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    for inputs, code, message in (
        ([], 2, "Name at least one recording"),
        ([tmp_path / "empty"], 2, "holds no recording"),
        ([tmp_path / "texts"], 2, "holds no recording"),
        ([tmp_path / "nowhere.avi"], 1, "is missing"),
        ([tmp_path / "texts" / "a.txt"], 1, "not a recording"),
    ):
        assert main(call(model, tmp_path / "out", *inputs)) == code, inputs
        assert message in told(capsys)
    assert main(call(tmp_path, tmp_path / "out", "x.avi")) == 2
    assert main(call(model, tmp_path / "out", "x.avi", stride=0)) == 2


def test_what_is_wrong_with_the_model_is_no_recordings_trouble(clip: Path, tmp_path: Path, model: Path) -> None:
    own = Path(shutil.copytree(model, tmp_path / "own"))
    copies(clip, tmp_path / "in" / "a.avi", tmp_path / "in" / "b.avi")
    weights = own / "model" / "regressor.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(EchocycleError, match="SHA-256 differs") as caught:
        predict_all([tmp_path / "in"], tmp_path / "out", own, device="cpu")
    assert not isinstance(caught.value, Finding)
    bundle = load_bundle(model)
    assert bundle.regressor is not None
    with torch.no_grad():
        bundle.regressor.network.fc.weight.fill_(torch.nan)
    save_bundle(bundle, own / "model")
    assert main(call(own, tmp_path / "out", tmp_path / "in")) == 2
