"""`check`, `train` and `predict` on a folder of DICOM cines full of names: what they print, and whether a name is left.

    python scripts/three_commands.py [--videos 60] [--labelled 20] [--traced 10] [--keep FOLDER]

The folder is made by `tests/helpers/hospital.py`: phantom clips in eight transfer syntaxes, with planted names,
numbers, dates and writing. Preset `debug`: the numbers mean nothing. Ends with 1 where a word is found.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.hospital import SYNTAXES, words_found, write_hospital


def main() -> int:
    """Make the folder, run the three commands, look for the words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("videos", 60), ("labelled", 20), ("traced", 10)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(asked.keep or Path(folder), asked.videos, asked.labelled, asked.traced)


def run(folder: Path, videos: int, labelled: int, traced: int) -> int:
    """The same in a folder that is there."""
    data, made = folder / "hospital", folder / "made"
    words = write_hospital(data, folder / "phantom", videos, labelled, traced)
    syntaxes = f"{len(SYNTAXES)} transfer syntaxes"
    print(f"{videos} cines in {syntaxes}, {labelled} EF, {traced} contour files; {len(words)} words")
    made.mkdir(parents=True)
    commands = (
        ["check", data],
        ["--preset", "debug", "train", data, "--out", made / "runs"],
        ["predict", data, "-o", made / "results", "--model", made / "runs/runs/student/model", "--stride", "30"],
    )
    for number, command in enumerate(commands):
        started = time.perf_counter()
        text = [str(word) for word in command]
        print(f"\n$ echocycle {' '.join(text)}".replace(str(folder), "."), flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "echocycle", *text],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COLUMNS": "120"},
            check=False,
        )
        (made / f"command-{number + 1}.log").write_bytes(done.stdout)
        lines = done.stdout.decode(errors="replace").replace(str(folder), ".").splitlines()
        print("\n".join([*lines[:12], *(["..."] if len(lines) > 24 else []), *lines[max(12, len(lines) - 12) :]]))
        print(f"exit code {done.returncode}, {time.perf_counter() - started:.0f} s", flush=True)
    found = words_found(made, words)
    files = sum(path.is_file() for path in made.rglob("*"))
    print(
        f"\n{len(found)} of {len(words)} planted words found in {files} files (store, runs, bundles, results, output)"
    )
    print("\n".join(found[:20]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
