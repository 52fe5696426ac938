"""A teacher that sees the masks alone, and the student it teaches."""

import copy
from dataclasses import replace
from pathlib import Path

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
    trained,
)

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.data.clips import ClipBatch, cut_clip
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json
from echocycle.inference.clips import predict_clips
from echocycle.inference.recordings import predict_recording
from echocycle.models.regressor import NETWORKS, Regressor, load_regressor_weights
from echocycle.models.specs import Part
from echocycle.regression.student import Student, StudentOptions
from echocycle.settings.stages import EvaluateSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


@pytest.fixture(scope="module")
def ground(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"), store)


@pytest.fixture(scope="module")
def teacher(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        ground.store.path, tmp_path_factory.mktemp("runs") / "mask_teacher", "mask_teacher", {"masks": ground.masks}
    )


# ------------------------------------------------------------------------------------------------ the teacher


def test_the_loss_of_a_step_by_hand(data: TrainingData) -> None:
    """What it sees is 2 p - 1, cropped, and nothing of the frames."""
    method = made("mask_teacher", data)
    batch = first_batches(method, data)["labelled"]
    loss = method({"labelled": batch}, 0).losses["labelled"]
    # 112 is no multiple of 32: area means
    small = torch.nn.functional.interpolate(batch.mask.float(), (32, 32), mode="area") / 127.5 - 1
    clips = [
        np.pad(clip.numpy(), ((0, 0), (4, 4), (4, 4)))[:, row : row + 32, column : column + 32]
        for clip, (row, column) in zip(small, batch.crop.tolist(), strict=True)
    ]
    predicted = made("mask_teacher", data).regressor(torch.from_numpy(np.stack(clips)[:, None]))
    truth = [data.ef(int(video)) for video in batch.row]
    assert loss.item() == pytest.approx(formulas.squared_error(predicted.tolist(), truth), rel=1e-4)
    dark = batch._replace(video=torch.zeros_like(batch.video))
    assert torch.equal(made("mask_teacher", data)({"labelled": dark}, 0).losses["labelled"], loss)
    empty = batch._replace(mask=torch.zeros_like(batch.mask))
    assert not torch.equal(made("mask_teacher", data)({"labelled": empty}, 0).losses["labelled"], loss)


def test_the_gradient_reaches_the_whole_network(data: TrainingData) -> None:
    method = made("mask_teacher", data)
    losses = method(first_batches(method, data), 0).losses
    assert list(losses) == ["labelled"]
    assert reaches(losses["labelled"], method.regressor)


def test_what_it_draws(data: TrainingData) -> None:
    method = made("mask_teacher", data)
    assert method.needs_masks
    assert not method.needs_teacher
    assert set(method.streams()) == {"labelled"}
    batch = first_batches(method, data)["labelled"]
    assert batch.mask is not None
    assert set(batch.row.tolist()) <= set(data.videos("labelled").tolist())
    assert method.validation().passes == 3


@pytest.mark.parametrize("network", NETWORKS)
def test_it_starts_as_if_the_mask_were_given_three_times(tmp_path: Path, network: str) -> None:
    torch.manual_seed(0)
    rgb = Regressor(network, (4, 8, 8, 8))
    torch.save(rgb.state_dict(), tmp_path / "rgb.pt")
    alone = Regressor(network, (4, 8, 8, 8), channels=1)
    assert load_regressor_weights(alone, network, str(tmp_path / "rgb.pt")) == {"fc"}
    masks = torch.randn(2, 1, 4, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            alone.eval()(masks), rgb.eval()(masks.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-5
        )


def test_weights_with_a_mask_channel_give_that_channel(tmp_path: Path) -> None:
    both = Regressor(widths=(4, 8, 8, 8), channels=4)
    torch.save(both.state_dict(), tmp_path / "teacher.pt")
    alone = Regressor(widths=(4, 8, 8, 8), channels=1)
    load_regressor_weights(alone, "r2plus1d_18", str(tmp_path / "teacher.pt"))
    assert torch.equal(alone.first_weight, both.first_weight[:, 3:])


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    method = made("mask_teacher", data, replace(SMALL, network=network))
    method(first_batches(method, data), 0).losses["labelled"].backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in method.regressor.parameters())


@pytest.mark.parametrize(("network", "stem"), [("r2plus1d_18", 45 * 49), ("r3d_18", 64 * 147), ("mc3_18", 64 * 147)])
def test_at_the_papers_size(network: str, stem: int) -> None:
    """Two input channels fewer than RGB."""
    method = paper_size("mask_teacher", network)
    assert count(method.regressor) == FULL[network] - 2 * stem
    _, [(example, passed)] = method.step_examples()
    assert (tuple(example.shape), passed) == ((2, 1, 32, 112, 112), 20)
    assert method.regressor(example.to("meta")).shape == (2,)


def test_through_the_loop(ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = {"masks": ground.masks}
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, ground.store.path, tmp_path / "ten", "mask_teacher", needs=needs):
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, ground.store.path, tmp_path, "mask_teacher", needs)
    kept_is_validated(run, ground.data)


