"""All stages in one call: `train` on your own folder. What is done is never done again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table

from echocycle import stages
from echocycle.console import console, output
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.given import require_folder
from echocycle.methods import options_of
from echocycle.progress import minutes_of
from echocycle.runs import Run
from echocycle.settings.flags import Flag, Out, Unseen
from echocycle.settings.presets import Preset, for_own_folder, preset

if TYPE_CHECKING:
    from echocycle.verdict import Verdict


class StageClock:
    """Seconds per stage, kept beside the results, so that a resumed run still knows them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.seconds: dict[str, float] = read_json(file) if file.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and name it on the console."""
        console.rule(name, align="left")
        start = time.perf_counter()
        yield
        # a stage that was done before takes next to none: what it took then is what it takes
        self.seconds[name] = max(round(time.perf_counter() - start, 1), self.seconds.get(name, 0.0))
        write_json(self._file, self.seconds)

    def foretell(self, usual: dict[str, float], done: str) -> None:
        """Say how long the rest will take, if a stage that is done tells how fast this machine is.

        Args:
            usual: seconds of every stage on another machine.
            done: the stage that is done.
        """
        left = {name: seconds for name, seconds in usual.items() if name not in self.seconds}
        if left and self.seconds[done] > usual[done] / 20:  # else it was done before, and tells nothing
            seconds = sum(left.values()) * self.seconds[done] / usual[done]
            console.print(f"The rest will take about {minutes_of(seconds)}.", highlight=False)

    def table(self) -> Table:
        """The seconds, as a table."""
        table = Table(title="Seconds per stage", box=None, pad_edge=False)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.0f}")
        table.add_row("all", f"{sum(self.seconds.values()):.0f}", style="bold")
        return table


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


def keep_verdict(run: Path) -> "Verdict | None":
    """The verdict on an evaluated EF network, which its model keeps; None where too few videos are held out."""
    from echocycle.evaluation.held_out import verdict_of_run
    from echocycle.verdict import write_verdict

    try:
        verdict = verdict_of_run(run)
    except EchocycleError as error:
        console.print(str(error), soft_wrap=True, highlight=False)
        return None
    write_verdict(Run(run).model, verdict)
    return verdict


def say_verdict(verdict: "Verdict | None") -> None:
    """Say last what the model is worth."""
    worth = verdict.sentence() if verdict else "How good this model is, is not known: too few videos are held out."
    output.print(worth, highlight=False)


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
    from echocycle.data.labels import draw_budget
    from echocycle.device import usual_preset
    from echocycle.forecast.own_folder import forecast_of, not_begun, trainings
    from echocycle.models.pretrained import require_weights
    from echocycle.reporting.collect import write_report

    chosen = chosen or for_own_folder(preset(usual_preset()))
    options_of(chosen.segment)  # what is misspelt is said before anything is done
    for method in ("supervised", "teacher", "student"):
        options_of(chosen.regression(method))
    path, out = Path(path), Path(out)
    if dry_run:
        forecast_of(path, out, chosen).show(details=details)
        return None
    require_weights(not_begun(trainings(path, out, chosen)))
    clock = StageClock(out / "seconds.json")
    with clock.stage("prepare"):
        made = stages.prepare(path, store or out / "store", chosen.prepare)
    traced = (made.index["ed_frame"] >= 0) & (made.index["split"] == "train")
    splits = tuple(split for split in ("val", "test") if (made.index["split"] == split).any())
    evaluation = replace(chosen.evaluate, splits=splits)
    runs = out / "runs"
    # what cannot be trained is said before anything is
    budget = draw_budget(made, chosen.regression("student").labels, needs="ef")
    if traced.any():
        draw_budget(made, chosen.segment.labels, needs="tracing")
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
