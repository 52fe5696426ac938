"""`echocycle demo`: the whole pipeline on a phantom, and one real recording."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table

from echocycle import stages
from echocycle.console import output
from echocycle.errors import EchocycleError
from echocycle.files import read_json, write_json
from echocycle.last_word import keep_verdict, say_verdict
from echocycle.pipeline import start_of
from echocycle.settings.convert import to_dict
from echocycle.settings.flags import Unseen
from echocycle.settings.presets import Preset, preset
from echocycle.stage_clock import StageClock

# -------------------------------------------------------------------------------------------------- demo

METHODS = {"supervised": "video only", "teacher": "teacher f_m (video and masks)", "student": "student f_e (video)"}

USUAL_SECONDS = {
    "phantom": 43.0,
    "prepare": 29.8,
    "segment (supervised)": 43.2,
    "segment (css)": 87.9,
    "mask": 85.3,
    "regress (supervised)": 93.1,
    "regress (teacher)": 92.6,
    "regress (student)": 161.3,
    "evaluate": 35.1,
    "report": 3.1,
    "predict": 4.3,
}
"""Of each stage on two free cores (docs/results/demo.json)."""


def demo_preset(*, smoke: bool) -> Preset:
    """The preset `tiny`; with `smoke` the preset `debug`, whose EF networks start from moving shapes too."""
    if not smoke:
        return preset("tiny")
    chosen = preset("debug")
    regress = {name: replace(each, weights="shapes") for name, each in chosen.regress.items()}
    return replace(chosen, regress=regress, phantom={**chosen.phantom, "videos": 20, "test": 6})


def demo(
    out: Path = Path("echocycle-runs/demo"),
    *,
    smoke: bool = False,
    workers: int = 2,
    chosen: Annotated[Preset | None, Unseen] = None,
) -> dict[str, Any]:
    """The whole pipeline on a phantom, and EF of a real ultrasound recording.

    Args:
        out: Folder for everything.
        smoke: A run of seconds that only shows that every stage works.
        workers: Processes that draw and decode; the result does not depend on it.
        chosen: The settings of all stages; by default those of `demo_preset`.

    Returns:
        The numbers of the table, which are also written to `demo.json`.
    """
    from echocycle.phantom.settings import PhantomSettings
    from echocycle.reporting.collect import write_report

    chosen = chosen or demo_preset(smoke=smoke)
    out = Path(out)
    clock = StageClock(out / "seconds.json")
    videos, store, runs = out / "phantom", out / "store", out / "runs"
    with clock.stage("phantom"):
        stages.phantom(videos, PhantomSettings(**chosen.phantom), workers=workers)
    if chosen.name == "tiny":
        clock.foretell(USUAL_SECONDS, "phantom")
    with clock.stage("prepare"):
        stages.prepare(videos, store, replace(chosen.prepare, workers=workers))
    start = start_of(chosen, store, runs / "shapes", clock)
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
        verdict = keep_verdict(runs / "student")
    with clock.stage("report"):
        page = write_report(order, out / "report.html", "echocycle demo")
    from echocycle.inference.batch import predict_batch

    with clock.stage("predict"):
        real = predict_batch([real_clip()], out / "predict", runs / "student").results[0]
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
    say_verdict(verdict)
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
    from echocycle.evaluation.intervals import paired_difference
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
    for name, label in {"naive": "baseline: always the mean EF", **METHODS, "discs": "discs on CSS masks"}.items():
        found = results["ef"][name]
        if found.get("not_measured"):
            label += f", {found['videos']} of {found['videos'] + found['not_measured']} videos"
        if "mae" in found:
            table.add_row(f"MAE: {label}", *_cells(found["mae"]), *_cells(found["r2"]))
        else:  # fewer than two videos could be measured
            table.add_row(f"MAE: {label}", "none", "", "", "")
    table.add_row("MAE: student minus video only", *_cells(results["student_minus_video_only"]), "", "")
    ef = results["real_clip_ef"]
    table.add_row(
        "EF of the real DICOM clip", f"{ef:.1f} %" if ef is not None else "not measured", "no meaning: trained"
    )
    table.add_row("", "", "on synthetic clips")
    return table


def _cells(interval: dict[str, float | None]) -> tuple[str, str]:
    low, high = (math.nan if (end := interval[name]) is None else end for name in ("low", "high"))
    return f"{interval['value']:.2f}", f"{low:.2f} to {high:.2f}"


def beats_naive(results: dict[str, Any]) -> dict[str, bool]:
    """Whether each learned row's whole MAE interval lies below the naive row's value."""
    naive = results["ef"]["naive"]["mae"]["value"]
    found = {name: results["ef"][name].get("mae", {"high": math.inf}) for name in (*METHODS, "discs")}
    return {name: bool(mae["high"] < naive) for name, mae in found.items()}


def load_results(out: Path) -> dict[str, Any]:
    """The numbers of a finished demo."""
    found: dict[str, Any] = json.loads((Path(out) / "demo.json").read_text(encoding="utf-8"))
    return found
