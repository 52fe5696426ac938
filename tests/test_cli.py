"""The command line: where settings come from, what is refused and how, and that help is quick."""

import functools
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echocycle import cli, demo, pipeline, regression, segmentation, stages
from echocycle.benchmarks import run as benchmarks
from echocycle.bundle import Bundle, save_bundle
from echocycle.cli import main
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.experiments import run as experiments
from echocycle.methods import options_of
from echocycle.models.specs import Part, SegmenterSpec
from echocycle.recordings.video import write_mjpeg
from echocycle.runs import finished, versions
from echocycle.settings.convert import to_dict
from echocycle.settings.presets import PRESETS, preset
from echocycle.settings.stages import SegmentSettings

COMMANDS = (
    "phantom",
    "check",
    "prepare",
    "segment",
    "mask",
    "regress",
    "evaluate",
    "analyse",
    "export",
    "report",
    "predict",
    "adopt",
    "deidentify",
    "bench",
    "info",
    "train",
    "demo",
    "experiment",
    "label",
    "suggest",
    "relink",
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

    def stand_in(module: Any, name: str) -> None:
        original = getattr(module, name)

        @functools.wraps(original)  # the command is read off the signature
        def call(*args: Any, **named: Any) -> None:
            bound = inspect.signature(original).bind(*args, **named)
            bound.apply_defaults()
            seen.clear()
            seen.update(bound.arguments, stage=name, args=args)
            seen["settings"] = bound.arguments.get("settings", bound.arguments.get("chosen"))

        monkeypatch.setattr(module, name, call)

    for name in ("phantom", "check", "prepare", "segment", "mask", "regress", "evaluate", "predict"):
        stand_in(stages, name)
    stand_in(pipeline, "train")
    stand_in(experiments, "experiment")
    stand_in(demo, "demo")
    return seen


def typed(settings: Any) -> Any:
    """Settings with all options of their method, as the method gets them: the command line gives text."""
    return replace(settings, option=to_dict(options_of(settings)))


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
    assert typed(asked["settings"]) == typed(tiny)
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
    tiny = preset("tiny").segment
    assert typed(asked["settings"]) == typed(replace(tiny, option={**tiny.option, "weight": 3}))
    call += ["--config", config(tmp_path, "segment: {option: {period: 4, temperature: 2}}")]
    assert main(call) == 0
    assert asked["settings"].option == {"longer_than": "79", "period": "4", "temperature": "2", "weight": "3"}
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_OPTION_PERIOD", "5")
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_OPTION_WEIGHT", "9")
    assert main([*call, "--option.temperature=6"]) == 0
    assert asked["settings"].option == {"longer_than": "79", "period": "5", "temperature": "6", "weight": "3"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_of_a_presets_options_arrives(asked: dict[str, Any], name: str) -> None:
    """Not rounded, whatever its kind; for every method."""
    chosen = preset(name)
    for stage, methods, expected in (
        ("segment", segmentation.METHODS, chosen.segmentation),
        ("regress", regression.METHODS, chosen.regression),
    ):
        for method in methods:
            assert main([stage, "store", "run", "--preset", name, "--method", method]) == 0
            assert typed(asked["settings"]) == typed(expected(method)), method


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
        if call[0] == "regress":
            assert typed(asked["settings"]) == typed(expected)
        else:
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
        assert main(["train", "videos", "--preset", "tiny", "--set", wrong]) == 2


def test_assignments_are_the_command_line_of_a_stage_too(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--set` before the environment, the option itself before both; that of another stage is refused."""
    monkeypatch.setenv("ECHOCYCLE_SEGMENT_BATCH", "8")
    call = ["segment", "s", "r", "--set", "segment.batch=5", "--set", "segment.loop.steps=3"]
    assert main(call) == 0
    assert (asked["settings"].batch, asked["settings"].loop.steps) == (5, 3)
    assert main([*call, "--batch", "4"]) == 0
    assert (asked["settings"].batch, asked["settings"].loop.steps) == (4, 3)
    assert "`segment` does not read --set regress" in refused(capsys, [*call, "--set=regress.batch=3"])
    assert "`predict` does not read" in refused(
        capsys, ["predict", "a.avi", "-o", "out", "-m", "run", "--set=evaluate.batch=3"]
    )


def test_check_reads_what_prepare_will_be_given(asked: dict[str, Any], tmp_path: Path) -> None:
    file = config(tmp_path, "prepare: {damaged: cut}")
    for call in (["check", "videos"], ["prepare", "videos", "store"]):
        assert main([*call, "--config", file]) == 0
        assert asked["settings"].damaged == "cut"
    assert main(["check", "videos", "--set", "prepare.multi_trace=vote"]) == 0
    assert asked["settings"].multi_trace == "vote"


def test_a_preset_where_no_stage_is_set_changes_nothing_and_says_so(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "a.avi", "-o", "out", "-m", "run", "--preset", "tiny"]) == 0
    assert "--preset changes nothing" in capsys.readouterr().err
    assert main(["--preset", "tiny", "mask", "s", "r"]) == 0
    assert asked["settings"] == preset("tiny").mask
    assert capsys.readouterr().err == ""


def test_settings_of_a_stage_are_never_bare_words(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert "supervised" in refused(capsys, ["segment", "s", "r", "supervised"])
    assert "9" in refused(capsys, ["mask", "s", "r", "9"])
    assert asked == {}


def test_what_several_stages_take_is_one_object(asked: dict[str, Any]) -> None:
    assert main(["experiment", "table-4", "--only", "a", "b", "--fractions", "1/8", "--dry-run"]) == 0
    assert asked["chosen"] == preset("tiny")
    assert (asked["name"], asked["only"], asked["fractions"]) == ("table-4", ("a", "b"), ("1/8",))
    assert asked["dry_run"] is True
    assert main(["experiment", "table-4", "--preset", "phantom", "--set", "mask.batch=7"]) == 0
    assert asked["chosen"] == replace(preset("phantom"), mask=replace(preset("phantom").mask, batch=7))
    assert main(["demo", "out", "--smoke"]) == 0
    assert (asked["out"], asked["smoke"], asked["chosen"]) == (Path("out"), True, None)


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
    (tmp_path / "videos").mkdir()
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
    assert "--preset requires an argument" in refused(capsys, ["segment", "s", "r", "--preset"])
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
        finished(run, "regress")


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
    assert "errors were found; see above: ef-out-of-range" in message
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

    monkeypatch.setattr(stages, "mask", functools.wraps(stages.mask)(interrupted))
    assert main(["mask", "s", "r"]) == 130
    assert "the same command resumes" in capsys.readouterr().err


def test_a_queue_that_ends_a_command_is_answered_like_an_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_order = []

    def ended(*args: Any, **named: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            put_in_order.append(True)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        monkeypatch.setattr(stages, "mask", functools.wraps(stages.mask)(ended))
        assert main(["mask", "s", "r"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert put_in_order == [True]
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "out: the system refused (No space left on device). Free some space"),
        (PermissionError(13, "Permission denied", "/data/a"), "/data/a: the system refused (Permission denied)"),
        (MemoryError(), "There is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "There is not enough memory"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_and_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    """Of every command: an error that names no file is told of what the command writes into."""

    def failing(*_: object, **__: object) -> None:
        raise error

    for name, line in (
        ("phantom", ["phantom", "out"]),
        ("prepare", ["prepare", "in", "out"]),
        ("segment", ["segment", "s", "out"]),
        ("mask", ["mask", "out", "r"]),
        ("regress", ["regress", "s", "out"]),
        ("evaluate", ["evaluate", "out"]),
        ("report", ["report", "r", "-o", "out"]),
        ("predict", ["predict", "a.avi", "-o", "out", "-m", "m"]),
        ("bench", ["bench", "--out", "out"]),
    ):
        owner = benchmarks if name == "bench" else stages
        monkeypatch.setattr(owner, name, functools.wraps(getattr(owner, name))(lambda *_, **__: failing()))
        assert said in refused(capsys, line, code=3), name


def test_a_fault_of_ours_is_no_refusal_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise KeyError("a")

    monkeypatch.setattr(stages, "mask", functools.wraps(stages.mask)(lambda *_, **__: failing()))
    with pytest.raises(KeyError):
        main(["mask", "s", "r"])


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_an_encoding_lacks_is_escaped(tmp_path: Path, encoding: str) -> None:
    """On standard output and error; a path there must not end a command whose work is done."""
    code = (
        "import functools, sys; from echocycle import cli, stages; from echocycle.console import output; "
        "stages.report = functools.wraps(stages.report)(lambda *runs, out, **_: output.print(str(out))); "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    for line in (["report", "r", "-o", "心脏/report.html"], ["info", "心脏"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *line],
            capture_output=True,
            timeout=60,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert done.returncode == (0 if line[0] == "report" else 2), done.stderr
        assert rb"\u5fc3\u810f" in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


# --------------------------------------------------------------------------------------------------- help


def run(*call: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "echocycle", *call], capture_output=True, text=True, timeout=120)


HEAVY = ("torch", "torchvision", "pandas", "scipy", "cv2", "av", "lightning", "matplotlib", "skimage", "pydicom")
"""Packages that take longer to import than a help page may."""


def imported(*call: str) -> tuple[int, str, list[str]]:
    """Exit code of a command in a process of its own, what it said, and which heavy packages it imported."""
    code = (
        "import sys; from echocycle.cli import main; code = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY!r} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *call], capture_output=True, text=True, timeout=120)
    said, _, heavy = done.stdout.strip().rpartition("\n")
    return done.returncode, said + done.stderr, json.loads(heavy.replace("'", '"'))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, heavy = imported(*filter(None, [command]), "--help")
    assert code == 0
    assert heavy == []
    assert "Usage: echocycle" in said
    if command:
        assert f"echocycle {command}" in said
    else:
        assert all(name in said for name in COMMANDS)
    assert all(option in said for option in ("--preset", "--config", "--set"))


@pytest.mark.parametrize(
    ("call", "code", "told"),
    [
        (["predict", "no.avi", "-o", "out", "-m", "run"], 2, "run holds no trained model"),
        (["info", "no"], 2, "no holds no trained model"),
        (["train", "no", "--preset", "tiny"], 2, "no does not exist"),
        (["experiment"], 0, "table-4"),
        (["report"], 2, "at least one run"),
        (["segment", "s"], 2, "requires an argument"),
    ],
)
def test_a_slip_costs_no_waiting(call: list[str], code: int, told: str, tmp_path: Path) -> None:
    """What is missing is said before PyTorch is imported, which takes seconds."""
    found, said, heavy = imported(*call)
    assert found == code
    assert told in " ".join(said.split())
    assert heavy == []


def test_what_a_model_is_made_of_needs_no_pytorch(tmp_path: Path) -> None:
    spec = SegmenterSpec("unet", 2, 16, (30.0,), (50.0,), False)
    save_bundle(Bundle(Part(spec, spec.build())), tmp_path / "m")
    code, said, heavy = imported("info", str(tmp_path / "m"))
    assert code == 0
    assert "unet" in said
    assert heavy == []
    code, said, heavy = imported(
        "predict", str(tmp_path / "no.avi"), "-o", str(tmp_path / "out"), "-m", str(tmp_path / "m")
    )
    assert code == 1
    assert "no.avi" in said
    assert heavy == []


def test_every_parameter_of_every_command_has_a_sentence() -> None:
    app = cli.command_line()
    assert {name for name in app if not name.startswith("-")} == set(COMMANDS)
    for name in COMMANDS:
        for argument in app[name].assemble_argument_collection(parse_docstring=True):
            if argument.show and not argument.children:
                assert argument.parameter.help, f"{name}: {argument.name}"


def test_exit_codes_reach_the_shell(tmp_path: Path) -> None:
    done = run("check", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("echocycle: ")
    assert "Traceback" not in done.stderr
    bad = own_folder(tmp_path / "bad", "a,55,TRAIN\n[b],160,VAL\n")
    assert run("check", str(bad)).returncode == 1
    done = run("--version")
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
