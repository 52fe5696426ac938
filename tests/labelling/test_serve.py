"""The server as a process: killed at random moments it loses nothing that it answered; told to end, it ends in order."""

import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.labelling import fake_videos
from helpers.recording_files import encode, smooth

from echocycle import cli
from echocycle.files import write_text
from echocycle.labelling.serve import PORT, _bind

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_answered_action_survives_sigkill(tmp_path):
    """Eight kills; `scripts/label_kills.py` does as many as one likes."""
    folder = tmp_path / "clinic"
    for number in range(3):
        encode(folder / f"{number}.mp4", smooth(8 + number, 48, 64))
    session = runpy.run_path(str(ROOT / "scripts" / "label_kills.py"))["session"]
    found = session(folder, 8)
    assert found["answered"] > 8
    assert (found["lost"], found["changed"], found["twice"]) == (0, 0, 0)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_told_to_end_says_so_and_leaves_no_lock(tmp_path, how):
    folder = fake_videos(tmp_path / "clinic", 2)
    command = [sys.executable, "-m", "echocycle", "label", str(folder), "--no-open", "--reader", "anna"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as server:
        address = server.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        assert "/?token=" in address
        assert (folder / PORT).read_text().strip() == address.split(":")[2].split("/")[0]
        server.send_signal(how)
        told = server.communicate(timeout=60)[1]
    assert server.returncode == 0
    assert told.strip().endswith("Stopped. Everything that was done is kept.")
    assert "Traceback" not in told
    assert not (folder / ".labels.lock").exists()


def test_a_server_that_comes_back_has_the_address_that_it_had(tmp_path):
    """A browser keeps for one address only what it could not send."""
    folder = tmp_path / "clinic"
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        port = _bind(first, 0, folder / PORT)
        write_text(folder / PORT, f"{port}\n")
        first.listen()
        assert _bind(second, 0, folder / PORT) != port  # somebody has it
        first.close()
        assert _bind(third, 0, folder / PORT) == port
    write_text(folder / PORT, "no number")
    with socket.socket() as fourth:
        assert _bind(fourth, 0, folder / PORT) > 0


def test_wrong_words_are_told(tmp_path, capsys):
    assert cli.main(["label", str(tmp_path / "absent"), "--no-open"]) == 2
    assert "is no folder" in " ".join(capsys.readouterr().err.split())
    assert cli.main(["label", str(fake_videos(tmp_path, 1)), "--no-open", "--port", "70000"]) == 2
    assert "--port is 70000" in capsys.readouterr().err
