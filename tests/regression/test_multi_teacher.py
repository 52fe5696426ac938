"""The student of several teachers: one target for each unlabelled video, agreed on before training."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.training import (
    FULL,
    GREY,
    SMALL,
    Ground,
    count,
    data_of,
    first_batches,
    kept_is_validated,
    killed_and_resumed,
    made,
    paper_size,
    reaches,
    ten_steps,
    the_unlabelled_loss_counts,
    trained,
)

from echocycle.cardiac.discs import ef_by_discs
from echocycle.data.clips import clip_starts, cut_clip
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.inference.clips import THRESHOLD
from echocycle.models.regressor import NETWORKS
from echocycle.models.specs import Part
from echocycle.regression.multi_teacher import (
    MultiTeacher,
    MultiTeacherOptions,
    agree,
    member_weights,
    multi_teacher_loss,
    trust,
)
from echocycle.regression.student import Student, StudentOptions
from echocycle.settings.stages import LabelSettings, RegressSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


def part(name: str, bias: float, seed: int = 0, settings: RegressSettings = SMALL) -> Part:
    """A teacher as loaded from a bundle, whose answers differ from video to video."""
    method = made(name, None, settings)
    torch.manual_seed(seed)
    with torch.no_grad():
        for _ in range(3):
            method.regressor(torch.randn(4, method.channels, 4, 32, 32) + 0.3)
        method.regressor.fc.weight.mul_(20)
        method.regressor.set_bias(bias)
    return method.parts()["regressor"].to(CPU)


def committee(
    data: TrainingData | None, *parts: Part, settings: RegressSettings = SMALL, **options: Any
) -> MultiTeacher:
    torch.manual_seed(1)
    chosen = MultiTeacherOptions(**{"unlabelled_batch": 3, **options})
    teachers = parts or (part("teacher", 50.0), part("mask_teacher", 60.0))
    method = MultiTeacher(replace(settings, method="committee"), chosen, replace(GREY, teachers=teachers))
    if data is not None:
        method.prepare_start(data)
    return method.train()


def said_of(teacher: Part, data: TrainingData, video: int, clips: int) -> list[float]:
    """A teacher's answers to the clips of a video, each clip cut and computed alone."""
    last = clip_starts(data.n_frames(video), 4, 2) - 1
    found = []
    for place in range(1, clips + 1):
        start = round(last * place / (clips + 1))
        clip, valid = cut_clip(data, video, start, 4, 2)
        assert valid == 4
        channels = (torch.from_numpy(clip).float() - 30) / 40
        masks = torch.from_numpy(data.masks(video, start + 2 * np.arange(4))).float()
        channels, masks = (
            torch.nn.functional.interpolate(each[None], (32, 32), mode="area")[0] for each in (channels, masks)
        )
        whole = torch.cat([channels[None].expand(3, -1, -1, -1), (masks / 127.5 - 1)[None]])
        with torch.no_grad():
            found.append(float(teacher.network(teacher.spec.visible(whole[None]))))
    return found


# ---------------------------------------------------------------------------------------------- what is agreed on


def test_the_agreement_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    answers = rng.normal(50, 10, (3, 4, 7))
    answers[2, :, 3] = np.nan
    answers[0, 1, 5] = np.nan
    weights = np.array([0.5, 0.3, 0.2])
    mean, spread = agree(answers, weights)
    slow_mean, slow_spread = formulas.agreement(answers, weights.tolist())
    np.testing.assert_allclose(mean, slow_mean)
    np.testing.assert_allclose(spread, slow_spread)
    np.testing.assert_allclose(trust(spread), formulas.trust(slow_spread))


