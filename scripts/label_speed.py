"""How long calls of the interface of `label` take with many videos in the project; half of them have labels.

    python scripts/label_speed.py FOLDER [--videos 10000] [--calls 200]

FOLDER is made: small files that differ, which the project hashes and lists like any recording; one can be read.
"""

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from echocycle.labelling.frames import Facts, Frames
from echocycle.labelling.journal import NAME, Journal
from echocycle.labelling.project import Project
from echocycle.labelling.serve import serve
from echocycle.recordings.video import write_mjpeg

TOKEN = "t"


def contour(frame: int, wide: float) -> dict[str, Any]:
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points = [[56 + wide * float(np.sin(a)), 60 - 30 * float(np.cos(a))] for a in angles]
    return {"frame": frame, "points": points, "apex": 0, "mitral": [5, 7]}


def make(folder: Path, videos: int) -> str:
    """The project, with a journal of labels for every second video; gives the id of the one that can be read."""
    place = folder / "archive"
    place.mkdir(parents=True)
    for number in range(videos - 1):
        (place / f"clip_{number:06}.avi").write_bytes(b"RIFF\0\0\0\0AVI " + str(number).encode())
    noise = np.random.default_rng(0).integers(0, 256, (40, 112, 112), np.uint8)
    write_mjpeg(folder / "read.avi", noise, 50)
    project = Project(folder)
    ids = [video.id for video in project.videos.values()]
    frames = Frames(folder / "cache", lambda video: project.videos[video].path)
    for video in ids:  # as if each had been looked at before; only what is read is read from the file
        frames.learn(video, Facts(40, 112, 112, 50.0, (0.5, 0.5), 1.0, ()))
    file = folder / "labels" / NAME
    journal = Journal(file)
    journal.close()
    lines = []
    for number, video in enumerate(ids[: videos // 2]):
        for phase, frame, wide in (("ed", 3, 18.0), ("es", 20, 14.0)):
            n = len(lines) + 1
            entry = {"n": n, "at": "2026-01-01T00:00:00.000+00:00", "client": "made", "seq": n, "id": video, "file": ""}
            entry |= {"reader": f"r{number % 2}", "action": "trace", "phase": phase, "contour": contour(frame, wide)}
            lines.append(json.dumps(entry))
    file.write_text("\n".join(lines) + "\n")
    return next(video.id for video in project.videos.values() if video.name == "read.avi")


def measure(folder: Path, calls: int, video: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of call: median, 95th percentile, slowest; the first one is counted too."""
    address: list[str] = []
    begun = threading.Event()

    def say(text: str) -> None:
        address.append(text.split("/?")[0])
        begun.set()

    start = time.perf_counter()
    how = {"token": TOKEN, "proposes": False, "say": say, "tell": lambda text: None}
    threading.Thread(target=serve, args=(folder,), kwargs=how, daemon=True).start()
    begun.wait(600)
    found = {"start": {"ms": 1000 * (time.perf_counter() - start)}}
    with httpx.Client(base_url=address[0], headers={"X-Token": TOKEN}, timeout=60, trust_env=False) as client:
        seq = iter(range(1, 10**9))
        note = {"id": video, "reader": "a", "action": "note", "text": "x", "client": "speed"}
        trace = {"id": video, "reader": "a", "action": "trace", "phase": "ed", "client": "speed"}
        pair = {"id": video, "ed": contour(3, 18.0), "es": contour(20, 14.0)}
        kinds: dict[str, Callable[[int], httpx.Response]] = {
            "project": lambda n: client.get("/api/project"),
            "videos, by name": lambda n: client.get("/api/videos", params={"order": "name", "offset": 50 * n}),
            "videos, by suggest": lambda n: client.get("/api/videos", params={"order": "suggest", "offset": 50 * n}),
            "videos, by ef": lambda n: client.get("/api/videos", params={"order": "ef", "offset": 50 * n}),
            "videos, by state": lambda n: client.get("/api/videos", params={"order": "state", "state": "traced"}),
            "videos, search": lambda n: client.get("/api/videos", params={"search": f"clip {n}"}),
            "one video": lambda n: client.get(f"/api/videos/{video}"),
            "frame": lambda n: client.get(f"/api/videos/{video}/frames/{n % 40}.png"),
            "strip of 40": lambda n: client.get(f"/api/videos/{video}/strip/0-39.png"),
            "measure": lambda n: client.post("/api/measure", json=pair),
            "action, note": lambda n: client.post("/api/actions", json={**note, "seq": next(seq)}),
            "action, trace": lambda n: client.post(
                "/api/actions", json={**trace, "contour": contour(3, 18 + n % 5), "seq": next(seq)}
            ),
            "events": lambda n: client.get("/api/events", params={"after": 10_000}),
            "runs": lambda n: client.get("/api/runs"),
            "suggest": lambda n: client.get("/api/suggest"),
        }
        for kind, call in kinds.items():
            times = []
            for number in range(calls):
                start = time.perf_counter()
                response = call(number)
                times.append(1000 * (time.perf_counter() - start))
                response.raise_for_status()
            low, high = np.percentile(times, [50, 95])
            found[kind] = {"median": round(float(low), 1), "p95": round(float(high), 1), "most": round(max(times), 1)}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=200)
    asked = parser.parse_args()
    start = time.perf_counter()
    readable = make(asked.folder, asked.videos)
    print(f"made in {time.perf_counter() - start:.1f} s")
    for kind, numbers in measure(asked.folder, asked.calls, readable).items():
        print(f"{kind:20}", numbers)
