"""The report on runs as a page: what stands first, then its sections in their order.

An analysis that is to be part of the report is a function from `Material` to a `Section`, and a line in `SECTIONS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from echocycle.errors import EchocycleError
from echocycle.reporting.about_sections import labels_section, settings_section, training_section
from echocycle.reporting.blocks import Page, Section, joined
from echocycle.reporting.ef_sections import (
    Result,
    agreement_section,
    naive_results,
    paired_section,
    results_of,
    runs_section,
    seeds_section,
)
from echocycle.reporting.first_screen import first_screen
from echocycle.reporting.glossary import glossary_section
from echocycle.reporting.mask_sections import dice_section, masks_section, volumes_section
from echocycle.reporting.patient_sections import low_ef_section, patients_section
from echocycle.reporting.run_data import ReportData, RunReport


@dataclass(frozen=True)
class Material:
    """What a section is made from."""

    data: ReportData
    results: Sequence[Result]
    """Of every run, split and protocol; test first."""
    naive: Sequence[tuple[Result, float]]
    """The answer that is always the mean training EF, by split, and that EF in percent."""
    delivered: RunReport | None
    """The run whose model is handed on."""
    headline: Result | None
    """Its first result, which the report begins with."""
    problems: list[str] = field(default_factory=list)
    """What went wrong, in words; shown on the first screen. A section adds what it could not do."""


SECTIONS: tuple[Callable[[Material], Section], ...] = (
    lambda of: patients_section(of.headline),
    lambda of: low_ef_section(of.data, of.headline, of.results),
    lambda of: runs_section(of.data, of.results, of.naive),
    lambda of: seeds_section(of.data, of.results),
    lambda of: paired_section(of.data, of.results, of.problems),
    lambda of: agreement_section(of.results),
    lambda of: volumes_section(of.data, of.results, of.problems),
    lambda of: dice_section(of.data, of.problems),
    lambda of: masks_section(of.data, of.problems),
    lambda of: training_section(of.data, of.problems),
    lambda of: labels_section(of.data),
    lambda of: settings_section(of.data),
    lambda of: glossary_section(),
)


def delivered_run(data: ReportData) -> RunReport | None:
    """The run whose model is handed on: the one that is named, else the last that predicts EF, else the last.

    Raises:
        EchocycleError: the named one is not among the runs.
    """
    if data.delivered:
        found = next((run for run in data.runs if run.name == data.delivered), None)
        if found is None:
            raise EchocycleError(
                f"The delivered run {data.delivered} is not among the runs of the report ("
                f"{joined(run.name for run in data.runs)}). Name it there, too."
            )
        return found
    predicting = [run for run in data.runs if run.predictions is not None]
    candidates = predicting or list(data.runs)
    return candidates[-1] if candidates else None


def report_page(data: ReportData) -> Page:
    """Compute every number and figure of a report.

    Missing parts, and tables that break their rules, are named in the report instead of ending it.
    """
    problems: list[str] = []
    repeated = {run.name for run in data.runs if sum(other.name == run.name for other in data.runs) > 1}
    if repeated:
        problems.append(f"Several runs have one name: {joined(sorted(repeated))}.")
    delivered = delivered_run(data)
    results = results_of(data, problems)
    naive = naive_results(data, results, problems)
    headline = next((result for result in results if result.run is delivered), None)
    material = Material(data, results, naive, delivered, headline, problems)
    sections = [section(material) for section in SECTIONS]
    base = next((other for other, _ in naive if headline is not None and other.split == headline.split), None)
    return Page(data.title, first_screen(data, delivered, headline, base, problems), sections)
