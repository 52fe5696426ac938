"""Stage `report`: read run folders, write the page. Every number is made from the tables, none from a model."""

import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.evaluation.analyses.cost import Cost, cost_of
from echocycle.evaluation.analyses.stored import analyses_of
from echocycle.evaluation.calibrate import read_intervals
from echocycle.evaluation.candidates import Choice
from echocycle.evaluation.naive import training_ef
from echocycle.evaluation.tables import read_dice, read_predictions, read_volumes
from echocycle.files import read_json, write_text
from echocycle.reporting.files import write_files
from echocycle.reporting.html import write_html
from echocycle.reporting.markdown import write_markdown
from echocycle.reporting.pdf import write_pdf
from echocycle.reporting.run_data import External, LabelCounts, Overlays, Provenance, ReportData, RunReport
from echocycle.reporting.sections import delivered_run, report_page
from echocycle.runs import Run, versions

PUBLIC_RELEASES = ("older", "newer")
"""Forms of EchoNet-Dynamic's folder, as `prepare` notes them."""


def write_report(
    runs: list[Path],
    out: Path,
    title: str = "",
    *,
    delivered: Path | None = None,
    overlays: Path | None = None,
    choice: Choice | None = None,
) -> Path:
    """Write the HTML page, its Markdown twin, the same as PDF, and a folder with its tables and figures beside it.

    Args:
        runs: run folders, in the order to show.
        out: the page; the folder is called as it with the ending `.files`.
        title: by default it names the delivered run.
        delivered: the run whose model is handed on, one of `runs`; by default the last one that predicts EF.
        overlays: a folder in which `predict` left films of these videos.
        choice: how the delivered run was chosen among candidates, where it was.

    Returns:
        The page's path.
    """
    if not runs:
        raise EchocycleError("Name at least one run to report on.")
    data = collect(runs, title, delivered=delivered, overlays=overlays, choice=choice, seen_from=out.parent)
    page = write_files(report_page(data), out.with_suffix(".files"), seen_from=out.parent)
    write_text(out, write_html(page))
    write_text(out.with_suffix(".md"), write_markdown(page))
    try:
        write_pdf(page, out.with_suffix(".pdf"))
    except EchocycleError as error:  # the page itself is there, and a machine without pango can do without the PDF
        console.print(str(error), style="yellow", soft_wrap=True)
    return out


def collect(
    runs: list[Path],
    title: str = "",
    *,
    delivered: Path | None = None,
    overlays: Path | None = None,
    choice: Choice | None = None,
    seen_from: Path = Path(),
) -> ReportData:
    """What the folders of runs hold, as the report takes it; arguments as in `write_report`."""
    reports = [read_run(path, overlays, seen_from) for path in runs]
    infos = [Run(path).info for path in runs]
    stores = {info["data"]["id"] for info in infos}
    warnings = []
    if len(stores) > 1:
        warnings.append("The runs come from different stores; their numbers must not be compared.")
    for path, info in zip(runs, infos, strict=True):
        if not (path / "evaluation" / "metrics.json").exists():
            warnings.append(f"{path.name} is not evaluated; run `echocycle evaluate {path}`.")
        if info["reads_unlabelled_annotation"]:
            warnings.append(
                f"{path.name} read annotation of videos that it calls unlabelled, as the public code does; its "
                f"true label count is {info['budget']['labels_used_in_all']}."
            )
    phantoms = {info["data"]["phantom_version"] for info in infos}
    if phantoms != {None}:
        warnings.append("The videos are synthetic (phantom): the numbers say nothing about patients.")
    now = versions()
    chosen = "" if delivered is None else delivered.resolve().name
    data = ReportData(title, reports, delivered=chosen, choice=choice)
    handed_on = delivered_run(data)
    return replace(
        data,
        title=title or f"EF from echocardiogram video: {handed_on.name if handed_on else 'no run'}",
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
        public_names=any(_is_public(info) for info in infos),
        echonet=phantoms == {None} and all(_is_public(info) for info in infos),
    )


def _is_public(info: dict[str, Any]) -> bool:
    """Whether a run's data are EchoNet-Dynamic's, or a phantom in its form: then numbers of papers stand beside them.

    The store knows; where it is gone, they are taken for somebody's own.
    """
    store = Path(info["where"].get("store", "")) / "store.json"
    meta = read_json(store) if store.is_file() else {}
    return meta.get("id") == info["data"]["id"] and meta.get("release") in PUBLIC_RELEASES


