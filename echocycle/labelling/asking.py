"""`suggest` without a page: every video is looked at here and now, then ranked."""

from contextlib import closing
from pathlib import Path
from typing import Any

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.files import printable
from echocycle.labelling.desk import Desk
from echocycle.labelling.proposals import Proposals, model_name
from echocycle.labelling.ranking import Ranking
from echocycle.labelling.worker import Looker
from echocycle.progress import track


def suggestions(folder: Path, count: int, model: str | None = None) -> list[dict[str, Any]]:
    """The first suggestions of a project, as the page takes them; what the model finds is kept in the cache.

    A video that cannot be read is a line, and the others go on.
    """
    with track("Reading recordings") as progress:
        desk = Desk(folder, progress=progress)
    with closing(desk):
        chosen = None if model is None else model_name(desk.project, model)
        proposals = Proposals(desk, model=chosen, works=False)
        waiting = [video for video in desk.project.videos.values() if video.id not in proposals.done]
        look = Looker(desk.project.model_path(proposals.model))
        with track("Looking") as progress:
            for number, video in enumerate(waiting, 1):
                try:
                    look(video.id, video.path, proposals.folder)
                    proposals.done.add(video.id)
                except EchocycleError as error:
                    console.print(printable(str(error)), style="red", soft_wrap=True, highlight=False)
                progress(number, len(waiting))
        return Ranking(desk, proposals, works=False).now(count)
