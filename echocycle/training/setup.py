"""What every training needs before its first step: data, labels, inputs, options, the run's own facts."""

from __future__ import annotations

import csv
import io
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.locks import alone_in
from echocycle.runs import Run, finished, versions
from echocycle.settings.convert import to_dict
from echocycle.settings.stages import LabelSettings, RegressSettings, SegmentSettings

if TYPE_CHECKING:
    from echocycle.bundle import Bundle
    from echocycle.data.labels import LabelBudget, TrainingData
    from echocycle.data.mask_set import MaskSet
    from echocycle.data.store import Store
    from echocycle.models.specs import Part
    from echocycle.training.method import Inputs, Method


@dataclass(frozen=True)
class OpenedData:
    """A store with its budget and what methods may see of it."""

    store: Store
    budget: LabelBudget
    view: TrainingData


def open_data(
    store: Path | Store, labels: LabelSettings, needs: Literal["ef", "tracing"], masks: MaskSet | None = None
) -> OpenedData:
    from echocycle.data.labels import TrainingData, draw_budget
    from echocycle.data.store import Store

    opened = store if isinstance(store, Store) else Store(store)
    budget = draw_budget(opened, labels, needs=needs)
    return OpenedData(opened, budget, TrainingData(opened, budget, masks))


def inputs_of(data: OpenedData, teachers: tuple[Part, ...] = ()) -> Inputs:
    """Statistics of the training videos; a student takes its (first) teacher's."""
    from echocycle.data.statistics import input_statistics
    from echocycle.training.method import Inputs

    if teachers:
        return Inputs(teachers[0].spec.mean, teachers[0].spec.std, data.store.color, teachers)
    mean, std = input_statistics(data.view)
    return Inputs(mean, std, data.store.color)


def train_method(
    kind: type[Method],
    settings: SegmentSettings | RegressSettings,
    options: Any,
    inputs: Inputs,
    data: OpenedData,
    run: Run,
    stage: str,
    *,
    segmenter: Part | None = None,
    helpers: dict[Path, str] | None = None,
    start: Path | None = None,
) -> Bundle:
    """What all methods share: refuse what cannot work, begin or resume the run, train, leave the bundle."""
    import torch

    from echocycle.bundle import Bundle, load_bundle, save_bundle
    from echocycle.data.domain_shift import reference
    from echocycle.device import choose_device, choose_precision
    from echocycle.training.loop import fit
    from echocycle.training.memory import check_fits

    helpers = helpers or {}
    # The run keeps every setting of its method, given or not, under its own name.
    settings = replace(settings, option={name: str(value) for name, value in to_dict(options).items()})
    loop = settings.loop
    device = choose_device(loop.device)
    precision = choose_precision(loop.precision, device)
    torch.manual_seed(loop.seed)
    begins = settings  # where its weights lie is no setting of a run: folders move
    if start is not None and settings.weights == "shapes":
        begins = replace(settings, weights=str(finished(start, "regress").model / "regressor.safetensors"))
    method = kind(begins, options, inputs)
    if method.reads_unlabelled_annotation and not settings.labels.allow_unlabelled_annotation:
        raise EchocycleError(
            "These settings read annotation of videos that are declared unlabelled, as the public code does. Allow "
            "it with --labels.allow-unlabelled-annotation; the report then says so and counts those labels."
        )
    if not run.done:
        network, examples = method.step_examples()
        check_fits(network, examples, device, setting="batch", batch=settings.batch)
    facts = {
        "data": data.store.provenance(),
        "budget": _true_budget(data, list(helpers)),
        "precision": precision,
        "reads_unlabelled_annotation": method.reads_unlabelled_annotation,
        "helpers": _by_name(helpers),
        "weights": _weights_of(begins),
    }
    provenance = {
        "run": run.id,
        "stage": stage,
        "method": method.name,
        "seed": loop.seed,
        "settings": to_dict(settings),
        **facts,
        **versions(),
    }

    def save_best() -> None:
        trained = method.parts()
        parts = trained.get("segmenter", segmenter), trained.get("regressor")
        save_bundle(Bundle(*parts, provenance, likeness), run.model)

    # who only reads a run that is done need not be alone with it
    with nullcontext() if run.closed else alone_in(run.path):
        if not run.start(stage, settings, facts, {"store": str(data.store.path.resolve())}):
            console.print(f"{run.path} is already done.")
            return load_bundle(run.model)
        write_text(run.path / "labels.csv", _label_table(data))
        likeness = reference(data.view, data.store.phantom_version)
        result = fit(
            method,
            data.view,
            run,
            loop=replace(loop, precision=precision),
            optimiser=settings.optimiser,
            save_best=save_best,
        )
        run.finish({"steps": result.steps, "best_step": result.best_step, result.metric: result.best_value})
    console.print(
        f"{run.id}: {result.steps} steps; best {result.metric} {result.best_value:.4g} at step {result.best_step}."
    )
    return load_bundle(run.model)


