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

from echocycle.console import output
from echocycle.errors import EchocycleError
from echocycle.methods import options_of
from echocycle.phantom.settings import PhantomSettings
from echocycle.settings.analyses import AnalyseSettings, What
from echocycle.settings.flags import Flag, Flat, Model, Out, Several, Unseen
from echocycle.settings.stages import EvaluateSettings, MaskSettings, PrepareSettings, RegressSettings, SegmentSettings

if TYPE_CHECKING:
    from echocycle.bundle import Bundle
    from echocycle.data.mask_set import MaskSet
    from echocycle.data.store import Store
    from echocycle.inference.results import Results
else:  # the command line reads these signatures, and the classes themselves would bring PyTorch and pandas
    Bundle = MaskSet = Store = Results = Any


# -------------------------------------------------------------------------------------------------- data


def phantom(out: Path, settings: Annotated[PhantomSettings, Flat] = PhantomSettings(), *, workers: int = 2) -> None:
    """Write synthetic clips with known EF and masks, in EchoNet-Dynamic's own layout.

    Args:
        out: Folder to write.
        workers: Processes that draw; the result does not depend on it.
    """
    from echocycle.phantom.said import draw_phantom

    draw_phantom(Path(out), settings, workers=workers)


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
    from echocycle.datasets.said import check_folder, check_store

    if (Path(path) / "store.json").exists():
        return check_store(Path(path), decode=decode, json=json)
    return check_folder(Path(path), settings, decode=decode, json=json)


def prepare(path: Path, store: Path, settings: Annotated[PrepareSettings, Flat] = PrepareSettings()) -> Store:
    """Read every video of a folder once and write the frame store.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/; of recordings, with videos.csv; or of CAMUS.
        store: Folder to write; it exists only when it is whole.
    """
    from echocycle.datasets.said import prepare_folder

    return prepare_folder(Path(path), Path(store), settings)


# ---------------------------------------------------------------------------------------------- training


def segment(store: Path, run: Path, settings: Annotated[SegmentSettings, Flat] = SegmentSettings()) -> Bundle:
    """Train a segmenter of the left ventricle.

    It learns from traced frames and, by method, from unlabelled clips.

    Args:
        store: A frame store, made by `prepare`.
        run: Folder of the run; a run that was started before is resumed.
    """
    options = options_of(settings)  # first: it refuses a method that is not there
    from echocycle.segmentation.train import train_segmenter

    return train_segmenter(store, run, settings, options)


def mask(store: Path, run: Path, settings: Annotated[MaskSettings, Flat] = MaskSettings()) -> MaskSet:
    """Mark the left ventricle in every frame with a trained segmenter; the masks go into the store.

    Args:
        store: A frame store, made by `prepare`.
        run: The segmenter's run.
    """
    from echocycle.inference.masks import mark

    return mark(Path(store), Path(run), settings)


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
    options = options_of(settings)  # first: it refuses a method that is not there
    from echocycle.regression.train import train_regressor

    return train_regressor(store, run, settings, options, masks=masks, teacher=teacher, start=start)


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
    from echocycle.evaluation.choose_store import evaluate_on

    return evaluate_on(run, settings, store=store, external=external)


def analyse(
    run: Path,
    settings: Annotated[AnalyseSettings, Flat] = AnalyseSettings(),
    *,
    what: Annotated[tuple[What, ...], Several] = (),
    store: Path | None = None,
    external: Path | None = None,
) -> list[Path]:
    """Where a network looks, whether its features go in circles, its masks on untraced frames, what the data are.

    What is found lies in RUN/analyses; `report` draws it.

    Args:
        run: A finished run.
        what: Which analyses: `attention` (an EF network's gradients), `features` and `masks` (a segmenter's), `data`
            (the store's); by default all that the run's model has.
        store: The frame store, if it has moved.
        external: Another frame store to look at; what is found goes into RUN/external-ID/analyses.

    Returns:
        The folder of each analysis.
    """
    from echocycle.evaluation.analyses.analyse import analyse_run
    from echocycle.evaluation.choose_store import store_for

    opened, folder = store_for(Path(run), store=store, external=external)
    found = analyse_run(Path(run), what, settings, opened, folder / "analyses")
    return [each.folder for each in found.values()]


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
    if not runs:  # said before pandas and matplotlib are imported
        raise EchocycleError("Name at least one run to report on.")
    from echocycle.reporting.collect import write_report

    page = write_report([Path(run) for run in runs], Path(out), title, delivered=delivered, overlays=overlays)
    output.print(str(page))
    return page


