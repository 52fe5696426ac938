"""What the tests of the regression methods share: small data, and runs through the real loop."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from echocycle import stages
from echocycle.bundle import load_bundle
from echocycle.data.clips import StepData, passes
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.files import read_json, sha256
from echocycle.inference.masks import mask_id
from echocycle.models.specs import Part
from echocycle.regression import METHODS
from echocycle.settings.convert import from_dict
from echocycle.settings.presets import preset
from echocycle.settings.stages import LabelSettings, LoopSettings, OptimiserSettings, RegressSettings
from echocycle.training.method import Inputs, Method
from helpers.chain import DEBUG, LABELS, copied, loop_settings, regress_settings, segment_settings

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
SMALL = replace(DEBUG.regress["default"], period=2, fc_bias=55.6, target_scale=1.0, loop=LoopSettings())
"""The preset `debug` with the paper's period, last layer and epochs."""


def data_of(store: Store) -> TrainingData:
    """Four labelled and four unlabelled videos, with the phantom's own masks."""
    return TrainingData(store, draw_budget(store, LABELS, needs="ef"), store.masks("truth"))


def made(name: str, data: TrainingData | None = None, settings: RegressSettings = SMALL, **options: Any) -> Any:
    """A small method in training mode, at its first step if there are data."""
    torch.manual_seed(0)
    kind = METHODS[name]
    method = kind(replace(settings, method=name), kind.Options(**options), GREY)
    if data is not None:
        method.prepare_start(data)
    return method.train()


def first_batches(method: Method, data: TrainingData, step: int = 0) -> dict[str, Any]:
    """The batches of a step."""
    return StepData(data, method.streams(), seed=0)[step]


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor | None]:
    """The gradient of a loss in each of a network's parameters; None where none arrives."""
    parameters = [p.requires_grad_() for p in network.parameters()]
    return list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))


def reaches(loss: Tensor, network: nn.Module) -> bool:
    """Whether a loss has a gradient in every weight of a network (all of it) or in none; half is an error."""
    found = [gradient is not None and bool(gradient.any()) for gradient in gradients(loss, network)]
    assert all(found) or not any(found)
    return all(found)


