"""Published checkpoints in exactly their layouts: recognised, loaded without running code, and the same answers."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from echocycle.bundle import load_bundle
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.inference.adopt import adopt_weights
from echocycle.models.published import recognise


def ef_network(make: Any = r2plus1d_18, channels: int = 3, seed: int = 0) -> nn.Module:
    """Torchvision's network as the public code makes it: one output, and a stem of four channels for f_m."""
    torch.manual_seed(seed)
    network: Any = make(weights=None)
    network.fc = nn.Linear(512, 1)
    if channels == 4:
        stem = network.stem[0]
        network.stem[0] = nn.Conv3d(4, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False)
    return network.eval()  # type: ignore[no-any-return]


def segmentation_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network: Any = deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False)
    network.classifier[-1] = nn.Conv2d(256, 1, kernel_size=1)
    return network.eval()  # type: ignore[no-any-return]


def parallel(network: nn.Module) -> dict[str, Tensor]:
    """As DataParallel names the weights."""
    return {f"module.{name}": value for name, value in network.state_dict().items()}


def training_state(network: nn.Module, *, random_states: bool = False) -> dict[str, Any]:
    """What the public code saves beside the weights: optimiser, scheduler, NumPy scalars and random states."""
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 15)
    found: dict[str, Any] = {
        "epoch": 44,
        "best_loss": np.float64(17.25),
        "loss": np.float64(18.5),
        "opt_dict": optimiser.state_dict(),
        "scheduler_dict": scheduler.state_dict(),
    }
    if random_states:
        found |= {"np_rndstate": np.random.RandomState(0).get_state(), "trch_rndstate": torch.get_rng_state()}
    return found


