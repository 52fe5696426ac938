"""The networks at full size are torchvision's; slim ones are the same code; every method takes a step at full width."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from echocycle import regression, segmentation
from echocycle.bundle import Bundle, save_bundle
from echocycle.data.clips import ClipBatch, StepData, Stream, ViewSampler
from echocycle.data.moving_shapes import ShapeSampler
from echocycle.errors import EchocycleError
from echocycle.models.build import build_segmenter
from echocycle.models.convolutions import SpatialConv, TemporalConv, WholeConv
from echocycle.models.regressor import (
    NETWORKS,
    Regressor,
    copy_without_mask_channel,
    init_mask_channel,
    load_regressor_weights,
)
from echocycle.models.segmenter import DeepLab, UNet, load_segmenter_weights
from echocycle.models.specs import Part, RegressorSpec
from echocycle.models.weights import read_state
from echocycle.settings.presets import preset
from echocycle.training.method import Inputs

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
PAPER = preset("paper")


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def stirred(network: nn.Module) -> nn.Module:
    """With running statistics that are not those of a new network."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) * 0.5 + 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "count"), [("r2plus1d_18", 31_300_638), ("r3d_18", 33_166_785), ("mc3_18", 11_490_753)]
)
def test_regressors_are_torchvisions(name: str, count: int) -> None:
    reference = getattr(torchvision.models.video, name)(weights=None, num_classes=1)
    own = Regressor(name)
    assert parameters(own) == parameters(reference) == count
    assert [(n, p.shape) for n, p in own.state_dict().items()] == [
        (n, p.shape) for n, p in reference.state_dict().items()
    ]
    stirred(reference)
    reference.fc.bias.data.fill_(55.6)
    own.load_state_dict(reference.state_dict())
    clips = torch.randn(1, 3, 4, 56, 56)
    with torch.no_grad():
        expected = reference(clips)[:, 0]
        torch.testing.assert_close(own.eval()(clips), expected, atol=1e-5, rtol=1e-6)
        own.target_scale = 10.0
        torch.testing.assert_close(own(clips), 10 * expected, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    "conv",
    [
        SpatialConv(24, 33, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
        TemporalConv(33, 24, (3, 1, 1), (2, 1, 1), (1, 0, 0)),
        TemporalConv(288, 64, (3, 1, 1), padding=(1, 0, 0), bias=False),  # where PyTorch's own gives inf and NaN
        WholeConv(3, 16, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False),
        WholeConv(24, 32, 3, 2, 1),
        WholeConv(32, 24, 3, 1, 1),
    ],
    ids=str,
)
def test_convolutions_are_pytorchs_and_keep_their_gradients_in_bf16(conv: nn.Conv3d) -> None:
    torch.manual_seed(0)
    clips = torch.randn(2, conv.in_channels, 8, 14, 14)
    expected = nn.Conv3d.forward(conv, clips)
    torch.testing.assert_close(conv(clips), expected, atol=1e-5, rtol=1e-5)
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        given = clips.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            answer = conv(given).float()
        weighed = (answer * torch.linspace(-1, 1, answer.numel()).view_as(answer)).sum()
        wanted = torch.autograd.grad(weighed, [given, *conv.parameters()])
        found[precision] = torch.cat([each.flatten() for each in wanted])
    assert F.cosine_similarity(found[torch.float32], found[torch.bfloat16], dim=0) > 0.999
    torch.testing.assert_close(found[torch.bfloat16].norm(), found[torch.float32].norm(), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_no_network_computes_a_3d_convolution_that_pytorch_gets_wrong(name: str) -> None:
    """What is left to `nn.Conv3d` are the shortcuts of one pixel, whose bf16 gradients are right."""
    with torch.device("meta"):
        plain = [module for module in Regressor(name).modules() if type(module) is nn.Conv3d]
    assert all(module.kernel_size == (1, 1, 1) for module in plain)


def test_the_segmenter_is_torchvisions() -> None:
    reference = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False)
    own = DeepLab()
    assert parameters(own) == parameters(reference) == 39_633_729
    stirred(reference)
    own.load_state_dict(reference.state_dict())
    frames = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        expected = reference(frames)["out"][:, 0]
        logits, features = own.eval()(frames)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        assert logits.shape == (1, 112, 112)
        assert features.shape == (1, 2048, 14, 14)  # of layer 4, which the cyclical loss compares
        torch.testing.assert_close(features, reference.backbone(frames)["out"], atol=1e-5, rtol=1e-5)


def test_stems() -> None:
    with torch.device("meta"):
        assert tuple(Regressor(channels=4).stem[0].weight.shape) == (45, 4, 1, 7, 7)
        assert tuple(Regressor(channels=3).stem[0].weight.shape) == (45, 3, 1, 7, 7)
        assert tuple(Regressor(channels=3).stem[3].weight.shape) == (64, 45, 3, 1, 1)
        for name in ("r3d_18", "mc3_18"):
            assert tuple(Regressor(name, channels=4).stem[0].weight.shape) == (64, 4, 3, 7, 7)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_slim_regressors_are_the_same_code(name: str) -> None:
    torch.manual_seed(0)
    slim = Regressor(name, (4, 8, 12, 16), channels=4)
    kinds = [type(module).__name__ for module in slim.modules()]
    with torch.device("meta"):
        assert kinds == [type(module).__name__ for module in Regressor(name).modules()]
    answer = slim(torch.randn(2, 4, 8, 32, 32))
    assert answer.shape == (2,)
    answer.sum().backward()
    assert all(p.grad is not None for p in slim.parameters())


@pytest.mark.parametrize("size", [16, 56, 112])
def test_unet(size: int) -> None:
    torch.manual_seed(0)
    network = UNet(4)
    logits, features = network(torch.randn(2, 3, size, size))
    assert logits.shape == (2, size, size)
    assert features.shape == (2, 32, size // 8, size // 8)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_deep_unet_sees_the_whole_frame() -> None:
    """A corner's answer hangs on the opposite corner with six levels, not with four; any height and width do."""
    for name, reaches in (("unet_deep", True), ("unet", False)):
        torch.manual_seed(0)
        network = build_segmenter(name, 4).eval()
        frames = torch.randn(1, 3, 112, 112, requires_grad=True)
        network(frames).logits[0, 0, 0].backward()
        assert bool(frames.grad[..., -16:, -16:].abs().sum() > 0) == reaches
    assert build_segmenter("unet_deep", 4)(torch.randn(2, 3, 40, 52)).logits.shape == (2, 40, 52)


def test_unknown_networks_are_named() -> None:
    with pytest.raises(EchocycleError, match=r"no regressor 'r2d'.*r2plus1d_18"):
        Regressor("r2d")
    with pytest.raises(EchocycleError, match=r"no segmenter 'net'.*unet"):
        build_segmenter("net")


# ------------------------------------------------------------------------------------------------- weights


def test_weights_of_a_file(tmp_path: Path) -> None:
    """A Kinetics-like file of 400 classes fills all but `fc`; its stem is widened and narrowed as needed."""
    torch.manual_seed(0)
    given = torchvision.models.video.r3d_18(weights=None, num_classes=400).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in given.items()}}, tmp_path / "kinetics.pt")
    teacher = Regressor("r3d_18", channels=4)
    bias, mask = teacher.fc.bias.detach().clone(), teacher.stem[0].weight[:, 3:].detach().clone()
    load_regressor_weights(teacher, "r3d_18", str(tmp_path / "kinetics.pt"))
    assert torch.equal(teacher.stem[0].weight[:, :3], given["stem.0.weight"])
    assert torch.equal(teacher.stem[0].weight[:, 3:], mask)
    assert torch.equal(teacher.layer4[1].conv2[0].weight, given["layer4.1.conv2.0.weight"])
    assert torch.equal(teacher.fc.bias, bias)

    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    student = Regressor("r3d_18")
    load_regressor_weights(student, "r3d_18", str(tmp_path / "teacher.pt"))
    assert torch.equal(student.stem[0].weight, given["stem.0.weight"])
    assert torch.equal(student.fc.bias, bias)
    with pytest.raises(EchocycleError, match=r"do not fit.*widths"):
        load_regressor_weights(Regressor("r3d_18", (8, 8, 8, 8)), "r3d_18", str(tmp_path / "teacher.pt"))


