"""The steps of f_m and f_e, and then the evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from echocycle.benchmarks import reference
from echocycle.benchmarks.evaluation import measure_evaluation
from echocycle.benchmarks.ground import Ground
from echocycle.benchmarks.measure import OURS, Meter, Operation, count_flops, precisions, references
from echocycle.benchmarks.steps import train_beside
from echocycle.data.clips import ClipBatch, StepData
from echocycle.data.labels import TrainingData
from echocycle.models.preprocess import Preprocess
from echocycle.regression.student import Student, StudentOptions
from echocycle.regression.supervised import SupervisedRegression
from echocycle.regression.teacher import Teacher, TeacherOptions
from echocycle.settings.stages import RegressSettings


def measure_regression(ground: Ground) -> Iterator[Operation]:
    """A step of f_m, a step of f_e with the f_m just trained as its teacher, and the evaluation of that f_e."""
    plan, device = ground.plan, ground.device
    data, inputs = ground.data("1/2")
    settings = RegressSettings(
        method="teacher",
        weights="none",
        size=plan.size,
        frames=plan.frames,
        pad=plan.pad,
        batch=plan.clips,
    )
    torch.manual_seed(0)
    f_m = Teacher(settings, TeacherOptions(), inputs)
    operation, plain = _measure_regression_step(ground, data, f_m, "f_m", None)
    yield operation
    teacher = f_m.parts()["regressor"].to(device)
    options = StudentOptions(unlabelled_batch=plan.unlabelled)
    f_e = Student(replace(settings, method="student"), options, replace(inputs, teachers=(teacher,)))
    plain.load_state_dict(teacher.network.state_dict())
    operation, plain = _measure_regression_step(ground, data, f_e, "f_e", plain)
    yield operation
    student = f_e.parts()["regressor"].to(device)
    plain.load_state_dict(student.network.state_dict())
    yield measure_evaluation(ground, student, plain)


def _measure_regression_step(
    ground: Ground, data: TrainingData, method: SupervisedRegression, name: str, teacher: nn.Module | None
) -> tuple[Operation, nn.Module]:
    """A method's step, and torchvision's network that was trained beside it; `teacher` is the reference's."""
    plan, device, settings = ground.plan, ground.device, method.settings
    steps = StepData(data, method.streams(), seed=0)
    preprocess = Preprocess(method.spec.mean, method.spec.std, plan.size)
    plain = reference.regressor(method.channels).to(device)
    optim = reference.optimiser(plain, settings.optimiser.lr, settings.optimiser.weight_decay)

    def clips(batch: ClipBatch, *, masks: bool) -> Tensor:
        return preprocess.clips(batch, masks=masks, pad=settings.pad).contiguous()

    def rivals(step: int) -> dict[str, Callable[[int], Any]]:
        if step == 0:
            plain.load_state_dict(method.regressor.state_dict())
        batches = steps[step]
        loaded = [clips(batches["labelled"], masks=method.channels == 4), batches["labelled"].ef]
        if teacher is not None:
            loaded.append(clips(batches["unlabelled"], masks=True))

        def take(_: int) -> float:
            labelled, ef, *unlabelled = (tensor.to(device) for tensor in loaded)
            if teacher is None:
                return reference.regression_step(plain, optim, labelled, ef)
            return reference.distillation_step(plain, teacher, optim, labelled, ef, *unlabelled)

        return references(device, take)

    meter = Meter(device, precisions(device, {OURS: ground.precision}))
    loop = ground.loop(plan.repeats + 1)
    checks = train_beside(method, data, ground.folder / name, loop, settings.optimiser, meter, rivals)
    example = torch.empty(1, method.channels, plan.frames, plan.size, plan.size)
    trained = plan.clips if teacher is None else plan.clips + plan.unlabelled
    flops = trained * count_flops(plain, example, backward=True)
    if teacher is not None:
        flops += plan.unlabelled * count_flops(teacher, torch.empty(1, 4, *example.shape[2:]))
    return Operation(name, f"{name} step", "steps", 1, meter.sides, flops, checks), plain