def losses_of(run: Path) -> list[dict[str, float]]:
    """The rows of losses.csv."""
    with open(run / "losses.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def trained(store: Path, run: Path, name: str, needs: dict[str, Path] | None = None, **settings: Any) -> Path:
    """A run through the stage `regress`, the loop and all."""
    stages.regress(store, run, regress_settings(name, **settings), **(needs or {}))  # type: ignore[arg-type]
    return run


def ten_steps(
    patch: pytest.MonkeyPatch,
    store: Path,
    run: Path,
    name: str,
    *,
    needs: dict[str, Path] | None = None,
    **settings: Any,
) -> Iterator[tuple[str, float, float]]:
    """Each named loss at the first and after ten steps of the loop on one and the same batch."""
    original = StepData.__getitem__
    patch.setattr(StepData, "__getitem__", lambda self, step: original(self, 0))
    optimiser = OptimiserSettings("adamw", lr=1e-2, weight_decay=0.0)
    loop = loop_settings(steps=11, validate_every=11, gradient_every=5)
    settings = {"optimiser": optimiser, "loop": loop, "fc_bias": 20.0, **settings}
    rows = losses_of(trained(store, run, name, needs, **settings))
    assert len(rows) == 11
    for loss in rows[0]:
        if loss not in ("step", "lr", "total") and not loss.startswith("gradient/"):
            yield loss, rows[0][loss], rows[-1][loss]


class Ground:
    """A store with a segmenter's masks, and its run."""

    def __init__(self, folder: Path, store: Store):
        self.store = copied(store, folder)
        self.masks = folder / "traced"
        stages.segment(self.store.path, self.masks, segment_settings("supervised"))
        stages.mask(self.store.path, self.masks)

    @property
    def data(self) -> TrainingData:
        segmenter = load_bundle(self.masks).segmenter
        assert segmenter is not None
        budget = draw_budget(self.store, LabelSettings("4", validation="4"), needs="ef")
        return TrainingData(self.store, budget, self.store.masks(mask_id(self.masks, segmenter)))


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def killed_and_resumed(
    patch: pytest.MonkeyPatch,
    store: Path,
    folder: Path,
    name: str,
    needs: dict[str, Path] | None = None,
    **settings: Any,
) -> Path:
    """Train a run that nobody kills, and one that is killed in its fifth step; both must have left the same bits."""
    loop = {"steps": 7, "validate_every": 2, "gradient_every": 2}
    # one path for both: its name is part of what a run leaves
    whole = trained(store, folder / "whole" / "run", name, needs, loop=loop_settings(**loop), **settings)
    run = folder / "killed" / "run"

    def begin_step(self: Method, step: int) -> None:
        if step == 5:
            raise Killed

    with patch.context() as inside:
        inside.setattr(Method, "begin_step", begin_step)
        with pytest.raises(Killed):
            trained(store, run, name, needs, loop=loop_settings(**loop, checkpoint_seconds=0), **settings)
    assert torch.load(run / "resume.ckpt", weights_only=True)["step"] == 5
    trained(store, run, name, needs, loop=loop_settings(**loop, checkpoint_seconds=0), **settings)
    for file in ("model/regressor.safetensors", "losses.csv", "validation.csv", "done.json", "labels.csv"):
        assert sha256(run / file) == sha256(whole / file), file
    return whole


def the_unlabelled_loss_counts(
    store: Path, folder: Path, name: str, needs: dict[str, Path] | None = None, **option: str
) -> None:
    """Without the unlabelled loss every weight ends elsewhere.

    Running statistics would differ at any weight, since they see the unlabelled clips or do not; and so may the best
    moment, so the only validation is the last step's.
    """
    ends = []
    for weight in ("0", "5"):
        chosen = {"unlabelled_batch": "2", **option, "weight": weight}
        loop = loop_settings(steps=4, validate_every=4)
        run = trained(store, folder / weight / "run", name, needs, option=chosen, loop=loop)
        ends.append(dict(regressor_of(run).network.named_parameters()))
    without, with_it = ends
    same = [each for each, value in without.items() if torch.equal(value, with_it[each])]
    assert not same, f"learn nothing from it: {same}"


def regressor_of(run: Path) -> Part:
    """The regressor that a run left."""
    part = load_bundle(run).regressor
    assert part is not None
    return part


def kept_is_validated(run: Path, data: TrainingData, *teachers: Path) -> None:
    """The saved model, loaded, gives the very error that it was chosen by."""
    part = regressor_of(run)
    settings = from_dict(RegressSettings, read_json(run / "run.json")["settings"])
    kind = METHODS[settings.method]
    options = from_dict(kind.Options, settings.option)
    parts = tuple(regressor_of(each) for each in teachers)
    inputs = Inputs(part.spec.mean, part.spec.std, part.spec.color, parts)
    validation = kind(settings, options, inputs).validation()
    squares = []
    for seed in range(validation.passes):
        for batch in passes(data, validation.stream, seed=seed):
            clips = part.spec.visible(part.preprocess.clips(batch, masks=part.spec.takes_masks))
            squares += (part.network(clips) - batch.ef).square().tolist()
    best = read_json(run / "done.json")
    assert best["mse"] == pytest.approx(sum(squares) / len(squares), rel=1e-5)


def paper_size(name: str, network: str = "r2plus1d_18", *teachers: Part) -> Any:
    """A method with the paper's settings, on tensors without content."""
    settings = replace(preset("paper").regression(name), network=network)
    with torch.device("meta"):
        return METHODS[name](settings, METHODS[name].Options(), replace(GREY, teachers=teachers))


def count(network: nn.Module) -> int:
    """Parameters of a network."""
    return sum(p.numel() for p in network.parameters())


FULL = {"r2plus1d_18": 31_300_638, "r3d_18": 33_166_785, "mc3_18": 11_490_753}
"""Parameters of the regressors at torchvision's widths with one output."""
