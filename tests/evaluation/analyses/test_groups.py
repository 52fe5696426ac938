"""Errors by groups of videos against values by hand, the data's tables, claims and their verdicts, costs."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from echocycle.evaluation.analyses import claims, data_set, groups
from echocycle.evaluation.intervals import Interval, paired_difference
from echocycle.evaluation.metrics import mae

FEW = {"resamples": 200, "seed": 0}


def videos(true: list[float], pred: list[float]) -> pd.DataFrame:
    names = [f"v{number:03d}" for number in range(len(true))]
    return pd.DataFrame({"video": names, "patient": names, "ef_true": true, "ef_pred": pred})


# ---------------------------------------------------------------------------------------------------- groups


@pytest.mark.parametrize(
    ("ef", "band"),
    [
        (0, "under 30"),
        (29.9, "under 30"),
        (30, "30 to 40"),
        (49.99, "40 to 50"),
        (60, "60 and more"),
        (100, "60 and more"),
    ],
)
def test_bands(ef: float, band: str) -> None:
    assert groups.band_of(ef) == band
    assert band in groups.BAND_NAMES


def test_errors_of_groups_by_hand() -> None:
    table = videos([20, 25, 55, 58, 65], [30, 31, 54, 60, 65])
    found = groups.errors_by(table, table["ef_true"].map(groups.band_of), groups.BAND_NAMES, 50.0, **FEW)
    low, middle, high = found
    assert [each.name for each in found] == ["under 30", "50 to 60", "60 and more"]
    assert (low.mae.value, low.bias.value, low.naive) == (8, 8, 27.5)
    assert (middle.mae.value, middle.bias.value, middle.videos) == (1.5, 0.5, 2)
    assert high.mae.value == 0
    assert np.isnan(high.mae.low)  # of one video there is no interval


def test_an_unpaired_difference_is_welchs() -> None:
    rng = np.random.default_rng(0)
    table = videos([50.0] * 30, (50 + rng.normal(0, 4, 30)).tolist())
    group = pd.Series(["a"] * 12 + ["b"] * 18)
    found = groups.unpaired_difference(table, group, "a", "b")
    assert found is not None
    error = (table["ef_pred"] - 50).abs()
    a, b = error[:12], error[12:]
    spread = a.var(ddof=1) / 12 + b.var(ddof=1) / 18
    degrees = spread**2 / ((a.var(ddof=1) / 12) ** 2 / 11 + (b.var(ddof=1) / 18) ** 2 / 17)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(spread)
    assert found[0].value == pytest.approx(a.mean() - b.mean())
    assert (found[0].high - found[0].low) / 2 == pytest.approx(half)
    assert found[1].statistic == pytest.approx((a.mean() - b.mean()) / np.sqrt(spread))
    assert groups.unpaired_difference(table, group, "a", "c") is None


def test_details_come_from_the_table_of_predictions() -> None:
    table = videos([50, 60], [50, 60]).assign(quality=["Good", "Poor"])
    clips = pd.concat([table, table])
    assert groups.with_details(table.drop(columns="quality"), clips)["quality"].tolist() == ["Good", "Poor"]
    assert "rhythm" not in groups.with_details(table.drop(columns="quality"), clips)


# ------------------------------------------------------------------------------------------------------ data


def test_clips_that_cover_two_beats() -> None:
    table = pd.DataFrame({"clip": 118, "frames": [200, 200, 117, 300, 150], "beat": [50.0, 60.0, 40.0, np.nan, 59.0]})
    found = data_set.covered(table)
    assert (found.clip, found.enough, found.known, found.two) == (118, 4, 3, 2)
    assert found.beats == pytest.approx(2)


# ---------------------------------------------------------------------------------------------------- claims


def run(role: str, noise: float, seed: int = 0, labelled: int = 920, **more: object) -> claims.ClaimRun:
    rng = np.random.default_rng(9)
    true = rng.uniform(30, 70, 200)
    pred = true + np.random.default_rng(seed).normal(0, noise, 200)
    return claims.ClaimRun(f"{role}-{seed}", role, labelled, videos(true.tolist(), pred.tolist()), **more)  # type: ignore[arg-type]


def verdicts(runs: list[claims.ClaimRun], start: str, *, echonet: bool = False) -> list[claims.Judged]:
    world = claims.World(echonet, {"train": 7465, "val": 1288, "test": 1277})
    return [each for each in claims.judge(runs, world, **FEW) if each.claim.startswith(start)]


def test_every_claim_has_a_verdict() -> None:
    found = claims.judge([], claims.World(False), **FEW)
    assert len(found) == len(claims.claims()) == 17
    assert {each.verdict for each in found} == {claims.NOT_ASKED}
    assert all(each.why and each.source for each in found)


@pytest.mark.parametrize(
    ("css", "tccl", "expected"), [(2, 6, claims.SEEN), (6, 2, claims.OPPOSITE), (4, 4, claims.NOT_SEEN)]
)
def test_a_difference_is_seen_or_not(css: float, tccl: float, expected: str) -> None:
    a, b = run("student/css", css, 1), run("student/tccl", tccl, 2)
    (found,) = verdicts([a, b], "f_e TCCL vs CSS")
    assert found.verdict == expected
    assert found.effect is not None
    assert a.videos is not None
    assert b.videos is not None
    by_hand = mae(a.videos["ef_true"], a.videos["ef_pred"]) - mae(b.videos["ef_true"], b.videos["ef_pred"])
    assert found.effect.value == pytest.approx(by_hand)
    same = paired_difference(a.videos["ef_true"], a.videos["ef_pred"], b.videos["ef_pred"], **FEW)
    assert (found.effect.low, found.effect.high) == (same.low, same.high)


def test_runs_with_other_budgets_are_not_compared() -> None:
    (found,) = verdicts([run("student/css", 2), run("student/tccl", 6, labelled=460)], "f_e TCCL vs CSS")
    assert found.verdict == claims.NOT_ASKED


def test_r2_is_better_where_it_is_larger() -> None:
    found = verdicts([run("student/css", 2), run("adacon", 7, 3), run("supervised", 2, 4)], "R2 of ours")
    assert [each.verdict for each in found] == [claims.NOT_SEEN, claims.SEEN]
    assert [" adacon," in each.test for each in found] == [False, True]


def test_the_smallest_effect() -> None:
    """Half the interval is 1.96 standard errors; 80 % power at 5 % needs 1.96 + 0.84 of them."""
    assert claims.smallest_effect(Interval(0, -1.96, 1.96)) == pytest.approx(2.80, abs=0.01)


def test_settings_of_css() -> None:
    runs = [run("student/css", 4, seed, option={"phase_length": length}) for seed, length in ((1, "3"), (2, "4"))]
    (found,) = verdicts(runs, "Fig. 7a")
    assert found.effect is not None
    assert found.effect.value >= 0
    hot = [
        run("student/css", noise, seed, option={"temperature": tau}) for seed, noise, tau in ((1, 2, "10"), (2, 7, "1"))
    ]
    assert [each.verdict for each in verdicts(hot, "Fig. 7c")] == [claims.SEEN]


def test_another_hospital() -> None:
    a, b = (run(role, noise, seed) for role, noise, seed in (("student/css", 2, 1), ("adacon", 6, 2)))
    there = [claims.ClaimRun(r.name, r.role, r.labelled, None, elsewhere={"camus": r.videos}) for r in (a, b)]  # type: ignore[dict-item]
    (found,) = verdicts(there, "CAMUS overall")
    assert found.verdict == claims.SEEN
    assert "camus" in found.test


def test_numbers_are_held_to_echonet_alone() -> None:
    runs = [run("student/css", 4.9 * np.sqrt(np.pi / 2), 5)]
    assert verdicts(runs, "f_e at 1/8")[0].verdict == claims.NOT_ASKED
    assert verdicts(runs, "f_e at 1/8", echonet=True)[0].verdict == claims.SEEN
    assert verdicts(runs, "Split sizes", echonet=True)[0].verdict == claims.SEEN
    dice = claims.ClaimRun("seg", "css", 920, None, dice={"ES": Interval(90, 89.5, 90.5)})
    found = verdicts([dice], "Table VI, ours, ES", echonet=True)
    assert found[0].verdict == claims.NOT_SEEN


# ------------------------------------------------------------------------------------------------------ cost


def test_cost_of_a_model(model) -> None:  # type: ignore[no-untyped-def]
    """A teacher needs masks of every frame; weights are those of both networks."""
    from echocycle.bundle import load_bundle
    from echocycle.evaluation.analyses.cost import FRAMES, cost_of

    found, bundle = cost_of(model), load_bundle(model)
    networks = [part.network for part in bundle.parts().values()]
    assert found.parameters == sum(p.numel() for network in networks for p in network.parameters())
    assert found.whole == found.masks + found.clips
    size = bundle.segmenter.spec.size  # type: ignore[union-attr]
    by_hand = 0.0
    hooks = []

    def count(module: torch.nn.Conv2d, inputs: object, output: torch.Tensor) -> None:
        nonlocal by_hand
        by_hand += output.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    network = bundle.segmenter.network.train()  # type: ignore[union-attr]  # not folded, so that hooks are called
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]  # type: ignore[arg-type]
    with torch.no_grad():
        network(torch.zeros(2, 3, size, size))
    for hook in hooks:
        hook.remove()
    assert found.masks == pytest.approx(FRAMES * by_hand / 2 / 1e9)
