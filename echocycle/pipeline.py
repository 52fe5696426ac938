"""All stages in one call: `train` on your own folder, and `check` before it. What is done is never done again."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from echocycle import stages
from echocycle.console import console, output
from echocycle.errors import EchocycleError, Finding
from echocycle.given import require_folder
from echocycle.last_word import keep_verdict, say_verdict
from echocycle.methods import options_of
from echocycle.settings.flags import Flag, Flat, Out, Unseen
from echocycle.settings.presets import Preset, for_own_folder, preset
from echocycle.settings.stages import PrepareSettings
from echocycle.stage_clock import StageClock


def start_of(chosen: Preset, store: Path, run: Path, clock: StageClock) -> Path | None:
    """The run whose weights the EF networks begin from, made here where the preset wants weights `shapes` that do not
    come with the package; else None."""
    from echocycle.regression.moving_shapes import start_to_make

    making = start_to_make(chosen.regression("supervised"), chosen)
    if making is None:
        return None
    with clock.stage("start from moving shapes"):
        stages.regress(store, run, making)
    return run


def check(
    path: Path,
    settings: Annotated[PrepareSettings, Flat] = PrepareSettings(),
    *,
    decode: bool = False,
    json: bool = False,
    forecast: Annotated[bool, Flag] = False,
    chosen: Annotated[Preset | None, Unseen] = None,
) -> dict[str, Any]:
    """List what is in a folder of videos and what is wrong with it; nothing is written.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/; of recordings, with videos.csv; of CAMUS; or a
            frame store.
        settings: Those that `prepare` will be given.
        decode: Read every video as well, which takes minutes and finds damaged ones; of a store every byte.
        json: Print the report as JSON, and nothing else, to standard output.
        forecast: Say too what `train` would take: time, memory, disk; the networks are timed for it.
        chosen: The settings that `train` would have; by default those of the preset that suits the machine.

    Raises:
        Finding: something is wrong with the data (level error), or training would fail.
        EchocycleError: the files of a store do not belong together.
    """
    if json and forecast:
        raise EchocycleError("--json prints the report alone; ask for --forecast in a call of its own.")
    found: Finding | None = None
    report: dict[str, Any] = {}
    try:
        report = stages.check(path, settings, decode=decode, json=json)
    except Finding as error:
        found = error
    if forecast and not (Path(path) / "store.json").exists():
        from echocycle.device import usual_preset
        from echocycle.forecast.own_folder import forecast_of

        chosen = chosen or for_own_folder(preset(usual_preset()))
        forecast_of(Path(path), Path("echocycle-runs/own"), chosen).show(details=False)
    if found is not None:
        raise found
    return report


def train(
    path: Path,
    *,
    out: Annotated[Path, Out] = Path("echocycle-runs/own"),
    store: Path | None = None,
    dry_run: Annotated[bool, Flag] = False,
    details: Annotated[bool, Flag] = False,
    chosen: Annotated[Preset | None, Unseen] = None,
) -> Path | None:
    """All stages on your own folder: store, segmenter, masks, teacher, student, evaluation, report. Resumable.

    Every training video with a label counts as labelled, every other as unlabelled; `--set
    segment.labels.labelled=1/8 --set regress.labels.labelled=1/8` takes fewer. Where all are labelled there is no
    student, and the teacher is the model; where none is traced, a video-only network. `--preset` is `paper` on a
    machine with a GPU and `tiny` on another, if it is not given.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/.
        out: Folder for the runs and the report.
        store: Where to keep the frame store; by default inside `out`.
        dry_run: Say what it would take (time, memory, protocol, weights, disk), and stop.
        details: With --dry-run: each training's steps and memory too.
        chosen: The settings of all stages; by default those of the preset that suits the machine, every label taken.

    Returns:
        The bundle's folder: the student with its segmenter; the teacher where every training video is labelled, so
        that a student has nothing to learn; without tracings a video-only network. None after a dry run.
    """
    require_folder(Path(path))
    from echocycle.device import usual_preset
    from echocycle.forecast.own_folder import budget_of, forecast_of, require_first_weights
    from echocycle.reporting.collect import write_report

    chosen = chosen or for_own_folder(preset(usual_preset()))
    options_of(chosen.segment)  # what is misspelt is said before anything is done
    for method in ("supervised", "teacher", "student"):
        options_of(chosen.regression(method))
    path, out = Path(path), Path(out)
    if dry_run:
        forecast_of(path, out, chosen).show(details=details)
        return None
    require_first_weights(path, out, chosen)
    clock = StageClock(out / "seconds.json")
    with clock.stage("prepare"):
        made = stages.prepare(path, store or out / "store", chosen.prepare)
    traced = (made.index["ed_frame"] >= 0) & (made.index["split"] == "train")
    splits = tuple(split for split in ("val", "test") if (made.index["split"] == split).any())
    evaluation = replace(chosen.evaluate, splits=splits)
    runs = out / "runs"
    # what cannot be trained is said before anything is
    budget = budget_of(made, chosen, traced=traced.any())
    start = start_of(chosen, made.path, runs / "shapes", clock)
    if not traced.any():
        console.print(
            "No training video has a tracing, so no segmenter can be trained: a video-only network is trained instead."
        )
        with clock.stage("supervised"):
            stages.regress(made.path, runs / "supervised", chosen.regression("supervised"), start=start)
        order = ["supervised"]
    else:
        with clock.stage("segment"):
            stages.segment(made.path, runs / "css", chosen.segment)
        with clock.stage("mask"):
            stages.mask(made.path, runs / "css", replace(chosen.mask, splits=("train", *splits)))
        with clock.stage("teacher"):
            stages.regress(made.path, runs / "teacher", chosen.regression("teacher"), masks=runs / "css", start=start)
        order = ["css", "teacher"]
        if budget.unlabelled:
            with clock.stage("student"):
                stages.regress(
                    made.path,
                    runs / "student",
                    chosen.regression("student"),
                    masks=runs / "css",
                    teacher=runs / "teacher",
                    start=start,
                )
            order.append("student")
        else:
            console.print(
                "Every training video is labelled, so a student has nothing to learn from its teacher: the teacher, "
                "which sees video and masks, is the model. Fewer labels: `--set segment.labels.labelled=1/8 --set "
                "regress.labels.labelled=1/8`."
            )
    with clock.stage("evaluate"):
        for name in order:
            stages.evaluate(runs / name, evaluation, store=made.path)
        verdict = keep_verdict(runs / order[-1])  # before the report, which may begin with it
    with clock.stage("report"):
        page = write_report([runs / name for name in order], out / "report.html", "echocycle report")
    output.print(clock.table())
    model = runs / order[-1] / "model"
    output.print(f"Report: {page}\nModel: {model}")
    if verdict is not None and verdict.shown:
        output.print(f"Use it: echocycle predict VIDEO -o RESULTS --model {model}")
    say_verdict(verdict)
    return model
