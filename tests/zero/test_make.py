"""The model in the package: what its command makes, and that the package holds what the command makes."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echocycle.bundle import load_bundle
from echocycle.bundle_description import bundle_folder
from echocycle.files import read_json
from echocycle.zero.drawn import Pool, drawn_settings
from echocycle.zero.make import TINY, Recipe, make, plain, seeded
from echocycle.zero.regressor import EfPool, as_input, ef_settings
from echocycle.zero.segmenter import augmented
from echocycle.zero.training import Schedule, fit

PACKAGED = bundle_folder("zero")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "zero"
    make(out, TINY, lambda line: None)
    return out


def test_package_holds_what_the_command_makes(made):
    packaged, tiny = read_json(PACKAGED / "settings.json"), read_json(made / "settings.json")
    assert packaged["provenance"]["recipe"] == plain(asdict(Recipe()))  # the command's defaults made it
    assert {name: part["spec"] for name, part in packaged["parts"].items()} == {
        name: part["spec"] for name, part in tiny["parts"].items()
    }
    assert packaged["reference"] == tiny["reference"]
    for name in ("segmenter.safetensors", "regressor.safetensors"):
        one, other = load_file(PACKAGED / name), load_file(made / name)
        assert {k: (v.shape, v.dtype) for k, v in one.items()} == {k: (v.shape, v.dtype) for k, v in other.items()}
        assert all(torch.isfinite(value).all() for value in one.values())
        assert any(not torch.equal(one[k], other[k]) for k in one)


def test_package_is_small_and_holds_no_code():
    files = [path for path in PACKAGED.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "settings.json", "card.md", "segmenter.safetensors", "regressor.safetensors",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in files) <= 20e6


def test_same_recipe_same_weights_other_seed_others(made, tmp_path):
    for name, recipe in (("same", TINY), ("other", seeded(TINY, 40))):
        make(tmp_path / name, recipe, lambda line: None)
    for part in ("segmenter", "regressor"):
        hashes = [read_json(folder / "settings.json")["parts"][part]["sha256"]
                  for folder in (made, tmp_path / "same", tmp_path / "other")]  # fmt: skip
        assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_done_is_not_done_again(made, tmp_path):
    said: list[str] = []
    made = shutil.copytree(made, tmp_path / "copy")
    before = read_json(made / "settings.json")
    make(made, TINY, said.append)
    assert sum("is done" in line for line in said) == 2
    assert read_json(made / "settings.json") == before
    make(made, replace(TINY, regressor=replace(TINY.regressor, steps=1)), said.append)
    after = read_json(made / "settings.json")
    assert after["parts"]["segmenter"] == before["parts"]["segmenter"]
    assert after["parts"]["regressor"] != before["parts"]["regressor"]


def test_bundle_that_was_made_is_read(made):
    bundle = load_bundle(made)
    assert next(bundle.segmenter.network.parameters()).dtype == torch.float32
    with torch.no_grad():
        clip = torch.zeros(1, 1, 16, 56, 56)
        assert torch.isfinite(bundle.regressor.network(clip)).all()


def test_clips_of_the_segmenter_have_ed_es_and_their_masks():
    pool = Pool(drawn_settings(3), 4)
    pool.grow(3)
    pool.grow(9)
    assert pool.drawn == 4  # full
    assert (pool.masks[:, 0].sum((1, 2)) > pool.masks[:, 1].sum((1, 2))).all()
    again = Pool(drawn_settings(3), 4)
    again.grow(4)
    assert np.array_equal(again.frames, pool.frames)  # whatever the portions
    for frames in (1, 2, 4):
        levels, masks = pool.sample(np.random.default_rng(0), 6, frames)
        assert levels.shape == masks.shape == (6, frames, 112, 112)
        levels, masks = augmented(levels, masks)
        assert levels.min() >= 0
        assert levels.max() <= 255
        assert masks.max() <= 1


def test_clips_of_the_ef_network_are_masks_of_a_window_or_of_two_stills(made):
    segmenter = load_bundle(made).segmenter.network
    torch.manual_seed(0)
    pool = EfPool(ef_settings(3), 3, segmenter, true_share=0.0)
    pool.grow(5)
    assert pool.drawn == 3
    assert (pool.masks >= 0).all()
    assert (pool.masks <= 1).all()
    stills, ef = pool.sample(np.random.default_rng(0), 5, stills=1.0)
    assert all(len({frame.numpy().tobytes() for frame in clip}) == 2 for clip in stills)
    assert set(ef.tolist()) <= set(pool.ef.tolist())
    windows, _ = pool.sample(np.random.default_rng(0), 5, stills=0.0)
    assert all(len({frame.numpy().tobytes() for frame in clip}) == 16 for clip in windows)
    true = EfPool(ef_settings(3), 1, segmenter, true_share=1.0)
    true.grow(1)
    assert set(np.unique(true.masks)) <= {0.0, 0.25, 0.5, 0.75, 1.0}  # halved, and not found
    found = as_input(windows)
    assert found.shape == (5, 1, 16, 56, 56)
    assert found.min() >= -1


def test_average_lies_between_first_and_last_weights(tmp_path):
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    seen = []

    def loss(step):
        seen.append(network.weight.item())
        return -network.weight.sum()  # which only ever grows

    average = fit(network, loss, Schedule(steps=40, lr=0.1, stop=30), tmp_path, lambda line: None)
    assert len(seen) == 30  # ends early
    assert 0 < average.weight.item() < network.weight.item()
    kept = torch.load(tmp_path / "average.pt", weights_only=True)
    assert torch.equal(kept["weight"], average.weight)
