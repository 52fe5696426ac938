"""A dry run says in twenty lines what it would take, and leaves nothing behind."""

from pathlib import Path

import pytest

from echocycle import device
from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.forecast import own_folder
from echocycle.settings.presets import preset


def told(capsys: pytest.CaptureFixture[str], call: list[str]) -> str:
    assert main(call) == 0
    return capsys.readouterr().out


def test_train(phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", str(phantom_folder), "-o", str(tmp_path / "out"), "--preset", "debug", "--dry-run"]
    labels = ["--set", "segment.labels.labelled=4", "--set", "regress.labels.labelled=4"]
    text = told(capsys, [*call, *labels])
    assert len(text.splitlines()) <= 20
    for part in (
        "css, supervised, teacher, mask_teacher, student",
        "8 training, 4 validation, 4 test videos",
        "Time: about",
        "GiB for the largest step",
        "Protocol: strided; splits val, test",
        "Weights: none are needed",
        "Disk: about",
    ):
        assert part in text
    assert "student" not in told(capsys, call).splitlines()[0], "with all labels there is no student"
    fewer = told(capsys, [*call, *labels, "--candidates", "student"])
    assert fewer.splitlines()[0].endswith("preset debug: css, teacher, student")
    assert "seconds of a step" in told(capsys, [*call, "--details"])
    assert not list(tmp_path.iterdir())


def test_the_time_of_every_candidate_is_foretold(
    phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks together are evaluated once more, beside the teacher alone."""
    monkeypatch.setattr(own_folder, "evaluation_seconds", lambda *_: 1.0)
    parts = dict(own_folder.forecast_of(phantom_folder, tmp_path / "out", preset("debug")).parts)
    trained = {"css", "supervised", "teacher", "mask_teacher", "student"}
    evaluated = {"supervised": 1.0, "teacher": 2.0, "mask_teacher": 1.0, "student": 1.0}
    assert set(parts) == trained | {"masks"} | {f"evaluate {name}" for name in evaluated}
    assert {name: parts[f"evaluate {name}"] for name in evaluated} == evaluated
    assert all(parts[name] > 0 for name in trained)


def test_train_names_weights_that_are_missing(
    phantom_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that are, before those that are found; a dry run fetches nothing."""
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "r2plus1d_18-91a641e6.pth").touch()
    small = "--set regress.widths=4,8,8,8 --set regress.size=32 --set regress.frames=4 --set regress.pad=0"
    call = (
        f"train {phantom_folder} -o {tmp_path / 'out'} --preset debug --dry-run --set regress.weights=kinetics {small}"
    )
    text = told(capsys, [*call.split(), "--set", f"segment.weights={tmp_path}/none.pth"])
    weights = [line for line in text.splitlines() if line.startswith("Weights: ")]
    assert len(weights) == 2
    assert f"missing: {tmp_path}/none.pth" in weights[0]
    assert "r2plus1d_18-91a641e6.pth" in weights[1]
    assert "found: " in weights[1]


@pytest.mark.parametrize("there", [True, False])
def test_experiment(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: bool) -> None:
    call = [
        "experiment",
        "table-1",
        "--preset",
        "debug",
        "-o",
        str(tmp_path / "out"),
        "--fractions",
        "1/2",
        "--dry-run",
    ]
    text = told(capsys, [*call, *(["--store", str(store.path)] if there else [])])
    assert len(text.splitlines()) <= 20
    assert ("a phantom, which is drawn first" in text) is not there
    assert "8 training, 4 validation, 4 test videos" in text
    assert "Protocol: strided, one-clip" in text
    assert "regress-teacher" not in text
    assert "regress-teacher" in told(capsys, [*call, "--details"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("gpu", "name"), [(False, "tiny"), (True, "paper")])
def test_train_takes_what_suits_the_machine_and_says_so(
    gpu: bool, name: str, phantom_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(
        "echocycle.forecast.own_folder.forecast_of", lambda path, out, chosen, names: seen.append(chosen) or Shown()
    )
    assert main(["train", str(phantom_folder), "--dry-run"]) == 0
    assert seen[0].name == name
    assert f"Preset {name}, since there is {'a' if gpu else 'no'} GPU" in capsys.readouterr().err
    assert main(["train", str(phantom_folder), "--dry-run", "--preset", "debug"]) == 0
    assert seen[1].name == "debug"
    assert "since" not in capsys.readouterr().err


class Shown:
    """A forecast that says nothing."""

    def show(self, *, details: bool) -> None:
        assert details is False
