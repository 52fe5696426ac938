"""The losses of a run as they come: losses.csv, validation.csv and TensorBoard."""

import csv
import io
from pathlib import Path
from typing import Any

from echocycle.errors import EchocycleError
from echocycle.files import write_text
from echocycle.partial import append


class RunLog:
    """losses.csv, validation.csv and TensorBoard; what lies past the resume point is dropped."""

    def __init__(self, folder: Path, start: int, *, tensorboard: bool):
        self._files = {name: folder / f"{name}.csv" for name in ("losses", "validation")}
        self._rows: dict[str, list[dict[str, float]]] = {name: [] for name in self._files}
        self._columns: dict[str, list[str]] = {}
        for name, file in self._files.items():
            kept: list[dict[str, str]] = []
            if start and file.exists():
                self._columns[name], kept = _rows_before(file, start)
            if kept:
                self._write(name, kept, "w")
            else:
                self._columns.pop(name, None)
                file.unlink(missing_ok=True)
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)

    def step(self, step: int, values: dict[str, float]) -> None:
        """One step's losses."""
        self._add("losses", step, values)

    def validation(self, step: int, values: dict[str, float]) -> None:
        """One validation, after `step`."""
        self._add("validation", step, values)

    def _add(self, name: str, step: int, values: dict[str, float]) -> None:
        self._rows[name].append({"step": step, **values})
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{name}/{key}", value, step)

    def flush(self) -> None:
        """Bring everything to disk."""
        for name, rows in self._rows.items():
            if rows:
                fresh = name not in self._columns
                wide = max(rows, key=len)  # the first step measures gradients too, so it has every column
                new = [key for key in wide if key not in self._columns.get(name, [])]
                if fresh:
                    self._columns[name] = new
                self._write(name, rows, "w" if fresh else "a")
                rows.clear()
        if self._board is not None:
            self._board.flush()

    def _write(self, name: str, rows: list[Any], mode: str) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, self._columns[name], extrasaction="raise", lineterminator="\n")
        if mode == "w":
            table.writeheader()
        table.writerows(rows)
        if mode == "w":
            write_text(self._files[name], text.getvalue())
            return
        append(self._files[name], text.getvalue().encode())

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._board is not None:
            self._board.close()


def _rows_before(file: Path, start: int) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a table of steps and its rows before step `start`."""
    try:
        text = file.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a killed process can leave half a row
        reader = csv.DictReader(whole.splitlines())
        return list(reader.fieldnames or []), [row for row in reader if int(row["step"]) < start]
    except (ValueError, KeyError, TypeError, csv.Error):  # ValueError: no text, or no number
        raise EchocycleError(
            f"{file} is not the table that the run wrote. Delete it and {file.with_name('resume.ckpt')}, and the run "
            "begins at its first step."
        ) from None
