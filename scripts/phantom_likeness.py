"""How much the phantom looks like real clips: `python scripts/phantom_likeness.py [--videos 200] [--out FILE.md]`.

Draws clips with default settings (or reads a phantom's folder with `--folder`), measures them as real clips were
measured, and prints every row beside its target. Ends with 0 when at most three rows fail, else with 1.

Targets are aggregate statistics: of EchoNet-Dynamic's file list (10,030 clips), of 203 of its raw clips ("raw avi"), of
the nine clips its owners show ("mp4", H.264, which smooths: less sharp, less motion noise) and of 50 CAMUS patients.
Pixels are pooled over a clip's frames; the phantom counts by the median over its clips.

To be quick, grey levels, speckle and frame differences use 8 evenly spaced frames of a clip, correlations in time 8
pairs per lag. The fan's fit, the time mean, the left ventricle's area curve and the file list use everything.
"""

import argparse
import csv
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import ndimage, signal

from echocycle.files import read_json
from echocycle.phantom.patient import draw_patient
from echocycle.phantom.settings import PHANTOM_VERSION, PhantomSettings
from echocycle.phantom.write import clip_name, make_clip
from echocycle.settings.convert import from_dict

Floats = NDArray[np.floating]
Mask = NDArray[np.bool_]
Measures = dict[str, float]


