"""Work spread over processes: in order, not far ahead, errors and deaths told."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from echocycle.errors import EchocycleError
from echocycle.workers import AHEAD, in_order


def squared(number: int) -> tuple[int, int]:
    if number == 97:
        raise ValueError("97 is odd")
    if number == 98:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number, os.getpid()


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_not_far_ahead(workers: int) -> None:
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(40):
            asked.append(number)
            yield number

    results = in_order(squared, numbers(), workers)
    first = next(results)
    assert len(asked) <= AHEAD * workers + 1
    found = [first, *results]
    assert [value for value, _ in found] == [number * number for number in range(40)]
    assert (os.getpid() in {pid for _, pid in found}) == (workers == 0)


def test_an_error_of_a_job_is_raised_here() -> None:
    with pytest.raises(ValueError, match="97 is odd"):
        list(in_order(squared, [1, 97, 2], 1))


def test_a_killed_process_is_no_wait_for_ever() -> None:
    with pytest.raises(EchocycleError, match=r"ended from outside.*fewer --workers"):
        list(in_order(squared, [1, 98, 2], 1))


@pytest.mark.parametrize("how", ["script", "stdin"])
def test_a_script_needs_no_main_guard(tmp_path: Path, how: str) -> None:
    """Its first line is run once, by whom it was started, and its work is done by processes."""
    code = (
        "print('begun', flush=True)\n"
        "from echocycle.workers import in_order\n"
        "from os.path import basename\n"
        "print(list(in_order(basename, ['a/b', 'c/d'], 2)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    call = [sys.executable, str(script)] if how == "script" else [sys.executable, "-"]
    done = subprocess.run(call, input=code, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "begun\n['b', 'd']\n"
