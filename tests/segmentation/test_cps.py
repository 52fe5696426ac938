"""Two networks that label unlabelled frames for each other; no gradient passes through a label."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.chain import copied
from helpers.segmenting import (
    COLOR,
    DEEPLAB,
    SMALL,
    annotation_asked,
    count,
    data_of,
    feeds_the_other_stages,
    first_batches,
    killed_and_resumed,
    made,
    paper_size,
    reached,
    ten_steps,
    weights_in,
)

from echocycle.bundle import load_bundle
from echocycle.data.clips import StepData
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.segmentation.cps import (
    CPSOptions,
    FrameBatch,
    FrameSampler,
    cps_loss,
    mixed,
    pseudo_labels,
    random_boxes,
)

LOSSES = {"segmentation", "segmentation_second", "cps"}


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "cutmix"])
def cutmix(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def few(cutmix: bool, **options: Any) -> Any:
    return made("cps", unlabelled_batch=3, cutmix=cutmix, **options)


def test_the_loss_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    first, second = (3 * rng.normal(size=(3, 5, 4)) for _ in range(2))
    one, other = torch.from_numpy(first), torch.from_numpy(second)
    found = cps_loss(one, other, pseudo_labels(one), pseudo_labels(other)).item()
    assert found == pytest.approx(formulas.cps(first, second), rel=1e-10)
    twice = [torch.cat([each, each]) for each in (one, other)]
    assert cps_loss(*twice, *map(pseudo_labels, twice)).item() == pytest.approx(2 * found)  # a sum, not a mean


def test_one_pixel_known_by_hand() -> None:
    """Logits 2 and -1: each is punished for what the other says."""
    one, other = torch.tensor([[[2.0]]]), torch.tensor([[[-1.0]]])
    by_hand = (np.log(1 + np.exp(2)) + np.log(1 + np.exp(1))) / 2
    assert cps_loss(one, other, pseudo_labels(one), pseudo_labels(other)).item() == pytest.approx(by_hand, rel=1e-6)


def test_no_gradient_passes_through_a_label() -> None:
    one = torch.randn(2, 3, 3, generator=torch.manual_seed(0), requires_grad=True)
    other = torch.randn(2, 3, 3, generator=torch.manual_seed(1), requires_grad=True)
    labels = pseudo_labels(one), pseudo_labels(other)
    assert not any(label.requires_grad for label in labels)
    cps_loss(one, other, *labels).backward()
    expected = (torch.sigmoid(one) - (other > 0).float()) / 2
    torch.testing.assert_close(one.grad, expected.detach())


def test_each_loss_teaches_who_should_learn_and_nobody_else(data: TrainingData, cutmix: bool) -> None:
    method = few(cutmix)
    losses = method(first_batches(method, data), 0).losses
    assert set(losses) == LOSSES
    first, second = weights_in(method, "segmenter"), weights_in(method, "second")
    assert first
    assert {name.replace("segmenter", "second") for name in first} == second
    assert reached(losses["segmentation"], method) & (first | second) == first
    assert reached(losses["segmentation_second"], method) & (first | second) == second
    assert first | second <= reached(losses["cps"], method)


def test_each_network_learns_from_the_other_alone(data: TrainingData) -> None:
    """The unlabelled part of network 1's gradient is that of its own cross-entropy with network 2's answer."""
    method = few(False)
    batches = first_batches(method, data)
    method(batches, 0).losses["cps"].backward()
    found = {name: p.grad.clone() for name, p in method.segmenter.named_parameters()}
    twin = few(False)
    images = twin.preprocess.frames(batches["unlabelled"].frames)
    twin.labelled_images(batches["labelled"])
    with torch.no_grad():
        answer = (twin.second(images).logits > 0).float()
    logits = twin.segmenter(images).logits
    (1.5 / 2 * torch.nn.functional.binary_cross_entropy_with_logits(logits, answer, reduction="sum")).backward()
    for name, parameter in twin.segmenter.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, msg=name)


def test_the_unlabelled_loss_counts_and_changes_the_network(data: TrainingData, cutmix: bool) -> None:
    ends = []
    for weight in (0.0, 1.5):
        method = few(cutmix, weight=weight)
        optimiser = torch.optim.SGD(method.parameters(), 1e-4)
        losses = method(first_batches(method, data), 0).losses
        assert (losses["cps"].item() > 100) == (weight > 0)  # a sum over pixels
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
        ends.append(method.segmenter.head.weight.detach().clone())
    assert not torch.equal(*ends)


def test_the_networks_differ_and_the_first_is_the_result(data: TrainingData) -> None:
    method = few(False)
    method.prepare_start(data)
    assert not torch.equal(method.segmenter.head.weight, method.second.head.weight)
    assert method.parts()["segmenter"].network is method.segmenter
    before = method.score(first_batches(made("cps", unlabelled_batch=3), data)["labelled"])
    with torch.no_grad():
        method.second.head.bias.add_(5.0)
    assert method.score(first_batches(method, data)["labelled"]) == before


def test_weights_that_make_both_alike_are_refused(data: TrainingData, tmp_path: Path) -> None:
    torch.save(few(False).segmenter.state_dict(), tmp_path / "whole.pt")
    method = made("cps", replace(SMALL, weights=str(tmp_path / "whole.pt")))
    with pytest.raises(EchocycleError, match="both networks alike.*--weights none"):
        method.prepare_start(data)


def test_labelled_frames_can_be_covered_too(data: TrainingData) -> None:
    batches = first_batches(few(False), data)
    without, with_labelled = few(False)(batches, 0).losses, few(False, labelled_too=True)(batches, 0).losses
    method = few(False)
    images, _ = method.labelled_images(batches["labelled"])
    with torch.no_grad():
        logits = [
            torch.stack([network(phase).logits for phase in images]).double().numpy()
            for network in (method.segmenter, method.second)
        ]
    extra = 1.5 * formulas.cps(*logits)
    assert with_labelled["cps"].item() == pytest.approx(without["cps"].item() + extra, rel=1e-4)


# ----------------------------------------------------------------------------------------------- the frames


def test_frames_are_drawn_from_unlabelled_videos(data: TrainingData) -> None:
    method = made("cps", unlabelled_batch=2)
    steps = StepData(data, method.streams(), seed=0)
    seen, places = set(), set()
    for step in range(24):
        batch: FrameBatch = steps[step]["unlabelled"]
        assert batch.boxes is None
        assert len(set(batch.row.tolist())) == 2  # one a video
        for video, frame in zip(batch.row.tolist(), batch.frames.numpy(), strict=True):
            whole = data.frames(video)
            place = next(number for number in range(len(whole)) if np.array_equal(whole[number], frame))
            seen.add(video)
            places.add(place / len(whole))
    assert seen == set(data.videos("unlabelled").tolist())
    assert min(places) < 0.2
    assert max(places) > 0.8


def test_no_annotation_of_an_unlabelled_video_is_touched(
    data: TrainingData, cutmix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = annotation_asked(monkeypatch)
    method = few(cutmix)
    steps = StepData(data, method.streams(), seed=0)
    for step in range(4):
        method(steps[step], step)
    assert asked == set(data.videos("labelled").tolist())


def test_boxes_cover_what_they_should() -> None:
    """The original's mean share is 0.252; a union of boxes of a third of the share each had 0.316."""
    rng = np.random.default_rng(0)
    covered = [random_boxes(112, rng).mean() for _ in range(3000)]
    assert np.mean(covered) == pytest.approx(0.252, abs=4 * np.std(covered) / 3000**0.5)  # four standard errors: 0.006
    assert max(covered) <= 0.51  # three boxes of half the frame, without an overlap
    assert set(np.unique(random_boxes(112, rng))) == {0, 1}
    assert all(random_boxes(16, rng).shape == (16, 16) for _ in range(300))


