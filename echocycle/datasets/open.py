"""Which layout a folder has, and its reader: `DATASETS` is the only list of layouts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from echocycle.datasets.at_rate import AtRate
from echocycle.datasets.camus import is_camus
from echocycle.datasets.camus_source import camus_source
from echocycle.datasets.source import Source
from echocycle.datasets.sources import echonet_source, videos_source
from echocycle.datasets.videos import is_videos
from echocycle.settings.stages import PrepareSettings


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies in a folder."""

    title: str
    """What it is called in messages."""
    recognises: Callable[[Path], bool]
    """Whether a folder looks like this layout; opens no picture."""
    read: Callable[[Path, PrepareSettings], Source]
    """Reads the lists of a folder; a folder that cannot be read is an `EchocycleError` with advice."""


DATASETS: dict[str, Layout] = {
    "camus": Layout("CAMUS", is_camus, camus_source),
    "videos": Layout("a folder of recordings", is_videos, videos_source),
    # last: its reader is the one that says which folder to give where nothing is recognised
    "echonet": Layout("EchoNet-Dynamic", lambda _: True, echonet_source),
}
"""Layout -> its reader, in the order in which they are tried."""


def layout_of(root: Path) -> str:
    """The name of the first layout in `DATASETS` that recognises a folder."""
    return next(name for name, layout in DATASETS.items() if layout.recognises(root))


def open_source(root: Path, settings: PrepareSettings) -> Source:
    """What a folder holds, read by the reader of its layout."""
    root = Path(root)
    source = DATASETS[layout_of(root)].read(root, settings)
    return replace(source, decode=AtRate(source.decode)) if settings.time == "seconds" else source
