"""Stage `predict`, one recording of a call: read, predicted, written. In this process or in several.

What is wrong with the recording is noted in what comes back; what stops all others too is raised: a model that cannot
be read, no space, an output folder that is gone.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echocycle.errors import EchocycleError, SystemRefusedError, is_refusal, refusal, writing_into
from echocycle.files import sha256
from echocycle.inference.choices import Choices
from echocycle.inference.inputs import Input
from echocycle.inference.lazy_model import LazyModel
from echocycle.inference.results import earlier_result, place_of
from echocycle.recordings.recording import read_recording
from echocycle.recordings.sector import CutRecording, cut_sector
from echocycle.threads import use_threads
from echocycle.writers import WRITERS
from echocycle.writers.as_failures import Failure

if TYPE_CHECKING:
    from echocycle.prediction import Prediction

LOG = "predict.log"


@dataclass
class Made:
    """What became of one recording."""

    input: Input
    found: Prediction | None = None
    """Its result, without frames and masks."""
    again: Path | None = None
    """The JSON that was there before, where nothing had to be done."""
    failure: Failure | None = None
    """Why it could not be read."""
    fault: str = ""
    """The traceback of a fault of this program."""
    unwritten: list[str] = field(default_factory=list)
    """Why a format was not written, in sentences."""
    computing: dict[str, Any] = field(default_factory=dict)
    """On what and how precisely it was computed."""


@dataclass
class _Read:
    """A recording that was read and has no result yet."""

    cut: CutRecording
    place: str
    size: int
    digest: str


class _ModelError(Exception):
    """The model cannot be read."""

    def __init__(self, inner: Exception):
        super().__init__(str(inner))
        self.inner = inner


class Maker:
    """Makes the results of recordings in a folder, one call each."""

    def __init__(self, out: Path, model: LazyModel):
        self.out, self.model = out, model

    def __call__(self, each: Input) -> Made:
        """The recording's result, written, or what lies there already."""
        made = Made(each)
        with self._noting(made), each.opened() as file:
            self._make(made, file)
        return made

    def _make(self, made: Made, file: Path) -> None:
        """Fill in what becomes of a recording; `file` is there for as long as this takes."""
        each = made.input
        read = self._read(made, file)
        if read is None:
            return
        try:
            self.model.load()
        except Exception as error:
            raise _ModelError(error) from None  # what is wrong with the model is not the recording's trouble
        made.computing = self.model.computing()
        found = self.model.predict(read.cut, each.source)
        made.computing = self.model.computing()  # again: an engine may have failed meanwhile
        found = replace(found, result=read.place, size_bytes=read.size, sha256=read.digest, file=file)
        del read
        with writing(self.out):
            for name, writer in WRITERS.items():
                if name in self.model.choices.formats:
                    lacking = writer.lacks(found)
                    if lacking is None:
                        writer(found, self.out)
                    elif lacking:
                        made.unwritten.append(lacking)
        made.found = replace(found, masks=None, frames=None, file=None)

    def _read(self, made: Made, file: Path) -> _Read | None:
        """The recording, cut; None if its result lies there already and was taken."""
        each = made.input
        if not file.is_file():
            read_recording(file)  # says what is wrong
        place = place_of(each, self.out)
        size, digest = file.stat().st_size, sha256(file)
        asked = self.model.choices, self.model.time_for
        earlier = earlier_result(file, self.out, place, (size, digest), self.model.identity, *asked)
        if earlier is not None:
            made.found, made.again = earlier
            return None
        recording = read_recording(file, color=self.model.description.color)
        return _Read(cut_sector(recording), place, size, digest)

    @contextmanager
    def _noting(self, made: Made) -> Iterator[None]:
        """One recording's trouble, whatever its class, is a failure; what stops all others too goes up."""
        each = made.input
        try:
            yield
        except SystemRefusedError:
            raise
        except _ModelError as error:
            raise error.inner from None
        except EchocycleError as error:
            made.failure = Failure(each.source, "unreadable", str(error))
        except Exception as error:
            if is_refusal(error):
                made.failure = Failure(each.source, "refused", str(refusal(error, each.path)))
                return
            made.fault = traceback.format_exc()
            told = f"{each.source}: {type(error).__name__}: {error} (the traceback is in {self.out / LOG})"
            made.failure = Failure(each.source, "unexpected", told)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """What the system refuses is told of the output folder, one that was removed as well."""
    with writing_into(out):
        if not out.is_dir():  # a writer would make it anew, without what was in it
            raise SystemRefusedError(
                f"{out} was removed while results were written into it. Start the same command again; it "
                "predicts all recordings anew."
            )
        yield


def make(out: Path, model: Path, choices: Choices, threads: int, each: Input) -> Made:
    """`Maker` in a process of its own, which loads the model once."""
    return _maker(out, model, choices, threads)(each)


@lru_cache(maxsize=1)
def _maker(out: Path, model: Path, choices: Choices, threads: int) -> Maker:
    use_threads(threads)
    return Maker(out, LazyModel(model, choices))