def read_run(path: Path, overlays: Path | None = None, seen_from: Path = Path()) -> RunReport:
    """One run's folder; what is not there is left out, and the page says so."""
    info = Run(path).info
    folder = path / "evaluation"
    predictions, dice, volumes = (
        reader(folder / f"{name}.csv") if (folder / f"{name}.csv").exists() else None
        for name, reader in (("predictions", read_predictions), ("dice", read_dice), ("volumes", read_volumes))
    )
    sheet_of_masks = None
    if (folder / "overlays.npz").exists():
        with np.load(folder / "overlays.npz") as sheet:
            sheet_of_masks = Overlays(sheet["frames"], sheet["true"], sheet["predicted"], sheet["names"].tolist())
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    made = info["made_with"]
    budget = info["budget"]
    role, option = _lineage(path, info)
    return RunReport(
        name=path.resolve().name,
        method=info["settings"]["method"],
        seed=info["settings"]["loop"]["seed"],
        stage=info["stage"],
        labels=LabelCounts(
            budget["labelled"],
            budget["unlabelled"],
            budget["validation"],
            info["reads_unlabelled_annotation"],
            f"{budget['labels_used_in_all']} labelled videos in all, helpers (masks, teacher) included"
            + (f"; {budget['calibration']} of them only calibrate intervals" if budget.get("calibration") else ""),
        ),
        settings=info["settings"],
        predictions=predictions,
        dice=dice,
        volumes=volumes,
        intervals=read_intervals(folder),
        losses=path / "losses.csv" if (path / "losses.csv").exists() else None,
        overlays=sheet_of_masks,
        overlay_files=_films(overlays, seen_from),
        evaluated=metrics.get("job", {}).get("settings", {}),
        not_measured=_not_measured(metrics),
        provenance=Provenance(
            software=f"echocycle {made['versions']['echocycle']}",
            torch=made["versions"]["torch"],
            phantom=_phantom(info["data"]["phantom_version"]),
            data=f"{info['data']['source']} ({info['data']['id']})",
            command=made["command"],
            machine=made["machine"],
        ),
        analyses=analyses_of(path / "analyses"),
        externals=_externals(path),
        labels_used_in_all=budget["labels_used_in_all"],
        role=role,
        segmenter_option=option,
        cost=_cost(path) if info["stage"] == "regress" else None,
    )


def _externals(path: Path) -> dict[str, External]:
    """What a run left of other stores: `external-ID/predictions.csv` and `external-ID/analyses`."""
    found = {}
    for folder in sorted(path.glob("external-*")):
        table = folder / "predictions.csv"
        metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
        predictions = read_predictions(table) if table.exists() and metrics else None
        settings = metrics.get("job", {}).get("settings", {})
        found[folder.name.removeprefix("external-")] = External(predictions, settings, analyses_of(folder / "analyses"))
    return found


def _lineage(path: Path, info: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A run's method with that of the segmenter that it learnt from, as its helpers beside it tell; and its options."""
    method = info["settings"]["method"]
    if info["stage"] == "segment":
        return method, info["settings"].get("option", {})
    for name in info.get("helpers", {}):
        beside = path.resolve().parent / name
        if (beside / "run.json").exists() and (helper := Run(beside).info)["stage"] == "segment":
            return f"{method}/{helper['settings']['method']}", helper["settings"].get("option", {})
    return method, {}


def _cost(path: Path) -> Cost | None:
    """What an answer costs; None where the model is not there."""
    try:
        return cost_of(path)
    except EchocycleError:
        return None


def _films(folder: Path | None, seen_from: Path) -> dict[str, str]:
    """Overlay videos that `predict` wrote, by the name of the recording with and without its suffix."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise EchocycleError(f"{folder} is not a folder; name the one that `echocycle predict -o` wrote.")
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.overlay.mp4")):
        name = file.name.removesuffix(".overlay.mp4")
        address = quote(Path(os.path.relpath(file.resolve(), seen_from.resolve())).as_posix())
        found |= {name: address, Path(name).stem: address}
    return found


def _not_measured(metrics: dict[str, Any]) -> dict[str, int]:
    """By split, the videos that the first protocol gave no answer for."""
    return {
        split: int(next(iter(protocols.values())).get("not_measured", 0))
        for split, protocols in metrics.get("ef", {}).items()
    }


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
