"""What becomes of damaged recordings, counted by kind of damage: `python scripts/damaged.py`.

The files are those of tests/recordings/test_damage.py: each format with each kind of damage, the ones that are drawn
three times. The output stands in docs/recordings.md.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from recordings.test_damage import DAMAGE, DRAWN, FORMATS

from echocycle.errors import EchocycleError
from echocycle.recordings.recording import read_recording


def main() -> None:
    """Print a table: damage, files, how many were refused with a sentence, how many were read."""
    outcome: dict[str, Counter[str]] = {kind: Counter() for kind in DAMAGE}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in FORMATS.items():
            path = Path(folder) / name
            sound = make(path).read_bytes()
            rng = np.random.default_rng(1)
            for kind, damage in DAMAGE.items():
                for _ in range(3 if kind in DRAWN else 1):
                    path.write_bytes(damage(sound, rng))
                    try:
                        read_recording(path)
                        outcome[kind]["read"] += 1
                    except EchocycleError:
                        outcome[kind]["refused"] += 1
    print("| damage | files | refused with a sentence | read |\n|---|---|---|---|")
    for kind, counts in outcome.items():
        print(f"| {kind} | {counts.total()} | {counts['refused']} | {counts['read']} |")
    total = sum(outcome.values(), Counter())
    print(f"| all, in {len(FORMATS)} formats | {total.total()} | {total['refused']} | {total['read']} |")


if __name__ == "__main__":
    main()
