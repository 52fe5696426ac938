"""Doing the jobs of a plan: never twice, the rest when one fails, and with a word on how long it will take.

What is done lies on disk, so a plan that was stopped goes on. A mask set is made when somebody needs it and deleted
when its last user is done. A job that fails leaves its log; what is built on it is not tried, everything else is.
"""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echocycle.console import console
from echocycle.errors import EchocycleError
from echocycle.experiments.estimate import Clock
from echocycle.experiments.executors import Executor, OutOfTime, Perform, Serial, Task
from echocycle.experiments.perform import is_done, perform, remove, waiting_jobs
from echocycle.experiments.plan import Job, Plan
from echocycle.files import write_text


@dataclass
class Outcome:
    """How it went, by names of jobs."""

    done: list[str] = field(default_factory=list)
    """Finished now or before."""
    failed: dict[str, Path] = field(default_factory=dict)
    """With the log of each."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Not tried, since the job named failed."""
    left: list[str] = field(default_factory=list)
    """Not done for want of time."""
    seconds: float = 0.0
    """That all jobs of the plan took, now or before."""


# ------------------------------------------------------------------------------------------------ all jobs


def work(
    plan: Plan,
    folder: Path,
    *,
    minutes: float | None = None,
    executor: Executor | None = None,
    perform: Perform = perform,
    is_done: Callable[[Job], bool] = is_done,
    remove: Callable[[Job], None] = remove,
) -> Outcome:
    """Do every job of a plan that is not done.

    Args:
        folder: for seconds.json, which remembers how long jobs took, and the logs of jobs.
        minutes: start nothing that will not be done in this time, and interrupt what takes longer than foreseen.
        executor: who does the jobs; by default this process, one after the other.
    """
    return _Work(plan.jobs, folder, minutes, executor or Serial(), perform, is_done, remove).all()


def jobs_word(count: int) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} job{'' if count == 1 else 's'}"


class _Work:
    """A plan being done: what waits, what runs, and how it went."""

    def __init__(
        self,
        jobs: dict[str, Job],
        folder: Path,
        minutes: float | None,
        executor: Executor,
        perform: Perform,
        is_done: Callable[[Job], bool],
        remove: Callable[[Job], None],
    ) -> None:
        self.jobs, self.folder, self.executor, self.perform = jobs, folder, executor, perform
        self.clock = Clock(folder / "seconds.json", None if minutes is None else 60 * minutes)
        self.waiting = waiting_jobs(jobs, is_done)
        self.total = len(self.waiting)
        self.users = _Users(jobs, self.waiting, remove)
        self.running: dict[str, tuple[Task, float]] = {}
        self.outcome = Outcome(
            done=[name for name, job in jobs.items() if name not in self.waiting and job.stage != "mask"]
        )

    def all(self) -> Outcome:
        """Do it."""
        try:
            while self.waiting or self.running:
                for name in [name for name, (task, _) in self.running.items() if task.done()]:
                    self._finish(name)
                if self._begin() is None and self.running:
                    self.clock.check()
                    time.sleep(self.executor.pause)
        except OutOfTime:
            self.outcome.left += [name for name in self.waiting if name not in self.outcome.left]
        finally:  # nobody else waits for them
            for name, (task, _) in self.running.items():
                task.cancel()
                self.outcome.left.append(name)
        if self.outcome.left:
            console.print(
                f"The time is over; left are {jobs_word(len(self.outcome.left))}. The same command resumes them."
            )
        self.outcome.seconds = self.clock.total(self.jobs)
        return self.outcome

    def _begin(self) -> str | None:
        """Begin the first job that can be, having set aside those that cannot; its name."""
        if len(self.running) == self.executor.slots:
            return None
        self._set_aside()
        for name in list(self.waiting):
            job = self.jobs[name]
            if any(need in self.outcome.left for need in job.needs) or not self.clock.fits(job):
                self.waiting.remove(name)
                self.outcome.left.append(name)
            elif not any(need in self.waiting or need in self.running for need in job.needs):
                self._say(name)
                start = time.monotonic()
                task = self.executor.begin(self.perform, job, self._log(name), self.clock.left())
                self.waiting.remove(name)
                self.running[name] = task, start
                return name
        return None

    def _set_aside(self) -> None:
        """Jobs that need one that failed, and masks that only they wanted."""
        for name in list(self.waiting):
            job = self.jobs[name]
            lost = next((need for need in job.needs if need in self.outcome.failed | self.outcome.blocked), None)
            if lost is not None:
                self.waiting.remove(name)
                self.outcome.blocked[name] = self.outcome.blocked.get(lost, lost)
                self.users.finished(name)
        self.waiting = [name for name in self.waiting if self.users.wanted(name)]

    def _say(self, name: str) -> None:
        number = self.total - len(self.waiting) + 1
        others = [each for each in (*self.waiting, *self.running) if each != name]
        remaining = self.clock.remaining(self.jobs, others, self.executor.slots)
        console.rule(f"{number}/{self.total}  {name}  ({remaining})", align="left")

    def _finish(self, name: str) -> None:
        task, start = self.running.pop(name)
        log = self._log(name)
        try:
            task.result()
        except Exception as error:
            write_text(log, getattr(error, "log", None) or "".join(traceback.format_exception(error)))
            self.outcome.failed[name] = log
            said = str(error) if isinstance(error, EchocycleError) else f"{type(error).__name__}: {error}"
            first = said.partition("\n")[0]
            console.print(f"{name} failed: {first}\nIts log: {log}. The other jobs go on.", soft_wrap=True)
        else:
            log.unlink(missing_ok=True)
            self.outcome.done.append(name)
            self.clock.note(self.jobs[name], time.monotonic() - start)
            if not self.users.wanted(name):  # their users were lost while they were made
                self.users.remove(self.jobs[name])
        self.users.finished(name)

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name.replace(' ', '-')}.log"


class _Users:
    """Who still needs which masks."""

    def __init__(self, jobs: dict[str, Job], waiting: list[str], remove: Callable[[Job], None]) -> None:
        self._jobs, self.remove = jobs, remove
        self._of = {
            name: {user for user in waiting if name in jobs[user].needs}
            for name, job in jobs.items()
            if job.stage == "mask"
        }
        for name, users in self._of.items():
            if not users:  # left by a process that was killed before it could delete them
                remove(jobs[name])

    def finished(self, name: str) -> None:
        """Delete the masks whose last user this job was."""
        for need in self._jobs[name].needs:
            if name in self._of.get(need, ()):
                self._of[need].remove(name)
                if not self._of[need]:
                    self.remove(self._jobs[need])

    def wanted(self, name: str) -> bool:
        """Whether a job is no mask set, or one with users."""
        return name not in self._of or bool(self._of[name])


def merged_facts(outcomes: Iterable[Outcome]) -> Outcome:
    """Several outcomes as one."""
    whole = Outcome()
    for each in outcomes:
        whole.done += [job for job in each.done if job not in whole.done]
        whole.failed |= each.failed
        whole.blocked |= each.blocked
        whole.left += each.left
        whole.seconds += each.seconds
    return whole


def as_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain JSON."""
    return {
        "done": outcome.done,
        "failed": {job: str(log) for job, log in outcome.failed.items()},
        "blocked": outcome.blocked,
        "left": outcome.left,
        "seconds": outcome.seconds,
    }
