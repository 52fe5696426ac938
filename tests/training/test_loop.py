"""The loop: it learns, it can be killed anywhere and ends with the same bits, it keeps the best and refuses nonsense."""

import ast
import csv
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.chain import LABELS, copied, loop_settings, regress_settings, segment_settings

from echocycle import cli, regression, segmentation, stages
from echocycle.bundle import load_bundle
from echocycle.data.clips import StepData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.regression.supervised import SupervisedRegression
from echocycle.runs import Run
from echocycle.settings.stages import OptimiserSettings, RegressSettings, SegmentSettings
from echocycle.training import loop as train
from echocycle.training import opened
from echocycle.training.loop import learning_rate, step_seed
from echocycle.training.method import Method, StepResult


class Ground:
    """A store with masks, and the finished runs that a student is built on."""

    def __init__(self, folder: Path, store: Store):
        self.store = copied(store, folder).path
        self.css, self.teacher = folder / "css", folder / "teacher"
        stages.segment(self.store, self.css, segment_settings("css"))
        stages.mask(self.store, self.css)
        stages.regress(self.store, self.teacher, regress_settings("teacher"), masks=self.css)

    def train(self, what: str, run: Path, **settings: Any) -> Path:
        """Train a method (`segment css`, `regress student`) into a run's folder."""
        stage, method = what.split()
        if stage == "segment":
            stages.segment(self.store, run, segment_settings(method, **settings))
            return run
        needs = {"masks": self.css} if method != "supervised" else {}
        needs |= {"teacher": self.teacher} if method == "student" else {}
        stages.regress(self.store, run, regress_settings(method, **settings), **needs)
        return run


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), store)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def left_by(run: Path) -> dict[str, str]:
    """Everything that a run left and that must not depend on how often it was killed: name and content."""
    found = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file() and "tensorboard" not in p.parts):
        text = sha256(path) if path.suffix in (".safetensors", ".ckpt") else path.read_text()
        if path.name == "run.json":
            text = str({key: value for key, value in read_json(path).items() if key != "made_with"})
        if path.parent.name == "model" and path.name == "settings.json":
            text = str(read_json(path))
        found[str(path.relative_to(run))] = text
    return found


# ------------------------------------------------------------------------------------------- learning rate


def test_flat_and_stepped_learning_rates() -> None:
    flat = OptimiserSettings(lr=0.3)
    assert [learning_rate(flat, step, 100, 10) for step in (0, 50, 99)] == [0.3] * 3
    stepped = OptimiserSettings(lr=1e-4, schedule="step", step_epochs=15, gamma=0.1)
    rates = [learning_rate(stepped, step, 45 * 46, 46) for step in range(45 * 46)]  # the paper's 920 labels
    assert rates[0] == rates[15 * 46 - 1] == 1e-4
    assert rates[15 * 46] == rates[30 * 46 - 1] == pytest.approx(1e-5)
    assert rates[30 * 46] == rates[-1] == pytest.approx(1e-6)


def test_one_cycle() -> None:
    settings = OptimiserSettings(lr=2.0, schedule="one-cycle")
    rates = [learning_rate(settings, step, 400, 10) for step in range(400)]
    assert rates[0] == pytest.approx(0.08)
    top = int(np.argmax(rates))
    assert rates[top] == 2.0
    assert 20 <= top <= 100  # rises first, and for no more than a quarter
    assert all(later > earlier for earlier, later in pairwise(rates[: top + 1]))
    assert all(later < earlier for earlier, later in pairwise(rates[top:]))
    assert 0 < rates[-1] < 1e-3
    assert [learning_rate(settings, 0, steps, 1) > 0 for steps in (1, 2, 3)] == [True] * 3


# ------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("stage", [segmentation, regression])
def test_every_method_takes_ten_steps(stage: ModuleType) -> None:
    """A method that no test of its own gives to `ten_steps` may learn nothing in the loop, and nobody would see it."""
    named = set()
    for file in (Path(__file__).parents[1] / stage.__name__.split(".")[-1]).glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ten_steps":
                named.add(ast.literal_eval(node.args[3]))
    assert named == set(stage.METHODS)


