"""What a run resumes from is checked before it is used: resume.ckpt, losses.csv, labels.csv."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.chain import copied, loop_settings, regress_settings, segment_settings

from echocycle import stages
from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.training import loop as loop_module
from echocycle.training.method import Method

LOOP = {"steps": 6, "validate_every": 2, "checkpoint_seconds": 0}


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


@pytest.fixture(scope="module")
def killed(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A store, a run of a segmenter killed in its fourth step, and one that nobody killed."""
    folder = tmp_path_factory.mktemp("killed")
    own, settings = copied(store, folder).path, segment_settings("supervised", loop=loop_settings(**LOOP))
    begin = Method.begin_step

    def begin_step(self: Method, step: int) -> None:
        if step == 4:
            raise Killed
        begin(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Method, "begin_step", begin_step)
        with pytest.raises(Killed):
            stages.segment(own, folder / "killed" / "run", settings)
    stages.segment(own, folder / "whole" / "run", settings)
    return own, folder / "killed" / "run", folder / "whole" / "run"


def goes_on(store: Path, run: Path) -> None:
    stages.segment(store, run, segment_settings("supervised", loop=loop_settings(**LOOP)))


def altered(point: dict[str, Any]) -> dict[str, Any]:
    """Resume points that cannot be resumed from, by what is wrong."""
    found: dict[str, Any] = {"no table": [1, 2], "nothing": None}
    for key in point:
        found[f"{key} missing"] = {name: value for name, value in point.items() if name != key}
        for value in (None, "x", [1]):
            found[f"{key} {value!r}"] = {**point, key: value}
    weights = dict(point["method"])
    first = next(iter(weights))
    found["a weight less"] = {**point, "method": {name: value for name, value in weights.items() if name != first}}
    found["a weight more"] = {**point, "method": {**weights, "new": torch.zeros(1)}}
    found["another size"] = {**point, "method": {**weights, first: torch.zeros(3, 3, 3)}}
    found["an optimiser of nothing"] = {**point, "optimiser": {}}
    found["groups of another"] = {**point, "optimiser": {**point["optimiser"], "param_groups": []}}
    found["a step that is past"] = {**point, "step": 6}
    found["a step before the first"] = {**point, "step": 0}
    found["a best to come"] = {**point, "best_step": 5}
    return found


def test_a_resume_point_that_is_none_is_one_sentence(killed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    store, run, whole = killed
    point = torch.load(run / "resume.ckpt", weights_only=True)
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    ckpt = mine / "resume.ckpt"
    content = ckpt.read_bytes()
    cases: dict[str, Any] = {"cut": content[: len(content) // 2], "empty": b"", "text": b"nothing of the kind"}
    for name, case in {**cases, **altered(point)}.items():
        if isinstance(case, bytes):
            ckpt.write_bytes(case)
        else:
            torch.save(case, ckpt)
        with pytest.raises(EchocycleError) as raised:
            goes_on(store, mine)
        said = str(raised.value)
        assert "resume.ckpt" in said, name
        assert "Delete" in said, name
        assert "\n" not in said, name
    ckpt.unlink()  # as the sentence says
    goes_on(store, mine)
    assert sha256(mine / "model" / "segmenter.safetensors") == sha256(whole / "model" / "segmenter.safetensors")
    assert sha256(mine / "losses.csv") == sha256(whole / "losses.csv")


@pytest.mark.parametrize("text", ["step\nx\n", "loss\n1\n", "step,loss\n,3\n", "\xff"])
def test_a_table_of_losses_that_is_none(killed: tuple[Path, Path, Path], tmp_path: Path, text: str) -> None:
    store, run, _ = killed
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    (mine / "losses.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(EchocycleError, match=r"losses\.csv is not the table.*resume\.ckpt"):
        goes_on(store, mine)


def test_helpers_whose_labels_are_gone(killed: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The labels of a run's helpers are counted with its own."""
    store, _, whole = killed
    helper = Path(shutil.copytree(whole, tmp_path / "helper"))
    stages.mask(store, helper)
    for text in (None, "", "name\na\n", "\xff"):
        (helper / "labels.csv").unlink(missing_ok=True)
        if text is not None:
            (helper / "labels.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(EchocycleError, match=r"labels\.csv"):
            stages.regress(store, tmp_path / "teacher", regress_settings("teacher"), masks=helper)


def test_every_command_on_an_altered_run_is_one_sentence(
    killed: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, _, whole = killed
    mine = Path(shutil.copytree(whole, tmp_path / "run"))
    (mine / "run.json").write_text('{"stage": "segment", "settings": null}')
    for line in (
        ["evaluate", str(mine), "--store", str(store)],
        ["report", str(mine), "-o", str(tmp_path / "page.html")],
        ["regress", str(store), str(tmp_path / "teacher"), "--method=teacher", f"--masks={mine}"],
        ["segment", str(store), str(mine), "--preset=tiny"],
    ):
        assert main(line) == 2, line
        said = capsys.readouterr().err
        assert "run.json: settings is null; it takes named values." in " ".join(said.split()), line
        assert "Traceback" not in said


def test_a_point_that_cannot_be_written_is_no_error_of_the_method(tmp_path: Path) -> None:
    class Broken(torch.nn.Module):
        pass

    def save(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:595] . PytorchStreamWriter failed\nmore")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(OSError, match=r"resume\.ckpt could not be written"):
            loop_module._write_point(
                tmp_path / "resume.ckpt", Broken(), torch.optim.SGD([torch.zeros(1)]), 1, loop_module.Best()
            )  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
