"""The cyclical loss against its formula, and the method that trains with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import formulas
from helpers.segmenting import DEEPLAB, count, paper_size, ten_steps
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from torch import Tensor, nn

from echocycle.data.clips import CycleBatch, CycleSampler, StepData, TracedBatch
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.errors import EchocycleError
from echocycle.models.segmenter import DeepLab, SegmenterOutput
from echocycle.segmentation.css import CSS, CSSOptions, allowed_starts, css_loss
from echocycle.segmentation.supervised import SupervisedOptions, SupervisedSegmentation
from echocycle.settings.stages import LabelSettings, SegmentSettings
from echocycle.training.method import Inputs

CODE = {
    0: 0.0775830307213,
    1: 0.156394711882,
    2: 0.175888034287,
    3: 0.141640621160,
    4: 0.142379043516,
    5: 0.150296138458,
    6: 0.153001032982,
    7: 0.157542447213,
    8: 0.149343868953,
    9: 0.149560944155,
    10: 0.0843131807014,
}
PAPER = {
    0: 0.152479327109,
    1: 0.156753794103,
    2: 0.175954237717,
    3: 0.141687666680,
    4: 0.142461942018,
    5: 0.150371658836,
    6: 0.153037315764,
    7: 0.157553396545,
    8: 0.149356015618,
    9: 0.149995283207,
    10: 0.165557364246,
    11: 0.155207643693,
    12: 0.0712288706946,
}
"""Values of the loss of `known_features`, from two evaluations of the formulas that share no code with this one."""

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
SMALL = SegmentSettings(network="unet", width=2, weights="none", size=32, batch=2)
SHORT: dict[str, Any] = {"template": 5, "search": 4, "phase_length": 2, "offset": 1}
SOFT = {**SHORT, "temperature": 0.001}
"""For clips of noise, between which the usual temperature leaves no doubt and so no gradient."""


def known_features() -> Tensor:
    """z[t, k] = sin(2 pi t / 17 (1 + k mod 3) + 0.3 k) + 0.05 cos(0.7 t + k), 40 frames of 8."""
    t, k = np.meshgrid(np.arange(40), np.arange(8), indexing="ij")
    return torch.from_numpy(np.sin(2 * np.pi * t / 17 * (1 + k % 3) + 0.3 * k) + 0.05 * np.cos(0.7 * t + k))


@pytest.mark.parametrize(("candidates", "values"), [("code", CODE), ("paper", PAPER)])
def test_known_values(candidates: Any, values: dict[int, float]) -> None:
    for start, value in values.items():
        assert css_loss(known_features(), start, candidates=candidates).item() == pytest.approx(value, abs=1e-10)
    assert allowed_starts(15, 3, 2, candidates) == len(values)


@effort(deadline=None, max_examples=60)
@given(data=st.data())
def test_equals_the_formula(data: st.DataObject) -> None:
    phase_length, offset = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 4))
    template = phase_length + offset + data.draw(st.integers(0, 4))
    search, dim = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    candidates: Any = data.draw(st.sampled_from(["code", "paper"]))
    spare = data.draw(st.integers(0, 3))
    sizes: dict[str, Any] = {
        "phase_length": phase_length,
        "offset": offset,
        "template": template,
        "search": search,
        "temperature": data.draw(st.floats(0.1, 20)),
        "candidates": candidates,
    }
    frames = template + search + phase_length + offset - 1 + spare
    z = np.random.default_rng(data.draw(st.integers(0, 9999))).normal(size=(frames, dim))
    start = data.draw(st.integers(0, allowed_starts(template, phase_length, offset, candidates) - 1))
    found = css_loss(torch.from_numpy(z), start, **sizes).item()
    assert found == pytest.approx(formulas.css(z, start, **sizes), abs=1e-9)


def test_a_batch_is_its_clips() -> None:
    z = torch.randn(3, 2, 40, 6, dtype=torch.float64, generator=torch.manual_seed(0))
    starts = torch.tensor([[0, 4], [10, 3], [7, 7]])
    batch = css_loss(z, starts)
    assert batch.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            alone = css_loss(z[row, column], int(starts[row, column]))
            assert alone.shape == ()
            assert batch[row, column].item() == pytest.approx(alone.item(), abs=1e-12)
    assert css_loss(z[:, 0], 4).tolist() == css_loss(z[:, 0], torch.tensor([4, 4, 4])).tolist()


def test_a_periodic_signal_beats_noise() -> None:
    t = torch.arange(40, dtype=torch.float64)[:, None]
    heart = 3 * torch.sin(2 * torch.pi * t / 13 + torch.arange(16) * 0.7)
    noise = 3 * torch.randn(40, 16, dtype=torch.float64, generator=torch.manual_seed(1))
    starts = range(allowed_starts(15, 3, 2, "code"))
    beating = np.mean([css_loss(heart, start).item() for start in starts])
    guessing = np.mean([css_loss(noise, start).item() for start in starts])
    assert beating < 0.3 * guessing
    still = css_loss(torch.ones(40, 16), 5)  # nothing moves: every candidate is as good as any other
    assert still.item() == pytest.approx(np.log(11), rel=1e-6)


@pytest.mark.parametrize("candidates", ["code", "paper"])
def test_the_gradient_is_that_of_the_whole_formula(candidates: Any) -> None:
    """Finite differences see every path: through alpha, the template, the found frames and the candidates."""
    z = torch.randn(2, 11, 3, dtype=torch.float64, generator=torch.manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: css_loss(x, 1, candidates=candidates, **SHORT), (z,))


def test_gradient_flows_through_alpha_and_the_template() -> None:
    """With one candidate beyond reach of the template's own frames only alpha carries its gradient."""
    z = torch.randn(11, 3, dtype=torch.float64, generator=torch.manual_seed(3), requires_grad=True)
    css_loss(z, 0, temperature=1.0, **SHORT).backward()
    assert z.grad is not None
    # Frame 0 is in the template phase of p* = 0 alone (candidates start at the offset): it acts through alpha.
    assert z.grad[0].abs().max() > 1e-6
    # Frame 5 is in the first searched phase alone (what is taken later starts at 6): it acts through alpha.
    assert z.grad[5].abs().max() > 1e-6
    assert z.grad[10].abs().max() > 1e-6  # the last frame found


