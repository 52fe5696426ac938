"""The report on runs as a page: what stands first, then its sections in their order.

An analysis that is to be part of the report is a function from `Material` to a `Section`, and a line in `SECTIONS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from echocycle.errors import EchocycleError
from echocycle.reporting.about_sections import labels_section, settings_section, training_section
from echocycle.reporting.analysis_sections import (
    attention_section,
    cyclicity_section,
    matching_section,
    similarity_section,
)
from echocycle.reporting.blocks import Block, Code, Items, Page, Section, Text, joined
from echocycle.reporting.claims_section import claims_section
from echocycle.reporting.ef_sections import (
    Result,
    agreement_section,
    candidates_section,
    naive_results,
    paired_section,
    results_of,
    runs_section,
    seeds_section,
)
from echocycle.reporting.first_screen import first_screen
from echocycle.reporting.glossary import glossary_section
from echocycle.reporting.group_sections import bands_section, external_section, rhythm_section
from echocycle.reporting.mask_sections import dice_section, masks_section, volumes_section
from echocycle.reporting.patient_sections import low_ef_section, patients_section
from echocycle.reporting.run_data import ReportData, RunReport
from echocycle.reporting.store_sections import contours_section, data_section, labels_cost_section


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


SECTIONS: tuple[Callable[[Material], Section | None], ...] = (
    lambda of: candidates_section(of.data, of.results),
    lambda of: patients_section(of.headline),
    lambda of: low_ef_section(of.data, of.headline, of.results),
    lambda of: bands_section(of.data, of.results),
    lambda of: runs_section(of.data, of.results, of.naive),
    lambda of: seeds_section(of.data, of.results),
    lambda of: paired_section(of.data, of.results, of.problems),
    lambda of: agreement_section(of.results),
    lambda of: rhythm_section(of.data, of.results, of.problems),
    lambda of: external_section(of.data, of.problems),
    lambda of: labels_cost_section(of.data, of.results, of.problems),
    lambda of: attention_section(of.data, of.problems),
    lambda of: volumes_section(of.data, of.results, of.problems),
    lambda of: dice_section(of.data, of.problems),
    lambda of: masks_section(of.data, of.problems),
    lambda of: contours_section(of.data, of.problems),
    lambda of: cyclicity_section(of.data, of.problems),
    lambda of: similarity_section(of.data, of.problems),
    lambda of: matching_section(of.data, of.problems),
    lambda of: data_section(of.data, of.problems),
    lambda of: claims_section(of.data, of.results, of.problems),
    lambda of: training_section(of.data, of.problems),
    lambda of: labels_section(of.data),
    lambda of: settings_section(of.data),
    lambda of: further_section(of.data),
    lambda of: glossary_section(),
)


FURTHER = {
    "attention": ("regress", "where the network looks"),
    "features": ("segment", "whether its features go in circles, how alike frames are, how phases are matched"),
    "masks": ("segment", "its masks on frames that nobody traced"),
    "data": ("", "what the data are"),
}
"""Analyses that need the model or every frame: the stage that they are of, and what they show."""


def further_section(data: ReportData) -> Section | None:
    """What else can be looked at, and by which command."""
    items = []
    for name, (stage, words) in FURTHER.items():
        lacking = [run.name for run in data.runs if run.stage in (stage, "") or not stage]
        if lacking and not any(name in run.analyses for run in data.runs):
            items.append((f"{words}: ", Code(f"echocycle analyse {lacking[-1]} --what {name}")))
    if not any(run.externals for run in data.runs):
        items.append(("another hospital: ", Code("echocycle evaluate RUN --external STORE")))
    if not items or not data.runs:
        return None
    blocks: list[Block] = [
        Text(("These were not made for the runs of this page; afterwards ", Code("report"), " shows them."))
    ]
    return Section("What else can be looked at", [*blocks, Items(items)])


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
    sections = [made for section in SECTIONS if (made := section(material)) is not None]
    base = next((other for other, _ in naive if headline is not None and other.split == headline.split), None)
    return Page(data.title, first_screen(data, delivered, headline, base, problems), sections)
