"""The store that an experiment works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echocycle import stages
from echocycle.experiments.estimate import check_disk
from echocycle.locks import alone_in
from echocycle.settings.convert import from_dict
from echocycle.settings.presets import Preset

if TYPE_CHECKING:
    from echocycle.data.store import Store

PHANTOM_BYTES_PER_FRAME = 22_000
"""Of a phantom's videos and its frame store at 112 x 112 pixels: 19,700 were measured, and a little room."""


def open_store(store: Path | None, chosen: Preset, out: Path, workers: int = 2) -> Store:
    """The store named, or that of the preset's phantom, which is made in `out` first."""
    from echocycle.data.store import Store

    if store is not None:
        return Store(store)
    from echocycle.phantom.settings import PhantomSettings

    out.mkdir(parents=True, exist_ok=True)
    if not (out / "store").exists():
        check_disk(PHANTOM_BYTES_PER_FRAME * frames_of(chosen), out)
    stages.phantom(out / "phantom", from_dict(PhantomSettings, chosen.phantom, "phantom."), workers=workers)
    return stages.prepare(out / "phantom", out / "store", replace(chosen.prepare, workers=workers))


def frames_of(chosen: Preset) -> int:
    """About how many frames the preset's phantom has."""
    from echocycle.phantom.settings import PhantomSettings

    settings = from_dict(PhantomSettings, chosen.phantom, "phantom.")
    return settings.videos * settings.frames_median


@contextmanager
def alone_with(store: Path) -> Iterator[None]:
    """No other experiment may work on this store meanwhile: each deletes mask sets that none of its own jobs needs."""
    said = "Another experiment is at work on {folder}: {writer}. Wait until it is done; what both share is then not "
    with alone_in(store, said + "done again."):
        yield