def test_clips_that_cannot_be_searched_are_refused() -> None:
    css_loss(torch.zeros(40, 2), 10)
    with pytest.raises(ValueError, match=r"39 frames.*need 40"):
        css_loss(torch.zeros(39, 2), 0)
    for start in (-1, 11):
        with pytest.raises(ValueError, match=r"0 \.\. 10"):
            css_loss(torch.zeros(40, 2), start)
    with pytest.raises(ValueError, match=r"0 \.\. 10"):
        css_loss(torch.zeros(2, 40, 2), torch.tensor([3, 11]))
    css_loss(torch.zeros(40, 2), 12, candidates="paper")
    with pytest.raises(ValueError, match=r"0 \.\. 12"):
        css_loss(torch.zeros(40, 2), 13, candidates="paper")


def test_options_that_cannot_work_are_refused() -> None:
    for bad in (
        {"template": 4},
        {"search": 0},
        {"phase_length": 0},
        {"offset": -1},
        {"temperature": 0.0},
        {"weight": -1.0},
        {"clips": 0},
    ):
        with pytest.raises(EchocycleError, match=r"option\."):
            CSSOptions(**bad)  # type: ignore[arg-type]
    assert CSSOptions().frames == 40
    assert CSSOptions().starts == 11


def operations(loss: Tensor) -> int:
    """Nodes of the autograd graph."""
    seen, todo = set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            todo += [following for following, _ in node.next_functions]
    return len(seen)


def test_no_loop_over_frames() -> None:
    def counted(scale: int) -> int:
        sizes = {"template": 15 * scale, "search": 21 * scale}
        z = torch.randn(2, 36 * scale + 4, 8, requires_grad=True)
        return operations(css_loss(z, 3, **sizes).sum())

    assert counted(1) == counted(10)


# ------------------------------------------------------------------------------------------------ the method


class Fixed(nn.Module):
    """A segmenter whose features are the mean grey level of the frame at some positions."""

    def __init__(self, positions: int):
        super().__init__()
        self.side = int(positions**0.5)
        self.gain = nn.Parameter(torch.tensor([1.0, -0.5, 0.25, 2.0]))

    def forward(self, frames: Tensor) -> SegmenterOutput:
        level = frames.mean((1, 2, 3))[:, None] * self.gain
        features = level[:, :, None, None].expand(-1, -1, self.side, self.side) * (196 / self.side**2)
        return SegmenterOutput(frames[:, 0], features)


def made(settings: SegmentSettings = SMALL, **options: Any) -> CSS:
    torch.manual_seed(0)
    return CSS(settings, CSSOptions(**options), GREY)


