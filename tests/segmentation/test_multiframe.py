"""Two models that see a frame's neighbours on one side each; their mean is the mask."""

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
    kept_is_validated,
    killed_and_resumed,
    made,
    paper_size,
    reached,
    ten_steps,
    weights_in,
)

from echocycle.bundle import load_bundle
from echocycle.data.clips import StepData, TracedBatch, TracedFrameSampler
from echocycle.data.labels import TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.preprocess import resize
from echocycle.models.video_segmenter import FUSIONS, AttentionFusion, MultiFrame
from echocycle.segmentation.multiframe import MultiFrameOptions, TracedWindowSampler
from echocycle.segmentation.supervised import segmentation_loss

LOSSES = {"segmentation_before", "segmentation_after"}


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


@pytest.fixture(scope="module", params=list(FUSIONS))
def fusion(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ------------------------------------------------------------------------------------------------ networks


def test_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    fuse = AttentionFusion(16, neighbours=3).double()
    target, neighbours = torch.randn(2, 16, 3, 2).double(), torch.randn(2, 3, 16, 3, 2).double()
    found = fuse(target, neighbours)
    weights = [conv.weight.detach().flatten(1).numpy() for conv in (fuse.query, fuse.key, fuse.value)]
    assert weights[0].shape == (2, 16)
    for sample in range(2):
        seen = [formulas.attention(target[sample].numpy(), each.numpy(), *weights) for each in neighbours[sample]]
        joined = np.concatenate([target[sample].numpy(), *seen])
        expected = np.einsum("oc,chw->ohw", fuse.join.weight.detach().flatten(1).numpy(), joined)
        expected = expected + fuse.join.bias.detach().numpy()[:, None, None]
        np.testing.assert_allclose(found[sample].detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def network(fusion: str = "attention", neighbours: int = 3, spacing: int = 1) -> MultiFrame:
    torch.manual_seed(0)
    return MultiFrame("unet", 2, fusion, neighbours, spacing).eval()


def test_each_model_sees_its_side_alone(fusion: str) -> None:
    """A change in a frame shows in the logits of the model that may see it, and in no others."""
    model = network(fusion)
    windows = torch.randn(1, 7, 3, 32, 32)
    with torch.no_grad():
        plain = model(windows)
        for place in range(7):
            changed = windows.clone()
            changed[:, place] += 1
            found = model(changed)
            assert torch.equal(found.before, plain.before) == (place > 3)
            assert torch.equal(found.after, plain.after) == (place < 3)


def test_neighbours_have_their_places() -> None:
    """Joined side by side, the nearest comes first; attention's answer for a place depends on who stands there too."""
    for fusion in FUSIONS:
        model = network(fusion)
        windows = torch.randn(1, 7, 3, 32, 32)
        with torch.no_grad():
            assert not torch.equal(model(windows).before, model(windows[:, [1, 0, 2, 3, 4, 5, 6]]).before)


@pytest.mark.parametrize("spacing", [1, 2])
def test_a_video_is_its_windows(fusion: str, spacing: int) -> None:
    """Every frame's probability is that of its own window, end frames repeated; whatever the size of the blocks."""
    model = network(fusion, neighbours=2, spacing=spacing)
    video = torch.randn(9, 3, 32, 32)
    with torch.no_grad():
        found = model.video(lambda numbers: video[numbers], 9, 4)
        torch.testing.assert_close(found, model.video(lambda numbers: video[numbers], 9, 100))
        for frame in range(9):
            numbers = [min(max(frame + spacing * step, 0), 8) for step in range(-2, 3)]
            before, after = model(video[numbers][None])
            expected = (torch.sigmoid(before) + torch.sigmoid(after))[0] / 2
            torch.testing.assert_close(found[frame], expected)
        assert model.video(lambda numbers: video[numbers], 1, 4).shape == (1, 32, 32)


def test_the_models_share_nothing() -> None:
    model = network()
    before, after = dict(model.before.named_parameters()), dict(model.after.named_parameters())
    assert before.keys() == after.keys()
    assert not {id(p) for p in before.values()} & {id(p) for p in after.values()}
    assert not torch.equal(before["network.head.weight"], after["network.head.weight"])


# ------------------------------------------------------------------------------------------------ the method


def test_windows_stand_around_the_traced_frames(data: TrainingData) -> None:
    sampler = TracedWindowSampler(neighbours=3, spacing=2)
    video = int(data.videos("labelled")[0])
    plain = TracedFrameSampler().draw(data, video, np.random.default_rng(0))
    sample = sampler.draw(data, video, np.random.default_rng(0))
    assert sample.frames.shape == (2, 7, 112, 112)
    np.testing.assert_array_equal(sample.frames[:, 3], plain.frames)
    np.testing.assert_array_equal(sample.masks, plain.masks)
    whole = data.frames(video)
    for phase, frame in enumerate(data.traced_frames(video)):
        for place, step in enumerate((-6, -4, -2, 0, 2, 4, 6)):
            number = min(max(frame + step, 0), len(whole) - 1)
            np.testing.assert_array_equal(sample.frames[phase, place], whole[number])
    far = TracedWindowSampler(neighbours=1, spacing=1000).draw(data, video, np.random.default_rng(0))
    np.testing.assert_array_equal(far.frames[0, 0], whole[0])
    np.testing.assert_array_equal(far.frames[1, 2], whole[-1])


def test_the_loss_is_each_models_own(data: TrainingData) -> None:
    """Half the summed cross-entropy for either model; ED and ES pass apart."""
    method = made("multiframe")
    batch: TracedBatch = first_batches(method, data)["labelled"]
    losses = method({"labelled": batch}, 0).losses
    twin = made("multiframe")
    targets = resize(batch.masks.float(), 32)
    images = (resize(batch.frames.flatten(0, 2)[:, None].float(), 32) - 30) / 40
    windows = images.unflatten(0, (2, 2, 7)).expand(-1, -1, -1, 3, -1, -1)
    for name, places in (("before", [3, 2, 1, 0]), ("after", [3, 4, 5, 6])):
        model = getattr(twin.segmenter, name)
        logits = torch.stack([model(phase[:, places]) for phase in windows])
        assert losses[f"segmentation_{name}"].item() == pytest.approx(
            formulas.segmentation(logits.detach().double().numpy(), targets.double().numpy()), rel=1e-5
        )
    for mine, theirs in zip(method.segmenter.buffers(), twin.segmenter.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_each_loss_teaches_its_own_model(data: TrainingData, fusion: str) -> None:
    method = made("multiframe", fusion=fusion)
    losses = method(first_batches(method, data), 0).losses
    assert set(losses) == LOSSES
    for name, other in (("before", "after"), ("after", "before")):
        found = reached(losses[f"segmentation_{name}"], method)
        assert weights_in(method, f"segmenter.{name}") <= found
        assert not any(each.startswith(f"segmenter.{other}") for each in found)


@pytest.mark.parametrize("augment", ["spatial", "strong"])
@pytest.mark.parametrize("inputs", [None, COLOR], ids=["grey", "color"])
def test_a_window_is_changed_as_a_whole(data: TrainingData, augment: Any, inputs: Any) -> None:
    """Seven times the same frame stays seven times the same; and frame and mask move together."""
    method = made("multiframe", replace(SMALL, augment=augment), **({"inputs": inputs} if inputs else {}))
    batch: TracedBatch = first_batches(method, data)["labelled"]
    if augment == "spatial":
        assert batch.warp.abs().max() > 0.05
    frames = (batch.masks * 255)[:, :, None].expand(-1, -1, 7, -1, -1)
    if inputs:
        frames = frames[..., None].expand(-1, -1, -1, -1, -1, 3)
    windows, masks = method.labelled_images(batch._replace(frames=frames))
    assert windows.shape == (2, 2, 7, 3, 32, 32)
    assert masks.shape == (2, 2, 32, 32)
    torch.testing.assert_close(windows, windows[:, :, :1].expand_as(windows), atol=1e-4, rtol=0)
    original = resize(batch.masks.float(), 32)
    assert not torch.allclose(masks, original, atol=0.3)
    inside, outside = windows[:, :, 3, 0][masks > 0.99], windows[:, :, 3, 0][masks < 0.01]
    assert inside.mean() > outside.mean() + 1
    if augment == "spatial":
        grey = windows[:, :, 3, 0] * 40 / 255 + 30 / 255
        torch.testing.assert_close(grey, masks, atol=1e-4, rtol=0)


def test_score_is_each_models_loss_and_the_means_dice(data: TrainingData) -> None:
    method = made("multiframe").eval()
    batch = first_batches(method, data)["labelled"]
    with torch.no_grad():
        score = method.score(batch)
        windows, targets = method.labelled_images(batch)
        found = [method.segmenter(phase) for phase in windows]
    before, after = (torch.stack([getattr(each, name) for each in found]) for name in ("before", "after"))
    losses = [segmentation_loss(each, targets).item() for each in (before, after)]
    assert score["bce_before"] == (pytest.approx(losses[0]), 2)
    assert score["bce_after"] == (pytest.approx(losses[1]), 2)
    assert score["bce"] == (pytest.approx(sum(losses) / 2), 2)
    marked, true = (torch.sigmoid(before) + torch.sigmoid(after)) / 2 > 0.5, targets > 0.5
    dice = 2 * (marked & true).sum().item() / (marked.sum() + true.sum()).item()
    assert score["dice"] == (pytest.approx(2 * dice), 2)


def test_only_labelled_videos_are_read(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = annotation_asked(monkeypatch)
    method = made("multiframe")
    assert set(method.streams()) == {"labelled"}
    steps = StepData(data, method.streams(), seed=0)
    for step in range(4):
        method(steps[step], step)
    assert asked == set(data.videos("labelled").tolist())


def test_options_that_cannot_work_are_refused() -> None:
    for bad in ({"neighbours": 0}, {"spacing": 0}):
        with pytest.raises(EchocycleError, match=r"option\."):
            MultiFrameOptions(**bad)
    with pytest.raises(EchocycleError, match="Method multiframe takes no network 'r2plus1d_18'"):
        made("multiframe", replace(SMALL, network="r2plus1d_18"))


# --------------------------------------------------------------------------------------------- through the loop


def test_ten_steps_lower_the_loss(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fusion: str) -> None:
    for name, first, last in ten_steps(
        monkeypatch, store.path, tmp_path / "run", "multiframe", LOSSES, option={"fusion": fusion}
    ):
        assert last < 0.97 * first, name


def test_killed_resumed_and_used(
    data: TrainingData,
    store: Store,
    phantom_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fusion: str,
) -> None:
    own = copied(store, tmp_path)
    option = {"fusion": fusion, "neighbours": "2", "spacing": "3"}
    run = killed_and_resumed(monkeypatch, own.path, tmp_path, "multiframe", option=option)
    kept_is_validated(run, data)
    feeds_the_other_stages(run, own, next((phantom_folder / "Videos").iterdir()))
    part = load_bundle(run).segmenter
    assert part is not None
    assert part.spec.network == "multiframe_unet"
    assert part.spec.option == option
    assert isinstance(part.network, MultiFrame)
    assert (part.network.neighbours, part.network.spacing) == (2, 3)
    assert all(type(model.fusion) is FUSIONS[fusion] for model in (part.network.before, part.network.after))


def test_paper_size() -> None:
    """Two DeepLabV3, each with three projections of 2048 to 256 and a reduction of 2048 + 3 x 256 to 2048."""
    joined = DEEPLAB + 3 * 2048 * 256 + (2048 + 3 * 256 + 1) * 2048
    method = paper_size("multiframe")
    assert count(method) == 2 * joined == 93_951_618
    assert count(paper_size("multiframe", fusion="concat")) == 2 * (DEEPLAB + (4 * 2048 + 1) * 2048)
    network, [(example, number)] = method.step_examples()
    assert network is method.segmenter
    assert (tuple(example.shape), number) == ((2, 7, 3, 112, 112), 40)
    found = network(torch.empty(2, 7, 3, 112, 112, device="meta"))
    assert found.before.shape == found.after.shape == (2, 112, 112)
