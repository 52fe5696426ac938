"""A trained model comes back as it was, and weights from elsewhere are read without running code from them."""

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from echocycle.bundle import Bundle, check_parts, load_bundle, save_bundle
from echocycle.bundle_description import read_description
from echocycle.cli import main
from echocycle.device import choose_device
from echocycle.errors import EchocycleError
from echocycle.files import sha256
from echocycle.info import describe_bundle
from echocycle.models.build import build_segmenter
from echocycle.models.regressor import NETWORKS, Regressor, load_regressor_weights
from echocycle.models.segmenter import DeepLab, load_segmenter_weights
from echocycle.models.specs import Part, RegressorSpec, SegmenterSpec
from echocycle.models.weights import read_state

WIDTHS = (4, 8, 8, 8)


def regressor_part(channels: int = 3, network: str = "r2plus1d_18") -> Part:
    spec = RegressorSpec(network, WIDTHS, channels, 10.0, 16, 8, 2, (30.0,), (50.0,), False)
    return Part(spec, spec.build())


def segmenter_part() -> Part:
    spec = SegmenterSpec("unet", 4, 16, (30.0,), (50.0,), False)
    return Part(spec, spec.build())


def trained(part: Part) -> Part:
    """With running statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    for value in part.network.state_dict().values():
        if value.is_floating_point():
            value += 0.1 * torch.rand_like(value)
    return part


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = Bundle(
        trained(segmenter_part()),
        trained(regressor_part(4)),
        {"run": "r1", "method": "teacher"},
        {"ranges": {"fps": [1.0, 2.0]}},
    )
    save_bundle(made, tmp_path / "run" / "model")
    return made


# ------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_loaded_regressor_gives_the_same_ef(tmp_path: Path, network: str, channels: int) -> None:
    part = trained(regressor_part(channels, network))
    save_bundle(Bundle(regressor=part), tmp_path)
    loaded = load_bundle(tmp_path).regressor
    assert loaded is not None
    assert loaded.spec == part.spec
    clips = torch.randn(2, channels, 8, 16, 16)
    with torch.no_grad():
        expected = part.network.eval()(clips)
        assert torch.equal(loaded.network(clips), expected)
    assert expected.shape == (2,)
    assert not loaded.network.training
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_a_loaded_bundle_is_the_same(bundle: Bundle, tmp_path: Path) -> None:
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        loaded = load_bundle(path)
        assert loaded.id == bundle.id
        assert (loaded.provenance, loaded.reference) == (bundle.provenance, bundle.reference)
        assert loaded.segmenter is not None
        assert bundle.segmenter is not None
        frames = torch.randint(0, 255, (2, 112, 112), dtype=torch.uint8)
        logits = [
            part.to(torch.device("cpu")).network(part.preprocess.frames(frames)).logits
            for part in (bundle.segmenter, loaded.segmenter)
        ]
        assert torch.equal(*logits)
    assert sorted(p.name for p in (tmp_path / "run" / "model").iterdir()) == [
        "regressor.safetensors", "segmenter.safetensors", "settings.json",
    ]  # fmt: skip


def test_equal_weights_have_an_equal_id(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "again")
    assert load_bundle(tmp_path / "again").id == load_bundle(tmp_path / "run").id
    other = trained(regressor_part(4))
    other.network.set_bias(50.0)
    save_bundle(Bundle(bundle.segmenter, other), tmp_path / "other")
    assert load_bundle(tmp_path / "other").id != bundle.id


def test_several_ef_networks_are_kept_in_order_and_listed(bundle: Bundle, tmp_path: Path, capsys: Any) -> None:
    parts = [trained(regressor_part(channels)) for channels in (3, 4, 1)]
    save_bundle(Bundle(bundle.segmenter), tmp_path / "three", regressors=parts)
    loaded = load_bundle(tmp_path / "three")
    assert [part.spec for part in loaded.regressors] == [part.spec for part in parts]
    assert [part.hash for part in loaded.regressors] == [part.hash for part in parts]
    assert loaded.id == read_description(tmp_path / "three").id
    assert len(loaded.id.split("-")) == 4
    assert json.loads((tmp_path / "three" / "settings.json").read_text())["format"] == 2
    save_bundle(loaded, tmp_path / "again")
    assert load_bundle(tmp_path / "again").id == loaded.id
    assert main(["info", str(tmp_path / "three"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["ef_networks"] == ["regressor", "regressor-2", "regressor-3"]
    assert [facts["parts"][name]["channels"] for name in facts["ef_networks"]] == [3, 4, 1]
    with pytest.raises(EchocycleError, match="needs masks but has no segmenter"):
        check_parts(Bundle(None, parts[0], further=(parts[1],)))


def test_one_ef_network_is_a_bundle_as_ever(bundle: Bundle, tmp_path: Path) -> None:
    """Versions before several networks read it."""
    save_bundle(Bundle(bundle.segmenter), tmp_path / "one", regressors=[bundle.regressor])
    kept = json.loads((tmp_path / "one" / "settings.json").read_text())
    assert (kept["format"], set(kept["parts"])) == (1, {"segmenter", "regressor"})
    entry = kept["parts"]["segmenter"]
    for format, parts, message in (
        (1, ["regressor-2"], "names a part 'regressor-2'"),
        (1, ["regressor", "regressor-2"], "names a part 'regressor-2'"),
        (2, ["regressor", "regressor-3"], "names a part 'regressor-3'"),
        (2, ["segmenter", "regressor-2"], "without those before it"),
    ):
        told = kept | {"format": format, "parts": {name: entry for name in parts}}
        (tmp_path / "one" / "settings.json").write_text(json.dumps(told))
        with pytest.raises(EchocycleError, match=message):
            load_bundle(tmp_path / "one")


# --------------------------------------------------------------------------------------------------- refusals


def test_changed_weights_are_refused(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run" / "model" / "regressor.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(EchocycleError, match="SHA-256 differs"):
        load_bundle(tmp_path / "run")
    assert main(["info", str(tmp_path / "run")]) == 2
    assert "Copy the bundle again" in capsys.readouterr().err
    file.unlink()
    with pytest.raises(EchocycleError, match="is incomplete"):
        load_bundle(tmp_path / "run")


@pytest.mark.parametrize("content", ["{torn", '{"format": 99}', "{}"])
def test_another_or_torn_description_is_refused(bundle: Bundle, tmp_path: Path, content: str) -> None:
    (tmp_path / "run" / "model" / "settings.json").write_text(content)
    with pytest.raises(EchocycleError, match="not readable JSON|of format"):
        load_bundle(tmp_path / "run")


def test_a_setting_of_a_part_that_is_not_known_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "run" / "model" / "settings.json"
    content = json.loads(path.read_text())
    content["parts"]["regressor"]["spec"]["depth"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(EchocycleError, match="depth"):
        load_bundle(tmp_path / "run")


def altered(folder: Path, *path: str, value: Any = ...) -> None:
    """Another value in settings.json, or none."""
    file = folder / "settings.json"
    content = json.loads(file.read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    file.write_text(json.dumps(content))


def entries(content: Any, *above: str) -> list[tuple[str, ...]]:
    """Every key of nested dictionaries."""
    if not isinstance(content, dict):
        return []
    found = []
    for key, value in content.items():
        found += [(*above, key), *entries(value, *above, key)]
    return found


OF_EVERY_TYPE: tuple[Any, ...] = (..., None, [], {}, "word", 7.5, -1, 0, True, [1, 2, 3, 4, 5, 6, 7], ["a"], {"a": 1})
"""What a damaged file may hold in a value's place; `...` stands for nothing."""


