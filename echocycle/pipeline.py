"""All stages in one call: `train` on your own folder, and `check` before it. What is done is never done again."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from echocycle import stages
from echocycle.console import console, output
from echocycle.errors import EchocycleError, Finding
from echocycle.evaluation.candidates import (
    ALL,
    CANDIDATES,
    asked_for,
    choose,
    methods_for,
    possible,
    write_choice,
)
from echocycle.files import read_json
from echocycle.given import require_folder
from echocycle.last_word import keep_verdict, say_verdict
from echocycle.methods import options_of
from echocycle.settings.flags import Flag, Flat, Out, Unseen
from echocycle.settings.presets import Preset, for_own_folder, preset
from echocycle.settings.stages import PrepareSettings
from echocycle.stage_clock import StageClock

if TYPE_CHECKING:
    import pandas as pd


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


def _calibrating(chosen: Preset, index: "pd.DataFrame", runs: Path) -> Preset:
    """The preset with half of the validation videos kept for intervals, where they are enough for both; runs that were
    begun without stay as they are."""
    from echocycle.calibration import FEWEST_VIDEOS

    held_out = int(((index["split"] == "val") & index["ef"].notna()).sum())
    begun = [runs / name / "run.json" for name in ("shapes", *methods_for(CANDIDATES))]
    if held_out < 2 * FEWEST_VIDEOS or any("calibration" not in _labels_of(path) for path in begun if path.exists()):
        return chosen
    regress = {
        name: replace(each, labels=replace(each.labels, calibration="1/2")) if each.labels.calibration == "0" else each
        for name, each in chosen.regress.items()
    }
    return replace(chosen, regress=regress)


def _labels_of(run: Path) -> dict[str, Any]:
    """The label settings of a run.json."""
    return read_json(run).get("settings", {}).get("labels", {})


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
    candidates: str = ALL,
    chosen: Annotated[Preset | None, Unseen] = None,
) -> Path | None:
    """All stages on your own folder: store, segmenter, masks, EF networks, evaluation, choice, report. Resumable.

    Several models are trained, and the one with the least error on the validation videos is taken; the report shows
    all. The test videos are not looked at for that.

    Every training video with a label counts as labelled, every other as unlabelled; `--set
    segment.labels.labelled=1/8 --set regress.labels.labelled=1/8` takes fewer. Where all are labelled there is no
    student; where none is traced, only a video-only network. `--preset` is `paper` on a machine with a GPU and `tiny`
    on another, if it is not given.

    Args:
        path: Folder with FileList.csv, VolumeTracings.csv and Videos/.
        out: Folder for the runs and the report.
        store: Where to keep the frame store; by default inside `out`.
        dry_run: Say what it would take (time, memory, protocol, weights, disk), and stop.
        details: With --dry-run: each training's steps and memory too.
        candidates: Models to choose from, names with commas: `video-only`, `teacher` (video and masks), `student`,
            `two-teachers` (the mean of the teacher and of one that sees the masks alone). Fewer take less time;
            `student` is what earlier versions did.
        chosen: The settings of all stages; by default those of the preset that suits the machine, every label taken.

    Returns:
        The bundle's folder: of the candidate that was taken, with its segmenter. None after a dry run.
    """
    names = asked_for(candidates)
    require_folder(Path(path))
    from echocycle.device import usual_preset
    from echocycle.forecast.own_folder import budget_of, forecast_of, require_first_weights
    from echocycle.regression.together import put_together
    from echocycle.reporting.collect import write_report

    chosen = chosen or for_own_folder(preset(usual_preset()))
    options_of(chosen.segment)  # what is misspelt is said before anything is done
    for method in methods_for(names):
        options_of(chosen.regression(method))
    path, out = Path(path), Path(out)
    if dry_run:
        forecast_of(path, out, chosen, names).show(details=details)
        return None
    require_first_weights(path, out, chosen, names)
    clock = StageClock(out / "seconds.json")
    with clock.stage("prepare"):
        made = stages.prepare(path, store or out / "store", chosen.prepare)
    chosen = _calibrating(chosen, made.index, out / "runs")
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
    elif not budget.unlabelled and "student" in names:
        console.print(
            "Every training video is labelled, so a student has nothing to learn from its teacher and is left out. "
            "Fewer labels: `--set segment.labels.labelled=1/8 --set regress.labels.labelled=1/8`."
        )
    names = possible(names, traced=traced.any(), unlabelled=bool(budget.unlabelled))
    masks = runs / "css" if traced.any() else None
    if masks is not None:
        with clock.stage("segment"):
            stages.segment(made.path, masks, chosen.segment)
        with clock.stage("mask"):
            stages.mask(made.path, masks, replace(chosen.mask, splits=("train", *splits)))
    for method in methods_for(names):
        teacher = runs / "teacher" if method == "student" else None
        with clock.stage(method):
            settings = chosen.regression(method)
            stages.regress(made.path, runs / method, settings, masks=masks, teacher=teacher, start=start)
    if "two-teachers" in names:
        put_together(runs / "two_teachers", (runs / "teacher", runs / "mask_teacher"), chosen.regression("teacher"))
    shown = [*([masks] if masks is not None else []), *(runs / CANDIDATES[name].run for name in names)]
    with clock.stage("evaluate"):
        for run in shown:
            stages.evaluate(run, evaluation, store=made.path)
        choice = choose(runs, names)
        write_choice(out, choice)
        taken = runs / choice.run
        verdict = keep_verdict(taken)  # before the report, which may begin with it
    with clock.stage("report"):
        page = write_report(shown, out / "report.html", "echocycle report", delivered=taken, choice=choice)
    output.print(clock.table())
    model = taken / "model"
    if len(names) > 1:
        output.print(f"Taken: {choice.taken}. {choice.why}", soft_wrap=True, highlight=False)
    output.print(f"Report: {page}\nModel: {model}")
    if verdict is not None and verdict.shown:
        output.print(f"Use it: echocycle predict VIDEO -o RESULTS --model {model}")
    say_verdict(verdict)
    return model
