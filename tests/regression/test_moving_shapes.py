"""The start from moving shapes: what it learns, what it leaves, and who can begin from it."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import (
    FULL,
    SMALL,
    count,
    data_of,
    first_batches,
    killed_and_resumed,
    made,
    paper_size,
    reaches,
    ten_steps,
    trained,
)

from echocycle.bundle import load_bundle
from echocycle.data.clips import passes
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.moving_shapes import MOTIONS, ShapeBatch, draw_shape
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.files import read_json, sha256
from echocycle.models.regressor import NETWORKS, Regressor, load_regressor_weights
from echocycle.models.weights import read_state
from echocycle.regression.moving_shapes import ShapesOptions, place_loss
from echocycle.settings.presets import preset
from echocycle.settings.stages import LabelSettings

TINY = preset("tiny").regression("supervised").widths
SHIPPED = ("r2plus1d_18", "r3d_18")
"""Networks whose weights come with the package; those of `mc3_18` are still to be made."""


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


# -------------------------------------------------------------------------------------------------- the losses


def test_the_place_is_told_by_cross_entropy_with_the_share_of_a_cell() -> None:
    torch.manual_seed(0)
    logits, inside = torch.randn(2, 2, 3, 3), torch.rand(2, 4, 6, 6)
    total = 0.0
    for clip in range(2):
        for time in range(2):
            for row in range(3):
                for column in range(3):
                    cell = inside[clip, 2 * time : 2 * time + 2, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    share, p = float(cell.mean()), 1 / (1 + math.exp(-float(logits[clip, time, row, column])))
                    total -= share * math.log(p) + (1 - share) * math.log(1 - p)
    assert place_loss(logits, inside).item() == pytest.approx(total / 36, rel=1e-5)
    assert place_loss(torch.zeros(1, 1, 1, 1), torch.ones(1, 4, 4, 4)).item() == pytest.approx(math.log(2))


def test_a_step_by_hand(data: TrainingData) -> None:
    method = made("shapes", data)
    batch: ShapeBatch = first_batches(method, data)["shapes"]
    twin = copy.deepcopy(method)
    losses = method({"shapes": batch}, 0).losses
    clips = batch.video[:, None].repeat(1, 3, 1, 1, 1)
    half = twin.regressor.layer2(twin.regressor.layer1(twin.regressor.stem(clips)))
    features = twin.regressor.layer4(twin.regressor.layer3(half)).mean((2, 3, 4))
    error = (features @ twin.motion.weight.T + twin.motion.bias - batch.motion).square()
    assert losses["motion"].item() == pytest.approx(error.mean().item(), rel=1e-4)
    logits = (half * twin.place.weight.view(1, -1, 1, 1, 1)).sum(1) + twin.place.bias
    assert losses["place"].item() == pytest.approx(2 * place_loss(logits, batch.inside).item(), rel=1e-4)
    assert made("shapes", data, place_weight=0.0)({"shapes": batch}, 0).losses["place"].item() == 0
    with pytest.raises(EchocycleError, match="place_weight"):
        ShapesOptions(place_weight=-1)


def test_the_gradient_reaches_all_but_the_last_layer(data: TrainingData) -> None:
    method = made("shapes", data)
    losses = method(first_batches(method, data), 0).losses
    whole = torch.nn.ModuleList([method.regressor.stem, *(method.regressor.get_submodule(f"layer{n}") for n in (1, 2))])
    late = torch.nn.ModuleList([method.regressor.layer3, method.regressor.layer4])
    assert reaches(losses["motion"], torch.nn.ModuleList([whole, late, method.motion]))
    assert reaches(losses["place"], torch.nn.ModuleList([whole, method.place]))
    assert not reaches(losses["place"], late)
    for loss in losses.values():
        assert not reaches(loss, method.regressor.fc)


def test_no_video_and_no_label_is_looked_at(store: Store) -> None:
    class Blind(TrainingData):
        def frames(self, video: int) -> np.ndarray:
            raise AssertionError

        ef = traced_masks = traced_frames = masks = frames  # type: ignore[assignment]

    blind = Blind(store, draw_budget(store, LabelSettings("4", validation="4"), needs="ef"))
    method = made("shapes")
    method(first_batches(method, blind), 0)
    assert len(list(passes(blind, method.validation().stream, seed=0))) == 2


@pytest.mark.parametrize("network", NETWORKS)
def test_every_backbone(data: TrainingData, network: str) -> None:
    method = made("shapes", data, replace(SMALL, network=network))
    losses = method(first_batches(method, data), 0).losses
    torch.stack(list(losses.values())).sum().backward()
    without = [name for name, p in method.regressor.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == ["fc.weight", "fc.bias"]


def test_at_the_papers_size() -> None:
    method = paper_size("shapes")
    assert count(method.regressor) == FULL["r2plus1d_18"]
    assert count(method.motion) == 7 * 513
    assert count(method.place) == 129


def test_through_the_loop(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for loss, first, last in ten_steps(patch, store.path, tmp_path / "ten", "shapes"):
            assert last < 0.97 * first, loss
    run = killed_and_resumed(monkeypatch, store.path, tmp_path, "shapes")
    assert 0 < read_json(run / "done.json")["mse"] < 100


# ---------------------------------------------------------------------------------------------- who begins from it


def test_others_begin_from_a_run(store: Store, data: TrainingData, tmp_path: Path) -> None:
    run = trained(store.path, tmp_path / "run", "shapes")
    part = load_bundle(run).regressor
    assert part is not None
    file = run / "model" / "regressor.safetensors"
    begun = trained(store.path, tmp_path / "begun", "supervised", weights=str(file))
    assert read_json(begun / "run.json")["weights"] == sha256(file)
    assert read_json(run / "run.json")["weights"] == "none"
    last = read_state(file)["fc.weight"]
    assert not last.any()
    settings = replace(SMALL, weights=str(file), target_scale=10.0)
    start: Any = part.network
    for name in ("supervised", "teacher", "mask_teacher"):
        method = made(name, data, settings)
        assert torch.equal(method.regressor.layer4[1].conv2[0][0].weight, start.layer4[1].conv2[0][0].weight), name
        assert not torch.equal(
            method.regressor.layer4[1].conv2[0][0].weight, made(name, data).regressor.layer4[1].conv2[0][0].weight
        )
    supervised = made("supervised", data, settings)
    assert torch.equal(supervised.regressor.first_weight, start.first_weight)
    assert bool(supervised.regressor.fc.weight.any())
    assert 10 * supervised.regressor.fc.bias.item() == pytest.approx(SMALL.fc_bias)
    assert torch.equal(made("teacher", data, settings).regressor.first_weight[:, :3], start.first_weight)


def test_a_run_goes_on_where_its_start_was_moved(store: Store, tmp_path: Path) -> None:
    """What a run is does not depend on the folder that its first weights lay in."""
    start = trained(store.path, tmp_path / "start", "shapes")
    first = trained(store.path, tmp_path / "run", "supervised", {"start": start}, weights="shapes")
    info = read_json(first / "run.json")
    assert info["settings"]["weights"] == "shapes"
    assert info["weights"] == sha256(start / "model" / "regressor.safetensors")
    before = (first / "losses.csv").read_bytes()
    moved = start.rename(tmp_path / "moved")
    trained(store.path, first, "supervised", {"start": moved}, weights="shapes")
    assert (first / "losses.csv").read_bytes() == before


@pytest.mark.parametrize("network", SHIPPED)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_weights_that_come_with_the_package(network: str, channels: int) -> None:
    """All but the last layer (and the mask's channel) are theirs."""
    torch.manual_seed(0)
    found = Regressor(network, TINY, channels)
    before = copy.deepcopy(found.state_dict())
    assert load_regressor_weights(found, network, "shapes") == set()
    state = found.state_dict()
    same = {name for name, value in state.items() if torch.equal(value, before[name])}
    assert same == {"fc.weight", "fc.bias"}
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
    if channels == 4:
        assert torch.equal(state["stem.0.weight"][:, 3:], before["stem.0.weight"][:, 3:])


def test_other_sizes_have_none() -> None:
    with pytest.raises(EchocycleError, match=r"exist for .*r2plus1d_18-16-32-64-128.*--method shapes"):
        load_regressor_weights(Regressor(widths=(4, 8, 8, 8)), "r2plus1d_18", "shapes")


@pytest.mark.parametrize("network", SHIPPED)
def test_they_have_seen_motion(network: str) -> None:
    """How fast a new shape beats can be read from their features by a line, and not from those of random weights."""
    torch.manual_seed(0)
    shapes = [draw_shape(np.random.default_rng([7, seed]), 16, 56) for seed in range(160)]
    clips = torch.stack([shape.video for shape in shapes])[:, None].expand(-1, 3, -1, -1, -1)
    rate = torch.stack([shape.motion for shape in shapes])[:, MOTIONS.index("rate")].numpy()

    def told(weights: str) -> float:
        """R2 on the second half of a ridge regression on the first."""
        network_ = Regressor(network, TINY)
        load_regressor_weights(network_, network, weights)
        # statistics of these very clips for both: what differs is what the weights see
        with torch.no_grad():
            features = torch.cat([network_.train().features(part) for part in clips.split(80)]).numpy()
        features = (features - features.mean(0)) / (features.std(0) + 1e-6)
        first, second = features[:80], features[80:]
        weights_ = np.linalg.solve(
            first.T @ first + 30 * np.eye(first.shape[1]), first.T @ (rate[:80] - rate[:80].mean())
        )
        error = rate[80:] - rate[:80].mean() - second @ weights_
        return float(1 - (error**2).sum() / ((rate[80:] - rate[80:].mean()) ** 2).sum())

    seen, random = told("shapes"), told("none")
    assert seen > 0.5
    assert seen > random + 0.3


def test_their_file_says_how_it_was_made() -> None:
    from safetensors import safe_open

    from echocycle.models.regressor import SHAPES

    files = sorted(SHAPES.glob("*.safetensors"))
    assert {file.stem.split("-")[0] for file in files} == set(SHIPPED)
    for file in files:
        with safe_open(file, "pt") as opened:
            assert opened.metadata()["made_by"].startswith("echocycle regress")
        assert not any(name.startswith("fc.") for name in read_state(file))
        assert file.stat().st_size < 5e6
