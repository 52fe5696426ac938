"""Supervised segmentation: the loss is its formula, ED and ES pass apart, labels stay where they are allowed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.segmenting import DEEPLAB, count, data_of, kept_is_validated, killed_and_resumed, paper_size, ten_steps
from torch import Tensor, nn

from echocycle.data.clips import StepData, TracedBatch, TracedFrameSampler, passes
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError, UnlabelledAnnotationError
from echocycle.evaluation.metrics import mask_counts, pooled_dice
from echocycle.models.preprocess import warp
from echocycle.segmentation.supervised import SupervisedOptions, SupervisedSegmentation, dice, segmentation_loss
from echocycle.settings.stages import LabelSettings, SegmentSettings
from echocycle.training.method import Inputs

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)


def made(**settings: Any) -> SupervisedSegmentation:
    torch.manual_seed(0)
    chosen = {"network": "unet", "width": 2, "weights": "none", "size": 112, "batch": 3, **settings}
    return SupervisedSegmentation(SegmentSettings(**chosen), SupervisedOptions(), GREY)


def traced(count: int = 3, seed: int = 0) -> TracedBatch:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (2, count, 112, 112), dtype=np.uint8)
    masks = (rng.random((2, count, 112, 112)) < 0.3).astype(np.uint8)
    return TracedBatch(torch.from_numpy(frames), torch.from_numpy(masks), torch.zeros(2, count, 4), torch.arange(count))


def test_the_loss_is_half_the_sum_of_both_phases() -> None:
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(2, 3, 5, 4)) * 3, (rng.random((2, 3, 5, 4)) < 0.5).astype(float)
    found = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(masks)).item()
    assert found == pytest.approx(formulas.segmentation(logits, masks), rel=1e-10)
    twice = segmentation_loss(
        torch.from_numpy(np.tile(logits, (1, 2, 1, 1))), torch.from_numpy(np.tile(masks, (1, 2, 1, 1)))
    )
    assert twice.item() == pytest.approx(2 * found)  # a sum: the batch is not averaged


@pytest.mark.parametrize("network", ["unet", "deeplabv3_resnet50"])
def test_one_pass_is_two(network: str) -> None:
    """Logits, running statistics and gradients of a joint pass are those of ED, then ES; the network is left as it was."""
    images = torch.randn(2, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 3.0]).view(
        2, 1, 1, 1, 1
    )
    kept = []
    for one_pass in (False, True):
        method = made(network=network, size=64).double().train()
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        logits = method.logits_of(images.double(), one_pass=one_pass)
        logits.square().sum().backward()
        gradients = {name: p.grad for name, p in method.segmenter.named_parameters()}
        kept.append((logits.detach(), dict(method.segmenter.named_buffers()), gradients))
        assert not any("forward" in vars(module) for module in method.modules())
    for two, one in zip(*kept, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8)


def test_ed_and_es_pass_the_network_apart() -> None:
    """In training mode each phase is normalised by its own batch statistics, and the running ones see ED first."""
    batch = traced()
    batch = batch._replace(frames=torch.stack([batch.frames[0] // 3, batch.frames[1]]))  # unlike phases
    method = made().train()
    loss = method({"labelled": batch}, 0).losses["segmentation"]

    other = made().train()
    logits = []
    for phase in range(2):
        images = (batch.frames[phase][:, None].float() - 30.0) / 40.0
        logits.append(other.segmenter(images.expand(-1, 3, -1, -1)).logits)
    by_hand = formulas.segmentation(torch.stack(logits).detach().double().numpy(), batch.masks.double().numpy())
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    for (name, mine), theirs in zip(method.segmenter.named_buffers(), other.segmenter.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)

    together = made().train()
    images = (batch.frames.flatten(0, 1)[:, None].float() - 30.0) / 40.0
    joint = together.segmenter(images.expand(-1, 3, -1, -1)).logits.unflatten(0, (2, 3))
    assert segmentation_loss(joint, batch.masks.float()).item() != pytest.approx(loss.item(), rel=1e-4)


def test_masks_of_a_smaller_network_are_shares() -> None:
    """A pixel of the small mask is the share of its block that is ventricle, so no area is lost."""
    batch = traced()
    targets = made(size=56)._targets(batch)
    assert targets.shape == (2, 3, 56, 56)
    blocks = batch.masks.double().numpy().reshape(2, 3, 56, 2, 56, 2).mean((3, 5))
    np.testing.assert_allclose(targets.numpy(), blocks, atol=1e-6)


def square(row: int, column: int, side: int = 16) -> Tensor:
    """A bright square on black, (1, 1, 1, 112, 112)."""
    image = torch.zeros(1, 1, 1, 112, 112)
    image[..., row : row + side, column : column + side] = 1
    return image


def centre(image: Tensor) -> tuple[float, float]:
    """Row and column of the centre of what is bright, from the middle of the picture."""
    plane = image[0, 0, 0]
    places = torch.arange(112.0) - 55.5
    return float((plane.sum(1) * places).sum() / plane.sum()), float((plane.sum(0) * places).sum() / plane.sum())


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ((0.0, 0.0, 0.0, 0.0), (-20.0, 12.0)),
        ((0.0, 0.0, 0.05, 0.0), (-20.0 - 0.05 * 112, 12.0)),  # shifts are shares of the frame
        ((0.0, 0.0, 0.0, -0.05), (-20.0, 12.0 + 0.05 * 112)),
        ((0.0, np.log(1.25), 0.0, 0.0), (-16.0, 12.0 / 1.25)),
        ((np.pi / 2, 0.0, 0.0, 0.0), (-12.0, -20.0)),
    ],
)
def test_warp_moves_as_told(parameters: tuple[float, ...], expected: tuple[float, float]) -> None:
    image = square(56 - 20 - 8, 56 + 12 - 8)
    moved = warp(image[0], torch.tensor([list(map(float, parameters))]), "zeros")
    assert centre(moved[None]) == pytest.approx(expected, abs=0.05)


class Recorder(nn.Module):
    """Notes the images it is given and answers with their grey."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[Tensor] = []

    def forward(self, images: Tensor) -> Any:
        from echocycle.models.segmenter import SegmenterOutput

        self.images.append(images)
        return SegmenterOutput(images[:, 0].clone().requires_grad_(), images)


