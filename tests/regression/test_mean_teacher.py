"""The mean teacher: an average of the student by its formula, which gives targets and learns from nobody."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.training import (
    FULL,
    SMALL,
    count,
    data_of,
    first_batches,
    kept_is_validated,
    killed_and_resumed,
    losses_of,
    made,
    paper_size,
    reaches,
    ten_steps,
    the_unlabelled_loss_counts,
)

from echocycle.data.clips import ClipSampler, ViewSampler
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import NETWORKS
from echocycle.regression.mean_teacher import MeanTeacherOptions, decay_at, move_average, perturb, ramp_at

FEW: dict[str, Any] = {"unlabelled_batch": 3, "warmup_epochs": 0}
OPTION = {"unlabelled_batch": "2", "warmup_epochs": "0"}


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


@pytest.fixture(scope="module")
def batches(data: TrainingData) -> dict[str, Any]:
    return first_batches(made("mean_teacher", data, **FEW), data)


# ------------------------------------------------------------------------------------------------ the average


def test_the_average_follows_its_formula() -> None:
    torch.manual_seed(0)
    student, teacher = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    first = teacher.weight.tolist(), teacher.running_mean.tolist()  # type: ignore[union-attr, operator]
    weights, means = [], []
    for step in range(6):
        with torch.no_grad():
            student.weight.copy_(torch.randn(3))
            student.running_mean.copy_(torch.randn(3))
            student.num_batches_tracked += 1
        weights.append(student.weight.tolist())
        means.append(student.running_mean.tolist())
        move_average(teacher, student, decay_at(step, 0.7))
        for place in range(3):
            expected = formulas.moving_average(first[0][place], [w[place] for w in weights], 0.7)
            assert teacher.weight[place].item() == pytest.approx(expected, rel=1e-5)
            expected = formulas.moving_average(first[1][place], [m[place] for m in means], 0.7)
            assert teacher.running_mean[place].item() == pytest.approx(expected, rel=1e-5)
        assert teacher.num_batches_tracked == step + 1
    assert formulas.moving_average(1.0, [2.0, 6.0], 0.99) == pytest.approx(3.0)  # at first the plain mean
    move_average(teacher, student, 0.9, "copied")
    assert torch.equal(teacher.running_mean, student.running_mean)
    assert not torch.equal(teacher.weight, student.weight)


def test_a_rises_to_its_highest() -> None:
    """In the original's code the step is counted before the average is taken, so the first a is 1/2."""
    assert [decay_at(step, 0.99) for step in (0, 1, 2)] == [0.5, pytest.approx(2 / 3), 0.75]
    assert decay_at(97, 0.99) == pytest.approx(1 - 1 / 99)
    assert decay_at(98, 0.99) == decay_at(5000, 0.99) == 0.99
    assert decay_at(0, 0.3) == 0.3


def test_after_each_step_the_teacher_moves(data: TrainingData, batches: dict[str, Any]) -> None:
    method = made("mean_teacher", data, **FEW, decay=0.6)
    for name, value in method.regressor.state_dict().items():
        assert torch.equal(method.teacher.state_dict()[name], value), name
    optimiser = method.optimiser(replace(SMALL.optimiser, lr=1e-3))
    trained_ids = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert trained_ids == {id(p) for p in method.regressor.parameters()}
    start, bias = method.teacher.fc.bias.item(), []
    for step in range(4):
        torch.stack(list(method(batches, step).losses.values())).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        method.after_step(step)
        bias.append(method.regressor.fc.bias.item())
        assert method.teacher.fc.bias.item() == pytest.approx(formulas.moving_average(start, bias, 0.6), rel=1e-6)
        assert not any(module.training for module in method.train().teacher.modules())
    assert len(set(bias)) == 4
    assert method.parts()["regressor"].network is method.teacher


# ------------------------------------------------------------------------------------------------ perturbations