def test_a_checkpoint_gives_its_own_ef_at_any_scale(tmp_path: Path) -> None:
    """An EF checkpoint's last layer says percent; a bundle's says units of the `target_scale` in its settings."""
    torch.manual_seed(0)
    widths = (4, 8, 8, 8)
    plain = Regressor(widths=widths)
    plain.set_bias(55.6)
    torch.save(plain.state_dict(), tmp_path / "ef.pt")
    spec = RegressorSpec("r2plus1d_18", widths, 3, 5.0, 56, 4, 2, (30.0,), (40.0,), False)
    ours = spec.build_one()
    ours.set_bias(44.4)
    save_bundle(Bundle(regressor=Part(spec, ours)), tmp_path / "model")
    features = torch.randn(3, widths[-1])
    for file, given in ((tmp_path / "ef.pt", plain), (tmp_path / "model" / "regressor.safetensors", ours)):
        for scale in (1.0, 12.4):
            network = Regressor(widths=widths, target_scale=scale)
            assert "fc" in load_regressor_weights(network, "r2plus1d_18", str(file))
            torch.testing.assert_close(network.answer(features), given.answer(features))


def test_ef_is_not_rounded_by_bf16() -> None:
    """In bf16 an EF would be a multiple of 0.25 or 0.5 points; only what comes before the last layer may be in it."""
    torch.manual_seed(0)
    network = Regressor(widths=(4, 8, 8, 8), target_scale=10.0)
    network.set_bias(55.6)
    features = 0.01 * torch.randn(200, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network.answer(features.bfloat16())
    assert found.dtype == torch.float32
    assert len(found.unique()) > 150
    plain = network.answer(features)
    torch.testing.assert_close(found, plain, rtol=0, atol=0.01)


def test_weights_of_a_backbone_or_a_whole_segmenter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(backbone, tmp_path / "resnet.pth")
    network = DeepLab()
    head = network.classifier[4].weight.detach().clone()
    load_segmenter_weights(network, str(tmp_path / "resnet.pth"))
    assert torch.equal(network.backbone.layer4[2].conv3.weight, backbone["layer4.2.conv3.weight"])
    assert torch.equal(network.classifier[4].weight, head)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "whole.pt")
    other = DeepLab()
    load_segmenter_weights(other, str(tmp_path / "whole.pt"))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    with pytest.raises(EchocycleError, match="deeplabv3_resnet50 only"):
        load_segmenter_weights(UNet(2), "imagenet")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(EchocycleError, match="cannot be read"):
        read_state(tmp_path / "evil.pt")
    assert not marker.exists()
    with pytest.raises(EchocycleError, match="not a file"):
        read_state(tmp_path / "absent.pt")


