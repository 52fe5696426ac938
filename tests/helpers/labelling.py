"""What the tests of `label` share: small projects, contours of the phantom's truth, an open project without processes."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn

from echocycle.data.store import Store
from echocycle.labelling.app import Parts, guarded, make_app
from echocycle.labelling.curve import Contour, contour_of_mask
from echocycle.labelling.desk import Desk
from echocycle.labelling.proposals import Proposals
from echocycle.labelling.ranking import Ranking
from echocycle.labelling.review import Reviews
from echocycle.labelling.trainings import Trainings

TOKEN = "a-token-of-the-tests"


def oval(frame: int = 0, *, middle: tuple[float, float] = (56, 60), wide: float = 18, high: float = 30) -> Contour:
    """Twelve handles on an ellipse; the apex is on top, the mitral plane below."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points = [(middle[0] + wide * np.sin(a), middle[1] - high * np.cos(a)) for a in angles]
    return Contour(frame, tuple((float(x), float(y)) for x, y in points), 0, (5, 7))


def fake_videos(folder: Path, count: int) -> Path:
    """Files that are called recordings, each with a content of its own; nobody can read them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"clip_{number:05}.avi").write_bytes(b"RIFF\0\0\0\0AVI " + str(number).encode())
    return folder


def phantom_project(phantom: Path, folder: Path, count: int = 4) -> Path:
    """A project with the first videos of a phantom, in a folder of each patient."""
    for number, video in enumerate(sorted((phantom / "Videos").glob("*.avi"))[:count]):
        place = folder / f"p{number}"
        place.mkdir(parents=True)
        shutil.copy(video, place / video.name)
    return folder


def true_contours(store: Store, name: str) -> tuple[Contour, Contour]:
    """ED and ES of a phantom's video, from its truth."""
    video = store.index["name"].tolist().index(name)
    row = store.index.iloc[video]
    made = []
    for frame in (int(row["ed_frame"]), int(row["es_frame"])):
        mask = store.masks("truth").probabilities(video, np.array([frame]))[0].astype(np.float32) / 255
        contour = contour_of_mask(mask, frame)
        assert contour is not None
        made.append(contour)
    return made[0], made[1]


def act(desk: Desk, video: str, action: str, *, reader: str = "anna", client: str = "c", **more: Any) -> dict[str, Any]:
    """An action of a client that counts by itself."""
    seq = 1 + max((each["seq"] for each in desk.journal.entries if each["client"] == client), default=0)
    return desk.act({"id": video, "reader": reader, "action": action, "client": client, "seq": seq, **more})


def trace(desk: Desk, video: str, ed: Contour, es: Contour, **who: str) -> None:
    """Both phases of a video."""
    for phase, contour in (("ed", ed), ("es", es)):
        act(desk, video, "trace", phase=phase, contour=contour.as_json(), **who)


@contextmanager
def opened(folder: Path, *, model: str | None = None, works: bool = False, reader: str = "") -> Iterator[Parts]:
    """An open project whose model looks at nothing, unless `works`."""
    with ExitStack() as stack:
        desk = stack.enter_context(closing(Desk(folder, reader)))
        proposals = stack.enter_context(closing(Proposals(desk, model=model, works=works)))
        trainings = stack.enter_context(closing(Trainings(desk, proposals)))
        ranking = stack.enter_context(closing(Ranking(desk, proposals, works=False)))
        yield Parts(desk, proposals, ranking, trainings, Reviews(desk))


@contextmanager
def client_of(parts: Parts) -> Iterator[httpx.Client]:
    """A browser that knows the token, and the server in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            guarded(make_app(parts), TOKEN, port), log_config=None, access_log=False, lifespan="off"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            # nothing of the machine's own proxies, which a user's browser does not use for 127.0.0.1 either
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", headers={"X-Token": TOKEN}, timeout=500, trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(20)
