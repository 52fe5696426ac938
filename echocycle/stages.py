"""The stages of the pipeline, one typed function each: the Python call and the command alike.

    phantom -> check -> prepare -> segment -> mask -> regress -> evaluate -> report -> predict

Stages hand over on disk. Each can be killed and called again; it resumes, and ends with the same result.
`cli.py` registers these very functions: their signatures are the options, their docstrings the help. Heavy imports
wait inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from echocycle.console import console, output
from echocycle.errors import EchocycleError, Finding
from echocycle.files import printable, read_json
from echocycle.methods import options_of
from echocycle.phantom.settings import PhantomSettings
from echocycle.progress import track
from echocycle.runs import Run, finished
from echocycle.settings.flags import Flat, Model, Out, Several, Unseen
from echocycle.settings.stages import EvaluateSettings, MaskSettings, PrepareSettings, RegressSettings, SegmentSettings
from echocycle.training.opened import inputs_of, open_data, require_store
from echocycle.training.setup import train_method

if TYPE_CHECKING:
    from echocycle.bundle import Bundle
    from echocycle.data.mask_set import MaskSet
    from echocycle.data.store import Store
    from echocycle.inference.batch import Results
else:  # the command line reads these signatures, and the classes themselves would bring PyTorch and pandas
    Bundle = MaskSet = Store = Results = Any


# -------------------------------------------------------------------------------------------------- data


def phantom(out: Path, settings: Annotated[PhantomSettings, Flat] = PhantomSettings(), *, workers: int = 2) -> None:
    """Write synthetic clips with known EF and masks, in EchoNet-Dynamic's own layout.

    Args:
        out: Folder to write.
        workers: Processes that draw; the result does not depend on it.
    """
    from echocycle.phantom.write import write_phantom

    with track("Drawing clips") as progress:
        write_phantom(Path(out), settings, workers=workers, progress=progress)
    console.print(f"Phantom written to {out}.")


def check(
    path: Path,
    settings: Annotated[PrepareSettings, Flat] = PrepareSettings(),
    *,
    decode: bool = False,
    json: bool = False,
) -> dict[str, Any]:
    """List what is in a folder of videos and what is wrong with it; nothing is written.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/; of recordings, with videos.csv; of CAMUS; or a
            frame store.
        settings: Those that `prepare` will be given.
        decode: Read every video as well, which takes minutes and finds damaged ones; of a store every byte.
        json: Print the report as JSON, and nothing else, to standard output.

    Raises:
        Finding: something is wrong with the data (level error), or training would fail.
        EchocycleError: the files of a store do not belong together.
    """
    if (Path(path) / "store.json").exists():
        return _check_store(Path(path), decode, json)
    from echocycle.datasets.check import examine
    from echocycle.datasets.open import layout_of, open_source

    source = open_source(Path(path), settings)
    if not json:
        console.print(source.page)
    with track("Reading videos") as progress:
        found = examine(layout_of(Path(path)), source, settings, decode=decode, progress=progress)
    report = found.plain()
    if json:
        output.print_json(data=report)
    else:
        for line in found.lines():
            console.print(line)
    if found.errors:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in found.errors))
        raise Finding(f"{path}: errors were found; see above: {kinds}. `prepare` leaves rows with errors out.")
    return report


def _check_store(path: Path, decode: bool, json: bool) -> dict[str, Any]:
    """Whether a store and its mask sets are whole: index, counts and sizes; with `decode` every byte too."""
    from echocycle.data.store import Store, mask_names

    store = Store(path)
    names = mask_names(path)
    for name in names:
        store.masks(name)
    verified: dict[str, bool] = {}
    if decode:
        verified = {"frames": store.verify_frames(), **{name: store.masks(name).verify() for name in names}}
    report = {**store.provenance(), "masks": names, "verified": verified}
    if json:
        output.print_json(data=report)
        return report
    masks = f", masks {', '.join(names)}" if names else ""
    console.print(f"{path} is whole: {len(store)} videos, {store.meta['frames']} frames{masks}.", soft_wrap=True)
    for name, known in verified.items():
        said = "every byte is as it was written" if known else "cannot be compared: an earlier version made it"
        console.print(f"  {name}: {said}.", soft_wrap=True)
    return report


def prepare(path: Path, store: Path, settings: Annotated[PrepareSettings, Flat] = PrepareSettings()) -> Store:
    """Read every video of a folder once and write the frame store.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/; of recordings, with videos.csv; or of CAMUS.
        store: Folder to write; it exists only when it is whole.
    """
    from echocycle.datasets.findings import finding_of, finding_text
    from echocycle.datasets.prepare import prepare_store

    with track("Reading videos") as progress:
        made = prepare_store(Path(path), Path(store), settings, progress=progress)
    findings = read_json(made.path / "report.json")["findings"]
    for finding in findings:
        if finding["level"] != "note" or finding["kind"] == "splits-assigned":
            console.print(finding_text(finding_of(finding)))
    console.print(f"{len(made)} videos, {made.meta['frames']} frames in {store}.")
    return made


# ---------------------------------------------------------------------------------------------- training


def segment(store: Path, run: Path, settings: Annotated[SegmentSettings, Flat] = SegmentSettings()) -> Bundle:
    """Train a segmenter of the left ventricle.

    It learns from traced frames and, by method, from unlabelled clips.

    Args:
        store: A frame store, made by `prepare`.
        run: Folder of the run; a run that was started before is resumed.
    """
    from echocycle.segmentation import METHODS

    options = options_of(settings)
    data = open_data(store, settings.labels, "tracing")
    inputs = inputs_of(data)
    return train_method(METHODS[settings.method], settings, options, inputs, data, Run(run), "segment")


def mask(store: Path, run: Path, settings: Annotated[MaskSettings, Flat] = MaskSettings()) -> MaskSet:
    """Mark the left ventricle in every frame with a trained segmenter; the masks go into the store.

    Args:
        store: A frame store, made by `prepare`.
        run: The segmenter's run.
    """
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
    settings: Annotated[RegressSettings, Flat] = RegressSettings(),
    *,
    masks: Path | None = None,
    teacher: Sequence[Path] | Path | None = None,
    start: Annotated[Path | None, Unseen] = None,
) -> Bundle:
    """Train an ejection-fraction network.

    Args:
        store: A frame store, made by `prepare`.
        run: Folder of the run; a run that was started before is resumed.
        masks: The segmentation run whose masks the method sees; it becomes the model's segmenter.
        teacher: The teacher's run, for methods that have one; again for each further teacher.
        start: The run of method `shapes` that made the weights `shapes`, where they do not come with the package.
    """
    from echocycle.bundle import load_bundle
    from echocycle.data.store import Store
    from echocycle.inference.masks import check_color, segmenter_of
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
            mask_set = opened.masks_of(segmenter.hash)
            if mask_set is None:
                raise EchocycleError(
                    f"{opened.path} has no masks of the segmenter of {masks}. Make them with `echocycle mask "
                    f"{opened.path} {masks}`."
                )
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
    settings: Annotated[EvaluateSettings, Flat] = EvaluateSettings(),
    *,
    store: Path | None = None,
    external: Path | None = None,
) -> Path:
    """Predict every video of the splits asked for; leave tables and metrics in RUN/evaluation.

    Args:
        run: A finished run.
        store: The frame store, if it has moved.
        external: Another frame store to test the run on; its results go into RUN/external-ID, ID being that store's.

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


