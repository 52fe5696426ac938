"""The reference computes what the methods compute: the same batch, the same outputs, the same losses, the same masks."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from torch import Tensor, nn

from echocycle.benchmarks import reference
from echocycle.benchmarks.clip_loading import starts_in
from echocycle.data.clips import ClipBatch, ClipSampler, CycleBatch, StepData, Stream, TracedBatch
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.inference.clips import predict_clips
from echocycle.inference.masks import probabilities
from echocycle.models.preprocess import Preprocess
from echocycle.models.regressor import Regressor
from echocycle.models.segmenter import DeepLab
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.regression.student import Student, StudentOptions
from echocycle.regression.teacher import Teacher, TeacherOptions
from echocycle.segmentation.css import CSS, CSSOptions, css_loss
from echocycle.settings.stages import LabelSettings, RegressSettings, SegmentSettings
from echocycle.training.method import Inputs, Method

CPU = torch.device("cpu")
MEAN, STD = (31.7,), (48.3,)
GREY = Inputs(MEAN, STD, color=False)


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return TrainingData(store, draw_budget(store, LabelSettings(labelled="all"), needs="ef"))


@pytest.fixture(scope="module")
def videos(phantom_folder: Path) -> Path:
    return phantom_folder / "Videos"


def recording(videos: Path, store: Store, video: int) -> Path:
    return videos / str(store.index["file"][video])


def experienced(network: nn.Module, example: Tensor) -> nn.Module:
    """With running statistics of what passes, so that the outputs depend on the input."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            network.train()(example + 0.3 * torch.randn_like(example))
    return network.eval()


# --------------------------------------------------------------------------------------------------- batches


def test_it_decodes_what_the_store_holds(store: Store, videos: Path) -> None:
    for video in (0, 5):
        decoded = reference.read_video(recording(videos, store, video))
        assert decoded.shape == (3, store.n_frames(video), 112, 112)
        for channel in decoded:
            assert np.array_equal(channel, store.frames(video))


@pytest.mark.parametrize(("frames", "period"), [(32, 2), (32, 4)], ids=["whole", "past-the-end"])
def test_the_batch_is_the_same(store: Store, data: TrainingData, videos: Path, frames: int, period: int) -> None:
    """Bit for bit, crop and frames past the end included."""
    stream = Stream(ClipSampler(frames, period, pad=12), "labelled", 4)
    batch: ClipBatch = StepData(data, {"clips": stream}, seed=3)[0]["clips"]
    starts = starts_in(batch, data, period)
    assert len(set(batch.crop.flatten().tolist())) > 2
    assert bool((batch.valid < frames).any()) == (period == 4)
    clips = [
        reference.load_clip(
            recording(videos, store, video), start, MEAN, STD, frames=frames, period=period, pad=12, crop=crop
        )
        for video, start, crop in zip(batch.row.tolist(), starts, batch.crop.tolist(), strict=True)
    ]
    found = Preprocess(MEAN, STD, 112).clips(batch, masks=False, pad=12)
    assert found.dtype == torch.float32
    assert found.std() > 0.3
    assert torch.equal(found, torch.from_numpy(np.stack(clips)))