class Target(NamedTuple):
    """One row: what real clips measure, and the range in which the phantom passes; without a range it only informs."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str
    """Whence the number; "tolerance" where no range was measured and the one given here is a choice."""


# "tolerance": a quarter of the value and at least a few grey levels for pictures, narrower for the file list, 0.12 for
# the beat. "less smoothing": measured on mp4 only, so the range reaches from the mp4's value towards that of an
# unsmoothed clip, by about as much as the whole fan differs between mp4 and raw avi. Rows that end in "mp4" have a twin
# from raw avi, which decides; CAMUS is another scanner. Both only inform.
TARGETS: dict[str, tuple[Target, ...]] = {
    "File list, over 10,030 drawn patients": (
        Target("EF, mean", 55.8, 55.1, 56.5, "%", "file list, tolerance"),
        Target("EF, sd", 12.4, 11.7, 13.1, "%", "file list, tolerance"),
        Target("EF, 1 %", 17.9, 15.6, 20.1, "%", "file list, tolerance"),
        Target("EF, 5 %", 27.9, 26.4, 29.4, "%", "file list, tolerance"),
        Target("EF, 25 %", 51.6, 50.1, 53.1, "%", "file list, tolerance"),
        Target("EF, 50 %", 59.2, 57.7, 60.7, "%", "file list, tolerance"),
        Target("EF, 75 %", 64.0, 62.5, 65.5, "%", "file list, tolerance"),
        Target("EF, 95 %", 69.1, 67.6, 70.6, "%", "file list, tolerance"),
        Target("EF, 99 %", 74.3, 72, 76.5, "%", "file list, tolerance"),
        Target("EF, min", 6.9, 4, 14, "%", "file list, tolerance"),
        Target("EF, max", 97.0, 75, 100, "%", "file list, tolerance"),
        Target("EDV, mean", 91.3, 85.8, 96.8, "mL", "file list, tolerance"),
        Target("EDV, sd", 45.7, 38.8, 52.6, "mL", "file list, tolerance"),
        Target("EDV, 1 %", 28.9, 26.3, 31.5, "mL", "file list, tolerance"),
        Target("EDV, 5 %", 40.4, 38, 42.8, "mL", "file list, tolerance"),
        Target("EDV, 25 %", 62.2, 58.5, 65.9, "mL", "file list, tolerance"),
        Target("EDV, 50 %", 82.1, 77.2, 87, "mL", "file list, tolerance"),
        Target("EDV, 75 %", 108.3, 102, 115, "mL", "file list, tolerance"),
        Target("EDV, 95 %", 173.2, 163, 184, "mL", "file list, tolerance"),
        Target("EDV, 99 %", 262.4, 239, 286, "mL", "file list, tolerance"),
        Target("EDV, min", 12.6, 8, 25, "mL", "file list, tolerance"),
        Target("EDV, max", 695, 400, 800, "mL", "file list, tolerance"),
        Target("ESV, mean", 43.4, 39.1, 47.7, "mL", "file list, tolerance"),
        Target("ESV, sd", 35.8, 30.4, 41.2, "mL", "file list, tolerance"),
        Target("ESV, 1 %", 9.5, 8.07, 10.9, "mL", "file list, tolerance"),
        Target("ESV, 5 %", 14.2, 12.8, 15.6, "mL", "file list, tolerance"),
        Target("ESV, 25 %", 23.7, 21.3, 26.1, "mL", "file list, tolerance"),
        Target("ESV, 50 %", 33.6, 30.2, 37, "mL", "file list, tolerance"),
        Target("ESV, 75 %", 49.1, 44.2, 54, "mL", "file list, tolerance"),
        Target("ESV, 95 %", 108.2, 97.4, 119, "mL", "file list, tolerance"),
        Target("ESV, 99 %", 193.2, 164, 222, "mL", "file list, tolerance"),
        Target("ESV, min", 4.4, 2, 9, "mL", "file list, tolerance"),
        Target("ESV, max", 612, 300, 700, "mL", "file list, tolerance"),
        Target("fps, mean", 51.1, 48.5, 53.7, "/s", "file list, tolerance"),
        Target("fps, sd", 6.2, 5.27, 7.13, "/s", "file list, tolerance"),
        Target("fps, 1 %", 33, 30.5, 35.5, "/s", "file list, tolerance"),
        Target("fps, 5 %", 47, 44.6, 49.4, "/s", "file list, tolerance"),
        Target("fps, 25 %", 50, 47.5, 52.5, "/s", "file list, tolerance"),
        Target("fps, 50 %", 50, 47.5, 52.5, "/s", "file list, tolerance"),
        Target("fps, 75 %", 50, 47.5, 52.5, "/s", "file list, tolerance"),
        Target("fps, 95 %", 61, 58, 64, "/s", "file list, tolerance"),
        Target("fps, 99 %", 76, 70.3, 81.7, "/s", "file list, tolerance"),
        Target("fps, min", 18, 18, 25, "/s", "file list, tolerance"),
        Target("fps, max", 138, 100, 140, "/s", "file list, tolerance"),
        Target("frames, mean", 177, 168, 186, "", "file list, tolerance"),
        Target("frames, sd", 58, 49.3, 66.7, "", "file list, tolerance"),
        Target("frames, 1 %", 74, 68.5, 79.5, "", "file list, tolerance"),
        Target("frames, 5 %", 108, 103, 113, "", "file list, tolerance"),
        Target("frames, 25 %", 144, 137, 151, "", "file list, tolerance"),
        Target("frames, 50 %", 171, 162, 180, "", "file list, tolerance"),
        Target("frames, 75 %", 201, 191, 211, "", "file list, tolerance"),
        Target("frames, 95 %", 253, 240, 266, "", "file list, tolerance"),
        Target("frames, 99 %", 354, 327, 381, "", "file list, tolerance"),
        Target("frames, min", 28, 28, 40, "", "file list, tolerance"),
        Target("frames, max", 1002, 600, 1002, "", "file list, tolerance"),
        Target("seconds, 1 %", 1.6, 1.41, 1.79, "s", "file list, tolerance"),
        Target("seconds, 5 %", 2.2, 2.02, 2.38, "s", "file list, tolerance"),
        Target("seconds, 25 %", 2.9, 2.67, 3.13, "s", "file list, tolerance"),
        Target("seconds, 50 %", 3.4, 3.13, 3.67, "s", "file list, tolerance"),
        Target("seconds, 75 %", 4.0, 3.68, 4.32, "s", "file list, tolerance"),
        Target("seconds, 95 %", 4.9, 4.51, 5.29, "s", "file list, tolerance"),
        Target("seconds, 99 %", 6.2, 5.46, 6.94, "s", "file list, tolerance"),
        Target("seconds, min", 0.7, 0.5, 1.2, "s", "file list, tolerance"),
        Target("seconds, max", 20, 8, 25, "s", "file list, tolerance"),
        Target("fps is 50, share", 79, 77, 81, "%", "file list, tolerance"),
        Target("fewer than 63 frames, clips", 54, 30, 80, "", "file list, tolerance"),
        Target("fewer than 80 frames, clips", 129, 90, 170, "", "file list, tolerance"),
        Target("fewer than 32 frames, clips", 3, 0, 12, "", "file list, tolerance"),
        Target("EF below 30, share", 6.2, 5.2, 7.2, "%", "file list, tolerance"),
        Target("EF 30-40, share", 6.4, 5.4, 7.4, "%", "file list, tolerance"),
        Target("EF 40-50, share", 9.8, 8.8, 10.8, "%", "file list, tolerance"),
        Target("EF 50-55, share", 8.2, 7.2, 9.2, "%", "file list, tolerance"),
        Target("EF 55-60, share", 24.6, 23.6, 25.6, "%", "file list, tolerance"),
        Target("EF 60-65, share", 25.8, 24.8, 26.8, "%", "file list, tolerance"),
        Target("EF 65-70, share", 15.8, 14.8, 16.8, "%", "file list, tolerance"),
        Target("EF 70 and above, share", 3.2, 2.2, 4.2, "%", "file list, tolerance"),
        Target("EF, skew", -1.3, -1.5, -1.1, "", "file list, tolerance"),
        Target("correlation EF-EDV", -0.53, -0.59, -0.47, "", "file list, tolerance"),
        Target("correlation EF-ESV", -0.76, -0.82, -0.7, "", "file list, tolerance"),
        Target("correlation EDV-ESV", 0.92, 0.86, 0.98, "", "file list, tolerance"),
        Target("median EDV at EF below 30", 162, 149, 175, "mL", "file list, tolerance"),
        Target("median EDV at EF 30-45", 111, 102, 120, "mL", "file list, tolerance"),
        Target("median EDV at EF 45-55", 91, 83.7, 98.3, "mL", "file list, tolerance"),
        Target("median EDV at EF 55-65", 78, 71.8, 84.2, "mL", "file list, tolerance"),
        Target("median EDV at EF above 65", 67, 61.6, 72.4, "mL", "file list, tolerance"),
        Target("naive MAE on TEST, TRAIN median", 8.56, 7.96, 9.16, "%", "file list, tolerance"),
        Target("naive MAE on VAL, TRAIN median", 8.58, 7.98, 9.18, "%", "file list, tolerance"),
        Target("naive RMSE on TEST, TRAIN mean", 12.2, 11.5, 12.9, "%", "file list, tolerance"),
        Target("EF against 100 (1 - ESV/EDV), worst difference", 0, 0, 1e-06, "%", "file list"),
        Target("clips of 112 x 112, share", 100, 99.9, 100, "%", "file list"),
    ),
    "Sector": (
        Target("fan apex x", 61.3, 61.0, 62.4, "px", "raw avi 5-95 %"),
        Target("fan apex y", 4.7, 3.6, 5.5, "px", "raw avi 5-95 %"),
        Target("fan left edge", 44.9, 43.6, 45.4, "deg", "raw avi 5-95 %"),
        Target("fan right edge", 43.6, 41.1, 45.0, "deg", "raw avi 5-95 %"),
        Target("fan first echo, radius", 7.8, 6.8, 8.8, "px", "raw avi, tolerance"),
        Target("fan far arc, radius", 103.9, 103, 105, "px", "raw avi 5-95 %"),
        Target("fan ends at row", 108, 107, 110, "px", "raw avi, tolerance"),
        Target("fan cut by the left border from row", 66, 62, 70, "px", "raw avi, tolerance"),
        Target("fan cut by the right border from row", 56, 52, 60, "px", "raw avi, tolerance"),
        Target("fan fills the frame", 0.62, 0.54, 0.65, "share", "raw avi 5-95 %"),
        Target("outside the fan, 95th percentile", 2, 0, 2, "grey", "raw avi"),
        Target("clips with a probe mark", 100, 50, 100, "%", "raw avi, 'as a rule'"),
        Target("clips with a ruler along the right edge", 100, 50, 100, "%", "raw avi, 'as a rule'"),
        Target("clips with one dark flank", 22, 3, 60, "%", "9 mp4, binomial interval of 2 in 9"),
    ),
    "Grey levels": (
        Target("cavity, 5 %", 0, 0, 3, "grey", "9 mp4, tolerance"),
        Target("cavity, 25 %", 2, 0, 5, "grey", "9 mp4, tolerance"),
        Target("cavity, 50 %", 6, 1, 18, "grey", "9 mp4 range"),
        Target("cavity, 75 %", 15, 11.2, 18.8, "grey", "9 mp4, tolerance"),
        Target("cavity, 95 %", 57, 42.8, 71.2, "grey", "9 mp4, tolerance"),
        Target("cavity, mean", 16, 4, 24, "grey", "9 mp4 range"),
        Target("cavity, sd", 20, 15, 25, "grey", "9 mp4, tolerance"),
        Target("wall, 5 %", 14, 10.5, 17.5, "grey", "9 mp4, tolerance"),
        Target("wall, 25 %", 39, 29.2, 48.8, "grey", "9 mp4, tolerance"),
        Target("wall, 50 %", 63, 27, 104, "grey", "9 mp4 range"),
        Target("wall, 75 %", 99, 74.2, 124, "grey", "9 mp4, tolerance"),
        Target("wall, 95 %", 169, 127, 211, "grey", "9 mp4, tolerance"),
        Target("wall, mean", 73, 38, 116, "grey", "9 mp4 range"),
        Target("wall, sd", 50, 37.5, 62.5, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, 5 %", 1, 0, 4, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, 25 %", 10, 7, 13, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, 50 %", 34, 25.5, 42.5, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, 75 %", 87, 65.2, 109, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, 95 %", 171, 128, 214, "grey", "9 mp4, tolerance"),
        Target("rest of the fan, mean", 54, 43, 93, "grey", "9 mp4 range"),
        Target("whole fan, 5 %", 0, 0, 3, "grey", "raw avi, tolerance"),
        Target("whole fan, 25 %", 7, 4, 10, "grey", "raw avi, tolerance"),
        Target("whole fan, 50 %", 33, 24.8, 41.2, "grey", "raw avi, tolerance"),
        Target("whole fan, 75 %", 84, 63, 105, "grey", "raw avi, tolerance"),
        Target("whole fan, 95 %", 156, 117, 195, "grey", "raw avi, tolerance"),
        Target("whole fan, 5 %, mp4", 0, None, None, "grey", "9 mp4"),
        Target("whole fan, 25 %, mp4", 6, None, None, "grey", "9 mp4"),
        Target("whole fan, 50 %, mp4", 32, None, None, "grey", "9 mp4"),
        Target("whole fan, 75 %, mp4", 80, None, None, "grey", "9 mp4"),
        Target("whole fan, 95 %, mp4", 160, None, None, "grey", "9 mp4"),
        Target("fan below 4, share", 20, 5, 35, "%", "9 mp4 range"),
        Target("whole frame, mean", 33, 21, 46, "grey", "raw avi 5-95 %"),
        Target("whole frame, sd", 48, 35, 62, "grey", "raw avi 5-95 %"),
        Target("septum, mean", 114, 55, 162, "grey", "9 mp4 range"),
        Target("lateral wall, mean", 52, 25, 114, "grey", "9 mp4 range"),
        Target("apical wall, mean", 66, 33, 103, "grey", "9 mp4 range"),
        Target("septum over lateral wall", 2, 1.5, 2.7, "ratio", "9 mp4, tolerance"),
        Target("wall over cavity, means", 4, 2.7, 6, "ratio", "9 mp4, tolerance"),
        Target("cavity, apical third", 25, 17.5, 32.5, "grey", "9 mp4, tolerance"),
        Target("cavity, middle third", 11, 7.7, 14.3, "grey", "9 mp4, tolerance"),
        Target("cavity, basal third", 9, 6, 12, "grey", "9 mp4, tolerance"),
        Target("edge, -8 px", 15, 10, 20, "grey", "9 mp4, tolerance"),
        Target("edge, -4 px", 24, 18, 30, "grey", "9 mp4, tolerance"),
        Target("edge, -2 px", 30, 22.5, 37.5, "grey", "9 mp4, tolerance"),
        Target("edge, -1 px", 38, 28.5, 47.5, "grey", "9 mp4, tolerance"),
        Target("edge, +1 px", 47, 35.2, 58.8, "grey", "9 mp4, tolerance"),
        Target("edge, +2 px", 56, 42, 70, "grey", "9 mp4, tolerance"),
        Target("edge, +3 px", 67, 50.2, 83.8, "grey", "9 mp4, tolerance"),
        Target("edge, +4 px", 75, 56.2, 93.8, "grey", "9 mp4, tolerance"),
        Target("edge, +5 px", 86, 64.5, 108, "grey", "9 mp4, tolerance"),
        Target("edge, +6 px", 85, 63.8, 106, "grey", "9 mp4, tolerance"),
        Target("edge, +8 px", 70, 52.5, 87.5, "grey", "9 mp4, tolerance"),
        Target("edge, +12 px", 64, 48, 80, "grey", "9 mp4, tolerance"),
        Target("radius 5-15 px", 64, 48, 80, "grey", "raw avi, tolerance"),
        Target("radius 15-25 px", 66, 49.5, 82.5, "grey", "raw avi, tolerance"),
        Target("radius 25-35 px", 53, 39.8, 66.2, "grey", "raw avi, tolerance"),
        Target("radius 35-45 px", 49, 36.8, 61.2, "grey", "raw avi, tolerance"),
        Target("radius 45-55 px", 47, 35.2, 58.8, "grey", "raw avi, tolerance"),
        Target("radius 55-65 px", 42, 31.5, 52.5, "grey", "raw avi, tolerance"),
        Target("radius 65-75 px", 44, 33, 55, "grey", "raw avi, tolerance"),
        Target("radius 75-85 px", 40, 30, 50, "grey", "raw avi, tolerance"),
        Target("radius 85-95 px", 43, 32.2, 53.8, "grey", "raw avi, tolerance"),
        Target("radius 95-105 px", 53, 39.8, 66.2, "grey", "raw avi, tolerance"),
        Target("angle -50 to -40 deg", 22, 16.5, 44, "grey", "raw avi, half of the bin may be outside"),
        Target("angle -40 to -30 deg", 55, 41.2, 68.8, "grey", "raw avi, tolerance"),
        Target("angle -30 to -20 deg", 48, 36, 60, "grey", "raw avi, tolerance"),
        Target("angle -20 to -10 deg", 44, 33, 55, "grey", "raw avi, tolerance"),
        Target("angle -10 to 0 deg", 35, 26.2, 43.8, "grey", "raw avi, tolerance"),
        Target("angle 0 to 10 deg", 29, 21.8, 36.2, "grey", "raw avi, tolerance"),
        Target("angle 10 to 20 deg", 54, 40.5, 67.5, "grey", "raw avi, tolerance"),
        Target("angle 20 to 30 deg", 52, 39, 65, "grey", "raw avi, tolerance"),
        Target("angle 30 to 40 deg", 40, 30, 50, "grey", "raw avi, tolerance"),
        Target("angle 40 to 50 deg", 17, 12.8, 34, "grey", "raw avi, half of the bin may be outside"),
    ),
    "Speckle, half-height lag": (
        Target("fan, lag x", 1.56, 1.1, 1.9, "px", "raw avi 5-95 %"),
        Target("fan, lag y", 1.03, 0.7, 2.1, "px", "raw avi 5-95 %"),
        Target("fan, lag x, mp4", 1.8, None, None, "px", "9 mp4"),
        Target("fan, lag y, mp4", 1.7, None, None, "px", "9 mp4"),
        Target("wall, lag x", 1.0, 0.6, 1.4, "px", "9 mp4 less smoothing, tolerance"),
        Target("wall, lag y", 1.0, 0.5, 1.4, "px", "9 mp4 less smoothing, tolerance"),
        Target("cavity, lag x", 1.2, 0.7, 1.6, "px", "9 mp4 less smoothing, tolerance"),
        Target("cavity, lag y", 0.9, 0.5, 1.3, "px", "9 mp4 less smoothing, tolerance"),
    ),
    "Time, clips of 50 frames a second": (
        Target("fan, correlation 1 frames later", 0.88, 0.83, 0.92, "", "raw avi 5-95 %"),
        Target("fan, correlation 2 frames later", 0.74, 0.65, 0.82, "", "raw avi 5-95 %"),
        Target("fan, correlation 3 frames later", 0.67, 0.55, 0.75, "", "raw avi 5-95 %"),
        Target("fan, correlation 5 frames later", 0.56, 0.44, 0.67, "", "raw avi 5-95 %"),
        Target("fan, correlation 10 frames later", 0.43, 0.29, 0.55, "", "raw avi 5-95 %"),
        Target("fan, correlation 25 frames later", 0.36, 0.22, 0.49, "", "raw avi 5-95 %"),
        Target("fan, correlation 1 frames later, mp4", 0.94, None, None, "", "9 mp4"),
        Target("fan, correlation 2 frames later, mp4", 0.86, None, None, "", "9 mp4"),
        Target("fan, correlation 3 frames later, mp4", 0.79, None, None, "", "9 mp4"),
        Target("fan, correlation 5 frames later, mp4", 0.69, None, None, "", "9 mp4"),
        Target("fan, correlation 10 frames later, mp4", 0.56, None, None, "", "9 mp4"),
        Target("fan, correlation 25 frames later, mp4", 0.45, None, None, "", "9 mp4"),
        Target("wall, correlation 1 frames later", 0.95, 0.84, 0.95, "", "9 mp4 less smoothing, tolerance"),
        Target("wall, correlation 2 frames later", 0.86, 0.66, 0.86, "", "9 mp4 less smoothing, tolerance"),
        Target("wall, correlation 3 frames later", 0.79, 0.57, 0.79, "", "9 mp4 less smoothing, tolerance"),
        Target("wall, correlation 5 frames later", 0.67, 0.43, 0.67, "", "9 mp4 less smoothing, tolerance"),
        Target("wall, correlation 10 frames later", 0.51, 0.25, 0.51, "", "9 mp4 less smoothing, tolerance"),
        Target("wall, correlation 25 frames later", 0.49, 0.26, 0.53, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 1 frames later", 0.89, 0.79, 0.89, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 2 frames later", 0.75, 0.55, 0.75, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 3 frames later", 0.64, 0.42, 0.64, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 5 frames later", 0.5, 0.26, 0.5, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 10 frames later", 0.37, 0.11, 0.37, "", "9 mp4 less smoothing, tolerance"),
        Target("cavity, correlation 25 frames later", 0.27, 0.04, 0.32, "", "9 mp4 less smoothing, tolerance"),
        Target("fan, frame difference", 9.5, 7.2, 12.0, "grey", "raw avi 5-95 %"),
        Target("whole frame, frame difference", 5.9, 4.3, 7.8, "grey", "raw avi 5-95 %"),
        Target("fan, frame difference, mp4", 6.2, None, None, "grey", "9 mp4"),
        Target("whole frame, frame difference, mp4", 3.5, None, None, "grey", "9 mp4"),
        Target("cavity, frame difference", 2.8, 2.8, 5.4, "grey", "9 mp4 less smoothing, tolerance"),
        Target("wall, frame difference", 8.8, 8.8, 17, "grey", "9 mp4 less smoothing, tolerance"),
    ),
    "Left ventricle": (
        Target("ED area", 1671, 800, 2335, "px", "9 mp4 range"),
        Target("ES area", 920, 473, 1948, "px", "9 mp4 range"),
        Target("ED long axis", 62, 43, 68, "px", "9 mp4 range"),
        Target("ES long axis", 50, 35, 62, "px", "9 mp4 range"),
        Target("ED widest row", 35, 26, 44, "px", "9 mp4 range"),
        Target("ES widest row", 26, 19, 38, "px", "9 mp4 range"),
        Target("ED centroid x", 63, 58, 67, "px", "9 mp4 range"),
        Target("ES centroid x", 61, 56, 65, "px", "9 mp4 range"),
        Target("ED centroid y", 51, 41, 62, "px", "9 mp4 range"),
        Target("ES centroid y", 51, 40, 60, "px", "9 mp4 range"),
        Target("ED angle", -11, -34, -8, "deg", "9 mp4 range"),
        Target("ES angle", -7, -25, -4, "deg", "9 mp4 range"),
        Target("ED apex row", 20, 18, 32, "px", "9 mp4 range"),
        Target("ES apex row", 23, 18, 34, "px", "9 mp4 range"),
        Target("ED base row", 80, 59, 89, "px", "9 mp4 range"),
        Target("ES base row", 77, 55, 83, "px", "9 mp4 range"),
        Target("ED area over the frame", 13.3, 6, 19, "%", "9 mp4 range"),
        Target("area change", 0.36, 0.17, 0.52, "share", "9 mp4 range"),
        Target("long axis shortens by", None, 9, 24, "%", "9 mp4 range"),
        Target("width shrinks by", None, 14, 32, "%", "9 mp4 range"),
        Target("base comes up by", None, 2, 10, "px", "9 mp4 range"),
        Target("apex goes down by", None, 0, 3, "px", "9 mp4 range"),
        Target("ED width over length", None, 0.54, 0.65, "ratio", "9 mp4 range"),
        Target("ES width over length", None, 0.48, 0.61, "ratio", "9 mp4 range"),
        Target("centroid moves by", None, 0, 5, "px", "9 mp4 range"),
        Target("area change, CAMUS", 0.36, None, None, "share", "50 CAMUS"),
        Target("ED area, CAMUS", 1260, None, None, "px", "50 CAMUS"),
        Target("ED area in cm2, CAMUS", 28, None, None, "cm2", "50 CAMUS"),
        Target("ES area in cm2, CAMUS", 18, None, None, "cm2", "50 CAMUS"),
        Target("cavity, 50 %, CAMUS", 61, None, None, "grey", "50 CAMUS"),
        Target("wall, 50 %, CAMUS", 99, None, None, "grey", "50 CAMUS"),
    ),
    "Heart beat": (
        Target("R-R", None, 0.52, 1.35, "s", "9 mp4 range"),
        Target("ED to ES", 0.38, 0.34, 0.47, "s", "9 mp4 range"),
        Target("sd of R-R, regular clips", None, 0.01, 0.08, "s", "9 mp4 range"),
        Target("sd of R-R, irregular clips", None, 0.14, 0.23, "s", "9 mp4 range"),
        Target("sd of R-R over R-R, irregular clips", None, 20, 40, "%", "9 mp4 range"),
        Target("fastest filling", 3.0, 2.1, 3.9, "ED areas/s", "9 mp4, tolerance"),
        Target("fastest ejection", 2.7, 1.89, 3.51, "ED areas/s", "9 mp4, tolerance"),
        Target("area at 0 % of the beat", 0.99, 0.87, 1, "share", "9 mp4, tolerance"),
        Target("area at 5 % of the beat", 0.92, 0.8, 1, "share", "9 mp4, tolerance"),
        Target("area at 10 % of the beat", 0.81, 0.69, 0.93, "share", "9 mp4, tolerance"),
        Target("area at 15 % of the beat", 0.68, 0.56, 0.8, "share", "9 mp4, tolerance"),
        Target("area at 20 % of the beat", 0.55, 0.43, 0.67, "share", "9 mp4, tolerance"),
        Target("area at 25 % of the beat", 0.39, 0.27, 0.51, "share", "9 mp4, tolerance"),
        Target("area at 30 % of the beat", 0.24, 0.12, 0.36, "share", "9 mp4, tolerance"),
        Target("area at 35 % of the beat", 0.12, 0, 0.24, "share", "9 mp4, tolerance"),
        Target("area at 40 % of the beat", 0.15, 0.03, 0.27, "share", "9 mp4, tolerance"),
        Target("area at 45 % of the beat", 0.08, 0, 0.2, "share", "9 mp4, tolerance"),
        Target("area at 50 % of the beat", 0.12, 0, 0.24, "share", "9 mp4, tolerance"),
        Target("area at 55 % of the beat", 0.22, 0.1, 0.34, "share", "9 mp4, tolerance"),
        Target("area at 60 % of the beat", 0.24, 0.12, 0.36, "share", "9 mp4, tolerance"),
        Target("area at 65 % of the beat", 0.35, 0.23, 0.47, "share", "9 mp4, tolerance"),
        Target("area at 70 % of the beat", 0.51, 0.39, 0.63, "share", "9 mp4, tolerance"),
        Target("area at 75 % of the beat", 0.63, 0.51, 0.75, "share", "9 mp4, tolerance"),
        Target("area at 80 % of the beat", 0.73, 0.61, 0.85, "share", "9 mp4, tolerance"),
        Target("area at 85 % of the beat", 0.74, 0.62, 0.86, "share", "9 mp4, tolerance"),
        Target("area at 90 % of the beat", 0.8, 0.68, 0.92, "share", "9 mp4, tolerance"),
        Target("area at 95 % of the beat", 0.91, 0.79, 1, "share", "9 mp4, tolerance"),
        Target("area at 100 % of the beat", 0.99, 0.87, 1, "share", "9 mp4, tolerance"),
    ),
}

PATIENTS = (7465, 1288, 1277)
"""Clips in TRAIN, VAL and TEST of the real file list; as many patients are drawn."""
ALLOWED_FAILURES = 3
SAMPLED_FRAMES = 8
LIT = 8
"""Grey level above which the brightest frame counts as fan; compression ripple stays below."""
LAGS = (1, 2, 3, 5, 10, 25)
PERCENTILES = (5, 25, 50, 75, 95)
SIGMA = 4.0
"""Pixels; what is coarser is removed before speckle is measured."""
EDGE_DISTANCES = (-8, -4, -2, -1, 1, 2, 3, 4, 5, 6, 8, 12)
JITTER = 0.015
"""Standard deviation of the area from frame to frame, in ED areas: real curves have 1 to 2 %."""
IRREGULAR_SD = 0.11
"""Seconds; regular rhythms have a standard deviation of R-R of 0.08 at most, irregular ones of 0.14 at least."""


class Clip(NamedTuple):
    """One clip and its truth: T frames of pixels (row, column)."""

    frames: NDArray[np.uint8]
    masks: Mask
    volumes_ml: Floats
    ef: float
    ed_frame: int
    es_frame: int
    fps: float
    spacing_mm: float


class Row(NamedTuple):
    """One measured row beside its target."""

    target: Target
    median: float
    """Over clips; their mean where the row is a share of clips."""
    low: float
    """5 % over clips; NaN where the row is one number."""
    high: float
    passed: bool | None
    """None where the target only informs, or no clip could be measured."""


# --- sector ---


@dataclass(frozen=True)
class Fan:
    """A sector: columns and rows in pixels, angles from the vertical in degrees, radii from the apex in pixels."""

    apex_x: float
    apex_y: float
    left: float
    right: float
    near: float
    far: float

    def polar(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Radius and angle (positive to the image's right) of every pixel."""
        return polar(self.apex_x, self.apex_y, shape)

    def mask(self, shape: tuple[int, int]) -> Mask:
        """The sector's pixels."""
        radius, angle = self.polar(shape)
        return (angle > -self.left) & (angle < self.right) & (radius >= self.near) & (radius <= self.far)


