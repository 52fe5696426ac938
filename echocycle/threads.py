"""How the threads of a computation wait, and how many they are. Imported before anything else of this package.

Threads that share out one operation wait for one another at its end. By default they wait by spinning, which is
quickest where every thread has a core of its own. Beside other busy processes it is thirty times slower: a spinning
thread holds the very core that the thread it waits for needs. So here they sleep while they wait. The library of the
threads (libgomp, or Intel's) reads this from the environment once, when PyTorch loads it.
"""

import os
import sys

from echocycle.errors import EchocycleError

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Variables that make threads sleep while they wait; processes that are started inherit them."""


def wait_passively() -> None:
    """Let threads sleep while they wait, unless the user has said how they wait by any of these variables."""
    if not any(name in os.environ for name in WAITING):
        os.environ.update(WAITING)


def use_threads(count: int) -> None:
    """Compute with so many threads, here and in processes that are started from here.

    Raises `EchocycleError` for a count below 1.
    """
    if count < 1:
        raise EchocycleError(f"--threads is {count}; it must be above 0.")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:  # it has read the environment already
        torch.set_num_threads(count)