def test_known_answers() -> None:
    answers = np.array([[[50.0, 40.0]], [[60.0, np.nan]]])
    mean, spread = agree(answers, np.array([0.75, 0.25]))
    assert mean.tolist() == [52.5, 40.0]  # who has no answer is not heard
    assert spread.tolist() == pytest.approx([np.sqrt(0.75 * 2.5**2 + 0.25 * 7.5**2), 0.0])
    assert trust(np.array([1.0, 1.0, 2.0])).tolist() == pytest.approx([1.25 * 0.5 / 0.5, 1.25, 0.5], abs=1e-9)
    assert trust(np.zeros(3)).tolist() == [1, 1, 1]
    # errors of 1 and 2 points: four to one
    words = np.array([[51.0, 59.0], [52.0, 58.0]])
    assert member_weights(words, np.array([50.0, 60.0])).tolist() == pytest.approx([0.8, 0.2])
    half = np.array([[51.0, np.nan], [52.0, 58.0]])
    assert member_weights(half, np.array([50.0, 60.0])).tolist() == pytest.approx([0.8, 0.2])


def test_the_loss_is_its_formula_and_teaches_the_student_alone() -> None:
    student = torch.tensor([40.0, 50.0], requires_grad=True)
    target = torch.tensor([44.0, 47.0], requires_grad=True)
    loss = multi_teacher_loss(student, target, torch.tensor([0.5, 1.5]), 5.0, True)
    assert loss.item() == pytest.approx(5 / 2 * (0.5 * 16 + 1.5 * 9) / 2)
    assert multi_teacher_loss(student, target, torch.ones(2), 5.0, False).item() == pytest.approx(
        formulas.distillation([40, 50], [44, 47], 5.0, False)
    )
    loss.backward()
    assert student.grad is not None
    assert target.grad is None


@pytest.mark.parametrize(("votes", "doubt"), [("validation", "counts"), ("equal", "ignored")])
def test_targets_by_hand(data: TrainingData, votes: Any, doubt: Any) -> None:
    """Every clip cut alone, weights from the validation videos."""
    parts = part("teacher", 50.0), part("mask_teacher", 58.0)
    found = committee(data, *parts, votes=votes, doubt=doubt, clips=2).answers
    videos = data.videos("unlabelled").tolist()
    assert found[:, 0].tolist() == videos
    weights = [0.5, 0.5]
    if votes == "validation":
        inverse = []
        for teacher in parts:
            squares = [
                (np.mean(said_of(teacher, data, int(video), 2)) - data.ef(int(video))) ** 2
                for video in data.videos("validation")
            ]
            inverse.append(1 / np.mean(squares))
        weights = [each / sum(inverse) for each in inverse]
        assert abs(weights[0] - 0.5) > 0.02
    answers = np.array([[said_of(teacher, data, video, 2) for video in videos] for teacher in parts]).transpose(0, 2, 1)
    target, spread = formulas.agreement(answers, weights)
    assert found[:, 1].tolist() == pytest.approx(target, rel=1e-4)
    trusted = formulas.trust(spread) if doubt == "counts" else [1.0] * len(videos)
    assert found[:, 2].tolist() == pytest.approx(trusted, rel=1e-3)
    assert np.ptp(target) > 0.1


def test_discs_on_the_committee(data: TrainingData) -> None:
    """A line through the labelled videos brings discs to the labels' scale."""
    found = committee(data, part("teacher", 50.0), discs=True, clips=1, votes="equal").answers

    def discs(video: int) -> float:
        masks = data.masks(video, np.arange(data.n_frames(video)))
        return ef_by_discs(masks > THRESHOLD, data.fps(video)).ef

    labelled = data.videos("labelled").tolist()
    slope, offset = np.polyfit([discs(v) for v in labelled], [data.ef(v) for v in labelled], 1)
    teacher = part("teacher", 50.0)
    for video, target in zip(data.videos("unlabelled").tolist(), found[:, 1].tolist(), strict=True):
        both = (offset + slope * discs(video) + said_of(teacher, data, video, 1)[0]) / 2
        assert target == pytest.approx(both, rel=1e-4)


def test_discs_of_nothing_are_refused(store: Store) -> None:
    class Empty(TrainingData):
        def masks(self, video: int, frames: np.ndarray) -> np.ndarray:
            return np.zeros((len(frames), 112, 112), np.uint8)

    budget = draw_budget(store, LabelSettings("4", validation="4"), needs="ef")
    with pytest.raises(EchocycleError, match=r"--option\.discs false"):
        committee(Empty(store, budget), discs=True)


