"""The commands of a project: `label` opens its page, `suggest` and `relink` work without it."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from echocycle.console import console, output
from echocycle.errors import EchocycleError, Finding
from echocycle.files import printable
from echocycle.progress import track
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


def suggest(
    folder: Path,
    *,
    count: int = 10,
    model: Annotated[str | None, Model] = None,
    json: bool = False,
) -> None:
    """The videos of a project whose labels would teach a model most, with the reasons.

    Args:
        folder: The project, or any folder of recordings.
        count: How many.
        model: The model that is asked how sure it is; by default the project's, at first `zero`.
        json: Print them as JSON, and nothing else, to standard output.
    """
    from echocycle.labelling.asking import suggestions

    if count < 1:
        raise EchocycleError(f"--count is {count}; it must be above 0.")
    found = suggestions(Path(folder), count, model)
    if json:
        output.print_json(data=found)
        return
    for place, each in enumerate(found, 1):
        output.print(f"{place:3}  {each['name']}  ({each['score']:.2f})")
        output.print(f"     {'; '.join(each['reasons'])}.", highlight=False)


def relink(folder: Path, *places: Path) -> None:
    """Find the recordings of a project again that were moved or renamed, by their content.

    Args:
        folder: The project.
        places: Files and folders in which they may lie now.

    Raises:
        Finding: some are still missing.
    """
    from echocycle.labelling.relinked import find_again

    with track("Reading recordings") as progress:
        found = find_again(Path(folder), [Path(place) for place in places], progress)
    for video, path in found.found.items():
        console.print(f"{video}: {printable(path)}", soft_wrap=True, highlight=False)
    if not found.found and not found.missing:
        console.print("No labelled recording is missing.")
    if found.missing:
        names = ", ".join(file or video for video, file in list(found.missing.items())[:5])
        raise Finding(
            f"{len(found.missing)} labelled recordings are still missing ({names}); their labels are kept. Name the "
            "folders in which they may lie: echocycle relink FOLDER PLACE"
        )
