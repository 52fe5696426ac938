"""The report on runs as a page: what stands first, then its sections in their order."""

from collections.abc import Sequence

from echocycle.reporting.about_sections import facts, labels_section, settings_section, training_section
from echocycle.reporting.blocks import (
    Beware,
    Block,
    Code,
    Facts,
    Page,
    Tile,
    Tiles,
    Words,
    count,
    interval_cell,
    joined,
)
from echocycle.reporting.ef_sections import (
    Result,
    agreement_section,
    naive_results,
    paired_section,
    places_of,
    results_of,
    runs_section,
    seeds_section,
)
from echocycle.reporting.mask_sections import dice_section, masks_section, volumes_section
from echocycle.reporting.run_data import NOT_RECORDED, ReportData


def _tiles(data: ReportData, results: Sequence[Result], naive: Sequence[tuple[Result, float]]) -> list[Tile]:
    tiles = []
    if results:
        place = places_of(results)[0]
        here = [result for result in results if result.where == place]
        best = min(here, key=lambda result: result.intervals["mae"].value)
        cell = interval_cell(best.intervals["mae"])
        label = "Lowest MAE" if len(here) > 1 else "MAE"
        tiles.append(Tile(label, cell.text, f"{cell.small}\n{best.run.name}"))
        share = interval_cell(best.intervals["r2"], 1, 100)
        tiles.append(Tile("R² of that run", f"{share.text} %", share.small))
        base = next((other for other, _ in naive if other.split == place[0]), None)
        if base is not None:
            cell = interval_cell(base.intervals["mae"])
            tiles.append(Tile("MAE without looking", cell.text, "always the mean training EF"))
        tiles.append(Tile("Videos", count(len(best.videos)), f"split {place[0]}, {place[1]}"))
    budgets = sorted({run.labels.labelled for run in data.runs if run.labels})
    if budgets:
        span = count(budgets[0]) if len(budgets) == 1 else f"{count(budgets[0])}–{count(budgets[-1])}"
        tiles.append(Tile("Labelled videos", span, f"{count(len(data.runs))} runs"))
    return tiles


def report_page(data: ReportData) -> Page:
    """Compute every number and figure of a report.

    Missing parts, and tables that break their rules, are named in the report instead of ending it.
    """
    problems: list[str] = []
    repeated = {run.name for run in data.runs if sum(other.name == run.name for other in data.runs) > 1}
    if repeated:
        problems.append(f"Several runs have one name: {joined(sorted(repeated))}.")
    results = results_of(data, problems)
    naive = naive_results(data, results, problems)
    sections = [
        labels_section(data),
        runs_section(data, results, naive),
        seeds_section(results),
        paired_section(data, results, problems),
        agreement_section(results),
        volumes_section(data, results, problems),
        dice_section(data, problems),
        masks_section(data, problems),
        training_section(data, problems),
        settings_section(data),
    ]
    lead: list[Block] = [Tiles(_tiles(data, results, naive))] if data.runs else []
    if warnings := [*data.warnings, *problems]:
        lead.append(Beware("Warnings", warnings))
    about: list[tuple[str, Words]] = [("Date", data.date or NOT_RECORDED)]
    about += [(label, (Code(value),) if label == "Command" else value) for label, value in facts(data.provenance)]
    return Page(data.title, [*lead, Facts(about)], sections)