def labelled_batch(count: int = 2, seed: int = 0, size: int = 112) -> TracedBatch:
    rng = torch.manual_seed(seed)
    frames = torch.randint(0, 255, (2, count, size, size), generator=rng, dtype=torch.uint8)
    masks = torch.zeros(2, count, size, size, dtype=torch.uint8)
    masks[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    return TracedBatch(frames, masks, torch.zeros(2, count, 4), torch.arange(count))


def cycle_batch(frames: int, count: int = 1, seed: int = 1, start: int = 1, size: int = 112) -> CycleBatch:
    rng = torch.manual_seed(seed)
    video = torch.randint(0, 255, (count, frames, size, size), generator=rng, dtype=torch.uint8)
    return CycleBatch(video, torch.full((count,), start), torch.arange(count))


def test_temperature_follows_the_number_of_positions() -> None:
    """Sums over fewer positions are smaller; rescaled, a map of 49 positions gives what one of 196 gives."""
    batch = cycle_batch(CSSOptions(**SHORT).frames)
    values = {}
    for positions in (196, 49):
        for rescale in (True, False):
            method = made(rescale_temperature=rescale, temperature=0.001, **SHORT)
            method.segmenter = Fixed(positions)
            # the same features at fewer positions: undo the stand-in's own compensation
            method.segmenter.gain.data *= positions / 196
            values[positions, rescale] = method.cycle_of(batch).loss.item()
    assert values[196, True] == pytest.approx(values[196, False], rel=1e-6)
    assert values[49, True] == pytest.approx(values[196, True], rel=1e-5)
    assert values[49, False] != pytest.approx(values[196, True], rel=1e-5)


def test_features_are_summed_over_positions() -> None:
    options = CSSOptions(**SHORT)
    batch = cycle_batch(options.frames)
    method = made(temperature=0.003, **SHORT).eval()
    with torch.no_grad():
        features = method.segmenter(method.preprocess.frames(batch.video[0])).features.double().numpy()
    sums = np.array([[channel.sum() for channel in frame] for frame in features])
    positions = features.shape[2] * features.shape[3]
    assert positions == 16
    literal = formulas.css(sums, 1, **SHORT, temperature=0.003 * (196 / positions) ** 2)
    assert method.cycle_of(batch).loss.item() == pytest.approx(literal, rel=1e-4)
    averaging = made(temperature=0.003, pooling="mean", **SHORT).eval()
    literal = formulas.css(sums / positions, 1, **SHORT, temperature=0.003)
    assert averaging.cycle_of(batch).loss.item() == pytest.approx(literal, rel=1e-4)


def gradients(method: nn.Module, loss: Tensor) -> dict[str, Tensor | None]:
    method.zero_grad()
    loss.backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in method.named_parameters()}


def test_each_loss_teaches_who_should_learn_and_nobody_else() -> None:
    method = made(**SOFT).train()
    batches = {"labelled": labelled_batch(), "cycles": cycle_batch(method.options.frames)}
    result = method(batches, 0)
    assert set(result.losses) == {"segmentation", "css"}
    for name, gradient in gradients(method, result.losses["css"]).items():
        reached = gradient is not None and bool(gradient.abs().max() > 0)
        if name.startswith(("segmenter.head", "segmenter.decoder")):
            assert not reached, f"the cyclical loss reaches {name}"
        elif name.endswith("weight"):
            assert reached, f"the cyclical loss does not reach {name}"
    result = method(batches, 0)
    for name, gradient in gradients(method, result.losses["segmentation"]).items():
        assert gradient is not None, name
        if name.endswith("weight"):
            assert gradient.abs().max() > 0, name


def test_weight_scales_the_loss_and_zero_leaves_the_supervised_gradients() -> None:
    batches = {"labelled": labelled_batch(), "cycles": cycle_batch(CSSOptions(**SHORT).frames)}

    def total(method: Any) -> dict[str, Tensor | None]:
        return gradients(method, torch.stack(list(method.train()(batches, 0).losses.values())).sum())

    torch.manual_seed(0)
    alone = total(SupervisedSegmentation(SMALL, SupervisedOptions(), GREY))
    without, with_cycle = total(made(weight=0.0, **SOFT)), total(made(weight=1e4, **SOFT))
    for name, gradient in alone.items():
        assert gradient is not None
        torch.testing.assert_close(without[name], gradient, rtol=0, atol=0)
    changed = [name for name, gradient in alone.items() if not torch.equal(with_cycle[name], gradient)]  # type: ignore[arg-type]
    assert any("encoder" in name for name in changed)
    assert not any("head" in name for name in changed)
    one, ten = (made(weight=weight, **SOFT).train()(batches, 0).losses["css"].item() for weight in (1.0, 10.0))
    assert ten == pytest.approx(10 * one, rel=1e-5)


