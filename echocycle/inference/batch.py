"""Stage `predict`: any number of recordings, each written as soon as it is done.

What ends the call is the caller's or the system's: no input, no model, no space. What is one recording's trouble is a
line, and the next goes on. PyTorch is imported when the first recording has been read, so that a wrong path is told at
once and a call that has nothing to do ends soon.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING

from echocycle.console import console
from echocycle.errors import EchocycleError, Finding, writing_into
from echocycle.files import printable
from echocycle.inference.choices import Backend, Choices, Device, Protocol, Time, choose
from echocycle.inference.inputs import Input, find_inputs
from echocycle.inference.lazy_model import LazyModel
from echocycle.inference.making import LOG, Made, Maker, make, writing
from echocycle.inference.results import Results
from echocycle.locks import alone_in
from echocycle.progress import track
from echocycle.workers import in_order
from echocycle.writers.folder import ResultsFolder

if TYPE_CHECKING:
    from echocycle.writers.as_failures import Failure

LEFTOVER = re.compile(r"\..+\.\d+\.partial\.(json|npz|mp4|csv|png|dcm|html)")
"""Temporary files of `files.replacing`, in the formats written here."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to."""

    results: Results
    """Recordings that were read, those without an EF among them."""
    failures: list[Failure]
    recordings: int


def predict_all(
    inputs: list[Path],
    out: Path,
    model: Path | None = None,
    *,
    device: Device = "auto",
    stride: int | None = None,
    protocol: Protocol = "strided",
    fast: bool = False,
    formats: str | Sequence[str] | None = None,
    workers: int = 1,
    time: Time = "auto",
    backend: Backend = "torch",
) -> Results:
    """`predict_batch`, with an error where a recording has no EF.

    Raises:
        EchocycleError: as `predict_batch`.
        Finding: at least one recording has no EF; what could be done is written.
    """
    asked = choose(
        device=device, stride=stride, protocol=protocol, fast=fast, formats=formats, time=time, backend=backend
    )
    outcome = predict_chosen(inputs, out, model, asked, workers)
    if outcome.failures:
        unmeasured = sum(failure.kind == "not measured" for failure in outcome.failures)
        unread = len(outcome.failures) - unmeasured
        parts = [f"{unread} could not be read"] * (unread > 0) + [f"{unmeasured} not measured"] * (unmeasured > 0)
        raise Finding(
            f"{len(outcome.failures)} of {outcome.recordings} recordings have no EF ({', '.join(parts)}); see above "
            f"and {Path(out) / 'failures.csv'}."
        )
    return outcome.results


def predict_batch(
    inputs: list[Path],
    out: Path,
    model: Path | None = None,
    *,
    device: Device = "auto",
    stride: int | None = None,
    time: Time = "auto",
) -> Outcome:
    """`predict_chosen` with the usual protocol and formats."""
    return predict_chosen(inputs, out, model, choose(device=device, stride=stride, time=time))


def predict_chosen(
    inputs: list[Path], out: Path, model: Path | None = None, choices: Choices = Choices(), workers: int = 1
) -> Outcome:
    """Predict recordings and write each as soon as it is done; without `model` by the model in the package.

    One whose result lies in `out` already, made by this model with these settings of a file of the same size and
    SHA-256, is not predicted again. `failures.csv` lists what has no EF, `predict.log` the tracebacks of faults,
    `manifest.json` how it was computed.

    Args:
        workers: processes that predict, each with a model of its own; 1: this one.

    Raises:
        EchocycleError: no input, the model cannot be read, another process writes into `out`, or it holds something
            else.
        SystemRefusedError: results cannot be written there.
    """
    if workers < 1:
        raise EchocycleError(f"--workers is {workers}; it must be above 0.")
    recordings, failures = find_inputs(inputs, out)
    if out.exists() and not out.is_dir():
        raise EchocycleError(f"{out} is a file; name a folder for the results.")
    chosen = LazyModel(model, choices)
    _say(*chosen.first_words(), style="yellow")
    count = len(recordings) + len(failures)
    with ExitStack() as held:
        with writing_into(out):
            out.mkdir(parents=True, exist_ok=True)  # before the lock, which could not say why it cannot be made
            held.enter_context(alone_in(out))
            asked = {**asdict(choices), "workers": workers}
            folder = ResultsFolder(out, choices.formats, failures, chosen.description, inputs, asked, len(recordings))
        held.callback(folder.leave)
        batch = _Batch(folder)
        for failure in failures:
            _say(failure.message, style="red")
        with track("Predicting") as progress:
            work = _maker(out, chosen, workers, len(recordings))
            for number, made in enumerate(in_order(work, batch.swept(recordings), workers if workers > 1 else 0), 1):
                batch.take(made)
                progress(number, len(recordings))
        with writing_into(out):
            folder.finish()
    if chosen.has_ef_network and batch.results:
        line, style = chosen.verdict_line()
        _say(line, style=style)
    return Outcome(batch.results, failures, count)


def _maker(out: Path, model: LazyModel, workers: int, count: int) -> Maker | partial[Made]:
    """What makes one recording's result: here, or in processes that share the cores."""
    if workers == 1:
        return Maker(out, model)
    threads = max(1, (os.cpu_count() or 1) // min(workers, max(1, count)))
    return partial(make, out, model.description.path.absolute(), model.choices, threads)


class _Batch:
    """One call's results."""

    def __init__(self, folder: ResultsFolder):
        self.folder, self.out = folder, folder.path
        self.results = Results()
        self._swept: set[Path] = set()

    def swept(self, recordings: list[Input]) -> Iterator[Input]:
        """The recordings; before the first of each folder, what a killed call left half-written there is removed."""
        for each in recordings:
            for folder in {self.out, (self.out / each.name).parent} - self._swept:
                self._swept.add(folder)
                for path in folder.iterdir() if folder.is_dir() else ():
                    if LEFTOVER.fullmatch(path.name):
                        path.unlink(missing_ok=True)
            yield each

    def take(self, made: Made) -> None:
        """Add a result to the table and say it, or note why there is none."""
        each, found = made.input, made.found
        self.folder.manifest.count(made.computing, again=made.again is not None, failed=found is None)
        if found is None:
            assert made.failure is not None
            self._fail(made.failure, made.fault)
            return
        with writing(self.out):
            self.folder.put(found)
        self.results.add(found, self.out)
        told = f"EF not measured: {found.not_measured}" if found.ef is None else found.answer_in_words()
        before = f" (predicted before; delete {made.again} to do it again)" if made.again is not None else ""
        doubts = [flag.sentence for flag in found.flags if flag.severity != "note" and flag.code != "not_measured"]
        _say(f"{each.name}: {told}{before}", *(f"  flagged: {doubt}" for doubt in doubts))
        _say(*(f"  {note}" for note in (*found.notes, *made.unwritten) if note != told and note not in doubts))

    def _fail(self, failure: Failure, fault: str) -> None:
        if fault:
            with writing(self.out), (self.out / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{strftime('%Y-%m-%d %H:%M:%S')} {failure.source}\n{fault}\n")
        self.folder.failures.append(failure)
        _say(failure.message, style="red")


def _say(*lines: str, style: str | None = None) -> None:
    for line in lines:
        console.print(printable(line), style=style, soft_wrap=True, highlight=False)
