"""The short form of `make soak`: every stage is broken in several ways at chance moments, and nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.slow
def test_nothing_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "faults.py"), "--brief"], capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    counted = json.loads(done.stdout.splitlines()[-1])
    assert counted["lost"] == 0
    assert counted["injected"] >= 10, done.stdout


@pytest.mark.slow
def test_a_loss_is_seen(tmp_path: Path) -> None:
    """The harness can fail: a stage that leaves something behind is told, with exit code 1."""
    script = tmp_path / "broken.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "import faults\n"
        "whole = faults.contents\n"
        "def other(room):\n"
        "    return {**whole(room), **({'a': b''} if room.name == 'room' else {})}\n"
        "faults.contents = other\n"
        "sys.argv[1:] = ['--rounds', '1', '--stages', 'phantom', '--faults', 'kill-op']\n"
        "sys.exit(faults.main())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert "LOST phantom kill-op round 0 seed 0: a is left over" in done.stdout