def polar(apex_x: float, apex_y: float, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Radius in pixels and angle from the vertical in degrees of every pixel."""
    y, x = np.indices(shape)
    return np.hypot(x - apex_x, y - apex_y), np.degrees(np.arctan2(x - apex_x, y - apex_y))


def fit_fan(brightest: NDArray[np.uint8]) -> Fan:
    """The sector of a clip from its maximum over time: two straight edges, then the radii between them.

    The edges are fitted where both lie inside the frame. They run half a pixel outside the outermost lit pixels,
    and past overlays, which only a few rows have.
    """
    lit = brightest > LIT
    rows = np.arange(14, 53)
    rows = rows[lit[rows].any(axis=1)]
    left_start, left_slope = fit_line(rows, lit[rows].argmax(axis=1) - 0.5)
    last = lit.shape[1] - 1 - lit[rows, ::-1].argmax(axis=1)
    right_start, right_slope = fit_line(rows, last + 0.5)
    apex_y = (left_start - right_start) / (right_slope - left_slope)
    apex_x = left_start + left_slope * apex_y
    left, right = np.degrees(np.arctan([-left_slope, right_slope]))
    radius, angle = polar(apex_x, apex_y, lit.shape)
    between = (angle > -left) & (angle < right)
    near, far = lit_radii(lit[between], radius[between])
    return Fan(float(apex_x), float(apex_y), float(left), float(right), near, far)


def fit_line(x: NDArray[np.intp], y: Floats) -> tuple[float, float]:
    """Start and slope of the line on which most points lie, within a pixel; least squares through those."""
    first, second = np.triu_indices(len(x), k=10)
    slope = (y[second] - y[first]) / (x[second] - x[first])
    start = y[first] - slope * x[first]
    is_close = np.abs(y - start[:, None] - slope[:, None] * x) <= 1
    chosen = is_close[is_close.sum(axis=1).argmax()]
    fitted_slope, fitted_start = np.polyfit(x[chosen], y[chosen], 1)
    return float(fitted_start), float(fitted_slope)


def lit_radii(lit: Mask, radius: Floats) -> tuple[float, float]:
    """Radii between which at least half of the pixels are lit, in quarters of a pixel over a pixel-wide ring."""
    place = (radius * 4).astype(int)
    ring = np.ones(4)
    share = np.convolve(np.bincount(place, lit), ring, "same") / np.maximum(
        np.convolve(np.bincount(place), ring, "same"), 1
    )
    reached = np.flatnonzero(share >= 0.5)
    return float(reached[0] / 4), float((reached[-1] + 1) / 4)


def measure_sector(frames: NDArray[np.uint8], fan: Fan) -> Measures:
    """Geometry of the fan, and what lies outside it."""
    shape = frames.shape[1:]
    brightest, mean = frames.max(axis=0), frames.mean(axis=0)
    inside = fan.mask(shape)
    radius, angle = fan.polar(shape)
    beyond = radius * np.sin(np.radians(angle - fan.right))
    ruler = ~inside & (beyond > 0.5) & (beyond < 5) & (radius > 10) & (radius < 75) & (np.indices(shape)[0] > 6)
    probe_mark = (mean > 20)[3:6, 67:76] & ~inside[3:6, 67:76]
    seen = visible_angles(mean, inside, angle)
    return {
        "fan apex x": fan.apex_x,
        "fan apex y": fan.apex_y,
        "fan left edge": fan.left,
        "fan right edge": fan.right,
        "fan first echo, radius": fan.near,
        "fan far arc, radius": fan.far,
        "fan ends at row": fan.apex_y + fan.far,
        "fan cut by the left border from row": fan.apex_y + fan.apex_x / np.tan(np.radians(fan.left)),
        "fan cut by the right border from row": fan.apex_y
        + (shape[1] - 1 - fan.apex_x) / np.tan(np.radians(fan.right)),
        "fan fills the frame": float((brightest > LIT).mean()),
        "outside the fan, 95th percentile": float(np.percentile(sampled(frames)[:, ~inside], 95)),
        "clips with a probe mark": 100.0 * probe_mark.any(),
        "clips with a ruler along the right edge": 100.0 * (((mean > 20) & ruler).sum() >= 3),
        "clips with one dark flank": 100.0 * (min(seen) < 32),
    }


def visible_angles(mean: Floats, inside: Mask, angle: Floats) -> tuple[float, float]:
    """How many degrees left and right of the vertical the time mean reaches before it stays below the level LIT."""
    place = np.floor(angle[inside]).astype(int) + 60
    counts = np.bincount(place, minlength=120)
    profile = np.bincount(place, mean[inside], minlength=120) / np.maximum(counts, 1)
    bright = np.flatnonzero(profile > LIT) - 60
    return float(-bright.min()), float(bright.max() + 1)


# --- left ventricle: shape ---


@dataclass(frozen=True)
class Axis:
    """The long axis of a mask; pixels, and degrees from the vertical (negative: the apex is to the image's left)."""

    x: float
    """Centroid."""
    y: float
    angle: float
    length: float
    reach_up: float
    """From the centroid to the apex, along the axis."""

    def along(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """Pixels from the apex along the axis and from the axis (positive to the image's right), of every pixel."""
        y, x = np.indices(shape)
        return along_axis(x - self.x, y - self.y, self.angle, self.reach_up)


def along_axis(x: Floats, y: Floats, angle: float, reach_up: float) -> tuple[Floats, Floats]:
    """Positions along and across the axis of points relative to its centroid."""
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    return -x * sine + y * cosine + reach_up, x * cosine + y * sine


def long_axis(mask: Mask) -> Axis:
    """The principal axis of a mask, and how far the mask reaches along it."""
    y, x = np.nonzero(mask)
    middle_x, middle_y = x.mean(), y.mean()
    _, vectors = np.linalg.eigh(np.cov(x - middle_x, y - middle_y))
    axis = vectors[:, -1] * np.sign(vectors[1, -1] or 1)  # towards the base, down the image
    angle = float(np.degrees(np.arctan2(-axis[0], axis[1])))
    along, _ = along_axis(x - middle_x, y - middle_y, angle, 0.0)
    length = float(np.ptp(along)) + 1  # from pixel edge to pixel edge
    return Axis(float(middle_x), float(middle_y), angle, length, float(0.5 - along.min()))


def measure_shape(clip: Clip) -> Measures:
    """The left ventricle at the traced end diastole and end systole."""
    measures: Measures = {}
    axes: list[Axis] = []
    for phase, frame in (("ED", clip.ed_frame), ("ES", clip.es_frame)):
        mask = clip.masks[frame]
        axis = long_axis(mask)
        rows = np.flatnonzero(mask.any(axis=1))
        width = float(mask.sum(axis=1).max())
        axes.append(axis)
        measures |= {
            f"{phase} area": float(mask.sum()),
            f"{phase} long axis": axis.length,
            f"{phase} widest row": width,
            f"{phase} centroid x": axis.x,
            f"{phase} centroid y": axis.y,
            f"{phase} angle": axis.angle,
            f"{phase} apex row": float(rows[0]),
            f"{phase} base row": float(rows[-1]),
            f"{phase} width over length": width / axis.length,
        }
    change = {name: measures[f"ES {name}"] / measures[f"ED {name}"] for name in ("area", "long axis", "widest row")}
    cm2 = clip.spacing_mm**2 / 100
    return measures | {
        "ED area over the frame": 100 * measures["ED area"] / mask.size,
        "area change": 1 - change["area"],
        "long axis shortens by": 100 * (1 - change["long axis"]),
        "width shrinks by": 100 * (1 - change["widest row"]),
        "base comes up by": measures["ED base row"] - measures["ES base row"],
        "apex goes down by": measures["ES apex row"] - measures["ED apex row"],
        "centroid moves by": float(np.hypot(axes[1].x - axes[0].x, axes[1].y - axes[0].y)),
        "area change, CAMUS": 1 - change["area"],
        "ED area, CAMUS": measures["ED area"],
        "ED area in cm2, CAMUS": measures["ED area"] * cm2,
        "ES area in cm2, CAMUS": measures["ES area"] * cm2,
        "EF against 100 (1 - ESV/EDV), worst difference": abs(
            clip.ef - 100 * (1 - clip.volumes_ml[clip.es_frame] / clip.volumes_ml[clip.ed_frame])
        ),
        "clips of 112 x 112, share": 100.0 * (mask.shape == (112, 112)),
    }


# --- left ventricle: beats ---


def find_beats(area: Floats, fps: float) -> NDArray[np.intp]:
    """End diastoles: the clear maxima of an area curve, a third of a second apart at least; never the first or last."""
    smooth = ndimage.gaussian_filter1d(area, 0.02 * fps)
    peaks, _ = signal.find_peaks(smooth, distance=max(1, 0.35 * fps), prominence=max(0.35 * np.ptp(smooth), 1e-9))
    return peaks


def mean_beat(area: Floats, beats: NDArray[np.intp]) -> Floats:
    """Median over beats of the area in twentieths of a beat, scaled to 0 (least) and 1 (most) in each: (21,)."""
    curves = []
    for start, end in pairwise(beats):
        beat = area[start : end + 1]
        curve = np.interp(np.linspace(start, end, 21), np.arange(start, end + 1), beat)
        curves.append((curve - beat.min()) / np.ptp(beat))
    return np.median(curves, axis=0)


def measure_beats(clip: Clip) -> Measures:
    """Timing and speed of the area curve; what needs a whole beat is left out where there is none.

    Speeds are measured with a jitter of the area like that of the model behind the real curves.
    """
    area = clip.masks.sum(axis=(1, 2)).astype(float)
    beats = find_beats(area, clip.fps)
    # the real curves are those of a model, whose area shakes from frame to frame
    shaken = area + JITTER * area[clip.ed_frame] * np.random.default_rng(len(area)).standard_normal(len(area))
    speed = np.gradient(ndimage.gaussian_filter1d(shaken, 0.02 * clip.fps)) * clip.fps / area[clip.ed_frame]
    measures = {
        "ED to ES": (clip.es_frame - clip.ed_frame) / clip.fps,
        "fastest filling": float(speed.max()),
        "fastest ejection": float(-speed.min()),
    }
    if len(beats) >= 2:
        curve = mean_beat(area, beats)
        measures |= {f"area at {5 * place} % of the beat": float(level) for place, level in enumerate(curve)}
    intervals = np.diff(beats) / clip.fps
    if len(intervals) >= 1:
        measures["R-R"] = float(intervals.mean())
    if len(intervals) >= 2:
        spread = float(intervals.std(ddof=1))
        is_irregular = spread > IRREGULAR_SD
        measures[f"sd of R-R, {'irregular' if is_irregular else 'regular'} clips"] = spread
        if is_irregular:
            measures["sd of R-R over R-R, irregular clips"] = 100 * spread / float(intervals.mean())
    return measures


# --- grey levels ---


@dataclass(frozen=True)
class Regions:
    """Where a pixel lies, seen from the left ventricle in one or several frames; all arrays of the masks' shape."""

    cavity: Mask
    """The mask shrunk by 2 px."""
    wall: Mask
    """1 to 8 px outside the mask, the base left out."""
    rest: Mask
    """The fan without cavity, wall and the rim between."""
    septum: Mask
    lateral: Mask
    apical: Mask
    thirds: tuple[Mask, Mask, Mask]
    """Of the cavity along the axis, from apex to base."""
    distance: Floats
    """Signed distance from the outline, negative inside; NaN by the base and outside the fan."""


def find_regions(mask: Mask, fan: Mask) -> Regions:
    """The regions of one frame."""
    axis = long_axis(mask)
    along, across = axis.along(mask.shape)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    cavity = inside > 2
    above_base = along <= axis.length
    wall = ~mask & (outside <= 8) & above_base & fan
    third = np.floor(3 * along / axis.length)
    beside_apex = along < axis.length / 3
    distance = np.where(mask, -inside, outside)
    by_base = np.where(mask, axis.length - along < inside + 1, ~above_base)
    return Regions(
        cavity=cavity & fan,
        wall=wall,
        rest=fan & ~mask & ~wall,
        septum=wall & ~beside_apex & (across < 0),
        lateral=wall & ~beside_apex & (across > 0),
        apical=wall & beside_apex,
        thirds=tuple(cavity & fan & (third == number) for number in range(3)),  # type: ignore[arg-type]
        distance=np.where(fan & ~by_base, distance, np.nan),
    )


def stack_regions(parts: list[Regions]) -> Regions:
    """The regions of several frames, each array with the frame as first axis."""

    def stacked(name: str) -> NDArray:
        return np.stack([getattr(part, name) for part in parts])

    thirds = tuple(np.stack([part.thirds[number] for part in parts]) for number in range(3))
    names = ("cavity", "wall", "rest", "septum", "lateral", "apical", "distance")
    return Regions(**{name: stacked(name) for name in names}, thirds=thirds)  # type: ignore[arg-type]


def measure_grey(frames: NDArray[np.uint8], regions: Regions, fan: Mask) -> Measures:
    """Grey levels by region, pooled over the frames; regions without a pixel are left out."""
    measures: Measures = {}
    whole = frames[:, fan]
    named = {"cavity": frames[regions.cavity], "wall": frames[regions.wall], "rest of the fan": frames[regions.rest]}
    for name, levels in {**named, "whole fan": whole}.items():
        if not levels.size:
            continue
        found = np.percentile(levels, PERCENTILES)
        measures |= {f"{name}, {share} %": float(level) for share, level in zip(PERCENTILES, found, strict=True)}
        measures |= {f"{name}, mean": float(levels.mean()), f"{name}, sd": float(levels.std())}
    measures |= {f"whole fan, {share} %, mp4": measures[f"whole fan, {share} %"] for share in PERCENTILES}
    measures |= {f"{name}, 50 %, CAMUS": measures.get(f"{name}, 50 %", np.nan) for name in ("cavity", "wall")}
    parts = {"septum, mean": regions.septum, "lateral wall, mean": regions.lateral, "apical wall, mean": regions.apical}
    parts |= {
        f"cavity, {name} third": regions.thirds[number] for number, name in enumerate(("apical", "middle", "basal"))
    }
    measures |= {name: float(frames[part].mean()) for name, part in parts.items() if part.any()}
    if {"septum, mean", "lateral wall, mean"} <= measures.keys():
        measures["septum over lateral wall"] = measures["septum, mean"] / max(measures["lateral wall, mean"], 1.0)
    if {"wall, mean", "cavity, mean"} <= measures.keys():
        measures["wall over cavity, means"] = measures["wall, mean"] / max(measures["cavity, mean"], 1.0)
    measures["fan below 4, share"] = 100 * float((whole < 4).mean())
    measures["whole frame, mean"], measures["whole frame, sd"] = float(frames.mean()), float(frames.std())
    return measures


def edge_profile(frames: NDArray, distance: Floats) -> dict[int, float]:
    """Mean grey at each whole signed distance from the outline."""
    known = np.isfinite(distance) & (np.abs(distance) < 20)
    place = np.rint(distance[known]).astype(int) + 20
    counts = np.bincount(place, minlength=41)
    sums = np.bincount(place, frames[known], minlength=41)
    return {int(number) - 20: float(sums[number] / counts[number]) for number in np.flatnonzero(counts)}


def profile(levels: Floats, position: Floats, edges: Floats) -> Floats:
    """Mean level in each bin of a position; NaN where a bin is empty."""
    counts, _ = np.histogram(position, edges)
    sums, _ = np.histogram(position, edges, weights=levels)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def measure_profiles(frames: NDArray[np.uint8], fan: Fan) -> Measures:
    """The time mean by radius and by angle, over the pixels of the fan."""
    mean = frames.mean(axis=0)
    inside = fan.mask(mean.shape)
    radius, angle = fan.polar(mean.shape)
    by_radius = profile(mean[inside], radius[inside], np.arange(5.0, 106, 10))
    by_angle = profile(mean[inside], angle[inside], np.arange(-50.0, 51, 10))
    measures = {f"radius {5 + 10 * n}-{15 + 10 * n} px": float(level) for n, level in enumerate(by_radius)}
    return measures | {f"angle {-50 + 10 * n} to {-40 + 10 * n} deg": float(level) for n, level in enumerate(by_angle)}


# --- speckle and time ---


def smooth_inside(images: Floats, weight: Floats) -> Floats:
    """Images (n, height, width) smoothed with SIGMA over the pixels of `weight` (height, width) only."""
    blurred = ndimage.gaussian_filter(images * weight, (0, SIGMA, SIGMA))
    return blurred / np.maximum(ndimage.gaussian_filter(weight, SIGMA), 1e-6)


def whitened(frames: NDArray, fan: Mask) -> Floats:
    """Frames less their local mean, over their local standard deviation (and a grey level, for black ground)."""
    weight, levels = fan.astype(float), frames.astype(float)
    high = (levels - smooth_inside(levels, weight)) * weight
    variance = smooth_inside(high**2, weight)
    return high / (np.sqrt(np.maximum(variance, 0)) + 1)


def half_height_lag(images: Floats, region: Mask, axis: int) -> float:
    """Lag in pixels at which the autocorrelation falls to a half, by linear interpolation; axis -1 is x and -2 is y.

    Only pairs of which both pixels lie in the region count; both arrays are (n, height, width).
    """
    inside, power = region, float(np.mean(images[region] ** 2))
    before = 1.0
    for lag in range(1, 16):
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(None, -lag), slice(lag, None)
        pair = inside[tuple(here)] & inside[tuple(there)]
        if not pair.any():
            return np.nan
        after = float(np.mean(images[tuple(here)][pair] * images[tuple(there)][pair])) / power
        if after < 0.5:
            return lag - 1 + (before - 0.5) / (before - after)
        before = after
    return np.nan


def measure_speckle(frames: NDArray[np.uint8], regions: Regions, fan: Mask) -> Measures:
    """Size of the grains by region."""
    images = whitened(frames, fan)
    everywhere = np.broadcast_to(fan, images.shape)
    measures: Measures = {}
    for name, region in (("fan", everywhere), ("wall", regions.wall), ("cavity", regions.cavity)):
        if region.any():
            measures |= {
                f"{name}, lag {label}": half_height_lag(images, region, axis) for label, axis in (("x", -1), ("y", -2))
            }
    return measures | {f"fan, lag {label}, mp4": measures[f"fan, lag {label}"] for label in "xy"}


def high_passed(frames: NDArray, fan: Mask) -> Floats:
    """Frames less their local mean."""
    weight, levels = fan.astype(float), frames.astype(float)
    return (levels - smooth_inside(levels, weight)) * weight


def correlation(first: Floats, second: Floats, region: Mask) -> float:
    """Mean over images of the correlation of two stacks inside the region."""
    found = [
        np.corrcoef(a[r], b[r])[0, 1]
        for a, b, r in zip(first, second, region, strict=True)
        if a[r].std() > 0 < b[r].std()
    ]
    return float(np.mean(found)) if found else np.nan


def measure_time(clip: Clip, starts: NDArray[np.intp], regions: Regions, fan: Mask) -> Measures:
    """How fast the picture changes, from `starts` on, the frames of which `regions` holds the regions."""
    measures: Measures = {}
    everywhere = np.broadcast_to(fan, (len(starts), *fan.shape))
    named = {"fan": everywhere, "wall": regions.wall, "cavity": regions.cavity}
    first = high_passed(clip.frames[starts], fan)
    for lag in LAGS:
        second = high_passed(clip.frames[starts + lag], fan)
        measures |= {
            f"{name}, correlation {lag} frames later": correlation(first, second, region)
            for name, region in named.items()
        }
        name = f"fan, correlation {lag} frames later"
        measures[f"{name}, mp4"] = measures[name]
    difference = np.abs(clip.frames[starts + 1].astype(float) - clip.frames[starts])
    whole = np.ones_like(everywhere)
    for name, region in {**named, "whole frame": whole}.items():
        measures[f"{name}, frame difference"] = float(difference[region].mean()) if region.any() else np.nan
    measures |= {
        f"{name}, frame difference, mp4": measures[f"{name}, frame difference"] for name in ("fan", "whole frame")
    }
    return measures


# --- file list ---


def measure_file_list(settings: PhantomSettings) -> Measures:
    """Distributions over as many drawn patients as the real file list has clips, without drawing a picture."""
    patients = [draw_patient(index, settings) for index in range(sum(PATIENTS))]
    ef, edv, esv, fps, frames = np.array([(p.ef, p.edv_ml, p.esv_ml, p.fps, p.frames) for p in patients]).T
    measures = measure_relations(ef, edv, esv) | measure_naive(ef)
    columns = {"EF": ef, "EDV": edv, "ESV": esv, "fps": fps, "frames": frames, "seconds": frames / fps}
    for name, column in columns.items():
        measures |= {f"{name}, mean": column.mean(), f"{name}, sd": column.std()}
        measures |= {f"{name}, {share} %": np.percentile(column, share) for share in (1, 5, 25, 50, 75, 95, 99)}
        measures |= {f"{name}, min": column.min(), f"{name}, max": column.max()}
    measures |= {f"fewer than {limit} frames, clips": np.sum(frames < limit) for limit in (63, 80, 32)}
    measures["fps is 50, share"] = 100 * np.mean(fps == 50)
    return {name: float(value) for name, value in measures.items()}


def measure_relations(ef: Floats, edv: Floats, esv: Floats) -> Measures:
    """Shares and skew of EF, and how EF and volumes go together."""
    share_names = ("below 30", "30-40", "40-50", "50-55", "55-60", "60-65", "65-70", "70 and above")
    shares = shares_between(ef, (30, 40, 50, 55, 60, 65, 70))
    band_names = ("below 30", "30-45", "45-55", "55-65", "above 65")
    band = np.digitize(ef, (30, 45, 55, 65))
    return {
        **{f"EF {name}, share": share for name, share in zip(share_names, shares, strict=True)},
        **{f"median EDV at EF {name}": float(np.median(edv[band == n])) for n, name in enumerate(band_names)},
        "EF, skew": float(np.mean((ef - ef.mean()) ** 3) / ef.std() ** 3),
        "correlation EF-EDV": float(np.corrcoef(ef, edv)[0, 1]),
        "correlation EF-ESV": float(np.corrcoef(ef, esv)[0, 1]),
        "correlation EDV-ESV": float(np.corrcoef(edv, esv)[0, 1]),
    }


def shares_between(values: Floats, limits: tuple[float, ...]) -> list[float]:
    """Percent of the values below the first limit, between neighbouring limits, and from the last limit on."""
    counts = np.bincount(np.digitize(values, limits), minlength=len(limits) + 1)
    return [100 * float(count) / len(values) for count in counts]


def measure_naive(ef: Floats) -> Measures:
    """Errors of one answer for everyone, learnt on the first patients and tried on the last."""
    train, val, test = np.split(ef, np.cumsum(PATIENTS)[:2])
    return {
        "naive MAE on TEST, TRAIN median": float(np.abs(test - np.median(train)).mean()),
        "naive MAE on VAL, TRAIN median": float(np.abs(val - np.median(train)).mean()),
        "naive RMSE on TEST, TRAIN mean": float(np.sqrt(np.mean((test - train.mean()) ** 2))),
    }


# --- clips in, table out ---


def drawn_clips(settings: PhantomSettings) -> Iterator[Clip]:
    """The phantom's clips, drawn and never written."""
    for index in range(settings.videos):
        made = make_clip(index, settings)
        truth = (made.volumes_ml, made.ef, made.ed_frame, made.es_frame, made.fps, made.spacing_mm[0])
        yield Clip(made.frames, made.masks, *truth)


def read_settings(folder: Path) -> PhantomSettings:
    """The settings with which a phantom's folder was made; an error where this program has other settings."""
    return from_dict(PhantomSettings, read_json(folder / "phantom.json")["settings"])


def read_clips(folder: Path, settings: PhantomSettings) -> Iterator[Clip]:
    """The clips of a phantom's folder, decoded."""
    from echocycle.recordings.video import read_video

    with (folder / "FileList.csv").open(encoding="utf-8", newline="") as file:
        listed = {line["FileName"]: line for line in csv.DictReader(file)}
    for index in range(settings.videos):
        name = clip_name(index, settings)
        with np.load(folder / "Truth" / f"{name}.npz") as truth:
            shape = tuple(truth["masks_shape"])
            bits = np.unpackbits(truth["masks"], axis=1, count=shape[1] * shape[2])
            yield Clip(
                frames=read_video(folder / "Videos" / f"{name}.avi").frames,
                masks=bits.reshape(shape).astype(bool),
                volumes_ml=truth["volumes_ml"],
                ef=float(listed[name]["EF"]),
                ed_frame=int(truth["ed_frame"]),
                es_frame=int(truth["es_frame"]),
                fps=float(listed[name]["FPS"]),
                spacing_mm=float(truth["spacing_mm"][0]),
            )


def sampled(items: NDArray, after: int = 0) -> NDArray:
    """Evenly spaced items, SAMPLED_FRAMES of them at most, with `after` further ones behind each."""
    last = len(items) - 1 - after
    return items[np.unique(np.linspace(0, last, SAMPLED_FRAMES).astype(int))]


def measure_clip(clip: Clip) -> Measures:
    """All measures of one clip."""
    fan = fit_fan(clip.frames.max(axis=0))
    inside = fan.mask(clip.frames.shape[1:])
    # With 25 frames behind each, so that one choice serves all; very short clips have too few for that.
    has_lags = len(clip.frames) > LAGS[-1] + SAMPLED_FRAMES
    chosen = sampled(np.arange(len(clip.frames)), LAGS[-1] if has_lags else 0)
    frames = clip.frames[chosen]
    regions = stack_regions([find_regions(mask, inside) for mask in clip.masks[chosen]])
    edge = edge_profile(frames, regions.distance)
    return {
        **measure_sector(clip.frames, fan),
        **measure_grey(frames, regions, inside),
        **{f"edge, {place:+d} px": edge[place] for place in EDGE_DISTANCES if place in edge},
        **measure_profiles(clip.frames, fan),
        **measure_speckle(frames, regions, inside),
        **(measure_time(clip, chosen, regions, inside) if has_lags and clip.fps == 50 else {}),
        **measure_shape(clip),
        **measure_beats(clip),
    }


def judge(target: Target, values: Floats) -> Row:
    """The row of one target, from one value per clip or a single one."""
    values = values[np.isfinite(values)]
    if not len(values):
        return Row(target, np.nan, np.nan, np.nan, None)  # such as irregular beats, which few clips have
    is_share, is_worst = target.name.startswith("clips "), "worst" in target.name
    summarise = np.mean if is_share else np.max if is_worst else np.median
    median = float(summarise(values))
    has_spread = len(values) > 1 and not is_share and not is_worst
    low, high = np.percentile(values, (5, 95)) if has_spread else (np.nan, np.nan)
    if target.low is None or target.high is None:
        return Row(target, median, float(low), float(high), None)
    return Row(target, median, float(low), float(high), target.low <= median <= target.high)


def judge_all(clips: list[Measures], file_list: Measures) -> dict[str, list[Row]]:
    """All rows, by section."""
    columns = {name: np.array([value]) for name, value in file_list.items()}
    for name in {name for clip in clips for name in clip}:
        columns[name] = np.array([clip[name] for clip in clips if name in clip])
    nothing = np.array([])
    return {
        title: [judge(target, columns.get(target.name, nothing)) for target in targets]
        for title, targets in TARGETS.items()
    }


def number(value: float | None) -> str:
    """Three figures, or nothing for a number that is missing."""
    return "" if value is None or not np.isfinite(value) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span(low: float | None, high: float | None) -> str:
    """A range, or nothing."""
    return f"{number(low)} to {number(high)}" if number(low) else ""


def table(rows: list[Row]) -> list[str]:
    """Rows as a table in Markdown."""
    lines = ["| | phantom | 5-95 % of clips | target | range | unit | source | |", "|---|---|---|---|---|---|---|---|"]
    verdicts = {True: "pass", False: "**fail**", None: "-"}
    for row in rows:
        target = row.target
        cells = (
            target.name, number(row.median), span(row.low, row.high), number(target.value),
            span(target.low, target.high), target.unit, target.source, verdicts[row.passed],
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(sections: dict[str, list[Row]], version: int, about: str) -> str:
    """The whole report in Markdown: tables, then the failing rows."""
    rows = [row for section in sections.values() for row in section]
    failing = [row for row in rows if row.passed is False]
    lines = [f"# Likeness of phantom version {version} to real clips", "", about, ""]
    for title, section in sections.items():
        lines += [f"## {title}", "", *table(section), ""]
    judged = sum(row.passed is not None for row in rows)
    lines += ["## Failing rows", "", f"{len(failing)} of {judged} rows with a range fail; {ALLOWED_FAILURES} may.", ""]
    lines += [
        f"- {row.target.name}: {number(row.median)} {row.target.unit}".rstrip()
        + f", range {span(row.target.low, row.target.high)}"
        for row in failing
    ]
    return "\n".join(lines).rstrip() + "\n"


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
