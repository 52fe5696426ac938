"""The stages of the pipeline, one typed function each: the Python call and the command alike.

    phantom -> check -> prepare -> segment -> mask -> regress -> evaluate -> report -> predict

Stages hand over on disk. Each can be killed and called again, goes on where it was, and ends with the same result.
Heavy imports wait inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echocycle.console import console, track
from echocycle.errors import EchocycleError, Finding
from echocycle.files import read_json, write_text
from echocycle.runs import Run, finished, versions
from echocycle.settings import (
    EvaluateSettings,
    LabelSettings,
    MaskSettings,
    PrepareSettings,
    Preset,
    RegressSettings,
    SegmentSettings,
    from_dict,
    to_dict,
)

if TYPE_CHECKING:
    from echocycle.bundle import Bundle, Part
    from echocycle.data.labels import LabelBudget, TrainingData
    from echocycle.data.masks import MaskSet
    from echocycle.data.phantom import PhantomSettings
    from echocycle.data.store import Store
    from echocycle.method import Inputs, Method
    from echocycle.prediction import Prediction

# -------------------------------------------------------------------------------------------------- data


def phantom(out: Path, settings: PhantomSettings | None = None, *, workers: int = 2) -> None:
    """Write synthetic clips with known EF and masks, in EchoNet-Dynamic's own layout."""
    from echocycle.data.phantom import PhantomSettings, write_phantom

    with track("Drawing clips") as progress:
        write_phantom(Path(out), settings or PhantomSettings(), workers=workers, progress=progress)
    console.print(f"Phantom written to {out}.")


def check(path: Path, settings: PrepareSettings = PrepareSettings(), *, decode: bool = False) -> dict[str, Any]:
    """Say what is in a folder of videos, and what is wrong with it, without writing anything.

    Args:
        settings: those that `prepare` will be given.
        decode: read every video as well, which takes minutes and finds damaged ones.

    Raises:
        Finding: something is wrong with the data (level error).
    """
    from echocycle.data.prepare import decode_findings, finding_line, open_source

    source = open_source(Path(path), settings)
    report = dict(source.report)
    console.print(source.page)
    found = list(report["findings"])
    if decode:
        with track("Reading videos") as progress:
            report["decoding"] = decode_findings(source, settings, progress=progress)
        for finding in report["decoding"]:
            console.print(finding_line(finding))
        found += report["decoding"]
    errors = sum(finding["level"] == "error" for finding in found)
    if errors:
        raise Finding(f"{path}: {errors} kinds of errors were found; see above. `prepare` leaves these rows out.")
    return report


def prepare(path: Path, store: Path, settings: PrepareSettings = PrepareSettings()) -> Store:
    """Read every video of a folder once and write the frame store."""
    from echocycle.data.prepare import finding_line, prepare_store

    with track("Reading videos") as progress:
        made = prepare_store(Path(path), Path(store), settings, progress=progress)
    findings = read_json(made.path / "report.json")["findings"]
    for finding in findings:
        if finding["level"] != "note":
            console.print(finding_line(finding))
    console.print(f"{len(made)} videos, {made.meta['frames']} frames in {store}.")
    return made


# ---------------------------------------------------------------------------------------------- training


def segment(store: Path, run: Path, settings: SegmentSettings = SegmentSettings()) -> Bundle:
    """Train a segmenter of the left ventricle on traced frames and, by method, on unlabelled clips."""
    from echocycle.segmentation import METHODS

    options = options_of(settings)
    data = _open_data(store, settings.labels, "tracing")
    inputs = _inputs(data)
    return _train(METHODS[settings.method], settings, options, inputs, data, Run(run), "segment")


def mask(store: Path, run: Path, settings: MaskSettings = MaskSettings()) -> MaskSet:
    """Let a trained segmenter mark the left ventricle in every frame; the masks go into the store."""
    from echocycle.data.store import Store
    from echocycle.masks import write_masks

    with track("Masks") as progress:
        masks = write_masks(Store(store), Path(run), settings, progress=progress)
    size = (masks.folder / "blob.bin").stat().st_size
    console.print(f"Masks {masks.id}: {masks.meta['videos']} videos, {size / 1e6:.1f} MB.")
    return masks