def report(
    *runs: Path,
    out: Annotated[Path, Out] = Path("report.html"),
    title: str = "",
    delivered: Path | None = None,
    overlays: Path | None = None,
) -> Path:
    """One self-contained HTML page on evaluated runs; beside it a Markdown twin and its tables and figures as files.


    Args:
        runs: Evaluated runs, in the order to show.
        out: The page to write.
        title: The page's title.
        delivered: The run whose model is handed on, which the page begins with; by default the last that predicts EF.
        overlays: A folder in which `predict` left overlay videos of the patients.
    """
    if not runs:
        raise EchocycleError("Name at least one run to report on.")
    from echocycle.reporting.collect import write_report

    page = write_report([Path(run) for run in runs], Path(out), title, delivered=delivered, overlays=overlays)
    output.print(str(page))
    return page


# --------------------------------------------------------------------------------------------------- use


def predict(
    *inputs: Path,
    out: Annotated[Path, Out],
    model: Annotated[Path, Model],
    device: Literal["auto", "cpu", "cuda"] = "auto",
    stride: int = 4,
) -> Results:
    """EF and masks of recordings as JSON, CSV and overlay video.

    Args:
        inputs: Recordings (AVI, MP4, MOV, DICOM) or folders of them.
        out: Folder for the results.
        model: A bundle, or the run that holds it.
        device: `auto` takes a GPU where there is one.
        stride: Frames between two clips whose EF are averaged.

    Returns:
        The predictions in order, each read from its JSON when it is asked for.

    Raises:
        Finding: a recording has no EF; the others are done.
    """
    from echocycle.inference.batch import predict_all

    return predict_all([Path(path) for path in inputs], Path(out), Path(model), device=device, stride=stride)


