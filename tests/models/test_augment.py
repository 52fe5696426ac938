"""Strong augmentation: frames and masks move alike, black stays black, and every step's draws come back with its seed."""

import torch

from echocycle.models.augment import changed_in_looks, moved_alike, strongly_augmented
from echocycle.models.preprocess import Preprocess, standardised


def disc(count: int = 8, size: int = 64) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((rows - 30) / 18.0) ** 2 + ((columns - 34) / 9.0) ** 2 < 1
    return inside.float().expand(count, 1, size, size)


def test_picture_and_mask_move_alike():
    torch.manual_seed(0)
    moved = moved_alike(torch.cat([200 * disc(), disc()], 1))
    assert torch.allclose(moved[:, 0], 200 * moved[:, 1], atol=1e-3)
    assert not torch.allclose(moved[0], moved[1])
    areas = moved[:, 1].sum((1, 2)) / disc()[0].sum()
    assert 0.4 < areas.min() < areas.max() < 2.2


def test_looks_change_within_the_levels_and_black_stays_black():
    torch.manual_seed(0)
    levels = 100 * disc()
    changed = changed_in_looks(levels)
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert changed[:, 0, :, :12].max() == 0  # far from the disc, beyond any blur
    means = torch.stack([image[disc()[0] > 0].mean() for image in changed])
    assert means.std() > 10  # gain, gamma and offset differ from image to image


def test_seed_repeats_the_draws_and_images_differ():
    levels, masks = 100 * disc(), disc()[:, 0]
    torch.manual_seed(3)
    first = strongly_augmented(levels, masks)
    torch.manual_seed(3)
    second = strongly_augmented(levels, masks)
    torch.manual_seed(4)
    third = strongly_augmented(levels, masks)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], third[0])
    assert first[0].shape == levels.shape
    assert first[1].shape == masks.shape


def test_standardised_ignores_gain_and_black():
    torch.manual_seed(0)
    levels = 20 + 100 * torch.rand(4, 1, 32, 32)
    levels[:, :, :, :8] = 0
    brighter = torch.where(levels > 0, 1.4 * levels + 9, 0)
    found, other = standardised(levels), standardised(brighter)
    lit = levels > 0
    assert torch.allclose(found[lit], other[lit], atol=2e-2)
    assert abs(found[lit].mean()) < 1e-4
    assert abs(found[lit].std() - 1) < 1e-2


def test_preprocess_standardises_where_asked():
    frames = torch.randint(0, 255, (2, 32, 32), dtype=torch.uint8)
    usual, own = Preprocess((30,), (50,), 32), Preprocess((30,), (50,), 32, standardise=True)
    assert torch.allclose(usual.frames(frames)[:, 0], (frames.float() - 30) / 50)
    assert torch.allclose(own.frames(frames)[:, :1], standardised(frames[:, None].float()))
    assert own.frames(frames).shape == (2, 3, 32, 32)


def test_amount_is_a_share_of_the_largest_changes():
    levels = 100 * disc() + 50
    for change in (moved_alike, changed_in_looks):
        differences = []
        for amount in (0.0, 0.2, 1.0):
            torch.manual_seed(3)
            differences.append(float((change(levels, amount) - levels).abs().mean()))
        assert differences[0] < 1e-3
        assert 0 < differences[1] < differences[2]