def test_copy_without_mask_channel() -> None:
    torch.manual_seed(0)
    teacher, student = Regressor(widths=(4, 8, 8, 8), channels=4), Regressor(widths=(4, 8, 8, 8))
    init_mask_channel(teacher)
    kept = teacher.stem[0].weight.detach().clone()
    copy_without_mask_channel(teacher, student)
    assert torch.equal(student.stem[0].weight, kept[:, :3])
    with torch.no_grad():
        student.stem[0].weight.zero_()
    assert torch.equal(teacher.stem[0].weight, kept)  # a copy, not a view


# ----------------------------------------------------------------------- one step of every method, full width


def clips(stream: Stream) -> Any:
    """Two clips of 4 frames of 56 pixels as a stream of a regression gives them, and that for each of its views."""
    sampler: Any = stream.sampler
    if isinstance(sampler, ShapeSampler):
        return sampler.stack([sampler.draw(None, 0, np.random.default_rng(seed)) for seed in (0, 1)])
    views, cut = (len(sampler.jitter), sampler.clip) if isinstance(sampler, ViewSampler) else (1, sampler)
    count = 2 * views
    generator = torch.Generator().manual_seed(count)
    video = torch.randint(0, 256, (count, 4, 56, 56), generator=generator, dtype=torch.uint8)
    mask = torch.randint(0, 256, (count, 4, 56, 56), generator=generator, dtype=torch.uint8)
    return ClipBatch(
        video,
        mask if cut.masks else None,
        torch.full((count,), 4),
        torch.full((count, 2), 3),
        torch.tensor([40.0, 60.0]).repeat(views) if cut.labels else None,
        torch.arange(2).repeat(views),
    )


