"""Stages `check` and `prepare` as a person sees them: with a bar, and a word on what was found."""

import os
from pathlib import Path
from typing import Any

from echocycle.console import console, output
from echocycle.data.store import Store, mask_names
from echocycle.datasets.check import examine
from echocycle.datasets.croissant import NAME as CROISSANT
from echocycle.datasets.croissant import UNKNOWN, write_croissant
from echocycle.datasets.findings import finding_of, finding_text
from echocycle.datasets.open import layout_of, open_source
from echocycle.datasets.prepare import prepare_store
from echocycle.errors import Finding
from echocycle.files import read_json
from echocycle.progress import track
from echocycle.settings.stages import PrepareSettings


def check_folder(path: Path, settings: PrepareSettings, *, decode: bool, json: bool) -> dict[str, Any]:
    """What is in a folder of videos and what is wrong with it, said and given; `Finding` where it has errors."""
    source = open_source(path, settings)
    if not json:
        console.print(source.page)
    with track("Reading videos") as progress:
        found = examine(layout_of(path), source, settings, decode=decode, progress=progress)
    report = found.plain()
    if json:
        output.print_json(data=report)
    else:
        for line in found.lines():
            console.print(line)
    if found.errors:
        kinds = ", ".join(dict.fromkeys(finding.kind for finding in found.errors))
        raise Finding(f"{path}: errors were found; see above: {kinds}. `prepare` leaves rows with errors out.")
    return report


def check_store(path: Path, *, decode: bool, json: bool) -> dict[str, Any]:
    """Whether a store and its mask sets are whole: index, counts and sizes; with `decode` every byte too."""
    store = Store(path)
    names = mask_names(path)
    for name in names:
        store.masks(name)
    verified: dict[str, bool] = {}
    if decode:
        verified = {"frames": store.verify_frames(), **{name: store.masks(name).verify() for name in names}}
    report = {**store.provenance(), "masks": names, "verified": verified}
    if json:
        output.print_json(data=report)
        return report
    masks = f", masks {', '.join(names)}" if names else ""
    console.print(f"{path} is whole: {len(store)} videos, {store.meta['frames']} frames{masks}.", soft_wrap=True)
    for name, known in verified.items():
        said = "every byte is as it was written" if known else "cannot be compared: an earlier version made it"
        console.print(f"  {name}: {said}.", soft_wrap=True)
    return report


def prepare_folder(path: Path, store: Path, settings: PrepareSettings) -> Store:
    """The frame store of a folder; what was found in it is said."""
    with track("Reading videos") as progress:
        made = prepare_store(path, store, settings, progress=progress)
    written = (made.path / CROISSANT).exists()
    if settings.license != UNKNOWN or (not written and os.access(made.path, os.W_OK)):
        write_croissant(made.path, settings.license)
    findings = read_json(made.path / "report.json")["findings"]
    for finding in findings:
        if finding["level"] != "note" or finding["kind"] == "splits-assigned":
            console.print(finding_text(finding_of(finding)))
    console.print(f"{len(made)} videos, {made.meta['frames']} frames in {store}.")
    return made
