"""The model in the package: what its command makes, and that the package holds what the command makes."""

import shutil
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from echocycle.bundle import load_bundle
from echocycle.bundle_description import bundle_folder, regressor_name
from echocycle.files import read_json
from echocycle.models.beat_segmenter import BeatSegmenter
from echocycle.phantom.clip import make_clip
from echocycle.phantom.look import Ranges
from echocycle.phantom.picture import CAVITY, RIGHT_VENTRICLE
from echocycle.zero.drawn import FOURTH, SIDE_BY_SIDE, Pool, drawn_settings, explained_settings
from echocycle.zero.ef_clips import FRAMES, SIZE, STILLS, Curriculum, EfPool, settings_of
from echocycle.zero.make import TINY, Recipe, make, plain, seeded
from echocycle.zero.regressor import as_input
from echocycle.zero.segmenter import PARTS, Explained, augmented, begin, parts_loss, varied
from echocycle.zero.training import Schedule, fit

PACKAGED = bundle_folder("zero")
WEIGHTS = [
    "segmenter.safetensors",
    *(f"{regressor_name(n)}.safetensors" for n in range(len(Recipe().regressor.members))),
]


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
    for name in WEIGHTS:
        one, other = load_file(PACKAGED / name), load_file(made / name)
        assert {k: (v.shape, v.dtype) for k, v in one.items()} == {k: (v.shape, v.dtype) for k, v in other.items()}
        assert all(torch.isfinite(value).all() for value in one.values())
        assert any(not torch.equal(one[k], other[k]) for k in one)


def test_package_is_small_and_holds_no_code():
    files = [path for path in PACKAGED.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"settings.json", "card.md", *WEIGHTS}
    assert sum(path.stat().st_size for path in files) <= 20e6


def test_same_recipe_same_weights_other_seed_others(made, tmp_path):
    for name, recipe in (("same", TINY), ("other", seeded(TINY, 40))):
        make(tmp_path / name, recipe, lambda line: None)
    for part in ("segmenter", "regressor", "regressor-2"):
        hashes = [read_json(folder / "settings.json")["parts"][part]["sha256"]
                  for folder in (made, tmp_path / "same", tmp_path / "other")]  # fmt: skip
        assert hashes[0] == hashes[1] != hashes[2]


def test_what_is_done_is_not_done_again(made, tmp_path):
    said: list[str] = []
    made = shutil.copytree(made, tmp_path / "copy")
    before = read_json(made / "settings.json")
    make(made, TINY, said.append)
    assert (
        sum("is done" in line for line in said) == 5
    )  # the segmenter, the common stretch, three stretches of networks
    assert read_json(made / "settings.json") == before
    *others, [last] = TINY.regressor.members
    members = (*others, (replace(last, lr=1e-2),))
    make(made, replace(TINY, regressor=replace(TINY.regressor, members=members)), said.append)
    after = read_json(made / "settings.json")["parts"]
    changed = [name for name, part in before["parts"].items() if after[name]["sha256"] != part["sha256"]]
    assert changed == [f"regressor-{len(WEIGHTS) - 1}"]  # what is made anew is the network that is trained otherwise


def test_bundle_that_was_made_is_read(made):
    bundle = load_bundle(made)
    assert next(bundle.segmenter.network.parameters()).dtype == torch.float32
    with torch.no_grad():
        clip = torch.zeros(1, 3, FRAMES, SIZE, SIZE)
        assert all(torch.isfinite(part.network(clip)).all() for part in bundle.regressors)


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
        levels, masks, parts = pool.sample(np.random.default_rng(0), 6, frames)
        assert levels.shape == masks.shape == parts.shape == (6, frames, 112, 112)
        plain, both = augmented(levels, masks), varied(levels, masks, parts)[:2]
        for seen, marked in (plain, both):
            assert seen.min() >= 0
            assert seen.max() <= 255
            assert marked.max() <= 1


def test_a_third_of_the_clips_show_both_ventricles_alike():
    settings = explained_settings(3, FOURTH, SIDE_BY_SIDE)
    pool = Pool(settings, 3)
    pool.grow(3)
    for index, one in enumerate(settings):
        clip = make_clip(0, one)
        assert np.array_equal(pool.frames[index, 0], clip.frames[clip.ed_frame])
        assert np.array_equal(pool.parts[index, 0], clip.parts[clip.ed_frame])
    assert settings[:2] == explained_settings(3, FOURTH, {})