def test_spatial_augmentation_moves_frame_and_mask_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where frame and mask are the same picture they stay the same, whatever was drawn."""
    data = TrainingData(store, draw_budget(store, LabelSettings(labelled="4"), needs="tracing"))
    method = made(augment="spatial", batch=4)
    assert method.streams()["labelled"].sampler == TracedFrameSampler(augment=True)
    batch: TracedBatch = StepData(data, method.streams(), seed=0)[0]["labelled"]
    assert batch.warp.abs().max() > 0.1
    assert len({tuple(row) for row in batch.warp.flatten(0, 1).tolist()}) == 8  # each frame its own
    twin = batch._replace(frames=batch.masks * 255)
    recorder = method.segmenter = Recorder()
    targets: list[Tensor] = []

    def note(logits: Tensor, masks: Tensor) -> Tensor:
        targets.append(masks)
        return segmentation_loss(logits, masks)

    monkeypatch.setattr("echocycle.segmentation.supervised.segmentation_loss", note)
    method.labelled_loss(twin)
    images = torch.stack(recorder.images)[:, :, 0] * 40 / 255 + 30 / 255
    assert not torch.allclose(targets[0], batch.masks.float(), atol=0.5)
    torch.testing.assert_close(images, targets[0], atol=1e-4, rtol=0)
    assert TracedFrameSampler().draw(data, int(batch.row[0]), np.random.default_rng(0)).warp.any() == np.False_


def test_only_labelled_videos_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TrainingData(store, draw_budget(store, LabelSettings(labelled="3", validation="2"), needs="tracing"))
    asked: set[int] = set()
    original = Store.traced_masks

    def noted(self: Store, video: int) -> np.ndarray:
        asked.add(int(video))
        return original(self, video)

    monkeypatch.setattr(Store, "traced_masks", noted)
    method = made(size=32)
    steps = StepData(data, method.streams(), seed=0)
    for step in range(4):
        method(steps[step], step)
    assert asked == set(data.videos("labelled").tolist())
    for batch in passes(data, method.validation().stream, seed=0):
        method.score(batch)
    assert asked == set(data.videos("labelled").tolist()) | set(data.videos("validation").tolist())
    with pytest.raises(UnlabelledAnnotationError):
        data.traced_masks(int(data.videos("unlabelled")[0]))


def test_score_is_loss_and_dice() -> None:
    method = made().eval()
    batch = traced()
    score = method.score(batch)
    images = (batch.frames[:, :, None].float() - 30) / 40
    with torch.no_grad():
        logits = torch.stack([method.segmenter(phase.expand(-1, 3, -1, -1)).logits for phase in images]).numpy()
    assert score["bce"] == (
        pytest.approx(formulas.segmentation(logits, batch.masks.numpy().astype(float)), rel=1e-5),
        3,
    )
    found, true = logits > 0, batch.masks.numpy() > 0
    dice = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert score["dice"] == (pytest.approx(3 * dice), 3)


def test_dice_is_that_of_the_tables() -> None:
    """4 of 6 and 8 pixels in common; the same as the tables' Dice of the counts."""
    found, true = torch.zeros(2, 1, 4, 4, dtype=torch.bool), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    found[0, 0, :2, :3] = True
    true[0, 0, :, 1:3] = True
    assert dice(found, true) == pytest.approx(8 / 14)
    rng = np.random.default_rng(0)
    pair = [rng.random((2, 3, 5, 4)) < share for share in (0.3, 0.6)]
    expected = pooled_dice(*(count.ravel() for count in mask_counts(*pair)))
    assert dice(*map(torch.from_numpy, pair)) == pytest.approx(expected)
    assert dice(found & ~found, true & ~true) == 1.0
    assert dice(found & ~found, true) == 0.0


