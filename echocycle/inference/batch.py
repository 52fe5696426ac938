"""Stage `predict`: any number of recordings, one after the other, each written as soon as it is done.

What ends the call is the caller's or the system's: no input, no model, no space. What is one recording's trouble is a
line, and the next goes on. PyTorch is imported when the first recording has been read, so that a wrong path is told at
once and a call that has nothing to do ends soon.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import strftime
from typing import TYPE_CHECKING

from echocycle.console import console
from echocycle.errors import EchocycleError, Finding, SystemRefusedError, is_refusal, refusal, writing_into
from echocycle.files import printable, sha256
from echocycle.inference.inputs import Input, find_inputs
from echocycle.inference.lazy_model import Device, LazyModel, Time
from echocycle.inference.results import Results, earlier_result, place_of
from echocycle.progress import track
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import CutRecording, cut_sector
from echocycle.writers import WRITERS
from echocycle.writers.as_csv import Table
from echocycle.writers.as_failures import Failure, check_failures, write_failures

if TYPE_CHECKING:
    from echocycle.prediction import Prediction

LOG = "predict.log"
LEFTOVER = re.compile(r"\..+\.\d+\.partial\.(json|npz|mp4|csv)")
"""Temporary files of `files.replacing`, in the formats written here."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to."""

    results: Results
    """Recordings that were read, those without an EF among them."""
    failures: list[Failure]
    recordings: int


def predict_all(
    inputs: list[Path], out: Path, model: Path, *, device: Device = "auto", stride: int = 4, time: Time = "auto"
) -> Results:
    """`predict_batch`, with an error where a recording has no EF.

    Raises:
        EchocycleError: as `predict_batch`.
        Finding: at least one recording has no EF; what could be done is written.
    """
    outcome = predict_batch(inputs, out, model, device=device, stride=stride, time=time)
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
    inputs: list[Path], out: Path, model: Path, *, device: Device = "auto", stride: int = 4, time: Time = "auto"
) -> Outcome:
    """Predict recordings and write each as soon as it is done.

    One whose result lies in `out` already, made by this model with these settings of a file of the same size and
    SHA-256, is not predicted again. `failures.csv` lists what has no EF, `predict.log` the tracebacks of faults.

    Raises:
        EchocycleError: no input, the model cannot be read, or `out` holds something else.
        SystemRefusedError: results cannot be written there.
    """
    if stride < 1:
        raise EchocycleError(f"stride is {stride}; it must be above 0.")
    recordings, failures = find_inputs(inputs, out)
    if out.exists() and not out.is_dir():
        raise EchocycleError(f"{out} is a file; name a folder for the results.")
    chosen = LazyModel(model, device, stride, time)
    with writing_into(out):
        check_failures(out)
        table = Table(out)  # refuses a table of another kind before the hours of inference
        out.mkdir(parents=True, exist_ok=True)
    count = len(recordings) + len(failures)
    for failure in failures:
        _say(failure.message, style="red")
    batch = _Batch(out, chosen, table, failures)
    try:
        with track("Predicting") as progress:
            for number, each in enumerate(recordings, 1):
                batch.predict(each)
                progress(number, len(recordings))
        with writing_into(out):
            table.close()
    finally:
        with suppress(OSError):  # what ended the call is told, not what it brought along
            write_failures(failures, out)
    if chosen.has_ef_network and batch.results:
        line, style = chosen.verdict_line()
        _say(line, style=style)
    return Outcome(batch.results, failures, count)


@dataclass
class _Read:
    """A recording that was read and has no result yet."""

    cut: CutRecording
    place: str
    size: int
    digest: str


class _Batch:
    """One call's results."""

    def __init__(self, out: Path, model: LazyModel, table: Table, failures: list[Failure]):
        self.out, self.model, self.table, self.failures = out, model, table, failures
        self.results = Results()
        self._swept: set[Path] = set()

    def predict(self, each: Input) -> None:
        """Predict one recording and write its files, or take what was written before; its own trouble is noted."""
        read: _Read | None = None
        with self._noting(each):
            read = self._read(each)
        if read is None:
            return
        self.model.load()  # what is wrong with the model is not the recording's trouble
        with self._noting(each):
            made = self.model.predict(read.cut, each.source)
            made = replace(made, result=read.place, size_bytes=read.size, sha256=read.digest)
            del read
            with self._writing():
                self._sweep((self.out / made.stem).parent)
                for name, write in WRITERS.items():
                    if name != "masks" or made.masks is not None:
                        write(made, self.out)
            self._take(each, made)

    def _sweep(self, folder: Path) -> None:
        """Remove, once a call, what a killed one left half-written in a folder."""
        if folder not in self._swept and folder.is_dir():
            for path in folder.iterdir():
                if LEFTOVER.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        self._swept.add(folder)

    def _read(self, each: Input) -> _Read | None:
        """The recording, cut; None if its result lies there already and was taken."""
        with each.opened() as file:
            if not file.is_file():
                read_recording(file)  # says what is wrong
            place = place_of(each, self.out)
            size, digest = file.stat().st_size, sha256(file)
            earlier = earlier_result(
                self.out, place, (size, digest), self.model.identity, self.model.stride, self.model.time_for
            )
            if earlier is not None:
                found, path = earlier
                self._take(each, found, f" (predicted before; delete {path} to do it again)")
                return None
            recording = read_recording(file, color=self.model.description.color)
            return _Read(cut_sector(recording), place, size, digest)

    def _take(self, each: Input, found: Prediction, before: str = "") -> None:
        """Add a result to the table and say it."""
        with self._writing():
            self.table.put(found)
        self.results.add(found, self.out)
        if found.ef is None:
            told = f"EF not measured: {found.not_measured}"
            self.failures.append(Failure(each.source, "not measured", found.not_measured or ""))
        else:
            told = f"EF {found.ef:.1f} %"
        _say(f"{each.name}: {told}{before}", *(f"  {note}" for note in found.notes if note != told))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with writing_into(self.out):
            if not self.out.is_dir():  # a writer would make it anew, without what was in it
                raise SystemRefusedError(
                    f"{self.out} was removed while results were written into it. Start the same command again; it "
                    "predicts all recordings anew."
                )
            yield

    @contextmanager
    def _noting(self, each: Input) -> Iterator[None]:
        """One recording's trouble, whatever its class, is a line and a failure; what stops all others too goes up."""
        try:
            yield
        except SystemRefusedError:
            raise
        except EchocycleError as error:
            self._fail(Failure(each.source, "unreadable", str(error)))
        except Exception as error:
            if is_refusal(error):
                self._fail(Failure(each.source, "refused", str(refusal(error, each.path))))
                return
            with self._writing(), (self.out / LOG).open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{strftime('%Y-%m-%d %H:%M:%S')} {each.source}\n{traceback.format_exc()}\n")
            told = f"{each.source}: {type(error).__name__}: {error} (the traceback is in {self.out / LOG})"
            self._fail(Failure(each.source, "unexpected", told))

    def _fail(self, failure: Failure) -> None:
        self.failures.append(failure)
        _say(failure.message, style="red")


def _say(*lines: str, style: str | None = None) -> None:
    for line in lines:
        console.print(printable(line), style=style, soft_wrap=True, highlight=False)