def regress(
    store: Path,
    run: Path,
    settings: RegressSettings = RegressSettings(),
    *,
    masks: Path | None = None,
    teacher: Path | Sequence[Path] | None = None,
    start: Path | None = None,
) -> Bundle:
    """Train an ejection-fraction network.

    Args:
        masks: the segmentation run whose masks the method sees; it becomes the bundle's segmenter.
        teacher: the run of the teacher, for methods that have one; or the runs of several.
        start: the run of method `shapes` that made the weights `shapes`, where they do not come with the package.
    """
    from echocycle.bundle import load_bundle
    from echocycle.data.store import Store
    from echocycle.masks import check_color, mask_id, segmenter_of
    from echocycle.regression import METHODS

    options = options_of(settings)
    method = METHODS[settings.method]
    if method.needs_masks and masks is None:
        raise EchocycleError(f"Method {settings.method} needs masks; name a segmentation run with `--masks RUN`.")
    teachers = [teacher] if isinstance(teacher, str | Path) else list(teacher or [])
    if method.needs_teacher and not teachers:
        raise EchocycleError(f"Method {settings.method} needs a teacher; name its run with `--teacher RUN`.")
    if teachers and not method.needs_teacher:
        raise EchocycleError(f"Method {settings.method} has no teacher; leave `--teacher` out.")
    opened = Store(store)
    mask_set, segmenter = None, None
    helpers: dict[Path, str] = {}
    if masks is not None:
        bundle = load_bundle(finished(masks, "segment").model)
        segmenter = segmenter_of(bundle, opened)
        helpers[Path(masks)] = bundle.id
        if method.needs_masks:
            mask_set = opened.masks(mask_id(masks, segmenter))
    parts = []
    for each in teachers:
        taught = load_bundle(finished(each, "regress").model)
        assert taught.regressor is not None
        _require_store(Path(each), opened)
        check_color(taught.regressor, taught.path, opened)
        parts.append(taught.regressor)
        helpers[Path(each)] = taught.id
        if segmenter is not None and taught.segmenter is not None and taught.segmenter.hash != segmenter.hash:
            raise EchocycleError(
                f"The teacher {each} was trained on the masks of another segmenter than {masks}; name the same "
                "segmentation run for both."
            )
    data = _open_data(opened, settings.labels, "ef", mask_set)
    inputs = _inputs(data, tuple(parts))
    return _train(
        method,
        settings,
        options,
        inputs,
        data,
        Run(run),
        "regress",
        segmenter=segmenter,
        helpers=helpers,
        start=start,
    )


@dataclass(frozen=True)
class _Data:
    """A store with its budget and what methods may see of it."""

    store: Store
    budget: LabelBudget
    view: TrainingData


def _open_data(
    store: Path | Store, labels: LabelSettings, needs: Literal["ef", "tracing"], masks: MaskSet | None = None
) -> _Data:
    from echocycle.data.labels import TrainingData, draw_budget
    from echocycle.data.store import Store

    opened = store if isinstance(store, Store) else Store(store)
    budget = draw_budget(opened, labels, needs=needs)
    return _Data(opened, budget, TrainingData(opened, budget, masks))


def options_of(settings: SegmentSettings | RegressSettings) -> Any:
    """The method's own settings, checked."""
    from echocycle import regression, segmentation

    methods: Any = segmentation.METHODS if isinstance(settings, SegmentSettings) else regression.METHODS
    if settings.method not in methods:
        raise EchocycleError(f"There is no method {settings.method!r}; choose one of {', '.join(methods)}.")
    values = {key.replace("-", "_"): value for key, value in settings.option.items()}
    return from_dict(methods[settings.method].Options, values, "option.")


def _inputs(data: _Data, teachers: tuple[Part, ...] = ()) -> Inputs:
    """Statistics of the training videos; a student takes its (first) teacher's."""
    from echocycle.data.likeness import input_statistics
    from echocycle.method import Inputs

    if teachers:
        return Inputs(teachers[0].spec.mean, teachers[0].spec.std, data.store.color, teachers)
    mean, std = input_statistics(data.view)
    return Inputs(mean, std, data.store.color)


