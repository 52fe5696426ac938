"""All stages in one call: `train` on an own folder, `demo` on a phantom. What is done is never done again."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from echocycle import stages
from echocycle.console import console, output
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.settings import Preset, preset, to_dict


class _Clock:
    """Seconds per stage, kept beside the results, so that going on does not forget them."""

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

    def table(self) -> Table:
        """The seconds, as a table."""
        table = Table(title="Seconds per stage", box=None, pad_edge=False)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.0f}")
        table.add_row("all", f"{sum(self.seconds.values()):.0f}", style="bold")
        return table


def _start(chosen: Preset, store: Path, run: Path, clock: _Clock) -> Path | None:
    """The run whose weights the EF networks begin from, made here where the preset wants weights `shapes` that do not
    come with the package; else None."""
    from echocycle.regression.shapes import start_to_make

    making = start_to_make(chosen.regression("supervised"), chosen)
    if making is None:
        return None
    with clock.stage("start from moving shapes"):
        stages.regress(store, run, making)
    return run


def train(path: Path, out: Path, chosen: Preset, *, store: Path | None = None) -> Path:
    """Everything from a folder of videos to a trained model and a report.

    Args:
        path: folder in EchoNet-Dynamic's layout; videos without an EF are used unlabelled.
        out: folder for the runs, the report and, unless `store` is given, the frame store.

    Returns:
        The bundle's folder: the student with its segmenter; the teacher where every training video is labelled, so
        that a student has nothing to learn; without tracings a video-only network.
    """
    from echocycle.data.labels import draw_budget

    stages.options_of(chosen.segment)  # what is misspelt is said before anything is done
    for method in ("supervised", "teacher", "student"):
        stages.options_of(chosen.regression(method))
    out = Path(out)
    clock = _Clock(out / "seconds.json")
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
    start = _start(chosen, made.path, runs / "shapes", clock)
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
    with clock.stage("report"):
        page = stages.report(*(runs / name for name in order), out=out / "report.html")
    output.print(clock.table())
    model = runs / order[-1] / "model"
    output.print(f"Report: {page}\nModel: {model}\nUse it: echocycle predict VIDEO -o RESULTS --model {model}")
    return model


# -------------------------------------------------------------------------------------------------- demo

METHODS = {"supervised": "video only", "teacher": "teacher f_m (video and masks)", "student": "student f_e (video)"}


def demo_preset(*, smoke: bool) -> Preset:
    """The `tiny` preset on the demo's phantom; `smoke` makes everything as small as it can be."""
    chosen = preset("tiny")
    if not smoke:
        return chosen
    loop = replace(chosen.segment.loop, steps=4, validate_every=2)
    labels = replace(chosen.segment.labels, labelled="6", validation="4")
    return replace(
        chosen,
        segment=replace(chosen.segment, loop=loop, labels=labels, batch=2, width=4),
        regress={
            name: replace(each, loop=loop, labels=labels, batch=2, widths=(4, 8, 8, 8))
            for name, each in chosen.regress.items()
        },
        evaluate=replace(chosen.evaluate, stride=32),
        phantom={**chosen.phantom, "videos": 20, "val": 4, "test": 6},
    )


def demo(out: Path, *, smoke: bool = False, chosen: Preset | None = None, workers: int = 2) -> dict[str, Any]:
    """The paper's system on a phantom, and EF of a real ultrasound recording.

    Returns:
        The numbers of the table, which are also written to `demo.json`.
    """
    from echocycle.data.phantom import PhantomSettings

    chosen = chosen or demo_preset(smoke=smoke)
    out = Path(out)
    clock = _Clock(out / "seconds.json")
    videos, store, runs = out / "phantom", out / "store", out / "runs"
    with clock.stage("phantom"):
        stages.phantom(videos, PhantomSettings(**chosen.phantom), workers=workers)
    with clock.stage("prepare"):
        stages.prepare(videos, store, replace(chosen.prepare, workers=workers))
    start = _start(chosen, store, runs / "shapes", clock)
    for method in ("supervised", "css"):
        name = f"segment-{method}"
        with clock.stage(f"segment ({method})"):
            option = chosen.segment.option if method == "css" else {}
            stages.segment(store, runs / name, replace(chosen.segment, method=method, option=option))
    with clock.stage("mask"):
        stages.mask(store, runs / "segment-css", chosen.mask)
    masks = runs / "segment-css"
    helpers: dict[str, dict[str, Path]] = {
        "supervised": {"masks": masks},
        "teacher": {"masks": masks},
        "student": {"masks": masks, "teacher": runs / "teacher"},
    }
    for method, needs in helpers.items():
        with clock.stage(f"regress ({method})"):
            stages.regress(store, runs / method, chosen.regression(method), **needs, start=start)
    order = [runs / name for name in ("segment-supervised", "segment-css", *METHODS)]
    test = replace(chosen.evaluate, splits=("test",))
    with clock.stage("evaluate"):
        for run in order:
            stages.evaluate(run, test, store=store)
    with clock.stage("report"):
        page = stages.report(*order, out=out / "report.html", title="echocycle demo")
    with clock.stage("predict"):
        real = stages.predict(real_clip(), out=out / "predict", model=runs / "student")[0]
    results = collect_results(runs)
    results |= {
        "real_clip_ef": real.ef,
        "report": str(page),
        "seconds": clock.seconds,
        "preset": {"segment": to_dict(chosen.segment), "regress": to_dict(chosen.regression("student"))},
    }
    write_json(out / "demo.json", results)
    output.print(clock.table())
    output.print(results_table(results))
    output.print(f"Report: {page}\nOverlay of the real clip: {next((out / 'predict').glob('*.overlay.mp4'))}")
    return results


