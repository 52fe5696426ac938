"""A process that looks at recordings with a model, so that the server never waits for a network.

It is given a line of JSON for each recording and answers each with one; what it finds lies in the cache then. It ends
when nobody gives it work any more: the end of its input is the end of the server, however that came.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from echocycle.console import quiet_libraries
from echocycle.errors import EchocycleError
from echocycle.files import printable


def main(folder: Path, model: Path) -> None:
    """Answer requests until the input ends.

    Args:
        folder: where the results go.
        model: a bundle, or a name of the package.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    os.nice(5) if hasattr(os, "nice") else None
    quiet_libraries()
    look = Looker(model)
    for line in _requests():
        answers.write(json.dumps(_answer(look, json.loads(line), folder)) + "\n")
        answers.flush()


def _requests() -> Iterator[str]:
    """Lines of the input. Its end ends the process at once, also in the middle of a recording: nobody waits for it."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def _answer(look: "Looker", request: dict[str, Any], folder: Path) -> dict[str, Any]:
    video = request["id"]
    try:
        look(video, Path(request["path"]), folder)
        return {"id": video, "problem": None}
    except EchocycleError as error:
        return {"id": video, "problem": printable(str(error))}
    except Exception as error:  # one recording's trouble, whatever its class, is not the next one's
        return {"id": video, "problem": f"It fails in an unexpected way ({type(error).__name__}: {error})."}


class Looker:
    """A model that is loaded when the first recording comes."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._loaded: Any = None

    def __call__(self, video: str, path: Path, folder: Path) -> None:
        """Look at a recording; leave what is found as FOLDER/ID.npz, and a thumbnail in the cache."""
        from echocycle.bundle import check_parts, load_bundle
        from echocycle.device import choose_device
        from echocycle.labelling.frames import keep_thumbnail, small
        from echocycle.labelling.looked import look_at

        if self._loaded is None:
            device = choose_device("auto")
            bundle = load_bundle(self._model, device)
            check_parts(bundle)
            self._loaded = bundle, device
        looked, middle = look_at(path, *self._loaded)
        keep_thumbnail(folder.parent.parent / "thumbnails" / f"{video}.png", small(middle))
        looked.write(folder / f"{video}.npz")


def answers_of(output: IO[str]) -> Any:
    """The next answer of a process, or None where it has ended."""
    line = output.readline()
    try:
        return json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
