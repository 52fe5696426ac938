"""How long a training step takes beside other busy processes, by how threads wait and how many they are.

    python scripts/busy.py [--rounds 5] [--steps 20] [--busy N]

Measures a step of a small R(2+1)D and of a small U-Net (those of the preset `tiny`) with PyTorch's own waiting, with
passive waiting (what `echocycle` chooses) and with one thread; on the machine as it is, and beside one busy process
per core. All of it several times, one after the other, so that what else happens on the machine hits all alike.
Prints a table: median seconds of a step, the range over the rounds, and how many times the free step it takes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAYS = ("default", "passive", "one thread")
NETWORKS = ("R(2+1)D", "U-Net")
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
"""A process that keeps a core busy until its parent ends."""
ROOT = Path(__file__).parents[1]


def steps(way: str, count: int) -> dict[str, float]:
    """Median seconds of a step of each network, in this process; the way was chosen before PyTorch was loaded."""
    import torch

    if way == "default":
        assert not os.environ.get("OMP_WAIT_POLICY")
    from echocycle.models.build import build_segmenter
    from echocycle.models.regressor import Regressor
    from echocycle.settings.presets import preset

    chosen = preset("tiny")
    clips, frames = chosen.regression("student"), chosen.segment
    torch.manual_seed(0)
    video = torch.randn(clips.batch, 3, clips.frames, clips.size, clips.size)
    images = torch.randn(2 * frames.batch, 3, frames.size, frames.size)
    regressor = Regressor(clips.network, clips.widths, 3, clips.target_scale).train()
    segmenter = build_segmenter(frames.network, frames.width).train()
    found = {}
    for name, network, loss_of in (
        ("R(2+1)D", regressor, lambda: regressor(video).square().mean()),
        ("U-Net", segmenter, lambda: segmenter(images).logits.square().mean()),
    ):
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-6)
        seconds = []
        for step in range(count + 2):
            start = time.perf_counter()
            loss_of().backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if step > 1:  # the first two set things up
                seconds.append(time.perf_counter() - start)
        found[name] = statistics.median(seconds)
    return found


def measured(way: str, count: int) -> dict[str, float]:
    """The same in a process of its own."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))
    }
    environment = {**clean, "PYTHONPATH": str(ROOT)}
    # PyTorch first is PyTorch's own waiting; this package first is passive waiting
    first = "import torch" if way == "default" else "import echocycle"
    if way == "one thread":
        environment["OMP_NUM_THREADS"] = "1"
    code = f"{first}; import json, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import busy; "
    code += f"print(json.dumps(busy.steps({way!r}, {count})))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure and print."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="times that everything is measured (default 5)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each measurement (default 20)")
    parser.add_argument("--busy", type=int, default=cores, help="busy processes (default: one per core)")
    asked = parser.parse_args()
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for number in range(asked.rounds):
        for load in ("free", "busy"):
            others = [
                subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(asked.busy if load == "busy" else 0)
            ]
            try:
                for way in WAYS:
                    for network, value in measured(way, asked.steps).items():
                        seconds.setdefault((network, way, load), []).append(value)
            finally:
                for other in others:
                    other.kill()
                    other.wait()
        print(f"round {number + 1} of {asked.rounds} done", file=sys.stderr, flush=True)
    print(f"{cores} cores, {asked.busy} busy processes, {asked.rounds} rounds of {asked.steps} steps; milliseconds\n")
    print("| network | threads | free | range | busy | range | busy / free of default |")
    print("|---|---|---|---|---|---|---|")
    for network in NETWORKS:
        reference = statistics.median(seconds[network, "default", "free"])
        for way in WAYS:
            cells = []
            for load in ("free", "busy"):
                values = [1000 * value for value in seconds[network, way, load]]
                cells += [f"{statistics.median(values):.0f}", f"{min(values):.0f} to {max(values):.0f}"]
            ratio = statistics.median(seconds[network, way, "busy"]) / reference
            print(f"| {network} | {way} | {' | '.join(cells)} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
