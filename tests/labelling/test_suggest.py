"""Which videos are suggested: the doubtful ones first, no two alike, with reasons in words."""

import numpy as np
import pytest

from echocycle.labelling.suggest import CHOSEN, rank


def looks(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 20)).astype(np.float32)


def suggest(doubts, pictures, labelled=None, beats=None):
    names = [f"v{n}" for n in range(len(doubts))]
    known = np.empty((0, pictures.shape[1]), np.float32) if labelled is None else labelled
    return rank(names, doubts, pictures, known, [False] * len(doubts) if beats is None else beats)


def test_nothing_gives_nothing():
    assert suggest([], looks(0)) == []


def test_the_most_doubtful_video_comes_first_and_says_why():
    doubts = [{"disagreement": 3.0 + n, "spread_clips": 1.0} for n in range(6)]
    doubts[2] = {"disagreement": 30.0, "spread_clips": 9.0}
    found = suggest(doubts, looks(6))
    assert found[0].id == "v2"
    assert found[0].score > max(each.score for each in found[1:])
    assert set(found[0].reasons) == {
        "Discs and the EF network disagree by 30 points",
        "EF differs by 9 points from clip to clip",
    }
    assert len({each.id for each in found}) == 6


def test_where_no_beat_was_found_a_label_teaches_most():
    found = suggest([{"spread_clips": float(n)} for n in range(5)], looks(5), beats=[True, *[False] * 4])
    assert found[0].id == "v0"
    assert found[0].reasons[0] == "The model finds no beat in it"


def test_ten_copies_are_not_suggested_together():
    pictures = looks(12)
    pictures[:8] = pictures[0]
    doubts = [{"disagreement": 20.0 - n} for n in range(8)] + [{"disagreement": 5.0 - n} for n in range(4)]
    first = [each.id for each in suggest(doubts, pictures)][:5]
    assert first[0] == "v0"
    assert set(first[1:]) == {"v8", "v9", "v10", "v11"}


def test_what_is_unlike_the_labelled_comes_before_what_is_like_them():
    pictures = looks(6)
    labelled = pictures[:5].copy()
    found = suggest([{"spread_beats": 3.0}] * 6, pictures, labelled)
    assert found[0].id == "v5"
    assert "It looks unlike the videos that are labelled" in found[0].reasons
    assert all("unlike" not in " ".join(each.reasons) for each in found[1:] if each.id != found[0].id)


def test_what_is_not_known_of_a_video_counts_neither_way():
    found = {each.id: each.score for each in suggest([{}, {"disagreement": 1.0}, {"disagreement": 9.0}], looks(3))}
    assert found == {"v0": 0.5, "v1": 0.0, "v2": 1.0}


def test_order_does_not_depend_on_the_order_of_videos():
    pictures = looks(30)
    doubts = [{"disagreement": float(n * 7 % 30)} for n in range(30)]
    one = [each.id for each in suggest(doubts, pictures)]
    other = rank(
        [f"v{n}" for n in range(29, -1, -1)], doubts[::-1], pictures[::-1], np.empty((0, 20), np.float32), [False] * 30
    )
    assert [each.id for each in other] == one


@pytest.mark.parametrize("count", [CHOSEN - 1, CHOSEN + 50])
def test_all_videos_are_ranked(count):
    found = suggest([{"spread_clips": float(n % 17)} for n in range(count)], looks(count))
    assert sorted(each.id for each in found) == sorted(f"v{n}" for n in range(count))
