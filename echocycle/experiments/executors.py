"""Who does the jobs of a plan: this process, several processes of this machine with its GPUs, or a cluster.

A task answers as submitit's jobs do (`done`, `result`, `cancel`), so that a cluster's need nothing around them.
"""

import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from echocycle.errors import EchocycleError
from echocycle.experiments.plan import Job
from echocycle.workers import end_with_parent, without_script

Perform = Callable[[Job], None]


class OutOfTime(BaseException):
    """The time given is over; not caught by what catches errors of a job."""


class Task(Protocol):
    """A job that was begun."""

    def done(self) -> bool:
        """Whether it has come to an end, good or bad."""

    def result(self) -> Any:
        """Nothing, once it is done; raises what went wrong."""

    def cancel(self) -> Any:
        """End it."""


class Executor(Protocol):
    """Who does the jobs."""

    slots: int
    """Jobs at once."""
    pause: float
    """Seconds between two looks at the tasks."""

    def begin(self, perform: Perform, job: Job, log: Path, seconds: float | None) -> Task:
        """Begin a job.

        Args:
            log: for what the job says, where that is not shown at once.
            seconds: that are left for it; None for any.
        """


# --------------------------------------------------------------------------------------------- this process


@dataclass
class _Ended:
    error: Exception | None = None

    def done(self) -> bool:
        return True

    def result(self) -> None:
        if self.error is not None:
            raise self.error

    def cancel(self) -> None:
        pass


class Serial:
    """This process, one job after the other; the progress of each is shown."""

    slots, pause = 1, 0.0

    def begin(self, perform: Perform, job: Job, log: Path, seconds: float | None) -> Task:
        """Do the job; raises `OutOfTime` when `seconds` are over."""
        with _alarm(seconds):
            try:
                perform(job)
            except Exception as error:
                return _Ended(error)
        return _Ended()


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise `OutOfTime` inside the block after so many seconds (in the main thread, where signals arrive)."""
    if seconds is None or threading.current_thread() is not threading.main_thread() or os.name != "posix":
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------------------------- processes of this machine


class JobFailed(EchocycleError):
    """A job failed elsewhere; `log` is all that it said."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class Processes:
    """Several processes of this machine, a fresh one for each job; its cores and GPUs are shared out among them."""

    pause = 0.2

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._running: list[_Process | None] = [None] * slots

    def begin(self, perform: Perform, job: Job, log: Path, seconds: float | None) -> Task:
        """Begin the job in the first free place."""
        slot = next(number for number, task in enumerate(self._running) if task is None or task.done())
        task = self._running[slot] = _Process(perform, job, log, slot, self.slots)
        return task


class _Process:
    def __init__(self, perform: Perform, job: Job, log: Path, slot: int, slots: int) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log, self._name = log, job.name
        arguments = perform, job, log, slot, slots
        # not a daemon: a job may have processes of its own
        self._process = multiprocessing.get_context("spawn").Process(target=_in_process, args=arguments)
        with without_script(perform):
            self._process.start()

    def done(self) -> bool:
        return not self._process.is_alive()

    def result(self) -> None:
        self._process.join()
        code = self._process.exitcode
        if code:
            said = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
            ended = f"was ended by signal {-code}, perhaps because memory ran out" if code < 0 else _last_line(said)
            raise JobFailed(f"{self._name} {ended}" if code < 0 else ended, f"{said}\n{ended}\n")

    def cancel(self) -> None:
        self._process.terminate()
        self._process.join()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("echocycle.errors.EchocycleError: ") if lines else "nothing was said"


def _in_process(perform: Perform, job: Job, log: Path, slot: int, slots: int) -> None:
    """What a process of `Processes` does: its share of the cores, one of the GPUs, one job.

    When the experiment was killed it ends too: a job that went on would write into what the next call resumes.
    """
    end_with_parent()
    with open(log, "w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        try:
            _take_share(slot, slots)
            perform(job)
        except Exception:
            traceback.print_exc()
            file.flush()
            sys.exit(1)


def _take_share(slot: int, slots: int) -> None:
    """The share of the cores, and one of the GPUs that this process may see, of one of several processes."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(min(torch.get_num_threads(), max(1, cores // slots)))  # fewer where `--threads` said so
    if torch.cuda.is_available():
        torch.cuda.set_device(slot % torch.cuda.device_count())


# ------------------------------------------------------------------------------------------------- a cluster


class Cluster:
    """A SLURM cluster through submitit: each job is one of the cluster's, in a folder that all nodes see.

    Args:
        parameters: of the queue, as submitit names them, such as `slurm_partition` and `timeout_min`.
        kind: `slurm`, or `local` to try it without one.
    """

    pause = 5.0

    def __init__(self, folder: Path, slots: int, parameters: dict[str, Any], kind: str = "slurm") -> None:
        if importlib.util.find_spec("submitit") is None:
            raise EchocycleError("Jobs are sent to a cluster by submitit, which is missing: pip install submitit")
        import submitit

        self.slots = slots
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=kind)
        except RuntimeError as error:
            raise EchocycleError(f"submitit finds no {kind} here: {error}") from None
        try:
            self._executor.update_parameters(**parameters)
        except Exception as error:  # submitit raises what each of its executors likes
            named = ", ".join(f"{key}={value}" for key, value in parameters.items())
            raise EchocycleError(f"submitit does not take these parameters of a job ({named}): {error}") from None
        if kind == "local":
            self.pause = 0.2

    def begin(self, perform: Perform, job: Job, log: Path, seconds: float | None) -> Task:
        """Send the job to the queue; what it says lies in the folder's files of its number."""
        task: Task = self._executor.submit(perform, job)
        return task


def choose_executor(at_once: int, slurm: Sequence[str], folder: Path) -> Executor:
    """This process for one job at once, processes for several, a cluster where its parameters are given.

    Raises `EchocycleError` for a parameter that is not NAME=VALUE.
    """
    if slurm:
        parameters: dict[str, Any] = {}
        for each in slurm:
            name, equals, value = each.partition("=")
            if not equals or not name:
                raise EchocycleError(f"--slurm takes NAME=VALUE, such as timeout_min=240, not {each!r}.")
            parameters[name] = int(value) if value.isdigit() else value
        return Cluster(folder / "slurm", max(1, at_once), parameters)
    if at_once < 1:
        raise EchocycleError(f"--at-once is {at_once}; at least 1 is needed.")
    return Serial() if at_once == 1 else Processes(at_once)