def test_frames_are_jittered_in_time() -> None:
    """Each index is start + period k + e, e in -1, 0, 1, clamped; frames past the end stay zero."""

    class Drawn:
        def n_frames(self, video: int) -> int:
            return 21

        def frames(self, video: int) -> np.ndarray:
            return np.arange(21, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)

        def masks(self, video: int, numbers: np.ndarray) -> np.ndarray:
            return 100 + self.frames(video)[numbers]

    clip = ClipSampler(frames=9, period=3, pad=2, masks=True, labels=False)
    sampler = ViewSampler(clip, (0, 1, 1))
    drawn: Any = Drawn()
    seen: set[int] = set()
    for seed in range(200):
        plain, one, other = sampler.draw(drawn, 0, np.random.default_rng(seed))
        assert plain.valid == one.valid == other.valid
        valid = int(plain.valid)
        numbers = plain.video[:valid, 0, 0].astype(int)
        assert (np.diff(numbers) == 3).all()
        for view in (one, other):
            found = view.video[:, 0, 0].astype(int)
            assert not found[valid:].any()
            assert (np.abs(found[:valid] - numbers) <= 1).all()
            np.testing.assert_array_equal(view.mask[:valid, 0, 0], 100 + found[:valid])
            assert not view.mask[valid:].any()
            seen |= set((found[:valid] - numbers)[1:-1].tolist())
            np.testing.assert_array_equal(view.crop, plain.crop)
        assert found[valid - 1] <= 20
    assert seen == {-1, 0, 1}
    batch = sampler.stack([sampler.draw(drawn, 0, np.random.default_rng(seed)) for seed in range(2)])
    assert batch.row.tolist() == [0] * 6
    assert torch.equal(batch.crop[:2], batch.crop[4:])


def test_without_views_nothing_changes() -> None:
    """A single view without jitter is the plain sampler's clip, draw for draw."""
    drawn: Any = type(
        "Drawn", (), {"n_frames": lambda s, v: 40, "frames": lambda s, v: np.zeros((40, 2, 2), np.uint8)}
    )()
    clip = ClipSampler(frames=5, pad=3, labels=False, augment=True)
    for seed in range(5):
        one = clip.draw(drawn, 0, np.random.default_rng(seed))
        [other] = ViewSampler(clip, (0,)).draw(drawn, 0, np.random.default_rng(seed))
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_noise() -> None:
    torch.manual_seed(0)
    preprocess = Preprocess((30.0,), (40.0,), 16)
    clips = torch.randn(3, 1, 8, 16, 16).expand(-1, 3, -1, -1, -1)
    gaussian = perturb(clips, "gaussian", 0.1, preprocess) - clips
    assert gaussian.std().item() == pytest.approx(0.1, rel=0.05)
    assert gaussian.mean().abs() < 0.01
    torch.testing.assert_close(gaussian[:, 0], gaussian[:, 2])
    black = perturb(clips, "black", 0.2, preprocess)
    changed = black != clips
    assert changed.float().mean().item() == pytest.approx(0.2, rel=0.1)
    assert black[changed].unique().tolist() == pytest.approx([-30 / 40])
    constant = perturb(clips, "constant", 0.1, preprocess) - clips
    assert all(0 <= each.mean() <= 0.1 and each.std() < 1e-5 for each in constant)
    assert len({round(each.mean().item(), 4) for each in constant}) == 3
    colour = perturb(torch.randn(1, 3, 2, 16, 16), "black", 1.0, Preprocess((10.0, 20.0, 30.0), (40.0,) * 3, 16))
    torch.testing.assert_close(colour[0, :, 0, 0, 0], torch.tensor([-0.25, -0.5, -0.75]))


# -------------------------------------------------------------------------------------------------- the loss


def silent(**options: Any) -> dict[str, Any]:
    """Without noise, so that a step can be computed again."""
    return {**FEW, "noise_size": 0.0, **options}