def test_whatever_stands_in_settings_json_it_is_read_or_refused_in_one_sentence(bundle: Bundle, tmp_path: Path) -> None:
    """Each entry missing, null, of another type, of another length: never a KeyError, AttributeError or TypeError."""
    model = tmp_path / "run" / "model"
    sound = (model / "settings.json").read_text()
    loaded: list[tuple[Any, ...]] = []
    for path in entries(json.loads(sound)):
        for value in OF_EVERY_TYPE:
            (model / "settings.json").write_text(sound)
            altered(model, *path, value=value)
            for read in (load_bundle, describe_bundle):
                try:
                    read(model)
                    if read is load_bundle:
                        loaded.append((*path, value))
                except EchocycleError as error:
                    assert str(model) in str(error), (path, value)
                    assert str(error).endswith("."), (path, value)
    odd = [(*path, value) for *path, value in loaded if path[0] not in ("note", "provenance")]
    assert sorted(odd, key=str) == sorted(POSSIBLE, key=str)


POSSIBLE: list[tuple[Any, ...]] = [
    ("parts", "regressor", ...),
    ("parts", "segmenter", ...),
    *(("parts", "regressor", "spec", name, ...) for name in ("members", "dropout", "passes")),
    ("parts", "regressor", "spec", "dropout", 0),
    ("parts", "regressor", "spec", "target_scale", 7.5),
    *(("parts", "segmenter", "spec", name, ...) for name in ("standardise", "option")),
    ("parts", "segmenter", "spec", "standardise", True),
    ("parts", "segmenter", "spec", "option", {}),
    ("reference", {}),
    ("reference", {"a": 1}),
    ("reference", "ranges", ...),
    ("reference", "ranges", {}),
    ("reference", "ranges", "fps", ...),
]
"""What of `OF_EVERY_TYPE` a model may have, apart from where it comes from."""


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("parts", "regressor", "spec", "widths"), ..., "lacks the entry `parts.regressor.spec.widths`"),
        (("parts", "regressor", "spec", "std"), [0.0], "standard deviation is above 0"),
        (("parts", "regressor", "spec", "std"), [-3.0], "standard deviation is above 0"),
        (("parts", "segmenter", "spec", "std"), [float("nan")], "which it cannot be"),
        (("parts", "segmenter", "spec", "mean"), [], "has 0 values"),
        (("parts", "segmenter", "spec", "mean"), [1.0, 2.0, 3.0], "has 3 values, and the frames have 1"),
        (("parts", "regressor", "spec", "target_scale"), float("nan"), "target_scale"),
        (("parts", "regressor", "spec", "target_scale"), 0.0, "is above 0"),
        (("parts", "regressor", "spec", "target_scale"), None, "target_scale"),
        (("parts", "regressor", "spec", "channels"), 2, "choose 1, 3 or 4"),
        (("parts", "regressor", "spec", "channels"), 3, "does not hold the weights of the network"),
        (("parts", "regressor", "spec", "frames"), 0, "is at least 1"),
        (("parts", "regressor", "spec", "network"), "resnet", "choose one of"),
        (("parts", "segmenter", "spec", "network"), "multiframe_unet", "cannot be built"),
        (("parts", "segmenter", "spec", "width"), 8, "does not hold the weights of the network"),
        (("parts", "segmenter", "spec", "color"), "false", "which it cannot be"),
        (("parts", "regressor", "sha256"), ..., "no readable entry `parts.regressor.sha256`"),
        (("parts", "student"), {}, "names a part 'student'"),
        (("parts",), {}, "names no network"),
        (("reference", "precision"), "8", "no readable entry `reference`"),
        (("reference", "ranges", "fps"), [1.0], "not the range of a known measure"),
        (("reference", "ranges", "colour"), [1.0, 2.0], "not the range of a known measure"),
        (("reference",), None, "no readable entry `reference`"),
        (("provenance",), [], "no readable entry `provenance`"),
    ],
)
def test_what_no_model_has_is_named(
    bundle: Bundle, tmp_path: Path, path: tuple[str, ...], value: Any, message: str
) -> None:
    model = tmp_path / "run" / "model"
    altered(model, *path, value=value)
    with pytest.raises(EchocycleError, match=re.escape(message)) as caught:
        load_bundle(model)
    assert str(model) in str(caught.value)
    assert main(["info", str(model)]) in (0, 2)  # of the networks it reads the numbers only


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("part", ["segmenter", "regressor"])
def test_weights_that_are_no_numbers_are_refused(bundle: Bundle, tmp_path: Path, part: str, value: float) -> None:
    network = getattr(bundle, part).network
    with torch.no_grad():
        next(network.parameters())[0] = value
    save_bundle(bundle, tmp_path / "bad")
    with pytest.raises(EchocycleError, match=rf"{part}\.safetensors holds weights that are no finite numbers"):
        load_bundle(tmp_path / "bad")


