"""The demo's numbers and its one table."""

import json
import math
from pathlib import Path
from typing import Any

from rich.table import Table

from echocycle.evaluation.intervals import paired_difference
from echocycle.evaluation.summaries import interval_dict
from echocycle.evaluation.tables import per_video, read_predictions
from echocycle.files import read_json, write_json
from echocycle.settings.convert import to_dict
from echocycle.settings.presets import Preset

METHODS = {"supervised": "video only", "teacher": "teacher f_m (video and masks)", "student": "student f_e (video)"}


def collect_results(runs: Path) -> dict[str, Any]:
    """The demo's numbers, from the tables that `evaluate` left."""

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
    ready = results.get("real_clip_ef_of_zero")  # earlier demos did not ask it
    if ready is not None:
        table.add_row("the same by zero, the model in the package", f"{ready:.1f} %", "no meaning either")
    return table


def _cells(interval: dict[str, float | None]) -> tuple[str, str]:
    low, high = (math.nan if (end := interval[name]) is None else end for name in ("low", "high"))
    return f"{interval['value']:.2f}", f"{low:.2f} to {high:.2f}"


def beats_naive(results: dict[str, Any]) -> dict[str, bool]:
    """Whether each learned row's whole MAE interval lies below the naive row's value."""
    naive = results["ef"]["naive"]["mae"]["value"]
    found = {name: results["ef"][name].get("mae", {"high": math.inf}) for name in (*METHODS, "discs")}
    return {name: bool(mae["high"] < naive) for name, mae in found.items()}


def write_results(out: Path, runs: Path, chosen: Preset, facts: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a demo's runs and what else is known of it, which are also written to `demo.json`."""
    settings = {"segment": to_dict(chosen.segment), "regress": to_dict(chosen.regression("student"))}
    results = {**collect_results(runs), **facts, "preset": settings}
    write_json(out / "demo.json", results)
    return results


def load_results(out: Path) -> dict[str, Any]:
    """The numbers of a finished demo."""
    found: dict[str, Any] = json.loads((Path(out) / "demo.json").read_text(encoding="utf-8"))
    return found