def test_a_member_without_any_answer_has_no_vote(store: Store) -> None:
    class Silent(TrainingData):
        def masks(self, video: int, frames: np.ndarray) -> np.ndarray:
            silent = video in self.videos("validation")
            return np.zeros((len(frames), 112, 112), np.uint8) if silent else super().masks(video, frames)

    budget = draw_budget(store, LabelSettings("4", validation="4"), needs="ef")
    silent = Silent(store, budget, store.masks("truth"))
    with pytest.raises(EchocycleError, match=r"no answer.*--option\.votes equal"):
        committee(silent, part("teacher", 50.0), discs=True)
    assert torch.isfinite(committee(silent, part("teacher", 50.0), discs=True, votes="equal").answers).all()


# ------------------------------------------------------------------------------------------------- a step


def test_a_step_by_hand_and_its_gradient(data: TrainingData) -> None:
    method = committee(data)
    batches = first_batches(method, data)
    twin = copy.deepcopy(method)
    losses = method(batches, 0).losses
    assert list(losses) == ["labelled", "unlabelled"]
    unlabelled, labelled = batches["unlabelled"], batches["labelled"]
    with torch.no_grad():
        guess, answer = (
            twin.regressor(twin.preprocess.clips(batch, masks=False, pad=SMALL.pad)) for batch in (unlabelled, labelled)
        )
    told = {int(row[0]): row[1:].tolist() for row in method.answers}
    squares = [
        told[video][1] * (one - told[video][0]) ** 2
        for one, video in zip(guess.tolist(), unlabelled.row.tolist(), strict=True)
    ]
    assert losses["unlabelled"].item() == pytest.approx(2.5 * np.mean(squares), rel=1e-4)
    assert losses["unlabelled"].item() > 0.1
    truth = [data.ef(video) for video in labelled.row.tolist()]
    assert losses["labelled"].item() == pytest.approx(formulas.squared_error(answer.tolist(), truth), rel=1e-4)
    assert reaches(losses["unlabelled"], method.regressor)
    assert reaches(losses["labelled"], method.regressor)
    losses["unlabelled"].backward()
    for teacher in method.teachers:
        assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
    assert committee(data, weight=0.0)(batches, 0).losses["unlabelled"].item() == 0


def test_the_teachers_are_neither_trained_nor_kept(data: TrainingData) -> None:
    method = committee(None)
    before = [copy.deepcopy(teacher.network.state_dict()) for teacher in method.teachers]
    method.prepare_start(data)
    optimiser = method.optimiser(replace(SMALL.optimiser, lr=1e-3))
    assert {id(p) for group in optimiser.param_groups for p in group["params"]} == {
        id(p) for p in method.regressor.parameters()
    }
    for step in range(2):
        torch.stack(list(method(first_batches(method, data, step), step).losses.values())).sum().backward()
        optimiser.step()
    for teacher, state in zip(method.teachers, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in teacher.network.state_dict().items())
    assert all(name.startswith(("regressor.", "_extra_state", "preprocess.")) for name in method.state_dict())
    assert list(method.parts()) == ["regressor"]


def test_what_it_draws(data: TrainingData) -> None:
    method = committee(data)
    batches = first_batches(method, data)
    assert batches["unlabelled"].ef is None
    assert batches["unlabelled"].mask is batches["labelled"].mask is None
    assert set(batches["unlabelled"].row.tolist()) <= set(data.videos("unlabelled").tolist())
    assert set(batches["labelled"].row.tolist()) <= set(data.videos("labelled").tolist())
    assert method.validation().passes == 3


def test_no_label_of_an_unlabelled_video_is_asked_for(store: Store) -> None:
    asked: set[int] = set()

    class Watching(TrainingData):
        def ef(self, video: int) -> float:
            asked.add(video)
            return super().ef(video)

    budget = draw_budget(store, LabelSettings("4", validation="4"), needs="ef")
    watching = Watching(store, budget, store.masks("truth"))
    committee(watching, discs=True, start="weights")
    assert asked == set(budget.labelled) | set(budget.validation)


