"""The student: it learns from labels and from the frozen teacher, who sees the masks of the same crop."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.chain import loop_settings
from helpers.training import (
    FULL,
    Ground,
    count,
    kept_is_validated,
    paper_size,
    ten_steps,
    the_unlabelled_loss_counts,
    trained,
)
from torch import Tensor

from echocycle import stages
from echocycle.data.clips import ClipBatch, StepData
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError, UnlabelledAnnotationError
from echocycle.models.regressor import Regressor
from echocycle.models.specs import Part
from echocycle.regression.student import Student, StudentOptions, distillation_loss
from echocycle.regression.teacher import Teacher, TeacherOptions
from echocycle.settings.stages import LabelSettings, OptimiserSettings, RegressSettings
from echocycle.training.method import Inputs

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
SMALL = RegressSettings(widths=(4, 8, 8, 8), weights="none", frames=4, size=56, pad=6, batch=2)


def trained_teacher() -> Part:
    """A teacher whose batch normalisation has seen something, as loaded from a bundle."""
    torch.manual_seed(5)
    teacher = Teacher(replace(SMALL, method="teacher"), TeacherOptions(), GREY)
    teacher.regressor.train()
    with torch.no_grad():
        for _ in range(3):
            teacher.regressor(torch.randn(4, 4, 4, 56, 56) + 0.3)
        teacher.regressor.fc.bias.fill_(50.0)
        teacher.regressor.fc.weight.mul_(50)
    return teacher.parts()["regressor"].to(torch.device("cpu"))


def made(data: TrainingData | None = None, **options: Any) -> Student:
    torch.manual_seed(0)
    method = Student(SMALL, StudentOptions(unlabelled_batch=3, **options), replace(GREY, teachers=(trained_teacher(),)))
    if data is not None:
        method.prepare_start(data)
    return method.train()


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    budget = draw_budget(store, LabelSettings(labelled="4"), needs="ef")
    return TrainingData(store, budget, store.masks("truth"))


@pytest.fixture(scope="module")
def batches(data: TrainingData) -> dict[str, Any]:
    return StepData(data, made().streams(), seed=0)[0]


def test_the_loss_is_the_weighted_distance() -> None:
    student = torch.tensor([50.0, 60.0, 41.0], requires_grad=True)
    teacher = torch.tensor([52.0, 59.0, 47.0], requires_grad=True)
    for weight, halved in ((5.0, True), (5.0, False), (2.0, False)):
        found = distillation_loss(student, teacher, weight, halved)
        assert found.item() == pytest.approx(formulas.distillation(student.tolist(), teacher.tolist(), weight, halved))
    found.backward()
    assert student.grad is not None
    assert student.grad.abs().min() > 0
    assert teacher.grad is None


def test_the_student_starts_as_the_teacher_without_the_mask_channel(data: TrainingData) -> None:
    method = made(data)
    teacher, student = method.teacher.state_dict(), method.regressor.state_dict()
    assert set(teacher) == set(student)
    for name, value in teacher.items():
        expected = value[:, :3] if name == "stem.0.weight" else value
        assert torch.equal(student[name], expected), name
    assert "layer4.1.conv2.1.running_mean" in student  # batch normalisation and fc are among them
    assert student["fc.bias"].item() == 50.0
    clips = torch.randn(2, 3, 4, 56, 56)
    silent = torch.cat([clips, torch.zeros(2, 1, 4, 56, 56)], 1)
    with torch.no_grad():
        torch.testing.assert_close(method.eval().regressor(clips), method.teacher(silent), rtol=1e-4, atol=1e-4)
    fresh = made(data, start="weights")
    assert not torch.equal(fresh.regressor.stem[0].weight, fresh.teacher.stem[0].weight[:, :3])


def test_the_teacher_is_frozen(data: TrainingData, batches: dict[str, Any]) -> None:
    method = made(data)
    before = copy.deepcopy(method.teacher.state_dict())
    optimiser = method.optimiser(replace(SMALL.optimiser, lr=1e-3))
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not trained & {id(p) for p in method.teacher.parameters()}
    for step in range(2):
        method.train()
        torch.stack(list(method(batches, step).losses.values())).sum().backward()
        optimiser.step()
        assert not method.teacher.training
        assert not any(module.training for module in method.teacher.modules())
        assert method.regressor.training
    assert all(parameter.grad is None for parameter in method.teacher.parameters())
    for name, value in method.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_unlabelled_loss_counts(data: TrainingData, batches: dict[str, Any]) -> None:
    """It is not zero, it is the formula, and it alone moves the student's every weight."""
    method = made(data)
    result = method(batches, 0)
    unlabelled: ClipBatch = batches["unlabelled"]
    clips = method.preprocess.clips(unlabelled, masks=True, pad=SMALL.pad)
    with torch.no_grad():
        target = method.teacher(clips)
        guess = made(data).regressor(clips[:, :3])
    assert result.losses["unlabelled"].item() == pytest.approx(
        formulas.distillation(guess.tolist(), target.tolist(), 5.0, True), rel=1e-4
    )
    assert result.losses["unlabelled"].item() > 0.1
    result.losses["unlabelled"].backward()
    for name, parameter in method.regressor.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    paper = made(data, halved=False)(batches, 0).losses["unlabelled"].item()
    assert paper == pytest.approx(2 * result.losses["unlabelled"].item(), rel=1e-5)
    none = made(data, weight=0.0)(batches, 0).losses["unlabelled"].item()
    assert none == 0


