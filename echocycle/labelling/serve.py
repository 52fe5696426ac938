"""The server of `echocycle label`: it begins, says its address, and ends without losing anything."""

import logging
import socket
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import uvicorn

from echocycle.bundle_description import PACKAGED, read_description
from echocycle.errors import EchocycleError
from echocycle.labelling.app import guarded, make_app
from echocycle.labelling.desk import Desk
from echocycle.labelling.looked import require_segmenter
from echocycle.labelling.project import Project
from echocycle.labelling.proposals import Proposals
from echocycle.labelling.security import new_token
from echocycle.progress import track

HOST = "127.0.0.1"
PATIENCE = 3
"""Seconds that requests under way get when the server is told to end."""


def serve(
    folder: Path,
    *,
    port: int = 0,
    reader: str = "",
    model: str | None = None,
    opens: bool = False,
    say: Callable[[str], None] = print,
    tell: Callable[[str], None] = print,
    token: str | None = None,
) -> None:
    """Serve a project until Ctrl-C or SIGTERM.

    Args:
        say: is given the address, once the server listens.
        tell: is given everything else.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise EchocycleError(
                f"Port {port} cannot be used ({error.strerror}). Choose another --port, or 0."
            ) from None
        port = listening.getsockname()[1]
        with track("Reading recordings") as progress:
            desk = Desk(folder, reader, progress)
        with ExitStack() as opening:
            opening.callback(desk.close)
            if model is not None:
                desk.project.use(model_name(desk.project, model))
            if desk.journal.cut:
                tell(f"The journal ended in {desk.journal.cut} bytes that a kill left unfinished; they are cut off.")
            token = token or new_token()
            address = f"http://{HOST}:{port}/?token={token}"
            proposals = opening.enter_context(closing(Proposals(desk)))
            app = guarded(make_app(desk, proposals), token, port)
            listening.listen(128)
            say(address)
            if opens:
                webbrowser.open(address)
            _run(app, listening)
        tell("Stopped. Everything that was done is kept.")


def model_name(project: Project, model: str) -> str:
    """How a model that was named at the start is kept: by its path below the project, elsewhere by its whole path.

    Raises `EchocycleError` where it is none, or can propose nothing.
    """
    if model in PACKAGED:
        return model
    description = read_description(Path(model))
    require_segmenter(description.parts, model)
    path = description.path.resolve()
    return path.relative_to(project.folder).as_posix() if path.is_relative_to(project.folder) else str(path)


def _run(app: object, listening: socket.socket) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=PATIENCE,
        h11_max_incomplete_event_size=64 << 10,
    )
    with suppress(KeyboardInterrupt):  # uvicorn ends in order, then raises the signal again
        uvicorn.Server(config).run(sockets=[listening])