def test_a_file_that_holds_no_weights_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Also where settings.json names that very file."""
    model = tmp_path / "run" / "model"
    file = model / "regressor.safetensors"
    for content in (b"", b"torn", file.read_bytes()[:-8], b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"):
        file.write_bytes(content)
        altered(model, "parts", "regressor", "sha256", value=sha256(file))
        with pytest.raises(EchocycleError, match="does not hold the weights") as caught:
            load_bundle(model)
        assert "regressor.safetensors" in str(caught.value)


def test_a_bundle_of_an_earlier_version_is_read(bundle: Bundle, tmp_path: Path) -> None:
    """Without the settings that came later, and without a verdict."""
    model = tmp_path / "run" / "model"
    for name in ("members", "dropout", "passes"):
        altered(model, "parts", "regressor", "spec", name)
    for name in ("standardise", "option"):
        altered(model, "parts", "segmenter", "spec", name)
    altered(model, "reference", value={})
    loaded = load_bundle(model)
    assert loaded.id == bundle.id
    assert loaded.regressor is not None
    assert bundle.regressor is not None
    assert loaded.regressor.spec == bundle.regressor.spec


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="holds no trained model"):
        load_bundle(tmp_path)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(EchocycleError, match="--device cpu"):
        choose_device("cuda")


# ------------------------------------------------------------------------------------- weights from elsewhere


def public_checkpoint(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What EchoNet's, the paper's and AdaCon's code save: DataParallel names and NumPy objects."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-4, momentum=0.9)
    return {
        "epoch": 12,
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "period": 2,
        "frames": 32,
        "best_loss": np.float64(31.5),
        "loss": np.float32(30.5),
        "r2": np.float64(0.8),
        "opt_dict": optimiser.state_dict(),
        "scheduler_dict": torch.optim.lr_scheduler.StepLR(optimiser, 15).state_dict(),
        "np_rndstate": np.random.RandomState(0).get_state(),
        "trch_rndstate": torch.get_rng_state(),
        "counts": np.arange(3),
        "flag": np.bool_(True),
    }


@pytest.mark.parametrize("old_numpy", [False, True])
def test_public_checkpoints_are_read(tmp_path: Path, old_numpy: bool) -> None:
    """NumPy 1 wrote `numpy.core`, NumPy 2 writes `numpy._core`; both are let through, and nothing else is."""
    network = Regressor("r2plus1d_18", WIDTHS)
    state = network.state_dict()
    path = tmp_path / "best.pt"
    torch.save(public_checkpoint(state), path)
    if old_numpy:
        import zipfile

        with zipfile.ZipFile(path) as archive:
            entries = {item.filename: archive.read(item) for item in archive.infolist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                if name.endswith("data.pkl"):
                    assert b"numpy._core" in content
                    content = content.replace(b"numpy._core", b"numpy.core")
                archive.writestr(name, content)
    found = read_state(path)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    fresh = Regressor("r2plus1d_18", WIDTHS)
    load_regressor_weights(fresh, "r2plus1d_18", str(path))
    assert torch.equal(fresh.fc.weight, network.fc.weight)


class _Payload:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("plain", [False, True])
def test_a_malicious_pickle_is_refused(tmp_path: Path, plain: bool) -> None:
    mark, path = tmp_path / "harm", tmp_path / "bad.pt"
    content = {"state_dict": {"module.x": torch.zeros(1)}, "epoch": _Payload(mark)}
    if plain:
        path.write_bytes(pickle.dumps(content["epoch"]))
    else:
        torch.save(content, path)
    with pytest.raises(EchocycleError, match="cannot be read"):
        read_state(path)
    assert not mark.exists()


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EchocycleError, match="are not a file"):
        read_state(tmp_path / "none.pt")
    for name, content in (("list.pt", [torch.zeros(1)]), ("tensor.pt", torch.zeros(1)), ("none.pt", {"epoch": 3})):
        torch.save(content, tmp_path / name)
        with pytest.raises(EchocycleError, match="not a checkpoint"):
            read_state(tmp_path / name)
    for name in ("torn.safetensors", "torn.pt"):
        (tmp_path / name).write_bytes(b"torn")
        with pytest.raises(EchocycleError, match="cannot be read"):
            read_state(tmp_path / name)


def test_a_bundles_own_file_can_be_started_from(tmp_path: Path) -> None:
    part = trained(regressor_part())
    save_bundle(Bundle(regressor=part), tmp_path)
    fresh = Regressor("r2plus1d_18", WIDTHS, target_scale=part.spec.target_scale)
    load_regressor_weights(fresh, "r2plus1d_18", str(tmp_path / "regressor.safetensors"))
    for name, value in part.network.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name


def test_stems_of_three_and_four_channels_are_converted(tmp_path: Path) -> None:
    three, four = Regressor("r2plus1d_18", WIDTHS), Regressor("r2plus1d_18", WIDTHS, channels=4)
    torch.save(three.state_dict(), tmp_path / "three.pt")
    torch.save(four.state_dict(), tmp_path / "four.pt")
    stem = four.stem[0].weight.detach().clone()
    load_regressor_weights(four, "r2plus1d_18", str(tmp_path / "three.pt"))
    assert torch.equal(four.stem[0].weight[:, :3], three.stem[0].weight)
    assert torch.equal(four.stem[0].weight[:, 3:], stem[:, 3:])
    load_regressor_weights(three, "r2plus1d_18", str(tmp_path / "four.pt"))
    assert torch.equal(three.stem[0].weight, stem[:, :3])
    with pytest.raises(EchocycleError, match="Check `network` and `widths`"):
        load_regressor_weights(Regressor("r3d_18", WIDTHS), "r3d_18", str(tmp_path / "three.pt"))
    with pytest.raises(EchocycleError, match="do not fit"):
        load_regressor_weights(Regressor("r2plus1d_18", (4, 8, 8, 16)), "r2plus1d_18", str(tmp_path / "three.pt"))


@pytest.mark.parametrize("make", [r2plus1d_18, r3d_18, mc3_18])
def test_torchvisions_video_networks_fit_name_for_name(make: Any) -> None:
    """At full width; counted on tensors without content."""
    with torch.device("meta"):
        theirs, ours = make(weights=None), Regressor(make.__name__)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    different = [name for name, value in ours.state_dict().items() if value.shape != shapes[name]]
    assert different == ["fc.weight", "fc.bias"]


def test_torchvisions_weights_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = mc3_18(weights=None).state_dict()
    monkeypatch.setattr("echocycle.models.regressor.torchvision_state", lambda found, setting: dict(theirs))
    ours = Regressor("mc3_18", channels=4)
    load_regressor_weights(ours, "mc3_18", "kinetics")
    for name, value in ours.state_dict().items():
        if name == "stem.0.weight":
            assert torch.equal(value[:, :3], theirs[name])
        elif not name.startswith("fc."):
            assert torch.equal(value, theirs[name]), name


def test_segmenters_take_whole_checkpoints_and_backbones(tmp_path: Path) -> None:
    with torch.device("meta"):
        theirs, ours = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=1, aux_loss=False), DeepLab()
        backbone = resnet50(weights=None)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    trunk = {name: value.shape for name, value in backbone.state_dict().items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in ours.backbone.state_dict().items()} == trunk
    small = build_segmenter("unet", 4)
    torch.save({"state_dict": {f"module.{k}": v for k, v in small.state_dict().items()}}, tmp_path / "unet.pt")
    other = build_segmenter("unet", 4)
    load_segmenter_weights(other, str(tmp_path / "unet.pt"))
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), other.parameters(), strict=True))
    with pytest.raises(EchocycleError, match="fits deeplabv3_resnet50 only"):
        load_segmenter_weights(other, "imagenet")
    with pytest.raises(EchocycleError, match="do not fit"):
        load_segmenter_weights(build_segmenter("unet", 8), str(tmp_path / "unet.pt"))


def test_weights_that_cannot_be_fetched_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error

    def offline(*args: Any, **named: Any) -> Any:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(EchocycleError) as caught:
        load_regressor_weights(Regressor("mc3_18", WIDTHS), "mc3_18", "kinetics")
    message = str(caught.value)
    assert "kinetics" in message
    assert "mc3_18-a90a0ba3.pth" in message
    assert str(tmp_path) in message
    assert "--weights none" in message


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(EchocycleError, match="choose one of r2plus1d_18, r3d_18, mc3_18"):
        Regressor("resnet")
    with pytest.raises(EchocycleError, match="choose one of deeplabv3_resnet50, unet"):
        build_segmenter("fcn")


def test_info_describes_a_bundle(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "run"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["id"] == bundle.id
    assert facts["verdict"] is None
    for name, part in bundle.parts().items():
        assert facts["parts"][name]["parameters"] == sum(p.numel() for p in part.network.parameters())
    assert facts["provenance"]["run"] == "r1"
    assert facts["parts"]["regressor"]["channels"] == 4
    assert facts["parts"]["segmenter"]["network"] == "unet"
