"""Cycles between two videos: the loss against its formula and known values, and the method that trains with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.chain import copied
from helpers.segmenting import (
    DEEPLAB,
    annotation_asked,
    count,
    data_of,
    feeds_the_other_stages,
    first_batches,
    killed_and_resumed,
    made,
    paper_size,
    reached,
    ten_steps,
    weights_in,
)
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from echocycle.data.clips import StepData
from echocycle.data.labels import LabelBudget, TrainingData
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.segmentation.tccl import PairBatch, PairSampler, TCCLOptions, tccl_loss
from echocycle.settings.presets import preset
from echocycle.settings.stages import LabelSettings

KNOWN = (
    0.06600091,
    0.123846636,
    0.129205319,
    0.127697316,
    0.124581489,
    0.106799256,
    0.106308484,
    0.115452482,
    0.119328598,
    0.120468162,
    0.113084306,
    0.113826226,
    0.064564291,
)
"""The loss of each phase of `known_clips`, from an evaluation of the formulas that shares no code with this one."""

SHORT: dict[str, Any] = {"template": 5, "search": 4, "phase_length": 2}
CLIPS: dict[str, Any] = {**SHORT, "period": 2, "longer_than": 20}
SOFT = {**CLIPS, "temperature": 0.001}
"""For clips of a new network, between which the usual temperature leaves no doubt and so no gradient."""


def known_clips() -> tuple[torch.Tensor, torch.Tensor]:
    """The first 15 frames of the signal that `css` is tested with, and the rest, a little changed; (1, frames, 8)."""
    t, k = np.meshgrid(np.arange(40), np.arange(8), indexing="ij")
    z = torch.from_numpy(np.sin(2 * np.pi * t / 17 * (1 + k % 3) + 0.3 * k) + 0.05 * np.cos(0.7 * t + k))
    return z[None, :15], 1.1 * z[None, 15:] + 0.02


@pytest.fixture(scope="module")
def data(store: Store) -> TrainingData:
    return data_of(store)


def test_known_values() -> None:
    one, other = known_clips()
    for start, value in enumerate(KNOWN):
        assert tccl_loss(one, other, torch.tensor([start])).loss.item() == pytest.approx(value, abs=1e-9)
    assert TCCLOptions().starts == len(KNOWN)
    assert TCCLOptions().frames == (15, 23)
    together = tccl_loss(one.expand(13, -1, -1), other.expand(13, -1, -1), torch.arange(13)).loss
    assert together.tolist() == pytest.approx(KNOWN, abs=1e-9)


@effort(deadline=None, max_examples=60)
@given(drawn=st.data())
def test_equals_the_formula(drawn: st.DataObject) -> None:
    phase_length, search = drawn.draw(st.integers(1, 4)), drawn.draw(st.integers(1, 6))
    phases, dim = drawn.draw(st.integers(2, 6)), drawn.draw(st.integers(1, 5))
    sizes: dict[str, Any] = {
        "phase_length": phase_length,
        "search": search,
        "temperature": drawn.draw(st.floats(0.1, 20)),
        "cycle_back": drawn.draw(st.sampled_from(["classification", "regression"])),
        "smoothing": drawn.draw(st.sampled_from([0.0, 0.1])),
        "variance_weight": drawn.draw(st.sampled_from([0.001, 0.5])),
    }
    rng = np.random.default_rng(drawn.draw(st.integers(0, 9999)))
    a = rng.normal(size=(phases + phase_length - 1, dim))
    b = rng.normal(size=(search + phase_length - 1 + drawn.draw(st.integers(0, 2)), dim))
    start = drawn.draw(st.integers(0, phases - 1))
    found = tccl_loss(torch.from_numpy(a)[None], torch.from_numpy(b)[None], torch.tensor([start]), **sizes)
    assert found.loss.item() == pytest.approx(formulas.tccl(a, b, start, **sizes), abs=1e-9)


def test_the_same_heart_beats_another() -> None:
    """A periodic signal finds itself in the other clip; noise does not."""
    t = torch.arange(60, dtype=torch.float64)[:, None]
    heart = (3 * torch.sin(2 * torch.pi * t / 13 + torch.arange(16) * 0.7))[None]
    noise = 3 * torch.randn(1, 60, 16, dtype=torch.float64, generator=torch.manual_seed(1))
    starts = torch.arange(13)
    for way in ("classification", "regression"):
        same, other = (
            tccl_loss(heart[:, :15].expand(13, -1, -1), clip[:, 20:].expand(13, -1, -1), starts, cycle_back=way)  # type: ignore[arg-type]
            for clip in (heart, noise)
        )
        assert same.loss.mean() < 0.3 * other.loss.mean()


@pytest.mark.parametrize("cycle_back", ["classification", "regression"])
def test_the_gradient_is_that_of_the_whole_formula(cycle_back: Any) -> None:
    """Finite differences see every path: alpha, the template, what is found and the candidates."""
    a = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.manual_seed(2), requires_grad=True)
    b = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.manual_seed(3), requires_grad=True)

    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        options = {"phase_length": 2, "search": 4, "temperature": 1.0, "cycle_back": cycle_back}
        return tccl_loss(a, b, torch.tensor([1, 3]), **options).loss

    assert torch.autograd.gradcheck(loss, (a, b))
    loss(a, b).sum().backward()
    for grad in (a.grad, b.grad):
        assert grad is not None
        assert bool((grad.abs().sum(-1) > 1e-9).all())  # every frame of both clips


def test_a_sharp_cycle_has_a_finite_regression_loss() -> None:
    one, other = known_clips()
    found = tccl_loss(100 * one, 100 * other, torch.tensor([4]), cycle_back="regression").loss
    assert torch.isfinite(found).all()


def test_clips_that_cannot_be_compared_are_refused() -> None:
    zero = torch.zeros
    tccl_loss(zero(1, 15, 2), zero(1, 23, 2), torch.tensor([12]))
    with pytest.raises(ValueError, match="15 and 22 frames.*at least 3 and 23"):
        tccl_loss(zero(1, 15, 2), zero(1, 22, 2), torch.tensor([0]))
    for start in (-1, 13):
        with pytest.raises(ValueError, match=r"0 \.\. 12"):
            tccl_loss(zero(1, 15, 2), zero(1, 23, 2), torch.tensor([start]))


@pytest.mark.parametrize(
    "bad",
    [{"template": 3}, {"search": 0}, {"phase_length": 0}, {"temperature": 0.0}, {"weight": -1.0}, {"smoothing": 1.0}],
)
def test_options_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(EchocycleError, match=r"option\."):
        TCCLOptions(**bad)


# ------------------------------------------------------------------------------------------------ the method


def test_features_of_both_clips_pass_together_and_are_summed(data: TrainingData) -> None:
    """In evaluation mode the loss is the formula's of the features' sums; in training mode there is one pass of both."""
    method = made("tccl", temperature=0.003, **CLIPS)
    batch: PairBatch = first_batches(method, data)["pairs"]
    assert (batch.template.shape[1], batch.searched.shape[1]) == (5, 5)
    with torch.no_grad():
        method.eval()
        sums = [
            method.segmenter(method.preprocess.frames(clip[0])).features.double().sum((-1, -2)).numpy()
            for clip in (batch.template, batch.searched)
        ]
        temperature = 0.003 * (196 / 16) ** 2  # a map of 4 x 4 positions
        expected = formulas.tccl(*sums, int(batch.start), phase_length=2, search=4, temperature=temperature)
        assert method.cycle_of(batch).loss.item() == pytest.approx(expected, rel=1e-3)
        averaging = made("tccl", temperature=0.003, pooling="mean", **CLIPS).eval()
        means = [each / 16 for each in sums]
        expected = formulas.tccl(*means, int(batch.start), phase_length=2, search=4, temperature=0.003)
        assert averaging.cycle_of(batch).loss.item() == pytest.approx(expected, rel=1e-3)
        method.train().cycle_of(batch)
    assert method.segmenter.encoder[0][1].num_batches_tracked == 1


def test_each_loss_teaches_who_should_learn_and_nobody_else(data: TrainingData) -> None:
    method = made("tccl", **SOFT)
    batches = first_batches(method, data)
    losses = method(batches, 0).losses
    assert set(losses) == {"segmentation", "tccl"}
    assert losses["tccl"].item() > 0
    encoder, rest = weights_in(method, "segmenter.encoder"), weights_in(method, "segmenter.decoder", "segmenter.head")
    assert encoder <= reached(losses["tccl"], method)
    assert not rest & reached(losses["tccl"], method)
    assert encoder | rest <= reached(losses["segmentation"], method)
    result = made("tccl", **{**SOFT, "weight": 1.0})(batches, 0)
    assert result.losses["tccl"].item() == pytest.approx(100 * losses["tccl"].item(), rel=1e-5)
    assert result.monitors["tccl_unweighted"].item() == pytest.approx(result.losses["tccl"].item(), rel=1e-6)
    assert not result.monitors["alpha_entropy"].requires_grad


def test_the_loss_between_videos_changes_the_network(data: TrainingData) -> None:
    """One step with it and one without end with other weights in the encoder."""
    ends = []
    for weight in (0.0, 1000.0):
        method = made("tccl", **SOFT, weight=weight)
        optimiser = torch.optim.SGD(method.parameters(), 1e-4)
        torch.stack(list(method(first_batches(method, data), 0).losses.values())).sum().backward()
        optimiser.step()
        ends.append(method.segmenter.encoder[3][0].weight.detach().clone())
    assert not torch.equal(*ends)


@pytest.mark.parametrize("source", ["both", "unlabelled"])
def test_the_clips_are_of_two_videos_that_source_names(data: TrainingData, source: str) -> None:
    method = made("tccl", source=source, clips=2, period=1, longer_than=30)
    steps = StepData(data, method.streams(), seed=0)
    labelled, unlabelled = (set(data.videos(part).tolist()) for part in ("labelled", "unlabelled"))  # type: ignore[arg-type]
    batches: list[PairBatch] = [steps[step]["pairs"] for step in range(40)]
    pairs = {pair for batch in batches for pair in zip(batch.row.tolist(), batch.other.tolist(), strict=True)}
    assert all(one != other for one, other in pairs)
    for side in range(2):
        seen = {pair[side] for pair in pairs}
        assert seen == (labelled | unlabelled if source == "both" else unlabelled)
    assert len(pairs) > 10  # the second is not bound to the first
    assert {int(start) for batch in batches for start in batch.start} == set(range(13))
    clip, video = batches[0].searched[0].numpy(), data.frames(int(batches[0].other[0]))
    assert any(np.array_equal(clip, video[start : start + 23]) for start in range(len(video)))


def test_no_annotation_of_an_unlabelled_video_is_touched(data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = annotation_asked(monkeypatch)
    method = made("tccl", **CLIPS)
    steps = StepData(data, method.streams(), seed=0)
    seen = set()
    for step in range(6):
        seen |= set(steps[step]["pairs"].row.tolist())
        method(steps[step], step)
    assert asked == set(data.videos("labelled").tolist())
    assert seen - asked


def test_one_usable_video_is_not_enough(store: Store) -> None:
    train = store.videos("train")
    budget = LabelBudget((int(train[0]),), (), (), (int(store.videos("val")[0]),), LabelSettings())
    with pytest.raises(EchocycleError, match="needs two videos"):
        first_batches(made("tccl", **CLIPS), TrainingData(store, budget))
    sampler = PairSampler((15, 23), 3, 13, 120, "both")
    assert not sampler.usable(TrainingData(store, budget), int(train[0]))  # the paper's rule: more than 120 frames


# --------------------------------------------------------------------------------------------- through the loop

OPTION = {"period": 2, "longer_than": 79}


def test_ten_steps_lower_the_loss(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    option = {**OPTION, "temperature": "0.001", "weight": "1000"}  # what the softmax can follow, so early
    run = tmp_path / "run"
    for name, first, last in ten_steps(monkeypatch, store.path, run, "tccl", {"segmentation", "tccl"}, option=option):
        assert last < 0.97 * first, name


def test_killed_resumed_and_used(
    store: Store, phantom_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = copied(store, tmp_path)
    run = killed_and_resumed(monkeypatch, own.path, tmp_path, "tccl", option=OPTION)
    video = next((phantom_folder / "Videos").iterdir())
    assert feeds_the_other_stages(run, own, video).segmenter.spec.network == "unet"  # type: ignore[union-attr]


def test_paper_size() -> None:
    method = paper_size("tccl")
    assert count(method) == DEEPLAB
    assert method.streams()["pairs"].sampler == PairSampler((15, 23), 3, 13, 120, "both")
    network, passes = method.step_examples()
    assert network is method.segmenter
    assert [number for _, number in passes] == [40, 38]
    assert preset("tiny").segmentation("tccl").option == OPTION