def adopt(
    *checkpoints: Path,
    out: Annotated[Path, Out],
    store: Path | None = None,
    mean: Annotated[tuple[float, ...], Several] = (),
    std: Annotated[tuple[float, ...], Several] = (),
) -> Bundle:
    """A model of published weights: EchoNet-Dynamic's, CSS-SemiVideo's or AdaCon's checkpoints.

    Args:
        checkpoints: One or two files, an EF network, a segmenter or both; which they are is read from their content.
        out: Folder for the model.
        store: Frame store of the data that they were trained on, for mean and standard deviation of the input.
        mean: Mean of the input in grey levels, once or for red, green and blue, where there is no store.
        std: Standard deviation of the same.
    """
    from echocycle.inference.adopt import adopt_weights

    return adopt_weights([Path(path) for path in checkpoints], Path(out), store=store, mean=mean, std=std)


def deidentify(
    *inputs: Path,
    out: Annotated[Path, Out],
    salt_file: Path,
    format: Literal["mp4", "dicom"] = "mp4",
) -> list[Path]:
    """The picture of recordings without names, dates, numbers and writing, under a name that tells nothing.

    Args:
        inputs: Recordings, folders, DICOMDIR files or zip archives.
        out: Folder for the clips.
        salt_file: File with the secret that the new names are made with; made if it is missing. Who has it can check
            a guess about whose clip it is, so it is not kept beside the clips.
        format: `mp4`, or `dicom`: multi-frame ultrasound.

    Returns:
        The files that were written.

    Raises:
        Finding: a recording could not be read; the others are done.
    """
    from echocycle.recordings.deidentify import deidentify as without_identity
    from echocycle.recordings.deidentify import read_salt
    from echocycle.recordings.find import find_recordings

    if not inputs:
        raise EchocycleError("Name at least one recording or folder.")
    salt = read_salt(Path(salt_file), Path(out))
    written: list[Path] = []
    problems = 0
    for found in find_recordings(inputs, exclude=[out]):
        try:
            if found.path is None:
                raise EchocycleError(str(found.problem))
            written.append(without_identity(found.path, Path(out), salt=salt, format=format))
        except EchocycleError as error:
            problems += 1
            console.print(printable(str(error)), style="red", soft_wrap=True, highlight=False)
    console.print(f"{len(written)} clips written to {out}.", soft_wrap=True)
    if problems:
        raise Finding(f"{problems} of {problems + len(written)} recordings could not be written; see above.")
    return written