def _by_name(helpers: dict[Path, str]) -> dict[str, str]:
    """The id of each run's bundle by the run's name, with its folder's where two have the same."""
    paths = [path.resolve() for path in helpers]
    names = [path.name for path in paths]
    unique = [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    return dict(zip(unique, helpers.values(), strict=True))


def _weights_of(settings: SegmentSettings | RegressSettings) -> str:
    """What a run's first weights are: their name where that says it all, else the SHA-256 of their file."""
    from echocycle.files import sha256
    from echocycle.models.regressor import shapes_file
    from echocycle.models.weights import weights_file

    if settings.weights in ("none", "kinetics", "imagenet"):
        return settings.weights
    if isinstance(settings, RegressSettings) and settings.weights == "shapes":
        return sha256(shapes_file(settings.network, settings.widths))
    return sha256(weights_file(settings.weights))


def _true_budget(data: OpenedData, helpers: list[Path]) -> dict[str, Any]:
    """The label counts of this run, and of everything it is built on together."""
    names = data.store.index["name"]
    budget = data.budget
    used = set(names.iloc[list(budget.labelled + budget.validation)])
    if budget.settings.allow_unlabelled_annotation:
        used |= set(names.iloc[list(budget.unlabelled)])
    for helper in helpers:
        rows = _labels_of(helper)
        read = {"labelled", "validation"}
        if Run(helper).info["budget"]["unlabelled_annotation_allowed"]:
            read.add("unlabelled")
        used |= {row["name"] for row in rows if row["subset"] in read}
    return {**budget.summary(), "labels_used_in_all": len(used)}


def _labels_of(run: Path) -> list[dict[str, str]]:
    """The rows of a run's labels.csv."""
    path = run / "labels.csv"
    if not path.exists():
        raise EchocycleError(f"{path} is missing, so it is not known which labels {run} used. Copy the run again.")
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise EchocycleError(f"{path} is not readable ({error}). Copy the run again.") from None
    if not rows or any(row.get("name") is None or row.get("subset") is None for row in rows):
        raise EchocycleError(f"{path} does not say name and subset of every video. Copy the run again.")
    return rows


def _label_table(data: OpenedData) -> str:
    """labels.csv: every training and validation video with its subset, and the EF of the labelled ones, percent."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["name", "subset", "ef"])
    names, ef = data.store.index["name"], data.store.index["ef"]
    budget = data.budget
    for subset in ("labelled", "unlabelled", "excluded", "validation"):
        known = subset == "labelled"
        for video in getattr(budget, subset):
            table.writerow([names[video], subset, repr(float(ef[video])) if known and math.isfinite(ef[video]) else ""])
    return text.getvalue()


def require_store(run: Path, opened: Store) -> None:
    """Refuse another store than the run's own: its training videos may be test videos there."""
    own = Run(run).info["data"]["id"]
    if opened.meta["id"] != own:
        raise EchocycleError(
            f"{opened.path} is not the store that {run} was trained on (ids {opened.meta['id']} and {own}); name "
            "that one."
        )
