"""What the tests of the segmentation methods share: small data, and runs through the real loop and into the masks."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from echocycle import stages
from echocycle.bundle import Bundle, load_bundle
from echocycle.data.clips import StepData, passes
from echocycle.data.labels import TrainingData, draw_budget
from echocycle.data.store import Store
from echocycle.files import read_json, sha256
from echocycle.inference.masks import mask_id, probabilities
from echocycle.inference.recordings import predict_recording
from echocycle.segmentation import METHODS
from echocycle.settings.convert import from_dict
from echocycle.settings.presets import preset
from echocycle.settings.stages import EvaluateSettings, LoopSettings, MaskSettings, OptimiserSettings, SegmentSettings
from echocycle.training.method import Inputs, Method
from helpers.chain import DEBUG, LABELS, loop_settings, segment_settings

GREY = Inputs(mean=(30.0,), std=(40.0,), color=False)
COLOR = Inputs(mean=(30.0, 31.0, 32.0), std=(40.0, 41.0, 42.0), color=True)
SMALL = replace(DEBUG.segment, loop=LoopSettings())
CPU = torch.device("cpu")


def data_of(store: Store) -> TrainingData:
    """Four labelled and four unlabelled videos."""
    return TrainingData(store, draw_budget(store, LABELS, needs="tracing"))


def made(name: str, settings: SegmentSettings = SMALL, inputs: Inputs = GREY, **options: Any) -> Any:
    """A small method in training mode."""
    torch.manual_seed(0)
    kind = METHODS[name]
    return kind(replace(settings, method=name), kind.Options(**options), inputs).train()


def first_batches(method: Method, data: TrainingData, step: int = 0) -> dict[str, Any]:
    """The batches of a step."""
    return StepData(data, method.streams(), seed=0)[step]


def reached(loss: Tensor, method: nn.Module) -> set[str]:
    """Names of the parameters in which a loss has a gradient other than zero."""
    named = dict(method.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return {name for name, each in zip(named, found, strict=True) if each is not None and bool(each.any())}


def weights_in(method: nn.Module, *prefixes: str) -> set[str]:
    """Names of the weights (not biases) below some modules."""
    return {name for name, _ in method.named_parameters() if name.startswith(prefixes) and name.endswith("weight")}


def annotation_asked(patch: pytest.MonkeyPatch) -> set[int]:
    """The videos whose tracing is asked for from now on."""
    asked: set[int] = set()
    for name in ("traced_masks", "traced_frames", "ef"):
        original = getattr(TrainingData, name)

        def noted(self: TrainingData, video: int, original: Any = original) -> Any:
            asked.add(int(video))
            return original(self, video)

        patch.setattr(TrainingData, name, noted)
    return asked


# ---------------------------------------------------------------------------------------------- whole runs


def trained(store: Path, run: Path, name: str, **settings: Any) -> Path:
    """A run through the stage `segment`, the loop and all."""
    stages.segment(store, run, segment_settings(name, **settings))
    return run


def losses_of(run: Path) -> list[dict[str, float]]:
    """The rows of losses.csv."""
    with open(run / "losses.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def ten_steps(
    patch: pytest.MonkeyPatch, store: Path, run: Path, name: str, losses: set[str], **settings: Any
) -> Iterator[tuple[str, float, float]]:
    """Each named loss, and `total`, at the first and after ten steps of the loop on one and the same batch."""
    original = StepData.__getitem__
    patch.setattr(StepData, "__getitem__", lambda self, step: original(self, 0))
    optimiser = OptimiserSettings("adamw", lr=1e-2, weight_decay=0.0)
    loop = loop_settings(steps=11, validate_every=11, gradient_every=5)
    rows = losses_of(trained(store, run, name, **{"optimiser": optimiser, "loop": loop, **settings}))
    assert len(rows) == 11
    norms = {key.removeprefix("gradient/"): value for key, value in rows[0].items() if key.startswith("gradient/")}
    assert set(norms) == (losses if len(losses) > 1 else set())  # a loss alone is all of the gradient
    for loss in losses:
        assert norms.get(loss, 1) > 0, loss
        yield loss, rows[0][loss], rows[-1][loss]
    yield "total", rows[0]["total"], rows[-1]["total"]


class Killed(BaseException):
    """Stands for a kill: nobody catches it."""


def killed_and_resumed(patch: pytest.MonkeyPatch, store: Path, folder: Path, name: str, **settings: Any) -> Path:
    """Train a run that nobody kills, and one that is killed in its fifth step; both must have left the same bits."""
    loop = {"steps": 7, "validate_every": 2, "gradient_every": 2}
    # one path for both: its name is part of what a run leaves
    whole = trained(store, folder / "whole" / "run", name, loop=loop_settings(**loop), **settings)
    run = folder / "killed" / "run"

    def begin_step(self: Method, step: int) -> None:
        if step == 5:
            raise Killed

    with patch.context() as inside:
        inside.setattr(Method, "begin_step", begin_step)
        with pytest.raises(Killed):
            trained(store, run, name, loop=loop_settings(**loop, checkpoint_seconds=0), **settings)
    assert torch.load(run / "resume.ckpt", weights_only=True)["step"] == 5
    trained(store, run, name, loop=loop_settings(**loop, checkpoint_seconds=0), **settings)
    for file in ("model/segmenter.safetensors", "losses.csv", "validation.csv", "done.json", "labels.csv"):
        assert sha256(run / file) == sha256(whole / file), file
    return whole


def kept_is_validated(run: Path, data: TrainingData) -> None:
    """The saved model, loaded, gives the very error that it was chosen by."""
    part = load_bundle(run).segmenter
    assert part is not None
    settings = from_dict(SegmentSettings, read_json(run / "run.json")["settings"])
    kind = METHODS[settings.method]
    options = from_dict(kind.Options, settings.option)
    method = kind(settings, options, Inputs(part.spec.mean, part.spec.std, part.spec.color)).eval()
    method.segmenter = part.network
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in passes(data, method.validation().stream, seed=0):
            value, number = method.score(batch)["bce"]
            total, count = total + value, count + number
    assert read_json(run / "done.json")["bce"] == pytest.approx(total / count, rel=1e-5)


def feeds_the_other_stages(run: Path, store: Store, video_file: Path) -> Bundle:
    """The run's model, as the stages load it, gives masks, Dice and a prediction; in blocks of any size the same."""
    bundle = load_bundle(run)
    assert bundle.segmenter is not None
    stages.mask(store.path, run, MaskSettings(batch=7, splits=("test",), device="cpu"))
    masks = store.masks(mask_id(run, bundle.segmenter))
    video = int(store.videos("test")[0])
    stored = masks.probabilities(video, np.arange(store.n_frames(video))).astype(int)
    at_once = np.concatenate(list(probabilities(bundle.segmenter, store.frames(video), 999, CPU))).astype(int)
    assert stored.shape == (store.n_frames(video), masks.size, masks.size)
    assert np.abs(stored - at_once).max() <= 1
    assert stored.std() > 0
    stages.evaluate(run, EvaluateSettings(splits=("test",), device="cpu"))
    dice = read_json(run / "evaluation" / "metrics.json")["dice"]
    assert 0 <= dice["test"]["overall"]["pooled"] <= 1
    predicted = predict_recording(video_file, bundle, CPU)
    assert predicted.masks is not None
    assert len(predicted.masks) == predicted.n_frames
    return bundle


# ----------------------------------------------------------------------------------------------- paper size


def paper_size(name: str, **options: Any) -> Any:
    """A method with the paper's settings, on tensors without content."""
    with torch.device("meta"):
        return METHODS[name](preset("paper").segmentation(name), METHODS[name].Options(**options), GREY)


def count(network: nn.Module) -> int:
    """Parameters of a network."""
    return sum(p.numel() for p in network.parameters())


DEEPLAB = 39_633_729
"""Parameters of DeepLabV3-ResNet-50 with one logit."""