# ------------------------------------------------------------------------------------- evaluated and predicted


@pytest.mark.parametrize("n_frames", [9, 30])
def test_clips_of_a_video_are_those_cut_one_by_one(store: Store, n_frames: int) -> None:
    """Frames past the end are -1: no ventricle."""
    part = made("mask_teacher").parts()["regressor"].to(CPU)
    frames = np.array(store.frames(0)[:n_frames])
    masks = store.masks("truth").probabilities(0, np.arange(n_frames))
    starts = [0, 1] if n_frames == 9 else [0, 5, 23]
    found = predict_clips(part, frames, lambda numbers: masks[numbers], starts, 2, CPU)

    class Alone:
        def frames(self, video: int) -> np.ndarray:
            return masks

    for start, ef in zip(starts, found, strict=True):
        cut, valid = cut_clip(Alone(), 0, start, 4, 2)  # type: ignore[arg-type]
        small = torch.nn.functional.interpolate(torch.from_numpy(cut)[None].float(), (32, 32), mode="area") / 127.5 - 1
        small[:, valid:] = -1
        with torch.no_grad():
            assert part.network(small[:, None]).item() == pytest.approx(float(ef), rel=1e-4)


@pytest.mark.slow
def test_it_is_evaluated_and_predicts(ground: Ground, teacher: Path, phantom_folder: Path, tmp_path: Path) -> None:
    folder = stages.evaluate(teacher, EvaluateSettings(protocol=("strided",), stride=40), store=ground.store.path)
    metrics = read_json(folder / "metrics.json")
    assert metrics["ef"]["test"]["strided"]["videos"] == 4
    video = sorted((phantom_folder / "Videos").glob("*.avi"))[0]
    found = predict_recording(video, load_bundle(teacher), torch.device("cpu"), stride=40)
    assert found.masks is not None
    assert (found.ef is None) == (found.not_measured is not None)  # a few steps make no masks that can be used


# ------------------------------------------------------------------------------------------------ its student


def part() -> Part:
    """A teacher of masks alone, as loaded from a bundle."""
    method = made("mask_teacher")
    with torch.no_grad():
        method.regressor(torch.randn(4, 1, 4, 32, 32))
        method.regressor.set_bias(50.0)
    return method.parts()["regressor"].to(CPU)


def student_of(teacher: Part, **options: object) -> Student:
    torch.manual_seed(1)
    chosen = StudentOptions(unlabelled_batch=3, **{"start": "weights", **options})  # type: ignore[arg-type]
    return Student(replace(SMALL, method="student"), chosen, replace(GREY, teachers=(teacher,))).train()


def test_its_student_learns_from_the_masks_of_its_own_crop(data: TrainingData) -> None:
    method = student_of(part())
    method.prepare_start(data)
    batches = first_batches(method, data)
    unlabelled: ClipBatch = batches["unlabelled"]
    assert unlabelled.ef is None
    assert set(unlabelled.row.tolist()) <= set(data.videos("unlabelled").tolist())
    before = copy.deepcopy(method.teacher.state_dict())
    twin = copy.deepcopy(method)
    losses = method(batches, 0).losses
    clips = method.preprocess.clips(unlabelled, masks=True, pad=SMALL.pad)
    with torch.no_grad():
        target, guess = twin.teacher(clips[:, 3:]), twin.regressor(clips[:, :3])
    expected = formulas.distillation(guess.tolist(), target.tolist(), 5.0, True)
    assert losses["unlabelled"].item() == pytest.approx(expected, rel=1e-4)
    assert losses["unlabelled"].item() > 0.1
    assert reaches(losses["unlabelled"], method.regressor)
    method.optimiser(SMALL.optimiser)
    losses["unlabelled"].backward()
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())


def test_its_student_cannot_start_as_it() -> None:
    with pytest.raises(EchocycleError, match=r"sees the video.*--option\.start weights"):
        student_of(part(), start="teacher")


@pytest.mark.slow
def test_its_student_through_the_loop(
    ground: Ground, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {"masks": ground.masks, "teacher": teacher}
    option = {"unlabelled_batch": "2", "start": "weights"}
    with monkeypatch.context() as patch:
        steps = ten_steps(patch, ground.store.path, tmp_path / "ten", "student", needs=needs, option=option)
        for loss, first, last in steps:
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, ground.store.path, tmp_path, "student", needs, option=option)
    kept = load_bundle(run).regressor
    assert kept is not None
    assert kept.spec.channels == 3
