"""Stage `phantom` as a person sees it: with a bar, and a word at its end."""

from pathlib import Path

from echocycle.console import console
from echocycle.phantom.settings import PhantomSettings
from echocycle.phantom.write import write_phantom
from echocycle.progress import track


def draw_phantom(out: Path, settings: PhantomSettings, *, workers: int) -> None:
    """`write_phantom`, said."""
    with track("Drawing clips") as progress:
        write_phantom(out, settings, workers=workers, progress=progress)
    console.print(f"Phantom written to {out}.")