def test_the_unlabelled_batch_passes_first(data: TrainingData, batches: dict[str, Any]) -> None:
    """Running statistics after a step are those of the unlabelled pass followed by the labelled one."""
    method = made(data)
    method(batches, 0)

    def by_hand(order: tuple[str, ...]) -> dict[str, Tensor]:
        other = made(data)
        with torch.no_grad():
            for name in order:
                other.regressor(other.preprocess.clips(batches[name], masks=False, pad=SMALL.pad))
        return {name: value for name, value in other.regressor.named_buffers() if "running" in name}

    right, wrong = by_hand(("unlabelled", "labelled")), by_hand(("labelled", "unlabelled"))
    found = dict(method.regressor.named_buffers())
    for name, value in right.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in wrong.items())


class Recorder(torch.nn.Module):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, clips: Tensor) -> Tensor:
        self.seen.append(clips.detach().clone())
        return clips.mean((1, 2, 3, 4)) * self.weight


def test_both_see_the_same_crop(data: TrainingData, batches: dict[str, Any]) -> None:
    method = made()
    teacher, student = Recorder(), Recorder()
    method.teacher, method.regressor = teacher, student  # type: ignore[assignment]
    method(batches, 0)
    (four,), (first, second) = teacher.seen, student.seen
    assert four.shape == (3, 4, 4, 56, 56)
    assert torch.equal(first, four[:, :3])
    assert second.shape == (2, 3, 4, 56, 56)
    crops = batches["unlabelled"].crop
    assert not bool((crops == SMALL.pad).all())
    mask = four[:, 3]
    # the border that the crop brings in is 0 in frame and mask alike
    for clip, (row, column) in zip(four, (crops - SMALL.pad).tolist(), strict=True):
        for shift, turned in ((row, clip), (column, clip.transpose(-1, -2))):
            border = turned[:, :, :-shift] if shift < 0 else turned[:, :, turned.shape[2] - shift :]
            assert shift == 0 or border.numel() > 0
            assert shift == 0 or not border.any()
            assert turned.any()
    assert mask.min() >= -1
    assert mask.max() <= 1


def test_labels_of_unlabelled_clips_are_not_even_in_the_batch(batches: dict[str, Any], data: TrainingData) -> None:
    assert batches["unlabelled"].ef is None
    assert set(batches["unlabelled"].row.tolist()) <= set(data.videos("unlabelled").tolist())
    assert batches["labelled"].ef is not None
    assert batches["labelled"].mask is None
    reading = made(traced_frame_in_clip="all")
    assert reading.reads_unlabelled_annotation
    with pytest.raises(UnlabelledAnnotationError):
        StepData(data, reading.streams(), seed=0)[0]
    labelled_only = made(traced_frame_in_clip="labelled")
    assert not labelled_only.reads_unlabelled_annotation
    batch = StepData(data, labelled_only.streams(), seed=0)[0]["labelled"]
    for video, frames in zip(batch.row.tolist(), batch.video, strict=True):
        whole = torch.from_numpy(data.frames(video).copy())
        start = next(s for s in range(len(whole)) if torch.equal(whole[s], frames[0]))
        assert any(frame in range(start, start + 7, 2) for frame in data.traced_frames(video))


@pytest.mark.parametrize("how", ["none", "all"])
def test_the_public_codes_validation_clips_have_a_traced_frame(data: TrainingData, how: str) -> None:
    sampler: Any = made(traced_frame_in_clip=how).validation().stream.sampler
    video = int(data.videos("validation")[0])
    seen = [sampler.draw(data, video, np.random.default_rng(seed)).video for seed in range(12)]
    whole = data.frames(video)
    starts = [next(s for s in range(len(whole)) if np.array_equal(whole[s], clip[0])) for clip in seen]
    traced = [any(frame in range(start, start + 7, 2) for frame in data.traced_frames(video)) for start in starts]
    assert all(traced) == (how == "all")


def test_it_starts_as_a_teacher_of_another_scale(data: TrainingData) -> None:
    """What the last layer says is EF in units of `target_scale`."""
    teacher = trained_teacher()
    settings = replace(SMALL, target_scale=5.0)
    student = Student(settings, StudentOptions(), replace(GREY, teachers=(teacher,)))
    student.prepare_start(data)
    features = torch.randn(3, SMALL.widths[-1])
    network: Any = teacher.network
    torch.testing.assert_close(student.regressor.answer(features), network.answer(features))


