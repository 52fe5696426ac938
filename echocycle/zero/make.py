"""Makes the model in the package, from a phantom and a seed: `python -m echocycle.zero OUT`."""

import copy
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from echocycle.bundle import Bundle, save_bundle
from echocycle.files import read_json, write_json, write_text
from echocycle.models.specs import Part
from echocycle.phantom.settings import PHANTOM_VERSION
from echocycle.runs import versions
from echocycle.zero.drawn import FIRST, FOURTH, SIDE_BY_SIDE
from echocycle.zero.ef_clips import Curriculum
from echocycle.zero.regressor import RegressorTraining, Stretch, ef_spec, start
from echocycle.zero.regressor import train as train_regressor
from echocycle.zero.segmenter import Phase, SegmenterTraining, segmenter_spec
from echocycle.zero.segmenter import train as train_segmenter

REACHED = "a Dice of 0.88 (15 patients of CAMUS)"
NOTICE = (
    f"The model `zero` was trained on synthetic clips only; on real images it reached {REACHED}. Its EF has no "
    "clinical meaning (`echocycle info zero`)."
)
"""What every output says: the lines before a prediction, JSON, CSV and overlay."""
CARD = """# zero

Trained by `python -m echocycle.zero`, with other settings than the model in the package or at another time: nothing has
been measured. Apache-2.0. Research software, not a medical device.
"""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the model is like."""

    segmenter: SegmenterTraining = field(default_factory=SegmenterTraining)
    regressor: RegressorTraining = field(default_factory=RegressorTraining)


TINY = Recipe(
    SegmenterTraining(
        phases=(
            Phase(3, 3e-3, 4, 15, FIRST, first_clips=3, stop=2),
            Phase(1, 3e-3, 3, 17, FOURTH, 3, explained=True, third=SIDE_BY_SIDE),
        )
    ),
    RegressorTraining(
        common=Stretch(2, Curriculum(5, 3, seed=31), batch=3),
        members=(
            (),
            (Stretch(1, Curriculum(3, 2, seed=33), batch=2), Stretch(1, Curriculum(3, 2, seed=37), batch=2)),
            (Stretch(1, Curriculum(3, 2, seed=35), batch=2),),
        ),
    ),
)
"""Seconds: for tests."""


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """A recipe with another seed."""
    phases = tuple(replace(phase, seed=seed + 2 * number) for number, phase in enumerate(recipe.segmenter.phases))
    ef = recipe.regressor
    seeds = itertools.count(seed + 18, 2)
    members = tuple(tuple(ef_seeded(each, next(seeds)) for each in member) for member in ef.members)
    regressor = replace(ef, common=ef_seeded(ef.common, seed + 16), members=members)
    return Recipe(replace(recipe.segmenter, phases=phases), regressor)


def ef_seeded(stretch: Stretch, seed: int) -> Stretch:
    """A stretch of the EF networks with another seed."""
    return replace(stretch, curriculum=replace(stretch.curriculum, seed=seed))


def make(out: Path, recipe: Recipe, say: Callable[[str], None] = print) -> Bundle:
    """Train both networks and write the bundle into `out`; a network that is done there is not trained again."""
    begun = time.monotonic()
    work = out / "training"
    segmenter = segmenter_spec(recipe.segmenter.width).build()
    _train_once(work / "segmenter", asdict(recipe.segmenter), segmenter, say,
                lambda folder: train_segmenter(recipe.segmenter, folder, say))  # fmt: skip
    bundle = Bundle(
        segmenter=Part(segmenter_spec(recipe.segmenter.width), segmenter.half()),
        provenance={
            "run": "zero",
            "method": "zero",
            "command": "python -m echocycle.zero OUT",
            "recipe": asdict(recipe),
            "licence": "Apache-2.0",
            "versions": versions()["versions"],
        },
        reference={"phantom_version": PHANTOM_VERSION, "notice": NOTICE, "precision": "auto"},
    )
    save_bundle(bundle, out, regressors=_ef_networks(work, recipe.regressor, say))
    write_text(out / "card.md", CARD)
    say(f"{out} written, {time.monotonic() - begun:.0f} s.")
    return bundle


def _ef_networks(work: Path, settings: RegressorTraining, say: Callable[[str], None]) -> list[Part]:
    """The EF networks, each after the common stretch and its own."""
    spec = ef_spec(settings.widths)

    def after(name: str, stretches: Sequence[Stretch], begin: nn.Module) -> nn.Module:
        network = spec.build_one()
        told = {"widths": settings.widths, "stretches": [asdict(each) for each in stretches]}
        _train_once(work / name, told, network, say,
                    lambda folder: train_regressor(stretches[-1], copy.deepcopy(begin), folder, say))  # fmt: skip
        return network

    common = after("regressor", (settings.common,), start(settings.widths))
    parts = []
    for number, member in enumerate(settings.members, 1):
        network, done = common, [settings.common]
        for step, stretch in enumerate(member, 1):
            done.append(stretch)
            network = after(f"regressor-{number}-{step}", done, network)
        parts.append(Part(spec, copy.deepcopy(network).half()))
    return parts


def _train_once(
    folder: Path, settings: dict[str, Any], network: nn.Module, say: Callable[[str], None], train: Callable[[Path], Any]
) -> None:
    """Give `network` the weights that `train` leaves in `folder`, or left there with the same settings."""
    done = folder / "done.json"
    if done.exists() and read_json(done) == plain(settings):
        say(f"{folder} is done.")
    else:
        train(folder)
        write_json(done, settings)
    network.load_state_dict(torch.load(folder / "average.pt", weights_only=True))


def plain(settings: dict[str, Any]) -> Any:
    """Settings as they read back from JSON."""
    return json.loads(json.dumps(settings))
