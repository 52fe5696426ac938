"""The stages of the pipeline, one typed function each: the Python call and the command alike.

    phantom -> check -> prepare -> segment -> mask -> regress -> evaluate -> report -> predict

Stages hand over on disk. Each can be killed and called again, goes on where it was, and ends with the same result.
Heavy imports wait inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echocycle.console import console, track
from echocycle.errors import EchocycleError, Finding
from echocycle.files import read_json
from echocycle.methods import options_of
from echocycle.runs import Run, finished
from echocycle.settings.stages import EvaluateSettings, MaskSettings, PrepareSettings, RegressSettings, SegmentSettings
from echocycle.training.setup import inputs_of, open_data, require_store, train_method

if TYPE_CHECKING:
    from echocycle.bundle import Bundle
    from echocycle.data.mask_set import MaskSet
    from echocycle.data.store import Store
    from echocycle.inference.prediction import Prediction
    from echocycle.phantom.settings import PhantomSettings


# -------------------------------------------------------------------------------------------------- data


def phantom(out: Path, settings: PhantomSettings | None = None, *, workers: int = 2) -> None:
    """Write synthetic clips with known EF and masks, in EchoNet-Dynamic's own layout."""
    from echocycle.phantom.settings import PhantomSettings
    from echocycle.phantom.write import write_phantom

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
    from echocycle.datasets.findings import finding_line
    from echocycle.datasets.prepare import decode_findings, open_source

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
    from echocycle.datasets.findings import finding_line
    from echocycle.datasets.prepare import prepare_store

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
    data = open_data(store, settings.labels, "tracing")
    inputs = inputs_of(data)
    return train_method(METHODS[settings.method], settings, options, inputs, data, Run(run), "segment")


def mask(store: Path, run: Path, settings: MaskSettings = MaskSettings()) -> MaskSet:
    """Let a trained segmenter mark the left ventricle in every frame; the masks go into the store."""
    from echocycle.data.store import Store
    from echocycle.inference.masks import write_masks

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
    from echocycle.inference.masks import check_color, mask_id, segmenter_of
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
        require_store(Path(each), opened)
        check_color(taught.regressor, taught.path, opened)
        parts.append(taught.regressor)
        helpers[Path(each)] = taught.id
        if segmenter is not None and taught.segmenter is not None and taught.segmenter.hash != segmenter.hash:
            raise EchocycleError(
                f"The teacher {each} was trained on the masks of another segmenter than {masks}; name the same "
                "segmentation run for both."
            )
    data = open_data(opened, settings.labels, "ef", mask_set)
    inputs = inputs_of(data, tuple(parts))
    return train_method(
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
    require_store(run, opened)
    return opened


def report(*runs: Path, out: Path = Path("report.html"), title: str = "echocycle report") -> Path:
    """One self-contained HTML page on evaluated runs: tables, figures, settings; a Markdown twin beside it."""
    from echocycle.reporting.collect import write_report

    if not runs:
        raise EchocycleError("Name at least one run to report on.")
    return write_report([Path(run) for run in runs], Path(out), title)


# --------------------------------------------------------------------------------------------------- use


def predict(
    *inputs: Path,
    out: Path,
    model: Path = Path("zero"),
    device: Literal["auto", "cpu", "cuda"] = "auto",
    stride: int = 4,
) -> list[Prediction]:
    """EF and masks of recordings (AVI, MP4, DICOM, or folders of them) as JSON, CSV and overlay video.

    Args:
        out: folder for the results.
        model: a bundle, or the run that holds it; by default the one that comes with the package.
        stride: frames between two clips whose EF are averaged.

    Raises:
        Finding: a recording could not be read; the others are done.
    """
    from echocycle.inference.recordings import predict_all

    return predict_all([Path(path) for path in inputs], Path(out), Path(model), device=device, stride=stride)