def test_boxes_that_overlap_give_the_frame_back() -> None:
    """Of three bands across the whole width what two or none of them cover is 0, what one or all three cover is 1."""

    class Chosen:
        """Shares of a half and height^0 = 1, so that each box is as tall as may be; places 0, 20 and 40 of 48 down."""

        places = iter([0, 0, 20, 0, 40, 0])

        def uniform(self, *bounds: Any) -> Any:
            return np.full(3, 0.5) if bounds else 0.0

        def integers(self, highest: int) -> int:
            return next(self.places)

    mask = random_boxes(112, Chosen())  # type: ignore[arg-type]
    tall, wide = round(112 / 3**0.5), round(112 * 0.5 / 3**0.5)
    assert (tall, wide) == (65, 32)
    assert not mask[:, wide:].any()
    expected = [sum(top <= row < top + tall for top in (0, 20, 40)) % 2 for row in range(112)]
    assert (mask[:, :wide] == np.array(expected)[:, None]).all()
    assert expected[19:21] == [1, 0]
    assert expected[39:41] == [0, 1]


def test_cutmix_cuts_frames_and_labels_alike(data: TrainingData) -> None:
    """A pixel inside the boxes is the next frame's, outside its own; the same for what the networks say."""
    whole = torch.arange(3.0)[:, None, None, None].expand(-1, 2, 4, 4)
    boxes = torch.zeros(3, 4, 4, dtype=torch.uint8)
    boxes[0, :2], boxes[2, :, 3] = 1, 1
    images, flat = mixed(whole, boxes), mixed(whole[:, 0], boxes)
    assert images[0, :, :2].unique().tolist() == [1.0]
    assert images[0, :, 2:].unique().tolist() == [0.0]
    assert images[1].unique().tolist() == [1.0]
    assert images[2, :, :, 3].unique().tolist() == [0.0]  # the last takes from the first
    assert torch.equal(images[:, 0], flat)