def step(method: Any, batches: dict[str, Any]) -> dict[str, float]:
    """One optimiser step as the loop does it; every loss is finite and the networks have moved."""
    method.train()
    optimiser = method.optimiser(method.settings.optimiser)
    before = [p.detach().clone() for group in optimiser.param_groups for p in group["params"]]
    result = method(batches, 0)
    torch.stack(list(result.losses.values())).sum().backward()
    optimiser.step()
    after = [p for group in optimiser.param_groups for p in group["params"]]
    moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert moved > 0.9 * len(after)
    assert all(torch.isfinite(p).all() for p in after)
    return {name: value.item() for name, value in result.losses.items()}


@pytest.mark.parametrize("name", list(regression.METHODS))
def test_a_full_width_step_of_each_regression(name: str) -> None:
    """The paper's settings but for fewer and smaller clips and no downloaded weights."""
    torch.manual_seed(0)
    settings = replace(PAPER.regression(name), weights="none", batch=2, frames=4, size=56)
    inputs = GREY
    kind = regression.METHODS[name]
    if kind.needs_teacher:
        teacher = Regressor(channels=4)
        spec = regression.METHODS["teacher"](replace(settings, method="teacher"), None, GREY).spec
        inputs = replace(GREY, teachers=(Part(spec, teacher),))
    method = kind(settings, kind.Options(), inputs)
    assert settings.optimiser.name == "sgd"
    assert method.regressor.fc.in_features == 512  # type: ignore[union-attr]
    if name == "committee":  # what the teachers said before training
        method.answers = torch.tensor([[0.0, 45.0, 0.5], [1.0, 70.0, 1.5]])  # type: ignore[union-attr]
    losses = step(method, {key: clips(stream) for key, stream in method.streams().items()})
    assert all(0 < abs(value) < 1e5 for value in losses.values())


class Videos:
    """Three videos of 56 pixels, of which two are labelled, as a segmentation method may see them."""

    def videos(self, subset: str) -> np.ndarray:
        return {"labelled": np.arange(2), "unlabelled": np.arange(2, 3), "both": np.arange(3)}[subset]

    def n_frames(self, video: int) -> int:
        return 130

    def frames(self, video: int) -> np.ndarray:
        return np.random.default_rng(video).integers(0, 256, (130, 56, 56), dtype=np.uint8)

    def traced_frames(self, video: int) -> tuple[int, int]:
        return 10, 12

    def traced_masks(self, video: int) -> np.ndarray:
        return self.frames(video)[:2] > 127


SHORT: dict[str, dict[str, Any]] = {
    "css": {"template": 3, "search": 2, "phase_length": 1, "offset": 1},
    "tccl": {"template": 3, "search": 2, "phase_length": 1},
    "clas": {"frames": 4},
    "multiframe": {"neighbours": 1},
    "cps": {"unlabelled_batch": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(segmentation.METHODS))
def test_a_full_width_step_of_each_segmentation(name: str) -> None:
    """The paper's settings but for DeepLabV3 in every method, and fewer and smaller frames."""
    torch.manual_seed(0)
    settings = replace(PAPER.segmentation(name), network="deeplabv3_resnet50", weights="none", batch=2, size=56)
    kind = segmentation.METHODS[name]
    method: Any = kind(settings, kind.Options(**SHORT.get(name, {})), GREY)
    assert any(isinstance(module, DeepLab) for module in method.modules())
    losses = step(method, StepData(Videos(), method.streams(), seed=0)[0])  # type: ignore[arg-type]
    if name != "clas":  # a sum over pixels, not a mean
        assert all(value > 100 for key, value in losses.items() if key.startswith("segmentation"))
