"""Long work speaks: a bar on a terminal; elsewhere (a log file, a cluster's output) one line a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from echocycle.console import console

EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


def minutes_of(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def track(title: str) -> Iterator[Callable[[int, int], None]]:
    """Progress of work, as a function of (done, of all)."""
    with _telling(title, "") as tell:
        yield lambda done, total: tell(done, total, "")


@contextmanager
def training_progress(title: str, total: int, start: int = 0) -> Iterator[Callable[[int, str], None]]:
    """Progress of a training, as a function of (steps done, how it stands, such as its loss).

    Args:
        start: the step at which it is resumed.
    """
    with _telling(title, "step ", start) as tell:
        tell(start, total, "")
        yield lambda done, state: tell(done, total, state)


@contextmanager
def _telling(title: str, unit: str, start: int = 0) -> Iterator[Callable[[int, int, str], None]]:
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[state]}"), console=console, transient=True) as bar:
            task = bar.add_task(title, total=None, completed=start, state="")

            def update(done: int, total: int, state: str) -> None:
                bar.update(task, completed=done, total=total, state=state)

            yield update
        return
    yield _Lines(title, unit, start)


class _Lines:
    """A line now and then: how much is done, how it stands, how long the rest will take."""

    def __init__(self, title: str, unit: str, start: int) -> None:
        self._title, self._unit, self._start = title, unit, start
        self._begun = self._said = time.monotonic()

    def __call__(self, done: int, total: int, state: str) -> None:
        now = time.monotonic()
        if now - self._said < EVERY or done >= total:
            return
        self._said = now
        parts = [f"{self._title}: {self._unit}{done} of {total}", state]
        if done > self._start:
            left = (now - self._begun) / (done - self._start) * (total - done)
            parts.append(f"about {minutes_of(left)} left")
        console.print(", ".join(filter(None, parts)), soft_wrap=True, highlight=False)