def test_cutmix_learns_the_answers_for_the_whole_frames(data: TrainingData) -> None:
    method = few(True).eval()  # so that a pass does not depend on those before it
    batch: FrameBatch = first_batches(method, data)["unlabelled"]
    assert batch.boxes is not None
    assert batch.boxes.shape == (3, 32, 32)
    assert 0 < batch.boxes.float().mean() < 1
    images = method.preprocess.frames(batch.frames)
    with torch.no_grad():
        answers = [(network(images).logits > 0).float() for network in (method.segmenter, method.second)]
        inside = batch.boxes.bool()
        patchwork = torch.where(inside[:, None], images[[1, 2, 0]], images)
        labels = [torch.where(inside, answer[[1, 2, 0]], answer) for answer in answers]
        first, second = (network(patchwork).logits for network in (method.segmenter, method.second))
        expected = sum(
            torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="sum") / 2
            for logits, label in ((first, labels[1]), (second, labels[0]))
        )
        loss, agreement = method.cross_loss(batch)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)
    assert agreement.item() == pytest.approx((labels[0] == labels[1]).float().mean().item())
    assert FrameSampler(boxes=32) == method.streams()["unlabelled"].sampler


def test_bf16_loses_no_gradient(data: TrainingData, cutmix: bool) -> None:
    """Weights that answers have used under autocast, which keeps its copies of them, still learn in the same step."""
    method = few(cutmix)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(first_batches(method, data), 0).losses
    first, second = weights_in(method, "segmenter"), weights_in(method, "second")
    assert first | second <= reached(losses["cps"], method)
    assert first <= reached(losses["segmentation"], method)
    assert second <= reached(losses["segmentation_second"], method)


def test_color_frames(data: TrainingData) -> None:
    frames = torch.randint(0, 256, (3, 112, 112, 3), dtype=torch.uint8)
    boxes = torch.from_numpy(np.stack([random_boxes(32, np.random.default_rng(0))] * 3))
    method = made("cps", inputs=COLOR, unlabelled_batch=3, cutmix=True)
    loss, _ = method.cross_loss(FrameBatch(frames, boxes, torch.arange(3)))
    assert loss.item() > 0


@pytest.mark.parametrize("bad", [{"weight": -1.0}, {"unlabelled_batch": 0}, {"unlabelled_batch": 1, "cutmix": True}])
def test_options_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=r"option\."):
        CPSOptions(**bad)


# --------------------------------------------------------------------------------------------- through the loop


def test_ten_steps_lower_the_loss(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cutmix: bool) -> None:
    option = {"unlabelled_batch": "4", "cutmix": str(cutmix)}
    for name, first, last in ten_steps(monkeypatch, store.path, tmp_path / "run", "cps", LOSSES, option=option):
        assert last < 0.97 * first, name


def test_killed_resumed_and_used(
    store: Store, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cutmix: bool
) -> None:
    own = copied(store, tmp_path)
    option = {"unlabelled_batch": "2", "cutmix": str(cutmix)}
    run = killed_and_resumed(monkeypatch, own.path, tmp_path, "cps", option=option)
    if not cutmix:
        feeds_the_other_stages(run, own, next((phantom_folder / "Videos").iterdir()))
    assert count(load_bundle(run).segmenter.network) == count(made("cps").segmenter)  # type: ignore[union-attr]


def test_paper_size() -> None:
    method = paper_size("cps")
    assert count(method) == 2 * DEEPLAB
    assert count(method.parts()["segmenter"].network) == DEEPLAB
    assert {name: stream.batch for name, stream in method.streams().items()} == {"labelled": 20, "unlabelled": 40}
    _, passes = method.step_examples()
    assert [number for _, number in passes] == [80, 80]
    with pytest.raises(EchocycleError, match="at least 2 for deeplabv3_resnet50"):
        paper_size("cps", unlabelled_batch=1)