def test_a_student_needs_a_fitting_teacher() -> None:
    with pytest.raises(EchocycleError, match="--teacher"):
        Student(SMALL, StudentOptions(), GREY)
    part = trained_teacher()
    with pytest.raises(EchocycleError, match="frames is 8"):
        Student(replace(SMALL, frames=8), StudentOptions(), replace(GREY, teachers=(part,)))
    blind = Part(replace(part.spec, channels=3), Regressor(widths=(4, 8, 8, 8)))
    with pytest.raises(EchocycleError, match="takes no masks"):
        Student(SMALL, StudentOptions(), replace(GREY, teachers=(blind,)))


@pytest.mark.slow
def test_reading_unlabelled_tracings_must_be_allowed_and_is_told(store: Store, tmp_path: Path) -> None:
    """Through the stage: refused without the flag; with it run.json says so and counts those labels."""
    from helpers.chain import copied, regress_settings, segment_settings

    own = copied(store, tmp_path)
    stages.segment(own.path, tmp_path / "css", segment_settings("css"))
    stages.mask(own.path, tmp_path / "css")
    stages.regress(own.path, tmp_path / "teacher", regress_settings("teacher"), masks=tmp_path / "css")

    settings = regress_settings("student", option={"traced_frame_in_clip": "all", "unlabelled_batch": "2"})

    def run(chosen: RegressSettings, name: str) -> None:
        stages.regress(own.path, tmp_path / name, chosen, masks=tmp_path / "css", teacher=tmp_path / "teacher")

    with pytest.raises(EchocycleError, match=r"--labels\.allow-unlabelled-annotation"):
        run(settings, "refused")
    assert not (tmp_path / "refused").exists()
    allowed = replace(settings, labels=replace(settings.labels, allow_unlabelled_annotation=True))
    run(allowed, "allowed")
    from echocycle.runs import Run

    info = Run(tmp_path / "allowed").info
    assert info["reads_unlabelled_annotation"] is True
    budget = info["budget"]
    assert budget["labels_used_in_all"] == budget["labelled"] + budget["unlabelled"] + budget["validation"] == 12
    run(regress_settings("student"), "plain")
    info = Run(tmp_path / "plain").info
    assert info["reads_unlabelled_annotation"] is False
    assert info["budget"]["labels_used_in_all"] == info["budget"]["labels_used"] == 8


@pytest.mark.parametrize(("network", "stem"), [("r2plus1d_18", 45 * 49), ("r3d_18", 64 * 147), ("mc3_18", 64 * 147)])
def test_at_the_papers_size(network: str, stem: int) -> None:
    """20 labelled and 10 unlabelled clips a step, 25 epochs; the teacher, at its side, is not trained."""
    method = paper_size("student", network, paper_size("teacher", network).parts()["regressor"])
    assert count(method.regressor) == FULL[network]
    assert count(method.teacher) == FULL[network] + stem
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == FULL[network]
    _, examples = method.step_examples()
    shapes = [(tuple(example.shape), passed) for example, passed in examples]
    assert shapes == [((2, 3, 32, 112, 112), 20), ((2, 3, 32, 112, 112), 10)]
    assert method.regressor(examples[0][0].to("meta")).shape == (2,)
    o, settings, rule = method.options, method.settings, method.settings.optimiser
    assert (o.weight, o.halved, o.start, o.traced_frame_in_clip) == (5.0, True, "teacher", "none")
    assert (rule.name, rule.lr, rule.momentum, rule.weight_decay) == ("sgd", 1e-4, 0.9, 1e-4)
    assert (rule.schedule, rule.step_epochs, rule.gamma, settings.loop.epochs) == ("step", 15, 0.1, 25)
    assert method.validation().passes == 3


# --------------------------------------------------------------------------------------------- through the loop


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), store)


@pytest.fixture(scope="module")
def needs(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The masks, and a teacher who tells videos apart; one of a few steps says next to the same of all."""
    folder, masks = tmp_path_factory.mktemp("runs") / "teacher", {"masks": ground.masks}
    more = {"optimiser": OptimiserSettings("adamw", lr=1e-2), "loop": loop_settings(steps=30, validate_every=30)}
    teacher = trained(ground.store.path, folder, "teacher", masks, option={"mask_channel": "zero"}, **more)
    return {**masks, "teacher": teacher}


def test_through_the_loop(
    ground: Ground, needs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts as its teacher, as the paper's does. How it survives a kill is seen in test_train.py."""
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, ground.store.path, tmp_path / "ten", "student", needs=needs):
            assert last < 0.97 * first, loss
    run = trained(ground.store.path, tmp_path / "run", "student", needs)
    kept_is_validated(run, ground.data, needs["teacher"])


def test_the_unlabelled_loss_changes_the_model(ground: Ground, needs: dict[str, Path], tmp_path: Path) -> None:
    the_unlabelled_loss_counts(ground.store.path, tmp_path, "student", needs)
