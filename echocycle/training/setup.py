"""One training of any method: the run is begun or resumed, trained, and left with its bundle."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.bundle_description import shareable
from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.locks import alone_in
from echocycle.runs import finished, versions
from echocycle.settings.convert import to_dict
from echocycle.training.facts import by_name, label_table, true_budget, weights_of

if TYPE_CHECKING:
    from echocycle.bundle import Bundle
    from echocycle.models.specs import Part
    from echocycle.runs import Run
    from echocycle.settings.stages import RegressSettings, SegmentSettings
    from echocycle.training.method import Inputs, Method
    from echocycle.training.opened import OpenedData


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
        "budget": true_budget(data, list(helpers)),
        "precision": precision,
        "reads_unlabelled_annotation": method.reads_unlabelled_annotation,
        "helpers": by_name(helpers),
        "weights": weights_of(begins),
    }
    provenance = shareable(
        {
            "run": run.id,
            "stage": stage,
            "method": method.name,
            "seed": loop.seed,
            "settings": to_dict(settings),
            **facts,
            **versions(),
        }
    )

    def save_best() -> None:
        trained = method.parts()
        parts = trained.get("segmenter", segmenter), trained.get("regressor")
        save_bundle(Bundle(*parts, provenance, likeness), run.model)

    # who only reads a run that is done need not be alone with it
    with nullcontext() if run.closed else alone_in(run.path):
        if not run.start(stage, settings, facts, {"store": str(data.store.path.resolve())}):
            console.print(f"{run.path} is already done.")
            return load_bundle(run.model)
        write_text(run.path / "labels.csv", label_table(data))
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
