"""Predicts many tiny recordings in one call and watches the memory of the process.

    python scripts/soak.py [--clips 5000] [--formats json,csv,masks] [--minutes 60]

Prints recordings done, resident memory and seconds, ten lines in all, and the growth from the second tenth to the last.
Exit code 1 if a recording has no result, or memory grew by more than 64 MB in that time: the table of results and the
list of what was done may grow, pictures and masks may not.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ALLOWED = 64 << 20


def make(home: Path, clips: int) -> None:
    """A small model, and a folder of recordings: eight that differ, under as many names as wanted."""
    from helpers.predicting import SPAN, make_model, write_short

    from echocycle.datasets.prepare import prepare_store
    from echocycle.phantom.settings import PhantomSettings
    from echocycle.phantom.write import write_phantom
    from echocycle.settings.presets import preset

    videos = home / "videos"
    write_phantom(videos, PhantomSettings(**{**preset("debug").phantom, "videos": 8, "val": 2, "test": 2}))
    make_model(prepare_store(videos, home / "store", preset("debug").prepare), home / "known")
    first = [write_short(videos, home / f"first{number}.avi", SPAN + 1, number) for number in range(8)]
    for number in range(clips):
        folder = home / "clips" / f"{number // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(first[number % 8], folder / f"clip{number:05}.avi")


def main() -> int:
    """Make, predict, watch, print."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--clips", type=int, default=5000)
    asked.add_argument("--formats", default="json,csv,masks")
    asked.add_argument("--minutes", type=float, default=600.0)
    chosen = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home, chosen.clips)
        words = ["predict", str(home / "clips"), "--out", str(home / "out"), "--model", str(home / "known")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        begun = time.monotonic()
        with open(home / "log", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "echocycle", *words, "--formats", chosen.formats],
                stdout=log,
                stderr=log,
                env=environment,
            )
            seen = _watch(process, home, chosen.clips, begun + chosen.minutes * 60)
        done = _done(home)
        code = process.wait()
    if code not in (0, 1) or (code == 0 and done != chosen.clips):
        print(f"predict ended with {code} after {done} of {chosen.clips} recordings.")
        return 1
    early = [memory for count, memory in seen if chosen.clips * 0.1 <= count <= chosen.clips * 0.2]
    growth = seen[-1][1] - max(early)
    print(f"{done} of {chosen.clips} recordings have a result; memory grew by {growth / 2**20:.1f} MB after a fifth.")
    return int(growth > ALLOWED or done != chosen.clips)


def _watch(process: "subprocess.Popen[bytes]", home: Path, clips: int, end: float) -> list[tuple[int, int]]:
    """Recordings done and bytes of memory, every half second, until the process ends."""
    seen: list[tuple[int, int]] = []
    begun, told = time.monotonic(), -1
    print("| recordings | memory, MB | seconds |\n|---|---|---|")
    while process.poll() is None:
        if time.monotonic() > end:
            process.kill()
        try:
            memory = psutil.Process(process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            break
        done = _done(home)
        if done and memory:
            seen.append((done, memory))
            if done * 10 // clips > told:
                told = done * 10 // clips
                print(f"| {done} | {memory / 2**20:.0f} | {time.monotonic() - begun:.0f} |", flush=True)
        time.sleep(0.5)
    return seen


def _done(home: Path) -> int:
    """Results that are written; predict keeps the folders of its inputs."""
    return sum(1 for _ in (home / "out").rglob("clip*.json"))


if __name__ == "__main__":
    sys.exit(main())