def test_a_run_through_the_loop_learns(ground: Ground, tmp_path: Path) -> None:
    optimiser = OptimiserSettings("adamw", lr=1e-2)
    loop = loop_settings(steps=30, validate_every=15)
    run = ground.train("segment supervised", tmp_path / "run", loop=loop, optimiser=optimiser)
    losses = [float(row["total"]) for row in table(run / "losses.csv")]
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    rows = table(run / "validation.csv")
    assert [row["step"] for row in rows] == ["14", "29"]
    assert float(rows[1]["bce"]) < float(rows[0]["bce"])


# --------------------------------------------------------------------------------------------- interruption

LOOP = {"steps": 7, "validate_every": 2, "gradient_every": 2}


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def kill_in_step(patch: pytest.MonkeyPatch, at: int) -> None:
    """While a step is computed."""

    def begin_step(self: Method, step: int) -> None:
        if step == at:
            raise Killed

    patch.setattr(Method, "begin_step", begin_step)


def kill_before_point(patch: pytest.MonkeyPatch, at: int) -> None:
    """After step and validation, before the resume point is written."""
    original = train._write_point

    def write(path: Path, method: Any, optim: Any, step: int, *rest: Any) -> None:
        if step == at:
            raise Killed
        original(path, method, optim, step, *rest)

    patch.setattr(train, "_write_point", write)


def kill_after_point(patch: pytest.MonkeyPatch, at: int) -> None:
    """Right after the resume point was written."""
    original = train._write_point

    def write(path: Path, method: Any, optim: Any, step: int, *rest: Any) -> None:
        original(path, method, optim, step, *rest)
        if step == at:
            raise Killed

    patch.setattr(train, "_write_point", write)


def kill_in_point(patch: pytest.MonkeyPatch, at: int) -> None:
    """While the resume point is written: half a file lies there."""
    original = torch.save

    def save(content: Any, path: Path, *rest: Any) -> None:
        if isinstance(content, dict) and content.get("step") == at:
            Path(path).write_bytes(b"half")
            shutil.copy(path, Path(path).with_name(".resume.1.partial.ckpt"))  # nobody cleans up after a real kill
            raise Killed
        original(content, path, *rest)

    patch.setattr(torch, "save", save)


def kill_in_bundle(patch: pytest.MonkeyPatch, at: int) -> None:
    """While the best weights are saved: they are new and settings.json still names the old."""
    import echocycle.bundle

    original = echocycle.bundle.write_json
    calls = []

    def write(path: Path, value: Any) -> None:
        calls.append(path)
        if len(calls) == at:
            raise Killed
        original(path, value)

    patch.setattr(echocycle.bundle, "write_json", write)


def kill_before_done(patch: pytest.MonkeyPatch, at: int) -> None:
    """After the last step, before the run is marked as done."""

    def finish(self: Run, result: Any) -> None:
        raise Killed

    patch.setattr(Run, "finish", finish)


KILLS: list[tuple[str, Callable[[pytest.MonkeyPatch, int], None], int, float]] = [
    ("in the first step", kill_in_step, 0, 0),
    ("in a step", kill_in_step, 5, 0),
    ("with the best's point alone", kill_in_step, 3, 1e9),
    ("some steps after a point", kill_in_step, 5, 3),
    ("right after a point", kill_after_point, 3, 0),
    ("right after a point of many steps", kill_after_point, 6, 3),
    ("between validation and point", kill_before_point, 4, 0),
    ("before the first point is there", kill_before_point, 1, 0),
    ("while a point is written", kill_in_point, 4, 0),
    ("while the best is saved", kill_in_bundle, 1, 0),
    ("at the end", kill_before_done, 0, 0),
    ("at the end with the best's point alone", kill_before_done, 0, 1e9),
]