def test_the_mask_channel_is_the_same(store: Store, data: TrainingData, videos: Path, tmp_path: Path) -> None:
    batch: ClipBatch = StepData(data, {"clips": Stream(ClipSampler(32, 4, pad=12), "labelled", 1)}, seed=3)[0]["clips"]
    video, [start] = int(batch.row[0]), starts_in(batch, data, 4)
    stored = np.random.default_rng(0).integers(0, 256, (store.n_frames(video), 112, 112), dtype=np.uint8)
    share = np.clip(stored / 255, 1e-9, 1 - 1e-9)
    np.save(tmp_path / "logits.npy", np.log(share / (1 - share)).astype(np.float32))
    mask = np.zeros((1, 32, 112, 112), np.uint8)
    seen = stored[start::4][: int(batch.valid[0])]
    mask[0, : len(seen)] = seen
    found = Preprocess(MEAN, STD, 112).clips(batch._replace(mask=torch.from_numpy(mask)), masks=True, pad=12)
    expected = reference.load_clip(
        recording(videos, store, video),
        start,
        MEAN,
        STD,
        period=4,
        pad=12,
        crop=batch.crop[0].tolist(),
        logits=tmp_path / "logits.npy",
    )
    assert expected.shape == (4, 32, 112, 112)
    assert (expected[3] == -1).any()  # past the end
    assert (expected[3] == 0).any()  # the border of the crop
    torch.testing.assert_close(found[0], torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_a_video_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.avi").write_bytes(b"no video")
    with pytest.raises(EchocycleError, match=r"no frame in .*no\.avi"):
        reference.read_video(tmp_path / "no.avi")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(EchocycleError, match="pip install opencv-python-headless"):
        reference.read_video(tmp_path / "no.avi")


# -------------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("channels", [3, 4])
def test_regressors_give_the_same(channels: int) -> None:
    """In use, where batch normalisation is folded on our side, to 1e-5; in training too but for rounding."""
    torch.manual_seed(0)
    clips = torch.randn(2, channels, 4, 28, 28)
    plain = experienced(reference.regressor(channels), clips)
    own = Regressor(channels=channels)
    own.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected = plain(clips)[:, 0]
        assert expected.std() > 1e-3
        torch.testing.assert_close(own.eval()(clips), expected, rtol=1e-5, atol=1e-5)
        plain, own, clips = plain.double(), own.double(), clips.double()
        for mode in (False, True):
            torch.testing.assert_close(own.train(mode)(clips), plain.train(mode)(clips)[:, 0], rtol=1e-9, atol=1e-9)


def test_segmenters_give_the_same() -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 3, 56, 56)
    plain = experienced(reference.segmenter(), frames)
    own = DeepLab()
    own.load_state_dict(plain.state_dict())
    with torch.no_grad():
        expected, features = plain(frames)["out"][:, 0], plain.backbone(frames)["out"]  # type: ignore[operator]
        assert expected.std() > 1e-3
        assert features.std() > 0.1
        found = own.eval()(frames)
        torch.testing.assert_close(found.logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.features, features, rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------------------------------- steps


def losses_of(method: Method, batches: dict[str, Any]) -> float:
    """A step as the loop takes it, its loss; in float64, where rounding cannot switch a unit on or off."""
    method.double()
    optimiser = method.optimiser(method.settings.optimiser)  # type: ignore[union-attr, arg-type]
    method.train()
    loss = torch.stack(list(method(batches, 0).losses.values())).sum()
    loss.backward()
    optimiser.step()
    return loss.item()


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same_weights(own: nn.Module, plain: nn.Module, before: dict[str, Tensor]) -> None:
    """After a step: all weights have moved by as much, and so have the running statistics."""
    for name, value in plain.state_dict().items():
        if "num_batches" not in name:
            moved, expected = own.state_dict()[name] - before[name], value - before[name]
            torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-9)
            assert expected.abs().max() > 0, name


def random_clips(count: int, *, masks: bool) -> ClipBatch:
    generator = torch.Generator().manual_seed(count)
    video, mask = (torch.randint(0, 256, (count, 4, 28, 28), generator=generator, dtype=torch.uint8) for _ in "vm")
    crop = torch.randint(0, 6, (count, 2), generator=generator)
    ef = torch.linspace(40, 60, count)
    return ClipBatch(video, mask if masks else None, torch.full((count,), 4), crop, ef, torch.arange(count))


SMALL = RegressSettings(method="teacher", weights="none", frames=4, size=28, pad=3, batch=2)


def test_the_step_of_f_m_is_the_same() -> None:
    torch.manual_seed(0)
    method = Teacher(SMALL, TeacherOptions(), GREY)
    batch = random_clips(2, masks=True)
    plain = reference.regressor(4)
    before = weights_of(method.regressor)
    plain.load_state_dict(before)
    optimiser = reference.optimiser(plain.double(), SMALL.optimiser.lr, SMALL.optimiser.weight_decay)
    clips = Preprocess(MEAN, STD, 28).double().clips(batch, masks=True, pad=3)
    assert batch.ef is not None
    expected = reference.regression_step(plain, optimiser, clips, batch.ef.double())
    assert losses_of(method, {"labelled": batch}) == pytest.approx(expected, rel=1e-5)
    assert_same_weights(method.regressor, plain, before)


def test_the_step_of_f_e_is_the_same() -> None:
    torch.manual_seed(0)
    teacher = Teacher(SMALL, TeacherOptions(), GREY).parts()["regressor"]
    experienced(teacher.network, torch.randn(2, 4, 4, 28, 28))
    settings = replace(SMALL, method="student")
    method = Student(settings, StudentOptions(unlabelled_batch=3), replace(GREY, teachers=(teacher.to(CPU),)))
    batches = {"labelled": random_clips(2, masks=False), "unlabelled": random_clips(3, masks=True)}
    plain, plain_teacher = reference.regressor(3), reference.regressor(4)
    before = weights_of(method.regressor)
    plain.load_state_dict(before)
    plain_teacher.load_state_dict(teacher.network.state_dict())
    optimiser = reference.optimiser(plain.double(), SMALL.optimiser.lr, SMALL.optimiser.weight_decay)
    preprocess = Preprocess(MEAN, STD, 28).double()
    labelled = preprocess.clips(batches["labelled"], masks=False, pad=3)
    unlabelled = preprocess.clips(batches["unlabelled"], masks=True, pad=3)
    assert batches["labelled"].ef is not None
    expected = reference.distillation_step(
        plain, plain_teacher.double(), optimiser, labelled, batches["labelled"].ef.double(), unlabelled
    )
    assert losses_of(method, batches) == pytest.approx(expected, rel=1e-5)
    assert_same_weights(method.regressor, plain, before)


