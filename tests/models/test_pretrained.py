"""First weights are looked for before anything else, and a missing one is named with its address and its place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from echocycle.cli import main
from echocycle.errors import EchocycleError
from echocycle.models.pretrained import first_weights, require_weights
from echocycle.settings.presets import preset

PAPER = preset("paper")
TRIED: list[str] = []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    TRIED.clear()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(url: str, *rest: Any, **named: Any) -> Any:
        TRIED.append(url)
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_each_network_has_its_own_file() -> None:
    def file(settings: Any) -> str:
        found = first_weights(settings)
        assert found is not None
        return found.file.name

    assert file(PAPER.segment) == "resnet50-0676ba61.pth"
    assert file(PAPER.segmentation("clas")) == file(PAPER.regression("student")) == "r2plus1d_18-91a641e6.pth"
    assert file(replace(PAPER.regression("student"), network="mc3_18")).startswith("mc3_18")
    for name in ("tiny", "phantom", "debug"):
        for settings in (preset(name).segment, preset(name).regression("student")):
            assert first_weights(settings) is None


def test_all_that_is_missing_is_said_at_once(cache: Path, tmp_path: Path) -> None:
    mine = replace(PAPER.regression("teacher"), weights=str(tmp_path / "mine.pth"))
    with pytest.raises(EchocycleError) as raised:
        require_weights([PAPER.segment, PAPER.regression("student"), mine, PAPER.segment])
    told = str(raised.value)
    for part in (
        "resnet50-0676ba61.pth",
        "https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "r2plus1d_18-91a641e6.pth",
        str(cache),
        str(tmp_path / "mine.pth"),
        "--set segment.weights=FILE",
        "--preset tiny",
    ):
        assert part in told
    assert len(TRIED) == 2, "each once"


def test_what_is_there_is_not_fetched(cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    for name in ("resnet50-0676ba61.pth", "r2plus1d_18-91a641e6.pth"):
        (cache / name).write_bytes(b"")
    require_weights([PAPER.segment, PAPER.regression("student")])
    assert TRIED == []


@pytest.mark.parametrize("begun", [None, "resume.ckpt", "done.json"])
def test_train_looks_for_them_first(
    cache: Path,
    phantom_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    begun: str | None,
) -> None:
    """Nothing is decoded before; a run that is begun has its weights already."""
    prepared: list[Any] = []

    def stop(*given: Any, **named: Any) -> None:
        prepared.append(given)
        raise EchocycleError("as far as prepare")

    monkeypatch.setattr("echocycle.stages.prepare", stop)
    out = tmp_path / "out"
    for name in ("css", "supervised", "teacher", "mask_teacher", "student") if begun else ():
        (out / "runs" / name).mkdir(parents=True)
        (out / "runs" / name / str(begun)).touch()
    assert main(["train", str(phantom_folder), "-o", str(out), "--preset", "paper"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    if begun:
        assert "as far as prepare" in told
        assert TRIED == []
    else:
        assert "resnet50-0676ba61.pth" in told
        assert prepared == []
        assert not out.exists()


def test_an_experiment_looks_for_them_first(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    call: Callable[..., int] = main
    assert call(["experiment", "table-4", "--preset", "paper", "--fractions", "1/8", "-o", str(out)]) == 2
    assert "resnet50-0676ba61.pth" in capsys.readouterr().err
    assert not out.exists(), "no phantom is drawn before"
