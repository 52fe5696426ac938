"""The server of `echocycle label`: it begins, says its address, and ends without losing anything."""

import logging
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import uvicorn

from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.labelling.app import Parts, guarded, make_app
from echocycle.labelling.desk import Desk
from echocycle.labelling.keeper import Keeper
from echocycle.labelling.proposals import Proposals, model_name
from echocycle.labelling.ranking import Ranking
from echocycle.labelling.review import Reviews
from echocycle.labelling.security import new_token
from echocycle.labelling.trainings import Trainings
from echocycle.progress import track

HOST = "127.0.0.1"
PORT = Path("cache", "port.txt")
"""Where a project keeps the port that it had last."""
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
    proposes: bool = True,
) -> None:
    """Serve a project until Ctrl-C or SIGTERM.

    Args:
        say: is given the address, once the server listens.
        tell: is given everything else.
        proposes: whether the model looks at videos in the background.
    """
    with _ended_by_sigterm(), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        port = _bind(listening, port, Path(folder) / PORT)
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
            app = guarded(make_app(opened(desk, opening, tell, proposes)), token, port)
            listening.listen(128)
            with suppress(OSError):  # next time another address; nothing else is lost
                write_text(desk.project.folder / PORT, f"{port}\n")
            with suppress(KeyboardInterrupt):  # uvicorn ends in order, then raises the signal again
                say(address)
                if opens:
                    webbrowser.open(address)
                _run(app, listening)
        tell("Stopped. Everything that was done is kept.")


def opened(desk: Desk, opening: ExitStack, tell: Callable[[str], None], proposes: bool = True) -> Parts:
    """All that works on a desk; `opening` ends it."""
    proposals = opening.enter_context(closing(Proposals(desk, works=proposes)))
    trainings = opening.enter_context(closing(Trainings(desk, proposals)))
    opening.enter_context(closing(Keeper(desk, tell)))
    ranking = opening.enter_context(closing(Ranking(desk, proposals)))
    return Parts(desk, proposals, ranking, trainings, Reviews(desk))


def _bind(listening: socket.socket, port: int, last: Path) -> int:
    """Take a port; where any will do, that of the last time if it is free.

    What a browser could not send yet, it keeps for one address only: a server that comes back must have the same.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port == 0:
        with suppress(OSError, ValueError, OverflowError):
            listening.bind((HOST, int(last.read_text(encoding="utf-8"))))
            return int(listening.getsockname()[1])
    try:
        listening.bind((HOST, port))
    except OSError as error:
        raise EchocycleError(f"Port {port} cannot be used ({error.strerror}). Choose another --port, or 0.") from None
    return int(listening.getsockname()[1])


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
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends a server as Ctrl-C does: by itself it would end the process before anything is put away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