# --------------------------------------------------------------------------------------------------- use


def predict(
    *inputs: Path,
    out: Annotated[Path, Out],
    model: Annotated[Path | None, Model] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    protocol: Literal["one-clip", "all-clips", "strided", "beats"] = "strided",
    stride: int | None = None,
    fast: Annotated[bool, Flag] = False,
    formats: str = "json,csv,masks,overlay",
    workers: int = 1,
    time: Literal["auto", "frames", "seconds"] = "auto",
    backend: Literal["auto", "torch", "onnxruntime", "openvino"] = "torch",
) -> Results:
    """EF, masks, beats and volumes of recordings, as files for programs, for the eye and for a picture archive.

    Args:
        inputs: Recordings (AVI, MP4, MOV, DICOM), folders, DICOMDIR files or zip archives of them.
        out: Folder for the results.
        model: A bundle, or the run that holds it. Without it the model in the package, `zero`, which was trained on
            synthetic clips only (`echocycle info zero`).
        device: `auto` takes a GPU where there is one.
        protocol: Clips whose EF are averaged: `strided`, one every `stride` frames; `all-clips`, one at every frame;
            `one-clip`, from the middle; `beats`, one from the end diastole of each beat that is found.
        stride: Frames between two clips of `strided`: 4, or 16 with `--fast`.
        fast: A quarter of the clips, so less time for the EF; every frame is still segmented.
        formats: Names with commas: `json` (always written), `csv`, `masks`, `overlay`, `png`, `seg`, `sr`, `html`.
            `seg` and `sr` are DICOM and hold the patient's identity; nothing else does.
        workers: Processes that predict, each with a model of its own; they share the cores.
        time: `frames` takes a recording's frames as they are, `seconds` brings it to the frame rate of the training
            videos first; `auto` does so where its rate is none of theirs. Results say which it was.
        backend: What runs the networks: `torch`; `auto`, the fastest installed engine that answers as PyTorch in 32
            bits does (to 0.1 EF points), found out once a model and machine, which takes a while. Results say which.

    Returns:
        The predictions in order, each read from its JSON when it is asked for.

    Raises:
        Finding: a recording has no EF; the others are done.
    """
    from echocycle.inference.batch import predict_all

    return predict_all(
        [Path(path) for path in inputs],
        Path(out),
        None if model is None else Path(model),
        device=device,
        protocol=protocol,
        stride=stride,
        fast=fast,
        formats=formats,
        workers=workers,
        time=time,
        backend=backend,
    )


def export(
    bundle: Path,
    *,
    to: Literal["onnx", "openvino", "torch"],
    out: Annotated[Path, Out],
    on: Annotated[tuple[Path, ...], Several] = (),
) -> Path:
    """A trained model for other programs: 8-bit frames in, probabilities and EF out, normalisation inside.

    Each network is checked against the original on noise and on a drawn heart; `export.json` says what goes in, what
    comes out, and by how much they differ.

    Args:
        bundle: A bundle, or the run that holds it, or `zero`.
        to: `onnx` (ONNX Runtime and others), `openvino`, or `torch` (a program of torch.export, without this package).
        out: Folder for the files.
        on: Recordings on which the networks are checked as well.

    Returns:
        The `export.json`.
    """
    from echocycle.bundle_description import read_description
    from echocycle.engines.export import export_bundle
    from echocycle.recordings.recording import read_recording
    from echocycle.recordings.sector import cut_sector

    color = read_description(Path(bundle)).color
    frames = []
    for each in on:
        cut = cut_sector(read_recording(Path(each), color=color))
        frames.append((Path(each).name, cut.frames if cut.colours is None or not color else cut.colours))
    written = export_bundle(Path(bundle), to, Path(out), frames)
    output.print(str(written))
    return written


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
    from echocycle.recordings.deidentify import deidentify_all

    return deidentify_all(inputs, Path(out), Path(salt_file), format)
