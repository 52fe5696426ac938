"""How much the phantom looks like real clips: `python -m echocycle.phantom.realism [--videos 200]`.

Draws clips with default settings (or reads a phantom's folder with `--folder`), measures them as real clips were
measured, and prints every row beside its target. Ends with 0 when at most three rows fail, else with 1.

Targets are aggregate statistics: of EchoNet-Dynamic's file list (10,030 clips), of 203 of its raw clips ("raw avi"), of
the nine clips its owners show ("mp4", H.264, which smooths: less sharp, less motion noise) and of 50 CAMUS patients.
Pixels are pooled over a clip's frames; the phantom counts by the median over its clips.

To be quick, grey levels, speckle and frame differences use 8 evenly spaced frames of a clip, correlations in time 8
pairs per lag. The fan's fit, the time mean, the left ventricle's area curve and the file list use everything.
"""

import argparse
import platform
import sys
from pathlib import Path

import numpy as np
import scipy

from echocycle.phantom.realism.clips import drawn_clips, read_clips, read_settings
from echocycle.phantom.realism.file_list import measure_file_list
from echocycle.phantom.realism.measure import measure_clip
from echocycle.phantom.realism.table import ALLOWED_FAILURES, judge_all, report
from echocycle.phantom.settings import PHANTOM_VERSION, PhantomSettings


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether the phantom is like real clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=200, help="clips to draw")
    parser.add_argument("--seed", type=int, default=0, help="seed of the phantom")
    parser.add_argument("--version", type=int, choices=(1, 2), default=PHANTOM_VERSION, help="of the phantom")
    parser.add_argument("--folder", type=Path, help="read this phantom instead of drawing one")
    parser.add_argument("--out", type=Path, help="write the tables here, too")
    options = parser.parse_args(arguments)
    if options.folder is None:
        settings = PhantomSettings(options.videos, val=0, test=0, seed=options.seed, version=options.version)
        clips = drawn_clips(settings)
    else:
        settings = read_settings(options.folder)
        clips = read_clips(options.folder, settings)
    measured = []
    for clip in clips:
        measured.append(measure_clip(clip))
        if len(measured) % 20 == 0:
            print(f"{len(measured)} of {settings.videos} clips", file=sys.stderr, flush=True)
    sections = judge_all(measured, measure_file_list(settings))
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    origin = "as drawn" if options.folder is None else "read from a folder"
    text = report(sections, settings.version, f"{settings.videos} clips {origin}, seed {settings.seed}; {versions}.")
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    failures = sum(row.passed is False for section in sections.values() for row in section)
    return 0 if failures <= ALLOWED_FAILURES else 1


if __name__ == "__main__":
    sys.exit(main())