def budget_of(store: Store, labelled: str = "4") -> TrainingData:
    return TrainingData(store, draw_budget(store, LabelSettings(labelled=labelled), needs="tracing"))


def test_cycles_come_from_the_videos_that_source_names(store: Store) -> None:
    data = budget_of(store)
    for source in ("both", "unlabelled"):
        options: dict[str, Any] = {"source": source, "longer_than": 30, "period": 1, "clips": 2}
        steps = StepData(data, made(**options).streams(), seed=0)
        seen = {int(video) for step in range(24) for video in steps[step]["cycles"].row}
        labelled, unlabelled = set(data.videos("labelled").tolist()), set(data.videos("unlabelled").tolist())
        assert seen & unlabelled
        assert bool(seen & labelled) == (source == "both")
        assert seen <= labelled | unlabelled
        starts = {int(start) for step in range(60) for start in steps[step]["cycles"].start}
        assert starts == set(range(11))


def test_videos_too_short_for_a_cycle_are_left_out(store: Store) -> None:
    with pytest.raises(EchocycleError, match="no usable video"):
        StepData(budget_of(store), made().streams(), seed=0)  # the paper's clips need more than 120 frames


def test_ten_steps_lower_the_loss(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it survives a kill is seen in test_train.py."""
    # what the softmax can follow, so early: a new network's features are far apart
    option = {"period": "2", "longer_than": "79", "temperature": "0.001", "weight": "1000"}
    run = tmp_path / "run"
    for name, first, last in ten_steps(monkeypatch, store.path, run, "css", {"segmentation", "css"}, option=option):
        assert last < 0.97 * first, name


def test_paper_size() -> None:
    """A clip of 40 frames at period 3 beside 20 ED and 20 ES frames; a cycle may begin at 11 phases."""
    method = paper_size("css")
    assert count(method) == DEEPLAB
    streams = method.streams()
    assert {name: (stream.subset, stream.batch) for name, stream in streams.items()} == {
        "labelled": ("labelled", 20),
        "cycles": ("both", 1),
    }
    assert streams["cycles"].sampler == CycleSampler(40, 3, 11, 120)
    network, examples = method.step_examples()
    assert network is method.segmenter
    shapes = [(tuple(example.shape), number) for example, number in examples]
    assert shapes == [((2, 3, 112, 112), 40), ((2, 3, 112, 112), 40)]
    o, rule = method.options, method.settings.optimiser
    assert (o.weight, o.phase_length, o.offset, o.template, o.search, o.temperature) == (0.01, 3, 2, 15, 21, 10.0)
    assert (o.candidates, o.pooling) == ("code", "sum")
    assert (rule.name, rule.lr, rule.momentum, rule.weight_decay, rule.schedule) == ("sgd", 1e-5, 0.9, 0.0, "flat")
    assert method.settings.loop.epochs == 25


@pytest.mark.slow
def test_one_step_of_the_full_deeplab() -> None:
    """Full width and 112 pixels; a cycle of 7 frames in place of 40, since a core needs seconds for each."""
    options = {"template": 4, "search": 2, "phase_length": 1, "offset": 1}
    torch.manual_seed(0)
    method = CSS(SegmentSettings(weights="none", batch=2), CSSOptions(**options), GREY).train()
    assert isinstance(method.segmenter, DeepLab)
    batches = {"labelled": labelled_batch(2), "cycles": cycle_batch(method.options.frames, start=0)}
    result = method(batches, 0)
    result.losses["css"].backward(retain_graph=True)
    network = method.segmenter
    assert network.backbone.conv1.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.classifier.parameters())
    method.zero_grad()
    before = network.backbone.conv1.weight.detach().clone()
    optimiser = method.optimiser(method.settings.optimiser)
    torch.stack(list(result.losses.values())).sum().backward()
    optimiser.step()
    assert not torch.equal(before, network.backbone.conv1.weight)
    assert all(torch.isfinite(parameter).all() for parameter in method.parameters())
    assert network.backbone.bn1.num_batches_tracked == 3  # ED, ES and the cycle, each a pass of its own
