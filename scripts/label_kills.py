"""Kills the server of `label` at random moments of a scripted session, and counts what its journal has lost.

    python scripts/label_kills.py FOLDER [--kills 50] [--seed 0]

A reader works through the interface: traces, EF, notes, states. The server gets SIGKILL at a moment that chance
chooses, is started again, and the reader goes on; an action that was not answered is sent again, as the page does it.
In the end every action that was ever answered must be in the journal once, with what was sent.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from echocycle.labelling.journal import NAME, read_journal

ROOT = Path(__file__).resolve().parent.parent
SERVER = (
    "import sys; from pathlib import Path; from echocycle.labelling.serve import serve; "
    "serve(Path(sys.argv[1]), token='t', proposes=False, say=lambda text: print(text, flush=True))"
)


class Server:
    """The server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split("/?")[0]
        if not self.address.startswith("http"):
            raise SystemExit(f"The server did not begin: {self.address!r}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def actions(videos: list[str], rng: random.Random) -> Any:
    """A session without an end."""
    seq = 0
    while True:
        seq += 1
        kind = rng.choice(["trace", "trace", "trace", "note", "ef", "state"])
        action: dict[str, Any] = {"id": rng.choice(videos), "reader": "anna", "action": kind, "client": "k", "seq": seq}
        if kind == "trace":
            points = [[rng.uniform(0, 50), rng.uniform(0, 40)] for _ in range(12)]
            contour = {"frame": rng.randrange(8), "points": points, "apex": 0, "mitral": [5, 7]}
            action |= {"phase": rng.choice(["ed", "es"]), "contour": contour}
        elif kind == "note":
            action |= {"text": "n" * rng.randrange(3000)}
        elif kind == "ef":
            action |= {"value": round(rng.uniform(10, 80), 1)}
        else:
            action |= {"state": rng.choice(["checked", "new"])}
        yield action


def session(folder: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """Kill a server `kills` times while somebody works; what was answered, what is lost, what is there twice."""
    rng = random.Random(seed)
    answered: dict[int, dict[str, Any]] = {}
    under_way = torn = 0
    journal = folder / "labels" / NAME
    script = None
    waiting: dict[str, Any] | None = None
    for number in range(kills + 1):
        server = Server(folder)
        last_one = number == kills
        with httpx.Client(base_url=server.address, headers={"X-Token": "t"}, timeout=20, trust_env=False) as client:
            if script is None:
                listed = client.get("/api/videos", params={"limit": 500}).json()["videos"]
                script = actions([row["id"] for row in listed], rng)
            timer = threading.Timer(rng.uniform(0.0, 1.0), server.kill)
            until = time.monotonic() + 0.5
            try:
                while not last_one or time.monotonic() < until:
                    waiting = waiting or next(script)
                    response = client.post("/api/actions", json=waiting)
                    if response.status_code != 200:
                        raise SystemExit(f"An action was refused: {response.text}")
                    answered[waiting["seq"]] = waiting
                    waiting = None
                    if not last_one and not timer.is_alive() and not timer.finished.is_set():
                        timer.start()  # the first answer takes longest: from then on every moment is as likely
            except httpx.HTTPError:
                under_way += waiting is not None
            timer.join() if not last_one else server.kill()
        torn += journal.exists() and not journal.read_bytes().endswith(b"\n") and journal.stat().st_size > 0
    found = read_journal(journal)
    count = Counter(entry["seq"] for entry in found)
    kept = {entry["seq"]: entry for entry in found}
    return {
        "kills": kills,
        "answered": len(answered),
        "lost": sum(seq not in kept for seq in answered),
        "changed": sum(seq in kept and not _same(kept[seq], answered[seq]) for seq in answered),
        "twice": sum(times > 1 for times in count.values()),
        "under_way_at_a_kill": under_way,
        "torn_lines": torn,
    }


def _same(entry: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Whether the journal holds what was sent; coordinates to a thousandth of a pixel."""
    for key, value in sent.items():
        kept = entry.get(key)
        if key == "contour":
            pairs = zip(kept["points"], value["points"], strict=True)
            if any(abs(a - b) > 5.1e-4 for one, other in pairs for a, b in zip(one, other, strict=True)):
                return False
        elif kept != value:
            return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder with a few recordings of at least 8 frames")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print(json.dumps(session(asked.folder, asked.kills, asked.seed), indent=1))