def test_one_frame_is_no_batch_for_deeplab() -> None:
    """Its pooled branch has one value a channel then, which batch normalisation refuses far down the stack."""
    with pytest.raises(EchocycleError, match="at least 2"):
        made(network="deeplabv3_resnet50", batch=1)
    made(batch=1).train()({"labelled": traced(1)}, 0)


# --------------------------------------------------------------------------------------------- through the loop


def test_ten_steps_lower_the_loss(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, first, last in ten_steps(monkeypatch, store.path, tmp_path / "run", "supervised", {"segmentation"}):
        assert last < 0.97 * first, name


def test_killed_and_resumed(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "supervised")
    kept_is_validated(run, data_of(store))


def test_paper_size() -> None:
    """20 ED and 20 ES frames a step, of 14 x 14 places and 2048 channels deep inside; SGD at 1e-5, 25 epochs."""
    method = paper_size("supervised")
    assert count(method) == DEEPLAB
    stream = method.streams()["labelled"]
    assert (stream.batch, stream.sampler) == (20, TracedFrameSampler())
    network, [(example, number)] = method.step_examples()
    assert network is method.segmenter
    assert (tuple(example.shape), number) == ((2, 3, 112, 112), 40)
    found = network(example.to("meta"))
    assert found.logits.shape == (2, 112, 112)
    assert found.features.shape == (2, 2048, 14, 14)
    settings, rule = method.settings, method.settings.optimiser
    assert (rule.name, rule.lr, rule.momentum, rule.weight_decay, rule.schedule) == ("sgd", 1e-5, 0.9, 0.0, "flat")
    assert (settings.loop.epochs, settings.weights, settings.augment) == (25, "imagenet", "none")