def test_parts_are_moved_with_their_frames():
    torch.manual_seed(1)
    levels = torch.zeros(8, 2, 112, 112)
    levels[:, :, 40:80, 30:70] = 150
    _, masks, parts = varied(levels, levels / 150, 4 * levels / 150)
    assert set(parts.unique().tolist()) == {0, 4}
    there = F.avg_pool2d(masks, 2) > 0.5
    assert ((parts == 4) == there).float().mean() > 0.97


def test_what_is_cavity_in_the_picture_alone_counts_for_neither():
    masks, parts = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 4, 4), CAVITY)
    masks[..., :4] = 1
    parts[..., 3] = RIGHT_VENTRICLE
    right = torch.zeros(1, PARTS, 4, 4)
    right[:, CAVITY, :, :3], right[:, RIGHT_VENTRICLE, :, 3] = 9, 9
    other = right.clone()
    other[:, :, :, 2] = torch.randn(PARTS, 4)  # in the picture the cavity, to the reader not
    assert parts_loss(right, masks, parts) < 0.01
    assert torch.allclose(parts_loss(other, masks, parts), parts_loss(right, masks, parts))
    assert parts_loss(right.flip(3), masks, parts) > 3


def test_second_head_leaves_the_first_as_it_was():
    torch.manual_seed(0)
    before = BeatSegmenter(2)
    network = Explained(2)
    begin(network, before.state_dict())
    again = Explained(2)
    begin(again, network.state_dict())
    clips = torch.randn(2, 3, 1, 32, 32)
    for one in (before.eval(), network.eval(), again.eval()):
        one.requires_grad_(False)
    assert torch.allclose(network(clips)[0], before(clips), atol=1e-4)
    assert torch.equal(network(clips)[1], again(clips)[1])
    assert network(clips)[1].shape == (6, PARTS, 16, 16)


def test_looks_of_the_ef_clips_widen_from_each_hospitals_own():
    curriculum = Curriculum(40, narrow=0.0, wide=0.8, second=0.5, seed=3)
    settings = [settings_of(index, curriculum) for index in range(40)]
    assert {each.hospital for each in settings} == {"first", "second"}
    for each in settings[:1] + settings[-3:]:
        own, narrow = each.look, each is settings[0]
        for one in fields(Ranges):
            low, high = getattr(each.ranges, one.name)
            usual = getattr(Ranges(), one.name)
            assert (low == high == getattr(own, one.name)) or not narrow
            assert min(usual[0], getattr(own, one.name)) <= low <= high <= max(usual[1], getattr(own, one.name))
    widths = [np.ptp(each.ranges.fan_half_angle) for each in settings]
    assert np.mean(widths[-10:]) > 2 * np.mean(widths[:10]) > 0


def test_ef_clips_are_windows_or_two_stills_blended():
    curriculum = Curriculum(4, seed=3)
    pool, again = EfPool(curriculum), EfPool(curriculum)
    pool.grow(3)
    pool.grow(9)
    again.grow(4)
    assert pool.drawn == 4  # full
    assert np.array_equal(pool.frames, again.frames)  # whatever the portions
    clip = make_clip(0, settings_of(0, curriculum))
    assert pool.ef[0] == pytest.approx(clip.ef)
    small = F.avg_pool2d(torch.from_numpy(clip.frames).float()[:, None], 2)[:, 0]  # as `predict` makes it
    assert np.abs(pool.frames[0, : len(small)] - small.numpy()).max() <= 0.5
    windows, ef = pool.sample(np.random.default_rng(0), 5, stills=0.0)
    assert windows.shape == (5, FRAMES, SIZE, SIZE)
    assert set(ef.tolist()) <= set(pool.ef.tolist())
    assert all(len({frame.numpy().tobytes() for frame in window}) == FRAMES for window in windows)
    stills, ef = pool.sample(np.random.default_rng(0), 5, stills=1.0)
    for still, value in zip(stills, ef.tolist(), strict=True):
        index = pool.ef.tolist().index(value)
        ed, es = pool.frames[index, pool.traced[index]].astype(np.float32)
        assert np.array_equal(still[0], ed)
        np.testing.assert_allclose(still[STILLS.index(1.0)], es)
    assert as_input(windows).shape == (5, 3, FRAMES, SIZE, SIZE)


def test_ef_networks_begin_with_one_training_and_differ(made):
    parts = load_bundle(made).regressors
    assert len(parts) == len(Recipe().regressor.members)
    weights = [part.network.fc.weight for part in parts]
    assert not any(torch.equal(weights[0], other) for other in weights[1:])
    assert torch.allclose(weights[0], weights[1], atol=0.1)


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
