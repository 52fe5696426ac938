"""Where people read: one console for progress and messages, on standard error; results go to standard output."""

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# No markup: file names and messages may hold square brackets.
console = Console(stderr=True, markup=False, emoji=False)
output = Console(soft_wrap=True, markup=False, emoji=False)


def quiet_libraries() -> None:
    """Keep other libraries' adverts and notes out of the way."""
    for name in ("lightning.fabric", "lightning.pytorch", "lightning_fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")


def escape_what_cannot_be_shown() -> None:
    """Let standard output and error escape what their encoding lacks (a Chinese path in a Windows log), not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def track(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, as a function of (done, of all)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update