def real_clip() -> Path:
    """The real apical ultrasound recording that the package pydicom-data carries."""
    from pydicom.data import get_testdata_file

    path = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
    if path is None:
        raise EchocycleError("The package pydicom-data is not installed; `pip install pydicom-data==1.0.0`.")
    return Path(str(path))


def collect_results(runs: Path) -> dict[str, Any]:
    """The demo's numbers, from the tables that `evaluate` left."""
    from echocycle.evaluation.evaluate import interval_dict
    from echocycle.evaluation.metrics import paired_difference
    from echocycle.evaluation.tables import per_video, read_predictions

    def metrics(name: str) -> dict[str, Any]:
        found: dict[str, Any] = read_json(runs / name / "evaluation" / "metrics.json")
        return found

    dice = {method: metrics(f"segment-{method}")["dice"]["test"] for method in ("supervised", "css")}
    discs = metrics("segment-css")["ef_discs"]["test"]
    ef: dict[str, Any] = {"naive": metrics("supervised")["naive"]["test"]}
    for method in METHODS:
        (protocol,) = metrics(method)["ef"]["test"].values()
        ef[method] = protocol
    ef["discs"] = discs
    videos = {
        method: per_video(read_predictions(runs / method / "evaluation" / "predictions.csv")).set_index("video")
        for method in ("supervised", "student")
    }
    student, video_only = videos["student"], videos["supervised"].loc[videos["student"].index]
    difference = paired_difference(
        student["ef_true"].to_numpy(),
        student["ef_pred"].to_numpy(),
        video_only["ef_pred"].to_numpy(),
        groups=list(student["patient"]),
    )
    budgets = {name: read_json(runs / name / "run.json")["budget"] for name in ("segment-css", "supervised", "student")}
    return {
        "dice": dice,
        "ef": ef,
        "student_minus_video_only": interval_dict(difference),
        "budgets": budgets,
        "test_videos": len(student),
        "phantom_version": read_json(runs / "student" / "run.json")["data"]["phantom_version"],
    }


def results_table(results: dict[str, Any]) -> Table:
    """The demo's one table."""
    budget = results["budgets"]["student"]
    table = Table(
        title=f"{results['test_videos']} test videos of the phantom (version {results['phantom_version']}); "
        f"{budget['labelled']} labelled, {budget['unlabelled']} unlabelled training videos, "
        f"{budget['validation']} validation labels; 95 % intervals",
        box=None,
        pad_edge=False,
        title_justify="left",
    )
    for name in ("", "result", "interval", "R2", "interval "):
        table.add_column(name, justify="left" if not name else "right")
    for method, label in (("supervised", "segmenter, traced frames only"), ("css", "segmenter with CSS")):
        found = results["dice"][method]
        every = f", all frames {found['all']['pooled']:.3f}" if "all" in found else ""
        table.add_row(f"Dice: {label}", f"{found['overall']['pooled']:.3f}", f"ED and ES{every}", "", "")
    for name, label in {"naive": "naive (mean EF)", **METHODS, "discs": "discs on CSS masks"}.items():
        found = results["ef"][name]
        if found.get("not_measured"):
            label += f", {found['videos']} of {found['videos'] + found['not_measured']} videos"
        if "mae" in found:
            table.add_row(f"MAE: {label}", *_cells(found["mae"]), *_cells(found["r2"]))
        else:  # fewer than two videos could be measured
            table.add_row(f"MAE: {label}", "none", "", "", "")
    table.add_row("MAE: student minus video only", *_cells(results["student_minus_video_only"]), "", "")
    ef = results["real_clip_ef"]
    table.add_row("EF of the real DICOM clip", f"{ef:.1f} %" if ef is not None else "none", "no meaning: trained")
    table.add_row("", "", "on synthetic clips")
    return table


def _cells(interval: dict[str, float | None]) -> tuple[str, str]:
    low, high = (math.nan if (end := interval[name]) is None else end for name in ("low", "high"))
    return f"{interval['value']:.2f}", f"{low:.2f} to {high:.2f}"


def beats_naive(results: dict[str, Any]) -> dict[str, bool]:
    """Whether each learned row's whole MAE interval lies below the naive row's value."""
    naive = results["ef"]["naive"]["mae"]["value"]
    found = {name: results["ef"][name].get("mae", {"high": np.inf}) for name in (*METHODS, "discs")}
    return {name: bool(mae["high"] < naive) for name, mae in found.items()}


def load_results(out: Path) -> dict[str, Any]:
    """The numbers of a finished demo."""
    found: dict[str, Any] = json.loads((Path(out) / "demo.json").read_text(encoding="utf-8"))
    return found