def _train(
    kind: type[Method],
    settings: SegmentSettings | RegressSettings,
    options: Any,
    inputs: Inputs,
    data: _Data,
    run: Run,
    stage: str,
    *,
    segmenter: Part | None = None,
    helpers: dict[Path, str] | None = None,
    start: Path | None = None,
) -> Bundle:
    """What all methods share: refuse what cannot work, begin or go on with the run, train, leave the bundle."""
    import torch

    from echocycle.bundle import Bundle, choose_device, choose_precision, load_bundle, save_bundle
    from echocycle.data.likeness import reference
    from echocycle.memory import check_fits
    from echocycle.train import fit

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
    method = kind(begins, options, inputs)  # type: ignore[call-arg]
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
    if not run.start(stage, to_dict(settings), facts, {"store": str(data.store.path.resolve())}):
        console.print(f"{run.path} is already done.")
        return load_bundle(run.model)
    write_text(run.path / "labels.csv", _label_table(data))
    provenance = {
        "run": run.id,
        "stage": stage,
        "method": method.name,
        "seed": loop.seed,
        "settings": to_dict(settings),
        **facts,
        **versions(),
    }
    likeness = reference(data.view, data.store.phantom_version)

    def save_best() -> None:
        trained = method.parts()
        parts = trained.get("segmenter", segmenter), trained.get("regressor")
        save_bundle(Bundle(*parts, provenance, likeness), run.model)

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


