"""Two trained teachers as one model: the mean of their answers. Nothing is trained here."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from echocycle.bundle import Bundle, load_bundle, save_bundle
from echocycle.bundle_description import shareable
from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.locks import alone_in
from echocycle.runs import Run, finished, versions
from echocycle.settings.convert import to_dict
from echocycle.settings.stages import RegressSettings
from echocycle.training.facts import by_name

METHOD = "two_teachers"
"""What a run of two teachers together says of its method."""


def put_together(run: Path, teachers: tuple[Path, Path], settings: RegressSettings) -> Bundle:
    """A run whose model answers with the mean of two trained networks; one that is done is left as it is.

    Args:
        run: folder of the run.
        teachers: finished runs with one EF network each, on the same labels and the same masks.
        settings: those of the first; what the run keeps as its own.

    Raises:
        EchocycleError: the two were trained on other data, labels or masks, or are of several networks themselves.
    """
    first, second = (finished(each, "regress") for each in teachers)
    labels, others = ((each.path / "labels.csv").read_text(encoding="utf-8") for each in (first, second))
    same = first.info["data"]["id"] == second.info["data"]["id"] and labels == others
    if not same:
        raise EchocycleError(f"{first.path} and {second.path} were trained on other videos or labels than one another.")
    one, two = load_bundle(first.model), load_bundle(second.model)
    if one.regressor is None or two.regressor is None or one.further or two.further:
        raise EchocycleError(f"{first.path} and {second.path} must have one EF network each.")
    if one.segmenter is None or two.segmenter is None or one.segmenter.hash != two.segmenter.hash:
        raise EchocycleError(f"{first.path} and {second.path} were trained on the masks of different segmenters.")
    info = first.info
    helpers = {**info["helpers"], **second.info["helpers"], **by_name({first.path: one.id, second.path: two.id})}
    kept = replace(settings, method=METHOD, option={})
    facts: dict[str, Any] = {
        "data": info["data"],
        "budget": info["budget"],  # both have the same labels, and the same segmenter helped both
        "precision": info["precision"],
        "reads_unlabelled_annotation": any(each.info["reads_unlabelled_annotation"] for each in (first, second)),
        "helpers": helpers,
        "weights": info["weights"],
    }
    made = Run(run)
    # who only reads a run that is done need not be alone with it
    with nullcontext() if made.closed else alone_in(made.path):
        if made.start("regress", kept, facts, info["where"]):
            provenance = shareable(
                {
                    "run": made.id,
                    "stage": "regress",
                    "method": METHOD,
                    "seed": kept.loop.seed,
                    "settings": to_dict(kept),
                    **facts,
                    **versions(),
                }
            )
            write_text(made.path / "labels.csv", labels)
            save_bundle(
                Bundle(one.segmenter, provenance=provenance, reference=one.reference),
                made.model,
                regressors=[one.regressor, two.regressor],
            )
            made.finish({"of": [first.id, second.id]})
            console.print(f"{made.id}: the mean of {first.id} and {second.id}.")
    return load_bundle(made.model)