def test_the_unlabelled_loss_by_hand(data: TrainingData, batches: dict[str, Any]) -> None:
    method, twin = made("mean_teacher", data, **silent(weight=3.0)), made("mean_teacher", data, **silent())
    for each in (method, twin):
        with torch.no_grad():
            each.teacher.fc.bias += 7.0
    losses = method(batches, 0).losses
    one, other = twin.preprocess.clips(batches["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    assert not torch.equal(one, other)
    with torch.no_grad():
        guess, target = twin.regressor(one), twin.teacher.eval()(other)
    expected = 3 * formulas.squared_error(guess.tolist(), target.tolist())
    assert losses["unlabelled"].item() == pytest.approx(expected, rel=1e-4)
    assert losses["unlabelled"].item() > 10
    clips = twin.preprocess.clips(batches["labelled"], masks=False, pad=SMALL.pad)
    truth = [data.ef(int(video)) for video in batches["labelled"].row]
    expected = formulas.squared_error(made("mean_teacher", data).regressor(clips).tolist(), truth)
    assert losses["labelled"].item() == pytest.approx(expected, rel=1e-4)


def test_the_noise_is_there_and_differs_between_the_two(data: TrainingData, batches: dict[str, Any]) -> None:
    method = made("mean_teacher", data, **FEW, jitter=0)
    seen: list[torch.Tensor] = []
    views = first_batches(method, data)
    for network in (method.regressor, method.teacher):
        network.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    method(views, 0)
    plain, again = method.preprocess.clips(views["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    assert torch.equal(plain, again)  # without jitter, and one crop for both
    teachers, students = seen[0], seen[1]
    for noisy in (teachers, students):
        assert (noisy - plain).std().item() == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(teachers, students)


def test_where_the_gradients_go(data: TrainingData, batches: dict[str, Any]) -> None:
    method = made("mean_teacher", data, **FEW)
    before = copy.deepcopy(method.teacher.state_dict())
    losses = method(batches, 0).losses
    assert reaches(losses["unlabelled"], method.regressor)
    assert reaches(losses["labelled"], method.regressor)
    assert not reaches(losses["unlabelled"], method.teacher)
    assert not reaches(losses["labelled"], method.teacher)
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())


def test_warm_up_and_ramp(store: Store, data: TrainingData, batches: dict[str, Any]) -> None:
    """Before the warm-up is over no unlabelled clip is looked at; then the weight grows as exp(-5 (1 - r)^2)."""
    longer = replace(SMALL, loop=replace(SMALL.loop, steps=100))
    method = made("mean_teacher", data, longer, unlabelled_batch=3, warmup_epochs=3, ramp_epochs=5, noise_size=0.0)
    assert int(method.warmup_steps) == 3 * 2  # 4 labelled videos, two in a step
    assert int(method.ramp_steps) == 5 * 2
    seen = []
    method.regressor.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    loss = method(batches, 5).losses["unlabelled"]
    assert loss == 0
    assert not loss.requires_grad
    assert seen == [2]
    values = {}
    for step in (6, 11, 16, 90):
        twin = copy.deepcopy(method)
        values[step] = twin(batches, step).losses["unlabelled"].item()
    for step, r in ((6, 0.0), (11, 0.5), (16, 1.0)):
        assert values[step] / values[90] == pytest.approx(math.exp(-5 * (1 - r) ** 2), rel=1e-4)
    assert [ramp_at(step, 4, 0) for step in (3, 4)] == [0.0, 1.0]


def test_a_warm_up_without_end_is_refused(data: TrainingData) -> None:
    short = replace(SMALL, loop=replace(SMALL.loop, steps=20))
    with pytest.raises(EchocycleError, match=r"option\.warmup_epochs is 10, which is 20 steps"):
        made("mean_teacher", data, short)
    made("mean_teacher", data, replace(short, loop=replace(short.loop, steps=21)))
    with pytest.raises(EchocycleError, match="train longer"):
        made("mean_teacher", data, warmup_epochs=25)  # of 25 epochs
    with pytest.raises(EchocycleError, match=r"option\.warmup_steps is 20 and"):
        made("mean_teacher", data, short, warmup_steps=20)
    assert int(made("mean_teacher", data, short, warmup_steps=19).warmup_steps) == 19
    assert int(made("mean_teacher", data, short, warmup_steps=0).warmup_steps) == 0


def test_consistency_on_labelled_clips_too(data: TrainingData) -> None:
    method = made("mean_teacher", data, **silent(labelled_too=True))
    batches = first_batches(method, data)
    assert batches["labelled"].video.shape[0] == 3 * 2
    twin = copy.deepcopy(method)
    losses = method(batches, 0).losses
    plain, *own = twin.preprocess.clips(batches["labelled"], masks=False, pad=SMALL.pad).chunk(3)
    views = twin.preprocess.clips(batches["unlabelled"], masks=False, pad=SMALL.pad).chunk(2)
    one, other = (torch.cat(pair) for pair in zip(views, own, strict=True))
    with torch.no_grad():
        guess, target = twin.regressor(one).tolist(), twin.teacher(other).tolist()
        answer = twin.regressor(plain).tolist()
    assert len(guess) == 5
    assert losses["unlabelled"].item() == pytest.approx(formulas.squared_error(guess, target), rel=1e-4)
    truth = batches["labelled"].ef[:2].tolist()
    assert losses["labelled"].item() == pytest.approx(formulas.squared_error(answer, truth), rel=1e-4)
    assert torch.equal(plain, method.preprocess.clips(batches["labelled"], masks=False, pad=SMALL.pad)[:2])


def test_what_is_drawn_from_where(data: TrainingData, batches: dict[str, Any]) -> None:
    assert batches["unlabelled"].ef is None
    assert batches["unlabelled"].video.shape[0] == 2 * 3
    assert torch.equal(*batches["unlabelled"].row.chunk(2))
    assert set(batches["unlabelled"].row.tolist()) <= set(data.videos("unlabelled").tolist())
    assert set(batches["labelled"].row.tolist()) <= set(data.videos("labelled").tolist())
    assert not torch.equal(*batches["unlabelled"].video.chunk(2))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    method = made("mean_teacher", data, replace(SMALL, network=network), **FEW)
    torch.stack(list(method(first_batches(method, data), 0).losses.values())).sum().backward()
    method.after_step(0)
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.regressor.parameters())


# -------------------------------------------------------------------------------------------------- the loop


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: TrainingData) -> None:
    """The teacher starts as the student, so there is no consistency loss to lower yet; see the test below."""
    with monkeypatch.context() as patch:
        steps = ten_steps(patch, store.path, tmp_path / "ten", "mean_teacher", option=OPTION)
        found = {loss: (first, last) for loss, first, last in steps}
    assert found["labelled"][1] < 0.97 * found["labelled"][0]
    assert found["unlabelled"][1] > found["unlabelled"][0] > 0
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "mean_teacher", option=OPTION)
    kept_is_validated(run, data)
    rows = losses_of(run)
    assert all(row["unlabelled"] > 0 for row in rows)
    assert all(row["gradient/unlabelled"] > 0 for row in rows[::2])


