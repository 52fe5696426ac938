"""The commands of a project: `label` opens its page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from echocycle.console import console, output
from echocycle.errors import EchocycleError
from echocycle.settings.flags import Model


def label(
    folder: Path,
    *,
    port: int = 0,
    reader: str = "",
    model: Annotated[str | None, Model] = None,
    open_: Annotated[bool, Parameter(name="--open", negative="--no-open")] = True,
) -> None:
    """Label recordings in the browser: trace, train, compare, and see which videos teach most.

    The page is served on this machine only, and every action is on disk before it is answered. Ctrl-C ends it.

    Args:
        folder: The project: a folder of recordings, to which labels, runs and results are added.
        port: Where to serve the page; 0 takes a port that is free.
        reader: Who traces; each reader's tracings are kept apart.
        model: The model that proposes contours: a bundle, a run, or `zero`, which comes with the package. By default
            the one that was taken last.
        open_: Open the page in the browser.
    """
    from echocycle.labelling.serve import serve

    if not 0 <= port < 65536:
        raise EchocycleError(f"--port is {port}; it is 0 for a free one, or at most 65535.")
    serve(Path(folder), port=port, reader=reader, model=model, opens=open_, say=output.print, tell=console.print)
