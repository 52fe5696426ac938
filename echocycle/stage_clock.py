"""How long the stages of one call take, and how long the rest will."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table

from echocycle.console import console
from echocycle.files import read_json, write_json
from echocycle.progress import minutes_of


class StageClock:
    """Seconds per stage, kept beside the results, so that a resumed run still knows them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.seconds: dict[str, float] = read_json(file) if file.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage, and name it on the console."""
        console.rule(name, align="left")
        start = time.perf_counter()
        yield
        # a stage that was done before takes next to none: what it took then is what it takes
        self.seconds[name] = max(round(time.perf_counter() - start, 1), self.seconds.get(name, 0.0))
        write_json(self._file, self.seconds)

    def foretell(self, usual: dict[str, float], done: str) -> None:
        """Say how long the rest will take, if a stage that is done tells how fast this machine is.

        Args:
            usual: seconds of every stage on another machine.
            done: the stage that is done.
        """
        left = {name: seconds for name, seconds in usual.items() if name not in self.seconds}
        if left and self.seconds[done] > usual[done] / 20:  # else it was done before, and tells nothing
            seconds = sum(left.values()) * self.seconds[done] / usual[done]
            console.print(f"The rest will take about {minutes_of(seconds)}.", highlight=False)

    def table(self) -> Table:
        """The seconds, as a table."""
        table = Table(title="Seconds per stage", box=None, pad_edge=False)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.0f}")
        table.add_row("all", f"{sum(self.seconds.values()):.0f}", style="bold")
        return table
