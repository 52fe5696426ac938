"""`--weights zero`: networks begin as those of the model in the package; what does not fit is refused in clear words."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.models.build import build_segmenter
from echocycle.models.packaged import ZERO, zero_segmenter_network
from echocycle.models.pretrained import first_weights
from echocycle.models.regressor import Regressor, load_regressor_weights
from echocycle.models.segmenter import load_segmenter_weights
from echocycle.runs import Run
from echocycle.settings.presets import preset
from echocycle.settings.stages import SegmentSettings

WIDTHS = (16, 32, 64, 128)


def clips(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 4, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("scale", [10.0, 1.0])
def test_an_ef_network_answers_as_zeros_first_at_any_scale(scale: float) -> None:
    network = Regressor("r2plus1d_18", WIDTHS, 3, scale).eval()
    assert load_regressor_weights(network, "r2plus1d_18", "zero") == {"fc"}
    first = load_bundle(ZERO).regressors[0].network.float().eval()
    assert torch.allclose(network(clips(3)), first(clips(3)), atol=1e-2)


@torch.no_grad()
def test_a_teacher_begins_as_zero_with_a_mask_channel_of_its_own() -> None:
    network = Regressor("r2plus1d_18", WIDTHS, 4, 10.0).eval()
    mask_channel = network.first_weight.detach()[:, 3:].clone()
    assert load_regressor_weights(network, "r2plus1d_18", "zero") == {"fc"}
    assert torch.equal(network.first_weight[:, 3:], mask_channel)
    first = load_bundle(ZERO).regressors[0].network.float()
    assert torch.equal(network.first_weight[:, :3], first.first_weight)


@pytest.mark.parametrize(("name", "widths"), [("r2plus1d_18", (4, 8, 8, 8)), ("r3d_18", WIDTHS)])
def test_an_ef_network_of_another_shape_is_refused(name: str, widths: tuple[int, int, int, int]) -> None:
    with pytest.raises(EchocycleError, match="`zero` are those of r2plus1d_18 of widths 16 32 64 128"):
        load_regressor_weights(Regressor(name, widths, 3, 10.0), name, "zero")


@torch.no_grad()
def test_a_segmenter_begins_as_zeros_and_others_are_refused() -> None:
    name, width = zero_segmenter_network()
    network = build_segmenter(name, width).eval()
    load_segmenter_weights(network, "zero")
    part = load_bundle(ZERO).segmenter
    assert part is not None
    clip = torch.randn(1, 3, 3, 32, 32)
    assert torch.allclose(network(clip), part.network.float().eval()(clip), atol=1e-3)
    for other in (build_segmenter("unet", 2), build_segmenter(name, 4)):
        with pytest.raises(EchocycleError, match=f"Weights `zero` are those of {name} of width {width}"):
            load_segmenter_weights(other, "zero")


def test_nothing_is_fetched_for_it() -> None:
    assert first_weights(SegmentSettings(weights="zero")) is None


@pytest.mark.slow
def test_a_segmenter_that_began_as_zero_is_trained_and_says_so(store: Store, tmp_path: Path) -> None:
    debug = preset("debug").segment
    settings = replace(
        debug, method="supervised", network="beat_unet", width=16, weights="zero", standardise=True, option={},
        loop=replace(debug.loop, steps=1, validate_every=1),
    )  # fmt: skip
    with pytest.raises(EchocycleError, match="Method css takes no network 'beat_unet'"):
        stages.segment(store.path, tmp_path / "css", replace(settings, method="css"))
    bundle = stages.segment(store.path, tmp_path / "run", settings)
    info = Run(tmp_path / "run").info
    assert info["settings"]["weights"] == "zero"
    assert info["weights"] == bundle.provenance["weights"] == sha256(ZERO / "segmenter.safetensors")
    assert bundle.segmenter is not None
    before, after = (load_bundle(path).segmenter.network.head.weight for path in (ZERO, tmp_path / "run"))  # type: ignore[union-attr]
    assert not torch.equal(before.float(), after)
    assert torch.allclose(before.float(), after, atol=0.1)