def _true_budget(data: _Data, helpers: list[Path]) -> dict[str, Any]:
    """The label counts of this run, and of everything it is built on together."""
    names = data.store.index["name"]
    budget = data.budget
    used = set(names.iloc[list(budget.labelled + budget.validation)])
    if budget.settings.allow_unlabelled_annotation:
        used |= set(names.iloc[list(budget.unlabelled)])
    for helper in helpers:
        with open(helper / "labels.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        read = {"labelled", "validation"}
        if Run(helper).info["budget"]["unlabelled_annotation_allowed"]:
            read.add("unlabelled")
        used |= {row["name"] for row in rows if row["subset"] in read}
    return {**budget.summary(), "labels_used_in_all": len(used)}


def _label_table(data: _Data) -> str:
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


# -------------------------------------------------------------------------------------------- evaluation


def evaluate(
    run: Path,
    settings: EvaluateSettings = EvaluateSettings(),
    *,
    store: Path | None = None,
    external: Path | None = None,
) -> Path:
    """Predict every video of the splits asked for and leave the tables behind the run's numbers.

    Args:
        store: the frame store, if it is not where it was when the run was made.
        external: another frame store, on which the run was not trained; the results go into `external-<its id>`.

    Returns:
        The folder with predictions.csv, or dice.csv and volumes.csv, and metrics.json.
    """
    from echocycle.data.store import Store
    from echocycle.evaluation.evaluate import evaluate_run

    if external is None:
        return evaluate_run(finished(run), settings, _store_of(run, store))
    if store is not None:
        raise EchocycleError("Name either `--store` or `--external`.")
    other = Store(external)
    return evaluate_run(finished(run), settings, other, Path(run) / f"external-{other.meta['id']}")


def _store_of(run: Path, store: Path | None) -> Store:
    from echocycle.data.store import Store

    opened = Store(store or Path(Run(run).info["where"]["store"]))
    _require_store(run, opened)
    return opened


def _require_store(run: Path, opened: Store) -> None:
    """Refuse another store than the run's own: its training videos may be test videos there."""
    own = Run(run).info["data"]["id"]
    if opened.meta["id"] != own:
        raise EchocycleError(
            f"{opened.path} is not the store that {run} was trained on (ids {opened.meta['id']} and {own}); name "
            "that one."
        )


def report(*runs: Path, out: Path = Path("report.html"), title: str = "echocycle report") -> Path:
    """One self-contained HTML page on evaluated runs: tables, figures, settings; a Markdown twin beside it."""
    from echocycle.evaluation.collect import write_report

    if not runs:
        raise EchocycleError("Name at least one run to report on.")
    return write_report([Path(run) for run in runs], Path(out), title)


def experiment(
    name: str,
    chosen: Preset,
    *,
    store: Path | None = None,
    seeds: int = 1,
    fractions: Sequence[str] = (),
    only: Sequence[str] = (),
    out: Path = Path("echocycle-runs/experiments"),
    dry_run: bool = False,
    at_once: int = 1,
    slurm: Sequence[str] = (),
) -> Path | None:
    """A table of the paper, or one of our own: every row trained and evaluated, and ours beside the printed numbers.

    What is done is never done again, by whatever experiment; so the same `out` serves all of them.

    Args:
        store: a frame store; by default the preset's phantom is drawn in `out`.
        seeds: trainings of each row.
        fractions: labelled shares such as `1/8` or `All`; by default those of the table.
        only: rows to run, by their name in the table or by their method.
        dry_run: say what would be run, and stop.
        at_once: jobs at once. One is done in this process; several each in a process of its own, which share this
            machine's cores and GPUs; of a cluster's queue, as many as may wait or run in it.
        slurm: parameters of the jobs on a SLURM cluster, as submitit names them, such as `timeout_min=240`; empty:
            no cluster.

    Raises:
        Finding: some jobs failed; the others are done and the tables written.
    """
    from echocycle.experiments.crew import choose_crew
    from echocycle.experiments.run import run_experiment

    return run_experiment(
        name,
        chosen,
        store=None if store is None else Path(store),
        seeds=seeds,
        fractions=fractions,
        rows=only,
        out=Path(out),
        dry_run=dry_run,
        crew=choose_crew(at_once, slurm, Path(out) / "jobs"),
    )


# --------------------------------------------------------------------------------------------------- use


def predict(
    *inputs: Path, out: Path, model: Path, device: Literal["auto", "cpu", "cuda"] = "auto", stride: int = 4
) -> list[Prediction]:
    """EF and masks of recordings (AVI, MP4, DICOM, or folders of them) as JSON, CSV and overlay video.

    Args:
        out: folder for the results.
        model: a bundle, or the run that holds it.
        stride: frames between two clips whose EF are averaged.

    Raises:
        Finding: a recording could not be read; the others are done.
    """
    from echocycle.inference import predict_all

    return predict_all([Path(path) for path in inputs], Path(out), Path(model), device=device, stride=stride)


def bench(
    out: Path, *, quick: bool = False, device: Literal["auto", "cpu", "cuda"] = "auto", page: Path | None = None
) -> dict[str, Any]:
    """Measure the stages beside the usual way of doing them, on a phantom of its own.

    Args:
        out: folder for comparison.json and the page; a comparison that was interrupted there is gone on with.
        quick: fewer and smaller rounds; under ten minutes on two cores.
        page: write the page here as well, its chart in `images/` beside it.

    Returns:
        The content of comparison.json.
    """
    from echocycle.benchmarks.operations import make_plan
    from echocycle.benchmarks.report import compare, table_of, write_page
    from echocycle.bundle import choose_device
    from echocycle.console import output

    chosen = choose_device(device)
    comparison = compare(Path(out), make_plan(chosen, quick=quick), chosen)
    for path in (Path(out) / "performance.md", page):
        if path is not None:
            console.print(f"{write_page(comparison, path)} written.")
    output.print(table_of(comparison))
    return comparison


def info(bundle: Path | None = None, *, json: bool = False) -> dict[str, Any]:
    """Versions, devices, methods and presets; or what a trained model is made of."""
    import json as json_module

    from echocycle.console import output
    from echocycle.inform import describe_bundle, describe_installation

    facts = describe_bundle(Path(bundle)) if bundle else describe_installation()
    if json:
        output.print_json(json_module.dumps(facts))
    else:
        from rich.pretty import Pretty

        output.print(Pretty(facts, expand_all=True))
    return facts