def saved(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("name", "make", "channels"),
    [
        ("EchoNet-Dynamic EF", r2plus1d_18, 3),
        ("EchoNet-Dynamic EF", r3d_18, 3),
        ("EchoNet-Dynamic EF", mc3_18, 3),
        ("CSS-SemiVideo f_m", r2plus1d_18, 4),
        ("CSS-SemiVideo f_e", r2plus1d_18, 3),
        ("AdaCon", r2plus1d_18, 3),
    ],
)
def test_ef_checkpoints_answer_as_torchvision_does(tmp_path: Path, name: str, make: Any, channels: int) -> None:
    theirs = ef_network(make, channels)
    content = {"state_dict": parallel(theirs), "period": 2, "frames": 32, "r2": 0.81, **training_state(theirs)}
    if name.startswith("CSS"):
        content |= training_state(theirs, random_states=True)
    if name == "CSS-SemiVideo f_e":
        content |= {"state_dict_0": parallel(ef_network(channels=4, seed=1)), "opt_dict_0": {}, "scheduler_dict_0": {}}
    if name == "AdaCon":
        head = {"fc_ctr.0": nn.Linear(512, 512), "fc_ctr.2": nn.Linear(512, 128)}
        for layer, module in head.items():
            content["state_dict"] |= {f"module.{layer}.{key}": value for key, value in module.state_dict().items()}
    files = [saved(tmp_path / "r2plus1d_18_32_2_pretrained.pt", content)]
    found = recognise(files[0])
    assert (found.name, found.network, found.channels) == (name, make.__name__, channels)
    if channels == 4:
        files.append(saved(tmp_path / "best.pt", {"state_dict": parallel(segmentation_network())}))
    adopt_weights(files, tmp_path / "bundle", mean=[33.0], std=[50.0])
    part = load_bundle(tmp_path / "bundle").regressor
    assert part is not None
    assert (part.spec.frames, part.spec.period, part.spec.color) == (32, 2, True)
    clip = torch.rand(1, channels, 8, 56, 56, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        assert torch.allclose(part.network(clip), theirs(clip)[:, 0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("css", [False, True])
def test_segmentation_checkpoints_answer_as_torchvision_does(tmp_path: Path, css: bool) -> None:
    theirs = segmentation_network()
    content = {"state_dict": parallel(theirs), **training_state(theirs, random_states=css)}
    file = saved(tmp_path / "deeplabv3_resnet50_random.pt", content)
    assert recognise(file).name == ("CSS-SemiVideo segmentation" if css else "EchoNet-Dynamic segmentation")
    adopt_weights([file], tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.segmenter is not None
    assert bundle.regressor is None
    assert "usual values" in bundle.provenance["normalisation"]
    frames = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.no_grad():
        ours, plain = bundle.segmenter.network(frames).logits, theirs(frames)["out"][:, 0]
    assert torch.allclose(ours, plain, atol=1e-5, rtol=1e-5)


def test_mean_and_std_of_a_store(tmp_path: Path, store: Store) -> None:
    file = saved(tmp_path / "ef.pt", {"state_dict": parallel(ef_network())})
    bundle = adopt_weights([file], tmp_path / "bundle", store=store.path)
    assert bundle.regressor is not None
    (mean,) = set(bundle.regressor.spec.mean)
    clip = store.frames(0)
    assert abs(mean - float(clip.mean())) < 15
    assert len(bundle.regressor.spec.mean) == 3
    assert bundle.reference["ranges"]
    assert str(store.path) not in (tmp_path / "bundle" / "settings.json").read_text()  # folders may hold names


class Malicious:
    """Runs a command when it is unpickled without care."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_no_code_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    content = {"state_dict": parallel(ef_network()), "epoch": Malicious(mark)}
    file = saved(tmp_path / "evil.pt", content)
    with pytest.raises(EchocycleError, match="cannot be read"):
        adopt_weights([file], tmp_path / "bundle")
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps({"state_dict": Malicious(mark)}))
    with pytest.raises(EchocycleError, match="cannot be read"):
        adopt_weights([plain], tmp_path / "bundle")
    assert not mark.exists()
    torch.load(file, weights_only=False)  # the offer was real
    assert mark.exists()


def test_what_is_something_else_is_refused(tmp_path: Path) -> None:
    def refused(content: Any, words: str) -> None:
        file = saved(tmp_path / "other.pt", content)
        with pytest.raises(EchocycleError, match=words):
            recognise(file)

    refused({"state_dict": {"module.weight": torch.zeros(3)}}, "none of the published checkpoints")
    refused({"epoch": 3}, "none of the published checkpoints")
    refused(torch.zeros(3), "no named tensors")
    refused(r2plus1d_18(weights=None).state_dict(), "400 outputs")
    refused(deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False).state_dict(), "21 outputs")
    broken = {key: value for key, value in ef_network().state_dict().items() if not key.startswith("layer4")}
    file = saved(tmp_path / "broken.pt", {"state_dict": broken})
    with pytest.raises(EchocycleError, match="do not fit this network"):
        adopt_weights([file], tmp_path / "bundle")
    with pytest.raises(EchocycleError, match="are not a file"):
        recognise(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("<html>")
    with pytest.raises(EchocycleError, match="cannot be read"):
        recognise(tmp_path / "text.pt")


def test_what_belongs_together_is_asked_for(tmp_path: Path) -> None:
    fm = saved(tmp_path / "fm.pt", {"state_dict": parallel(ef_network(channels=4))})
    ef = saved(tmp_path / "ef.pt", {"state_dict": parallel(ef_network())})
    out = tmp_path / "bundle"
    with pytest.raises(EchocycleError, match="sees masks"):
        adopt_weights([fm], out)
    with pytest.raises(EchocycleError, match="both a regressor"):
        adopt_weights([fm, ef], out)
    with pytest.raises(EchocycleError, match="belong together"):
        adopt_weights([ef], out, mean=[33.0])
    with pytest.raises(EchocycleError, match="above 0"):
        adopt_weights([ef], out, mean=[33.0], std=[0.0])
    with pytest.raises(EchocycleError, match="2 numbers"):
        adopt_weights([ef], out, mean=[33.0, 34.0], std=[50.0])
    with pytest.raises(EchocycleError, match="at least one"):
        adopt_weights([], out)
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").touch()
    with pytest.raises(EchocycleError, match="not empty"):
        adopt_weights([ef], out)