# ------------------------------------------------------------------------------------------------- its start


def test_the_start(data: TrainingData) -> None:
    """As the first teacher that sees the video, wherever it sits, or from first weights."""
    teacher = part("teacher", 50.0)
    method = committee(data, part("mask_teacher", 60.0), teacher)
    clips = torch.randn(2, 3, 4, 32, 32)
    silent = torch.cat([clips, torch.zeros(2, 1, 4, 32, 32)], 1)
    with torch.no_grad():
        torch.testing.assert_close(method.eval().regressor(clips), teacher.network(silent), rtol=1e-4, atol=1e-4)
    fresh = committee(data, teacher, start="weights")
    assert not torch.equal(fresh.regressor.first_weight, teacher.network.first_weight[:, :3])  # type: ignore[union-attr, index]


def test_it_needs_fitting_teachers() -> None:
    with pytest.raises(EchocycleError, match="--teacher"):
        MultiTeacher(SMALL, MultiTeacherOptions(), GREY)
    with pytest.raises(EchocycleError, match=r"--option\.start weights"):
        committee(None, part("mask_teacher", 50.0))
    wide = replace(SMALL, widths=(8, 8, 8, 8))
    with pytest.raises(EchocycleError, match=r"--option\.start weights"):
        committee(None, part("teacher", 50.0), settings=wide)
    committee(None, part("teacher", 50.0), settings=wide, start="weights")
    with pytest.raises(EchocycleError, match=r"clips must be above 0"):
        MultiTeacherOptions(clips=0)
    with pytest.raises(EchocycleError, match="unlabelled_batch"):
        MultiTeacherOptions(unlabelled_batch=0)
    with pytest.raises(EchocycleError, match="negative"):
        MultiTeacherOptions(weight=-1)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    settings = replace(SMALL, network=network)
    method = committee(data, part("teacher", 50.0, settings=settings), settings=settings)
    assert reaches(method(first_batches(method, data), 0).losses["unlabelled"], method.regressor)


def test_at_the_papers_size() -> None:
    method = paper_size("committee", "r2plus1d_18", paper_size("teacher").parts()["regressor"])
    assert count(method.regressor) == FULL["r2plus1d_18"]
    shapes = [(tuple(example.shape), passed) for example, passed in method.step_examples()[1]]
    assert shapes == [((2, 3, 32, 112, 112), 20), ((2, 3, 32, 112, 112), 10)]


# --------------------------------------------------------------------------------------------- through the loop


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), store)


@pytest.fixture(scope="module")
def teachers(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, needs = tmp_path_factory.mktemp("runs"), {"masks": ground.masks}
    return [trained(ground.store.path, folder / name, name, needs) for name in ("teacher", "mask_teacher")]


def test_through_the_loop(
    ground: Ground, teachers: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ground.store.path
    needs: dict[str, Any] = {"masks": ground.masks, "teacher": teachers}
    option = {"unlabelled_batch": "2", "start": "weights"}  # as its teacher it would begin with next to no loss
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, where, tmp_path / "ten", "committee", needs=needs, option=option):
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, where, tmp_path, "committee", needs, option={"unlabelled_batch": "2"})
    assert len(read_json(run / "run.json")["helpers"]) == 3
    kept_is_validated(run, ground.data, *teachers)


def test_the_unlabelled_loss_changes_the_model(ground: Ground, teachers: list[Path], tmp_path: Path) -> None:
    needs: dict[str, Any] = {"masks": ground.masks, "teacher": teachers}
    the_unlabelled_loss_counts(ground.store.path, tmp_path, "committee", needs)


def test_the_papers_student_refuses_two_teachers() -> None:
    with pytest.raises(EchocycleError, match="needs one teacher and has 2"):
        Student(SMALL, StudentOptions(), replace(GREY, teachers=(part("teacher", 50.0), part("mask_teacher", 50.0))))
