"""The command line: where settings come from, what is refused and how, and that help is quick."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echocycle import cli, pipeline, regression, stages
from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.recordings.video import write_mjpeg
from echocycle.runs import versions
from echocycle.settings.presets import preset
from echocycle.settings.stages import SegmentSettings

COMMANDS = (
    "phantom",
    "check",
    "prepare",
    "segment",
    "mask",
    "regress",
    "evaluate",
    "report",
    "predict",
    "info",
    "train",
    "demo",
)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ECHOCYCLE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the stage that was called last was called with; nothing is run."""
    seen: dict[str, Any] = {}

    def standing_in(name: str) -> Any:
        def call(*args: Any, **named: Any) -> None:
            seen.clear()
            seen.update(stage=name, args=args, **named)
            seen["settings"] = args[2] if len(args) > 2 else args[-1]

        return call

    for name in ("phantom", "prepare", "segment", "mask", "regress", "evaluate", "predict"):
        monkeypatch.setattr(stages, name, standing_in(name))
    monkeypatch.setattr(pipeline, "train", standing_in("train"))
    return seen


def config(folder: Path, text: str, name: str = "settings.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# ---------------------------------------------------------------------------------------------- precedence


def test_command_line_before_environment_before_file_before_preset_before_default(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ["segment", "store", "run"]

    def batch_and_labels() -> tuple[int, str]:
        assert main(call) == 0
        return asked["settings"].batch, asked["settings"].labels.labelled

    assert main(call) == 0
    assert asked["settings"] == SegmentSettings()
    tiny = preset("tiny").segment
    call += ["--preset", "tiny"]
    assert main(call) == 0
    assert asked["settings"] == tiny
    call += ["--config", config(tmp_path, "segment:\n  batch: 7\n  labels: {labelled: 11}\n")]
    assert batch_and_labels() == (7, "11")
    assert asked["settings"].optimiser == tiny.optimiser
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_LABELS_LABELLED", "22")
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_BATCH", "8")
    assert batch_and_labels() == (8, "22")
    call += ["--labels.labelled", "33"]
    assert batch_and_labels() == (8, "33")
    assert asked["args"][:2] == (Path("store"), Path("run"))


def test_a_methods_options_add_up_in_the_same_order(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One option on the command line does not take the place of all others."""
    call = ["segment", "store", "run", "--preset", "tiny", "--option.weight", "3"]
    assert main(call) == 0
    assert asked["settings"].option == {**preset("tiny").segment.option, "weight": "3"}
    call += ["--config", config(tmp_path, "segment: {option: {period: 4, temperature: 2}}")]
    assert main(call) == 0
    assert asked["settings"].option == {"longer_than": "79", "period": "4", "temperature": "2", "weight": "3"}
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_OPTION_PERIOD", "5")
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_OPTION_WEIGHT", "9")
    assert main([*call, "--option.temperature=6"]) == 0
    assert asked["settings"].option == {"longer_than": "79", "period": "5", "temperature": "6", "weight": "3"}


def test_a_presets_options_belong_to_its_method(asked: dict[str, Any]) -> None:
    assert main(["segment", "store", "run", "--preset", "tiny", "--method", "supervised"]) == 0
    assert asked["settings"].method == "supervised"
    assert asked["settings"].option == {}
    assert asked["settings"].network == "unet"


@pytest.mark.parametrize("how", ["line", "environment", "file"])
def test_a_preset_knows_each_segmentation_method(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    call = ["segment", "store", "run", "--preset=paper"]
    if how == "line":
        call += ["--method", "clas"]
    elif how == "environment":
        monkeypatch.setenv("ECHOCYCLE_SEGMENT_METHOD", "clas")
    else:
        call += ["--config", config(tmp_path, "segment: {method: clas}")]
    assert main(call) == 0
    assert asked["settings"] == preset("paper").segmentation("clas")
    assert asked["settings"].network == "r2plus1d_18"


@pytest.mark.parametrize("how", ["line", "environment", "file"])
def test_a_preset_knows_each_regression_method(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    call = ["regress", "store", "run", "--preset=paper"]
    if how == "line":
        call += ["--method", "supervised"]
    elif how == "environment":
        monkeypatch.setenv("ECHOCYCLE_REGRESS_METHOD", "supervised")
    else:
        call += ["--config", config(tmp_path, "regress: {method: supervised}")]
    assert main(call) == 0
    assert asked["settings"] == preset("paper").regression("supervised")
    assert asked["settings"].loop.epochs == 45


def test_several_teachers_are_named_one_after_the_other(asked: dict[str, Any]) -> None:
    assert main(["regress", "s", "r", "--method=committee", "--teacher", "a", "--teacher", "b", "--masks", "m"]) == 0
    assert asked["teacher"] == [Path("a"), Path("b")]
    assert main(["regress", "s", "r", "--teacher", "a"]) == 0
    assert asked["teacher"] == [Path("a")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "mask: {batch: 9, splits: [test]}"),
        ("a.json", '{"mask": {"batch": 9, "splits": ["test"]}}'),
        ("a.toml", '[mask]\nbatch = 9\nsplits = ["test"]\n'),
    ],
)
def test_three_kinds_of_file(asked: dict[str, Any], tmp_path: Path, name: str, text: str) -> None:
    assert main(["mask", "s", "r", "--config", config(tmp_path, text, name)]) == 0
    assert (asked["settings"].batch, asked["settings"].splits) == (9, ("test",))


def test_every_stage_takes_a_preset(asked: dict[str, Any]) -> None:
    tiny = preset("tiny")
    for call, expected in (
        (["mask", "s", "r"], tiny.mask),
        (["evaluate", "r"], tiny.evaluate),
        (["regress", "s", "r"], tiny.regression("student")),
    ):
        assert main([*call, "--preset", "tiny"]) == 0
        assert asked["settings"] == expected
    assert main(["phantom", "out", "--preset", "tiny"]) == 0
    settings = asked["settings"]
    assert {key: getattr(settings, key) for key in tiny.phantom} == tiny.phantom
    assert main(["prepare", "v", "s", "--preset", "tiny"]) == 0


def test_train_lays_assignments_over_file_over_preset(asked: dict[str, Any], tmp_path: Path) -> None:
    file = config(tmp_path, "segment: {batch: 7, loop: {steps: 9}}\nregress: {batch: 3}\n")
    call = [
        "train",
        "videos",
        "--preset",
        "tiny",
        "--config",
        file,
        "--set",
        "segment.loop.steps=5",
        "--set",
        "mask.batch=2",
    ]
    assert main(call) == 0
    chosen = asked["settings"]
    assert (chosen.segment.batch, chosen.segment.loop.steps, chosen.mask.batch) == (7, 5, 2)
    assert {each.batch for each in chosen.regress.values()} == {3}
    assert {each.loop.steps for each in chosen.segment_others.values()} == {5}
    assert chosen.segmentation("clas").network == preset("tiny").segmentation("clas").network == "r2plus1d_18"
    assert main([*call, "--set", "segment.method=clas"]) == 0
    assert asked["settings"].segment == replace(chosen.segmentation("clas"), batch=7), "where it is named it is meant"
    assert chosen.segment.loop.validate_every == preset("tiny").segment.loop.validate_every
    assert chosen.segmentation("clas").batch == preset("tiny").segmentation("clas").batch != 7, "of another network"
    for wrong in ("segment.loop.steps", "steps=5", "predict.batch=3", "segment.loop.stepz=5"):
        assert main(["train", "videos", "--set", wrong]) == 2


def test_an_option_is_of_one_method(asked: dict[str, Any]) -> None:
    """The student's unless another is named; what the preset says of the others stays."""
    before = preset("tiny")

    def options(*assignments: str) -> dict[str, dict[str, str]]:
        assert main(["train", "videos", "--preset", "tiny", *(f"--set={each}" for each in assignments)]) == 0
        chosen = asked["settings"]
        return {name: chosen.regression(name).option for name in regression.METHODS}

    as_it_was = {name: before.regression(name).option for name in regression.METHODS}
    weighted = options("regress.option.weight=3")
    assert weighted == as_it_was | {"student": {**as_it_was["student"], "weight": "3"}}
    named = options("regress.method=teacher", "regress.option.mask_channel=uniform", "regress.batch=3")
    assert named == as_it_was | {"teacher": {"mask_channel": "uniform"}}
    assert {each.batch for each in asked["settings"].regress.values()} == {3}


@pytest.mark.parametrize("command", ["train", "experiment"])
def test_a_misspelt_option_is_said_before_anything_is_done(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = [str(tmp_path / "videos")] if command == "train" else ["table-4", "--dry-run"]
    call = [command, *what, "-o", str(tmp_path / "out"), "--preset", "tiny", "--set", "regress.option.wight=3"]
    assert "Did you mean 'weight'?" in refused(capsys, call)
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------------- refusals


def refused(capsys: pytest.CaptureFixture[str], call: list[str], code: int = 2) -> str:
    """The message of a refused command, on one line."""
    assert main(call) == code
    captured = capsys.readouterr()
    text = captured.err + captured.out
    assert "Traceback" not in text
    return " ".join(text.replace("│", " ").split())


def test_unknown_names_get_a_suggestion(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Did you mean --batch?" in refused(capsys, ["segment", "s", "r", "--bach", "3"])
    assert "Did you mean --labels.labelled?" in refused(capsys, ["segment", "s", "r", "--labels.labeled", "3"])
    file = config(tmp_path, "segment: {loop: {stepz: 3}}")
    message = refused(capsys, ["segment", "s", "r", "--config", file])
    assert "stepz" in message
    assert "--loop.steps" in message
    assert "nonsense" in refused(capsys, ["nonsense"])
    assert asked == {}


def test_an_unknown_option_gets_a_suggestion(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["segment", str(store.path), str(tmp_path / "run"), "--option.temprature", "3", "--labels.labelled", "3"]
    assert "Did you mean 'temperature'?" in refused(capsys, call)
    assert "choose one of" in refused(capsys, [*call[:3], "--method", "cs", "--labels.labelled", "3"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("segments: {batch: 3}", "segments; it takes the sections evaluate, mask"),
        ("- 1\n- 2\n", "no sections"),
        ("", "no sections"),
        ("segment: 5", "section segment is 5"),
        ("segment: {batch: 3", "not readable"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert message in refused(capsys, ["segment", "s", "r", "--config", config(tmp_path, text)])


def test_what_is_missing_is_said(asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read" in refused(capsys, ["segment", "s", "r", "--config", str(tmp_path / "none.yaml")])
    assert "needs a value" in refused(capsys, ["segment", "s", "r", "--preset"])
    assert "no preset 'tini'" in refused(capsys, ["segment", "s", "r", "--preset", "tini"])
    assert "requires an argument" in refused(capsys, ["segment"])
    assert "batch is 0" in refused(capsys, ["mask", "s", "r", "--batch", "0"])
    assert "Choose from" in refused(capsys, ["evaluate", "r", "--protocol", "some-clips"])


def test_wrong_folders_are_one_sentence(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty [1]"
    empty.mkdir()
    nowhere = tmp_path / "nowhere"
    for call, message in (
        (["segment", str(empty), str(tmp_path / "r")], "empty [1] is not a frame store"),
        (["regress", str(nowhere), str(tmp_path / "r"), "--method", "supervised"], "is not a frame store"),
        (["regress", str(store.path), str(tmp_path / "r")], "needs masks"),
        (["mask", str(store.path), str(empty)], "empty [1] holds no trained model"),
        (["evaluate", str(empty)], "empty [1] is not a run"),
        (["evaluate", str(nowhere)], "is not a run"),
        (["report"], "at least one run"),
        (["report", str(empty), "-o", str(tmp_path / "page.html")], "is not a run"),
        (["predict", str(empty), "-o", str(tmp_path / "out"), "--model", str(nowhere)], "holds no recording"),
        (["info", str(nowhere)], "holds no trained model"),
        (["check", str(nowhere)], "does not exist"),
        (["prepare", str(nowhere), str(tmp_path / "s")], "does not exist"),
        (["prepare", str(store.path.with_name("phantom")), str(empty)], "is not a frame store"),
    ):
        assert message in refused(capsys, call), call
    assert not (tmp_path / "r").exists()


def test_a_run_of_another_store_is_refused(store: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    counts = ("labelled", "unlabelled", "validation", "labels_used_in_all")
    info = {
        "stage": "segment",
        "settings": {"method": "css", "weights": "none", "loop": {"seed": 0}},
        "where": {"store": str(store.path)},
        "data": {**store.provenance(), "id": "another"},
        "budget": {**dict.fromkeys(counts, 1), "unlabelled_annotation_allowed": False},
        "reads_unlabelled_annotation": False,
        "made_with": versions(),
    }
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(EchocycleError, match="is not finished"):
        stages.evaluate(run)
    (run / "done.json").write_text("{}")
    with pytest.raises(EchocycleError, match="is not the store that"):
        stages.evaluate(run)
    with pytest.raises(EchocycleError, match="not regress"):
        stages.finished(run, "regress")


# --------------------------------------------------------------------------------------------- exit codes


def own_folder(root: Path, rows: str) -> Path:
    (root / "Videos").mkdir(parents=True)
    for seed, name in enumerate(("a", "[b]")):
        frames = np.random.default_rng(seed).integers(0, 255, (4, 112, 112), dtype=np.uint8)
        write_mjpeg(root / "Videos" / f"{name}.avi", frames, 50)
    (root / "FileList.csv").write_text(f"FileName,EF,Split\n{rows}", encoding="utf-8")
    return root


def test_check_ends_with_1_on_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = own_folder(tmp_path / "good", "a,55,TRAIN\n[b],60,VAL\n")
    assert main(["check", str(good)]) == 0
    bad = own_folder(tmp_path / "bad", "a,55,TRAIN\n[b],160,VAL\n")
    capsys.readouterr()
    message = refused(capsys, ["check", str(bad)], code=1)
    assert "ef-out-of-range" in message
    assert "[b]" in message
    (good / "Videos" / "[b].avi").write_bytes(b"torn")
    assert main(["check", str(good)]) == 0
    capsys.readouterr()
    message = refused(capsys, ["check", str(good), "--decode"], code=1)
    assert "[b]" in message


def test_spaces_brackets_and_letters_of_all_kinds_in_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = own_folder(tmp_path / "Ünï [red] кардио 心", "a,55,TRAIN\n[b],60,VAL\n")
    store = tmp_path / "store [/]é"
    assert main(["prepare", str(folder), str(store), "--workers", "0"]) == 0
    message = " ".join(capsys.readouterr().err.split())
    assert "2 videos, 8 frames" in message
    assert Store(store).index["name"].tolist() == ["a", "[b]"]
    assert main(["prepare", str(folder), str(store), "--color"]) == 2
    assert "store [/]é was prepared" in " ".join(capsys.readouterr().err.split())


def test_an_interrupt_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "mask", interrupted)
    assert main(["mask", "s", "r"]) == 130
    assert "goes on where it was" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------- help


def run(*call: str) -> tuple[subprocess.CompletedProcess[str], float]:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "echocycle", *call], capture_output=True, text=True, timeout=60)
    return done, time.perf_counter() - start


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_quick(command: str) -> None:
    done, seconds = run(*filter(None, [command]), "--help")
    print(f"{command or 'echocycle'} --help: {seconds:.2f} s")
    assert done.returncode == 0
    assert "Usage: echocycle" in done.stdout
    assert done.stderr == ""
    if command:
        assert f"echocycle {command}" in done.stdout
    else:
        assert all(name in done.stdout for name in COMMANDS)
    assert seconds < 2


def test_the_command_line_waits_with_heavy_imports() -> None:
    code = (
        "import sys, echocycle.cli; "
        "print([name for name in ('torch', 'pandas', 'torchvision', 'matplotlib', 'skimage', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_parameter_of_every_command_has_a_sentence() -> None:
    for name in COMMANDS:
        for argument in cli.app[name].assemble_argument_collection(parse_docstring=True):
            if argument.show and not argument.children:
                assert argument.parameter.help, f"{name}: {argument.name}"


def test_exit_codes_reach_the_shell(tmp_path: Path) -> None:
    done, _ = run("check", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("echocycle: ")
    assert "Traceback" not in done.stderr
    bad = own_folder(tmp_path / "bad", "a,55,TRAIN\n[b],160,VAL\n")
    assert run("check", str(bad))[0].returncode == 1
    done, _ = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, cli.__version__)


def test_what_an_experiment_does_not_read_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs several stages, whose variables are those of their own commands."""
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_BATCH", "3")
    assert main(["experiment"]) == 0
    assert "does not read ECHOCYCLE_SEGMENT_BATCH; use --set segment.batch=" in capsys.readouterr().err.replace(
        "\n", " "
    )


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("ECHOCYCLE_PHANTOM_VIDEO", "ECHOCYCLE_PHANTOM_VIDEOS?"),
        ("ECHOCYCLE_PHANTOMS_VIDEOS", "No command reads"),
        ("ECHOCYCLE_VIDEOS", "ECHOCYCLE_SEGMENT_BATCH"),
    ],
)
def test_a_misspelt_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, variable: str, message: str
) -> None:
    monkeypatch.setenv(variable, "3")
    assert main(["phantom", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert variable in error
    assert message in error.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_variables_of_other_commands_are_let_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_BATCH", "8")
    monkeypatch.setenv("ECHOCYCLE_CAMUS", "somewhere")
    assert main(["info"]) == 0
