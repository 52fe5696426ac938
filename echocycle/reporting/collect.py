"""Stage `report`: read run folders, write the page. Every number is made from the tables, none from a model."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from echocycle.errors import EchocycleError
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import read_dice, read_predictions, read_volumes
from echocycle.files import write_text
from echocycle.reporting.html import write_html
from echocycle.reporting.markdown import write_markdown
from echocycle.reporting.run_data import LabelBudget, Overlays, Provenance, ReportData, RunReport
from echocycle.reporting.sections import report_page
from echocycle.runs import Run, versions


def write_report(runs: list[Path], out: Path, title: str) -> Path:
    """Write the HTML page, its Markdown twin, and a folder with its tables and figures; gives the page's path."""
    page = report_page(collect(runs, title))
    write_text(out, write_html(page))
    write_text(out.with_suffix(".md"), write_markdown(page))
    return out


def collect(runs: list[Path], title: str) -> ReportData:
    """What the folders of runs hold, as the report takes it."""
    reports = [read_run(path) for path in runs]
    infos = [Run(path).info for path in runs]
    stores = {info["data"]["id"] for info in infos}
    warnings = []
    if len(stores) > 1:
        warnings.append("The runs come from different stores; their numbers must not be compared.")
    for path, info in zip(runs, infos, strict=True):
        if not (path / "evaluation" / "metrics.json").exists():
            warnings.append(f"{path} is not evaluated; run `echocycle evaluate {path}`.")
        if info["reads_unlabelled_annotation"]:
            warnings.append(
                f"{path.name} read annotation of videos that it calls unlabelled, as the public code does; its "
                f"true label count is {info['budget']['labels_used_in_all']}."
            )
    phantoms = {info["data"]["phantom_version"] for info in infos}
    if phantoms != {None}:
        warnings.append("The videos are synthetic (phantom); the numbers say nothing about patients.")
    now = versions()
    return ReportData(
        title=title,
        runs=reports,
        date=date.today().isoformat(),
        provenance=Provenance(
            software=f"echocycle {now['versions']['echocycle']}",
            torch=now["versions"]["torch"],
            phantom=", ".join(_phantom(version) for version in sorted(phantoms, key=str)),
            data=", ".join(sorted({f"{info['data']['source']} ({info['data']['id']})" for info in infos})),
            command=now["command"],
            machine=now["machine"],
        ),
        train_ef=_training_ef(runs, infos, warnings),
        reference=next((r.method for r in reports if r.stage == "regress" and r.method == "supervised"), None),
        warnings=warnings,
    )


def read_run(path: Path) -> RunReport:
    """One run's folder; what is not there is left out, and the page says so."""
    info = Run(path).info
    folder = path / "evaluation"
    predictions, dice, volumes = (
        reader(folder / f"{name}.csv") if (folder / f"{name}.csv").exists() else None
        for name, reader in (("predictions", read_predictions), ("dice", read_dice), ("volumes", read_volumes))
    )
    overlays = None
    if (folder / "overlays.npz").exists():
        with np.load(folder / "overlays.npz") as sheet:
            overlays = Overlays(sheet["frames"], sheet["true"], sheet["predicted"], sheet["names"].tolist())
    made = info["made_with"]
    budget = info["budget"]
    return RunReport(
        name=path.resolve().name,
        method=info["settings"]["method"],
        seed=info["settings"]["loop"]["seed"],
        stage=info["stage"],
        labels=LabelBudget(
            budget["labelled"],
            budget["unlabelled"],
            budget["validation"],
            info["reads_unlabelled_annotation"],
            f"{budget['labels_used_in_all']} labelled videos in all, helpers (masks, teacher) included",
        ),
        settings=info["settings"],
        predictions=predictions,
        dice=dice,
        volumes=volumes,
        losses=path / "losses.csv" if (path / "losses.csv").exists() else None,
        overlays=overlays,
        provenance=Provenance(
            software=f"echocycle {made['versions']['echocycle']}",
            torch=made["versions"]["torch"],
            phantom=_phantom(info["data"]["phantom_version"]),
            data=f"{info['data']['source']} ({info['data']['id']})",
            command=made["command"],
            machine=made["machine"],
        ),
    )


def _phantom(version: int | None) -> str:
    return "real data" if version is None else f"version {version}"


def _training_ef(runs: list[Path], infos: list[dict[str, Any]], warnings: list[str]) -> np.ndarray | None:
    """EF of the labelled training videos of the first regression run, for the naive baseline."""
    first = next((path for path, info in zip(runs, infos, strict=True) if info["stage"] == "regress"), None)
    try:
        return None if first is None else training_ef(first)
    except EchocycleError as error:
        warnings.append(f"There is no naive baseline. {error}")
        return None