@pytest.fixture(scope="module")
def uninterrupted(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """What a run that nobody killed leaves, by method."""
    known: dict[str, dict[str, str]] = {}

    def of(what: str) -> dict[str, str]:
        if what not in known:
            folder = tmp_path_factory.mktemp("whole") / "run"
            known[what] = left_by(ground.train(what, folder, loop=loop_settings(**LOOP)))
        return known[what]

    return of


def ticking() -> Iterator[float]:
    """A clock that moves on by one second whenever it is read."""
    now = 0.0
    while True:
        now += 1.0
        yield now


def cases() -> list[Any]:
    """Every kill of a CSS run, and some of a teacher's and a student's."""
    found = []
    for what, kills in (("segment css", KILLS), ("regress teacher", KILLS[1::4]), ("regress student", KILLS[::2])):
        found += [pytest.param(what, *kill, id=f"{what} {kill[0]}".replace(" ", "-")) for kill in kills]
    return found


@pytest.mark.parametrize(("what", "name", "kill", "at", "seconds"), cases())
def test_killed_and_resumed_equals_not_killed(
    ground: Ground,
    uninterrupted: Callable[[str], dict[str, str]],
    what: str,
    name: str,
    kill: Callable[[pytest.MonkeyPatch, int], None],
    at: int,
    seconds: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit: weights, losses.csv, validation.csv, labels.csv, and no file more or less."""
    run = tmp_path / "run"
    clock = ticking()
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with monkeypatch.context() as patch:
        kill(patch, at)
        with pytest.raises(Killed):
            ground.train(what, run, loop=loop_settings(**LOOP, checkpoint_seconds=seconds))
    assert not Run(run).done
    point = run / "resume.ckpt"
    if seconds == 3:
        assert 0 < torch.load(point, weights_only=True)["step"] < 7
    if "first" in name:
        assert not point.exists()
    if seconds == 1e9 and point.exists():  # written with the best alone, so that they cannot part company
        kept = torch.load(point, weights_only=True)
        assert kept["step"] == kept["best_step"] + 1
    if (run / "losses.csv").exists():  # a real kill can also leave half a row
        with open(run / "losses.csv", "a") as file:
            file.write("3")
    ground.train(what, run, loop=loop_settings(**LOOP, checkpoint_seconds=seconds))
    expected, found = uninterrupted(what), left_by(run)
    ignored = ("run.json", "model/settings.json")  # they hold checkpoint_seconds; compared without it below
    assert set(found) == set(expected)
    for file in set(expected) - set(ignored):
        assert found[file] == expected[file], file
    for file in ignored:
        assert found[file].replace(f"'checkpoint_seconds': {seconds}", "") == expected[file].replace(
            "'checkpoint_seconds': 60.0", ""
        ), file


def test_the_comparison_can_fail(
    ground: Ground, uninterrupted: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """Another seed gives other bits in every file that is compared."""
    other = left_by(ground.train("segment css", tmp_path / "run", loop=loop_settings(**LOOP, seed=1)))
    for file in ("model/segmenter.safetensors", "losses.csv", "validation.csv"):
        assert other[file] != uninterrupted("segment css")[file]
    assert other["labels.csv"] == uninterrupted("segment css")["labels.csv"]


def arguments(store: Path, run: Path, **extra: Any) -> list[str]:
    """The command of a CSS run of 80 steps."""
    settings = {
        "network": "unet",
        "width": 2,
        "weights": "none",
        "size": 32,
        "batch": 2,
        "labels.labelled": 4,
        "option.period": 2,
        "option.longer-than": 79,
        "optimiser.lr": 0.001,
        "optimiser.name": "adamw",
        "loop.steps": 80,
        "loop.validate-every": 25,
        "loop.checkpoint-seconds": 0,
        "loop.device": "cpu",
        **extra,
    }
    return ["segment", str(store), str(run), *(f"--{key}={value}" for key, value in settings.items())]


@pytest.mark.slow
def test_a_real_kill_at_a_random_time(ground: Ground, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed" / "run", tmp_path / "whole" / "run"
    log = tmp_path / "log.txt"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "echocycle", *arguments(ground.store, killed)], stdout=output, stderr=output
        )
        deadline = time.monotonic() + 120
        while not (killed / "resume.ckpt").exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        delay = random.uniform(0, 0.5)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not Run(killed).done, f"80 steps were over in {delay:.2f} s"
    reached = torch.load(killed / "resume.ckpt", weights_only=True)["step"]
    assert 0 < reached < 80
    assert cli.main(arguments(ground.store, killed)) == 0
    assert cli.main(arguments(ground.store, whole, **{"loop.tensorboard": "false"})) == 0
    one, other = left_by(killed), left_by(whole)
    assert set(one) == set(other)
    for file in ("model/segmenter.safetensors", "losses.csv", "validation.csv", "labels.csv", "done.json"):
        assert one[file] == other[file], f"{file} differs; killed {delay:.3f} s in, at step {reached}"
    boards = list((killed / "tensorboard").glob("events.out.tfevents.*"))
    assert len(boards) == 2
    assert all(board.stat().st_size > 100 for board in boards)


# ------------------------------------------------------------------------------------------ what must not matter


@pytest.mark.slow
def test_worker_processes_do_not_matter(
    ground: Ground, uninterrupted: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    run = ground.train("regress student", tmp_path / "run", loop=loop_settings(**LOOP, workers=1))
    found, expected = left_by(run), uninterrupted("regress student")
    for file in ("model/regressor.safetensors", "losses.csv", "validation.csv"):
        assert found[file] == expected[file]


def test_the_resume_point_is_plain_and_gone_at_the_end(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_in_step(patch, 3)
        with pytest.raises(Killed):
            ground.train("regress teacher", run, loop=loop_settings(**LOOP, checkpoint_seconds=0))
    point = torch.load(run / "resume.ckpt", weights_only=True)
    assert set(point) == {"method", "optimiser", "step", "best", "best_step"}
    assert (point["step"], point["best_step"]) == (3, 1)
    assert math.isfinite(point["best"])
    ground.train("regress teacher", run, loop=loop_settings(**LOOP, checkpoint_seconds=0))
    assert not (run / "resume.ckpt").exists()
    assert Run(run).done
    # killed between done.json and the removal of the point, the next call removes it and trains nothing
    (run / "resume.ckpt").write_bytes(b"left")
    kill_in_step(monkeypatch, 0)
    ground.train("regress teacher", run, loop=loop_settings(**LOOP))
    assert not (run / "resume.ckpt").exists()


def test_other_settings_are_refused_and_operational_ones_go_on(
    ground: Ground,
    uninterrupted: Callable[[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_in_step(patch, 4)
        with pytest.raises(Killed):
            ground.train("segment css", run, loop=loop_settings(**LOOP, checkpoint_seconds=0))
    before = left_by(run)
    for changed in (
        {"loop": loop_settings(**{**LOOP, "steps": 8})},
        {"loop": loop_settings(**LOOP, seed=1)},
        {"loop": loop_settings(**LOOP), "width": 3},
        {"loop": loop_settings(**LOOP), "labels": replace(LABELS, labelled="3")},
        {"loop": loop_settings(**LOOP), "option": {"period": "2", "longer_than": "79", "weight": "0.1"}},
    ):
        with pytest.raises(EchocycleError, match="other settings"):
            ground.train("segment css", run, **changed)
    with pytest.raises(EchocycleError, match="other settings"):
        ground.train("segment supervised", run, loop=loop_settings(**LOOP))
    assert left_by(run) == before
    operational = {"checkpoint_seconds": 5.0, "device": "auto" if not torch.cuda.is_available() else "cpu"}
    ground.train("segment css", run, loop=loop_settings(**{**LOOP, **operational}))
    found, expected = left_by(run), uninterrupted("segment css")
    for file in ("model/segmenter.safetensors", "losses.csv", "validation.csv", "labels.csv", "done.json"):
        assert found[file] == expected[file]


def test_a_kill_before_run_json_leaves_a_folder_that_can_be_used(ground: Ground, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".run.77.partial.json").write_text("{")
    ground.train("segment supervised", run, loop=loop_settings(steps=1, validate_every=1))
    assert Run(run).done
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(EchocycleError, match="not empty"):
        ground.train("segment supervised", other)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_dropout_depends_on_seed_and_step_only(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len({step_seed(seed, step, rank) for seed in range(3) for step in range(50) for rank in range(2)}) == 300
    drawn: dict[str, list[float]] = {}

    def record(name: str, **loop: Any) -> list[float]:
        values = drawn[name] = []

        def begin_step(self: Method, step: int) -> None:
            values.append(torch.rand(1).item())

        monkeypatch.setattr(Method, "begin_step", begin_step)
        ground.train("segment supervised", tmp_path / name, loop=loop_settings(**{**LOOP, **loop}))
        return values

    usual = record("usual")
    assert len(set(usual)) == 7
    assert record("often", validate_every=1, checkpoint_seconds=0) == usual
    assert record("seed", seed=1) != usual
    with monkeypatch.context() as patch:
        kill_after_point(patch, 3)
        with pytest.raises(Killed):
            record("killed", checkpoint_seconds=0)
    assert record("killed", checkpoint_seconds=0) == usual[3:]


# ----------------------------------------------------------------------------------------- what is kept, what is said


def scripted(monkeypatch: pytest.MonkeyPatch, values: dict[int, float]) -> dict[int, dict[str, torch.Tensor]]:
    """Let validation after a step give a value, and note the weights then."""
    weights: dict[int, dict[str, torch.Tensor]] = {}
    original = train.validate

    def validate(method: Any, *rest: Any) -> dict[str, float]:
        found = original(method, *rest)
        step = method.last_step
        weights[step] = {name: value.detach().clone() for name, value in method.regressor.state_dict().items()}
        return {**found, "mse": values[step]}

    monkeypatch.setattr(train, "validate", validate)
    monkeypatch.setattr(Method, "after_step", lambda self, step: setattr(self, "last_step", step))
    return weights


def test_the_lowest_validation_is_kept(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = scripted(monkeypatch, {1: 9.0, 3: 4.0, 5: math.nan, 6: 5.0})
    run = ground.train("regress supervised", tmp_path / "run", loop=loop_settings(**LOOP))
    assert read_json(run / "done.json") == {"steps": 7, "best_step": 3, "mse": 4.0}
    kept = load_bundle(run).regressor
    assert kept is not None
    for name, value in kept.network.state_dict().items():
        assert torch.equal(value, weights[3][name]), name
    assert not torch.equal(weights[3]["fc.weight"], weights[6]["fc.weight"])
    assert [float(row["mse"]) for row in table(run / "validation.csv")][3] == 5.0


def test_the_best_before_a_kill_is_not_forgotten(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = scripted(monkeypatch, {1: 2.0, 3: 4.0, 5: 3.0, 6: 5.0})
    run, loop = tmp_path / "run", loop_settings(**LOOP, checkpoint_seconds=0)
    with monkeypatch.context() as patch:
        kill_in_step(patch, 2)
        with pytest.raises(Killed):
            ground.train("regress supervised", run, loop=loop)
    ground.train("regress supervised", run, loop=loop)
    assert read_json(run / "done.json")["best_step"] == 1
    kept = load_bundle(run).regressor
    assert kept is not None
    assert torch.equal(kept.network.fc.weight, weights[1]["fc.weight"])


def test_a_run_without_a_finite_validation_says_so(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, {step: math.nan for step in range(7)})
    with pytest.raises(EchocycleError, match="No validation gave a finite value"):
        ground.train("regress supervised", tmp_path / "run", loop=loop_settings(**LOOP))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_point(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, loop = tmp_path / "run", loop_settings(**LOOP, checkpoint_seconds=0)
    original = SupervisedRegression.forward

    def forward(self: SupervisedRegression, batches: Any, step: int) -> StepResult:
        result = original(self, batches, step)
        return StepResult({**result.losses, "extra": torch.tensor(math.inf)}, {}) if step == 4 else result

    with monkeypatch.context() as patch:
        patch.setattr(SupervisedRegression, "forward", forward)
        with pytest.raises(EchocycleError, match=r"step 4 is not finite .*extra inf.*--optimiser\.lr"):
            ground.train("regress supervised", run, loop=loop)
    point = torch.load(run / "resume.ckpt", weights_only=True)
    assert point["step"] == 4
    assert all(torch.isfinite(value).all() for value in point["method"].values())
    assert load_bundle(run).regressor is not None
    assert [row["step"] for row in table(run / "losses.csv")] == ["0", "1", "2", "3"]
    ground.train("regress supervised", run, loop=loop)
    assert Run(run).done


def test_weights_that_a_gradient_broke_are_not_kept(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss may be finite and its gradient not; the point before stays, and the run can go on from it."""
    run, loop = tmp_path / "run", loop_settings(**LOOP, checkpoint_seconds=0)

    def after_step(self: Any, step: int) -> None:
        if step == 4:
            self.regressor.fc.weight.data[0, 0] = math.nan

    with monkeypatch.context() as patch:
        patch.setattr(Method, "after_step", after_step)
        with pytest.raises(EchocycleError, match=r"fc\.weight are not finite"):
            ground.train("regress supervised", run, loop=loop)
    assert torch.load(run / "resume.ckpt", weights_only=True)["step"] == 4
    ground.train("regress supervised", run, loop=loop)
    assert Run(run).done


def test_each_losss_gradient_is_logged(ground: Ground, uninterrupted: Callable[[str], dict[str, str]]) -> None:
    """Every `gradient_every` steps the norm of each loss's own gradient; the first by hand."""
    rows = list(csv.DictReader(uninterrupted("segment css")["losses.csv"].splitlines()))
    for step, row in enumerate(rows):
        for name in ("gradient/segmentation", "gradient/css"):
            assert bool(row[name]) == (step % 2 == 0)
        assert float(row["total"]) == pytest.approx(float(row["segmentation"]) + float(row["css"]), rel=1e-5)
        assert float(row["css"]) == pytest.approx(0.01 * float(row["css_unweighted"]), rel=1e-5)
        assert float(row["lr"]) == learning_rate(segment_settings("css").optimiser, step, 7, 2)

    from echocycle.segmentation.css import CSS, CSSOptions

    data = opened.open_data(ground.store, LABELS, "tracing")
    torch.manual_seed(0)
    method = CSS(segment_settings("css"), CSSOptions(period=2, longer_than=79), opened.inputs_of(data))
    batches = StepData(data.view, method.streams(), seed=0)[0]
    torch.manual_seed(step_seed(0, 0, 0))
    method.train()(batches, 0).losses["segmentation"].backward()
    squares = [float(p.grad.double().square().sum()) for p in method.parameters() if p.grad is not None]
    assert float(rows[0]["gradient/segmentation"]) == pytest.approx(math.sqrt(sum(squares)), rel=1e-5)
    assert float(rows[0]["gradient/css"]) >= 0


def test_tensorboard_files(ground: Ground, tmp_path: Path) -> None:
    run = ground.train("segment css", tmp_path / "run", loop=loop_settings(steps=2, tensorboard=True))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {"losses/segmentation", "losses/css", "losses/gradient/css", "losses/lr", "validation/bce"} <= names
    assert [event.step for event in events.Scalars("losses/total")] == [0, 1]
    row = table(run / "losses.csv")[1]
    assert events.Scalars("losses/total")[1].value == pytest.approx(float(row["total"]), rel=1e-5)


def test_each_loss_has_a_gradient_norm_in_bf16_too(ground: Ground, tmp_path: Path) -> None:
    loop = loop_settings(steps=2, precision="bf16", gradient_every=1)
    run = ground.train("regress student", tmp_path / "run", loop=loop)
    rows = table(run / "losses.csv")
    assert all(float(row[f"gradient/{loss}"]) > 0 for row in rows for loss in ("labelled", "unlabelled"))


def test_a_student_and_its_teacher_take_the_same_masks(ground: Ground, tmp_path: Path) -> None:
    other = ground.train("segment supervised", tmp_path / "other")
    stages.mask(ground.store, other)
    with pytest.raises(EchocycleError, match="another segmenter"):
        stages.regress(ground.store, tmp_path / "run", regress_settings("student"), masks=other, teacher=ground.teacher)


def settings_of(kind: type[SegmentSettings] | type[RegressSettings], values: dict[str, Any]) -> Any:
    from echocycle.settings.convert import from_dict

    return from_dict(kind, values)


def test_run_json_repeats_the_run(ground: Ground, tmp_path: Path, uninterrupted: Any) -> None:
    """The settings in run.json, read back, train the same bits."""
    run = ground.train("segment css", tmp_path / "a" / "run", loop=loop_settings(**LOOP))
    settings = settings_of(SegmentSettings, Run(run).info["settings"])
    stages.segment(ground.store, tmp_path / "b" / "run", settings)
    assert left_by(tmp_path / "b" / "run") == left_by(run) == uninterrupted("segment css")
