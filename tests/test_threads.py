"""Threads wait without spinning, chosen before PyTorch loads; and their count is the user's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from echocycle import threads
from echocycle.cli import main
from echocycle.errors import EchocycleError

VARIABLES = (*threads.WAITING, "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def seen(code: str, **environment: str) -> dict[str, str]:
    """The variables of threads in a fresh process after some code, whose last line gives more to print."""
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    code = f"{code}\nimport json, os\nprint(json.dumps({{name: os.environ.get(name) for name in {VARIABLES!r}}}))"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env={**clean, **environment}, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_waiting_is_passive_before_torch_is_loaded() -> None:
    found = seen("import sys, echocycle\nassert 'torch' not in sys.modules")
    assert {name: found[name] for name in threads.WAITING} == threads.WAITING


@pytest.mark.parametrize("name", threads.WAITING)
def test_what_the_user_says_of_waiting_holds(name: str) -> None:
    found = seen("import echocycle", **{name: "7"})
    assert {each: found[each] for each in threads.WAITING if found[each] is not None} == {name: "7"}


def test_the_library_of_threads_waits_so() -> None:
    """Asked of itself: OMP_DISPLAY_ENV prints what it has read."""
    code = "import echocycle, torch"
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = done.stdout + done.stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in told
    assert "GOMP_SPINCOUNT = '0'" in told


def test_processes_that_are_started_inherit_both() -> None:
    """With spawn, as the workers that decode, draw and cut clips, and the jobs of `--at-once`."""
    code = (
        "import json, os, multiprocessing, echocycle\n"
        "from echocycle.threads import use_threads\n"
        "use_threads(3)\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        f"    got = pool.map(os.getenv, {VARIABLES!r})\n"
        "assert got == ['PASSIVE', '0', '0', '3', '3'], got"
    )
    seen(code)


def test_the_count_reaches_torch_whether_it_is_loaded_or_not(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    for before in ("", "import torch; "):
        code = (
            f"{before}from echocycle.cli import main; code = main(['info', '--threads', '1']); "
            "import torch; assert torch.get_num_threads() == 1; raise SystemExit(code)"
        )
        subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, check=True, timeout=120)


def test_a_count_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EchocycleError, match="--threads is 0"):
        threads.use_threads(0)
    assert main(["info", "--threads", "0"]) == 2
    assert "--threads is 0" in capsys.readouterr().err
