"""Work spread over spawned processes: in order, not far ahead, and never waited for in vain."""

import itertools
import multiprocessing
import os
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from echocycle.errors import EchocycleError

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 4
"""Jobs of each process that are given out before their results are asked for."""


def in_order(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """The results of jobs, in their order.

    Args:
        workers: processes; with 0 this one does the work.

    Raises:
        EchocycleError: a process was ended from outside.
    """
    if workers == 0:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    waiting = iter(jobs)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        try:
            given: deque[Future[Result]] = deque()
            with without_script(function):  # all processes are started with the first job
                given.extend(pool.submit(function, job) for job in itertools.islice(waiting, AHEAD * workers))
            while given:
                result = given.popleft().result()
                given.extend(pool.submit(function, job) for job in itertools.islice(waiting, 1))
                yield result
        except BrokenProcessPool:
            raise EchocycleError(
                "A worker process was ended from outside, perhaps because memory ran out. The same command resumes; "
                "fewer --workers need less memory."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def without_script(function: Callable[..., Any]) -> Iterator[None]:
    """Let processes that are started meanwhile not import the user's script again.

    A new process runs the main module once more, for functions that are defined there. Ours lie in the package, and a
    script without `if __name__ == "__main__"` would begin the same work in every process.
    """
    inner = getattr(function, "func", function)  # of a functools.partial
    if getattr(inner, "__module__", "") == "__main__":
        yield
        return
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Let a worker end when its parent was killed; it would wait for work for ever, or work on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