def test_a_student_moves_towards_a_teacher_who_differs(data: TrainingData, batches: dict[str, Any]) -> None:
    """The consistency loss can be lowered: answers to unlabelled clips come nearer to those of a teacher who stays."""
    method = made("mean_teacher", data, **FEW)
    with torch.no_grad():
        method.teacher.fc.bias += 7.0
    optimiser = method.optimiser(replace(SMALL.optimiser, name="adamw", lr=1e-2, weight_decay=0.0))
    answers: list[torch.Tensor] = []
    method.regressor.register_forward_hook(lambda module, given, found: answers.append(found.detach().mean()))
    history = []
    for step in range(11):  # without `after_step`, which moves the teacher
        torch.manual_seed(0)
        loss = method(batches, step).losses["unlabelled"]
        history.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert history[-1] < 0.97 * history[0]
    assert answers[-2] > answers[0] + 0.05  # of unlabelled clips, which pass before the labelled ones


def test_the_warm_up_survives_a_kill(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs of two steps; the kill comes in the last of them, so what is resumed must know where they end."""
    option = {"unlabelled_batch": "2", "warmup_epochs": "3"}
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "mean_teacher", option=option)
    rows = losses_of(run)
    assert [row["unlabelled"] > 0 for row in rows] == [False] * 6 + [True]
    assert [row.get("gradient/unlabelled", 0) > 0 for row in rows] == [False] * 6 + [True]


def test_the_unlabelled_loss_changes_the_model(store: Store, tmp_path: Path) -> None:
    the_unlabelled_loss_counts(store.path, tmp_path, "mean_teacher", warmup_epochs="0")


@pytest.mark.parametrize("network", NETWORKS)
def test_at_the_papers_size(network: str) -> None:
    method = paper_size("mean_teacher", network)
    assert count(method.regressor) == count(method.teacher) == FULL[network]
    _, examples = method.step_examples()
    assert [(tuple(example.shape), passed) for example, passed in examples] == [
        ((2, 3, 32, 112, 112), 20),
        ((2, 3, 32, 112, 112), 10),
    ]
    assert method.teacher(examples[0][0].to("meta")).shape == (2,)
    o = method.options
    assert (o.weight, o.warmup_epochs, o.decay, o.jitter, o.noise, o.noise_size) == (1.0, 10, 0.99, 1, "gaussian", 0.1)
    assert method.settings.loop.epochs == 25


@pytest.mark.parametrize(
    "option",
    [
        {"weight": -1.0},
        {"unlabelled_batch": 0},
        {"decay": 1.5},
        {"jitter": -1},
        {"warmup_epochs": -1},
        {"warmup_steps": -1},
    ],
)
def test_bad_settings_are_named(option: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=f"option.{next(iter(option))}"):
        MeanTeacherOptions(**option)
