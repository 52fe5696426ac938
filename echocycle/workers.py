"""Work spread over spawned processes: in order, not far ahead, and never waited for in vain."""

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

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
            given.extend(pool.submit(function, job) for job in itertools.islice(waiting, AHEAD * workers))
            while given:
                result = given.popleft().result()
                given.extend(pool.submit(function, job) for job in itertools.islice(waiting, 1))
                yield result
        except BrokenProcessPool:
            raise EchocycleError(
                "A worker process was ended from outside, perhaps for want of memory. The same command goes on where "
                "it was; fewer --workers need less memory."
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def end_with_parent() -> None:
    """Let a worker end when its parent was killed; it would wait for work for ever, or work on for nobody."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
