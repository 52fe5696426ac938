"""Videos of two sources in one folder: pictures that were cut and scaled before, and a scanner's own."""

from collections.abc import Iterable

from echocycle.data.store import SIZE
from echocycle.datasets.findings import Finding

CUT_HERE = "resized"
"""Kind of the finding of a video whose sector was cut out here."""


def mixed_sources(videos: Iterable[tuple[str, Iterable[Finding]]]) -> Finding | None:
    """An error if some videos were taken as they are and others were cut here, each with its findings; else None.

    The two are scaled, cleaned and compressed in different ways, which a network can learn in place of the heart.
    """
    kept: list[str] = []
    cut = 0
    for name, findings in videos:
        if any(finding.kind == CUT_HERE for finding in findings):
            cut += 1
        else:
            kept.append(name)
    if not kept or not cut:
        return None
    text = (
        f"{len(kept)} videos came as {SIZE}x{SIZE} pixels and are taken as they are, {cut} are cut out of a scanner's "
        "picture: two sources, each with a normalisation of its own. Put each into a folder of its own, or mix them "
        "knowingly with --allow-mixed (`train`: --set prepare.allow_mixed=true)."
    )
    return Finding("error", "mixed-sources", tuple(kept), text)
