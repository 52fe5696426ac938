"""`check`: what a folder holds and what is wrong with it, before hours are spent. Writes nothing and needs no model."""

from collections.abc import Callable

from echocycle.datasets.findings import Finding, merge_findings
from echocycle.datasets.source import Source
from echocycle.settings.stages import PrepareSettings
from echocycle.workers import in_order


def decode_findings(
    source: Source, settings: PrepareSettings, *, progress: Callable[[int, int], None] | None = None
) -> list[Finding]:
    """What reading every video of a folder would report, without keeping a frame."""
    found: list[Finding] = []
    workers = settings.workers if len(source.records) > 3 else 0
    jobs = ((record, settings) for record in source.records)
    for number, decoded in enumerate(in_order(source.decode, jobs, workers), 1):
        found += decoded.findings
        if progress:
            progress(number, len(source.records))
    return merge_findings(found)