def test_the_step_of_css_is_the_same() -> None:
    """Without dropout, which each side draws for itself; the cyclical loss weighs as much as the other."""
    options = CSSOptions(
        weight=3e3, template=4, search=3, phase_length=2, offset=1, temperature=1e-3, rescale_temperature=False
    )
    torch.manual_seed(0)
    method = CSS(SegmentSettings(method="css", weights="none", batch=2, size=32), options, GREY)
    plain = reference.segmenter()
    for network in (method.segmenter, plain):
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    before = weights_of(method.segmenter)
    plain.load_state_dict(before)
    frames = torch.randint(0, 256, (2, 2, 32, 32), dtype=torch.uint8)
    traced = TracedBatch(frames, (frames > 127).byte(), torch.zeros(2, 2, 4), torch.arange(2))
    video = torch.randint(0, 256, (1, options.frames, 32, 32), dtype=torch.uint8)
    cycle = CycleBatch(video, torch.tensor([1]), torch.tensor([0]))
    preprocess = Preprocess(MEAN, STD, 32).double()
    expected = reference.css_step(
        plain.double(),
        reference.optimiser(plain, method.settings.optimiser.lr),
        preprocess.frames(frames.flatten(0, 1)).unflatten(0, (2, -1)),
        traced.masks.double(),
        preprocess.frames(video[0]),
        1,
        options,
    )
    assert losses_of(method, {"labelled": traced, "cycles": cycle}) == pytest.approx(expected, rel=1e-4)
    assert expected > 3e3  # it is not the segmentation loss alone
    assert_same_weights(method.segmenter, plain, before)


def test_the_cyclical_loss_is_the_formula() -> None:
    options = CSSOptions()
    z = np.random.default_rng(0).normal(size=(40, 8))
    for start in (0, 4, 10):
        found = reference.css_loss(torch.from_numpy(z), start, options).item()
        assert found == pytest.approx(formulas.css(z, start), rel=1e-10)
        assert found == pytest.approx(css_loss(torch.from_numpy(z), start).item(), rel=1e-10)


# ---------------------------------------------------------------------------------------- masks, evaluation


def test_masks_are_the_same(store: Store, videos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = experienced(reference.segmenter(), torch.randn(4, 3, 28, 28))
    with torch.no_grad():
        plain.classifier[4].weight.mul_(50)  # type: ignore[index, operator, union-attr]
    part = Part(SegmenterSpec("deeplabv3_resnet50", 0, 28, MEAN, STD, False), DeepLab())
    part.network.load_state_dict(plain.state_dict())
    file = tmp_path / "logits.npy"
    logits = reference.write_logits(
        plain, recording(videos, store, 0), file, MEAN, STD, CPU, batch=5, size=28, frames=7
    )
    assert np.load(file).dtype == np.float32
    assert np.array_equal(np.load(file), logits)
    with torch.no_grad():
        found = np.concatenate(list(probabilities(part.to(CPU), store.frames(0)[:7], 3, CPU)))
    expected = 255 / (1 + np.exp(-logits))
    assert expected.std() > 1
    assert np.abs(found - expected).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("period", [3, 8], ids=["whole", "past-the-end"])
def test_evaluation_is_the_same(store: Store, videos: Path, period: int) -> None:
    torch.manual_seed(0)
    plain = experienced(reference.regressor(), torch.randn(2, 3, 12, 28, 28))
    with torch.no_grad():
        plain.fc.weight.mul_(30)  # type: ignore[operator, union-attr]
    spec = RegressorSpec("r2plus1d_18", (64, 128, 256, 512), 3, 1.0, 28, 12, period, MEAN, STD, False)
    part = Part(spec, spec.build())
    part.network.load_state_dict(plain.state_dict())
    starts = [0, 1, 2, 3, 5, 8]
    expected = reference.evaluate_video(
        plain, recording(videos, store, 0), starts, MEAN, STD, CPU, frames=12, period=period, batch=4, size=28
    )
    found = predict_clips(part.to(CPU), store.frames(0), None, starts, 4, CPU)
    assert expected.std() > 0.03
    assert np.abs(found - expected).max() < 1e-4
